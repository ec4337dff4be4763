"""Least squares from w_0 = 0, averaged over targets: what a schedule of T steps is judged on.

y = Xw* + xi, xi ~ N(0, sigma^2 I), w* isotropic with E||w*||^2 = signal, given the spectrum mu of H = X'X/n. T steps
with any step sizes, with or without weight decay, give w_T = q(H) X'y/n with a polynomial q of degree T - 1, and

    risk = E||w_T - w*||^2 = signal integral [(1 - s q(s))^2 + delta s q(s)^2] dmu(s),
    delta = noise/signal,   noise = sigma^2 d/n.

An eigenvalue 0 is out of reach of every q: it adds its weight to the risk, whatever is done. So a spectrum is held as
positive eigenvalues with weights, and the weight of 0 apart.

In the limit d/n -> gamma with independent entries mu is the law of Marchenko and Pastur. The rule of N nodes for
s dMP(s), with what it leaves of the total weight put at 0, gives the risk of T <= N steps exactly: the risk is
signal plus the integral against s dMP(s) of a polynomial of degree at most 2T - 1. So a limit is such a problem too,
up to a horizon. Derived; checked by tests against moments in rationals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares.checks import checked_level, checked_ratio
from metagrad.theory.least_squares.marchenko_pastur import rule, unfitted
from metagrad.theory.numbers.checks import Floats, bad_value, count, finite_floats, number
from metagrad.theory.schedules._checks import checked_steps, positive_level


@dataclass(frozen=True, eq=False)
class AverageCase:
    """Positive eigenvalues `nodes` (N,), their `weights` (N,), the weight of 0, and the levels of signal and noise.

    Equal nodes are merged and nodes without weight dropped. `signal` is E||w*||^2, above 0; `noise` is
    sigma^2 d/n, at least 0. Up to `horizon` steps the problem stands for what it was made of: inf for a spectrum, the
    number of nodes for a limit. ValueError for nodes outside 1e-75 to 1e75, negative weights, no weight at all.

    >>> problem = AverageCase([1.0, 2.0], [0.5, 0.5], noise=0.25)
    >>> problem.decay, problem.at_zero
    (0.25, 0.0)
    """

    nodes: Floats
    weights: Floats
    at_zero: float = 0.0
    signal: float = 1.0
    noise: float = 0.0
    horizon: float = np.inf

    def __post_init__(self) -> None:
        """Validate, sort and merge."""
        nodes, weights = (finite_floats("AverageCase", n, getattr(self, n)) for n in ("nodes", "weights"))
        if nodes.ndim != 1 or nodes.size == 0:
            bad_value("AverageCase", "nodes", f"of shape {nodes.shape}", "shape (N,) with N >= 1")
        if weights.shape != nodes.shape:
            bad_value("AverageCase", "weights", f"of shape {weights.shape}", f"shape {nodes.shape}, one a node")
        if not (nodes.min() >= 1e-75 and nodes.max() <= 1e75):
            worst = nodes.min() if nodes.min() < 1e-75 else nodes.max()
            remedy = "The weight of the eigenvalue 0 is the argument at_zero."
            bad_value("AverageCase", "nodes", f"{worst:.6g}", "positive eigenvalues, 1e-75 to 1e75", remedy)
        if weights.min() < 0 or not 1e-75 <= weights.max() <= 1e75:
            came = f"{weights.min():.6g} to {weights.max():.6g}"
            bad_value("AverageCase", "weights", came, "numbers of at least 0, the largest from 1e-75 to 1e75")
        object.__setattr__(self, "noise", float(_one(checked_level("AverageCase", "noise", self.noise), "noise")))
        if number("AverageCase", "at_zero", self.at_zero) < 0:
            bad_value("AverageCase", "at_zero", self.at_zero, "a number of at least 0")
        object.__setattr__(self, "at_zero", float(self.at_zero))
        object.__setattr__(self, "signal", float(_one(positive_level("AverageCase", "signal", self.signal), "signal")))
        if not (self.horizon == np.inf and isinstance(self.horizon, float)):
            number("AverageCase", "horizon", self.horizon)
            object.__setattr__(self, "horizon", count("AverageCase", "horizon", self.horizon))
        kept = weights > 0
        distinct, which = np.unique(nodes[kept], return_inverse=True)
        object.__setattr__(self, "nodes", distinct)
        object.__setattr__(self, "weights", np.bincount(which, weights[kept]))

    @classmethod
    def of(cls, eigenvalues: ArrayLike, n: int, *, sigma: float = 0.0, signal: float = 1.0) -> AverageCase:
        """Return the problem of a sample of n rows from all d eigenvalues of X'X/n, each of weight 1/d.

        Eigenvalues below d eps times the largest count as 0. ValueError where all do.

        >>> AverageCase.of([0.0, 0.5, 2.0, 2.0], 3, sigma=0.5).weights
        array([0.25, 0.5 ])
        """
        found, rows = finite_floats("AverageCase.of", "eigenvalues", eigenvalues), count("AverageCase.of", "n", n)
        if found.ndim != 1 or found.size == 0:
            bad_value("AverageCase.of", "eigenvalues", f"of shape {found.shape}", "shape (d,) with d >= 1")
        rounding = found.size * float(np.finfo(np.float64).eps) * max(found.max(), 0.0)
        if found.min() < -rounding or found.max() <= 0:
            came = f"{found.min():.6g} to {found.max():.6g}"
            bad_value("AverageCase.of", "eigenvalues", came, "numbers of at least 0, not all 0")
        positive = found[found > rounding]
        level = _one(checked_level("AverageCase.of", "sigma", sigma), "sigma")
        return cls(
            positive,
            np.full(positive.size, 1 / found.size),
            at_zero=1 - positive.size / found.size,
            signal=signal,
            noise=float(level) ** 2 * found.size / rows,
        )

    @classmethod
    def limit(cls, gamma: float, steps: int, *, sigma: float = 0.0, signal: float = 1.0) -> AverageCase:
        """Return the limit d/n -> gamma > 0, right for up to `steps` steps (gamma = 1, the singular case, too).

        >>> AverageCase.limit(1.0, 3).at_zero
        0.25
        """
        ratio = float(_one(checked_ratio("AverageCase.limit", gamma), "gamma"))
        size = checked_steps("AverageCase.limit", steps)
        level = float(_one(checked_level("AverageCase.limit", "sigma", sigma), "sigma"))
        nodes, weights = rule(ratio, size)
        zero = float(unfitted(ratio, size)[1])
        return cls(nodes, weights / nodes, zero, signal, level**2 * ratio, horizon=size)

    @property
    def decay(self) -> float:
        """The weight decay delta = noise/signal of the ridge solution with the least risk, the Bayes estimate."""
        return self.noise / self.signal


def _one(value: Floats, name: str) -> Floats:
    if value.ndim:
        bad_value("AverageCase", name, f"of shape {value.shape}", "one number")
    return value
