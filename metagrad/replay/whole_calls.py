"""Pass: calls as parts of a whole step: views, functions and products by NumPy's inner loops, copies, counts.

A view is a place in memory that is known beforehand; of a function or a product NumPy's own inner loop is called
(`inner`), so that its bits are NumPy's. What is none of these raises NotWhole, with its name.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from metagrad.replay import sums
from metagrad.replay.buffers import takes_out
from metagrad.replay.chains import loop_of
from metagrad.replay.cheap import FLOATS, WEAK_INT, kind_of
from metagrad.replay.functions import is_fresh, itself, method, put
from metagrad.replay.inner import inner_loop, power
from metagrad.replay.loops import Argument, joined, memory_steps
from metagrad.replay.picks import add_picks, picks_entries
from metagrad.replay.program import PLAIN, SAME, Value
from metagrad.replay.whole_table import Inner, NotWhole, Table

_COUNTS = {operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.mod: "rem"}
_COMPARED = {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}
_OF_FLOATS = {operator.add: "add", operator.sub: "subtract", operator.mul: "multiply", operator.truediv: "divide"}
_OF_FLOATS |= {operator.lt: "less", operator.le: "less_equal", operator.gt: "greater", operator.ge: "greater_equal"}
_OF_FLOATS |= {operator.eq: "equal", operator.ne: "not_equal"}
_OF_INTEGERS = {SAME[function]: how for function, how in _COMPARED.items()}


def add_call(table: Table, v: Value) -> None:
    """Add a call that is no part of a chain."""
    if v.function in _COUNTS or v.function in _COMPARED or type(v.example) is float:
        _count(table, v)
    elif v.function is itself:
        table.arrays[v.number] = _cell(table, v.example)
    elif picks_entries(v):
        add_picks(table, v)
    elif v.function in _OF_INTEGERS and not v.kwargs:
        _compare(table, v)
    elif isinstance(v.function, np.ufunc) and not v.kwargs:
        _inner(table, v, v.function, v.args)
    elif v.function is operator.pow and not v.is_array and type(v.args[1]) in (int, float):
        _power(table, v)
    elif v.function in _MADE:
        _MADE[v.function](table, v)
    elif not is_fresh(v.function, v.args):
        _view(table, v)
    else:
        raise NotWhole(_name(v))


def has_room(v: Value) -> bool:
    """Whether a call that is no part of a chain writes all of its result, into an array that is given."""
    is_made = v.function in _MADE or picks_entries(v) or (v.function in _OF_INTEGERS and not v.kwargs)
    return takes_out(v) or (is_made and v.is_array and v.example.size > 0)


def _name(v: Value) -> str:
    return getattr(v.function, "__name__", str(v.function)).removeprefix("method_")


def _view(table: Table, v: Value) -> None:
    """Find where a view lies."""
    name = _name(v)
    for x in v.operands():
        if x.is_constant:
            table.constant(x)
    if not all(x.number in table.arrays for x in v.operands()):
        raise NotWhole(f"{name} of what has no place")
    source = next((table.arrays[x.number] for x in v.operands()), None)
    found = v.function(*_with(v.args, table.arrays), **_with(v.kwargs, table.arrays))  # type: ignore[misc]
    if type(found) is np.ndarray:
        is_same = found.shape == np.shape(v.example) and found.strides == v.example.strides
        if not (is_same and type(source) in (np.ndarray, list, tuple)) or not table.knows(found):
            raise NotWhole(f"{name}, which copies")
    elif not isinstance(found, list | tuple):
        raise NotWhole(name)
    table.arrays[v.number] = found


def _count(table: Table, v: Value) -> None:
    """Add what Python computes of counts of steps, and of other numbers that are functions of the time."""
    if not all(type(_example(x)) is int for x in v.args) or v.function is operator.truediv:
        _of_numbers(table, v)
        return
    what = _COUNTS.get(v.function) or _COMPARED[v.function]  # type: ignore[arg-type, index]
    out = table.cell(v, "i8" if v.function in _COUNTS else "b1")
    cells = [_cell(table, x) for x in v.args]
    steps: list[Any] = [("read", "a", 0, ()), ("read", "b", 1, ()), (f"int {what}", "c", "i8", ("a", "b"))]
    if what == "rem":  # what is left is of the sign of the divisor in Python
        if not _is_known(v.args[1]) or _example(v.args[1]) <= 0:
            raise NotWhole("a remainder by what is not known")
        steps += [("int sub", "none", "i8", ("a", "a")), ("int >=", "is", "b1", ("a", "none")), ("guard", "is", True)]
    table.kernel([*cells, out], (*steps, ("write", 2, (), "c")))


def _of_numbers(table: Table, v: Value) -> None:
    """Add what Python computes of its floats, and of integers beside them, which have to be floats. No 0 divides."""
    kinds = [kind_of(_example(x)) for x in v.args]
    name = _OF_FLOATS.get(v.function)  # type: ignore[arg-type]
    are_numbers = all(type(_example(x)) in (int, float) for x in v.args) and len(kinds) == 2
    divides = name == "divide" and (not _is_known(v.args[1]) or not _example(v.args[1]))
    if name is None or not are_numbers or divides:
        raise NotWhole("Python's own arithmetic of floats")
    out = table.cell(v, "b1" if type(v.example) is bool else "f8")
    most = np.array(float(WEAK_INT))
    table.held.append(most)
    steps: list[Any] = [("read", "most", 2, ())]
    for place, (read, number, kind) in enumerate(zip("ab", "xy", kinds, strict=True)):
        steps.append(("read", read if kind == "i8" else number, place, ()))
        if kind == "i8":
            steps += [("from i8", number, "f8", (read,)), ("absolute", "size", "f8", (number,))]
            steps += [("less", "holds", "f8", ("size", "most")), ("guard", "holds", True)]
    steps += [(name, "c", "f8", ("x", "y")), ("write", 3, (), "c")]
    table.kernel([*[_cell(table, x) for x in v.args], most, out], tuple(steps))


def _is_known(x: Any) -> bool:
    return type(x) is not Value or x.is_constant


def _example(x: Any) -> Any:
    return x.example if type(x) is Value else x


def _cell(table: Table, x: Any) -> Any:
    """Return where a number of Python's lies."""
    if not _is_known(x):
        return table.arrays[x.number]
    example = _example(x)
    cell = np.array(example, np.int64 if type(example) is int else np.float64)
    table.held.append(cell)
    return cell


