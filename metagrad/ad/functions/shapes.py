"""Primitives that move, repeat, pick and sum entries: those that every other rule needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from metagrad.ad.constants import kept_index
from metagrad.ad.tape import Function, Push, Rule, Var, multilinear, primitive, value_of
from metagrad.errors import bad_type, bad_value
from metagrad.xp import Array, is_array, namespace, number_type

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


def array_of(x: Any) -> Any:
    """Return an operand as an array: a number without axes, a list joined, also one of traced entries."""
    if type(x) is not list and type(x) is not tuple:
        return as_array(x)
    parts = [array_of(part) for part in x]
    return np.asarray(x) if all(isinstance(part, np.ndarray | np.generic) for part in parts) else stack(parts)


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
    lambda x, axes: as_array(x).transpose(axes),
    (lambda g, out, x, axes: _transpose(g, tuple(int(a) for a in np.argsort(axes))),),
    multilinear,
)


def sum_(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum of entries."""
    return _sum(a, axis, keepdims)


def broadcast_to(array: Any, shape: Any) -> Any:
    """Repeat along new or unit axes."""
    return _broadcast(array, as_shape(shape))


def reshape(a: Any, shape: Any, order: Any = "C", copy: Any = None) -> Any:
    """Entries in another shape, read and written by rows ("C") or by columns ("F")."""
    if order == "C" or not _by_columns("reshape", a, order, "CFA"):
        return _reshape(a, as_shape(shape))
    return transpose(_reshape(transpose(a), as_shape(shape)[::-1]))


def _by_columns(where: str, a: Any, order: Any, known: str) -> bool:
    """Tell whether entries are read by columns; "A" and "K" ask how a value lies in memory, which is not traced."""
    if order not in (*known, None):
        bad_value(where, "order", repr(order), " or ".join(repr(c) for c in known))
    if order in ("A", "K") and sum(n != 1 for n in a.shape) > 1:
        came = f"{order!r} for a traced value of several axes, which may lie in memory in another way than a plain one"
        bad_value(where, "order", came, "'C' (by rows) or 'F' (by columns)")
    return bool(order == "F")


def astype(x: Any, dtype: Any, copy: bool = True) -> Any:
    """Convert to another float type; conversion to integers or booleans gives a constant."""
    into = np.dtype(dtype)
    if is_float(into):
        return _astype(x, dtype)
    if into.kind not in "biu":
        remedy = "Use real and imaginary part apart." if into.kind == "c" else "Stay with floats."
        bad_type("astype", "dtype", f"{into} for a traced value", "a float type", remedy)
    return as_array(value_of(x)).astype(dtype)


def cast(where: str, x: Any, dtype: Any, casting: str = "same_kind") -> Any:
    """Return x as an array of `dtype`, or as it is for None; TypeError where the rule of casting forbids it."""
    x = array_of(x)
    if dtype is None or x.dtype == dtype:
        return x
    if not np.can_cast(x.dtype, dtype, casting):  # type: ignore[arg-type]
        came, remedy = f"{np.dtype(dtype)} for {x.dtype}", "Convert it with x.astype(dtype) first."
        bad_type(where, "dtype", came, f"what casting={casting!r} allows", remedy)
    return astype(x, dtype)


def is_float(dtype: Any) -> bool:
    """Tell whether values of `dtype` are differentiated."""
    return bool(dtype.kind == "f") or dtype.name == "bfloat16"


def transpose(a: Any, axes: Any = None) -> Any:
    """Axes in another order (reversed if None)."""
    n = a.ndim
    return _transpose(a, tuple(range(n))[::-1] if axes is None else normalize_axis_tuple(axes, n, "transpose: axes"))


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Exchange two axes."""
    axes = list(range(a.ndim))
    i, j = (
        normalize_axis_index(axis1, a.ndim, "swapaxes: axis1"),
        normalize_axis_index(axis2, a.ndim, "swapaxes: axis2"),
    )
    axes[i], axes[j] = j, i
    return _transpose(a, tuple(axes))


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Move axes to other positions."""
    sources = normalize_axis_tuple(source, a.ndim, "moveaxis: source")
    destinations = normalize_axis_tuple(destination, a.ndim, "moveaxis: destination")
    if len(sources) != len(destinations):
        bad_value("moveaxis", "destination", destination, f"as many axes as source, {len(sources)}")
    axes = [i for i in range(a.ndim) if i not in sources]
    for d, s in sorted(zip(destinations, sources, strict=True)):
        axes.insert(d, s)
    return _transpose(a, tuple(axes))


