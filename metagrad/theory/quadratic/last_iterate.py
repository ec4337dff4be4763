"""Gradient descent with a constant step size on f(w) = w'Hw/2: the objectives of the last iterate, exactly.

In eigencoordinates w_{k+1} = (I - eta H) w_k multiplies mode i by a_i = 1 - eta lambda_i, so with
kappa_i = c_i lambda_i / 2 (measure "loss") or c_i (measure "squared_norm")

    F   = sum_i kappa_i a_i^{2t}                            f(w_t), or ||w_t||^2
    F'  = -2t sum_i kappa_i lambda_i a_i^{2t-1}
    F'' = 2t(2t-1) sum_i kappa_i lambda_i^2 a_i^{2t-2}      never negative: F is convex in eta
    G   = (1/t) log F
    G'  = -2 E_p[s]                                         p_i = kappa_i a_i^{2t}/F,  s_i = lambda_i/a_i
    G'' = 4t Var_p[s] - 2 E_p[s^2]

Every function takes `(spectrum, eta, steps, *, measure)`. `eta` (any finite real) and `steps` (integers from 1 to
2^52) broadcast with each other and with the batch of the spectrum, and the result has that shape: the axis of the
modes is summed inside, and one decomposition serves a whole grid. F, F', F'' are `SignedLog`, as they leave every
float range; G, G', G'' are float64. eta and the eigenvalues count as exact numbers: errors are of order eps at every
horizon, except where terms of F' cancel next to its zero. w_0, eigenvalues and eta may have any size.

Corner cases: a mode with a_i = 0 contributes nothing (for t = 1 it still contributes to F''). Zero eigenvalues add
nothing to the loss and a constant to ||w||^2: then F has a floor and G' really decays like F'; below the float range
it rounds to 0. Where F = 0 (no active mode, or all vanished) G is -inf, and G', G'' are NaN.

Derived; checked by tests against 50-digit references, exact rational recursions and sympy (`symbolic`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, check_kind, check_together, finite_floats, step_counts
from metagrad.theory.numbers.modes import Factors, Modes
from metagrad.theory.numbers.signed_log import SignedLog, signed_sum
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, log_eigenvalues, log_kappa


def objective(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> SignedLog:
    """Return F(eta) = sum_i kappa_i a_i^{2t}, the measure of the last iterate w_t.

    >>> objective(Spectrum.diagonal([1.0, 3.0], [1.0, 1.0]), 0.5, 1).to_float()
    array(0.5)
    """
    check_kind("objective", "spectrum", spectrum, Spectrum)
    modes, t = _modes(spectrum, eta, steps, measure, "objective")
    common, relative = modes.powers(2 * t)
    return signed_sum(1.0, log_kappa(spectrum, measure) + relative, common)


def d_objective(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> SignedLog:
    """Return F'(eta) = -2t sum_i kappa_i lambda_i a_i^{2t-1}.

    >>> d_objective(Spectrum.diagonal([1.0, 3.0], [1.0, 1.0]), 0.5, 1).to_float()
    array(4.)
    """
    check_kind("d_objective", "spectrum", spectrum, Spectrum)
    modes, t = _modes(spectrum, eta, steps, measure, "d_objective")
    common, relative = modes.powers(2 * t - 1)
    log = log_kappa(spectrum, measure) + log_eigenvalues(spectrum) + relative
    return signed_sum(-modes.sign, log, common + np.log(2 * t))


def d2_objective(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> SignedLog:
    """Return F''(eta) = 2t(2t-1) sum_i kappa_i lambda_i^2 a_i^{2t-2}, which is never negative."""
    check_kind("d2_objective", "spectrum", spectrum, Spectrum)
    modes, t = _modes(spectrum, eta, steps, measure, "d2_objective")
    common, relative = modes.powers(2 * t - 2)
    log = log_kappa(spectrum, measure) + 2 * log_eigenvalues(spectrum) + relative
    return signed_sum(1.0, log, common + np.log(2 * t) + np.log(2 * t - 1))


def log_objective(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return G(eta) = (1/t) log F(eta); -inf where F = 0."""
    check_kind("log_objective", "spectrum", spectrum, Spectrum)
    value = objective(spectrum, eta, steps, measure=measure)
    return np.asarray(value.log / step_counts("log_objective", steps), np.float64)


