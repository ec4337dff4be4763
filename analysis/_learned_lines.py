"""Lines through runs: slopes over the horizon, and how one slope goes with another over all runs."""

from __future__ import annotations

import numpy as np
from scipy import stats


def per_step(horizons: np.ndarray, log10: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the slope of the line through (T, log10) by least squares, T the last axis but one, from first to last."""
    T = np.asarray(horizons, dtype=float)
    used = (first <= T) & (last >= T)
    x = T[used] - T[used].mean()
    slopes: np.ndarray = np.einsum("...tr,t->...r", log10[..., used, :], x / (x @ x))
    return slopes


def coefficient(x: np.ndarray, y: np.ndarray, level: float = 0.95) -> tuple[float, tuple[float, float]]:
    """Return the coefficient of the line of y over x by least squares, over independent runs, and its interval.

    The interval is for residuals whose size may go with x: HC3 of MacKinnon and White 1985, with Student's t. NaN
    where all x are the same: then nothing is known of it.
    """
    n, x = len(x), x - x.mean()
    if n < 3 or not x @ x > 0:
        return np.nan, (np.nan, np.nan)
    slope = x @ y / (x @ x)
    leverage = 1 / n + x * x / (x @ x)
    with np.errstate(divide="ignore", invalid="ignore"):  # a run that the line goes through whatever it is
        residual = (y - y.mean() - slope * x) / (1 - leverage)
    half = stats.t.ppf(0.5 + level / 2, n - 2) * np.sqrt(np.sum((x * residual) ** 2)) / (x @ x)
    return float(slope), (float(slope - half), float(slope + half))
