"""How averages given X differ from the limit d/n -> gamma: the first order in 1/d of their law over Gaussian X.

A quantity that is (1/d) sum_j f(s_j) over the eigenvalues of X'X/n, f a polynomial, deviates from its limit by a
normal variable with a mean and a spread of order 1/d (Bai and Silverstein 2004). What follows after t steps of descent
(train loss, risk, loss on fresh samples, averaged over the targets) is such a sum. Shared by `finite_dimension` and
`meta_landscape`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft

from metagrad.theory.least_squares import marchenko_pastur

Function = Callable[[np.ndarray], np.ndarray]


def first_order(f: Function, gamma: float) -> tuple[float, float]:
    """Return mean and variance, for large d, of sum_j f(s_j) - d * (its limit), over all eigenvalues of X'X/n.

    With f(1 + gamma + 2 sqrt(gamma) cos theta) = a_0/2 + sum_k a_k cos(k theta): mean = (f(s_-) + f(s_+) - a_0)/4,
    variance = (1/2) sum_k k a_k^2 (Bai and Silverstein 2004, in this basis). f is a polynomial of degree below 1024.
    """
    theta = (np.arange(1024) + 0.5) * np.pi / 1024
    a = fft.dct(f(1 + gamma + 2 * np.sqrt(gamma) * np.cos(theta)), type=2) / 1024
    ends = f(np.array(marchenko_pastur.edges(gamma)))
    return float((ends.sum() - a[0]) / 4), float(np.sum(np.arange(1024) * a**2) / 2)


def train_term(eta: float, steps: int, gamma: float, sigma: float) -> Function:
    """Return f of the train loss, (s + sigma^2 gamma) (1 - eta s)^2t/2."""
    return lambda s: (s + sigma**2 * gamma) * (1 - eta * s) ** (2 * steps) / 2


def d_train_term(eta: float, steps: int, gamma: float, sigma: float) -> Function:
    """Return df/deta of the train loss, -t s (s + sigma^2 gamma) (1 - eta s)^(2t - 1)."""
    return lambda s: -steps * s * (s + sigma**2 * gamma) * (1 - eta * s) ** (2 * steps - 1)


def risk_term(eta: float, steps: int, gamma: float, sigma: float) -> Function:
    """Return f of the risk, with a = (1 - eta s)^t: a^2 + sigma^2 gamma (1 - a)^2/s; s above 0."""

    def f(s: np.ndarray) -> np.ndarray:
        left = (1 - eta * s) ** steps
        return left**2 + sigma**2 * gamma * (1 - left) ** 2 / s

    return f


def d_risk_term(eta: float, steps: int, gamma: float, sigma: float) -> Function:
    """Return df/deta of the risk, with a as in `risk_term`: -2t (1 - eta s)^(t - 1) (s a - sigma^2 gamma (1 - a))."""

    def f(s: np.ndarray) -> np.ndarray:
        left = (1 - eta * s) ** steps
        return -2 * steps * (1 - eta * s) ** (steps - 1) * (s * left - sigma**2 * gamma * (1 - left))

    return f
