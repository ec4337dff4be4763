"""Validation of what comes into this folder."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import LARGEST_ARRAY, bad_type, bad_value, count, shown

Ints = NDArray[np.int64]
REMEDY = "Take fewer points or values: (4, 3) has 55 296 algorithms on 81 functions."
_LARGEST_BITS = 2**20  # of a count that is told exactly


def table_sizes(function: str, points: int, values: int) -> tuple[int, int]:
    """Return n and m, or raise where a table of all m^n functions would have more than 2^28 entries.

    m^n is not formed where it may be a number of many digits.
    """
    n, m = sizes(function, points, values)
    if n * (m.bit_length() - 1) > 64 or n * m**n > LARGEST_ARRAY:
        came = f"{short(n)} with {short(m)} values, {short(m)}^{short(n)} functions"
        bad_value(function, "points", came, "a table of at most 2^28 entries", REMEDY)
    return n, m


def check_bits(function: str, n: int, m: int, bits: int, what: str) -> None:
    """Raise where a count would be a number of more than 2^20 bits; `bits`: no more than it has."""
    if bits > _LARGEST_BITS:
        came = f"{short(n)} with {short(m)} values: {what} is a number of more than 2^20 bits"
        bad_value(function, "points", came, "sizes of a smaller count", REMEDY)


def short(number: int) -> str:
    """Return an integer in words of any size: Python writes none of thousands of digits."""
    return str(number) if number.bit_length() <= 64 else f"about 2^{number.bit_length() - 1}"


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
