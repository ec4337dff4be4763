"""The spectral filter of gradient descent on least squares, h_t(s), at any size.

Started at w_0 = 0, gradient descent on ||Xw - y||^2/(2n) fits the part of y along an eigenvalue s of X'X/n by the
factor s h_t(s):

    h_t(s) = (1 - (1 - eta s)^t)/s,     h_t(0) = eta t,     dh_t/deta = t (1 - eta s)^{t-1}.

h_t rises from 0 to 1/s, the least-squares solution; beyond eta = 2/s it leaves every float range. So both numbers
come with a common factor exp(scale) apart, one for all eigenvalues. Derived; checked by tests against mpmath.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory._checks import Floats, finite_floats, step_counts
from metagrad.theory.modes import Factors


@dataclass(frozen=True, eq=False)
class Filter:
    """h_t = value exp(scale) and dh_t/deta = slope exp(scale); value, slope (..., r), scale (...) >= 0.

    `unit` (...) is exp(-scale): the number 1 in the scaled numbers.
    """

    value: Floats
    slope: Floats
    scale: Floats

    @property
    def unit(self) -> Floats:
        """The number 1 in the scaled numbers."""
        with np.errstate(under="ignore"):
            return np.asarray(np.exp(-self.scale), np.float64)


def spectral_filter(eigenvalues: Floats, eta: ArrayLike, steps: ArrayLike, function: str) -> Filter:
    """Return h_t and its eta-derivative at the eigenvalues (r,); `eta` and `steps` broadcast to the leading axes."""
    t = step_counts(function, steps)[..., None]
    step_size = finite_floats(function, "eta", eta)[..., None]
    factors = Factors.of(step_size, eigenvalues)
    log = t * factors.log
    # dh/deta has the factor t: with it taken out as well, nothing here exceeds exp(0) by more than 1/s
    scale = np.maximum(0.0, np.max(np.where(np.isnan(log), -np.inf, log), axis=-1, keepdims=True, initial=0.0))
    with np.errstate(under="ignore", divide="ignore", invalid="ignore", over="ignore"):
        unit = np.exp(-scale)
        even = np.where(factors.sign < 0, np.where(t % 2 == 0, 1.0, -1.0), 1.0)
        # |a|^t is close to 1 exactly where 1 - |a|^t would cancel
        shrinking = np.where(log <= 0, -np.expm1(log) * unit, np.exp(log - scale) * np.expm1(-log))
        difference = np.where(even > 0, shrinking, unit + np.exp(log - scale))
        flat = np.abs(step_size * eigenvalues * t) < np.finfo(np.float64).tiny
        value = np.where(flat, step_size * t * unit, difference / np.where(eigenvalues == 0, 1.0, eigenvalues))
        log_slope = np.where(t == 1, 0.0, (t - 1) * factors.log)
        sign = np.where(t == 1, 1.0, np.where(factors.sign == 0, 0.0, even * np.where(factors.sign < 0, -1.0, 1.0)))
        slope = sign * t * np.exp(log_slope - scale)
    return Filter(value, slope, np.asarray(scale[..., 0], np.float64))
