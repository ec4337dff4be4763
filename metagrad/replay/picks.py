"""Pass: entries at integer indices, picked and put back, as loops of a whole step.

    picked     out[k] = x[i(k)]       x[i], x[i, j], np.take, np.take_along_axis: labels that pick a logit
    put back   full[i(k)] = g[k]      the pullback where no place is named twice
               full[i(k)] += g[k]     and where one may be, from the first k to the last, as NumPy does it

An index counts from the end where it is negative. One that is out of range is seen, and the step does not apply: the
tape tells what is wrong. Masks are not here: the shape of the result depends on them.
"""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

import numpy as np

from metagrad.replay.cheap import FLOATS
from metagrad.replay.functions import add_at, method, put, put_along
from metagrad.replay.loops import Argument, Kernel, Loop, memory_steps
from metagrad.replay.program import Value
from metagrad.replay.whole_table import NotWhole, Table
from metagrad.xp import rng

_ALL = slice(None)


class _Picks(NamedTuple):
    """What is picked out of x: its shape, integers spread over it for some axes of x, and where its axes are x's.

    `axes`: for each axis of the shape the axis of x along which it goes, None for the `spread` ones, which lie side by
    side from `first` on.
    """

    shape: tuple[int, ...]
    parts: list[tuple[int, Any]]  # an axis of x, and the integers
    axes: list[int | None]
    first: int
    spread: int


def picks_entries(v: Value) -> bool:
    """Whether a call picks entries at integers, or puts them back."""
    if v.function is operator.getitem or v.function is put:
        index = v.args[1]
        return any(_is_of_integers(part) for part in (index if isinstance(index, tuple) else (index,)))
    return v.function in _READ


def add_picks(table: Table, v: Value) -> None:
    """Add the loop of such a call; NotWhole where its index is of another kind."""
    if v.function in (put, put_along, add_at):
        _put_back(table, v)
        return
    x, out = table.array(v.args[0]), table.own_room(v)
    picks = _READ[v.function](table, x.shape, v.args[1:], v.kwargs)
    if out.shape != picks.shape or x.dtype != out.dtype or x.dtype.str[1:] not in (*FLOATS, "i8", "b1"):
        raise NotWhole(f"a pick of {x.dtype}")
    _add(table, picks, x, out, "pick")


def _put_back(table: Table, v: Value) -> None:
    shape, out = v.args[-2], table.own_room(v)
    picks = _READ[v.function](table, shape, v.args[1:-2], {})
    g = np.broadcast_to(table.array(v.args[0]), picks.shape)
    if g.dtype != out.dtype or out.dtype.str[1:] not in FLOATS:
        raise NotWhole(f"a sum of {g.dtype}")
    if v.function is add_at and not _is_in_order(v, picks):
        raise NotWhole("a sum at integers, in another order")
    table.fill(out)
    _add(table, picks, out, g, "add" if v.function is add_at else "put")


def _add(table: Table, picks: _Picks, x: Any, other: Any, how: str) -> None:
    """Add the loop over what is picked: `other` is picked out of x, put into it, or added to it."""
    indices, every = [index for _, index in picks.parts], tuple(range(len(picks.shape)))
    arrays = [x, *indices, other] if how == "pick" else [other, *indices, x]
    if not (x.size and other.size) or any(stride % a.itemsize for a in arrays for stride in a.strides):
        raise NotWhole("an index of nothing, or an array that is not aligned")
    numbers = [a.ctypes.data for a in arrays]

    def entered(values: Any) -> tuple[int, ...]:
        numbers.extend(values)
        return tuple(range(len(numbers) - len(values), len(numbers)))

    def in_items(axis: int | None) -> int:
        return 0 if axis is None else int(x.strides[axis]) // int(x.itemsize)

    sizes = entered(picks.shape)
    *of_indices, of_other = [entered(memory_steps(a, len(every), every)) for a in (*indices, other)]
    own = entered([in_items(axis) for axis in picks.axes])
    lengths = entered([x.shape[axis] for axis, _ in picks.parts])
    strides = entered([in_items(axis) for axis, _ in picks.parts])
    last, kind = len(arrays) - 1, x.dtype.str[1:]
    steps: list[Any] = []
    for k, (code, length) in enumerate(zip(of_indices, lengths, strict=True)):
        steps += [("read", f"i{k}", 1 + k, code), ("within", f"j{k}", f"i{k}", length)]
    place = own, tuple([(f"j{k}", stride) for k, stride in enumerate(strides)])
    if how == "pick":
        steps += [("pick", "x", 0, *place), ("write", last, of_other, "x")]
    else:
        steps.append(("read", "g", 0, of_other))
        if how == "add":
            steps += [("pick", "x", last, *place), ("add", "y", kind, ("x", "g"))]
        steps.append(("put", last, *place, "y" if how == "add" else "g"))
    arguments = [Argument(a.dtype.str[1:], None, i == last, place=i) for i, a in enumerate(arrays)]
    table.add(Kernel(tuple(arguments), (Loop(sizes, tuple(steps)),)), numbers)


