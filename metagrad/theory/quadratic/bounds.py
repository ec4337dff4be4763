"""How large the meta-gradients are: F' is exponentially large or small almost everywhere, G' is bounded.

Write n = 2t - 1, g_i = 2 kappa_i lambda_i (c_i lambda_i^2 for the loss, 2 c_i lambda_i for ||w||^2), so that
F' = -t sum_i g_i a_i^n, and S = sum_i g_i. Sums run over the active modes, and g_alpha, g_L, kappa_alpha, kappa_L are
those of the modes at alpha and L (summed over repeated eigenvalues).

    |F'| <= t S mu^n                         always                                      `log_upper_bound`
    |F'| >= t g_L (1 - eta L)^n              if eta < 0                                  `log_lower_bound`
    |F'| >= (t/2) g_L (eta L - 1)^n          if (eta L - 1)^n >= 2 (S/g_L) y^n           (right of the window)
    |F'| >= (t/2) g_alpha (1 - eta alpha)^n  if (1 - eta alpha)^n >= 2 (S/g_alpha) y^n   (left of the window)
    |G'| <= 2 (sum kappa_i lambda_i^{2t} / sum kappa_i a_i^{2t})^{1/2t}                  `local_gradient_bound`
    |G'| <= 2 L (L + alpha)/(L - alpha) (K/kappa_min)^{1/2t}                             `global_gradient_bound`

with y = max(1 - eta alpha, 0) on the right, y = max(eta L - 1, 0) on the left, K = sum kappa_i and kappa_min =
min(kappa_alpha, kappa_L); the last one needs alpha < L.

Proofs: each lower bound sets one mode against at most S times the largest of opposite sign; the local bound is
Hoelder's inequality; the global one uses sum kappa_i lambda_i^{2t} <= K L^{2t} and
max(|a_alpha|, |a_L|) >= (L - alpha)/(L + alpha), its least value over eta. So F' grows exponentially in t for
eta > 2/L and decays for 0 < eta < 2/L, outside of a window of width O(1/t) around 2/(alpha + L), while |G'| is below
a number that tends to 2 L (L + alpha)/(L - alpha).

The predicates `..._holds` compare with the values of `last_iterate`, up to rounding in the logarithms. Derived (the
source paper states such bounds for F' and G' of a quadratic; the constants here are our own), checked by tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import Floats, check_kind, check_together, finite_floats, step_counts
from metagrad.theory.numbers.modes import Factors, Modes
from metagrad.theory.numbers.signed_log import signed_sum
from metagrad.theory.quadratic.last_iterate import d_log_objective, d_objective
from metagrad.theory.quadratic.minimisers import log_end_weights
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, log_eigenvalues, log_kappa

Bools = NDArray[np.bool_]
_ROUNDING = 64 * float(np.finfo(np.float64).eps)


def log_upper_bound(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return log(t S mu^{2t-1}), an upper bound of log|F'| at every eta; the shape is that of F'."""
    check_kind("log_upper_bound", "spectrum", spectrum, Spectrum)
    t, step_size = step_counts("log_upper_bound", steps), finite_floats("log_upper_bound", "eta", eta)
    check_together("log_upper_bound", spectrum=spectrum.batch_shape, eta=step_size.shape, steps=t.shape)
    modes = Modes.of(Factors.of(step_size[..., None], spectrum.eigenvalues), spectrum.active)
    return np.asarray(np.log(t) + _log_total_gain(spectrum, measure) + (2 * t - 1) * modes.log_mu, np.float64)


