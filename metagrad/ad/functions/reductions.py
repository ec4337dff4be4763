"""Reductions other than the sum, and what is composed of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from metagrad.ad.functions.elementwise import exp, log, maximum, minimum, multiply, sqrt, square, where
from metagrad.ad.functions.shapes import (
    as_array,
    astype,
    broadcast_to,
    concatenate,
    getitem,
    in_place_of,
    kept_shape,
    like,
    module_of,
    ravel,
    reshape,
    spread,
    squeeze,
    sum_,
    transpose,
)
from metagrad.ad.tape import Function, Op, Var, multilinear, primitive, value_of
from metagrad.errors import bad_type, bad_value
from metagrad.xp import namespace

_ON_HOST = frozenset({np.ndarray, float, np.float64, np.float32, np.float16})
choose = where  # where reductions have an option of that name


def _mean_rule(g: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    count = math.prod(x.shape) // max(1, math.prod(g.shape))
    half = 2.0 ** (count.bit_length() // 2)  # float16 holds no count above 65504: divide in two steps
    return spread(g / count if count <= 2**11 else g / half / (count / half), x, axis)


def _shares(x: Any, out: Any, axis: Any, mask: Any, live: Any) -> tuple[Any, Any]:
    """Return which entries are the extreme one, and how many share: beside a NaN all, and NaN where it is `live`."""
    kept, top = kept_shape(x.shape, axis), value_of(out)
    xp = module_of(top)
    chosen, none = value_of(x) == top.reshape(kept), xp.isnan(top)
    if xp is not np or none.any():
        chosen = chosen | none.reshape(kept)
    if mask is not None:
        chosen = chosen & mask
    count = chosen.sum(axis=axis).astype(out.dtype).reshape(top.shape)
    if mask is not None:
        count = xp.maximum(count, xp.ones_like(count))
    return chosen, xp.where(none & live, xp.asarray(np.nan, out.dtype), count) if xp is not np or none.any() else count


def _extreme_rule(g: Any, out: Any, x: Any, axis: Any, keepdims: bool, mask: Any) -> Any:
    chosen, count = _shares(x, out, axis, mask, value_of(g) != 0)
    return where(chosen, broadcast_to(reshape(g / count, kept_shape(x.shape, axis)), x.shape), 0.0)


def _push_extreme(tangents: dict[int, Any], out: Any, args: Sequence[Any]) -> Any:
    (t,), (x, axis, keepdims, mask) = tangents.values(), args
    chosen, count = _shares(x, out, axis, mask, (value_of(t) != 0).sum(axis=axis, keepdims=keepdims) != 0)
    return sum_(where(chosen, t, 0.0), axis, keepdims) / count


def _extreme(name: str, least: float) -> Function:
    """Return the primitive that picks the largest or the smallest entry, of those in a mask where there is one."""

    def forward(x: Any, axis: Any, keepdims: bool, mask: Any) -> Any:
        among = as_array(x) if mask is None else module_of(x, mask).where(mask, x, least)
        return getattr(among, name)(axis=axis, keepdims=keepdims)

    return primitive(name, forward, (_extreme_rule,), lambda call: _push_extreme)


_mean = primitive(
    "mean", lambda x, axis, keepdims: as_array(x).mean(axis=axis, keepdims=keepdims), (_mean_rule,), multilinear
)
_max, _min = _extreme("max", -math.inf), _extreme("min", math.inf)
_NUMPYS = Op("value", (lambda g, out, x: like(g, x),), lambda tangents, out, args: in_place_of(tangents[0], out))


_ALIKE = (np.prod, np.cumprod)  # CuPy has them, with the options that are used


def with_numpys_value(found: Any, function: Any, *args: Any, **options: Any) -> Any:
    """Return a composition with the value that NumPy's function has, to the last bit, and with its warnings.

    What is composed may add in another order. On a device, and for scaled numbers, it stands as it is.
    """
    values = [value_of(x) for x in args]
    if type(values[0]) not in _ON_HOST:
        xp, options = module_of(values[0]), {name: x for name, x in options.items() if x is not None}
        if function not in _ALIKE or xp is np or not options.keys() <= {"axis", "keepdims"}:
            return found
        function = getattr(xp, function.__name__)
    value = function(*values, **{name: value_of(x) for name, x in options.items() if x is not None})
    return Var(value, _NUMPYS, (found,)) if type(found) is Var else value


def mask_of(where: Any, a: Any) -> Any:
    """Return the mask `where=` in the shape of the array; None where it leaves nothing out."""
    chosen = value_of(where)
    if chosen is None or chosen is True or chosen is np._NoValue:
        return None
    values = value_of(a)
    if type(chosen) in (bool, np.bool_, list, tuple):
        chosen = module_of(values).asarray(chosen)
    if chosen.dtype != bool:  # as NumPy, which makes no mask of numbers
        bad_type("a reduction", "where", f"an array of {chosen.dtype}", "booleans", "Write where=(mask != 0).")
    return namespace(values, chosen, where="a reduction with where=").broadcast_to(chosen, getattr(values, "shape", ()))


def beside(x: Any, other: Any) -> Any:
    """Return a list or tuple of numbers as an array, where `other` is; what else is as it is."""
    return module_of(value_of(other)).asarray(x) if isinstance(x, list | tuple) else x


def in_dtype(a: Any, dtype: Any, where: str = "") -> Any:
    """Return the array in the dtype in which it is asked to be reduced; `where` refuses those that are no floats."""
    if type(value_of(a)) is float:
        a = reshape(a, ())
    if dtype is None:
        return a
    if where and np.dtype(dtype).kind != "f":
        bad_type(where, "dtype", np.dtype(dtype), "a float type", f"Write {where}(x).astype(dtype).")
    return astype(a, dtype)


def total(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """Sum of entries, of those where the mask `where` holds; `initial` is added."""
    a, mask = in_dtype(a, dtype), mask_of(where, a)
    found = sum_(a if mask is None else choose(mask, a, 0.0), axis, keepdims)
    if mask is None and initial is None:
        return found
    found = found if initial is None else found + initial
    return with_numpys_value(found, np.sum, a, axis=axis, keepdims=keepdims, initial=initial, where=mask)


def mean(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, where: Any = None) -> Any:
    """Mean of entries, of those where the mask `where` holds."""
    a, mask = in_dtype(a, dtype, "numpy.mean"), mask_of(where, a)
    if mask is None:
        return _mean(a, axis, keepdims)
    found = masked_mean(a, axis, keepdims, mask)
    return with_numpys_value(found, np.mean, a, axis=axis, keepdims=keepdims, where=mask)


def masked_mean(a: Any, axis: Any, keepdims: bool, mask: Any) -> Any:
    """Mean of the entries in a mask, NaN where it holds none."""
    return _quotient(sum_(choose(mask, a, 0.0), axis, keepdims), mask.sum(axis=axis, keepdims=keepdims))


def _quotient(summed: Any, count: Any) -> Any:
    """Return a sum over its count, NaN for a count that is not above 0; nothing comes back from there."""
    xp, dtype = module_of(count), summed.dtype
    return choose(count > 0, summed / xp.where(count > 0, count, 1).astype(dtype), math.nan)


def _limited(pick: Function, beside: Function, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    a, mask = in_dtype(a, None), mask_of(where, a)
    if not a.ndim:
        np.sum(0.0, axis=axis)  # NumPy's error for an axis that is not there
        axis = None
    if initial is None:
        if mask is not None:
            remedy = "It is the result where all is left out, as initial=-np.inf is for max."
            bad_value(f"numpy.{pick.__name__}", "initial", None, "a number beside where=", remedy)
        return pick(a, axis, keepdims, None)
    if not a.size:  # nothing but `initial` counts
        shape = np.max(np.zeros(a.shape), axis=axis, keepdims=keepdims, initial=0.0).shape
        return astype(broadcast_to(as_array(initial), shape), a.dtype)
    return beside(pick(a, axis, keepdims, mask), initial)


def max_(a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Any:
    """Largest entry; ties share the cotangent equally, and half of it goes where `initial` is as large."""
    return _limited(_max, maximum, a, axis, keepdims, initial, where)


def min_(a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Any:
    """Smallest entry; ties share the cotangent equally, and half of it goes where `initial` is as small."""
    return _limited(_min, minimum, a, axis, keepdims, initial, where)


def masked_extreme(a: Any, axis: Any, keepdims: bool, mask: Any, largest: bool) -> Any:
    """Largest or smallest entry in a mask, NaN where it holds none."""
    found = (_max if largest else _min)(a, axis, keepdims, mask)
    return choose(mask.sum(axis=axis, keepdims=keepdims) > 0, found, math.nan)


def ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest entry minus the smallest; ties share."""
    return max_(a, axis, keepdims) - min_(a, axis, keepdims)


