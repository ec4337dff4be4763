"""Validation of what comes into the theory: one place, one wording."""

from __future__ import annotations

import math
from types import UnionType
from typing import Any, NoReturn, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LARGEST_ARRAY = 2**28
LARGEST_STEPS = 2**52
"""The horizon up to which 2t - 1 is exact in float64."""


def bad_value(function: str, argument: str, came: object, expected: str, remedy: str = "") -> NoReturn:
    """Raise a ValueError: function, argument, what came, what was expected, what to do."""
    text = f"{function}: {argument} is {came}; expected {expected}."
    raise ValueError(f"{text} {remedy}" if remedy else text)


def bad_type(function: str, argument: str, came: object, expected: str, remedy: str = "") -> NoReturn:
    """Raise the TypeError of the same wording."""
    text = f"{function}: {argument} is {came}; expected {expected}."
    raise TypeError(f"{text} {remedy}" if remedy else text)


def check_kind(function: str, argument: str, value: object, kind: type | UnionType) -> None:
    """Raise TypeError unless the value is of the kind; a class in place of an instance is told so."""
    if isinstance(value, kind):
        return
    expected = (
        f"a {kind.__name__}" if isinstance(kind, type) else " or ".join(f"a {k.__name__}" for k in get_args(kind))
    )
    if isinstance(value, type):
        bad_type(function, argument, f"the class {value.__name__}", expected, "Build an instance first.")
    bad_type(function, argument, shown(value), expected)


def shown(value: object) -> str:
    """Return what came, in short."""
    if isinstance(value, str | bool | int | float | None):
        return f"{value!r}, a {type(value).__name__}" if value is not None else "None"
    return f"a {type(value).__name__}"


def check_flag(function: str, argument: str, value: object) -> None:
    """Raise TypeError unless the value is True or False, or the 1 or 0 that is the same."""
    if not isinstance(value, bool | np.bool_ | int) or value not in (0, 1):
        bad_type(function, argument, shown(value), "True or False")


def check_choice(function: str, argument: str, value: object, known: tuple[str, ...]) -> None:
    """Raise ValueError unless the value is one of the known names."""
    if not (isinstance(value, str) and value in known):
        bad_value(function, argument, repr(value), " or ".join(repr(name) for name in known))


def count(function: str, argument: str, value: object, smallest: int = 1) -> int:
    """Return a count as an int; TypeError unless it is an integer, ValueError below the smallest."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        bad_type(function, argument, shown(value), "an integer")
    if value < smallest:
        bad_value(function, argument, value, f"an integer of at least {smallest}")
    return int(value)


def number(function: str, argument: str, value: object) -> float:
    """Return one finite number as a float, or raise."""
    if type(value) is float and math.isfinite(value):
        return value  # the usual case, found cheaply
    floats = finite_floats(function, argument, value)  # type: ignore[arg-type]
    if floats.ndim:
        bad_value(function, argument, f"of shape {floats.shape}", "one number")
    return float(floats)


def one_horizon(function: str, steps: ArrayLike) -> int:
    """Return the one horizon, or raise."""
    counts = step_counts(function, steps)
    if counts.ndim:
        bad_value(function, "steps", f"of shape {counts.shape}", "one integer")
    return int(counts)


def check_memory(function: str, argument: str, value: object, entries: int, remedy: str) -> None:
    """Raise ValueError where an array of so many numbers would not fit into a few GiB."""
    if entries > LARGEST_ARRAY:
        came = f"{value}, which takes {8 * entries / 2**30:.3g} GiB"
        bad_value(function, argument, came, f"what takes at most {8 * LARGEST_ARRAY / 2**30:.3g} GiB", remedy)


def check_together(function: str, **shapes: tuple[int, ...]) -> None:
    """Raise ValueError unless the shapes broadcast."""
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        (first, *rest), last = list(shapes), list(shapes.values())[-1]
        others = " and ".join(f"{name} of shape {shapes[name]}" for name in (first, *rest[:-1]))
        bad_value(function, rest[-1], f"of shape {last}", f"a shape that broadcasts with {others}")


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
    array = _array(function, argument, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{function}: {argument} has dtype {array.dtype}; expected real numbers.")
    return array.astype(np.float64, copy=copy)


def _array(function: str, argument: str, value: ArrayLike) -> NDArray[Any]:
    """Return the value as an array; ValueError where its rows differ in length."""
    try:
        return np.asarray(value)
    except ValueError:
        return bad_value(function, argument, f"a {type(value).__name__} of unequal rows", "an array")


def step_counts(function: str, steps: ArrayLike) -> Floats:
    """Return the horizons as float64 (exact), or raise unless they are integers from 1 to 2^52."""
    given: object = steps
    if type(given) is int and 1 <= given <= LARGEST_STEPS:
        return np.array(float(given))  # the usual case, found cheaply
    array = _array(function, "steps", steps)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{function}: steps has dtype {array.dtype}; expected integers.")
    if not np.all((array >= 1) & (array <= LARGEST_STEPS)):
        worst = array[(array < 1) | (array > LARGEST_STEPS)].flat[0]
        bad_value(function, "steps", worst, "integers from 1 to 2^52")
    return array.astype(np.float64)
