"""How many digits of a closed form can be trusted: it is evaluated again on data that rounding cannot tell apart.

What changes by more than its own tenth has no digit left: there the rounding of the data, or of their decomposition,
decides. A formula that cancels is found by the same means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from metagrad.estimators.closed_form._shared import UNIT_ROUNDOFF, Solved
from metagrad.scaled import Scaled
from metagrad.xp import Array, rng

JITTER = 1e-8
"""A relative change of exact data, large enough to be measured; `JITTER_SHARE` of what it does is rounding."""
JITTER_SHARE = 8 * UNIT_ROUNDOFF / JITTER
_MOST = -np.log10(UNIT_ROUNDOFF)


@lru_cache(maxsize=64)
def signs(shape: tuple[int, ...], which: int) -> Array:
    """Return the pattern number `which` of signs +1 and -1, as floats: alternating first, then random.

    The same array each time, and read-only.
    """
    if which == 0:
        pattern = 1.0 - 2.0 * (np.indices(shape).sum(axis=0) % 2)
    else:
        pattern = rng(which, "closed_form", *shape).choice([-1.0, 1.0], size=shape)
    pattern.flags.writeable = False
    return pattern


def digits(
    found: Solved, neighbours: Iterable[tuple[Any, float]], again: Callable[[Any], Solved], own: Array | float
) -> tuple[Array, Array]:
    """Return the decimal digits of the value and of the gradient, (B,) each, from 0 to 16.

    `neighbours`: problems, each with the share of its change that counts; `again` solves one. `own`: the rounding of
    a gradient that is made of numbers far outside of the range of floats, relative, (B,).
    """
    value, slope = found
    errors = [_own_rounding(value), np.maximum(_own_rounding(slope), own)]
    for near, share in neighbours:
        for i, (ours, theirs) in enumerate(zip(found, again(near), strict=True)):
            errors[i] = np.maximum(errors[i], share * _change(ours, theirs))
    with np.errstate(divide="ignore"):
        value_digits, slope_digits = (np.clip(-np.log10(error), 0.0, _MOST) for error in errors)
    return value_digits, slope_digits


def change(ours: Solved, theirs: Solved) -> Array:
    """Return how far the values and gradients of each task differ, relative to ours, (B,)."""
    value, slope = (_change(a, b) for a, b in zip(ours, theirs, strict=True))
    return np.maximum(value, slope)


def _own_rounding(numbers: Scaled) -> Array:
    """Return how far the rounding of its logarithm moves a number, relative, (B,); 1 where it is none."""
    size = np.where(np.isfinite(numbers.mantissa), 1.0 + np.abs(np.asarray(numbers.exponent, np.float64)), np.inf)
    return _worst(np.minimum(UNIT_ROUNDOFF * size, 1.0))


def _change(ours: Scaled, theirs: Scaled) -> Array:
    """Return |theirs - ours| / |ours|, the worst of each task, (B,); 1 where one of them is no number."""
    same = (ours.mantissa == theirs.mantissa) & (ours.exponent == theirs.exponent)
    finite = np.isfinite(ours.mantissa) & np.isfinite(theirs.mantissa)
    a, b = (Scaled(np.where(finite, x.mantissa, 0.0), np.where(finite, x.exponent, 0)) for x in (ours, theirs))
    with np.errstate(invalid="ignore", over="ignore"):
        change = np.where(same, 0.0, np.exp2((b - a).log2abs() - a.log2abs()))
    return _worst(np.where(finite | same, change, 1.0))


def _worst(x: Array) -> Array:
    return x.reshape(x.shape[0], -1).max(axis=1)
