"""Extrema of polynomials with real zeros, and where they take a level: bisection between neighbouring zeros.

Between two zeros of f(s) = prod_k (s - z_k) the slope of log|f|, sum_k 1/(s - z_k), falls from inf to -inf: there is
one extremum, and on each side of it |f| takes each smaller value once. All gaps are bisected at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metagrad.theory.numbers.checks import Floats

_HALVINGS = 64


def log_magnitude(zeros: Floats, at: Floats) -> Floats:
    """Return log prod_k |s - z_k| at the points s (M,)."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.sum(np.log(np.abs(at[:, None] - zeros)), axis=1), np.float64)


def between(zeros: Floats) -> Floats:
    """Return the points of the extrema in the gaps of ascending zeros (K,), (K - 1,); a double zero is its own."""

    def rising(at: Floats) -> NDArray[np.bool_]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.sum(1 / (at[:, None] - zeros), axis=1) > 0)

    return halved(zeros[:-1], zeros[1:], rising)


def halved(low: Floats, high: Floats, keeps_high: Callable[[Floats], NDArray[np.bool_]]) -> Floats:
    """Return the points between `low` and `high` up to which `keeps_high` is True and from which on it is False."""
    for _ in range(_HALVINGS):
        middle = low + (high - low) / 2
        up = keeps_high(middle)
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return np.asarray(low + (high - low) / 2, np.float64)
