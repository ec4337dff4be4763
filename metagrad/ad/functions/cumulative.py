"""What goes along an axis: running sums, products and extremes, differences, and integrals.

A running product is composed by doubling, out[i] = x[i] * out[i - s] for s = 1, 2, 4, ..., without a division: it is
right at zeros, to any order. Its value is NumPy's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from metagrad.ad.functions.reductions import beside, joined, with_numpys_value
from metagrad.ad.functions.shapes import (
    astype,
    broadcast_to,
    concatenate,
    flip,
    getitem,
    module_of,
    ravel,
    reshape,
    sum_,
)
from metagrad.ad.functions.sorting import gather
from metagrad.ad.tape import Function, multilinear, primitive, value_of
from metagrad.errors import bad_value

_cumsum: Function = primitive(
    "cumsum",
    lambda x, axis: module_of(x).cumsum(x, axis=axis, dtype=x.dtype),
    (lambda g, out, x, axis: flip(_cumsum(flip(g, axis), axis), axis),),
    multilinear,
)


def part(x: Any, at: int, start: int | None, stop: int | None) -> Any:
    """Entries from start to stop along one axis."""
    return getitem(x, (*(slice(None),) * at, slice(start, stop)))


def _line(a: Any, axis: int | None, dtype: Any) -> tuple[Any, int]:
    x, at = joined(a, axis if axis is None or not a.ndim else normalize_axis_index(axis, a.ndim))
    return (x if dtype is None else astype(x, dtype)), at


def cumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Running sum (of all entries if no axis is given)."""
    return _cumsum(*_line(a, axis, dtype))


def cumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Running product (of all entries if no axis is given), right at zeros too, to any order."""
    x, at = _line(a, axis, dtype)
    with np.errstate(all="ignore"):  # NumPy's own product warns
        found = _doubled(x, at, lambda later, before: later * before)
    return with_numpys_value(found, np.cumprod, x, axis=at)


def _doubled(x: Any, at: int, combine: Callable[[Any, Any], Any], join: Callable[..., Any] = concatenate) -> Any:
    """Return the entries along an axis combined so far, each by a logarithm of steps."""
    n, step, index = x.shape[at], 1, (slice(None),) * at
    while step < n:
        later = combine(x[(*index, slice(step, None))], x[(*index, slice(None, -step))])
        x = join((x[(*index, slice(None, step))], later), at)
        step *= 2
    return x


def _with_initial(found: Any, at: int, initial: float, include: bool) -> Any:
    if not include:
        return found
    value = value_of(found)
    shape = (*found.shape[:at], 1, *found.shape[at + 1 :])
    first = module_of(value).full_like(value, initial, shape=shape)
    return concatenate((first, found), at)


def _one_axis(name: str, x: Any, axis: int | None) -> int:
    if axis is None and x.ndim > 1:
        bad_value(name, "axis", None, f"one axis, as x has {x.ndim}", "Give axis=, or use x.ravel().")
    return 0 if axis is None else normalize_axis_index(axis, max(x.ndim, 1))


def cumulative_sum(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running sum; with include_initial, from 0 on."""
    at = _one_axis("numpy.cumulative_sum", x, axis)
    return _with_initial(cumsum(x, at, dtype), at, 0.0, include_initial)