def log_lower_bound(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return the logarithm of the lower bound of |F'| whose condition holds, NaN where none does (in the window).

    >>> s = Spectrum.diagonal([1.0, 3.0], [1.0, 1.0])
    >>> log_lower_bound(s, [0.5, 1.0], 10).round(2)
    array([  nan, 16.98])
    """
    check_kind("log_lower_bound", "spectrum", spectrum, Spectrum)
    t, step_size = step_counts("log_lower_bound", steps), finite_floats("log_lower_bound", "eta", eta)
    check_together("log_lower_bound", spectrum=spectrum.batch_shape, eta=step_size.shape, steps=t.shape)
    at_alpha, at_L = (Factors.of(step_size, end) for end in _ends(spectrum))
    gain_alpha, gain_L = _log_end_gains(spectrum, measure)
    total, n = _log_total_gain(spectrum, measure), 2 * t - 1
    with np.errstate(invalid="ignore"):
        right = np.log(t / 2) + gain_L + n * at_L.log
        left = np.log(t / 2) + gain_alpha + n * at_alpha.log
        below_zero = np.log(t) + gain_L + n * at_L.log
        against_right = np.where(at_alpha.sign > 0, np.log(2.0) + total - gain_L + n * at_alpha.log, -np.inf)
        against_left = np.where(at_L.sign < 0, np.log(2.0) + total - gain_alpha + n * at_L.log, -np.inf)
        right_applies = (at_L.sign < 0) & (n * at_L.log >= against_right)
        left_applies = (at_alpha.sign > 0) & (n * at_alpha.log >= against_left)
    bound = np.where(left_applies, left, np.where(right_applies, right, np.nan))
    return np.asarray(np.where(step_size < 0, below_zero, bound), np.float64)


def local_gradient_bound(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return 2 (sum kappa_i lambda_i^{2t} / sum kappa_i a_i^{2t})^{1/2t}, a bound of |G'(eta)| at this eta.

    Equality is reached (one mode, or all |s_i| equal). inf where every active mode vanishes.
    """
    check_kind("local_gradient_bound", "spectrum", spectrum, Spectrum)
    t, step_size = step_counts("local_gradient_bound", steps), finite_floats("local_gradient_bound", "eta", eta)
    check_together("local_gradient_bound", spectrum=spectrum.batch_shape, eta=step_size.shape, steps=t.shape)
    log_weights = np.where(spectrum.active, log_kappa(spectrum, measure), -np.inf)
    modes = Modes.of(Factors.of(step_size[..., None], spectrum.eigenvalues), spectrum.active)
    _, relative = modes.powers(2 * t)
    power = 2 * t[..., None] * (log_eigenvalues(spectrum) - np.log(spectrum.L)[..., None])
    top = signed_sum(1.0, np.where(spectrum.active, log_weights + power, -np.inf), 0.0).log
    bottom = signed_sum(1.0, log_weights + relative, 0.0).log
    with np.errstate(over="ignore"):
        return np.asarray(2 * np.exp(np.log(spectrum.L) - modes.log_mu + (top - bottom) / (2 * t)), np.float64)


def global_gradient_bound(spectrum: Spectrum, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return B = 2 L (L + alpha)/(L - alpha) (K/kappa_min)^{1/2t}, a bound of |G'(eta)| for every eta.

    NaN where alpha = L: with one active eigenvalue G has a pole at its minimiser, and no bound exists.

    >>> float(global_gradient_bound(Spectrum.diagonal([1.0, 3.0], [3.0, 1.0]), 10**9).round(6))
    12.0
    """
    check_kind("global_gradient_bound", "spectrum", spectrum, Spectrum)
    t = step_counts("global_gradient_bound", steps)
    check_together("global_gradient_bound", spectrum=spectrum.batch_shape, steps=t.shape)
    alpha, L = spectrum.alpha, spectrum.L
    at_alpha, at_L = _log_end_gains(spectrum, measure)
    smallest = np.minimum(at_alpha - np.log(alpha), at_L - np.log(L)) - np.log(2.0)
    active = np.where(spectrum.active, log_kappa(spectrum, measure), -np.inf)
    excess = (signed_sum(1.0, active, 0.0).log - smallest) / (2 * t)
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = 2 * L * (L + alpha) / (L - alpha) * np.exp(excess)
    return np.asarray(np.where(alpha < L, bound, np.nan), np.float64)


def upper_bound_holds(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> Bools:
    """Return where |F'| <= t S mu^{2t-1}."""
    check_kind("upper_bound_holds", "spectrum", spectrum, Spectrum)
    log_size = d_objective(spectrum, eta, steps, measure=measure).log
    return _below(log_size, log_upper_bound(spectrum, eta, steps, measure=measure))


def lower_bound_holds(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> Bools:
    """Return where |F'| is at least its lower bound, or no lower bound applies (`log_lower_bound` is NaN)."""
    check_kind("lower_bound_holds", "spectrum", spectrum, Spectrum)
    bound = log_lower_bound(spectrum, eta, steps, measure=measure)
    log_size = d_objective(spectrum, eta, steps, measure=measure).log
    return np.asarray(np.isnan(bound) | _below(bound, log_size))


def local_gradient_bound_holds(
    spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> Bools:
    """Return where |G'| is at most `local_gradient_bound`, or G' is undefined (F = 0)."""
    check_kind("local_gradient_bound_holds", "spectrum", spectrum, Spectrum)
    slope = np.abs(d_log_objective(spectrum, eta, steps, measure=measure))
    return np.asarray(
        np.isnan(slope) | (slope <= local_gradient_bound(spectrum, eta, steps, measure=measure) * (1 + _ROUNDING))
    )


def global_gradient_bound_holds(
    spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> Bools:
    """Return where |G'| is at most `global_gradient_bound`, or there is no such bound (alpha = L)."""
    check_kind("global_gradient_bound_holds", "spectrum", spectrum, Spectrum)
    bound = global_gradient_bound(spectrum, steps, measure=measure)
    slope = np.abs(d_log_objective(spectrum, eta, steps, measure=measure))
    return np.asarray(np.isnan(bound) | (slope <= bound * (1 + _ROUNDING)))


def window(spectrum: Spectrum, steps: ArrayLike, *, measure: Measure = "loss") -> tuple[Floats, Floats]:
    """Return the ends of the interval of eta around 2/(alpha + L) in which no lower bound of |F'| applies.

    Where the conditions become equalities: eta = (1 + q)/(q alpha + L) on the right with q = (2S/g_L)^{1/(2t-1)}, and
    eta = (1 + q)/(alpha + q L) on the left with q = (2S/g_alpha)^{1/(2t-1)}. The width is O(1/t), and 0 if alpha = L.

    >>> low, high = window(Spectrum.diagonal([1.0, 3.0], [1.0, 1.0]), 1000)
    >>> float(round(1000 * (high - low), 3))
    0.237
    """
    check_kind("window", "spectrum", spectrum, Spectrum)
    t = step_counts("window", steps)
    check_together("window", spectrum=spectrum.batch_shape, steps=t.shape)
    alpha, L = spectrum.alpha, spectrum.L
    gain_alpha, gain_L = _log_end_gains(spectrum, measure)
    total = np.log(2.0) + _log_total_gain(spectrum, measure)
    q_left, q_right = (np.exp((total - gain) / (2 * t - 1)) for gain in (gain_alpha, gain_L))
    low, high = (1 + q_left) / (alpha + q_left * L), (1 + q_right) / (q_right * alpha + L)
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def _below(small: Floats, large: Floats) -> Bools:
    """Return small <= large up to the rounding of logarithms."""
    slack = _ROUNDING * (1 + np.where(np.isfinite(large), np.abs(large), 0.0))
    return np.asarray(small <= large + slack)


def _ends(spectrum: Spectrum) -> tuple[Floats, Floats]:
    """Return alpha and L, and 0 for both where there is no active mode (F' is zero there, and so is every bound)."""
    any_active = np.any(spectrum.active, axis=-1)
    return np.where(any_active, spectrum.alpha, 0.0), np.where(any_active, spectrum.L, 0.0)


def _log_total_gain(spectrum: Spectrum, measure: Measure) -> Floats:
    """Return log S."""
    gains = np.where(spectrum.active, log_kappa(spectrum, measure) + log_eigenvalues(spectrum), -np.inf)
    return signed_sum(1.0, gains, np.log(2.0)).log


def _log_end_gains(spectrum: Spectrum, measure: Measure) -> tuple[Floats, Floats]:
    """Return log g_alpha and log g_L."""
    log_unit = 0.0 if measure == "loss" else np.log(2.0)
    power = 2 if measure == "loss" else 1
    ends = zip(log_end_weights(spectrum), (spectrum.alpha, spectrum.L), strict=True)
    at_alpha, at_L = (log_weight + power * np.log(value) + log_unit for log_weight, value in ends)
    return at_alpha, at_L
