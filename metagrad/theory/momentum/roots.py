"""The roots z1, z2 of a mode under momentum, z^2 - tau z + delta = 0: their kind, and how fast the mode goes.

The kind decides how r_t behaves. With h = eta lambda and b = sqrt(beta), heavy ball (Polyak 1964) has

| h                | roots              | r_t                                                           |
|------------------|--------------------|---------------------------------------------------------------|
| 0 < h < (1-b)^2  | real, of sign +    | falls like z1^t, without a zero                               |
| (1-b)^2, (1+b)^2 | double, +b and -b  | z^t (1 + t (1 - z)): the only place where it is no power of t |
| between          | complex, of size b | b^t times an oscillation: about t zeros in h                  |
| h > (1+b)^2      | real, of sign -    | alternates, without a zero; grows for h > 2 (1 + beta)        |

Nesterov has its positive double root at h = ((1-beta)/(1+beta))^2, complex roots up to h = 1, where both vanish and
r_t is 0 from t = 2 on, and beyond it roots of both signs; it diverges for h > 2 (1+beta)/(1+2 beta). Derived; checked
by tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.momentum._wide import Wide
from metagrad.theory.momentum.iterates import RULES, Rule
from metagrad.theory.numbers.checks import Floats, check_choice, check_together, finite_floats


@dataclass(frozen=True, eq=False)
class Roots:
    """The two roots of each mode: |large| >= |small| where they are `real`, NaN elsewhere.

    `radius`: the largest modulus. `real`: the discriminant is >= 0, double roots among them.
    """

    large: Floats
    small: Floats
    radius: Floats
    real: NDArray[np.bool_]

    @property
    def one_sign(self) -> NDArray[np.bool_]:
        """Whether both roots are real, nonzero and of the same sign."""
        return np.asarray(self.real & (np.sign(self.large) * np.sign(self.small) > 0))


def roots(rule: Rule, h: ArrayLike, beta: ArrayLike) -> Roots:
    """Return the roots at h = eta lambda and beta, which broadcast; discriminant and sign of it are exact to 2^-103.

    >>> float(roots("heavy_ball", 1.0, 0.81).radius.round(12)), float(roots("nesterov", 0.5, 0.0).radius)
    (0.9, 0.5)
    """
    check_choice("roots", "rule", rule, RULES)
    step, decay = finite_floats("roots", "h", h), finite_floats("roots", "beta", beta)
    check_together("roots", h=step.shape, beta=decay.shape)
    step, decay = np.broadcast_arrays(step, decay)
    one, x, b = Wide.of(np.ones(step.shape)), Wide.of(step), Wide.of(decay)
    tau, delta = (one + b - x, b) if rule == "heavy_ball" else ((one + b) * (one - x), b * (one - x))
    discriminant = (tau * tau - delta.doubled(2)).to_float()
    trace, product = tau.to_float(), delta.to_float()
    real = discriminant >= 0
    with np.errstate(invalid="ignore", divide="ignore"):
        large = (trace + np.where(trace < 0, -1.0, 1.0) * np.sqrt(np.where(real, discriminant, np.nan))) / 2
        small = np.where(large == 0, 0.0, product / np.where(large == 0, 1.0, large))
        radius = np.where(real, np.abs(large), np.sqrt(np.abs(product)))
    return Roots(large, np.where(real, small, np.nan), radius, real)


def double_root_step(rule: Rule, beta: ArrayLike) -> tuple[Floats, Floats]:
    """Return the two h at which the roots meet: below the first and beyond the second they are real.

    >>> [float(h.round(12)) for h in double_root_step("heavy_ball", 0.81)]
    [0.01, 3.61]
    """
    check_choice("double_root_step", "rule", rule, RULES)
    decay = finite_floats("double_root_step", "beta", beta)
    with np.errstate(invalid="ignore"):
        root = np.sqrt(decay)
        if rule == "heavy_ball":
            return np.asarray(((1 - decay) / (1 + root)) ** 2, np.float64), np.asarray((1 + root) ** 2, np.float64)
        first = np.where(decay < 0, np.nan, ((1 - decay) / (1 + decay)) ** 2)
    return np.asarray(first, np.float64), np.asarray(np.where(decay < 0, np.nan, 1.0), np.float64)


def stability_limit(rule: Rule, beta: ArrayLike) -> Floats:
    """Return the h beyond which a mode grows, for beta in [0, 1]."""
    check_choice("stability_limit", "rule", rule, RULES)
    decay = finite_floats("stability_limit", "beta", beta)
    limit = 2 * (1 + decay)
    return np.asarray(limit if rule == "heavy_ball" else limit / (1 + 2 * decay), np.float64)
