"""Numbers spaced evenly between ends that are traced, and functions defined piece by piece."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from metagrad.ad.functions.elementwise import log10, power, sign, where
from metagrad.ad.functions.shapes import (
    array_of,
    astype,
    broadcast_to,
    cast,
    concatenate,
    getitem,
    is_float,
    module_of,
    moveaxis,
    put,
    reshape,
)
from metagrad.ad.tape import value_of
from metagrad.errors import bad_type, bad_value


def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """So many numbers from start to stop, at equal distances, along a new axis."""
    y, step, _ = _spaced("linspace", start, stop, num, endpoint)
    y = moveaxis(_as("linspace", y, dtype), 0, axis)
    return (y, step) if retstep else y


def _spaced(where_: str, start: Any, stop: Any, num: Any, endpoint: bool) -> tuple[Any, Any, tuple[Any, Any]]:
    count = operator.index(num)
    if count < 0:
        bad_value(where_, "num", count, "at least 0")
    first, last = array_of(start), array_of(stop)
    length = last - first
    xp = module_of(value_of(length))
    places = xp.arange(count, dtype=length.dtype).reshape((-1,) + (1,) * length.ndim)
    parts = count - 1 if endpoint else count
    step = length / parts if parts > 0 else length * np.nan
    ends = broadcast_to(first, length.shape), broadcast_to(last, length.shape)
    y = places * (step if parts > 0 else length) + first
    if endpoint and count > 1:
        y = concatenate((getitem(y, slice(0, -1)), _alone(ends[1])))
    return y, step, ends


def _alone(x: Any) -> Any:
    return reshape(x, (1, *x.shape))


def _as(where_: str, y: Any, dtype: Any) -> Any:
    if dtype is None:
        return y
    if not is_float(np.dtype(dtype)):
        bad_type(where_, "dtype", np.dtype(dtype), "a float type", "Take metagrad.ad.stop_gradient of the ends.")
    return cast(where_, y, dtype)


def logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """The base to the power of evenly spaced numbers from start to stop."""
    if np.ndim(value_of(base)) if isinstance(base, list | tuple | np.ndarray) else getattr(base, "ndim", 0):
        bad_type("logspace", "base", "an array with axes", "one number", "Write base ** np.linspace(start, stop, num).")
    y, _, _ = _spaced("logspace", start, stop, num, endpoint)
    return moveaxis(_as("logspace", power(base, y), dtype), 0, axis)


def geomspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """So many numbers from start to stop, each the same multiple of the one before; of one sign, and not 0."""
    first, last = array_of(start), array_of(stop)
    wide = np.result_type(first.dtype, last.dtype, np.float64)  # as NumPy has it
    first, last = cast("geomspace", first, wide), cast("geomspace", last, wide)
    product = value_of(first) * value_of(last)
    if module_of(product) is np and not np.all(product > 0):
        bad_value("geomspace", "start, stop", "numbers of two signs, or 0", "two of one sign")
    signs = sign(first)
    y, _, _ = _spaced("geomspace", log10(first * signs), log10(last * signs), num, endpoint)
    y = signs * power(10.0, y)
    ends = [_alone(broadcast_to(end, y.shape[1:])) for end in (first, last)]
    if y.shape[0] > 1 and endpoint:
        y = concatenate((ends[0], getitem(y, slice(1, -1)), ends[1]))
    elif y.shape[0]:
        y = concatenate((ends[0], getitem(y, slice(1, None))))
    return moveaxis(_as("geomspace", y, dtype), 0, axis)


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """What one of several functions, or numbers, makes of each entry: the last whose condition holds there, or 0.

    Each function is given the entries where its condition holds, and no others. One function more than conditions is
    for where none holds.
    """
    conditions = [_condition(c, x) for c in (condlist if _is_several(condlist, x) else [condlist])]
    if len(funclist) == len(conditions) + 1:
        none = conditions[0]
        for c in conditions[1:]:
            none = none | c
        conditions.append(module_of(none).logical_not(none))
    if len(funclist) != len(conditions):
        expected = f"as many functions as conditions, {len(conditions)}, or one more"
        bad_value("piecewise", "funclist", f"a list of {len(funclist)}", expected)
    value = array_of(value_of(x))
    out = module_of(value).zeros_like(value)
    for chosen, function in zip(conditions, funclist, strict=True):
        entries = getitem(x, chosen)
        if entries.size:
            found = array_of(function(entries, *args, **kw) if callable(function) else function)
            found = broadcast_to(found if found.dtype == x.dtype else astype(found, x.dtype), entries.shape)
            out = where(chosen, put(found, chosen, x.shape), out)
    return out


def _is_several(condlist: Any, x: Any) -> bool:
    """Tell whether conditions came, and not one condition alone, as NumPy does."""
    if isinstance(condlist, bool | np.bool_):
        return False
    return bool(not x.ndim or isinstance(condlist[0], list) or getattr(condlist[0], "ndim", 0))


def _condition(condition: Any, x: Any) -> Any:
    chosen = np.asarray(condition, bool) if isinstance(condition, list | tuple | bool) else condition
    if getattr(chosen, "dtype", None) != np.bool_:
        bad_type("piecewise", "condlist", "a list with entries that are no booleans", "boolean arrays")
    if chosen.shape != x.shape:
        bad_value("piecewise", "condlist", f"a condition of shape {chosen.shape}", f"the shape of x, {x.shape}")
    return chosen


TABLE: dict[Any, Any] = {
    np.linspace: linspace,
    np.logspace: logspace,
    np.geomspace: geomspace,
    np.piecewise: piecewise,
}
