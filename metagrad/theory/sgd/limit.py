"""Minibatch SGD on least squares with many inputs: train loss and risk as n, d -> infinity, the batch size fixed.

Inputs x ~ N(0, I_d), y = x'w* + sigma xi, E||w*||^2 = signal, d/n -> gamma, w_0 = 0; batches with replacement of size
b, so that stable step sizes are of order b/d. What is left in the limit is the time tau = eta t and the number of
epochs, E = t b/n: **batch size and step size drop out**. In an eigendirection s of X'X/n, the variance q_s of the
iterates around gradient flow obeys

    dq/dtau = -2 s q + kappa s (2T),    kappa = tau_end/E = eta n/b                the pace: time per epoch

as each x_i all but decouples from its residual, whose mean square is 2T (in the recursion of `Recursion`, C -> 2TH).
With the parts of signal and noise apart, f_s(tau) = integral s e^{-2 s tau} dMP and f_n(tau) = 1 - gamma + gamma
integral e^{-2 s tau} dMP those of gradient flow's train loss 2T, and k(tau) = integral s^2 e^{-2 s tau} dMP,

    2T(tau) = f(tau) + gamma kappa integral_0^tau k(tau - u) 2T(u) du              a Volterra equation for each part

so that SGD is stable for kappa < 2/gamma. On the nodes s_j, weights w_j of `marchenko_pastur` it is a linear system,
-2 diag(s) + gamma kappa v v' with v_j^2 = s_j w_j, solved through its eigenvectors; only terms of one sign are added
in T. As E -> infinity all becomes gradient flow.

`time` (eta t), `epochs` (any positive number) and `gamma` broadcast, results are `SignedLog`, finite beyond the
stability threshold too. Relative errors of about 1e-10, or 1e-18 of the loss at the start, while time sqrt(gamma)
is at most 3000 (N grows like its root, up to 512).
ValueError unless time >= 0, epochs > 0, gamma > 0, sigma >= 0, signal >= 0. Source: the limit is that of Paquette, Lee,
Pedregosa and Paquette 2021 (SGD in the large), derived here for sampling with replacement; checked by tests against
the exact averages given X at growing d, against integration of the system, and against single-pass SGD.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares import marchenko_pastur
from metagrad.theory.least_squares.checks import checked_level, checked_ratio
from metagrad.theory.numbers.checks import Floats, bad_value, finite_floats
from metagrad.theory.numbers.signed_log import SignedLog, signed_sum

_LARGEST_RULE = 512


class Parts(NamedTuple):
    """A loss per unit of signal and per unit of sigma^2."""

    signal: SignedLog
    noise: SignedLog


def risk(
    time: ArrayLike, epochs: ArrayLike, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0
) -> SignedLog:
    """Return R = E||w - w*||^2.

    >>> float(risk(0.5, 1.0, gamma=0.5, sigma=0.0).to_float().round(4))
    0.4881
    """
    _, found = parts(time, epochs, gamma=gamma)
    return found.signal * checked_level("risk", "signal", signal) + found.noise * _variance("risk", sigma)


def train_loss(
    time: ArrayLike, epochs: ArrayLike, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0
) -> SignedLog:
    """Return T = E||Xw - y||^2/(2n)."""
    found, _ = parts(time, epochs, gamma=gamma)
    return found.signal * checked_level("train_loss", "signal", signal) + found.noise * _variance("train_loss", sigma)


def stability_threshold(gamma: ArrayLike) -> Floats:
    """Return the largest pace kappa = time/epochs at which the losses stay bounded, 2/gamma: eta < 2b/d."""
    return 2 / checked_ratio("stability_threshold", gamma)


def parts(time: ArrayLike, epochs: ArrayLike, *, gamma: ArrayLike) -> tuple[Parts, Parts]:
    """Return the parts of the train loss T and of the risk R: T = signal T_s + sigma^2 T_n, and R alike."""
    tau, passes = finite_floats("sgd.limit", "time", time), finite_floats("sgd.limit", "epochs", epochs)
    if np.any(tau < 0):
        bad_value("sgd.limit", "time", f"{tau.min():.6g}", "eta t >= 0")
    if np.any(passes <= 0):
        bad_value("sgd.limit", "epochs", f"{passes.min():.6g}", "a number above 0")
    ends = np.broadcast_arrays(tau, tau / passes, stability_threshold(gamma) / 2)
    shape = ends[0].shape
    found = [
        _parts(float(t), float(pace), float(1 / inverse)) for t, pace, inverse in np.stack(ends, -1).reshape(-1, 3)
    ]
    numbers = [
        SignedLog(*(np.array([getattr(row[i], kind) for row in found]).reshape(shape) for kind in ("sign", "log")))
        for i in range(4)
    ]
    return Parts(numbers[0], numbers[1]), Parts(numbers[2], numbers[3])


def _parts(time: float, pace: float, gamma: float) -> tuple[SignedLog, SignedLog, SignedLog, SignedLog]:
    """Return T_s, T_n, R_s, R_n of one run."""
    size = min(_LARGEST_RULE, 24 + int(9 * np.sqrt(time * np.sqrt(gamma))))
    s, w = marchenko_pastur.rule(gamma, size)
    floor, unseen = (float(x) for x in marchenko_pastur.unfitted(gamma, size))
    rates, modes = np.linalg.eigh(gamma * pace * np.sqrt(np.outer(s * w, s * w)) - 2 * np.diag(s))
    v = np.sqrt(s * w) @ modes
    of_train, of_risk = v**2, (np.sqrt(w / s) @ modes) * v
    # gradient flow's 2T as sums of exponentials, f = sum_j weights_j e^{-2 s_j tau}, and what SGD's variance adds
    weights = np.stack([np.append(0.0, w), np.append(floor, gamma * w / s)])
    moved = _driven(rates, np.append(0.0, s), weights, time)
    flow, still = weights @ np.append(1.0, np.exp(-2 * s * time)), np.expm1(-s * time)
    train = [_total(flow[k], gamma * pace, of_train, moved[k]) * 0.5 for k in range(2)]
    bias, fitted = unseen + (w / s) @ (1 + still) ** 2, gamma * (w / s**2) @ still**2
    risk = [_total(flow, gamma * pace, of_risk, logs) for flow, logs in zip((bias, fitted), moved, strict=True)]
    return train[0], train[1], risk[0], risk[1]


def _driven(rates: Floats, s: Floats, weights: Floats, time: float) -> Floats:
    """Return log integral_0^time e^{rate (time - u)} f(u) du (2, N) for each rate, f = sum_j weights_j e^{-2 s_j u}."""
    exponents = rates[:, None] * time, -2 * s * time
    apart = np.abs(exponents[0] - exponents[1])
    with np.errstate(divide="ignore"):
        share = np.where(apart > 0, -np.expm1(-apart) / np.where(apart > 0, apart, 1.0), 1.0)
        logs = np.maximum(*exponents) + np.log(share)
        largest = np.max(logs, axis=1)
        return np.asarray(np.log(time * (weights @ np.exp(logs - largest[:, None]).T)) + largest, np.float64)


def _total(flow: float, factor: float, coefficients: Floats, logs: Floats) -> SignedLog:
    """Return flow + factor sum_k coefficients_k e^{logs_k}."""
    with np.errstate(divide="ignore"):
        added = signed_sum(np.sign(coefficients), np.log(np.abs(coefficients)) + logs, np.log(factor))
    return SignedLog.from_float(flow) + added


def _variance(function: str, sigma: ArrayLike) -> Floats:
    return checked_level(function, "sigma", sigma) ** 2
