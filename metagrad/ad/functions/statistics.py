"""Averages, counts with weights, and reductions that leave NaN out.

An entry that is NaN has the cotangent 0, exactly, in all of these; where there is nothing else, the result is NaN, with
NumPy's warning.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from metagrad.ad.functions import reductions as r
from metagrad.ad.functions.cumulative import cumprod, cumsum
from metagrad.ad.functions.elementwise import where as choose
from metagrad.ad.functions.reductions import beside, mask_of, with_numpys_value
from metagrad.ad.functions.shapes import (
    as_array,
    astype,
    broadcast_to,
    kept_shape,
    module_of,
    put,
    ravel,
    reshape,
    sum_,
)
from metagrad.ad.functions.sorting import (
    along_axes,
    gather,
    is_picked,
    lerp,
    levels_of,
    lined,
    order_of,
    place_of,
    quantile_shape,
    share_of,
)
from metagrad.ad.tape import Var, value_of
from metagrad.errors import bad_type
from metagrad.xp import number_type


def _numbers(a: Any, where: Any = None) -> Any:
    """Return the mask of what is no NaN, of that in `where`."""
    values, given = value_of(a), mask_of(where, a)
    xp = module_of(values)
    known = xp.logical_not(xp.isnan(as_array(values)))
    return known if given is None else known & given


def _without(a: Any, fill: float) -> Any:
    return choose(_numbers(a), a, fill)


def nansum(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """Sum of what is no NaN."""
    return r.total(_without(a, 0.0), axis, dtype, keepdims, initial, where)


def nanprod(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """Product of what is no NaN."""
    return r.prod(_without(a, 1.0), axis, dtype, keepdims, initial, where)


def nancumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Running sum of what is no NaN."""
    return cumsum(_without(a, 0.0), axis, dtype)


def nancumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Running product of what is no NaN."""
    return cumprod(_without(a, 1.0), axis, dtype)


def nanmean(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, where: Any = None) -> Any:
    """Mean of what is no NaN."""
    a = r.in_dtype(a, dtype, "numpy.nanmean")
    found = r.masked_mean(a, axis, keepdims, _numbers(a, where))
    return with_numpys_value(found, np.nanmean, a, axis=axis, keepdims=keepdims, where=mask_of(where, a))


def _nan_extreme(a: Any, axis: Any, keepdims: bool, initial: Any, where: Any, largest: bool) -> Any:
    function = np.nanmax if largest else np.nanmin
    if initial is not None or mask_of(where, a) is not None:
        found = (r.max_ if largest else r.min_)(a, axis, keepdims, initial, _numbers(a, where))
    elif not a.size:
        return (r.max_ if largest else r.min_)(a, axis, keepdims)  # NumPy's error
    else:
        found = r.masked_extreme(a, axis, keepdims, _numbers(a), largest)
    options = {"axis": axis, "keepdims": keepdims, "initial": initial, "where": mask_of(where, a)}
    return with_numpys_value(found, function, a, **options)


def nanmax(a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Any:
    """Largest of what is no NaN; ties share the cotangent equally."""
    return _nan_extreme(a, axis, keepdims, initial, where, largest=True)


def nanmin(a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Any:
    """Smallest of what is no NaN; ties share the cotangent equally."""
    return _nan_extreme(a, axis, keepdims, initial, where, largest=False)


def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    """Variance of what is no NaN, of n - ddof."""
    a, mask, mean, ddof = r.arguments_of_var("numpy.nanvar", a, dtype, where, mean, ddof, correction)
    found = r.masked_var(a, axis, ddof, keepdims, _numbers(a, mask), mean)
    return with_numpys_value(found, np.nanvar, a, axis=axis, ddof=ddof, keepdims=keepdims, where=mask, mean=mean)


def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    """Standard deviation of what is no NaN; of one entry it is 0, and so is its derivative."""
    a, mask, mean, ddof = r.arguments_of_var("numpy.nanstd", a, dtype, where, mean, ddof, correction)
    found = r.masked_std(a, axis, ddof, keepdims, _numbers(a, mask), mean)
    return with_numpys_value(found, np.nanstd, a, axis=axis, ddof=ddof, keepdims=keepdims, where=mask, mean=mean)


def _at(x: Any, order: Any, places: Any) -> Any:
    """Return the sorted entries in the places of each line."""
    return gather(x, module_of(order).take_along_axis(order, places, axis=-1), -1, False)


def nanmedian(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Entry in the middle of what is no NaN, or mean of the two there."""
    x, axes = lined(a, axis)
    if not x.size:
        return nanmean(a, axis, None, keepdims)
    counts, order = _numbers(x).sum(axis=-1, keepdims=True), order_of(x)
    xp = module_of(counts)
    high = xp.minimum(xp.floor_divide(counts, 2), x.shape[-1] - 1)
    low = xp.floor_divide(xp.maximum(counts - 1, 0), 2)
    found = choose(counts > 0, (_at(x, order, low) + _at(x, order, high)) / 2.0, math.nan)
    found = reshape(found, kept_shape(a.shape, axes) if keepdims else found.shape[:-1])
    return with_numpys_value(found, np.nanmedian, a, axis=axis, keepdims=keepdims)


