"""Validation of what comes into the theory: one place, one wording."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LARGEST_STEPS = 2**52
"""The horizon up to which 2t - 1 is exact in float64."""


def bad_value(function: str, argument: str, came: object, expected: str, remedy: str = "") -> NoReturn:
    """Raise a ValueError: function, argument, what came, what was expected, what to do."""
    text = f"{function}: {argument} is {came}; expected {expected}."
    raise ValueError(f"{text} {remedy}" if remedy else text)


def finite_floats(function: str, argument: str, value: ArrayLike, *, copy: bool = True) -> Floats:
    """Return the value as float64, or raise: TypeError if it is not real numbers, ValueError if not finite.

    `copy=False` hands an array of float64 through as it is, for those who neither keep nor change it.
    """
    floats = real_floats(function, argument, value, copy=copy)
    # the extremes are finite exactly if all are, and take no temporary array
    if floats.size and not (np.isfinite(floats.min()) and np.isfinite(floats.max())):
        worst = floats[~np.isfinite(floats)].flat[0]
        bad_value(function, argument, worst, "finite numbers", "Look for an overflow where it was computed.")
    return floats


def real_floats(function: str, argument: str, value: ArrayLike, *, copy: bool = True) -> Floats:
    """Return the value as float64, inf and NaN included; TypeError if it is not real numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{function}: {argument} has dtype {array.dtype}; expected real numbers.")
    return array.astype(np.float64, copy=copy)


def step_counts(function: str, steps: ArrayLike) -> Floats:
    """Return the horizons as float64 (exact), or raise unless they are integers from 1 to 2^52."""
    array = np.asarray(steps)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{function}: steps has dtype {array.dtype}; expected integers.")
    if not np.all((array >= 1) & (array <= LARGEST_STEPS)):
        worst = array[(array < 1) | (array > LARGEST_STEPS)].flat[0]
        bad_value(function, "steps", worst, "integers from 1 to 2^52")
    return array.astype(np.float64)