def _compare(table: Table, v: Value) -> None:
    """Add how integers compare, entry by entry: labels with classes, say."""
    operands = [np.array(x, np.int64) if type(x) is int else table.array(x) for x in v.args]
    if any(x.dtype != np.int64 for x in operands) or not v.is_array:
        raise NotWhole(_name(v))
    table.held += operands
    wide, how = [np.broadcast_to(x, v.example.shape) for x in operands], _OF_INTEGERS[v.function]  # type: ignore[index]
    table.entrywise(
        [*wide, table.own_room(v)],
        lambda codes, _: [
            ("read", "a", 0, codes[0]),
            ("read", "b", 1, codes[1]),
            (f"int {how}", "c", "i8", ("a", "b")),
            ("write", 2, codes[2], "c"),
        ],
    )


def _power(table: Table, v: Value) -> None:
    """Add x ** exponent of a number."""
    x, exponent = v.args
    kind = kind_of(v.example)
    is_known = type(x) is Value and kind in FLOATS and kind_of(x.example) == kind
    is_known = is_known and type(x.example) is not float  # whose powers raise
    ufunc = power(exponent, kind, is_array=type(x.example) is np.ndarray) if is_known else None
    if ufunc is None:
        raise NotWhole("pow")
    _inner(table, v, ufunc, v.args[: ufunc.nin])


def _inner(table: Table, v: Value, ufunc: Any, args: tuple[Any, ...]) -> None:
    """Add the call of an inner loop."""
    kind = kind_of(v.example)
    operands = [_operand(table, x, kind) for x in args]
    if kind not in FLOATS or len(operands) != ufunc.nin or v.number not in table.arrays:
        if v.is_array or kind not in FLOATS:
            raise NotWhole(ufunc.__name__)
        table.cell(v, str(kind))
    out = table.arrays[v.number]
    loop = inner_loop(ufunc, (kind,) * (ufunc.nin + 1)) if ufunc.nout == 1 else None
    if loop is None or any(x.dtype != out.dtype for x in operands):
        raise NotWhole(ufunc.__name__)
    arrays = [*operands, out]
    sizes, steps, outer = _product(arrays) if ufunc.signature is not None else _entries(v, arrays)
    numbers = [x.ctypes.data for x in arrays] + [loop.function, loop.data, *sizes, *steps]
    arguments = tuple([Argument(str(kind), None, i == len(operands), place=i) for i in range(len(arrays))])
    outer_places, outer_steps = [], [list[int]() for _ in arrays]
    for size, of in outer:
        outer_places.append(len(numbers))
        numbers.append(size)
        for places, step in zip(outer_steps, of, strict=True):
            places.append(len(numbers))
            numbers.append(step)
    part = Inner(arguments, len(arrays), len(sizes), tuple(outer_places), tuple(map(tuple, outer_steps)))
    table.add(part, numbers)


