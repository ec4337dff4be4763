"""Functions that move and repeat entries, and apply a function to parts of an array.

Each is composed of the primitives in `shapes`. Which entry comes from where is often asked of NumPy itself, whose
function is applied to the places 0, 1, 2, ...; the entries are then picked at the places found.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from metagrad.ad.functions.elementwise import where
from metagrad.ad.functions.joining import atleast_1d
from metagrad.ad.functions.picking import at_places, constant_place, sent, with_length
from metagrad.ad.functions.shapes import (
    array_of,
    astype,
    broadcast_arrays,
    broadcast_to,
    concatenate,
    flip,
    getitem,
    module_of,
    moveaxis,
    put,
    ravel,
    reshape,
    stack,
    sum_,
    swapaxes,
)
from metagrad.ad.tape import Function, Var, multilinear, primitive, value_of
from metagrad.errors import bad_type, bad_value

# -- shifts and repetitions

_shifted: Function = primitive(
    "roll",
    lambda a, shift, axis: module_of(a).roll(a, shift, axis=axis),
    (lambda g, out, a, shift, axis: _shifted(g, tuple(-s for s in shift), axis),),
    multilinear,
)


def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Entries moved along axes, those at the end to the beginning."""
    if axis is None:
        return reshape(roll(ravel(a), sum(np.atleast_1d(constant_place("roll", "shift", shift)).tolist()), 0), a.shape)
    axes = normalize_axis_tuple(axis, a.ndim, "roll: axis", allow_duplicate=True)
    shifts, along = np.broadcast_arrays(np.atleast_1d(constant_place("roll", "shift", shift)), axes)
    return _shifted(a, tuple(shifts.tolist()), tuple(along.tolist()))


def tile(A: Any, reps: Any) -> Any:
    """The array repeated as a block, so many times along each axis."""
    times = tuple(np.atleast_1d(constant_place("tile", "reps", reps)).tolist())
    n = max(A.ndim, len(times))
    times, shape = (1,) * (n - len(times)) + times, (1,) * (n - A.ndim) + A.shape
    apart = reshape(A, tuple(itertools.chain(*[(1, size) for size in shape])))
    full = broadcast_to(apart, tuple(itertools.chain(*zip(times, shape, strict=True))))
    return reshape(full, tuple(t * size for t, size in zip(times, shape, strict=True)))


def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """Each entry so many times, one after the other."""
    x, at = (ravel(a), 0) if axis is None else (atleast_1d(a), axis)
    at = normalize_axis_index(at, x.ndim, "repeat: axis")
    counts = constant_place("repeat", "repeats", repeats)
    if np.ndim(counts) == 0 and counts >= 0:
        n = int(counts)
        full = broadcast_to(
            reshape(x, (*x.shape[: at + 1], 1, *x.shape[at + 1 :])), (*x.shape[: at + 1], n, *x.shape[at + 1 :])
        )
        return reshape(full, with_length(x.shape, at, x.shape[at] * n))
    return at_places(x, at, np.repeat(np.arange(x.shape[at]), counts))


def resize(a: Any, new_shape: Any) -> Any:
    """The entries of `a`, in C order and over again, in another shape."""
    shape = (new_shape,) if np.ndim(new_shape) == 0 else tuple(new_shape)
    if min(shape, default=0) < 0:
        bad_value("resize", "new_shape", shape, "sizes of at least 0")
    if not a.size:
        return module_of(value_of(a)).zeros(shape, a.dtype)
    return reshape(at_places(ravel(a), 0, np.arange(math.prod(shape)) % a.size), shape)


# -- diagonals and triangles


def _diagonal_places(rows: int, columns: int, offset: int) -> tuple[Any, Any]:
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    i = np.arange(count)
    return i + max(0, -offset), i + max(0, offset)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Entries whose index along axis2 is that along axis1 plus the offset, along a new last axis."""
    if a.ndim < 2:
        bad_value("diagonal", "a", f"an array of shape {a.shape}", "two axes at least")
    pair = normalize_axis_tuple((axis1, axis2), a.ndim, "diagonal: axis1, axis2")
    x = moveaxis(a, pair, (-2, -1))
    return getitem(x, (Ellipsis, *sent(x, *_diagonal_places(x.shape[-2], x.shape[-1], offset))))


def diag(v: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal and zeros elsewhere."""
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        bad_value("diag", "v", f"an array of shape {v.shape}", "one or two axes", "Take np.diagonal for stacks.")
    n = v.shape[0] + abs(k)
    return put(v, sent(v, *_diagonal_places(n, n, k)), (n, n))


def diagflat(v: Any, k: int = 0) -> Any:
    """The matrix with all entries of `v` on its diagonal."""
    return diag(ravel(array_of(v)), k)


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    """Sum over a diagonal."""
    found = diagonal(a, offset, axis1, axis2)
    return sum_(found if dtype is None else astype(found, dtype), -1)


def _triangle(m: Any, k: int, lower: bool) -> Any:
    if not m.ndim:
        bad_value("tril" if lower else "triu", "m", "an array without axes", "one axis at least")
    rows, columns = m.shape[-2:] if m.ndim > 1 else m.shape * 2
    (mask,) = sent(m, np.tri(rows, columns, k=k if lower else k - 1, dtype=bool))
    return where(mask, m, 0.0) if lower else where(mask, 0.0, m)


def tril(m: Any, k: int = 0) -> Any:
    """The entries on and below a diagonal, and zeros above."""
    return _triangle(m, k, lower=True)


def triu(m: Any, k: int = 0) -> Any:
    """The entries on and above a diagonal, and zeros below."""
    return _triangle(m, k, lower=False)


