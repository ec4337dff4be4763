"""Peak memory of the engine's backward sweep against the checkpoint plan, each case in a process of its own."""

from __future__ import annotations

from benchmarks.memory import child
from benchmarks.results import Result, Row
from benchmarks.settings import Settings

SUMMARY = "peak memory at T = 10 000, d = 1000 against the chosen checkpoint plan"
STEPS, D = 10_000, 1000
_MIB = 1 << 20
CASES = [
    ("diagonal", 8 * _MIB),
    ("diagonal", 64 * _MIB),
    ("diagonal", 1 << 30),
    ("dense", 8 * _MIB),
    ("dense", 64 * _MIB),
]


def run(settings: Settings) -> Result:
    """Compare the traced peak with the plan, and the resident peak for information."""
    rows = []
    for kind, memory in CASES:
        measured = measure(kind, memory, STEPS, D)
        what = f"peak above the task, T = {STEPS}, d = {D}, {kind} H, {_label(memory)} allowed"
        plan, redone = measured["plan"], measured["recomputations"]
        note = f"{measured['places']} places, steps redone at most {redone} times, {measured['seconds']:.1f} s"
        row = Row(what, "tracemalloc", measured["traced"], "plan", plan, target=2.0, unit="bytes", note=note)
        rows += [row, Row(what, "resident set", measured["resident"], "plan", plan, unit="bytes")]
    return Result(rows=rows)


def measure(kind: str, memory: int, steps: int, d: int) -> dict[str, float]:
    """Return traced and resident peaks in bytes, and the plan, from two fresh processes."""
    return {**_child(kind, memory, steps, d, "resident"), **_child(kind, memory, steps, d, "traced")}


def _child(kind: str, memory: int, steps: int, d: int, how: str) -> dict[str, float]:
    return child("benchmarks.memory_child", kind, str(memory), str(steps), str(d), how)


def _label(memory: int) -> str:
    return f"{memory // _MIB} MiB" if memory < 1 << 30 else f"{memory >> 30} GiB"