def d_log_objective(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return G'(eta) = -2 E_p[lambda/a] = -2 sum_i kappa_i lambda_i a_i^{2t-1} / sum_i kappa_i a_i^{2t}.

    It has the sign of F', and stays bounded where F' explodes or vanishes (`bounds.global_log_gradient_bound`). NaN
    where F = 0.
    """
    check_kind("d_log_objective", "spectrum", spectrum, Spectrum)
    modes, t = _modes(spectrum, eta, steps, measure, "d_log_objective")
    return np.asarray(-2 * _mean_rate(spectrum, modes, t, measure), np.float64)


def log_slope(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> SignedLog:
    """Return G'(eta) as `SignedLog`: next to a floor of ||w||^2 it falls below the range of floats, like F'.

    >>> spectrum = Spectrum.diagonal([0.0, 1.0], [1.0, 1.0])
    >>> log_slope(spectrum, 0.5, 1000, measure="squared_norm").log10.round(6)
    np.float64(-601.457931)
    """
    check_kind("log_slope", "spectrum", spectrum, Spectrum)
    modes, t = _modes(spectrum, eta, steps, measure, "log_slope")
    return _signed_rate(spectrum, modes, t, measure) * -2.0


def d2_log_objective(spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss") -> Floats:
    """Return G''(eta) = 4t Var_p[s] - 2 E_p[s^2]; G is strictly quasi-convex, not convex, so its sign varies.

    The variance is centred, and free of divisions by a_i: with m = E_p[s],
    Var_p[s] = sum_i kappa_i (lambda_i - m a_i)^2 a_i^{2t-2} / F. NaN where F = 0.
    """
    check_kind("d2_log_objective", "spectrum", spectrum, Spectrum)
    modes, t = _modes(spectrum, eta, steps, measure, "d2_log_objective")
    mean = _mean_rate(spectrum, modes, t, measure)
    _, relative = modes.powers(2 * t - 2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_weights = log_kappa(spectrum, measure) + relative - _log_total(spectrum, modes, t, measure)[..., None]
        moved = np.ldexp(mean[..., None], modes.factors.power) * modes.factors.high  # m a_i, in range where a_i is not
        log_deviation = np.log(np.abs(spectrum.eigenvalues - moved)) - modes.log_mu[..., None]
        log_rate = log_eigenvalues(spectrum) - modes.log_mu[..., None]
        deviations, rates = log_weights + 2 * log_deviation, log_weights + 2 * log_rate
        unit = np.maximum(np.max(deviations, axis=-1), np.max(rates, axis=-1))
        variance, square = (np.sum(np.exp(x - unit[..., None]), axis=-1) for x in (deviations, rates))
        curvature = (4 * t * variance - 2 * square) * np.exp(unit)
    return np.asarray(np.where(np.isnan(mean), np.nan, curvature), np.float64)


def _modes(
    spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, measure: Measure, function: str
) -> tuple[Modes, Floats]:
    t, step_size = step_counts(function, steps), finite_floats(function, "eta", eta)
    check_together(function, spectrum=spectrum.batch_shape, eta=step_size.shape, steps=t.shape)
    factors = Factors.of(step_size[..., None], spectrum.eigenvalues)
    return Modes.of(factors, log_kappa(spectrum, measure) > -np.inf), t


def _log_total(spectrum: Spectrum, modes: Modes, t: Floats, measure: Measure) -> Floats:
    """Return log(F / mu^{2t})."""
    _, relative = modes.powers(2 * t)
    return signed_sum(1.0, log_kappa(spectrum, measure) + relative, 0.0).log


def _mean_rate(spectrum: Spectrum, modes: Modes, t: Floats, measure: Measure) -> Floats:
    """Return E_p[s] = sum_i kappa_i lambda_i a_i^{2t-1} / F; NaN where F = 0."""
    rate = _signed_rate(spectrum, modes, t, measure)
    with np.errstate(under="ignore", over="ignore"):
        return np.asarray(np.where(rate.sign == 0, 0.0, rate.sign * np.exp(rate.log)), np.float64)


def _signed_rate(spectrum: Spectrum, modes: Modes, t: Floats, measure: Measure) -> SignedLog:
    """Return E_p[s]; its sign is NaN where F = 0."""
    _, relative = modes.powers(2 * t - 1)
    log = log_kappa(spectrum, measure) + log_eigenvalues(spectrum) + relative
    top, log_total = signed_sum(modes.sign, log, 0.0), _log_total(spectrum, modes, t, measure)
    vanished = np.isneginf(log_total) | np.isneginf(modes.log_mu)
    with np.errstate(invalid="ignore"):
        size = np.where(top.sign == 0, -np.inf, top.log - log_total - modes.log_mu)
    return SignedLog(np.where(vanished, np.nan, top.sign), size)
