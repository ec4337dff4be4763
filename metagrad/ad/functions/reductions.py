"""Reductions other than the sum, and what is composed of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from metagrad.ad.functions.elementwise import exp, log, multiply, sqrt, square, where
from metagrad.ad.functions.shapes import (
    as_array,
    broadcast_to,
    concatenate,
    flip,
    getitem,
    kept_shape,
    module_of,
    ravel,
    reshape,
    spread,
    squeeze,
    sum_,
)
from metagrad.ad.tape import Function, multilinear, primitive, value_of


def _mean_rule(g: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    count = math.prod(x.shape) // max(1, math.prod(g.shape))
    half = 2.0 ** (count.bit_length() // 2)  # float16 holds no count above 65504: divide in two steps
    return spread(g / count if count <= 2**11 else g / half / (count / half), x, axis)


def _shares(x: Any, out: Any, axis: Any, live: Any) -> tuple[Any, Any]:
    """Return which entries are the extreme one, and how many share: beside a NaN all, and NaN where it is `live`."""
    kept, top = kept_shape(x.shape, axis), value_of(out)
    xp = module_of(top)
    chosen, none = value_of(x) == top.reshape(kept), xp.isnan(top)
    if xp is not np or none.any():
        chosen = chosen | none.reshape(kept)
    count = chosen.sum(axis=axis).astype(out.dtype).reshape(top.shape)
    return chosen, xp.where(none & live, xp.asarray(np.nan, out.dtype), count) if xp is not np or none.any() else count


def _extreme_rule(g: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    chosen, count = _shares(x, out, axis, value_of(g) != 0)
    return where(chosen, broadcast_to(reshape(g / count, kept_shape(x.shape, axis)), x.shape), 0.0)


def _push_extreme(tangents: dict[int, Any], out: Any, args: Sequence[Any]) -> Any:
    (t,), (x, axis, keepdims) = tangents.values(), args
    chosen, count = _shares(x, out, axis, (value_of(t) != 0).sum(axis=axis, keepdims=keepdims) != 0)
    return sum_(where(chosen, t, 0.0), axis, keepdims) / count


_mean = primitive(
    "mean", lambda x, axis, keepdims: as_array(x).mean(axis=axis, keepdims=keepdims), (_mean_rule,), multilinear
)
_max = primitive(
    "max",
    lambda x, axis, keepdims: as_array(x).max(axis=axis, keepdims=keepdims),
    (_extreme_rule,),
    lambda call: _push_extreme,
)
_min = primitive(
    "min",
    lambda x, axis, keepdims: as_array(x).min(axis=axis, keepdims=keepdims),
    (_extreme_rule,),
    lambda call: _push_extreme,
)
_cumsum: Function = primitive(
    "cumsum",
    lambda x, axis: module_of(x).cumsum(x, axis=axis, dtype=x.dtype),
    (lambda g, out, x, axis: flip(_cumsum(flip(g, axis), axis), axis),),
    multilinear,
)


def mean(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Mean of entries."""
    return _mean(a, axis, keepdims)


def max_(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest entry; ties share the cotangent equally."""
    return _max(a, axis, keepdims)


def min_(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Smallest entry; ties share the cotangent equally."""
    return _min(a, axis, keepdims)


def cumsum(a: Any, axis: int | None = None) -> Any:
    """Running sum."""
    return _cumsum(ravel(a), 0) if axis is None else _cumsum(a, axis)


def prod(a: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Product of entries, by halves: right at zeros too, to any order."""
    x, at = (ravel(a), 0) if axis is None else (a, axis % a.ndim)
    before = (slice(None),) * at
    while x.shape[at] > 1:
        n, half = x.shape[at], x.shape[at] // 2
        halves = multiply(getitem(x, (*before, slice(0, half))), getitem(x, (*before, slice(half, 2 * half))))
        if n % 2:
            head = getitem(halves, (*before, slice(0, 1))) * getitem(x, (*before, slice(n - 1, n)))
            halves = concatenate((head, getitem(halves, (*before, slice(1, half)))), at)
        x = halves
    shape = kept_shape(a.shape, axis) if keepdims else x.shape[:at] + x.shape[at + 1 :]
    return reshape(x, shape) if x.size else module_of(value_of(x)).ones(shape, x.dtype)


def var(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Mean squared deviation from the mean, of n - ddof."""
    deviation = a - mean(a, axis, keepdims=True)
    squares = mean(square(deviation), axis, keepdims)
    if ddof == 0:
        return squares
    n = math.prod(a.shape) // max(1, math.prod(squares.shape))
    return squares * (n / (n - ddof) if n > ddof else math.inf)  # NaN where it is of one entry, as NumPy's


def std(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Square root of `var`; of one entry it is 0, and so is its derivative."""
    found = var(a, axis, ddof, keepdims)
    if ddof == 0 and math.prod(a.shape) == math.prod(found.shape):
        return sum_(a - mean(a, axis, keepdims=True), axis, keepdims)  # 0, or NaN for inf and NaN
    return sqrt(found)


def logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(a))), shifted by the largest entry so that nothing overflows; -inf where all entries are."""
    values = value_of(a)
    xp = module_of(values)
    top = values.max(axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, top.dtype.type(0))
    out = log(sum_(exp(a - top), axis, keepdims=True)) + top
    return out if keepdims else squeeze(out, tuple(range(a.ndim)) if axis is None else axis)


def log_softmax(a: Any, axis: int = -1) -> Any:
    """a - logsumexp(a)."""
    return a - logsumexp(a, axis, keepdims=True)


def softmax(a: Any, axis: int = -1) -> Any:
    """exp(log_softmax(a))."""
    return exp(log_softmax(a, axis))


TABLE: dict[Any, Any] = {
    np.mean: mean,
    np.max: max_,
    np.min: min_,
    np.prod: prod,
    np.cumsum: cumsum,
    np.var: var,
    np.std: std,
}