def expand_dims(a: Any, axis: Any) -> Any:
    """Insert axes of length 1."""
    n = len(a.shape) + (1 if isinstance(axis, int) else len(axis))
    inserted, rest = normalize_axis_tuple(axis, n, "expand_dims: axis"), iter(a.shape)
    return reshape(a, tuple(1 if i in inserted else next(rest) for i in range(n)))


def squeeze(a: Any, axis: Any = None) -> Any:
    """Remove axes of length 1."""
    return reshape(a, as_array(value_of(a)).squeeze(axis).shape)


def ravel(a: Any, order: Any = "C") -> Any:
    """All entries along one axis, by rows ("C") or by columns ("F")."""
    if order == "C" or not _by_columns("ravel", a, order, "CFAK"):
        return reshape(a, (-1,))
    return reshape(transpose(a), (-1,))


_BASIC = frozenset({int, slice})


def _is_basic(index: Any) -> bool:
    parts = index if type(index) is tuple else (index,)
    return all(p is None or p is Ellipsis or type(p) in _BASIC or _is_integer(p) for p in parts)


def _is_integer(part: Any) -> bool:
    """Whether a part of an index is a number of NumPy's; a recorded one is."""
    kind = number_type(part)
    return kind is not None and issubclass(kind, np.integer)


def _is_mask(index: Any) -> bool:
    return getattr(index, "dtype", None) is not None and index.dtype == bool


def room_for(g: Array, index: Any, shape: tuple[int, ...]) -> tuple[Any, Array]:
    """Return the module of g, or of an index that is of a kind of its own, and zeros into which g goes at the index."""
    if type(g) is not np.ndarray:
        xp = module_of(g)
        return xp, xp.zeros_like(g, shape=shape)
    parts = index if type(index) is tuple else (index,)
    xp = module_of(*[part for part in parts if type(part) is not np.ndarray and is_array(part)])
    return xp, xp.zeros(shape, g.dtype)


def _put(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    xp, full = room_for(g, index, shape)
    if _is_basic(index) or _is_mask(index):
        full[index] = g
    else:
        xp.add.at(full, index, g)  # an entry that was picked twice gets both cotangents
    return full


_getitem: Function = primitive(
    "getitem",
    lambda x, index: as_array(x)[index],
    (lambda g, out, x, index: put(g, index, getattr(x, "shape", ())),),
    multilinear,
)
put: Function = primitive("put", _put, (lambda g, out, x, index, shape: _getitem(g, index),), multilinear)


def getitem(x: Any, index: Any) -> Any:
    """Entries x[index]; the index may be basic, integer arrays (repeats count twice) or a mask."""
    if type(index) is Var or (type(index) is tuple and any(type(i) is Var for i in index)):
        raise TypeError("x[index]: the index is traced; expected integers, which have no derivative.")
    return _getitem(x, kept_index(index) if type(x) is Var else index)


def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    """The arrays, all in the shape to which they broadcast together."""
    arrays = [array_of(a) for a in args]
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    return tuple(broadcast_to(a, shape) for a in arrays)


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None
) -> Any:
    """Array of the shape of `a` (or another) with one value in every entry, or broadcast values."""
    value, fill = array_of(value_of(a)), array_of(fill_value)
    if type(fill) is not Var:
        return module_of(value).full_like(value, fill, dtype=dtype, **({} if shape is None else {"shape": shape}))
    return broadcast_to(astype(fill, value.dtype if dtype is None else dtype), value.shape if shape is None else shape)


def flip(m: Any, axis: Any = None) -> Any:
    """Entries in reverse order along axes (all if None)."""
    axes = normalize_axis_tuple(range(m.ndim) if axis is None else axis, m.ndim, "flip: axis")
    return _getitem(m, tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(m.ndim)))


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


def concatenate(arrays: Any, axis: Any = 0, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Arrays one after the other along an existing axis (all entries one after the other if None)."""
    parts = [cast("concatenate", a, dtype, casting) for a in arrays]
    return _concatenate(0, *[ravel(a) for a in parts]) if axis is None else _concatenate(axis, *parts)


def stack(arrays: Any, axis: int = 0, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Arrays one after the other along a new axis."""
    return _stack(axis, *[cast("stack", a, dtype, casting) for a in arrays])


def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged."""
    return swapaxes(x, -1, -2)


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
    np.astype: astype,
}