def _operand(table: Table, x: Any, kind: str | None) -> Any:
    """Return an operand of an inner loop as an array."""
    if type(x) is Value and not x.is_constant:
        found = table.arrays.get(x.number)
        if type(found) is not np.ndarray:
            raise NotWhole("an operand that has no place")
        return found
    example = x.example if type(x) is Value else x
    if type(example) in PLAIN:
        example = np.array(example, kind)
    elif not isinstance(example, np.ndarray | np.generic):
        raise NotWhole(f"an operand that is a {type(example).__name__}")
    found = np.asarray(example)
    table.held.append(found)
    return found


def _concatenate(table: Table, v: Value) -> None:
    """Add what lays arrays side by side."""
    axis = v.kwargs.get("axis", v.args[1] if len(v.args) > 1 else 0)
    if type(axis) is not int or not v.kwargs.keys() <= {"axis"}:
        raise NotWhole("concatenate")
    out, begin = np.moveaxis(table.own_room(v), axis, 0), 0
    for x in v.args[0]:
        part = np.moveaxis(table.array(x), axis, 0)
        table.copy(part, out[begin : begin + len(part)])
        begin += len(part)


def _stack(table: Table, v: Value) -> None:
    """Add what lays arrays along a new axis."""
    axis = v.kwargs.get("axis", v.args[1] if len(v.args) > 1 else 0)
    if type(axis) is not int or not v.kwargs.keys() <= {"axis"}:
        raise NotWhole("stack")
    for x, part in zip(v.args[0], np.moveaxis(table.own_room(v), axis, 0), strict=True):
        table.copy(table.array(x), part)


def _roll(table: Table, v: Value) -> None:
    """Add what moves entries along an axis, the last ones to the front."""
    given = {**dict(zip(("a", "shift", "axis"), v.args, strict=False)), **v.kwargs}
    shift, axis = (x[0] if type(x) is tuple and len(x) == 1 else x for x in (given["shift"], given.get("axis")))
    if not (isinstance(shift, int | np.integer) and isinstance(axis, int | np.integer)):
        raise NotWhole("roll")
    x, out = (np.moveaxis(a, axis, 0) for a in (table.array(given["a"]), table.own_room(v)))
    shift = int(shift) % len(x)
    for source, place in ((x[len(x) - shift :], out[:shift]), (x[: len(x) - shift], out[shift:])):
        if len(place):
            table.copy(source, place)


def _put(table: Table, v: Value) -> None:
    """Add zeros with an array at a place."""
    g, index = v.args[:2]
    items = index if isinstance(index, tuple) else (index,)
    if not all(x is None or x is Ellipsis or type(x) in (int, slice) for x in items):
        raise NotWhole("put at an index that is no slice")
    out = table.own_room(v)
    place = out[index]
    if place.shape != v.example.shape or place.strides != out.strides:
        table.fill(out)
    table.copy(table.array(g), place)


def _cast(table: Table, v: Value) -> None:
    """Add counts as floats."""
    table.copy(table.array(v.args[0]), table.own_room(v))


