"""One measurement of peak memory: python -m benchmarks.memory_child KIND MEMORY STEPS D traced|resident."""

from __future__ import annotations

import ctypes
import json
import resource
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

import metagrad as mg
from metagrad.unroll.checkpoint import make_plan

_PAGE = resource.getpagesize()


def main(kind: str, memory: int, steps: int, d: int, how: str) -> dict[str, float]:
    """Measure one backward sweep above what the process held before; a short sweep warms everything up."""
    task, rule, objective = _task(kind, d), mg.GradientDescent(), mg.LogFinal()
    phi = rule.check_phi(0.4, "benchmarks")
    reverse = mg.Reverse(memory=memory)
    reverse(task, rule, objective, phi, steps=10)
    state_bytes = d * 8 + 8
    plan = make_plan(steps, state_bytes, memory)
    start = time.perf_counter()
    peak = {"traced": _traced, "resident": _resident}[how](lambda: reverse(task, rule, objective, phi, steps=steps))
    return {
        how: peak,
        "plan": plan.peak_bytes,
        "places": plan.places,
        "recomputations": plan.recomputations,
        "seconds": time.perf_counter() - start,
    }


def _task(kind: str, d: int) -> Any:
    stream = np.random.default_rng(0)
    eigenvalues, w0 = stream.uniform(0.01, 4.0, d), stream.standard_normal(d)
    return mg.DiagonalQuadratic(eigenvalues, w0) if kind == "diagonal" else mg.Quadratic(np.diag(eigenvalues), w0)


def _traced(call: Any) -> float:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    call()
    return float(tracemalloc.get_traced_memory()[1] - before)


def _resident(call: Any) -> float:
    # Linux keeps the high-water mark of the resident set, and writing 5 resets it; elsewhere it cannot be had.
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return float("nan")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # freed memory that the process still holds would be used again unseen
    clear.write_text("5")
    before = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    call()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return float(int(line.split()[1]) * 1024 - before)


if __name__ == "__main__":
    kind, memory, steps, d, how = sys.argv[1:]
    print(json.dumps(main(kind, int(memory), int(steps), int(d), how)))
