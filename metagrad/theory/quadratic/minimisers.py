"""The best step size: the stationary point of F and of G (one and the same), and its limit.

F is convex in eta, so F' has one zero eta*, between 1/L and 1/alpha, where the modes that are still shrinking
(a_i > 0) balance those that overshoot (a_i < 0):

    sum_{a_i > 0} g_i |a_i|^n = sum_{a_i < 0} g_i |a_i|^n,      g_i = kappa_i lambda_i,  n = 2t - 1.

As t grows, eta* -> 2/(alpha + L), from whichever side has less weight. G'' at eta* grows like t: G has a kink in the
limit, which is why constant outer steps oscillate around eta* and 1/sqrt(k) steps settle. Only active modes
(lambda_i > 0, c_i > 0) count. Derived; checked by tests against 50-digit roots and sympy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import Floats, check_choice, check_kind, check_together, step_counts
from metagrad.theory.numbers.modes import Factors
from metagrad.theory.numbers.signed_log import signed_sum
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, log_eigenvalues, log_kappa

_SAME = 1e-12
"""Eigenvalues closer than this, relatively, count as one where the weight of alpha or L is asked for."""
_HALVINGS = 64
"""Halvings of log eta that leave less than one rounding of any bracket, whatever the condition number."""


def minimiser(spectrum: Spectrum, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return eta*, the zero of F' and of G', to about 1e-15 relative; NaN without an active mode.

    Bisection on the logarithms of the two sides: their difference falls steadily from +inf at 1/L to -inf at 1/alpha,
    where F' itself would be lost in rounding at large t. The middle is the geometric mean.

    >>> float(minimiser(Spectrum.diagonal([1.0, 3.0], [3.0, 1.0]), 80))
    0.5
    """
    check_kind("minimiser", "spectrum", spectrum, Spectrum)
    t = step_counts("minimiser", steps)
    check_together("minimiser", spectrum=spectrum.batch_shape, steps=t.shape)
    none, single = np.isnan(spectrum.L), spectrum.alpha == spectrum.L
    shape = np.broadcast_shapes(spectrum.batch_shape, t.shape)
    low, high = (np.broadcast_to(np.where(none, 1.0, 1 / x), shape) for x in (spectrum.L, spectrum.alpha))
    log_gains = np.where(spectrum.active, log_kappa(spectrum, measure) + log_eigenvalues(spectrum), -np.inf)
    for _ in range(_HALVINGS):
        middle = np.sqrt(low) * np.sqrt(high)
        shrinking = _shrinks(spectrum.eigenvalues, log_gains, middle, 2 * t - 1)
        low, high = np.where(shrinking, middle, low), np.where(shrinking, high, middle)
    root = np.where(single, 1 / spectrum.L, np.sqrt(low) * np.sqrt(high))
    return np.asarray(np.where(none, np.nan, root), np.float64)


def two_eigenvalue_minimiser(spectrum: Spectrum, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return eta* of a problem whose active eigenvalues are alpha and L only, in closed form.

    eta* = (1 + rho)/(alpha + rho L), rho = (g_L/g_alpha)^{1/(2t-1)}; g_L/g_alpha is c_L L^2/(c_alpha alpha^2) in the
    loss and c_L L/(c_alpha alpha) in ||w||^2. With more eigenvalues between them the result is only an approximation.
    """
    check_kind("two_eigenvalue_minimiser", "spectrum", spectrum, Spectrum)
    t = step_counts("two_eigenvalue_minimiser", steps)
    check_together("two_eigenvalue_minimiser", spectrum=spectrum.batch_shape, steps=t.shape)
    rho = np.exp(_log_gain_ratio(spectrum, measure) / (2 * t - 1))
    return np.asarray((1 + rho) / (spectrum.alpha + rho * spectrum.L), np.float64)


def limit_minimiser(spectrum: Spectrum) -> Floats:
    """Return 2/(alpha + L), the limit of eta* as t grows.

    >>> float(limit_minimiser(Spectrum.diagonal([1.0, 3.0], [1.0, 1.0])))
    0.5
    """
    check_kind("limit_minimiser", "spectrum", spectrum, Spectrum)
    return np.asarray(2 / (spectrum.alpha + spectrum.L), np.float64)


def first_correction(spectrum: Spectrum, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return the leading term of eta* - 2/(alpha + L): -(L - alpha)/(L + alpha)^2 log(g_L/g_alpha)/(2t - 1)."""
    check_kind("first_correction", "spectrum", spectrum, Spectrum)
    t = step_counts("first_correction", steps)
    check_together("first_correction", spectrum=spectrum.batch_shape, steps=t.shape)
    alpha, L = spectrum.alpha, spectrum.L
    return np.asarray(-(L - alpha) / (L + alpha) ** 2 * _log_gain_ratio(spectrum, measure) / (2 * t - 1), np.float64)


def curvature_at_minimiser(spectrum: Spectrum, steps: ArrayLike) -> Floats:
    """Return G''(eta*) as t grows: (4t - 2) alpha L (L + alpha)^2/(L - alpha)^2; inf where alpha = L."""
    check_kind("curvature_at_minimiser", "spectrum", spectrum, Spectrum)
    t = step_counts("curvature_at_minimiser", steps)
    check_together("curvature_at_minimiser", spectrum=spectrum.batch_shape, steps=t.shape)
    alpha, L = spectrum.alpha, spectrum.L
    with np.errstate(divide="ignore"):
        return np.asarray((4 * t - 2) * alpha * L * (L + alpha) ** 2 / (L - alpha) ** 2, np.float64)


def log_end_weights(spectrum: Spectrum) -> tuple[Floats, Floats]:
    """Return log c at alpha and at L, shape (...,): sums over eigenvalues equal to within 1e-12 relative."""
    check_kind("log_end_weights", "spectrum", spectrum, Spectrum)
    weights = np.where(spectrum.active, spectrum.log_weights, -np.inf)

    def total(end: Floats) -> Floats:
        same = np.abs(spectrum.eigenvalues - end[..., None]) <= _SAME * end[..., None]
        return signed_sum(1.0, np.where(same, weights, -np.inf), 0.0).log

    return total(spectrum.alpha), total(spectrum.L)


def _log_gain_ratio(spectrum: Spectrum, measure: Measure) -> Floats:
    """Return log(g_L/g_alpha)."""
    check_choice("minimisers", "measure", measure, ("loss", "squared_norm"))
    power = 2 if measure == "loss" else 1
    at_alpha, at_L = log_end_weights(spectrum)
    return np.asarray(at_L - at_alpha + power * (np.log(spectrum.L) - np.log(spectrum.alpha)), np.float64)


def _shrinks(eigenvalues: Floats, log_gains: Floats, eta: Floats, power: Floats) -> NDArray[np.bool_]:
    """Return whether the modes with a > 0 outweigh those with a < 0, so that eta is below eta*."""
    factors = Factors.of(eta[..., None], eigenvalues)
    log_terms = log_gains + power[..., None] * factors.log
    shrinking, overshooting = (
        signed_sum(1.0, np.where(factors.sign == sign, log_terms, -np.inf), 0.0).log for sign in (1.0, -1.0)
    )
    return np.asarray(shrinking > overshooting)