def _reduce(table: Table, v: Value) -> None:
    """Add the largest or smallest of neighbours, by NumPy's own loop, or how many are true."""
    x, out = table.array(v.args[0]), table.own_room(v)
    runs = sums.runs(x, v.args[1])
    if v.kwargs or v.args[2:4] != (None, None) or runs is None or runs[0] != sums.ALONG:
        raise NotWhole("reduce")
    (kept, added, _), flat = runs[1], x.reshape(-1)
    rows, totals = flat.reshape(kept, added), out.reshape(kept, 1)
    ufunc = getattr(v.function, "__self__", None)
    if ufunc in (np.maximum, np.minimum) and x.dtype == out.dtype:
        table.copy(rows[:, :1], totals)
        if added > 1:
            _along(table, ufunc, rows, totals)
    elif ufunc is np.add and x.dtype == bool and out.dtype == np.int64:
        table.fill(out)
        wide = np.broadcast_to(totals, rows.shape)
        table.entrywise(
            [rows, wide],
            lambda codes, _: [
                ("read", "n", 1, codes[1]),
                ("read", "x", 0, codes[0]),
                ("from b1", "y", "i8", ("x",)),
                ("count", "m", "i8", ("n", "y")),
                ("write", 1, codes[1], "m"),
            ],
        )
    else:
        raise NotWhole("reduce")


def _along(table: Table, ufunc: Any, rows: Any, totals: Any) -> None:
    """Add the call of an inner loop that adds all but the first entry of each row to its total."""
    kind, loop = rows.dtype.str[1:], inner_loop(ufunc, (rows.dtype.str[1:],) * 3)
    if loop is None:
        raise NotWhole(ufunc.__name__)
    arrays = [totals, rows[:, 1:], totals]
    numbers = [a.ctypes.data for a in arrays] + [loop.function, loop.data, rows.shape[1] - 1, 0, rows.itemsize, 0]
    numbers += [len(rows), totals.itemsize, rows.strides[0], totals.itemsize]
    arguments = tuple([Argument(kind, None, i == 2, place=i) for i in range(3)])
    end = len(numbers)
    table.add(Inner(arguments, 3, 1, (end - 4,), ((end - 3,), (end - 2,), (end - 1,))), numbers)


def _product(arrays: list[Any]) -> tuple[list[int], list[int], list[Any]]:
    """Return sizes and steps of a stack of matrix products."""
    x, y, out = arrays
    if min(x.ndim, y.ndim) < 2:
        raise NotWhole("a product with a vector")
    lead = out.shape[:-2]
    steps = {i: _leading(a, len(lead)) for i, a in enumerate(arrays)}
    sizes, steps = joined([n for n in lead if n > 1], {i: [s for s, n in zip(of, lead, strict=True) if n > 1]
                                                       for i, of in steps.items()})  # fmt: skip
    inner = [s for a in arrays for s in a.strides[-2:]]
    if not sizes:
        return [1, *x.shape[-2:], y.shape[-1]], [0, 0, 0, *inner], []
    outer = [(n, [steps[i][k] for i in range(3)]) for k, n in enumerate(sizes[:-1])]
    return [sizes[-1], *x.shape[-2:], y.shape[-1]], [steps[i][-1] for i in range(3)] + inner, outer


def _leading(a: Any, count: int) -> list[int]:
    """Return the steps of the axes before the last two, 0 where an array is spread."""
    shape, strides = a.shape[:-2], a.strides[:-2]
    missing = count - len(shape)
    return [0] * missing + [0 if n == 1 else s for n, s in zip(shape, strides, strict=True)]


def _entries(v: Value, arrays: list[Any]) -> tuple[list[int], list[int], list[Any]]:
    """Return sizes and steps of a function entry by entry."""
    shape, axes = loop_of(v)
    steps = {i: [s * a.itemsize for s in memory_steps(a, len(shape), axes)] for i, a in enumerate(arrays)}
    sizes, steps = joined([shape[i] for i in axes], steps)
    if not sizes:
        return [1], [a.itemsize for a in arrays], []
    outer = [(n, [steps[i][k] for i in range(len(arrays))]) for k, n in enumerate(sizes[:-1])]
    return [sizes[-1]], [steps[i][-1] for i in range(len(arrays))], outer


def _with(item: Any, arrays: dict[int, Any]) -> Any:
    if type(item) is Value:
        return arrays[item.number]
    if isinstance(item, dict):
        return {name: _with(x, arrays) for name, x in item.items()}
    if isinstance(item, tuple | list):
        return type(item)([_with(x, arrays) for x in item])
    return item


_MADE = {
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.roll: _roll,
    put: _put,
    method("astype"): _cast,
    np.add.reduce: _reduce,
    np.maximum.reduce: _reduce,
    np.minimum.reduce: _reduce,
}