def _at(table: Table, shape: tuple[int, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Picks:
    """Read x[index]: whole axes, then integers side by side, then whole axes."""
    index = args[0] if isinstance(args[0], tuple) else (args[0],)
    parts = []
    for part in index:
        parts += [_ALL] * (len(shape) - len(index) + 1) if part is Ellipsis else [part]
    parts += [_ALL] * (len(shape) - len(parts))
    is_whole = [type(part) is slice and part == _ALL for part in parts]
    if len(parts) != len(shape) or all(is_whole):
        raise NotWhole("getitem, which copies")
    first, end = is_whole.index(False), len(parts) - is_whole[::-1].index(False)
    indices = [_integers(table, part) for part in parts[first:end]]  # NotWhole for whole axes between them
    spread = np.broadcast_shapes(*[i.shape for i in indices])
    whole, after = (*shape[:first], *spread, *shape[end:]), (None,) * (len(shape) - end)
    wide = [np.broadcast_to(np.broadcast_to(i, spread)[(..., *after)], whole) for i in indices]
    axes: list[int | None] = [*range(first), *[None] * len(spread), *range(end, len(shape))]
    return _Picks(whole, [(first + k, i) for k, i in enumerate(wide)], axes, first, len(spread))


def _along(table: Table, shape: tuple[int, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Picks:
    """Read take_along_axis(x, indices, axis)."""
    given = {"axis": -1, **dict(zip(("indices", "axis"), args, strict=False)), **kwargs}
    index, axis = _integers(table, given["indices"]), given["axis"]
    if type(axis) is not int or index.ndim != len(shape):
        raise NotWhole("take_along_axis")
    axis %= len(shape)
    whole = tuple([index.shape[k] if k == axis else n for k, n in enumerate(shape)])
    if any(n not in (1, m) for n, m in zip(index.shape, whole, strict=True)):
        raise NotWhole("take_along_axis")
    axes = [None if k == axis else k for k in range(len(shape))]
    return _Picks(whole, [(axis, np.broadcast_to(index, whole))], axes, axis, 1)


def _taken(table: Table, shape: tuple[int, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Picks:
    """Read take(x, indices, axis)."""
    given = {"axis": None, **dict(zip(("indices", "axis"), args, strict=False)), **kwargs}
    axis = 0 if given["axis"] is None and len(shape) == 1 else given["axis"]
    if type(axis) is not int or len(args) > 2 or given.keys() != {"indices", "axis"}:  # with out=
        raise NotWhole("take")
    return _at(table, shape, ((*[_ALL] * (axis % len(shape)), given["indices"]),), {})


def _is_of_integers(part: Any) -> bool:
    example = part.example if type(part) is Value else part
    return type(example) is np.ndarray and example.dtype.kind in "iu"


def _integers(table: Table, x: Any) -> Any:
    """Return an index as an array of integers."""
    example = x.example if type(x) is Value else x
    if type(x) is int or isinstance(x, np.integer):
        found = np.array(x, np.int64)
        table.held.append(found)
        return found
    if type(example) is not np.ndarray or example.dtype != np.int64:
        raise NotWhole("an index that is no array of 64-bit integers")
    return table.array(x)


def _is_in_order(v: Value, picks: _Picks) -> bool:
    """Whether NumPy adds from the first to the last: tried where all integers are 0, of arrays that lie as these do."""
    g, index, shape, dtype = v.args
    draw = rng(0, "in order")
    size = draw.standard_normal(picks.shape) * 10.0 ** draw.integers(-6, 6, picks.shape)
    entries = size.astype(dtype)
    if tuple(np.shape(g.example if type(g) is Value else g)) != picks.shape:
        return False
    zeros = tuple(map(_zeros_like, index)) if isinstance(index, tuple) else _zeros_like(index)
    found = add_at(entries, zeros, shape, dtype)
    at = (*[_ALL] * picks.first, *[0] * len(picks.parts))
    before, among = picks.shape[: picks.first], picks.shape[picks.first : picks.first + picks.spread]
    rows = entries.reshape((math.prod(before), math.prod(among), -1))
    return bool(found[at].tobytes() == np.add.accumulate(rows, axis=1)[:, -1].tobytes())


def _zeros_like(part: Any) -> Any:
    """Return zeros that lie in memory as an array of integers does."""
    example = part.example if type(part) is Value else part
    if type(example) is not np.ndarray:
        return 0 if isinstance(example, int | np.integer) else example
    extent = sum((n - 1) * abs(s) for n, s in zip(example.shape, example.strides, strict=True)) + example.itemsize
    room = np.zeros(extent, np.uint8)
    first = sum((n - 1) * -s for n, s in zip(example.shape, example.strides, strict=True) if s < 0)
    return np.ndarray(example.shape, example.dtype, room, offset=first, strides=example.strides)


_READ: dict[Any, Any] = {
    operator.getitem: _at,
    put: _at,
    add_at: _at,
    np.take_along_axis: _along,
    put_along: _along,
    np.take: _taken,
    method("take"): _taken,
}
