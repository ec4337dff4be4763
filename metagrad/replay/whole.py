"""Pass: a program as one function of machine code, without a call of Python's: chains, and NumPy's own inner loops.

Chains are loops already (`loops`). What lies between them is a view, which is a place in memory that is known
beforehand; a function or a product of NumPy's, of which the inner loop is called (`inner`), so that its bits are
NumPy's; or a count of steps. Where there is anything else, the program stays calls and chains (`compiled`).

Inputs and outputs move: at every step each of them lies elsewhere. Their addresses are in a row beside the table of
what stays, so that one call runs a whole stretch of steps (`stretches`).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from metagrad.replay.buffers import Unit, placed, takes_out
from metagrad.replay.chains import grouped, has_axes, loop_of
from metagrad.replay.cheap import FLOATS, Cheap, cheap, kind_of
from metagrad.replay import sums
from metagrad.replay.functions import is_fresh, method, put
from metagrad.replay.inner import inner_loop, power
from metagrad.replay.loops import Argument, Kernel, Loop, Lowering, joined, memory_steps
from metagrad.replay.program import PLAIN, Value
from metagrad.replay.sums import pattern

_COUNTS = {operator.add: "add", operator.sub: "sub", operator.mul: "mul"}
_COMPARED = {operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "==",
             operator.ne: "!="}  # fmt: skip
_CELL = np.dtype(np.int64)


class NotWhole(Exception):  # noqa: N818  # it is an answer
    """A program cannot be one function: what stands in the way."""


class Inner(NamedTuple):
    """The call of an inner loop of NumPy's, for each entry of `outer` axes.

    In the table, from `place` on: its address, its data, `sizes` sizes, and the steps in memory.
    """

    arguments: tuple[Argument, ...]
    place: int
    sizes: int
    outer: tuple[int, ...] = ()  # places of sizes
    outer_steps: tuple[tuple[int, ...], ...] = ()  # of each argument: places of steps, in bytes


class Whole(NamedTuple):
    """What is compiled: parts one after the other, with where the table of each begins."""

    parts: tuple[tuple[int, Kernel | Inner], ...]
    width: int  # of a row: inputs, and outputs after them


class Planned(NamedTuple):
    """A whole step, the table it is called with, and the values whose addresses stand in a row."""

    whole: Whole
    table: Any
    inputs: list[Value]
    outputs: list[Value]
    held: list[Any]  # arrays whose addresses are in the table
    nbytes: int


def planned(inputs: list[Value], calls: list[Value], outputs: list[Value], guards: list[tuple[Value, bool]],
            watched: list[Value]) -> Planned:  # fmt: skip
    """Return a program as one function; NotWhole where that cannot be."""
    return _Planner(inputs, calls, outputs, guards, watched).done()


class _Planner:
    def __init__(
        self,
        inputs: list[Value],
        calls: list[Value],
        outputs: list[Value],
        guards: list[tuple[Value, bool]],
        watched: list[Value],
    ) -> None:
        from metagrad.replay.agree import disagreeing, operations_of

        self._inputs, self._guards = inputs, {v.number: expected for v, expected in guards}
        self._looked = {v.number for v in watched if _is_float(v)}
        values = [v for v in calls if v.function is not None]
        self._next = 1 + max((v.number for v in [*inputs, *values]), default=0)
        found = {v.number: c for v in values if (c := cheap(v)) is not None}
        bad = disagreeing({operation for c in found.values() for operation in operations_of(c)})
        self._cheap = {number: c for number, c in found.items() if not bad.intersection(operations_of(c))}
        self._outputs = self._made(values, outputs)
        ends = [v if v.is_array else next(v.operands()) for v in self._outputs]
        self._units = grouped(values, ends, [v for v, _ in guards], self._cheap)
        self._units = [self._chained(unit) for unit in self._units]
        arrays = [v for v in self._outputs if v.is_array]
        buffers = placed(self._units, arrays, 0)
        self._arrays: dict[int, Any] = dict(buffers.arrays)
        self._nbytes = buffers.nbytes
        self._rooms: list[tuple[int, int, int]] = []  # of what moves: from where to where, and the place in a row
        self._held: list[Any] = list(buffers.blocks)
        self._parts: list[tuple[int, Kernel | Inner]] = []
        self._tables: list[list[int]] = []

    def done(self) -> Planned:
        for row, v in enumerate(self._inputs):
            self._move(v, row)
        for row, v in enumerate(self._outputs, start=len(self._inputs)):
            self._move(v, row, is_output=True)
        made = [v for unit in self._units if unit.is_chain for v in unit.values]
        at_hand = {x.number for v in made for x in (v, *([] if pattern(v) else v.operands()))}
        later = self._looked & at_hand
        self._check(self._inputs, self._looked - later)
        for unit in self._units:
            if unit.is_chain:
                later = later - self._chain(unit, later)
            else:
                self._call(unit.values[0])
            self._check(unit.values, set() if unit.is_chain else self._looked - later)
        for v in self._outputs:
            if v.function is _number:
                self._copy_number(v)
        if later:
            raise NotWhole("it does not look for NaN where it should")
        table = np.array([x for part in self._tables for x in part], np.int64)
        whole = Whole(tuple(self._parts), len(self._inputs) + len(self._outputs))
        return Planned(whole, table, self._inputs, self._outputs, self._held, self._nbytes)

    def _made(self, values: list[Value], outputs: list[Value]) -> list[Value]:
        """Return the outputs as values that are computed into memory of their own; others are copied at the end."""
        found, seen = [], set[int]()
        computed = {v.number for v in values}
        for v in outputs:
            is_own = v.number in computed and v.number not in seen and v.is_array
            is_own = is_own and (v.number in self._cheap or takes_out(v))
            seen.add(v.number)
            if is_own:
                found.append(v)
                continue
            copy = Value(self._next, v.example, np.copy if v.is_array else _number, (v,))
            self._next += 1
            if v.is_array:
                call = cheap(copy)
                if call is None:
                    raise NotWhole(f"it returns an array of {v.example.dtype}")
                self._cheap[copy.number] = call
                values.append(copy)
            found.append(copy)
        return found

    def _chained(self, unit: Unit) -> Unit:
        """Return a cheap call that stands alone, for a guard needs it, as a chain of one."""
        is_cheap = not unit.is_chain and unit.values[0].number in self._cheap
        return unit._replace(is_chain=True) if is_cheap else unit

    def _move(self, v: Value, row: int, *, is_output: bool = False) -> None:
        """Give an input or an output a room, which stands for wherever it will lie."""
        example = v.example
        if isinstance(example, np.ndarray):
            if any(s < 0 for s in example.strides) or example.size == 0:
                raise NotWhole("an array that runs backwards, or of nothing")
            size = sum((n - 1) * s for n, s in zip(example.shape, example.strides, strict=True)) + example.itemsize
            room = np.ndarray(example.shape, example.dtype, np.empty(size, np.uint8), strides=example.strides)
        else:
            kind = kind_of(example)
            if kind is None:
                return  # who reads it finds nothing
            size, room = 8, np.zeros(1, kind).reshape(())
        self._rooms.append((room.ctypes.data, room.ctypes.data + size, row))
        self._held.append(room)
        if not is_output or v.function is not _number:
            self._arrays[v.number] = room
        else:
            self._arrays[-v.number] = room

    # Parts

    def _add(self, part: Kernel | Inner, table: Iterable[int]) -> None:
        base = sum(map(len, self._tables))
        table = list(table)
        arguments = tuple([self._moved(a, table) for a in part.arguments])
        self._parts.append((base, part._replace(arguments=arguments)))
        self._tables.append(table)

    def _moved(self, argument: Argument, table: list[int]) -> Argument:
        """Let an argument that moves be found by its row; the table has how far from there it lies."""
        assert argument.place is not None
        address = table[argument.place]
        for start, end, row in self._rooms:
            if start <= address < end:
                table[argument.place] = address - start
                return argument._replace(row=row)
        return argument

    def _chain(self, unit: Unit, watched: set[int]) -> set[int]:
        static = {}
        for v in unit.values:
            for x in (v, *v.operands()):
                if x.number in self._arrays:
                    static[x.number] = self._arrays[x.number]
                elif x.is_constant:
                    static[x.number] = self._constant(x)
        low = _Lowering(unit, self._cheap, watched, static).done()
        if low.operands or low.written:
            raise NotWhole("an array that has no place")
        for room, values in low.rooms:
            self._held.append(room)
            for i, v in enumerate(values):
                self._arrays[v.number] = room[i : i + 1].reshape(())
        self._add(low.kernel, low.table.tolist())
        return low.looked

    def _constant(self, x: Value) -> Any:
        """Return a constant as an array."""
        if type(x.example) is np.ndarray:
            found = x.example
        else:
            kind = kind_of(x.example)
            if kind is None:
                raise NotWhole(f"a constant that is a {type(x.example).__name__}")
            found = np.array(x.example, kind)
        self._arrays[x.number] = found
        self._held.append(found)
        return found

    def _call(self, v: Value) -> None:
        if v.function in _COUNTS or v.function in _COMPARED:
            self._count(v)
        elif isinstance(v.function, np.ufunc) and not v.kwargs:
            self._inner(v, v.function, v.args)
        elif v.function is operator.pow and not v.is_array and type(v.args[1]) in (int, float):
            self._power(v)
        elif v.function in _MADE:
            _MADE[v.function](self, v)
        elif not is_fresh(v.function, v.args):
            self._view(v)
        else:
            raise NotWhole(getattr(v.function, "__name__", str(v.function)).removeprefix("method_"))

    def _view(self, v: Value) -> None:
        name = getattr(v.function, "__name__", str(v.function)).removeprefix("method_")
        for x in v.operands():
            if x.is_constant:
                self._constant(x)
        if not all(x.number in self._arrays for x in v.operands()):
            raise NotWhole(f"{name} of what has no place")
        source = next((self._arrays[x.number] for x in v.operands()), None)
        found = v.function(*_with(v.args, self._arrays), **_with(v.kwargs, self._arrays))  # type: ignore[misc]
        if type(found) is np.ndarray:
            is_same = found.shape == np.shape(v.example) and found.strides == v.example.strides
            if not (is_same and type(source) in (np.ndarray, list, tuple)) or not self._is_known(found):
                raise NotWhole(f"{name}, which copies")
        elif not isinstance(found, list | tuple):
            raise NotWhole(name)
        self._arrays[v.number] = found

    def _is_known(self, view: Any) -> bool:
        """Whether an array lies in memory that is held."""
        return any(type(x) is np.ndarray and np.may_share_memory(x, view) for x in self._held)

    def _count(self, v: Value) -> None:
        """Add what Python computes of counts of steps."""
        if not all(type(x.example if type(x) is Value else x) is int for x in v.args):
            raise NotWhole("Python's own arithmetic of floats")
        what = _COUNTS.get(v.function) or _COMPARED[v.function]  # type: ignore[arg-type, index]
        out = self._cell(v, "i8" if v.function in _COUNTS else "b1")
        cells = []
        for x in v.args:
            if type(x) is Value and not x.is_constant:
                cells.append(self._arrays[x.number])
            else:
                cells.append(np.array(x.example if type(x) is Value else x, _CELL))
                self._held.append(cells[-1])
        steps = (("read", "a", 0, ()), ("read", "b", 1, ()), (f"int {what}", "c", "i8", ("a", "b")), ("write", 2, (), "c"))
        self._kernel([*cells, out], steps)

    def _cell(self, v: Value, kind: str) -> Any:
        found = self._arrays[v.number] = np.zeros((), kind)
        self._held.append(found)
        return found

    def _kernel(self, arrays: list[Any], steps: tuple[Any, ...], sizes: tuple[int, ...] = ()) -> None:
        """Add a loop that is written by hand; the last array is written where there are several."""
        last = len(arrays) - 1
        arguments = tuple(
            [Argument(x.dtype.str[1:], None, 0 < i == last, place=i) for i, x in enumerate(arrays)]
        )
        places = tuple(range(len(arrays), len(arrays) + len(sizes)))
        self._add(Kernel(arguments, (Loop(places, steps),)), [x.ctypes.data for x in arrays] + list(sizes))

    def _check(self, values: Iterable[Value], looked: set[int]) -> None:
        """Add the guards and the looks for NaN at what has been made."""
        for v in values:
            if v.number in self._guards:
                self._kernel([self._arrays[v.number]], (("read", "x", 0, ()), ("guard", "x", self._guards[v.number])))
            if v.number in looked:
                array = self._arrays[v.number]
                if np.ndim(array) and np.empty_like(array).strides != array.strides:
                    raise NotWhole("it looks for NaN in an array with gaps")
                step = (1,) if array.ndim else ()
                self._kernel([array], (("read", "x", 0, step), ("look", "x")), (array.size,) if array.ndim else ())

    def _copy_number(self, v: Value) -> None:
        source = next(v.operands())
        if source.is_constant and source.number not in self._arrays:
            self._constant(source)
        if source.number not in self._arrays:
            raise NotWhole("a number that has no place")
        self._kernel([self._arrays[source.number], self._arrays[-v.number]], (("read", "x", 0, ()), ("write", 1, (), "x")))

    def _own_room(self, v: Value) -> Any:
        """Return memory of a result's own."""
        found = self._arrays.get(v.number)
        if found is None:
            found = np.empty_like(v.example)
            if found.strides != v.example.strides or not found.size:
                raise NotWhole("a result with gaps in memory")
            self._arrays[v.number] = found
            self._held.append(found)
            self._nbytes += found.nbytes
        return found

    def _entrywise(self, arrays: list[Any], steps: Any, numbers: tuple[int, ...] = ()) -> None:
        """Add a loop over the entries of arrays of one shape, the last of which is written.

        `steps` is a function of the steps in memory of each and of the places of some numbers: what is done.
        """
        out = arrays[-1]
        axes = sorted([i for i, n in enumerate(out.shape) if n > 1], key=lambda i: (-out.strides[i], i))
        if any(stride % x.itemsize for x in arrays for stride in x.strides):
            raise NotWhole("an array that is not aligned")
        of = {i: memory_steps(x, out.ndim, tuple(axes)) for i, x in enumerate(arrays)}
        sizes, of = joined([out.shape[i] for i in axes], of)
        table = [x.ctypes.data for x in arrays] + list(sizes)
        codes = []
        for i in range(len(arrays)):
            codes.append(tuple(range(len(table), len(table) + len(of[i]))))
            table += of[i]
        places = tuple(range(len(table), len(table) + len(numbers)))
        table += numbers
        kinds = [x.dtype.str[1:] for x in arrays]
        last = len(arrays) - 1
        arguments = tuple([Argument(kind, None, i == last, place=i) for i, kind in enumerate(kinds)])
        loops = tuple(range(len(arrays), len(arrays) + len(sizes)))
        self._add(Kernel(arguments, (Loop(loops, tuple(steps(codes, places))),)), table)

    def _copy(self, source: Any, out: Any) -> None:
        """Add a copy of an array, of another kind maybe."""
        kinds = source.dtype.str[1:], out.dtype.str[1:]
        known = {("f8", "f8"), ("f4", "f4"), ("b1", "b1"), ("i8", "i8"), ("i8", "f8"), ("i8", "f4")}
        if kinds not in known:
            raise NotWhole(f"a copy of {kinds[0]} to {kinds[1]}")

        def steps(codes: Any, places: Any) -> Any:
            cast = [] if kinds[0] == kinds[1] else [("from i8", "y", kinds[1], ("x",))]
            return [("read", "x", 0, codes[0]), *cast, ("write", 1, codes[1], "y" if cast else "x")]

        self._entrywise([np.broadcast_to(source, out.shape), out], steps)

    def _fill(self, out: Any) -> None:
        """Add that an array is filled with zeros."""
        kind = out.dtype.str[1:]
        self._entrywise([out], lambda codes, places: [("number", "x", kind, places[0]), ("write", 0, codes[0], "x")], (0,))

    def _array(self, x: Any) -> Any:
        """Return an operand as an array."""
        if type(x) is Value and not x.is_constant:
            found = self._arrays.get(x.number)
        else:
            found = x.example if type(x) is Value else x
        if type(found) is not np.ndarray:
            raise NotWhole("an operand that has no place")
        self._held.append(found)
        return found

    def _concatenate(self, v: Value) -> None:
        """Add what lays arrays side by side."""
        axis = v.kwargs.get("axis", v.args[1] if len(v.args) > 1 else 0)
        if type(axis) is not int or not v.kwargs.keys() <= {"axis"}:
            raise NotWhole("concatenate")
        out, begin = np.moveaxis(self._own_room(v), axis, 0), 0
        for x in v.args[0]:
            part = np.moveaxis(self._array(x), axis, 0)
            self._copy(part, out[begin : begin + len(part)])
            begin += len(part)

    def _put(self, v: Value) -> None:
        """Add zeros with an array at a place."""
        g, index = v.args[:2]
        items = index if isinstance(index, tuple) else (index,)
        if not all(x is None or x is Ellipsis or type(x) in (int, slice) for x in items):
            raise NotWhole("put at an index that is no slice")
        out = self._own_room(v)
        place = out[index]
        if place.shape != v.example.shape or place.strides != out.strides:
            self._fill(out)
        self._copy(self._array(g), place)

    def _cast(self, v: Value) -> None:
        """Add counts as floats."""
        self._copy(self._array(v.args[0]), self._own_room(v))

    def _reduce(self, v: Value) -> None:
        """Add the largest or smallest of neighbours, by NumPy's own loop, or how many are true."""
        x, out = self._array(v.args[0]), self._own_room(v)
        runs = sums.runs(x, v.args[1])
        if v.kwargs or v.args[2:4] != (None, None) or runs is None or runs[0] != sums.ALONG:
            raise NotWhole("reduce")
        (kept, added, _), flat = runs[1], x.reshape(-1)
        rows, totals = flat.reshape(kept, added), out.reshape(kept, 1)
        ufunc = getattr(v.function, "__self__", None)
        if ufunc in (np.maximum, np.minimum) and x.dtype == out.dtype:
            self._copy(rows[:, :1], totals)
            if added > 1:
                self._along(ufunc, rows, totals)
        elif ufunc is np.add and x.dtype == bool and out.dtype == np.int64:
            self._fill(out)
            wide = np.broadcast_to(totals, rows.shape)
            self._entrywise(
                [rows, wide],
                lambda codes, _: [
                    ("read", "n", 1, codes[1]),
                    ("read", "x", 0, codes[0]),
                    ("from b1", "y", "i8", ("x",)),
                    ("int add", "m", "i8", ("n", "y")),
                    ("write", 1, codes[1], "m"),
                ],
            )
        else:
            raise NotWhole("reduce")

    def _along(self, ufunc: Any, rows: Any, totals: Any) -> None:
        """Add the call of an inner loop that adds all but the first entry of each row to its total."""
        kind, loop = rows.dtype.str[1:], inner_loop(ufunc, (rows.dtype.str[1:],) * 3)
        if loop is None:
            raise NotWhole(ufunc.__name__)
        arrays = [totals, rows[:, 1:], totals]
        table = [a.ctypes.data for a in arrays] + [loop.function, loop.data, rows.shape[1] - 1, 0, rows.itemsize, 0]
        table += [len(rows), totals.itemsize, rows.strides[0], totals.itemsize]
        arguments = tuple([Argument(kind, None, i == 2, place=i) for i in range(3)])  # noqa: PLR2004
        end = len(table)
        self._add(Inner(arguments, 3, 1, (end - 4,), ((end - 3,), (end - 2,), (end - 1,))), table)

    def _power(self, v: Value) -> None:
        """Add x ** exponent of a number."""
        x, exponent = v.args
        kind = kind_of(v.example)
        is_known = type(x) is Value and kind in FLOATS and kind_of(x.example) == kind
        ufunc = power(exponent, kind, is_array=type(x.example) is np.ndarray) if is_known else None
        if ufunc is None:
            raise NotWhole("pow")
        self._inner(v, ufunc, v.args[: ufunc.nin])

    def _inner(self, v: Value, ufunc: Any, args: tuple[Any, ...]) -> None:
        """Add the call of an inner loop."""
        kind = kind_of(v.example)
        operands = [self._operand(x, kind) for x in args]
        if kind not in FLOATS or len(operands) != ufunc.nin or v.number not in self._arrays:
            if v.is_array or kind not in FLOATS:
                raise NotWhole(ufunc.__name__)
            self._cell(v, str(kind))
        out = self._arrays[v.number]
        loop = inner_loop(ufunc, (kind,) * (ufunc.nin + 1)) if ufunc.nout == 1 else None
        if loop is None or any(x.dtype != out.dtype for x in operands):
            raise NotWhole(ufunc.__name__)
        arrays = [*operands, out]
        sizes, steps, outer = _product(arrays) if ufunc.signature is not None else _entries(v, arrays)
        table = [x.ctypes.data for x in arrays] + [loop.function, loop.data, *sizes, *steps]
        arguments = tuple(
            [Argument(str(kind), None, i == len(operands), place=i) for i in range(len(arrays))]
        )
        outer_places, outer_steps = [], [list[int]() for _ in arrays]
        for size, of in outer:
            outer_places.append(len(table))
            table.append(size)
            for places, step in zip(outer_steps, of, strict=True):
                places.append(len(table))
                table.append(step)
        part = Inner(arguments, len(arrays), len(sizes), tuple(outer_places), tuple(map(tuple, outer_steps)))
        self._add(part, table)

    def _operand(self, x: Any, kind: str | None) -> Any:
        """Return an operand of an inner loop as an array."""
        if type(x) is Value and not x.is_constant:
            found = self._arrays.get(x.number)
            if type(found) is not np.ndarray:
                raise NotWhole("an operand that has no place")
            return found
        example = x.example if type(x) is Value else x
        if type(example) in PLAIN:
            example = np.array(example, kind)
        elif not isinstance(example, np.ndarray | np.generic):
            raise NotWhole(f"an operand that is a {type(example).__name__}")
        found = np.asarray(example)
        self._held.append(found)
        return found


_MADE = {
    np.concatenate: _Planner._concatenate,
    put: _Planner._put,
    method("astype"): _Planner._cast,
    np.add.reduce: _Planner._reduce,
    np.maximum.reduce: _Planner._reduce,
    np.minimum.reduce: _Planner._reduce,
}


class _Lowering(Lowering):
    """A chain of which all operands, numbers among them, are read from memory."""

    def _is_read(self, x: Value) -> bool:
        return super()._is_read(x) if x.number in self._own else True


def _number(x: Any) -> Any:
    """Return a number: what stands for its copy into an output."""
    return x


def _product(arrays: list[Any]) -> tuple[list[int], list[int], list[Any]]:
    """Return sizes and steps of a stack of matrix products."""
    x, y, out = arrays
    if min(x.ndim, y.ndim) < 2:  # noqa: PLR2004
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


def _is_float(v: Value) -> bool:
    return type(v.example) not in PLAIN and getattr(getattr(v.example, "dtype", None), "kind", "") == "f"
