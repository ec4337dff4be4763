"""Validation of what comes into this folder."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import bad_type, bad_value, count, shown

Ints = NDArray[np.int64]


def sizes(function: str, points: int, values: int) -> tuple[int, int]:
    """Return n and m, or raise."""
    return count(function, "points", points), count(function, "values", values)


def mask(function: str, argument: str, among: ArrayLike | None, size: int) -> NDArray[np.bool_]:
    """Return which functions count, (size,), or raise; None: all."""
    if among is None:
        return np.ones(size, dtype=np.bool_)
    try:
        chosen = np.asarray(among)
    except ValueError:
        bad_value(function, argument, "an array of unequal rows", f"{size} bools, one a function")
    if chosen.dtype != np.bool_:
        bad_type(function, argument, f"an array of {chosen.dtype}", f"{size} bools, one a function")
    if chosen.shape != (size,):
        bad_value(function, argument, f"of shape {chosen.shape}", f"shape ({size},), a bool for each function")
    return chosen


def how_many(function: str, argument: str, value: int, points: int) -> int:
    """Return a number of values that were seen, from 1 to that of the points, or raise."""
    found = count(function, argument, value)
    if found > points:
        bad_value(function, argument, found, f"at most the {points} points")
    return found


def sequence_codes(function: str, argument: str, value: ArrayLike, size: int) -> Ints:
    """Return sequences that are told by numbers below `size`, or raise."""
    codes = np.asarray(value)
    if codes.dtype.kind not in "iu":
        bad_type(function, argument, shown(value), "integers, the numbers of sequences")
    if codes.size and not (codes.min() >= 0 and codes.max() < size):
        bad_value(function, argument, f"from {codes.min()} to {codes.max()}", f"numbers from 0 to {size - 1}")
    return codes.astype(np.int64)
