"""The answer to a case in numbers of hundreds of bits, and how far roundings of the case's dtype move it.

The recursions and their derivatives once more, forwards, of the exact numbers that the floats hold. Four copies run
side by side: one as it is, and three in which every quantity moves at every step by a unit roundoff, relatively, by
random signs (in the first of the three by the same signs at every step: roundings may have a bias). Their spread is
what the conditioning of the case allows to anyone who computes in that dtype. A closed form takes no steps: there the
data and the meta-parameters move once, in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.fuzz import digits
from tests.fuzz.cases import Case
from tests.fuzz.digits import Dual, as_dual
from tests.fuzz.losses import LOSSES, rank
from tests.fuzz.rules import RULES

COPIES = 4
MOST_DIRECTIONS = 4
_AT_A_TIME = 4096


@dataclass(frozen=True)
class Answer:
    """The value (B,) and the derivatives: `entries` names each, (field, index), `grad` has a row for each.

    A row is of one number, or of one a task. `spread`, of value and gradient alike, is the largest distance of a copy
    with roundings.
    """

    value: Any
    value_spread: Any
    entries: list[tuple[str, tuple[int, ...]]]
    grad: Any
    grad_spread: Any


class Rounding:
    """Moves numbers of the copies 1, 2, 3 by a unit roundoff, by random signs."""

    def __init__(self, unit: float, seed: int) -> None:
        self._rng, self._drawn = np.random.default_rng(seed), np.zeros(0, np.int64)
        one = digits.exact(1.0)[()]
        unit = digits.exact(unit)[()]
        self._table = np.array([one - unit, one, one + unit], dtype=object)
        self._bias: dict[tuple[int, ...], Any] = {}

    def __call__(self, x: Dual) -> Dual:
        """Return x and its derivatives, each moved; the copies are the first axis of x."""
        shape = (COPIES, *x.x.shape[1:])
        value = x.x * self._factors(shape)
        if x.dx is None:
            return Dual(value)
        return Dual(value, x.dx * self._factors((COPIES, x.dx.shape[0], *shape[1:])).swapaxes(0, 1))

    def _factors(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._bias:
            self._bias[shape] = self._signs(shape[1:])
        index = self._signs(shape)
        index[0], index[1] = 1, self._bias[shape]
        return self._table.take(index)

    def _signs(self, shape: tuple[int, ...]) -> Any:
        """Return 0 or 2 by chance: thousands are drawn at a time, which are those of as many calls."""
        count = math.prod(shape)
        if len(self._drawn) < count:
            more = 2 * self._rng.integers(0, 2, size=max(count, _AT_A_TIME))
            self._drawn = np.concatenate([self._drawn, more])
        found, self._drawn = self._drawn[:count].reshape(shape), self._drawn[count:]
        return found


def answer(case: Case, seed: int = 0) -> Answer:
    """Return the answer of the case."""
    plain = case.task in ("diagonal", "square") and case.rule in _LINEAR
    with digits.digits(420 if plain else 420 + min(8 * case.steps, 6000)):  # else differences of w lose bits every step
        return _Run(case, seed).answer()


_LINEAR = ("GradientDescent", "Momentum", "Nesterov", "SGDW")


class _Run:
    def __init__(self, case: Case, seed: int) -> None:
        self.case = case
        once = case.method == "closed_form"
        rounding = Rounding(float(np.finfo("float64" if once else case.dtype).eps) / 2, seed)
        data = {name: digits.exact(x) for name, x in case.data.items()}
        self.data = {name: _moved_once(name, x, rounding) for name, x in data.items()} if once else data
        self.once, self.moved = once, (lambda x: x) if once else rounding
        self.loss = LOSSES[case.task](self.data, self.moved)
        self.entries = _directions(case)
        self.phi = {name: self._prepared(name, value) for name, value in case.phi.items()}
        if once:
            self.phi = {name: self._eta_moved(name, x, rounding) for name, x in self.phi.items()}

    def answer(self) -> Answer:
        value, slope = self._unrolled()
        if not self.case.per_task:
            slope = None if slope is None else slope.mean(axis=-1, keepdims=True)
        spread = _spread(value, 0)
        if slope is None:
            return Answer(value[0], spread, [], [], [])
        return Answer(value[0], spread, self.entries, slope[:, 0], _spread(slope, 1))

    def _prepared(self, name: str, value: Any) -> Dual:
        """Return one meta-parameter beside w (copies, B, d), with T in front if scheduled, and its directions."""
        x = digits.exact(value)
        led = name in self.case.scheduled
        rest = x.shape[int(led) :]
        shape = (1, *rest, 1) if self.case.per_task and rest else (1, 1, *rest) if rest else (1, 1, 1)
        x = x.reshape((*x.shape[: int(led)], *shape))
        count = len(self.entries)
        if not led:
            return Dual(x, self._seeds(name, None, shape) if count else None)
        return Dual(x)  # `_phi_at` adds the directions

    def _eta_moved(self, name: str, eta: Dual, rounding: Rounding) -> Dual:
        """Return a step size that differs a little from copy to copy, the same at all times."""
        led = name in self.case.scheduled
        return Dual(eta.x * rounding(Dual(np.ones_like(eta.x[0] if led else eta.x))).x, eta.dx)

    def _seeds(self, name: str, t: int | None, shape: tuple[int, ...]) -> Any:
        """Return the directions (P, ...) in which this meta-parameter moves at step t."""
        seeds = np.zeros((len(self.entries), *shape), dtype=object)
        seeds[...] = digits.exact(0.0)[()]
        one = digits.exact(1.0)[()]
        for row, (field, index) in enumerate(self.entries):
            if field != name or (t is not None and index[0] != t):
                continue
            rest = index if t is None else index[1:]
            if self.case.per_task or not rest:
                seeds[row] = one
            else:
                seeds[row, ..., rest[0]] = one
        return seeds

    def _phi_at(self, t: int) -> dict[str, Dual]:
        if not self.case.scheduled:
            return self.phi
        found = dict(self.phi)
        for name in self.case.scheduled:
            x = self.phi[name].x[t]
            found[name] = Dual(x, self._seeds(name, t, x.shape) if self.entries else None)
        return found

    def _unrolled(self) -> tuple[Any, Any]:
        case, moved = self.case, self.moved
        w0 = np.broadcast_to(self.data["w0"], (COPIES, case.batch, case.d))
        w, state = Dual(w0), RULES[case.rule].start(Dual(w0))
        held, window = case.options.get("gradient") == "stop_gradient", case.options.get("window", case.steps)
        total: Dual | None = None
        for t in range(case.steps):
            if t and t % window == 0:
                w, state = w.held(), {name: s.held() for name, s in state.items()}
            g = moved(self.loss.gradient(w))
            w, state = RULES[case.rule].step(self._phi_at(t), state, w, g.held() if held else g, t + 1, moved)
            w, state = moved(w), {name: moved(s) for name, s in state.items()}
            term = self._term(w, t + 1)
            if term is not None:
                total = term if total is None else moved(total + term)
        assert total is not None
        if case.objective in ("LogFinal", "LogExcess"):
            total = total.log() / case.steps
        total = moved(total)
        return total.x, total.dx

    def _term(self, w: Dual, t: int) -> Dual | None:
        case = self.case
        every = case.objective in ("Mean", "MeanLog", "WeightedSum")
        if not every and t < case.steps:
            return None
        term = self.moved(self.loss.measured(case.measure, w))
        if case.objective == "MeanLog":
            term = term.log() / case.steps
        if case.objective == "Mean":
            term = term / case.steps
        if case.objective == "WeightedSum":
            term = term * as_dual(digits.exact(case.rho)[()] ** t)
        return self.moved(term)


def _moved_once(name: str, x: Any, moved: Rounding) -> Any:
    """Return the data with an axis of copies in front: moved entry by entry, matrices by their largest entry.

    A matrix that has no full rank moves as a whole, so that its zero eigenvalues stay.
    """
    first = np.broadcast_to(x, (COPIES, *x.shape))
    if name == "H":
        x = x if x.ndim == 3 else x[None]
        first = np.broadcast_to(x, (COPIES, *x.shape))
        size = abs(x).max(axis=(-1, -2), keepdims=True)
        if any(rank(one) < len(one) for one in x):
            return first * moved(Dual(np.ones_like(first[..., :1, :1]))).x
        noise = size * (moved(Dual(np.ones_like(first))).x - 1)
        return first + (noise + np.swapaxes(noise, -1, -2)) / 2
    return moved(Dual(first)).x


def _directions(case: Case) -> list[tuple[str, tuple[int, ...]]]:
    """Return at most four entries of phi: the first of every field, then others by chance."""
    if case.method == "value":
        return []
    first, others = [], []
    for name, value in case.phi.items():
        shape = np.shape(value)
        if case.per_task:
            shape = shape[: int(name in case.scheduled)]
        entries = [(name, index) for index in np.ndindex(*shape)]
        pick = np.random.default_rng(len(entries)).permutation(len(entries))
        first.append(entries[pick[0]])
        others += [entries[k] for k in pick[1:]]
    return (first + others)[: max(len(first), MOST_DIRECTIONS)]


def _spread(x: Any, axis: int) -> Any:
    copies = np.moveaxis(x, axis, 0)
    distance = abs(copies[1:] - copies[0])
    return distance.max(axis=0)
