"""Newton's method on the barrier of a small semidefinite program, from the inside.

minimise cost'x - log det S(x) - sum of log x_v over the variables with a sign,   S(x) = sum_v x_v A_v,
under the equations terms x = aim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metagrad.theory.numbers.checks import Floats

_STEPS = 80
_SETTLED = 1e-10
_HALVINGS = 60


@dataclass(frozen=True, eq=False)
class Barrier:
    """A (V, m, m) symmetric, the equations `terms` (E, V) and `aim` (E,), `signed` (V,): which x_v are positive."""

    A: Floats
    terms: Floats
    aim: Floats
    signed: NDArray[np.bool_]

    def matrix(self, x: Floats) -> Floats:
        """Return S(x)."""
        return np.asarray(np.tensordot(x, self.A, 1))

    def centred(self, x: Floats, cost: Floats, done: Callable[[Floats], bool] | None = None) -> Floats:
        """Return the minimum from a point inside, or the first point on the way at which `done`."""
        for _ in range(_STEPS):
            if done is not None and done(x):
                break
            scaled = np.linalg.inv(self.matrix(x)) @ self.A
            slope = cost - np.trace(scaled, axis1=1, axis2=2) - np.where(self.signed, 1 / x, 0.0)
            hessian = scaled.reshape(x.size, -1) @ scaled.transpose(0, 2, 1).reshape(x.size, -1).T
            hessian += np.diag(np.where(self.signed, 1 / x**2, 0.0))
            step = self._newton(hessian, slope, x)
            x = x + self._length(x, step, slope, cost) * step
            if abs(slope @ step) < _SETTLED:
                break
        return x

    def _newton(self, hessian: Floats, slope: Floats, x: Floats) -> Floats:
        """Return the step that keeps the equations, and mends what rounding has done to them; variables rescaled."""
        size = 1 / np.sqrt(np.diag(hessian))
        rows = self.terms * size
        system = np.block([[hessian * np.outer(size, size), rows.T], [rows, np.zeros((len(rows), len(rows)))]])
        right = np.concatenate([-slope * size, self.aim - self.terms @ x])
        return np.asarray(np.linalg.solve(system, right)[: x.size] * size)

    def _length(self, x: Floats, step: Floats, slope: Floats, cost: Floats) -> float:
        """Return a length of the step that stays inside and lowers the barrier; 0 where rounding leaves none."""
        inward = self.signed & (step < 0)
        length = min(1.0, 0.95 * float(np.min(-x[inward] / step[inward], initial=np.inf)))
        here = self._value(x, cost)
        for _ in range(_HALVINGS):
            if self._value(x + length * step, cost) <= here + 0.1 * length * float(slope @ step) + 1e-12 * abs(here):
                return length
            length /= 2
        return 0.0

    def _value(self, x: Floats, cost: Floats) -> float:
        try:
            root = np.linalg.cholesky(self.matrix(x))
        except np.linalg.LinAlgError:
            return np.inf
        return float(cost @ x - 2 * np.sum(np.log(np.diag(root))) - np.sum(np.log(x[self.signed])))
