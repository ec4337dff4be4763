"""The slope of a meta-objective along a line, from values alone: differences of numbers of any size, by many steps.

Order four, (8 (F(h) - F(-h)) - (F(2h) - F(-2h))) / 12 h, at h = 1/8, 1/16, ..., 2^-20 of the direction. Truncation
falls like h^4 and rounding grows like 1/h, so that neighbours on this ladder agree best where both are small; how far
they are apart there is what the slope may be off by. No derivative of the engine enters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from metagrad.scaled import Scaled
from metagrad.xp import Array, float_info, to_host

_LADDER = [2.0**-k for k in range(3, 21)]
_SURE = 10.0  # a difference of neighbours may be so much smaller than what they are both off by


class Slope(NamedTuple):
    """Slopes and what they may be off by, both (B,), in units of 2**exponent."""

    slope: Array
    off: Array
    exponent: Array


def slope_along(function: Callable[[float], Scaled]) -> Slope:
    """Return d function(h)/dh at h = 0, where `function` returns one number a task, (B,), at each h in [-1/4, 1/4].

    `off` is inf where no two steps give finite numbers.
    """
    centre = function(0.0)
    found = to_host(centre.log2abs())
    exponent = np.where(np.isfinite(found), np.floor(np.where(np.isfinite(found), found, 0.0)), 0.0).astype(np.int64)

    @cache  # each step is twice the next one: two of its four values are known
    def value(h: float) -> Array:
        x = function(h)
        moved = Scaled.of(to_host(x.mantissa).astype(np.float64), to_host(x.exponent) - exponent)
        return moved.to_float(out_of_range="ieee")

    slopes, rounding = [], []
    with np.errstate(all="ignore"):
        for h in _LADDER:
            v = [value(k * h) for k in (1, -1, 2, -2)]
            slopes.append((8 * (v[0] - v[1]) - (v[2] - v[3])) / (12 * h))
            rounding.append(float_info(centre.dtype).eps * np.max(np.abs(v), axis=0) / h)
        steps = np.abs(np.diff(slopes, axis=0))
        apart = np.maximum(steps[:-1], steps[1:]) + np.asarray(rounding)[1:-1]
    apart = np.where(np.isfinite(apart), apart, np.inf)
    best = np.argmin(apart, axis=0)[None]
    off, slope = (np.take_along_axis(np.asarray(x), best, axis=0)[0] for x in (apart, slopes[1:-1]))
    return Slope(np.where(np.isfinite(slope), slope, 0.0), _SURE * off, exponent)


def room(tree: Array) -> Array:
    """Return how far each meta-parameter may go in one unit of h: its size, and no farther than to 1 from below 1.

    What is 0 moves by 1.
    """
    x = np.abs(np.asarray(to_host(tree), dtype=np.float64))
    size = np.where(x == 0, 1.0, x)
    return np.where((x > 0) & (x < 1), np.minimum(size, 1 - x), size)
