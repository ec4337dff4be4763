"""Functions of the order of entries along an axis.

The order itself is constant: the derivative of sorting is that of the permutation found, to any order. It is stable:
of equal entries the one that comes first stays first, and takes the cotangent of that place alone. At a tie this is
the limit of gradients at nearby points without one; what does not depend on the order of equal entries is right there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from metagrad.ad.functions.elementwise import where
from metagrad.ad.functions.reductions import beside, joined, mean
from metagrad.ad.functions.shapes import kept_shape, module_of, moveaxis, ravel, reshape, room_for, transpose
from metagrad.ad.tape import Function, Var, multilinear, primitive, value_of
from metagrad.errors import bad_type, bad_value
from metagrad.xp import Array


def _order(x: Array, axis: int) -> Array:
    return module_of(x).argsort(x, axis=axis, kind="stable")


def order_of(x: Any) -> Array:
    """Return the order of the entries along the last axis, NaN last."""
    return _order(value_of(x), -1)


def _along(x: Array, indices: Array, axis: int) -> Array:
    return module_of(x).take_along_axis(x, indices, axis=axis)


def _scattered(g: Array, indices: Array, axis: int, shape: tuple[int, ...], distinct: bool) -> Array:
    (xp, full), n = room_for(g, indices, shape), len(shape)
    grid = [xp.arange(size).reshape((1,) * i + (size,) + (1,) * (n - 1 - i)) for i, size in enumerate(shape)]
    grid[axis] = indices
    if distinct:
        full[tuple(grid)] = g
    else:
        xp.add.at(full, tuple(grid), g)  # an entry that was picked twice gets both cotangents
    return full


gather: Function = primitive(
    "take_along_axis",
    lambda x, indices, axis, distinct: _along(x, indices, axis),
    (lambda g, out, x, indices, axis, distinct: scatter(g, indices, axis, x.shape, distinct),),
    multilinear,
)
scatter: Function = primitive(
    "scatter_along_axis",
    _scattered,
    (lambda g, out, x, indices, axis, shape, distinct: gather(g, indices, axis, distinct),),
    multilinear,
)


def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """Entries at integer indices along one axis (of all entries if None); repeats count twice."""
    if type(indices) is Var:
        bad_type("take_along_axis", "indices", "a traced value", "integers, which have no derivative")
    return gather(ravel(arr), indices, 0, False) if axis is None else gather(arr, indices, axis, False)


def sort(a: Any, axis: int | None = -1, kind: Any = None, stable: Any = None) -> Any:
    """Entries in increasing order along one axis (all entries if None), NaN last; equal entries keep their order."""
    if kind is not None or stable is not None:
        np.sort(np.zeros(0), kind=kind, stable=stable)  # every kind gives the same entries; NumPy knows which there are
    x, at = _line(a, axis)
    return gather(x, _order(value_of(x), at), at, True)


def partition(a: Any, kth: Any, axis: int | None = -1, kind: Any = "introselect") -> Any:
    """Entries with the kth in its place, smaller ones before; NumPy's own arrangement of these, and its permutation.

    On a device, and for scaled numbers, it is the whole order, which has every entry in its place.
    """
    x, at = _line(a, axis)
    values = value_of(x)
    order = _order(values, at)
    if type(values) is np.ndarray:
        # np.argpartition may arrange the rest otherwise: what was put where is found by the order of both.
        put = np.partition(values, kth, axis=at, kind=kind)
        places = np.empty_like(order)
        np.put_along_axis(places, _order(put, at), order, at)
        order = places
    else:
        np.partition(np.zeros(values.shape[at]), kth, kind=kind)  # so that what is out of bounds is told
    return gather(x, order, at, True)


_STOP = "Take metagrad.ad.stop_gradient(q)."


def _line(a: Any, axis: int | None) -> tuple[Any, int]:
    return (ravel(a), 0) if axis is None else (a, normalize_axis_index(axis, a.ndim))


def lined(a: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """Return the array with the axes that are reduced as one, the last, and which they are."""
    axes = normalize_axis_tuple(range(a.ndim) if axis is None else axis, a.ndim)
    return joined(a, axes)[0] if a.ndim else reshape(a, (1,)), axes


def _picked(x: Any, order: Any, places: Any) -> Any:
    """Return the sorted entries in places along the last axis; the last, a NaN, where there is a NaN."""
    value = value_of(x)
    xp = module_of(value)
    is_nan = xp.isnan(_along(value, order[..., -1:], -1))
    places = xp.asarray(places)
    chosen = order[..., places] if places.ndim == 1 else xp.take_along_axis(order, places, axis=-1)
    return gather(x, xp.where(is_nan, order[..., -1:], chosen), -1, places.shape[-1] == 1)


def median(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Entry in the middle of the sorted, or mean of the two there; NaN where an entry is."""
    x, axes = lined(a, axis)
    n = x.shape[-1]
    value = value_of(x)
    xp, order = module_of(value), _order(value, -1)
    middle = order[..., (n - 1) // 2 : n // 2 + 1]
    # Where there is a NaN it is sorted last, and the last entries stand for those in the middle.
    is_nan = xp.isnan(_along(value, order[..., -1:], -1))
    out = mean(gather(x, xp.where(is_nan, order[..., n - middle.shape[-1] :], middle), -1, True), -1)
    return reshape(out, kept_shape(a.shape, axes)) if keepdims else out


def quantile(
    a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False, weights: Any = None
) -> Any:
    """Quantiles, by any of NumPy's methods: of the two entries beside each place, as NumPy mixes them; NaN of NaN.

    The order of entries, weights and, but for method="linear", the places are constant.
    """
    return quantile_at("numpy.quantile", a, q, 1.0, axis, method, keepdims, weights)


def percentile(
    a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False, weights: Any = None
) -> Any:
    """Quantiles q / 100; see `quantile`."""
    return quantile_at("numpy.percentile", a, q, 100.0, axis, method, keepdims, weights)


def quantile_at(name: str, a: Any, q: Any, whole: float, axis: Any, method: str, keepdims: bool, weights: Any) -> Any:
    """Return the quantiles q / whole."""
    x, axes = lined(a, axis)
    n, levels = x.shape[-1], levels_of(name, q, whole, method)
    if n == 0:
        np.quantile(np.zeros(0), 0.5)  # NumPy's own error
        raise IndexError(f"{name}: there is no entry along axis {axis}.")
    order = order_of(x)
    if weights is not None:
        low, high, share = _weighted(name, a, order, levels, axis, method, weights), None, None
    elif type(levels) is Var:
        at, xp = ravel(levels) * float(n - 1), module_of(value_of(levels))
        place = xp.clip(xp.floor(value_of(at)), 0, max(n - 2, 0))
        share, low = at - place, place.astype(np.intp)
        high = xp.minimum(low + 1, n - 1)
    else:
        place = place_of(n, levels.ravel(), method)
        share, low = share_of(place, q, levels), np.floor(place).astype(np.intp)
        high = np.minimum(low + (place > low), n - 1)  # where nothing is mixed, an infinite neighbour does not count
    found = _picked(x, order, low)
    if not is_picked(levels, method):
        found = lerp(found, _picked(x, order, high), share)
    return quantile_shape(found, getattr(value_of(levels), "shape", ()), a.shape, axes, keepdims)


def _weighted(name: str, a: Any, order: Any, levels: Any, axis: Any, method: str, weights: Any) -> Any:
    """Return the places of quantiles by weights, which are those that NumPy finds among 0, 1, 2, ... in that order."""
    if module_of(value_of(a)) is not np or type(levels) is Var:
        bad_type(name, "weights", "given on a device, or with traced levels", "none", "Sort, and sum the weights.")
    w = beside(value_of(weights), a)
    axes = None if axis is None else normalize_axis_tuple(axis, a.ndim)
    w = lined(np.broadcast_to(along_axes(name, w, a, axes), a.shape), axis)[0]
    found = np.quantile(np.argsort(order, -1).astype(float), levels, axis=-1, method=method, weights=w)  # type: ignore[call-overload]
    return np.moveaxis(np.reshape(found, (levels.size, *order.shape[:-1])), 0, -1).astype(np.intp)


def along_axes(name: str, w: Any, a: Any, axes: Any) -> Any:
    """Return weights along some axes in a shape that goes with the array."""
    if w.shape == a.shape:
        return w
    if axes is None:
        raise TypeError(
            f"{name}: weights is of shape {w.shape}; expected {a.shape}, that of a. Give axis= for weights along some "
            "axes."
        )
    lengths = tuple(a.shape[i] for i in axes)
    if w.shape != lengths:
        raise ValueError(
            f"{name}: weights is of shape {w.shape}; expected {lengths}, the lengths of a along axis {axes}."
        )
    w = transpose(w, tuple(int(i) for i in np.argsort(axes)))
    return reshape(w, tuple(n if i in axes else 1 for i, n in enumerate(a.shape)))


def levels_of(name: str, q: Any, whole: float, method: str) -> Any:
    """Return the levels, between 0 and 1, as an array of the host; traced ones are for method="linear" alone.

    Those that are traced on a device are not looked at: beyond 0 or 1 they extrapolate.
    """
    value, levels = value_of(q), q
    if type(q) is Var:
        if method != "linear":
            bad_type(name, "q", f"a traced value with method={method!r}", "one with method='linear'", _STOP)
        levels = levels / whole
    elif type(value) not in (list, tuple, int, float) and module_of(value) is not np:
        bad_type(name, "q", "an array on a device", "numbers of the host, or a tuple of them")
    else:
        levels = np.asarray(np.asarray(value) if whole == 1.0 else np.true_divide(value, whole))
    seen = value_of(levels)
    if module_of(seen) is np and not np.all((seen >= 0) & (seen <= 1)):
        bad_value(name, "q", value, f"numbers between 0 and {whole:g}")
    return levels


def place_of(n: int, levels: Any, method: str) -> Any:
    """Return where among n sorted entries the quantiles lie: those of 0, 1, 2, ... are the places themselves."""
    return np.quantile(np.arange(n, dtype=np.float64), levels, method=method)  # type: ignore[call-overload]


def share_of(place: Any, q: Any, levels: Any) -> Any:
    """Return which share the entry after a place has: of a dtype that promotes as the levels that were given do."""
    share = place - np.floor(place)
    if type(q) not in (int, float):
        return share.astype(levels.dtype) if levels.dtype.kind == "f" else share
    return float(share.ravel()[0]) if share.size == 1 else share


def is_picked(levels: Any, method: str) -> bool:
    """Tell whether quantiles are entries, with nothing mixed."""
    return method in _PICKED or (method == "linear" and levels.dtype.kind in "iu")


_PICKED = ("lower", "higher", "nearest", "inverted_cdf", "closest_observation")


def lerp(low: Any, high: Any, share: Any) -> Any:
    """Return low + share * (high - low), computed from the nearer end, as NumPy does."""
    step = high - low
    if type(share) is float:
        return low + step * share if share < 0.5 else high - step * (1.0 - share)
    if type(share) is not Var:
        share = module_of(value_of(low)).asarray(share)
    return where(value_of(share) < 0.5, low + step * share, high - step * (1.0 - share))


def quantile_shape(found: Any, levels: Any, shape: Any, axes: Any, keepdims: bool) -> Any:
    """Return quantiles, along the last axis, in the shape that NumPy gives them: levels come first."""
    kept = kept_shape(shape, axes) if keepdims else found.shape[:-1]
    return reshape(moveaxis(found, -1, 0), (*levels, *kept))


TABLE: dict[Any, Any] = {
    np.sort: sort,
    np.partition: partition,
    np.median: median,
    np.quantile: quantile,
    np.percentile: percentile,
    np.take_along_axis: take_along_axis,
}
CONSTANT = frozenset(
    {np.argpartition, np.searchsorted, np.digitize, np.lexsort, np.argwhere, np.nonzero, np.flatnonzero, np.isin}
)
_COUNTS = (
    "Counts have no derivative: write {0}(metagrad.ad.stop_gradient(x), ...), or weights of your own, as sums of "
    "scipy.special.expit((x - edge) / width). A sum of traced weights is np.bincount(np.digitize(x, edges), w)."
)
_VALUES = "How many values there are is no smooth function: write {0}(metagrad.ad.stop_gradient(x))."
REFUSED = {
    np.put_along_axis: "It writes in place: build a new array with np.where, np.take_along_axis or np.concatenate.",
    **{f: _COUNTS.format(f"np.{f.__name__}") for f in (np.histogram, np.histogram2d, np.histogramdd)},
    np.histogram_bin_edges: _COUNTS.format("np.histogram_bin_edges"),
    **{
        f: _VALUES.format(f"np.{f.__name__}")
        for f in (np.unique, np.unique_all, np.unique_counts, np.unique_inverse, np.unique_values)
    },
}
