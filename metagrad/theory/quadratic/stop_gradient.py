"""The other meta-gradient of the literature: the optimizee's gradient is held constant when differentiating.

With g_k = H w_k a constant, w_{k+1} = w_k - eta g_k gives d w_t/d eta = -sum_{k<t} H w_k, so mode i has

    d_i = -lambda_i (1 + a_i + ... + a_i^{t-1}) w_0i = -((1 - a_i^t)/eta) w_0i

instead of -t lambda_i a_i^{t-1} w_0i. The "derivative" of F is 2 sum_i kappa_i a_i^t d_i/w_0i; that of the loss is
-(1/eta) sum_i c_i lambda_i a_i^t (1 - a_i^t).
It is the derivative of nothing: in one dimension its sign is wrong for even t when 1 < eta lambda < 2. Nor does the
logarithm tame it: over t F it grows like mu^{-t} where gradient descent contracts, so both are `SignedLog`. Derived;
checked by tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, check_kind, check_together, finite_floats, step_counts
from metagrad.theory.numbers.modes import Factors, Modes
from metagrad.theory.numbers.signed_log import SignedLog, signed_sum
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, log_eigenvalues, log_kappa

_NOTHING = -80.0
"""The logarithm of a sum of steps beside which 1 stays 1, with digits to spare."""


def stop_gradient_d_objective(
    spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> SignedLog:
    """Return -2 sum_i kappa_i lambda_i a_i^t (1 + a_i + ... + a_i^{t-1}); for t = 1, and at eta = 0, it equals F'.

    >>> stop_gradient_d_objective(Spectrum.diagonal([1.0], [1.0]), 1.5, 2).to_float()
    array(-0.125)
    """
    check_kind("stop_gradient_d_objective", "spectrum", spectrum, Spectrum)
    total, _, common = _relative_sums(spectrum, eta, steps, measure, "stop_gradient_d_objective")
    return signed_sum(total.sign[..., None], total.log[..., None], common)


def stop_gradient_d_log_objective(
    spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> SignedLog:
    """Return the same of G = (1/t) log F: the sum above over t F; undefined (sign NaN) where F = 0."""
    check_kind("stop_gradient_d_log_objective", "spectrum", spectrum, Spectrum)
    total, objective, _ = _relative_sums(spectrum, eta, steps, measure, "stop_gradient_d_log_objective")
    return total / objective / step_counts("stop_gradient_d_log_objective", steps)


def _relative_sums(
    spectrum: Spectrum, eta: ArrayLike, steps: ArrayLike, measure: Measure, function: str
) -> tuple[SignedLog, SignedLog, Floats]:
    """Return the sum and F, both over mu^{2t}, and log mu^{2t}: the large common factor cancels in their ratio."""
    t, step_size = step_counts(function, steps), finite_floats(function, "eta", eta)
    check_together(function, spectrum=spectrum.batch_shape, eta=step_size.shape, steps=t.shape)
    factors = Factors.of(step_size[..., None], spectrum.eigenvalues)
    log_weights = log_kappa(spectrum, measure)
    modes = Modes.of(factors, log_weights > -np.inf)
    common, relative = modes.powers(2 * t)
    with np.errstate(divide="ignore"):
        log_step = np.log(np.abs(step_size))[..., None] + log_eigenvalues(spectrum)
    sign, log_gain = _partial_sums(factors, np.sign(step_size)[..., None], log_step, t[..., None])
    with np.errstate(invalid="ignore"):  # where a = 0
        log = log_weights + log_eigenvalues(spectrum) + relative + log_gain
    log = np.where(factors.high == 0, -np.inf, log)
    objective = signed_sum(1.0, log_weights + relative, 0.0)
    gone = np.isneginf(common)
    objective = SignedLog(np.where(gone, 0.0, objective.sign), np.where(gone, -np.inf, objective.log))
    return signed_sum(-sign, log, np.log(2.0)), objective, common


def _partial_sums(factors: Factors, step_sign: Floats, log_step: Floats, t: Floats) -> tuple[Floats, Floats]:
    """Return sign and log of a^{-t} (1 + a + ... + a^{t-1}) = (a^{-t} - 1)/(1 - a), where step = 1 - a; not at a = 0.

    With y = t log|a| and s = sign(a)^t: |1 - a^t| = e^{max(y, 0)} |1 - s e^{-|y|}|. The sum is t where the step is so
    small that t of them change nothing.
    """
    y = t * factors.log
    parity = np.where(t % 2 == 1, factors.sign, 1.0)
    still = log_step + np.log(t) < _NOTHING
    with np.errstate(divide="ignore", invalid="ignore"):
        log_gap = np.where(parity > 0, np.log(-np.expm1(-np.abs(y))), np.log1p(np.exp(-np.abs(y))))
        log_sum = np.where(still, np.log(t), log_gap - np.minimum(y, 0.0) - log_step)
    gap_sign = np.where(parity > 0, -np.sign(y), 1.0)
    sum_sign = np.where(still, 1.0, gap_sign * step_sign)
    return parity * sum_sign, log_sum
