"""Primitives that move, repeat, pick and sum entries: those that every other rule needs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from metagrad.ad.constants import kept_index
from metagrad.ad.tape import Function, Push, Rule, Var, multilinear, primitive, value_of
from metagrad.errors import bad_type
from metagrad.xp import Array, namespace

_SMALL = 4096  # entries below which a copy is cheaper than NumPy's broadcast view


def module_of(*values: Any) -> Any:
    """Return the array module of plain values; the common case, one NumPy array, is answered at once."""
    for value in values:
        if type(value) is not np.ndarray:
            return namespace(*values)
    return np


class EachOperand:
    """The rules of a primitive whose arguments from `first` on are all operands: rule(position, g, out, *args)."""

    def __init__(self, rule: Callable[..., Any], first: int) -> None:
        """Keep the rule."""
        self._rule, self._first = rule, first

    def __len__(self) -> int:
        """Return the number of arguments that may be differentiated: any."""
        return 2**31

    def __getitem__(self, position: int) -> Rule:
        """Return the rule of one argument."""
        return partial(self._rule, position - self._first)


def as_array(x: Any) -> Any:
    """Return x, a Python number as a NumPy one."""
    return np.asarray(x)[()] if type(x) is float or type(x) is int else x


def as_shape(shape: Any) -> tuple[int, ...]:
    """Return a shape as a tuple."""
    return shape if type(shape) is tuple else (shape,) if isinstance(shape, int | np.integer) else tuple(shape)


def like(g: Any, x: Any) -> Any:
    """Return the cotangent g in the shape and dtype of the operand x, which was broadcast and promoted."""
    value = x.value if type(x) is Var else x
    if type(value) is float:  # a Python number has no dtype of its own
        return g if g.shape == () else sum_(g)
    if g.shape != value.shape:
        g = sum_to(g, value.shape)
    into, dtype = value.dtype, g.dtype
    return g if dtype is into or dtype == into else astype(g, into)


def in_place_of(tangent: Any, out: Any) -> Any:
    """Return a tangent, computed from operands that broadcast and promote, in the shape and dtype of the output."""
    value = value_of(out)
    if type(value) is float:
        return tangent
    if type(tangent) is float:
        tangent = namespace(value).asarray(tangent, dtype=value.dtype)
    if tangent.shape != value.shape:
        tangent = broadcast_to(tangent, value.shape)
    return tangent if tangent.dtype == value.dtype else astype(tangent, value.dtype)


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Return g summed over the axes along which an array of `shape` was broadcast to it."""
    if shape == ():
        return sum_(g)
    extra = g.ndim - len(shape)
    repeated = [extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1]
    summed = sum_(g, (*range(extra), *repeated))
    return summed if summed.shape == shape else reshape(summed, shape)


def kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """Return the shape with the reduced axes kept as 1."""
    if axis is None:
        return (1,) * len(shape)
    axes = {a % len(shape) for a in ((axis,) if isinstance(axis, int) else axis)}
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def spread(g: Any, x: Any, axis: Any) -> Any:
    """Return the cotangent of a reduction of x over `axis`, repeated along it."""
    if g.shape == () or g.ndim == x.ndim:
        return broadcast_to(g, x.shape)
    return broadcast_to(reshape(g, kept_shape(x.shape, axis)), x.shape)


def _broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    if isinstance(x, np.ndarray | np.generic) and math.prod(shape) <= _SMALL:
        full = np.empty(shape, x.dtype)
        full[...] = x
        return full
    return module_of(x).broadcast_to(x, shape)


_sum: Function = primitive(
    "sum",
    lambda x, axis, keepdims: as_array(x).sum(axis=axis, keepdims=keepdims),
    (lambda g, out, x, axis, keepdims: spread(g, x, axis),),
    multilinear,
)
_broadcast: Function = primitive("broadcast_to", _broadcast_to, (lambda g, out, x, shape: like(g, x),), multilinear)
_reshape: Function = primitive(
    "reshape",
    lambda x, shape: module_of(x).reshape(x, shape),
    (lambda g, out, x, shape: reshape(g, getattr(x, "shape", ())),),
    multilinear,
)
_astype: Function = primitive(
    "astype",
    lambda x, dtype: as_array(x).astype(dtype),
    (lambda g, out, x, dtype: astype(g, x.dtype),),
    multilinear,
)
_transpose: Function = primitive(
    "transpose",
    lambda x, axes: x.transpose(axes),
    (lambda g, out, x, axes: _transpose(g, tuple(int(a) for a in np.argsort(axes))),),
    multilinear,
)


