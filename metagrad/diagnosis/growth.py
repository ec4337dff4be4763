"""Growth rates of sizes along a run, in decades a step, with an interval.

The rate of a task is the slope of the least-squares line through log10 of its sizes in the later part of what is
finite, where the slowest or fastest mode has won. The interval is Student's, of the mean slope of up to 6 pieces.
The rate of a tangent is the largest Lyapunov number of the run, over log 10 (Benettin et al. 1980).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.diagnosis.case import Case
from metagrad.protocols import Tree
from metagrad.system import Training
from metagrad.unroll.rescale import exponent_limit, is_float_array, magnitude, normalise
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, rng, to_host

# From which part of a run on rates are fitted: a Lyapunov number is an average, a mode has to have won.
SINCE = {"state": 0.5, "adjoint": 0.5, "tangent": 0.25}
_PIECES = 6
_STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57}  # 97.5 % by degrees of freedom
_LOG10_2 = float(np.log10(2.0))


class Rate(NamedTuple):
    """Decades a step, task by task: the slope and its interval, each (B,)."""

    value: Any
    low: Any
    high: Any


class Sizes(NamedTuple):
    """log10 of the largest entry at t = 0..T, each (T + 1, B), in float64: -inf for zero, inf and NaN as they came."""

    state: Any
    adjoint: Any
    tangent: Any


def rate(logs: Any, since: float = 0.5) -> Rate:
    """Return the rate of each column of logs (n, B), along the first axis, `since` that part of it.

    >>> rate(np.arange(20.0)[:, None] * -0.25).value.round(12)
    array([-0.25])
    """
    rows = np.array([_of_one(column, since) for column in np.asarray(logs).T])
    return Rate(*rows.T)


def _of_one(logs: Any, since: float) -> tuple[float, float, float]:
    finite = np.isfinite(logs)
    end = len(logs) if finite.all() else int(np.argmin(finite))
    tail = logs[int(since * end) : end]
    if len(tail) < 3:
        return np.nan, -np.inf, np.inf
    slope = float(np.polyfit(np.arange(len(tail)), tail, 1)[0])
    pieces = min(_PIECES, (len(tail) - 1) // 2)
    if pieces < 2:
        return slope, -np.inf, np.inf
    cuts = np.linspace(0, len(tail) - 1, pieces + 1).astype(int)
    slopes = np.diff(tail[cuts]) / np.diff(cuts)
    half = _STUDENT[pieces - 1] * float(np.std(slopes, ddof=1)) / np.sqrt(pieces)
    return slope, slope - half, slope + half


def log10_sizes(numbers: Any) -> Any:
    """Return log10 of a Scaled (T + 1, B) on the host."""
    with np.errstate(all="ignore"):
        return np.asarray(to_host(numbers.log2abs()), np.float64) * _LOG10_2


def tangent_sizes(case: Case) -> Any:
    """Return log10 of the size of a random tangent of (w, state) at t = 0..T, (T + 1, B), with phi held."""
    with np.errstate(all="ignore"):
        unroll = case.unroll()
        carry = unroll.start()
        push = _Push(unroll.system, unroll, (carry.w, carry.state))
        for t in range(case.steps):
            carry = unroll.advance(push, carry, t, t + 1)
    return np.stack(push.sizes)


class _Push:
    """A step that takes a tangent along, with an exponent a task beside it; homogeneous states may be rescaled."""

    def __init__(self, system: Training, unroll: Unroll, at: tuple[Tree, Tree]) -> None:
        self._system, self._limit = system, exponent_limit(unroll.dtype)
        stream = rng(0, "tangent")
        self._tangent = ad.tree_map(lambda x: _drawn(stream, x, unroll.xp), at)
        self._exponent = unroll.xp.zeros(unroll.batch, dtype=np.int64)
        self.sizes: list[Any] = []
        self._note()

    def step(self, t: int, phi: Tree, w: Tree, state: Tree) -> tuple[Tree, Tree]:
        """Return the next (w, state), and take the tangent there."""
        moved: tuple[Tree, Tree]
        moved, self._tangent = ad.jvp(lambda *at: self._system.step(t, phi, *at), (w, state), self._tangent)
        self._note()
        return moved

    def pullback(self, *given: Any) -> Any:
        """Refuse: a tangent goes forwards."""
        raise NotImplementedError

    def pushforward(self, *given: Any) -> Any:
        """Refuse: the step does it."""
        raise NotImplementedError

    def _note(self) -> None:
        size: Array = magnitude(self._tangent)
        logs = np.log2(np.asarray(to_host(size), np.float64)) + to_host(self._exponent)
        self.sizes.append(logs * _LOG10_2)
        self._tangent, self._exponent = normalise(self._tangent, self._exponent, size, self._limit)


def _drawn(stream: np.random.Generator, leaf: Any, xp: Any) -> Any:
    return xp.asarray(stream.standard_normal(leaf.shape).astype(leaf.dtype)) if is_float_array(leaf) else None
