"""Timing contenders fairly: repetitions interleaved A, B, A, B, ..., so that a drifting clock hits all alike.

The first call of each (compilation, caches) is excluded from the repetitions and reported apart. A repetition makes
as many calls as it takes to last `least_seconds`. The ratio of CPU time to wall time says how many cores were used.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One way to compute the number that all contenders compute; `call` blocks until it is there."""

    name: str
    call: Callable[[], Any]


@dataclass(frozen=True)
class Timing:
    """Seconds a call: median and quartiles over repetitions; `first_call` apart; `cores` = CPU time/wall time."""

    median: float
    low: float
    high: float
    repetitions: int
    first_call: float
    cores: float

    def times(self, factor: float) -> Timing:
        """Return the timing of `factor` such calls: an extrapolation, to be named as one."""
        return Timing(
            self.median * factor, self.low * factor, self.high * factor, self.repetitions, self.first_call, self.cores
        )


def interleave(
    contenders: list[Contender], repetitions: int, least_seconds: float = 0.02, *, cpu: bool = False
) -> list[Timing]:
    """Return a Timing for each contender, from `repetitions` rounds in which each has its turn.

    `cpu`: the seconds are those of the CPU, for contenders that all keep to one thread: other jobs stretch them less.
    """
    if not contenders or repetitions < 1:
        raise ValueError(f"interleave: {len(contenders)} contenders, {repetitions} repetitions; expected >= 1 of each.")
    first_calls = [_seconds(c.call, 1)[0] for c in contenders]
    counts = [_calls_for(c.call, least_seconds) for c in contenders]
    walls: list[list[float]] = [[] for _ in contenders]
    cores: list[list[float]] = [[] for _ in contenders]
    for _ in range(repetitions):
        for i, contender in enumerate(contenders):
            wall, used = _seconds(contender.call, counts[i])
            walls[i].append((used if cpu else wall) / counts[i])
            cores[i].append(used / wall)
    return [_timing(*parts) for parts in zip(walls, first_calls, cores, strict=True)]


def once(contender: Contender) -> Timing:
    """Return the Timing of a single call, for what takes minutes."""
    wall, cpu = _seconds(contender.call, 1)
    return Timing(wall, wall, wall, 1, wall, cpu / wall)


def _seconds(call: Callable[[], Any], count: int) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(count):
        call()
    return max(time.perf_counter() - wall, 1e-9), time.process_time() - cpu


def _calls_for(call: Callable[[], Any], least_seconds: float) -> int:
    wall, _ = _seconds(call, 1)
    return max(1, math.ceil(least_seconds / wall))


def _timing(walls: list[float], first_call: float, cores: list[float]) -> Timing:
    ordered = sorted(walls)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive") if len(walls) > 1 else ordered * 3
    return Timing(statistics.median(ordered), low, high, len(walls), first_call, statistics.median(cores))
