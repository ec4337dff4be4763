"""How far the meta-gradient describes the meta-objective: the largest change of phi that it predicts.

phi moves along the meta-gradient g, each leaf measured by its own length s: the step is delta s^2 g/|s g|, so that
delta is a relative change, and the central difference of the objective over 2 delta |s g| is 1 where g is right. A leaf
that is zero has no relative change, and stays, unless all are zero: then s = 1. The
reach is the largest delta, in half decades from 0.1 down, at which it lies in [1/2, 3/2], at the next smaller one too.
An exact derivative may be useless: in chaos the reach shrinks exponentially with the horizon (Metz et al. 2021).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad
from metagrad.diagnosis.case import Case, vector
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.xp import float_info, namespace, to_host

USELESS = 1e-3  # an outer step changes phi by more
_SEEN = 64.0  # roundings of the objective that a change of it has to be above
_SMALLEST, _COARSE = 1e-9, 1e-2


def reach(case: Case, grad: Tree, dtype: Any, *, steps: int | None = None, least: float = _SMALLEST) -> float:
    """Return the reach of the meta-gradient; 0 where it is below `least`, or below what the dtype resolves.

    NaN where the meta-gradient is zero or no number, or where only changes above a hundredth move the objective by more
    than its rounding, and these are too large for it.
    """
    direction = _Direction.of(case, grad, dtype, steps)
    if direction is None:
        return float("nan")
    before, half = None, 2
    while (delta := 10.0 ** (-half / 2)) >= 0.9 * least and direction.is_seen(delta):
        agrees = direction.predicts(delta)
        if agrees and before is not None:
            return float(before)
        before, half = delta if agrees else None, half + 1
    return before or (0.0 if delta < _COARSE else float("nan"))


def useful_horizon(case: Case, dtype: Any) -> int:
    """Return about the longest horizon at which g predicts a change of phi by `USELESS`, found by bisection."""
    good, bad = 1, case.steps
    while bad > good + max(1, case.steps // 32):
        middle = (good + bad) // 2
        grad = case.gradient(steps=middle).grad
        if reach(case, grad, dtype, steps=middle, least=USELESS / 3) >= USELESS:
            good = middle
        else:
            bad = middle
    return good


class _Direction:
    """The unit step along the meta-gradient, in relative units, and the slope that is predicted along it."""

    def __init__(self, case: Case, unit: list[Any], slope: Scaled, eps: float, steps: int | None) -> None:
        self._case, self._unit, self._slope, self._steps, self._eps = case, unit, slope, steps, eps
        self._rounding = abs(case.value(case.phi, steps)) * (_SEEN * eps)

    @classmethod
    def of(cls, case: Case, grad: Tree, dtype: Any, steps: int | None) -> _Direction | None:
        """Return the direction, or None where the meta-gradient is zero or no number."""
        flat = [np.asarray(to_host(x), np.float64) for x in ad.leaves(case.phi)]
        lengths = [float(np.linalg.norm(x)) for x in flat]
        lengths = lengths if any(lengths) else [1.0] * len(flat)
        entries, top = vector(grad)
        scales = np.concatenate([np.full(x.size, s) for x, s in zip(flat, lengths, strict=True)])
        if entries.shape != scales.shape:
            return None
        relative = entries * scales
        size = float(np.sqrt(np.sum(relative * relative)))
        if not 0 < size < np.inf:
            return None
        moves = np.split(scales * relative / size, np.cumsum([x.size for x in flat])[:-1])
        unit = [move.reshape(x.shape) for move, x in zip(moves, flat, strict=True)]
        return cls(case, unit, Scaled.of(np.asarray(size), top), float_info(dtype).eps, steps)

    def is_seen(self, delta: float) -> bool:
        """Whether a relative change delta moves phi and the objective by more than their roundings."""
        return delta > 16 * self._eps and bool(to_host(self._slope * delta > self._rounding))

    def predicts(self, delta: float) -> bool:
        """Whether the central difference over the relative change delta is the slope, to within a half."""
        try:
            up, down = (self._case.value(self._moved(sign * delta), self._steps) for sign in (1, -1))
        except ValueError:  # beyond the range of the rule
            return False
        ratio = (up - down) / (self._slope * (2 * delta))
        found = float(to_host(ratio.to_float(np.float64, out_of_range="ieee")))
        return 0.5 <= found <= 1.5

    def _moved(self, by: float) -> Tree:
        phi = self._case.phi
        return ad.unflatten(phi, [x + _like(x, by * u) for x, u in zip(ad.leaves(phi), self._unit, strict=True)])


def _like(x: Any, y: Any) -> Any:
    """Return the float64 array y of the host as what x is: a Python float, or an array of its dtype and device."""
    if isinstance(x, float):
        return float(y)
    return namespace(x).asarray(y.astype(x.dtype))
