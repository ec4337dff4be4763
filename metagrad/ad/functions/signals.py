"""Convolutions, correlations, windows and interpolation.

A convolution is linear in each of its operands, and the cotangent of either is a correlation with the other one: two
primitives are each other's rules, and none of them loops over entries in Python. All modes are parts of the full
convolution; a cotangent is put back into its place there first.

A stack of images goes through a stack of filters by windows and one sum of products, as NumPy has no function for it:

>>> images, filters = np.ones((2, 5, 5, 3)), np.ones((3, 3, 3, 4))  # image, row, column, channel; row, column, in, out
>>> windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
>>> np.einsum("nrcixy,xyio->nrco", windows, filters).shape
(2, 3, 3, 4)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from metagrad.ad.functions.elementwise import where
from metagrad.ad.functions.shapes import as_array, astype, concatenate, flip, getitem, like, module_of, put, reshape
from metagrad.ad.tape import Function, Var, multilinear, primitive, value_of
from metagrad.errors import bad_type, bad_value
from metagrad.xp import Array, is_array, namespace

_MODES = ("full", "same", "valid")


# -- convolution


def _start(mode: str, of_a: int, of_v: int, is_correlation: bool) -> int:
    """Return where the result of a mode begins in that of the mode "full"."""
    least = min(of_a, of_v)
    before = {"full": 0, "same": (least - 1) // 2, "valid": least - 1}[mode]
    # NumPy exchanges operands so that the first is the longer one; a correlation is turned round by that.
    return least - 1 - before if is_correlation and mode == "same" and of_a < of_v else before


def _full(g: Any, a: Any, v: Any, mode: str, is_correlation: bool) -> Any:
    """Return the cotangent of a result as that of the full one."""
    if mode == "full":
        return g
    start = _start(mode, a.shape[0], v.shape[0], is_correlation)
    return put(g, slice(start, start + g.shape[0]), (a.shape[0] + v.shape[0] - 1,))


_convolve: Function = primitive(
    "convolve",
    lambda a, v, mode: namespace(a, v).convolve(a, v, mode),
    (
        lambda g, out, a, v, mode: like(_correlate(_full(g, a, v, mode, False), v, "valid"), a),
        lambda g, out, a, v, mode: like(_correlate(_full(g, a, v, mode, False), a, "valid"), v),
    ),
    multilinear,
)
_correlate: Function = primitive(
    "correlate",
    lambda a, v, mode: namespace(a, v).correlate(a, v, mode),
    (
        lambda g, out, a, v, mode: like(_convolve(_full(g, a, v, mode, True), v, "valid"), a),
        lambda g, out, a, v, mode: like(flip(_correlate(_full(g, a, v, mode, True), a, "valid"), 0), v),
    ),
    multilinear,
)


def _vector(x: Any, where: str, argument: str) -> Any:
    x = np.asarray(x) if type(x) in (list, tuple) else as_array(x)
    if x.ndim == 0 and where == "numpy.convolve":  # as in NumPy, which refuses it in a correlation
        x = reshape(x, (1,))
    if x.ndim != 1 or x.size == 0:
        remedy = "Take sliding_window_view and einsum for arrays with more axes." if x.ndim > 1 else ""
        bad_value(where, argument, f"of shape {x.shape}", "a vector with one entry at least", remedy)
    return x


def _mode(mode: Any, where: str) -> str:
    if mode not in _MODES:
        bad_value(where, "mode", repr(mode), "'full', 'same' or 'valid'")
    return str(mode)


def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """Discrete convolution of two vectors."""
    _mode(mode, "numpy.convolve")
    return _convolve(_vector(a, "numpy.convolve", "a"), _vector(v, "numpy.convolve", "v"), mode)


def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """Sums of products of one vector with the other at every shift."""
    _mode(mode, "numpy.correlate")
    return _correlate(_vector(a, "numpy.correlate", "a"), _vector(v, "numpy.correlate", "v"), mode)


# -- windows


def _overlap(g: Array, size: int, axis: int, count: int) -> Array:
    """Return entries as sums over the windows that they lie in: as many additions as a window has entries."""
    xp = module_of(g)
    shape = (*g.shape[:axis], count, *g.shape[axis + 1 : -1])
    full = xp.zeros(shape, g.dtype) if type(g) is np.ndarray else xp.zeros_like(g, shape=shape)
    before, windows = (slice(None),) * axis, g.shape[axis]
    if size <= windows:
        for i in range(size):
            at = (*before, slice(i, i + windows))
            full[at] = full[at] + g[..., i]
        return full
    axes = (*range(axis), g.ndim - 2, *range(axis, g.ndim - 2))
    for i in range(windows):
        at = (*before, slice(i, i + size))
        full[at] = full[at] + g[(*before, i)].transpose(axes)
    return full


_windows: Function = primitive(
    "sliding_window_view",
    sliding_window_view,
    (lambda g, out, x, size, axis: _overlapped(g, size, axis, x.shape[axis]),),
    multilinear,
)
_overlapped: Function = primitive(
    "overlap_add", _overlap, (lambda g, out, x, size, axis, count: _windows(g, size, axis),), multilinear
)


def windows(x: Any, window_shape: Any, axis: Any = None) -> Any:
    """All windows of a shape, along new last axes; an entry gets the cotangents of all windows that it lies in."""
    sizes = tuple(window_shape) if isinstance(window_shape, list | tuple) else (window_shape,)
    # NumPy says what is wrong with the arguments.
    sliding_window_view(np.broadcast_to(np.zeros(()), x.shape), window_shape, axis)
    axes = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim, allow_duplicate=True)
    for size, at in zip(sizes, axes, strict=True):
        x = _windows(x, size, at)
    return x


# -- interpolation


def _push_value(tangents: dict[int, Any], out: Any, args: Any) -> Any:
    return tangents[0]


# The value of the second argument with the derivatives of the first.
_with_value: Function = primitive(
    "interp", lambda composed, value: value, (lambda g, out, composed, value: g,), lambda call: _push_value
)


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Piecewise linear interpolation through the points (xp, fp), in float64 as NumPy's.

    At a point of xp the derivative by x is that of the segment which begins there, at the last one that of the segment
    which ends there; outside of [xp[0], xp[-1]] it is that of `left` and `right`, 0. The cotangent of fp is shared by
    the two ends of a segment. `period` is a constant.
    """
    if type(period) is Var:
        bad_type("numpy.interp", "period", "a traced value", "a number, which is a constant")
    x, xp, fp = (_wide(a) for a in (x, xp, fp))
    array = module_of(*[a for a in map(value_of, (x, xp, fp)) if is_array(a)])
    given = [None if a is None else value_of(a) for a in (left, right)]
    value = array.interp(*map(value_of, (x, xp, fp)), *given, period=period)
    if period is not None:
        x, xp, fp = _unrolled(array, x, xp, fp, abs(float(period)))
        left = right = None
    elif array is np and not (np.diff(value_of(xp)) >= 0).all():
        bad_value("numpy.interp", "xp", "not in increasing order", "increasing numbers", "Sort it, and fp with it.")
    with np.errstate(all="ignore"):  # heights that are infinite: NumPy's value is made with care
        return _with_value(_interpolated(array, x, xp, fp, left, right), value)


