"""Two checkouts of the project side by side: what each row costs now over what it cost then, peers aside.

Two processes, one a checkout and both on one core, take turns: then, now, then, now, ... CPU time is measured, which
other processes stretch less than that of the wall, and minima are compared. What comes out slower is measured again in
fresh processes, as some differences last as long as a process (where its memory lies).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import paired_fresh
from benchmarks.results import Table

ROOT = Path(__file__).resolve().parent.parent
TIMED = [
    "spectral",
    "meta_descent",
    "reverse_mode",
    "meta_parameters",
    "least_squares",
    "experiment",
    "second_moment",
    "phase_diagram",
    "lstm",
    "lstm_two_threads",
]
NAMES = [*TIMED, "import", "memory"]
SLOWER = 1.05  # rows above are measured again
NOTE = (
    "CPU time of a call, peers aside, on a core that other jobs shared; rows above 1.05 were measured in further "
    "processes, and everything measured counts. The whole experiment is taken with 20 of its 300 tasks in one process; "
    "what runs on two threads counts the CPU time of both, waiting included, and differs by tens of percent from one "
    "process to the next. Bytes are measured once: a resident set is known to a tenth of a MiB. Rows of a GPU and "
    "the correctness map, which has no times, are left out."
)
_LONG = 1.0  # seconds: such a call is measured twice a round


@dataclass
class Pair:
    """The costs of one row, in seconds, bytes or modules, as they were measured `then` and `now`."""

    what: str
    unit: str = "seconds"
    then: list[float] = field(default_factory=list)
    now: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The smallest now over the smallest then."""
        return min(self.now) / min(self.then)

    @property
    def middle(self) -> float:
        """The median now over the median then."""
        return statistics.median(self.now) / statistics.median(self.then)


@dataclass(frozen=True)
class Effort:
    """`rounds` of fresh processes, `repetitions` in each of about `seconds`; up to `again` rounds for slower rows."""

    rounds: int = 3
    repetitions: int = 9
    seconds: float = 0.05
    again: int = 4
    seed: int = 0


def measure(name: str, then: Path, now: Path, effort: Effort) -> list[Pair]:
    """Return the pairs of one of NAMES: the rows that both checkouts have."""
    if name == "import":
        return _imports(then, now, effort)
    if name == "memory":
        return _memory(then, now)
    pairs: dict[str, Pair] = {}
    for _ in range(effort.rounds):
        _round(name, (then, now), effort, pairs, None)
    for _ in range(effort.again):
        slower = {what for what, pair in pairs.items() if pair.ratio > SLOWER}
        if slower:
            _round(name, (then, now), effort, pairs, slower)
    return list(pairs.values())


def table(pairs: list[Pair], note: str) -> Table:
    """Return the table of a report."""
    header = ["row", "ours", "then: least (median)", "now: least (median)", "now/then, least", "median", "measurements"]
    rows = []
    for pair in pairs:
        what, ours = pair.what.split(" | ")
        costs = [_cost(min(side), statistics.median(side), pair.unit) for side in (pair.then, pair.now)]
        rows.append([what, ours, *costs, f"{pair.ratio:.3f}", f"{pair.middle:.3f}", str(len(pair.now))])
    return Table("Our rows, then and now", header, rows, note)


def joined(old: Table, fresh: Table) -> Table:
    """Return the fresh table after those rows of an old one that it does not have."""
    replaced = {tuple(row[:2]) for row in fresh.rows}
    return replace(fresh, rows=[*(row for row in old.rows if tuple(row[:2]) not in replaced), *fresh.rows])


def _cost(least: float, median: float, unit: str) -> str:
    if unit == "modules":
        return f"{least:.0f}"
    if unit == "bytes":
        return f"{least / 2**20:.2f} MiB ({median / 2**20:.2f})"
    short, factor = next((u, f) for u, f in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)) if least * f >= 1 or f > 1e5)
    return f"{least * factor:.4g} {short} ({median * factor:.4g})"


def _round(name: str, checkouts: tuple[Path, Path], effort: Effort, pairs: dict[str, Pair], only: Any) -> None:
    """Add the measurements of one pair of processes."""
    with _worker(name, checkouts[0], effort) as (then, rows), _worker(name, checkouts[1], effort) as (now, found):
        for row in [row for row in rows if row in found]:
            what = f"two threads: {row}" if name == "lstm_two_threads" else row
            if only is not None and what not in only:
                continue
            pair = pairs.setdefault(what, Pair(what))
            at = rows.index(row), found.index(row)
            for repetition in range(effort.repetitions):
                pair.then.append(_ask(then, at[0], effort.seconds))
                pair.now.append(_ask(now, at[1], effort.seconds))
                if pair.now[-1] > _LONG and repetition:
                    break


@contextmanager
def _worker(name: str, checkout: Path, effort: Effort) -> Iterator[tuple[Any, list[str]]]:
    threads = 2 if name == "lstm_two_threads" else 1
    child = Path(__file__).with_name("paired_child.py")
    benchmark = "lstm" if name == "lstm_two_threads" else name
    process = subprocess.Popen(
        [sys.executable, "-P", str(child), benchmark, str(effort.seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=paired_fresh.environment(checkout, threads),
        cwd=checkout,
    )
    try:
        if threads > 1 and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, range(os.cpu_count() or 1))
        first = _answer(process)
        if not Path(first["metagrad"]).is_relative_to(checkout):
            raise RuntimeError(f"benchmarks: metagrad came from {first['metagrad']}; expected {checkout}.")
        yield process, first["rows"]
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def _ask(process: Any, index: int, seconds: float) -> float:
    process.stdin.write(f"{index} {seconds}\n")
    process.stdin.flush()
    return float(_answer(process))


def _answer(process: Any) -> Any:
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"benchmarks: {' '.join(map(str, process.args[2:]))} ended early; see its message above.")
    return json.loads(line)


def _imports(then: Path, now: Path, effort: Effort) -> list[Pair]:
    pairs: dict[str, Pair] = {}
    with tempfile.TemporaryDirectory() as bytecode:
        for repetition in range(effort.rounds * effort.repetitions + 1):
            costs = [paired_fresh.import_cost(checkout, bytecode) for checkout in (then, now)]
            for name in costs[0] if repetition else ():  # the first import compiles the sources
                pair = pairs.setdefault(name, Pair(f"import metagrad | {name}", name.split(" ")[0]))
                pair.then.append(costs[0][name])
                pair.now.append(costs[1][name])
    return list(pairs.values())


def _memory(then: Path, now: Path) -> list[Pair]:
    pairs = []
    for what, (key, module) in paired_fresh.peaks().items():
        sides = [paired_fresh.peak(checkout, key, module) for checkout in (then, now)]
        pairs.append(Pair(what, "bytes", [sides[0]], [sides[1]]))
    return pairs