def nanquantile(a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Quantiles of what is no NaN, by any of NumPy's methods; see `quantile`."""
    return _nan_quantile("numpy.nanquantile", np.nanquantile, a, q, 1.0, axis, method, keepdims)


def nanpercentile(a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Quantiles q / 100 of what is no NaN; see `quantile`."""
    return _nan_quantile("numpy.nanpercentile", np.nanpercentile, a, q, 100.0, axis, method, keepdims)


def _nan_quantile(
    name: str, function: Any, a: Any, q: Any, whole: float, axis: Any, method: str, keepdims: bool
) -> Any:
    values = value_of(a)
    if module_of(values) is not np:
        bad_type(name, "a", "an array on a device, where CuPy has no such function", "one of the host", _DEVICE)
    if type(q) is Var:
        bad_type(name, "q", "a traced value", "numbers", "Take np.quantile(x[~np.isnan(x)], q).")
    x, axes = lined(a, axis)
    if not x.size:
        return nanmean(a, axis, None, keepdims)
    levels, counts, order = levels_of(name, q, whole, method), _numbers(x).sum(axis=-1), order_of(x)
    flat = levels.ravel()
    places = np.zeros((*counts.shape, flat.size))
    for count in np.unique(counts[counts > 0]):
        places[counts == count] = place_of(int(count), flat, method)
    low = np.floor(places).astype(np.intp)
    found = _at(x, order, low)
    if not is_picked(levels, method):
        share = share_of(places, q, levels)
        share = share.astype(x.dtype) if number_type(q) in (int, float) and type(share) is not float else share
        found = lerp(found, _at(x, order, low + (places > low)), share)
    found = choose(counts[..., None] > 0, found, math.nan)
    found = quantile_shape(found, levels.shape, a.shape, axes, keepdims)
    return with_numpys_value(found, function, a, q=q, axis=axis, method=method, keepdims=keepdims)


_DEVICE = "Take np.quantile of an array without NaN, or np.nanmedian."


def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    """Average by weights, which may be traced too; with returned=True, and their sum.

    On a device, where to look at a sum is to wait for it, weights that sum to 0 give inf or NaN, not an error.
    """
    a, w = beside(a, weights), beside(weights, a)
    axes = None if axis is None else normalize_axis_tuple(axis, a.ndim, argname="axis")
    if w is None:
        found = r.mean(a, axes, keepdims=keepdims)
        summed: Any = a.size / math.prod(found.shape)
        return (found, module_of(value_of(found)).full_like(value_of(found), summed)) if returned else found
    w = along_axes("numpy.average", w, a, axes)
    dtype = np.result_type(a.dtype, w.dtype, *([] if a.dtype.kind == "f" else ["f8"]))
    a, w = (x if x.dtype == dtype else astype(x, dtype) for x in (a, w))
    summed = sum_(w, axes, keepdims)
    value = value_of(summed)
    if module_of(value) is np and np.any(value == 0.0):
        raise ZeroDivisionError("numpy.average: the weights sum to zero. Give weights with a sum that is not 0.")
    found = sum_(a * w, axes, keepdims) / summed
    if not returned:
        return found
    return found, summed if summed.shape == found.shape else broadcast_to(summed, found.shape)


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each integer comes, or the sum of its weights, which may be traced."""
    if type(weights) is not Var:
        return np.bincount(value_of(x), weights, minlength)  # of a traced x: NumPy's error, it wants integers
    x = np.asarray(x) if isinstance(x, list | tuple) else value_of(x)
    count = module_of(x).bincount(x, minlength=minlength).shape[0]
    w = astype(ravel(weights), np.float64)
    if w.shape != x.shape:
        raise ValueError("The weights and list don't have the same length.")  # as NumPy
    return put(w, x, (count,))


TABLE: dict[Any, Any] = {
    np.average: average,
    np.bincount: bincount,
    np.nansum: nansum,
    np.nanprod: nanprod,
    np.nancumsum: nancumsum,
    np.nancumprod: nancumprod,
    np.nanmean: nanmean,
    np.nanmax: nanmax,
    np.nanmin: nanmin,
    np.nanvar: nanvar,
    np.nanstd: nanstd,
    np.nanmedian: nanmedian,
    np.nanquantile: nanquantile,
    np.nanpercentile: nanpercentile,
}
CONSTANT = frozenset({np.nanargmax, np.nanargmin})
