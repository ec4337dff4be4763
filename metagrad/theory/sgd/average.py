"""Minibatch SGD given the inputs X, averaged over the targets: y = Xw* + xi, xi ~ N(0, sigma^2 I), w* isotropic.

From w_0 = 0, with E w*w*' = (signal/d) I. In the coordinates of V, where H = diag(h), let c hold what least squares
makes of the noise, c_j = (X'xi)_j/(n h_j), in the kept directions (`SgdProblem`), and 0 in the others, which are open;
e = w - w* - c, r = xi - Xc. Beside S = E[ee'] the recursion of `Recursion` needs the mean m of e over the batches
only in E[m c'] and E[m r'], and as m moves by gradient descent, both are diagonal:

    E[m_j c_j] = delta_j in kept directions,  E[m r'] = diag(delta) X' in open ones;  delta+ = delta - eta (h delta - u)
    S+ = S - eta (HS + SH - 2 h delta_open) + eta^2 [c_b C + (1 - c_b) B],   S = E[ee'],   Z = S - 2 delta_open
    C  = (1/n) sum_i x_i x_i' (x_i'Z x_i + E r_i^2),   B = HZH + h u,   E r_i^2 = sigma^2 (1 - sum_kept U_ij^2)

with u = sigma^2/n in open directions of h > 0, else 0, and diagonal matrices written as vectors. Start: delta = -v,
S = signal/d + v, v = sigma^2/(n h) in kept directions, 0 in open ones. So one recursion stands for all targets, and its
two halves, (sigma, signal) = (0, 1) and (1, 0), for every noise level. Gaussian noise is not needed, independent
noise of variance sigma^2 is enough. Derived; checked by tests against enumeration in exact fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind
from metagrad.theory.sgd._checks import checked_scalar
from metagrad.theory.sgd.problem import Measure, SgdProblem, checked_sample
from metagrad.theory.sgd.recursion import Moments, Recursion


@dataclass(frozen=True, eq=False)
class SgdAverage:
    """The average of `problem` over its targets: noise `sigma` >= 0 and E||w*||^2 = `signal` >= 0; start w_0 = 0.

    `problem` lends X and its batches; its targets and its start are not looked at. `sgd.expected`, `values_and_slopes`
    and `at_steps` take an `SgdAverage` and the measures below in place of a problem and its measures. ValueError for
    levels that are negative or outside of 10^-60 to 10^60 and not 0.

    >>> from metagrad.theory import sgd
    >>> average = SgdAverage(SgdProblem([[1.0], [3.0]], [0.0, 0.0]), sigma=1.0)
    >>> sgd.expected(average, average.risk, 0.25, 1).to_float()
    array([1.   , 1.375])
    """

    problem: SgdProblem
    sigma: float
    signal: float = 1.0

    def __post_init__(self) -> None:
        """Validate."""
        check_kind("SgdAverage", "problem", self.problem, SgdProblem)
        for name in ("sigma", "signal"):
            object.__setattr__(self, name, checked_scalar("SgdAverage", name, getattr(self, name)))

    @property
    def X(self) -> Floats:  # noqa: N802
        """The inputs (n, d)."""
        return self.problem.X

    @cached_property
    def recursion(self) -> Recursion:
        """The recursion of S and delta."""
        return _AveragedRecursion(self)

    @property
    def train(self) -> Measure:
        """The train loss ||Xw - y||^2/(2n)."""
        h = self.problem.h
        return Measure(np.diag(h), np.where(self.kept, 0.0, h), float(np.mean(self.noise)))

    @property
    def excess(self) -> Measure:
        """The train loss less the least that any w has, free of the cancellation of that difference."""
        h = self.problem.h
        return Measure(np.diag(h), np.where(self.kept, 0.0, h), float(np.sum(self.drift)))

    @property
    def risk(self) -> Measure:
        """The squared distance ||w - w*||^2."""
        return self._distance(2 * np.eye(len(self.problem.h)))

    def validation(self, X_val: ArrayLike) -> Measure:
        """Return the loss ||X_val w - y_val||^2/(2 n_val) on other inputs, with the same w* and noise of their own."""
        X, _ = checked_sample("validation", X_val, np.zeros(len(np.asarray(X_val))), "X_val", "y_val")
        if X.shape[1] != self.X.shape[1]:
            bad_value("validation", "X_val", f"of shape {X.shape}", f"{self.X.shape[1]} columns like X")
        rows = X @ self.problem.svd[2]
        measure = self._distance(rows.T @ rows / len(X))
        return Measure(measure.A, measure.p, measure.q + self.sigma**2)

    def _distance(self, A: Floats) -> Measure:
        """Return (w - w*)'A(w - w*)/2, where w - w* = e + c."""
        return Measure(A, np.where(self.kept, -np.diag(A), 0.0), float(np.diag(A) @ self.fitted))

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Where c is the least-squares solution (d,); the other directions are open."""
        return np.arange(len(self.problem.h)) < self.problem.kept

    @cached_property
    def fitted(self) -> Floats:
        """v = E c_j^2 (d,)."""
        variance, h = self.sigma**2 / len(self.X), self.problem.h
        return np.divide(variance, h, out=np.zeros_like(h), where=self.kept)

    @cached_property
    def drift(self) -> Floats:
        """u = E g_j^2/h_j (d,) of the gradient g = X'r/n at the centre."""
        return np.where(~self.kept & (self.problem.h > 0), self.sigma**2 / len(self.X), 0.0)

    @cached_property
    def noise(self) -> Floats:
        """E r_i^2 (n,): exactly 0 where the kept directions fit all targets."""
        if self.problem.kept == len(self.X):
            return np.zeros(len(self.X))
        leverages = np.sum(self.problem.svd[0][:, : self.problem.kept] ** 2, axis=1)
        return np.asarray(self.sigma**2 * np.maximum(1 - leverages, 0.0), np.float64)


