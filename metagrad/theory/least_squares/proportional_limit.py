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
The nodes are floats: for gamma or 1/gamma of 1e-16 and less nothing is left of the spread of the eigenvalues, which is
all that R, T and their slopes consist of where eta (1 + gamma) is 1 or 2.
Source: Wang et al. 2021, section 4, for the setting; derived, checked by tests against exact rational moments,
adaptive quadrature, and the averages given X at growing d.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares import marchenko_pastur
from metagrad.theory.least_squares.checks import checked_level
from metagrad.theory.numbers.checks import Floats, bad_value, check_memory, step_counts
from metagrad.theory.numbers.filters import spectral_filter
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.quadratic import last_iterate
from metagrad.theory.quadratic.spectrum import Spectrum

_NODES_AT_ONCE = 2**21


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


def risk_gain(eta: ArrayLike, steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> SignedLog:
    """Return signal - R = signal sum_j w_j h_{2t}(s_j) - sigma^2 gamma sum_j w_j h_t(s_j)^2.

    Without the cancellation where almost nothing is learned.
    """
    noise, strength = _levels("risk_gain", sigma, signal)
    count = one_horizon("risk_gain", steps)

    def gain(step_size: Floats, ratio: Floats, deviation: Floats, power: Floats) -> SignedLog:
        nodes, weights = marchenko_pastur.rule(ratio, count + 1)
        twice = spectral_filter(nodes, step_size, 2 * count, "risk_gain")
        learned = SignedLog.from_float(np.sum(weights * twice.value, axis=-1)) * SignedLog(
            np.ones_like(twice.scale), twice.scale
        )
        fitted = spectral_filter(nodes, step_size, count, "risk_gain").square(weights) * ratio
        return learned * power + -(fitted * deviation**2)

    return _in_blocks(gain, count, eta, gamma, noise, strength)


def risk_parts(eta: ArrayLike, steps: int, *, gamma: ArrayLike) -> tuple[SignedLog, Floats, SignedLog]:
    """Return B, u, C with R = signal (B + u) + sigma^2 C: what of w* is not yet learned, never seen; fitted noise."""
    count = one_horizon("risk", steps)

    def bias(step_size: Floats, ratio: Floats) -> SignedLog:
        nodes, weights = marchenko_pastur.rule(ratio, count + 1)
        return last_iterate.objective(Spectrum(nodes, weights / nodes), step_size, count, measure="squared_norm")

    def fitted(step_size: Floats, ratio: Floats) -> SignedLog:
        nodes, weights = marchenko_pastur.rule(ratio, count + 1)
        return spectral_filter(nodes, step_size, count, "risk").square(weights) * ratio

    unseen = marchenko_pastur.unfitted(gamma, count + 1)[1]
    return _in_blocks(bias, count, eta, gamma), unseen, _in_blocks(fitted, count, eta, gamma)


def d_risk_parts(eta: ArrayLike, steps: int, *, gamma: ArrayLike) -> tuple[SignedLog, SignedLog]:
    """Return B' < 0 (for eta below 1/s_+) and C' with R' = signal B' + sigma^2 C'."""
    count = one_horizon("d_risk", steps)

    def bias(step_size: Floats, ratio: Floats) -> SignedLog:
        nodes, weights = marchenko_pastur.rule(ratio, count + 1)
        return last_iterate.d_objective(Spectrum(nodes, weights / nodes), step_size, count, measure="squared_norm")

    def fitted(step_size: Floats, ratio: Floats) -> SignedLog:
        nodes, weights = marchenko_pastur.rule(ratio, count + 1)
        return spectral_filter(nodes, step_size, count, "d_risk").d_square(weights) * ratio

    return _in_blocks(bias, count, eta, gamma), _in_blocks(fitted, count, eta, gamma)


def train_loss(eta: ArrayLike, steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> SignedLog:
    """Return T = E||Xw_t - y||^2/(2n)."""
    noise, strength = _levels("train_loss", sigma, signal)
    count = one_horizon("train_loss", steps)

    def excess(step_size: Floats, *about: Floats) -> SignedLog:
        return last_iterate.objective(_train_spectrum(count, *about), step_size, count)

    floor = noise**2 * marchenko_pastur.unfitted(gamma, count + 1)[0] / 2
    return _in_blocks(excess, count, eta, gamma, noise, strength) + floor


def d_train_loss(
    eta: ArrayLike, steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0
) -> SignedLog:
    """Return T' = dT/deta."""
    noise, strength = _levels("d_train_loss", sigma, signal)
    count = one_horizon("d_train_loss", steps)

    def slope(step_size: Floats, *about: Floats) -> SignedLog:
        return last_iterate.d_objective(_train_spectrum(count, *about), step_size, count)

    return _in_blocks(slope, count, eta, gamma, noise, strength)


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
    return _train_spectrum(one_horizon("train_spectrum", steps), np.asarray(gamma), noise, strength)


def _train_spectrum(steps: int, gamma: Floats, noise: Floats, strength: Floats) -> Spectrum:
    nodes, weights = marchenko_pastur.rule(gamma, steps + 1)
    power = strength[..., None] + noise[..., None] ** 2 * gamma[..., None] / nodes
    return Spectrum(np.broadcast_to(nodes, power.shape), weights / nodes * power)


def _in_blocks(curve: Callable[..., SignedLog], steps: int, *arguments: ArrayLike) -> SignedLog:
    """Return curve(*arguments), broadcast, a block of points at a time where the nodes of all would fill the memory."""
    points = [np.asarray(x) for x in arguments]
    shape = np.broadcast_shapes(*(x.shape for x in points))
    block = max(1, _NODES_AT_ONCE // (steps + 1))
    if math.prod(shape) <= block:
        return curve(*points)
    flat = [x.ravel() for x in np.broadcast_arrays(*points)]
    parts = [curve(*(x[start : start + block] for x in flat)) for start in range(0, flat[0].size, block)]
    sign, log = (np.concatenate([getattr(part, name) for part in parts]).reshape(shape) for name in ("sign", "log"))
    return SignedLog(sign, log)


def one_horizon(function: str, steps: int) -> int:
    """Return one horizon t, for which N = t + 1 nodes are exact."""
    if step_counts(function, steps).ndim:
        bad_value(function, "steps", f"of shape {np.shape(steps)}", "one horizon", "Call it once a horizon.")
    remedy = "The rule has a node a step; for long horizons see `generalization.interpolation_risk`."
    check_memory(function, "steps", steps, int(steps) + 1, remedy)
    return int(steps)


def _levels(function: str, sigma: ArrayLike, signal: ArrayLike) -> tuple[Floats, Floats]:
    return checked_level(function, "sigma", sigma), checked_level(function, "signal", signal)