# -- axes


def fliplr(m: Any) -> Any:
    """Columns in reverse order."""
    return flip(m, normalize_axis_index(1, m.ndim, "fliplr: columns"))


def flipud(m: Any) -> Any:
    """Rows in reverse order."""
    return flip(m, normalize_axis_index(0, m.ndim, "flipud: rows"))


def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """The array turned by so many quarters in the plane of two axes, from the first towards the second."""
    first, second = normalize_axis_tuple(axes, m.ndim, "rot90: axes")
    if k % 2 == 0:
        return flip(m, (first, second)) if k % 4 else flip(m, ())
    return swapaxes(flip(m, second), first, second) if k % 4 == 1 else flip(swapaxes(m, first, second), second)


def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """One axis moved before another."""
    axis = normalize_axis_index(axis, a.ndim, "rollaxis: axis")
    start = normalize_axis_index(start, a.ndim + 1, "rollaxis: start") if start >= 0 else start + a.ndim
    if not 0 <= start <= a.ndim:
        raise np.exceptions.AxisError(start, a.ndim + 1, "rollaxis: start")
    return moveaxis(a, axis, start - 1 if axis < start else start)


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    """Grids of coordinates, one for each vector."""
    if indexing not in ("xy", "ij"):
        bad_value("meshgrid", "indexing", repr(indexing), "'xy' or 'ij'")
    n = len(xi)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    grids = [reshape(array_of(x), (1,) * at + (-1,) + (1,) * (n - 1 - at)) for x, at in zip(xi, order, strict=True)]
    return tuple(grids) if sparse else broadcast_arrays(*grids)


# -- padding

_PICKED = ("edge", "reflect", "symmetric", "wrap")


def pad(
    array: Any, pad_width: Any, mode: Any = "constant", constant_values: Any = 0, reflect_type: str = "even"
) -> Any:
    """Entries before and after along each axis: constants, or entries of the array."""
    if mode != "constant" and (mode not in _PICKED or reflect_type != "even"):
        expected = f"'constant' or one of {', '.join(map(repr, _PICKED))}, with reflect_type='even'"
        came = repr(mode) if mode not in _PICKED else f"{mode!r} with reflect_type={reflect_type!r}"
        bad_type("pad", "mode", came, expected, "Join what it puts there by np.concatenate.")
    if isinstance(pad_width, dict):
        widths = np.zeros((array.ndim, 2), int)
        for axis, width in pad_width.items():
            widths[axis] = width
    else:
        widths = np.broadcast_to(constant_place("pad", "pad_width", pad_width), (array.ndim, 2))
    if widths.dtype.kind not in "iu":
        bad_type("pad", "pad_width", f"an array of {widths.dtype}", "integers")
    if (widths < 0).any():
        bad_value("pad", "pad_width", widths.tolist(), "widths of at least 0")
    fill = broadcast_to(array_of(constant_values), (array.ndim, 2)) if mode == "constant" else None
    x = array
    for axis, width in enumerate(widths.tolist()):
        if not any(width):
            continue
        if fill is None:
            x = at_places(x, axis, np.pad(np.arange(x.shape[axis]), width, mode=mode))
            continue
        blocks = [_filled(x, axis, size, getitem(fill, (axis, end))) for end, size in enumerate(width)]
        x = concatenate((blocks[0], x, blocks[1]), axis)
    return x


def _filled(x: Any, axis: int, size: int, number: Any) -> Any:
    shape = with_length(x.shape, axis, size)
    if type(number) is Var:
        return broadcast_to(astype(number, x.dtype), shape)
    return module_of(value_of(x)).full_like(value_of(x), number, shape=shape)


# -- functions applied to parts


def apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """What a function makes of each vector along an axis, in the place of that axis."""
    at = normalize_axis_index(axis, arr.ndim, "apply_along_axis: axis")
    x, before = moveaxis(arr, at, -1), tuple(n for i, n in enumerate(arr.shape) if i != at)
    if not math.prod(before):
        bad_value("apply_along_axis", "arr", f"an array of shape {arr.shape}", "one vector at least along the axis")
    parts = [array_of(func1d(getitem(x, index), *args, **kwargs)) for index in np.ndindex(*before)]
    out = reshape(stack(parts), before + parts[0].shape)
    n = parts[0].ndim
    return moveaxis(out, tuple(range(-n, 0)), tuple(range(at, at + n))) if n else out


def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    """What func(func(a, axis), axis), ... makes of an array, with the axes kept."""
    x = a
    for axis in (axes,) if np.ndim(axes) == 0 else axes:
        at = normalize_axis_index(int(axis), a.ndim, "apply_over_axes: axes")
        found = func(x, at)
        x = found if found.ndim == x.ndim else reshape(found, (*found.shape[:at], 1, *found.shape[at:]))
        if x.ndim != a.ndim:
            bad_value("apply_over_axes", "func", "a function of which the axes are others", "one that reduces its axis")
    return x


TABLE: dict[Any, Any] = {
    np.roll: roll,
    np.tile: tile,
    np.repeat: repeat,
    np.resize: resize,
    np.diagonal: diagonal,
    np.diag: diag,
    np.diagflat: diagflat,
    np.trace: trace,
    np.tril: tril,
    np.triu: triu,
    np.fliplr: fliplr,
    np.flipud: flipud,
    np.rot90: rot90,
    np.rollaxis: rollaxis,
    np.broadcast_arrays: broadcast_arrays,
    np.meshgrid: meshgrid,
    np.pad: pad,
    np.apply_along_axis: apply_along_axis,
    np.apply_over_axes: apply_over_axes,
}
