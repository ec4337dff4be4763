"""The slopes of log objectives as n, d -> infinity at d/n = 1/2, and how those of samples tend to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from metagrad.theory.least_squares import marchenko_pastur, proportional_limit
from metagrad.theory.quadratic import last_iterate

GAMMA = 0.5
Fit = tuple[float, tuple[float, float]]


def limit(kind: str, eta: float, steps: int, sigma: float) -> float:
    """Return log |G'| for d -> infinity at d/n = 1/2, of the log of "train", "excess" or "validation"."""
    at = {"gamma": GAMMA, "sigma": sigma}
    if kind == "validation":
        slope = proportional_limit.d_validation_loss(eta, steps, **at)
        value = proportional_limit.validation_loss(eta, steps, **at)
    else:
        slope = proportional_limit.d_train_loss(eta, steps, **at)
        value = proportional_limit.train_loss(eta, steps, **at)
    if kind == "excess":
        value = last_iterate.objective(proportional_limit.train_spectrum(steps, **at), eta, steps)
    return float(slope.log - value.log - np.log(steps))


def limit_bound(eta: float, steps: int, sigma: float) -> float:
    """Return the log of the bound: S = the mean of s^2 + sigma^2 gamma s, T_inf = sigma^2 (1 - gamma)/2."""
    mu = max(abs(1 - eta * s) for s in marchenko_pastur.edges(GAMMA))
    S, floor = 1 + GAMMA + sigma**2 * GAMMA, sigma**2 * (1 - GAMMA) / 2
    return float(np.log(S / floor) + (2 * steps - 1) * np.log(mu))


def extrapolated(dims: Sequence[int], gaps: np.ndarray, level: float) -> Fit:
    """Return c of the fit c + b/d to the means over samples of `gaps` (dims, samples), and its interval."""
    error = gaps.std(axis=1, ddof=1) / np.sqrt(gaps.shape[1])
    design = np.stack([np.ones(len(dims)), 1 / np.asarray(dims)], axis=1) / error[:, None]
    if not np.isfinite(design).all():
        return np.nan, (np.nan, np.nan)
    spread = np.linalg.inv(design.T @ design)
    found = float((spread @ design.T @ (gaps.mean(axis=1) / error))[0])
    half = float(stats.t.isf((1 - level) / 2, gaps.shape[1] - 1) * np.sqrt(spread[0, 0]))
    return found, (found - half, found + half)


def narrowing(gaps: np.ndarray) -> Fit:
    """Return the standard deviation over samples at the last d over that at the first, and its 95 % interval.

    The interval is that of the log of a deviation, whose variance is (kurtosis - 1)/(4 samples).
    """
    first, last = gaps[0], gaps[-1]
    ratio = float(last.std(ddof=1) / first.std(ddof=1))
    above = [np.mean((x - x.mean()) ** 4) / x.var() ** 2 - 1 for x in (first, last)]
    half = float(stats.norm.isf(0.025) * np.sqrt(np.sum(above) / (4 * gaps.shape[1])))
    return ratio, (ratio * np.exp(-half), ratio * np.exp(half))
