"""One measurement of peak memory: python -m benchmarks.memory_child KIND MEMORY STEPS D traced|resident."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

import metagrad as mg
from benchmarks.memory import MEASURES
from metagrad.unroll.checkpoint import make_plan


def main(kind: str, memory: int, steps: int, d: int, how: str) -> dict[str, float]:
    """Measure one backward sweep above what the process held before; a short sweep warms everything up."""
    task, rule, objective = _task(kind, d), mg.GradientDescent(), mg.LogFinal()
    phi = rule.check_phi(0.4, "benchmarks")
    reverse = mg.Reverse(memory=memory)
    reverse(task, rule, objective, phi, steps=10)
    state_bytes = d * 8 + 8
    plan = make_plan(steps, state_bytes, memory)
    start = time.perf_counter()
    peak = MEASURES[how](lambda: reverse(task, rule, objective, phi, steps=steps))
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


if __name__ == "__main__":
    kind, memory, steps, d, how = sys.argv[1:]
    print(json.dumps(main(kind, int(memory), int(steps), int(d), how)))
