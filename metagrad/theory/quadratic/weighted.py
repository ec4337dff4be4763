"""Weighted sums of the losses along the trajectory, Phi(eta) = sum_{k=1..t} rho^k f(w_k), in closed form.

With r_i = rho a_i^2 the geometric sums S_t(r) = sum_{k=1..t} r^k and D_t(r) = sum_{k=1..t} k r^k give

    Phi  = sum_i kappa_i S_t(r_i),        Phi' = -2 sum_i kappa_i lambda_i D_t(r_i)/a_i.

Both are evaluated through x = log r, without cancellation on either side of r = 1. Derived; checked by tests against
50-digit references.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, check_together, finite_floats, step_counts
from metagrad.theory.numbers.modes import Factors, two_product
from metagrad.theory.numbers.signed_log import SignedLog, signed_sum
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, log_eigenvalues, log_kappa

# B_2k / (2k)!, k = 1.. 10: the series of 1/(e^u - 1) - 1/u + 1/2, which converges for |u| < 2 pi
_BERNOULLI = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
    43867 / 5109094217170944000,
    -174611 / 802857662698291200000,
)


def weighted_sum(
    spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, rho: ArrayLike = 1.0, *, measure: Measure = "loss"
) -> SignedLog:
    """Return Phi(eta) = sum_{k=1..t} rho^k f(w_k) for rho > 0, or the same of ||w_k||^2.

    eta, steps and rho broadcast with each other and with the batch. Zero eigenvalues add kappa_i S_t(rho), which is
    0 for the loss.

    >>> weighted_sum(Spectrum.diagonal([2.0], [1.0]), 0.25, 3).to_float()
    array(0.328125)
    """
    check_kind("weighted_sum", "spectrum", spectrum, Spectrum)
    _, x, t = _log_ratios(spectrum, eta, steps, rho, "weighted_sum")
    return signed_sum(1.0, log_kappa(spectrum, measure) + log_geometric_sum(x, t), 0.0)


def d_weighted_sum(
    spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, rho: ArrayLike = 1.0, *, measure: Measure = "loss"
) -> SignedLog:
    """Return Phi'(eta) = -2 sum_i kappa_i lambda_i D_t(r_i)/a_i; a mode with a_i = 0 contributes 0."""
    check_kind("d_weighted_sum", "spectrum", spectrum, Spectrum)
    factors, x, t = _log_ratios(spectrum, eta, steps, rho, "d_weighted_sum")
    log_sum = log_geometric_sum(x, t) + np.log(mean_index(x, t))
    with np.errstate(invalid="ignore"):
        log = np.where(log_sum == -np.inf, -np.inf, log_sum - factors.log)
    return signed_sum(-factors.sign, log_kappa(spectrum, measure) + log_eigenvalues(spectrum) + log, np.log(2.0))


def log_geometric_sum(x: Floats, t: Floats) -> Floats:
    """Return log S_t(e^x) = log sum_{k=1..t} e^{kx}; the largest term, e^x or e^{tx}, is factored out."""
    u = np.abs(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.where(u == 0, t, np.expm1(-t * u) / np.expm1(-u))
        return np.asarray(np.where(x > 0, t * x, x) + np.log(rest), np.float64)


def mean_index(x: Floats, t: Floats) -> Floats:
    """Return D_t(r)/S_t(r) at r = e^x: the mean of k in 1..t under weights r^k, between 1 and t.

    For x = -u <= 0 it is 1 + 1/(e^u - 1) - t/(e^{tu} - 1), by its series where tu < 1; for x > 0 it is t + 1 minus
    the value at -x, because the weights are the same in reverse order.
    """
    u = np.abs(x)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        direct = 1 + 1 / np.expm1(u) - t / np.expm1(t * u)
    small = np.where(t * u < 1, u, 0.0)
    near_tie = (t + 1) / 2 + _bernoulli_series(small) - t * _bernoulli_series(t * small)
    falling = np.where(t * u < 1, near_tie, direct)
    return np.asarray(np.where(x > 0, t + 1 - falling, falling), np.float64)


def _bernoulli_series(u: Floats) -> Floats:
    """Return 1/(e^u - 1) - 1/u + 1/2 for 0 <= u <= 1."""
    odd_powers = np.zeros_like(u)
    for coefficient in reversed(_BERNOULLI):
        odd_powers = odd_powers * u * u + coefficient
    return odd_powers * u


def _log_ratios(
    spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, rho: ArrayLike, function: str
) -> tuple[Factors, Floats, Floats]:
    """Return a_i, x_i = log(rho a_i^2) and t, with a trailing axis for the modes."""
    t, decay = step_counts(function, steps)[..., None], finite_floats(function, "rho", rho)[..., None]
    step_size = finite_floats(function, "eta", eta)
    shapes = {"eta": step_size.shape, "steps": t.shape[:-1], "rho": decay.shape[:-1]}
    check_together(function, spectrum=spectrum.batch_shape, **shapes)
    if np.any(decay <= 0):
        bad_value(function, "rho", float(decay.min()), "positive numbers")
    factors = Factors.of(step_size[..., None], spectrum.eigenvalues)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        square, square_error = two_product(factors.high, factors.high)
        ratio, ratio_error = two_product(decay, square)
        error = ratio_error + decay * (square_error + 2 * factors.high * factors.low)
        near_one = (ratio > 0.5) & (ratio < 2) & (factors.power == 0)
        excess = np.where(near_one, (ratio - 1) + error, 0.0)
    return factors, np.where(near_one, np.log1p(excess), np.log(decay) + 2 * factors.log), t