def prod(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """Product of entries, by halves: right at zeros too, to any order."""
    a, mask = in_dtype(a, dtype), mask_of(where, a)
    with np.errstate(all="ignore"):  # NumPy's own product warns
        found = _prod(a if mask is None else choose(mask, a, 1.0), axis, keepdims)
        found = found if initial is None else found * initial
    return with_numpys_value(found, np.prod, a, axis=axis, keepdims=keepdims, initial=initial, where=mask)


def _prod(a: Any, axis: Any, keepdims: bool) -> Any:
    x, at = joined(a, axis)
    before = (slice(None),) * at
    while x.shape[at] > 1:
        n, half = x.shape[at], x.shape[at] // 2
        halves = multiply(getitem(x, (*before, slice(0, half))), getitem(x, (*before, slice(half, 2 * half))))
        if n % 2:
            head = getitem(halves, (*before, slice(0, 1))) * getitem(x, (*before, slice(n - 1, n)))
            halves = concatenate((head, getitem(halves, (*before, slice(1, half)))), at)
        x = halves
    shape = kept_shape(a.shape, axis) if keepdims and a.ndim else x.shape[:at] + x.shape[at + 1 :]
    return reshape(x, shape) if x.size else module_of(value_of(x)).ones(shape, x.dtype)


def joined(a: Any, axis: Any) -> tuple[Any, int]:
    """Return the array with the axes that are reduced as one, and which it is."""
    if axis is None or not a.ndim:
        np.sum(0.0, axis=None if a.ndim else axis)  # NumPy's error for an axis that is not there
        return ravel(a), 0
    if isinstance(axis, int):
        return a, normalize_axis_index(axis, a.ndim)
    if type(axis) is list:  # as NumPy, of reductions
        raise TypeError("'list' object cannot be interpreted as an integer")
    axes = normalize_axis_tuple(axis, a.ndim)
    rest = tuple(i for i in range(a.ndim) if i not in axes)
    kept = tuple(a.shape[i] for i in rest)
    return reshape(transpose(a, (*rest, *axes)), (*kept, math.prod(a.shape[i] for i in axes))), len(rest)


def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    """Mean squared deviation from the mean, of n - ddof; `mean` is one that is known, with its axes kept."""
    a, mask, mean, ddof = arguments_of_var("numpy.var", a, dtype, where, mean, ddof, correction)
    plain = mask is None and mean is None
    found = _var(a, axis, ddof, keepdims) if plain else masked_var(a, axis, ddof, keepdims, mask, mean)
    if plain and _entries(a, found) > ddof:
        return found
    return with_numpys_value(found, np.var, a, axis=axis, ddof=ddof, keepdims=keepdims, where=mask, mean=mean)


def arguments_of_var(
    name: str, a: Any, dtype: Any, where: Any, mean: Any, ddof: float, correction: Any
) -> tuple[Any, ...]:
    """Return the array in its dtype, the mask, the mean that is known, and how many degrees of freedom go."""
    if correction is not None and correction is not np._NoValue:
        if ddof != 0:
            bad_value(name, "correction", correction, "not given where ddof is", "They are the same.")
        ddof = correction
    return in_dtype(a, dtype, name), mask_of(where, a), None if mean is np._NoValue else mean, ddof


def _var(a: Any, axis: Any, ddof: float, keepdims: bool) -> Any:
    deviation = a - _mean(a, axis, True)
    squares = _mean(square(deviation), axis, keepdims)
    if ddof == 0:
        return squares
    n = _entries(a, squares)
    return squares * (n / (n - ddof) if n > ddof else math.inf)  # NaN where it is of one entry, as NumPy's


def _entries(a: Any, reduced: Any) -> int:
    """Return how many entries make one of the result."""
    return int(math.prod(a.shape) // max(1, math.prod(reduced.shape)))


def masked_var(a: Any, axis: Any, ddof: float, keepdims: bool, mask: Any, mean: Any) -> Any:
    """Return the variance of the entries in a mask, from a known mean where there is one; NaN of too few."""
    if mask is None:
        mask = module_of(value_of(a)).ones(a.shape, bool)
    centre = masked_mean(a, axis, True, mask) if mean is None else mean
    squares = sum_(square(choose(mask, a - centre, 0.0)), axis, keepdims)
    return _quotient(squares, mask.sum(axis=axis, keepdims=keepdims) - ddof)


def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    """Square root of `var`; of one entry it is 0, and so is its derivative."""
    a, mask, mean, ddof = arguments_of_var("numpy.std", a, dtype, where, mean, ddof, correction)
    plain = mask is None and mean is None
    if plain:
        squares = _var(a, axis, ddof, keepdims)
        if ddof == 0 and math.prod(a.shape) == math.prod(squares.shape):
            return sum_(a - _mean(a, axis, True), axis, keepdims)  # 0, or NaN for inf and NaN
        found = sqrt(squares)
        if _entries(a, found) > ddof:
            return found
    else:
        found = masked_std(a, axis, ddof, keepdims, mask, mean)
    return with_numpys_value(found, np.std, a, axis=axis, ddof=ddof, keepdims=keepdims, where=mask, mean=mean)


def masked_std(a: Any, axis: Any, ddof: float, keepdims: bool, mask: Any, mean: Any) -> Any:
    """Return the square root of `masked_var`; of one entry it is 0, and so is its derivative."""
    found = masked_var(a, axis, ddof, keepdims, mask, mean)
    if ddof or mean is not None or mask is None:
        return sqrt(found)
    single = mask.sum(axis=axis, keepdims=keepdims) == 1
    return choose(single, 0.0, sqrt(choose(single, 1.0, found)))


def logsumexp(a: Any, axis: Any = None, keepdims: bool = False, b: Any = None) -> Any:
    """log(sum(b exp(a))), shifted by the largest entry so that nothing overflows; -inf where all entries are.

    An entry with the weight b = 0 counts for nothing, whatever a is. NaN where the sum is negative.
    """
    values = as_array(value_of(a))
    xp = module_of(values)
    if b is not None:
        weight = value_of(b)
        values = xp.where(weight == 0, -math.inf, values)
        if type(b) is not Var:
            a = where(weight == 0, -math.inf, a)
    top = values.max(axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    terms = exp(a - top) if b is None else b * exp(a - top)
    out = log(sum_(terms, axis, keepdims=True)) + top
    return out if keepdims else squeeze(out, tuple(range(out.ndim)) if axis is None else axis)


def log_softmax(a: Any, axis: int = -1) -> Any:
    """a - logsumexp(a)."""
    return a - logsumexp(a, axis, keepdims=True)


def softmax(a: Any, axis: int = -1) -> Any:
    """exp(log_softmax(a))."""
    return exp(log_softmax(a, axis))


TABLE: dict[Any, Any] = {
    np.sum: total,
    np.mean: mean,
    np.max: max_,
    np.amax: max_,
    np.min: min_,
    np.amin: min_,
    np.ptp: ptp,
    np.prod: prod,
    np.var: var,
    np.std: std,
}
