"""The spectral filter of gradient descent on least squares, h_t(s), at any size.

Started at w_0 = 0, gradient descent on ||Xw - y||^2/(2n) fits the part of y along an eigenvalue s of X'X/n by the
factor s h_t(s):

    h_t(s) = (1 - (1 - eta s)^t)/s,     h_t(0) = eta t,     dh_t/deta = t (1 - eta s)^{t-1}.

h_t rises from 0 to 1/s, the least-squares solution; beyond eta = 2/s it leaves every float range. So it comes with a
factor exp(scale) apart, common to all eigenvalues. dh_t/deta leaves the range downwards too, wherever |1 - eta s| < 1,
and so comes as signs and logarithms. Derived; checked by tests against mpmath.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import Floats, check_together, finite_floats, step_counts
from metagrad.theory.numbers.modes import Factors
from metagrad.theory.numbers.signed_log import SignedLog, signed_sum


@dataclass(frozen=True, eq=False)
class Filter:
    """h_t = value exp(scale) and dh_t/deta = slope; value, slope (..., r), scale (...) >= 0 (any in `left_over`).

    `unit` (...) is exp(-scale): the number 1 in the units of `value`.
    """

    value: Floats
    slope: SignedLog
    scale: Floats

    @property
    def unit(self) -> Floats:
        """The number 1 in the units of `value`."""
        with np.errstate(under="ignore"):
            return np.asarray(np.exp(-self.scale), np.float64)

    def square(self, *weights: Floats) -> SignedLog:
        """Return sum_j weights_j h_j^2, for weights (r,) >= 0 that may come in factors."""
        root = self.value
        for factor in weights:
            root = root * np.sqrt(factor)
        return sum_of_squares(root, self.scale)

    def d_square(self, *weights: Floats) -> SignedLog:
        """Return its eta-derivative, 2 sum_j weights_j h_j dh_j/deta."""
        return self.pull(2 * self.value, *weights)

    def pull(self, x: Floats, *factors: Floats) -> SignedLog:
        """Return sum_j x_j exp(scale) dh_j/deta, for x (..., r) in the units of `value`; x may come in factors."""
        terms = self.slope
        for factor in (x, *factors):
            terms = terms * factor
        return signed_sum(terms.sign, terms.log, self.scale)


def left_over(
    eigenvalues: Floats, eta: ArrayLike, steps: ArrayLike, counted: NDArray[np.bool_], function: str
) -> Filter:
    """Return what is left to fit, (1 - eta s)^t = 1 - s h_t, as the value of a filter, with the slope of h_t.

    Its unit is the largest one of those that are counted, so that they keep their digits also where all are tiny.
    """
    move = spectral_filter(eigenvalues, eta, steps, function)
    t = step_counts(function, steps)[..., None]
    factors = Factors.of(finite_floats(function, "eta", eta)[..., None], eigenvalues)
    log = t * factors.log
    scale = np.max(np.where(counted, log, -np.inf), axis=-1, keepdims=True, initial=-np.inf)
    scale = np.where(np.isfinite(scale), scale, 0.0)
    sign = np.where((factors.sign < 0) & (t % 2 == 1), -1.0, 1.0)
    with np.errstate(under="ignore", over="ignore"):
        value = np.where(counted, sign * np.exp(log - scale), 0.0)
    return Filter(np.asarray(value, np.float64), move.slope, np.asarray(scale[..., 0], np.float64))


def sum_of_squares(x: Floats, scale: ArrayLike) -> SignedLog:
    """Return exp(2 scale) sum_i x_i^2 over the last axis, also where the squares of floats leave their range."""
    size = np.max(np.abs(x), axis=-1, keepdims=True, initial=0.0)
    total = SignedLog.from_float(np.sum((x / np.where(size == 0, 1.0, size)) ** 2, axis=-1))
    with np.errstate(divide="ignore"):
        log = total.log + 2 * np.log(size[..., 0]) + 2 * np.asarray(scale)
    return SignedLog(total.sign, np.where(total.sign == 0, -np.inf, log))


def spectral_filter(eigenvalues: Floats, eta: ArrayLike, steps: ArrayLike, function: str) -> Filter:
    """Return h_t and its eta-derivative at the eigenvalues (r,); `eta` and `steps` broadcast to the leading axes."""
    t = step_counts(function, steps)[..., None]
    step_size = finite_floats(function, "eta", eta)[..., None]
    check_together(function, eta=step_size.shape[:-1], steps=t.shape[:-1])
    factors = Factors.of(step_size, eigenvalues)
    log = t * factors.log
    scale = np.maximum(0.0, np.max(log, axis=-1, keepdims=True, initial=0.0))
    with np.errstate(under="ignore", divide="ignore", invalid="ignore", over="ignore"):
        unit = np.exp(-scale)
        even = np.where(factors.sign < 0, np.where(t % 2 == 0, 1.0, -1.0), 1.0)
        # |a|^t is close to 1 exactly where 1 - |a|^t would cancel
        shrinking = np.where(log <= 0, -np.expm1(log) * unit, np.exp(log - scale) * np.expm1(-log))
        difference = np.where(even > 0, shrinking, unit + np.exp(log - scale))
        flat = np.abs(step_size * eigenvalues * t) < np.finfo(np.float64).eps / 8
        value = np.where(flat, step_size * t * unit, difference / np.where(eigenvalues == 0, 1.0, eigenvalues))
    log_slope = np.log(t) + np.where(t == 1, 0.0, (t - 1) * np.where(t == 1, 0.0, factors.log))
    sign = np.where(t == 1, 1.0, np.where(factors.sign == 0, 0.0, even * np.where(factors.sign < 0, -1.0, 1.0)))
    return Filter(value, SignedLog(sign, log_slope), np.asarray(scale[..., 0], np.float64))