def sum_(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum of entries."""
    return _sum(a, axis, keepdims)


def broadcast_to(array: Any, shape: Any) -> Any:
    """Repeat along new or unit axes."""
    return _broadcast(array, as_shape(shape))


def reshape(a: Any, shape: Any) -> Any:
    """Entries in another shape, in C order."""
    return _reshape(a, as_shape(shape))


def astype(x: Any, dtype: Any) -> Any:
    """Convert to another float type; conversion to integers or booleans gives a constant."""
    into = np.dtype(dtype)
    if is_float(into):
        return _astype(x, dtype)
    if into.kind not in "biu":
        remedy = "Use real and imaginary part apart." if into.kind == "c" else "Stay with floats."
        bad_type("astype", "dtype", f"{into} for a traced value", "a float type", remedy)
    return value_of(x).astype(dtype)


def is_float(dtype: Any) -> bool:
    """Tell whether values of `dtype` are differentiated."""
    return bool(dtype.kind == "f") or dtype.name == "bfloat16"


def transpose(a: Any, axes: Sequence[int] | None = None) -> Any:
    """Axes in another order (reversed if None)."""
    n = a.ndim
    return _transpose(a, tuple(reversed(range(n))) if axes is None else tuple(i % n for i in axes))


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Exchange two axes."""
    axes = list(range(a.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return _transpose(a, tuple(axes))


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Move axes to other positions."""
    sources = [s % a.ndim for s in ((source,) if isinstance(source, int) else source)]
    destinations = [d % a.ndim for d in ((destination,) if isinstance(destination, int) else destination)]
    axes = [i for i in range(a.ndim) if i not in sources]
    for d, s in sorted(zip(destinations, sources, strict=True)):
        axes.insert(d, s)
    return _transpose(a, tuple(axes))


def expand_dims(a: Any, axis: Any) -> Any:
    """Insert axes of length 1."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    n = len(a.shape) + len(axes)
    inserted, rest = {i % n for i in axes}, iter(a.shape)
    return reshape(a, tuple(1 if i in inserted else next(rest) for i in range(n)))


def squeeze(a: Any, axis: Any = None) -> Any:
    """Remove axes of length 1."""
    return reshape(a, value_of(a).squeeze(axis).shape)


def ravel(a: Any) -> Any:
    """All entries along one axis, in C order."""
    return reshape(a, (-1,))


def _is_basic(index: Any) -> bool:
    parts = index if type(index) is tuple else (index,)
    return all(p is None or p is Ellipsis or type(p) is int or type(p) is slice for p in parts)


def _is_mask(index: Any) -> bool:
    return getattr(index, "dtype", None) is not None and index.dtype == bool


def _put(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    xp = module_of(g)
    full = xp.zeros(shape, g.dtype) if type(g) is np.ndarray else xp.zeros_like(g, shape=shape)  # the first is faster
    if _is_basic(index) or _is_mask(index):
        full[index] = g
    else:
        xp.add.at(full, index, g)  # an entry that was picked twice gets both cotangents
    return full


_getitem: Function = primitive(
    "getitem", lambda x, index: x[index], (lambda g, out, x, index: put(g, index, x.shape),), multilinear
)
put: Function = primitive("put", _put, (lambda g, out, x, index, shape: _getitem(g, index),), multilinear)


def getitem(x: Any, index: Any) -> Any:
    """Entries x[index]; the index may be basic, integer arrays (repeats count twice) or a mask."""
    if type(index) is Var or (type(index) is tuple and any(type(i) is Var for i in index)):
        raise TypeError("x[index]: the index is traced; expected integers, which have no derivative.")
    return _getitem(x, kept_index(index) if type(x) is Var else index)


def full_like(a: Any, fill_value: Any, dtype: Any = None) -> Any:
    """Array of the shape of `a` with one value in every entry, or broadcast values."""
    value, fill = value_of(a), value_of(fill_value)
    if type(fill_value) is not Var:
        return module_of(value).full_like(value, fill, dtype=dtype)
    return broadcast_to(astype(fill_value, value.dtype if dtype is None else dtype), value.shape)


def flip(m: Any, axis: int) -> Any:
    """Entries in reverse order along one axis."""
    return _getitem(m, (slice(None),) * (axis % m.ndim) + (slice(None, None, -1),))


def _together(call: Function) -> Push:
    """Return the rule of tangents of a primitive (axis, *arrays) that is linear in all arrays together."""

    def push(tangents: dict[int, Any], out: Any, args: Sequence[Any]) -> Any:
        rest = enumerate(args[1:], start=1)
        return call(args[0], *[tangents[i] if i in tangents else _zeros(x) for i, x in rest])

    return push


def _zeros(x: Any) -> Any:
    value = as_array(value_of(x))
    return namespace(value).zeros_like(value)


def _concatenate_rule(i: int, g: Any, out: Any, axis: int, *arrays: Any) -> Any:
    start = sum(a.shape[axis] for a in arrays[:i])
    part = (slice(None),) * (axis % g.ndim) + (slice(start, start + arrays[i].shape[axis]),)
    return like(_getitem(g, part), arrays[i])


def _stack_rule(i: int, g: Any, out: Any, axis: int, *arrays: Any) -> Any:
    return like(_getitem(g, (slice(None),) * (axis % g.ndim) + (i,)), arrays[i])


_concatenate: Function = primitive(
    "concatenate",
    lambda axis, *arrays: namespace(*arrays).concatenate(arrays, axis=axis),
    EachOperand(_concatenate_rule, first=1),  # type: ignore[arg-type]  # indexed as a sequence is
    _together,
)
_stack: Function = primitive(
    "stack",
    lambda axis, *arrays: namespace(*arrays).stack([as_array(a) for a in arrays], axis=axis),
    EachOperand(_stack_rule, first=1),  # type: ignore[arg-type]  # indexed as a sequence is
    _together,
)


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """Arrays one after the other along an existing axis."""
    if axis is None:
        return _concatenate(0, *[ravel(a) for a in arrays])
    return _concatenate(axis, *arrays)


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays one after the other along a new axis."""
    return _stack(axis, *arrays)


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along an axis: so many equal ones, or cut at the given indices."""
    n, before = ary.shape[axis], (slice(None),) * (axis % ary.ndim)
    cuts = indices_or_sections
    if isinstance(cuts, int | np.integer):
        if n % cuts:
            raise ValueError(f"split: an axis of {n} does not divide into {cuts} equal parts")
        cuts = range(n // cuts, n, n // cuts)
    bounds = [0, *cuts, n]
    return [_getitem(ary, (*before, slice(a, b))) for a, b in itertools.pairwise(bounds)]


def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged."""
    return swapaxes(x, -1, -2)


def atleast_1d(x: Any) -> Any:
    """The array with one axis at least."""
    return x if x.ndim else reshape(x, (1,))


def atleast_2d(x: Any) -> Any:
    """The array with two axes at least."""
    return x if x.ndim >= 2 else reshape(x, (1, x.size))


TABLE: dict[Any, Any] = {
    np.transpose: transpose,
    np.matrix_transpose: matrix_transpose,
    np.swapaxes: swapaxes,
    np.moveaxis: moveaxis,
    np.reshape: reshape,
    np.ravel: ravel,
    np.broadcast_to: broadcast_to,
    np.full_like: full_like,
    np.expand_dims: expand_dims,
    np.squeeze: squeeze,
    np.flip: flip,
    np.concatenate: concatenate,
    np.stack: stack,
    np.split: split,
    np.astype: astype,
    np.atleast_1d: atleast_1d,
    np.atleast_2d: atleast_2d,
}
