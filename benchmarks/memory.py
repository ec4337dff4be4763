"""Peak memory of one call above what the process held before."""

from __future__ import annotations

import ctypes
import json
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results import Row

_PAGE = resource.getpagesize()


def rows(benchmark: str, what: str, ours: str, theirs: list[str], seed: int) -> list[Row]:
    """Return rows of peak memory of calls of a benchmark, each measured in a process of its own, data excluded.

    Python's allocations are traced where both sides use NumPy; compiled code shows in the resident set alone.
    """
    found = []
    for label, how in (("tracemalloc", "traced"), ("resident set", "resident")):
        peers = [peer for peer in theirs if how == "resident" or not peer.startswith("JAX")]
        mine = child("benchmarks.call_memory_child", benchmark, ours, str(seed), how)[how]
        for peer in peers:
            peak = child("benchmarks.call_memory_child", benchmark, peer, str(seed), how)[how]
            found.append(Row(f"peak memory above the data, {label}: {what}", ours, mine, peer, peak, unit="bytes"))
    return found


def child(module: str, *arguments: str) -> dict[str, float]:
    """Run a module in a fresh process and return the JSON that it prints last."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"benchmarks: {' '.join(command[2:])} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def traced(call: Callable[[], Any]) -> float:
    """Return the peak in bytes by tracemalloc, which slows the call down."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return float(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


def resident(call: Callable[[], Any]) -> float:
    """Return the peak of the resident set in bytes; NaN outside of Linux."""
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


MEASURES = {"traced": traced, "resident": resident}
