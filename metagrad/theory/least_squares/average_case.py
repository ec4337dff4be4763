"""Least squares given the inputs X, averaged over the targets: y = Xw* + xi, xi ~ N(0, sigma^2 I), w* isotropic.

With E w*w*' = (signal/d) I, and the eigenvalues s_j of X'X/n (r of them above 0),

    E R = (signal/d) [sum_j a_j^{2t} + d - r] + (sigma^2/n) sum_j s_j h_t(s_j)^2         the risk E||w_t - w*||^2
    E T = (1/2) [sum_j (signal s_j/d + sigma^2/n) a_j^{2t} + sigma^2 (1 - r/n)]          the train loss
    E V = (1/2) [E (w_t - w*)'H_val(w_t - w*) + sigma^2]                                 H_val = X_val'X_val/m

Only the first term of E R and E V falls with the horizon; the second is the noise that is fitted, and rises. On
fresh inputs x ~ N(0, I), E V = (E R + sigma^2)/2. `regression` lends its eigenvalues and its basis; its targets are
not looked at. `eta` and `steps` broadcast, as in `least_squares`; all results are `SignedLog`. ValueError where sigma
or signal is negative. Derived; checked by tests against exact sums over the targets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares.checks import checked_level, checked_sample
from metagrad.theory.least_squares.regression import Regression
from metagrad.theory.numbers.checks import Floats, bad_value, check_kind
from metagrad.theory.numbers.filters import spectral_filter
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.quadratic import last_iterate
from metagrad.theory.quadratic.spectrum import Spectrum


def expected_risk(
    regression: Regression, eta: ArrayLike, steps: ArrayLike, *, sigma: float, signal: float = 1.0
) -> SignedLog:
    """Return E R = E||w_t - w*||^2."""
    check_kind("expected_risk", "regression", regression, Regression)
    _check("expected_risk", regression, sigma, signal)
    unseen = signal * (regression.d - len(regression.eigenvalues)) / regression.d
    bias = last_iterate.objective(_bias(regression, signal), eta, steps, measure="squared_norm")
    return bias + unseen + _fitted_noise(regression, eta, steps, sigma)


def d_expected_risk(
    regression: Regression, eta: ArrayLike, steps: ArrayLike, *, sigma: float, signal: float = 1.0
) -> SignedLog:
    """Return dE R/deta = -2t (signal/d) sum_j s_j a_j^{2t-1} + 2 (sigma^2/n) sum_j s_j h_t t a_j^{t-1}."""
    check_kind("d_expected_risk", "regression", regression, Regression)
    _check("d_expected_risk", regression, sigma, signal)
    bias = last_iterate.d_objective(_bias(regression, signal), eta, steps, measure="squared_norm")
    return bias + _d_fitted_noise(regression, eta, steps, sigma)


def expected_train_loss(
    regression: Regression, eta: ArrayLike, steps: ArrayLike, *, sigma: float, signal: float = 1.0
) -> SignedLog:
    """Return E T."""
    check_kind("expected_train_loss", "regression", regression, Regression)
    _check("expected_train_loss", regression, sigma, signal)
    floor = sigma**2 * (1 - len(regression.eigenvalues) / regression.n)
    excess = last_iterate.objective(_residuals(regression, sigma, signal), eta, steps, measure="squared_norm")
    return (excess + floor) * 0.5


def d_expected_train_loss(
    regression: Regression, eta: ArrayLike, steps: ArrayLike, *, sigma: float, signal: float = 1.0
) -> SignedLog:
    """Return dE T/deta = -t sum_j (signal s_j/d + sigma^2/n) s_j a_j^{2t-1}."""
    check_kind("d_expected_train_loss", "regression", regression, Regression)
    _check("d_expected_train_loss", regression, sigma, signal)
    return last_iterate.d_objective(_residuals(regression, sigma, signal), eta, steps, measure="squared_norm") * 0.5


def train_spectrum(regression: Regression, *, sigma: float, signal: float = 1.0) -> Spectrum:
    """Return the quadratic whose loss is E T but for a constant: c_j = signal/d + sigma^2/(n s_j).

    So the step size that train-by-train chooses is `minimiser` of it.
    """
    check_kind("train_spectrum", "regression", regression, Regression)
    _check("train_spectrum", regression, sigma, signal)
    return _spectrum(regression, signal / regression.d + sigma**2 / (regression.n * regression.eigenvalues))


def expected_validation_loss(
    regression: Regression, X_val: ArrayLike, eta: ArrayLike, steps: ArrayLike, *, sigma: float, signal: float = 1.0
) -> SignedLog:
    """Return E V on other inputs X_val (m, d), whose targets have the same w* and noise of their own."""
    check_kind("expected_validation_loss", "regression", regression, Regression)
    _check("expected_validation_loss", regression, sigma, signal)
    seen, unseen = _gains(regression, X_val, "expected_validation_loss")
    bias = last_iterate.objective(_bias(regression, signal, seen), eta, steps, measure="squared_norm")
    constant = signal / regression.d * unseen + sigma**2
    return (bias + constant + _fitted_noise(regression, eta, steps, sigma, seen)) * 0.5


def d_expected_validation_loss(
    regression: Regression, X_val: ArrayLike, eta: ArrayLike, steps: ArrayLike, *, sigma: float, signal: float = 1.0
) -> SignedLog:
    """Return dE V/deta."""
    check_kind("d_expected_validation_loss", "regression", regression, Regression)
    _check("d_expected_validation_loss", regression, sigma, signal)
    seen, _ = _gains(regression, X_val, "d_expected_validation_loss")
    bias = last_iterate.d_objective(_bias(regression, signal, seen), eta, steps, measure="squared_norm")
    return (bias + _d_fitted_noise(regression, eta, steps, sigma, seen)) * 0.5


def _check(function: str, regression: Regression, sigma: float, signal: float) -> None:
    if not regression.whole:
        came = "of a Krylov space, which belongs to one y"
        bad_value(function, "regression", came, "the whole spectrum of X", "Use Regression.of.")
    for name, level in (("sigma", sigma), ("signal", signal)):
        if checked_level(function, name, level).ndim:
            bad_value(function, name, f"of shape {np.shape(level)}", "one number", "Call it once a level.")


def _bias(regression: Regression, signal: float, gains: Floats | None = None) -> Spectrum:
    """Return the quadratic whose squared norm is (signal/d) sum_j gains_j a_j^{2t}."""
    each = np.ones_like(regression.eigenvalues) if gains is None else gains
    return _spectrum(regression, signal / regression.d * each)


def _residuals(regression: Regression, sigma: float, signal: float) -> Spectrum:
    """Return the quadratic whose squared norm is sum_j (signal s_j/d + sigma^2/n) a_j^{2t}."""
    return _spectrum(regression, signal / regression.d * regression.eigenvalues + sigma**2 / regression.n)


def _spectrum(regression: Regression, weights: Floats) -> Spectrum:
    """Return the quadratic of these weights; of one mode that does not move where X is zero."""
    return Spectrum(regression.eigenvalues, weights) if len(weights) else Spectrum(np.zeros(1), np.zeros(1))


def _fitted_noise(regression: Regression, eta: ArrayLike, steps: ArrayLike, sigma: float, *gains: Floats) -> SignedLog:
    """Return (sigma^2/n) sum_j s_j gains_j h_t(s_j)^2, the gains 1 by default."""
    move = spectral_filter(regression.eigenvalues, eta, steps, "expected_risk")
    return move.square(regression.eigenvalues, *gains) * (sigma**2 / regression.n)


def _d_fitted_noise(
    regression: Regression, eta: ArrayLike, steps: ArrayLike, sigma: float, *gains: Floats
) -> SignedLog:
    """Return 2 (sigma^2/n) sum_j s_j gains_j h_t(s_j) t a_j^{t-1}."""
    move = spectral_filter(regression.eigenvalues, eta, steps, "d_expected_risk")
    return move.d_square(regression.eigenvalues, *gains) * (sigma**2 / regression.n)


def _gains(regression: Regression, X_val: ArrayLike, function: str) -> tuple[Floats, float]:
    """Return v_j'H_val v_j (r,), and the trace of H_val outside of the span of X."""
    inputs, _ = checked_sample(function, X_val, np.zeros(np.shape(X_val)[:1]), ("X_val", "y_val"))
    if inputs.shape[1] != regression.d:
        bad_value(function, "X_val", f"of shape {inputs.shape}", f"{regression.d} columns, as X has")
    within = inputs @ regression.basis
    outside = inputs - within @ regression.basis.T if len(regression.eigenvalues) < regression.d else np.zeros((1, 1))
    return np.asarray(np.mean(within**2, axis=0), np.float64), float(np.sum(outside**2)) / len(inputs)