def cumulative_prod(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running product; with include_initial, from 1 on."""
    at = _one_axis("numpy.cumulative_prod", x, axis)
    return _with_initial(cumprod(x, at, dtype), at, 1.0, include_initial)


def _records(values: Any, at: int, largest: bool) -> Any:
    """Return where the entry stands that is the extreme one so far: the first of equal ones, and a NaN once it came."""
    xp = module_of(values)

    def running(x: Any, ufunc: Any) -> Any:
        if type(x) is np.ndarray:
            return ufunc.accumulate(x, axis=at)
        return _doubled(x, at, ufunc, xp.concatenate)

    best = running(values, xp.maximum if largest else xp.minimum)
    index = (slice(None),) * at
    now, before = values[(*index, slice(1, None))], best[(*index, slice(None, -1))]
    is_new = ((now > before) if largest else (now < before)) | (xp.isnan(now) & ~xp.isnan(before))
    n, shape = values.shape[at], (-1,) + (1,) * (values.ndim - 1 - at)
    later = xp.where(is_new, xp.arange(1, n).reshape(shape), 0)
    return running(xp.concatenate((xp.zeros_like(later[(*index, slice(0, 1))]), later), at), xp.maximum)


def _running(largest: bool) -> Callable[..., Any]:
    def accumulate(array: Any, axis: int = 0, dtype: Any = None) -> Any:
        x = array if dtype is None else astype(array, dtype)
        at = normalize_axis_index(axis, x.ndim)
        return gather(x, _records(value_of(x), at, largest), at, False) if x.shape[at] > 1 else x

    accumulate.__doc__ = "Largest or smallest entry so far; the first of equal ones has the derivative."
    return accumulate


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours along an axis, n times over; entries may be put before and after."""
    if n < 0:
        bad_value("numpy.diff", "n", n, "an integer of at least 0")
    if n == 0:
        return a
    if not a.ndim:
        bad_value("numpy.diff", "a", "an array without axes", "one with an axis at least")
    at = normalize_axis_index(axis, a.ndim)
    ends = [_end(x, a, at) for x in (prepend, append)]
    parts = [x for x in (ends[0], a, ends[1]) if x is not None]
    x = concatenate(parts, at) if len(parts) > 1 else a
    for _ in range(n):
        x = part(x, at, 1, None) - part(x, at, None, -1)
    return x


def _end(x: Any, a: Any, at: int) -> Any:
    if x is None or x is np._NoValue:
        return None
    value = value_of(x)
    if _many(x):
        return beside(x, a)
    whole = x if hasattr(x, "dtype") else module_of(value_of(a)).asarray(value)
    return broadcast_to(whole, (*a.shape[:at], 1, *a.shape[at + 1 :]))


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours of all entries, between what is put before and after."""
    x, xp = ravel(ary), module_of(value_of(ary))
    ends = [y if y is None or hasattr(y, "dtype") else xp.asarray(y) for y in (to_begin, to_end)]
    flat = [None if y is None else astype(ravel(y), ary.dtype) for y in ends]
    return concatenate([y for y in (flat[0], part(x, 0, 1, None) - part(x, 0, None, -1), flat[1]) if y is not None])


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """Integral by trapezoids along an axis, at the points x or at distances dx."""
    y = beside(y, dx if x is None else x)
    at, d = normalize_axis_index(axis, y.ndim), dx
    if x is not None:
        x = beside(x, y)
        d = diff(x, axis=-1 if x.ndim == 1 else axis)
        d = _column(d, y.ndim, at) if x.ndim == 1 else d
    return sum_(d * (part(y, at, 1, None) + part(y, at, None, -1)) / 2.0, at)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes by differences of neighbours along each axis: distances, or coordinates, may be given (and be traced)."""
    f = beside(f, varargs[0] if varargs else 1.0)
    f = f if f.dtype.kind == "f" else f.astype(np.float64)
    axes = normalize_axis_tuple(range(f.ndim) if axis is None else axis, f.ndim)
    spacings = [1.0] if not varargs else list(varargs)
    if len(spacings) == 1 and not _many(spacings[0]):
        spacings = spacings * len(axes)
    if len(spacings) != len(axes):
        raise TypeError(
            f"numpy.gradient: {len(varargs)} spacings came for {len(axes)} axes; expected one distance for all, or a "
            "distance or coordinates for each."
        )
    if edge_order not in (1, 2):
        bad_value("numpy.gradient", "edge_order", edge_order, "1 or 2")
    found = [_slopes(f, at, _steps(h, f, at), edge_order) for at, h in zip(axes, spacings, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def _column(x: Any, ndim: int, at: int) -> Any:
    """Return numbers along one axis of many."""
    return reshape(x, (-1,) + (1,) * (ndim - 1 - at))


def _many(x: Any) -> bool:
    """Tell whether there are coordinates, or distances of neighbours, and not one number."""
    return isinstance(x, list | tuple) or getattr(value_of(x), "ndim", 0) > 0


def _steps(spacing: Any, f: Any, at: int) -> Any:
    """Return the distance of neighbours, or all of them where they differ or are traced."""
    if not _many(spacing):
        return spacing
    x, n = beside(spacing, f), f.shape[at]
    if x.shape != (n,):
        bad_value("numpy.gradient", "the coordinates", f"of shape {x.shape}", f"({n},), as the axis is of that length")
    steps = diff(x if x.dtype.kind == "f" else x.astype(np.float64))
    if type(steps) is np.ndarray and (steps == steps[0]).all():  # as NumPy does, for the same digits
        return steps[0]
    return steps


def _slopes(f: Any, at: int, h: Any, edge_order: int) -> Any:
    n = f.shape[at]
    if n < edge_order + 1:
        bad_value("numpy.gradient", "f", f"of length {n} along axis {at}", f"at least {edge_order + 1} entries")
    even = not _many(h)

    def entry(i: int) -> Any:
        return part(f, at, i, i + 1 or None)

    def column(x: Any) -> Any:
        return _column(x, f.ndim, at)

    if even:
        inside = (part(f, at, 2, None) - part(f, at, None, -2)) / (2.0 * h)
    else:
        one, two = h[:-1], h[1:]
        before, here = -two / (one * (one + two)), (two - one) / (one * two)
        after = one / (two * (one + two))
        inside = column(before) * part(f, at, None, -2) + column(here) * part(f, at, 1, -1)
        inside = inside + column(after) * part(f, at, 2, None)
    if edge_order == 1:
        first = (entry(1) - entry(0)) / (h if even else h[0])
        last = (entry(-1) - entry(-2)) / (h if even else h[-1])
    else:
        a, b, c = (-1.5 / h, 2.0 / h, -0.5 / h) if even else _edge(h[0], h[1])
        first = a * entry(0) + b * entry(1) + c * entry(2)
        c, b, a = (1.5 / h, -2.0 / h, 0.5 / h) if even else [-x for x in _edge(h[-1], h[-2])]
        last = a * entry(-3) + b * entry(-2) + c * entry(-1)
    found = concatenate((first, inside, last), at)
    return found if found.dtype == f.dtype else astype(found, f.dtype)


def _edge(one: Any, two: Any) -> tuple[Any, Any, Any]:
    """Return the weights of the entry at the edge and of the two beside it, of steps `one` and `two`."""
    both = one + two
    return -(2.0 * one + two) / (one * both), both / (one * two), -one / (two * both)


ACCUMULATED: dict[Any, Callable[..., Any]] = {
    np.add: lambda array, axis=0, dtype=None: cumsum(array, axis, dtype),
    np.multiply: lambda array, axis=0, dtype=None: cumprod(array, axis, dtype),
    np.maximum: _running(largest=True),
    np.minimum: _running(largest=False),
}
TABLE: dict[Any, Any] = {
    np.cumsum: cumsum,
    np.cumprod: cumprod,
    np.cumulative_sum: cumulative_sum,
    np.cumulative_prod: cumulative_prod,
    np.diff: diff,
    np.ediff1d: ediff1d,
    np.gradient: gradient,
    np.trapezoid: trapezoid,
}