def _interpolated(array: Any, x: Any, xp: Any, fp: Any, left: Any, right: Any) -> Any:
    at, knots = value_of(x), value_of(xp)
    n = knots.shape[0]
    # No segment begins at the last point, or at those equal to it.
    ends = array.searchsorted(knots, knots[-1:], side="left")[0]
    i = array.searchsorted(knots, at, side="right")
    i = array.maximum(array.minimum(i, ends) - 1, 0)
    j = array.minimum(i + 1, n - 1)
    low, below = getitem(xp, i), getitem(fp, i)
    width = getitem(xp, j) - low
    is_flat = value_of(width) == 0
    inside = below + (getitem(fp, j) - below) / where(is_flat, 1.0, width) * (x - low)
    last, first = getitem(fp, n - 1), getitem(fp, 0)
    out = where(at > knots[-1], last if right is None else right, where(is_flat, last, inside))
    return where(at < knots[0], first if left is None else left, out)


def _unrolled(array: Any, x: Any, xp: Any, fp: Any, period: float) -> tuple[Any, Any, Any]:
    """Return x within one period, and the points with one more at each end."""
    x, xp = (a + (array.remainder(value_of(a), period) - value_of(a)) for a in (x, xp))
    order = array.argsort(value_of(xp), kind="stable") if array is np else array.argsort(value_of(xp))
    xp, fp = getitem(xp, order), getitem(fp, order)
    around = (getitem(xp, slice(-1, None)) - period, xp, getitem(xp, slice(0, 1)) + period)
    return x, concatenate(around), concatenate((getitem(fp, slice(-1, None)), fp, getitem(fp, slice(0, 1))))


def _wide(x: Any) -> Any:
    if type(x) is list or type(x) is tuple or type(x) is int or type(x) is float:
        x = np.asarray(x, dtype=np.float64)
    return x if x.dtype == np.float64 else astype(x, np.float64)


TABLE: dict[Any, Any] = {
    np.convolve: convolve,
    np.correlate: correlate,
    np.interp: interp,
    sliding_window_view: windows,
}
REFUSED: dict[Any, str] = {
    as_strided: "Write np.lib.stride_tricks.sliding_window_view(x, window_shape, axis), or index: x[start:stop:step].",
}