class _AveragedRecursion(Recursion):
    """The recursion of S and delta, in the places of S and m; delta decides nothing where no direction is open."""

    def __init__(self, average: SgdAverage) -> None:
        problem = average.problem
        self.X, self.h, self.n, self.spread = problem.rows, problem.h, len(problem.y), problem.spread
        self.noise, self.drift, self.open = average.noise, average.drift, ~average.kept
        self.start = -average.fitted, np.diag(average.signal / len(self.h) + average.fitted)
        self.drifts = bool(np.any(self.drift))
        self.coupled = self.drifts or (self.spread > 0 and bool(np.any(self.noise)))

    def parts(self, now: Moments) -> tuple[Floats, Floats, Floats]:
        """Return P and Q of S+ = S - eta P + eta^2 Q, in units of 2^s, and h delta - u, in units of 2^k."""
        fall = now.m * self.h - self._ones(now, now.k)[..., None] * self.drift
        if not self.coupled:
            HS = self.h[:, None] * now.S
            return HS + np.swapaxes(HS, -1, -2), self._second(self._weights(now.S), HS * self.h), fall
        delta = np.where(self.open, np.ldexp(now.m, (now.k - now.s)[:, None]), 0.0)
        one = self._ones(now, now.s)[..., None]
        Z = now.S - 2 * _diagonal(delta)
        HZ = self.h[:, None] * Z
        B = HZ * self.h + _diagonal(one * self.h * self.drift)
        P = HZ + np.swapaxes(HZ, -1, -2) + 2 * _diagonal(self.h * delta)
        return P, self._second(self._weights(Z) + one * self.noise, B), fall

    def _weights(self, Z: Floats) -> Floats:
        """Return x_i'Z x_i (..., n)."""
        return np.asarray(np.sum((self.X @ Z) * self.X, axis=-1), np.float64)


def _diagonal(values: Floats) -> Floats:
    """Return diagonal matrices (..., d, d)."""
    return np.asarray(values[..., None] * np.eye(values.shape[-1]), np.float64)
