"""Least squares with many inputs: the curves of train loss, risk and validation loss as n, d -> infinity.

Inputs x ~ N(0, I_d), y = x'w* + sigma xi, E||w*||^2 = signal, d/n -> gamma; gradient descent from w_0 = 0 with step
size eta, t steps. With the nodes s_j, the weights w_j and m = 1 + gamma + ... + gamma^N of `marchenko_pastur`,
a_j = 1 - eta s_j and h_t = (1 - a^t)/s,

    R  = signal [sum_j (w_j/s_j) a_j^{2t} + gamma^N/m] + sigma^2 gamma sum_j w_j h_t(s_j)^2      E||w_t - w*||^2
    R' = -2t signal sum_j w_j a_j^{2t-1} + 2t sigma^2 gamma sum_j w_j h_t(s_j) a_j^{t-1}
    T  = (1/2) sum_j w_j (signal + sigma^2 gamma/s_j) a_j^{2t} + sigma^2/(2m)                    the train loss
    T' = -t sum_j w_j (signal s_j + sigma^2 gamma) a_j^{2t-1}
    V  = (R + sigma^2)/2                                                                         the validation loss

for N = t + 1 nodes exactly: these are integrals of polynomials over the Marchenko-Pastur law, and no sum of terms of
one sign is ever formed by subtraction. Train-by-train is the quadratic of `last_iterate` in disguise.

Every function takes `(eta, steps, *, gamma, sigma, signal)`; all broadcast (but `steps`, one horizon a call: it sets
the number of nodes), and results are `SignedLog`. gamma > 0, sigma and signal >= 0, eta finite; else ValueError.
Source: Wang et al. 2021, section 4, for the setting; derived, checked by tests against exact rational moments,
adaptive quadrature, and the averages given X at growing d.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory import last_iterate, marchenko_pastur
from metagrad.theory._checks import Floats, bad_value, step_counts
from metagrad.theory._regression import checked_level
from metagrad.theory.filters import spectral_filter
from metagrad.theory.signed_log import SignedLog
from metagrad.theory.spectrum import Spectrum


def risk(eta: ArrayLike, steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> SignedLog:
    """Return R = E||w_t - w*||^2.

    >>> float(risk(1.0, 1, gamma=0.5, sigma=2.0).to_float().round(12))
    2.5
    """
    noise, strength = _levels("risk", sigma, signal)
    bias, unseen, fitted = risk_parts(eta, steps, gamma=gamma)
    return bias * strength + strength * unseen + fitted * noise**2


def d_risk(eta: ArrayLike, steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> SignedLog:
    """Return R' = dR/deta."""
    noise, strength = _levels("d_risk", sigma, signal)
    bias, fitted = d_risk_parts(eta, steps, gamma=gamma)
    return bias * strength + fitted * noise**2


def risk_parts(eta: ArrayLike, steps: int, *, gamma: ArrayLike) -> tuple[SignedLog, Floats, SignedLog]:
    """Return B, u, C with R = signal (B + u) + sigma^2 C: what of w* is not yet learned, never seen; fitted noise."""
    nodes, weights = _rule("risk", steps, gamma)
    bias = last_iterate.objective(Spectrum(nodes, weights / nodes), eta, steps, measure="squared_norm")
    fitted = spectral_filter(nodes, eta, steps, "risk").square(weights) * gamma
    unseen = marchenko_pastur.unfitted(gamma, nodes.shape[-1])[1]
    return bias, unseen, fitted


def d_risk_parts(eta: ArrayLike, steps: int, *, gamma: ArrayLike) -> tuple[SignedLog, SignedLog]:
    """Return B' < 0 (for eta below 1/s_+) and C' with R' = signal B' + sigma^2 C'."""
    nodes, weights = _rule("d_risk", steps, gamma)
    bias = last_iterate.d_objective(Spectrum(nodes, weights / nodes), eta, steps, measure="squared_norm")
    return bias, spectral_filter(nodes, eta, steps, "d_risk").d_square(weights) * gamma


def train_loss(eta: ArrayLike, steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> SignedLog:
    """Return T = E||Xw_t - y||^2/(2n)."""
    noise, _ = _levels("train_loss", sigma, signal)
    spectrum = train_spectrum(steps, gamma=gamma, sigma=sigma, signal=signal)
    floor = noise**2 * marchenko_pastur.unfitted(gamma, spectrum.eigenvalues.shape[-1])[0] / 2
    return last_iterate.objective(spectrum, eta, steps) + floor


def d_train_loss(
    eta: ArrayLike, steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0
) -> SignedLog:
    """Return T' = dT/deta."""
    return last_iterate.d_objective(train_spectrum(steps, gamma=gamma, sigma=sigma, signal=signal), eta, steps)


def validation_loss(
    eta: ArrayLike, steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0
) -> SignedLog:
    """Return V = (R + sigma^2)/2, the loss on a fresh sample, however many are held out."""
    noise, _ = _levels("validation_loss", sigma, signal)
    return (risk(eta, steps, gamma=gamma, sigma=sigma, signal=signal) + noise**2) * 0.5


def d_validation_loss(
    eta: ArrayLike, steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0
) -> SignedLog:
    """Return V' = R'/2."""
    return d_risk(eta, steps, gamma=gamma, sigma=sigma, signal=signal) * 0.5


def train_spectrum(steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> Spectrum:
    """Return the quadratic whose loss after `steps` steps is T but for a constant: c_j = w_j (signal/s_j + ...).

    c_j = (w_j/s_j)(signal + sigma^2 gamma/s_j). So train-by-train chooses the `minimiser` of it.
    """
    noise, strength = _levels("train_spectrum", sigma, signal)
    nodes, weights = _rule("train_spectrum", steps, gamma)
    power = strength[..., None] + noise[..., None] ** 2 * np.asarray(gamma, np.float64)[..., None] / nodes
    return Spectrum(np.broadcast_to(nodes, power.shape), weights / nodes * power)


def _rule(function: str, steps: int, gamma: ArrayLike) -> tuple[Floats, Floats]:
    """Return the nodes (..., N) and weights (N,) that are exact for `steps` steps."""
    if step_counts(function, steps).ndim:
        bad_value(function, "steps", f"of shape {np.shape(steps)}", "one horizon", "Call it once a horizon.")
    return marchenko_pastur.rule(gamma, int(steps) + 1)


def _levels(function: str, sigma: ArrayLike, signal: ArrayLike) -> tuple[Floats, Floats]:
    return checked_level(function, "sigma", sigma), checked_level(function, "signal", signal)
