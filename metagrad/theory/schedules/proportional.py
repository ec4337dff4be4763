"""The best schedule in the limit d/n -> gamma, in closed form, and its risk with and without noise.

s dMP(s) is a semicircle law, with Chebyshev's polynomials of the second kind: pi_T(s) ~ U_T((s - 1 - gamma)/(2 sqrt
gamma)). So by the theorem of `optimal`, with delta = gamma sigma^2/signal,

    eta_k = 1/(delta + 1 + gamma + 2 sqrt(gamma) cos(k pi/(T + 1))),   k = 1..T, in any order, with weight decay delta;
    z = (1 + gamma + delta)/(2 sqrt gamma),   rho = z - sqrt(z^2 - 1) <= 1,
    Bayes risk = signal (1 - rho/sqrt gamma),
    risk = signal (1 - U_{T-1}(z)/(sqrt(gamma) U_T(z))),
    excess = signal rho^{2T+1} (1 - rho^2)/(sqrt(gamma) (1 - rho^{2T+2})),

since the excess is signal/pi_T(-delta) times integral pi_T(s)/(s + delta) s dMP (R - 1 is s + delta times a
polynomial that R is orthogonal to), and integral (2/pi) sqrt(1 - x^2) U_T(x)/(z - x) dx = 2 rho^{T+1}. The excess falls
by rho^2 a step. Without noise rho = min(sqrt gamma, 1/sqrt gamma), and

    risk = signal gamma^T (1 - gamma)/(1 - gamma^{T+1}),   signal/(T + 1) at gamma = 1,

which contains the atom 1 - 1/gamma at 0 of gamma > 1. The risk is rational in gamma and delta: 17/41 for gamma = 1/2,
sigma = signal = 1, T = 4. No noise: Pedregosa and Scieur 2020, section 3.2, whose method it is, as a schedule. The rest
is derived; checked by tests at 30 digits. gamma, sigma and signal are broadcast against each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares.marchenko_pastur import edges, rule
from metagrad.theory.numbers.checks import Floats, check_memory
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.schedules._checks import checked_steps, limit_levels


def best_decay(*, gamma: ArrayLike, sigma: ArrayLike = 0.0, signal: ArrayLike = 1.0) -> Floats:
    """Return delta = gamma sigma^2/signal, the decay of the best ridge solution and of the best schedule.

    >>> best_decay(gamma=0.5, sigma=1.0)
    array(0.5)
    """
    ratio, noise, size = limit_levels("best_decay", gamma, sigma, signal)
    return np.asarray(ratio * noise**2 / size, np.float64)


def best_schedule(steps: int, *, gamma: ArrayLike, sigma: ArrayLike = 0.0, signal: ArrayLike = 1.0) -> Floats:
    """Return eta_1 .. eta_T (..., T), the largest first, to be taken on the loss with weight decay `best_decay`.

    >>> best_schedule(2, gamma=0.25)
    array([1.33333333, 0.57142857])
    """
    count = checked_steps("best_schedule", steps)
    ratio, noise, size = limit_levels("best_schedule", gamma, sigma, signal)
    delta = np.asarray(ratio * noise**2 / size)
    entries = count * delta.size
    check_memory("best_schedule", "steps", count, entries, "Take fewer steps.")
    return np.asarray(1 / (rule(ratio, count)[0] + delta[..., None]), np.float64)


def bayes_risk(*, gamma: ArrayLike, sigma: ArrayLike = 0.0, signal: ArrayLike = 1.0) -> Floats:
    """Return the risk of the best ridge solution, which no estimate beats; without noise max(0, 1 - 1/gamma) signal.

    >>> bayes_risk(gamma=0.5, sigma=1.0).round(10)
    np.float64(0.4142135624)
    """
    ratio, noise, size = limit_levels("bayes_risk", gamma, sigma, signal)
    delta = ratio * noise**2 / size
    root = np.sqrt((1 - ratio) ** 2 + 2 * delta * (1 + ratio) + delta**2)
    under = 1 - ratio - delta
    # root - under, without cancellation where under > 0; root >= |under|, and both are 0 only at gamma = 1, delta = 0
    safe = np.where(root > 0, root + np.abs(under), 1.0)
    rise = np.where(under > 0, 4 * delta / safe, root - under)
    return np.asarray(size * rise / (1 + ratio + delta + root), np.float64)


def log_rate(*, gamma: ArrayLike, sigma: ArrayLike = 0.0, signal: ArrayLike = 1.0) -> Floats:
    """Return log rho <= 0: the excess falls by rho^2 with each further step, by (T + 1)/(T + 2) where rho = 1.

    >>> float(np.exp(log_rate(gamma=0.25)))
    0.5
    """
    ratio, noise, size = limit_levels("log_rate", gamma, sigma, signal)
    over = (edges(ratio)[0] + ratio * noise**2 / size) / (2 * np.sqrt(ratio))  # z - 1
    return np.asarray(-np.log1p(over + np.sqrt(over * (over + 2))), np.float64)


def best_excess(steps: int, *, gamma: ArrayLike, sigma: ArrayLike = 0.0, signal: ArrayLike = 1.0) -> SignedLog:
    """Return what the best T steps leave over the Bayes risk, (...,), of any size.

    >>> best_excess(3, gamma=1.0).to_float().round(12)
    np.float64(0.25)
    """
    count = checked_steps("best_excess", steps)
    ratio, _, size = limit_levels("best_excess", gamma, sigma, signal)
    log = log_rate(gamma=gamma, sigma=sigma, signal=signal)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(log == 0, 1 / (count + 1), np.expm1(2 * log) / np.expm1((2 * count + 2) * log))
    found = np.log(size) + (2 * count + 1) * log + np.log(share) - np.log(ratio) / 2
    return SignedLog(np.ones_like(found), np.asarray(found, np.float64))


def best_risk(steps: int, *, gamma: ArrayLike, sigma: ArrayLike = 0.0, signal: ArrayLike = 1.0) -> Floats:
    """Return the least risk of any T steps, with momentum or without: that of `best_schedule` with `best_decay`.

    >>> best_risk(4, gamma=0.5, sigma=1.0), 17 / 41
    (array(0.41463415), 0.4146341463414634)
    """
    left = best_excess(steps, gamma=gamma, sigma=sigma, signal=signal).to_float(ieee=True)
    return np.asarray(bayes_risk(gamma=gamma, sigma=sigma, signal=signal) + left, np.float64)
