"""A chain as loops: what is read, computed and written for each entry, as data that tells nothing of sizes.

Calls of one shape are one loop. Its axes are joined where all operands lie in memory as if they were one, so that most
loops are flat; operands that are spread have steps of nothing. Sizes, steps in memory and numbers of the code are in a
table beside: one kernel serves all shapes of a pattern.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from metagrad.replay.buffers import Unit
from metagrad.replay.chains import has_axes, loop_of, loops_of
from metagrad.replay.cheap import FLOATS, Cheap, kind_of
from metagrad.replay.program import Value
from metagrad.replay.sums import ALONG, pattern

Step = tuple[Any, ...]


class Loop(NamedTuple):
    """Loops in one another: where the table has their sizes, and what is done for each entry.

    Steps: ("read", name, argument, steps in memory), ("take", name, argument), ("number", name, kind, place),
    (function, name, kind, names), ("sum", name, kind, argument, place of its length), ("look", name) for a NaN,
    ("write", argument, steps in memory, name), and ("keep", argument, place, name). At integers (`picks`): ("within",
    name, name of an integer, place of a length), ("pick", name, argument, steps, pairs of such a name and a step), and
    ("put", argument, steps, pairs, name).
    """

    sizes: tuple[int, ...]
    steps: tuple[Step, ...]


class Argument(NamedTuple):
    """An array or a number that a kernel is given: in the call, or by its address in the table if it stays there."""

    kind: str
    axes: int | None = None  # None: a number, or an array in the table
    is_written: bool = False
    place: int | None = None  # of its address in the table
    row: int | None = None  # where its address is that in a row, plus what the table has


class Kernel(NamedTuple):
    """What is compiled."""

    arguments: tuple[Argument, ...]
    loops: tuple[Loop, ...]

    @property
    def looks(self) -> bool:
        """Whether it looks for NaN."""
        return any(step[0] == "look" for loop in self.loops for step in loop.steps)

    def __str__(self) -> str:
        """Show it line by line."""
        lines = []
        for loop in self.loops:
            lines.append(f"for table{list(loop.sizes)}:")
            lines += ["    " + " ".join(map(str, step)) for step in loop.steps]
        return "\n".join(lines)


class Lowered(NamedTuple):
    """A kernel with what it is called with: the table, then operands and arrays to write that do not stay in place."""

    kernel: Kernel
    table: Any
    operands: list[Value]
    written: list[Value]
    rooms: list[tuple[Any, list[Value]]]  # arrays that numbers are left in, one by one
    looked: set[int]


def lowered(unit: Unit, calls: dict[int, Cheap], watched: set[int], static: dict[int, Any]) -> Lowered:
    """Return a chain as loops.

    `watched` are the numbers of the values in which it is to look for NaN, `static` the arrays that stay where they
    are, by the numbers of their values.
    """
    return Lowering(unit, calls, watched, static).done()


class Lowering:
    """How a chain becomes loops."""

    def __init__(self, unit: Unit, calls: dict[int, Cheap], watched: set[int], static: dict[int, Any]) -> None:
        """Begin; see `lowered`."""
        self._unit, self._calls, self._watched, self._static = unit, calls, watched, static
        self._own = {v.number for v in unit.values}
        self._here: set[int] = set()  # values of the loop at hand
        self._stored = {v.number for v in unit.stored}
        self._table: list[int] = [0, 1]  # steps in memory of 0 and 1 stand for themselves
        self._operands, self._written = _outer(unit, calls), [v for v in unit.stored if v.is_array]
        self._rooms = _rooms([v for v in unit.stored if not v.is_array])
        self._arguments = [self._argument(v, is_written=False) for v in self._operands]
        self._arguments += [self._argument(v, is_written=True) for v in self._written]
        self._place = {v.number: i for i, v in enumerate([*self._operands, *self._written])}
        self._seat: dict[int, tuple[int, int]] = {}  # of numbers, in rooms
        for room, values in self._rooms:
            self._seat |= {v.number: (len(self._arguments), i) for i, v in enumerate(values)}
            self._arguments.append(self._standing(room, is_written=True))
        self._steps: list[Step] = []
        self._names: dict[Any, str] = {}  # of what is at hand
        self._count = 0
        self.looked: set[int] = set()

    def done(self) -> Lowered:
        """Return the loops."""
        loops: list[Loop] = []
        for values in loops_of(self._unit.values):
            found = pattern(values[0])
            loops += [self._loop(values)] if found is None else self._sum(values[0], *found)
        operands, written = ([v for v in vs if v.number not in self._static] for vs in (self._operands, self._written))
        kernel, table = Kernel(tuple(self._arguments), tuple(loops)), np.array(self._table, np.int64)
        return Lowered(kernel, table, operands, written, self._rooms, self.looked)

    def _argument(self, v: Value, *, is_written: bool) -> Argument:
        array = self._static.get(v.number)
        if array is not None:
            return self._standing(array, is_written=is_written)
        return Argument(_kind(v), v.example.ndim if isinstance(v.example, np.ndarray) else None, is_written)

    def _standing(self, array: Any, *, is_written: bool) -> Argument:
        return Argument(array.dtype.str[1:], None, is_written, self._enter(array.ctypes.data))

    def _loop(self, values: list[Value]) -> Loop:
        shape, axes = loop_of(values[0])
        self._here = {v.number for v in values}
        arrays: dict[int, Value] = {}
        for v in values:
            reads = [x for x in self._calls[v.number].operands if type(x) is Value and self._is_read(x)]
            arrays |= {x.number: x for x in reads}
            if v.number in self._stored and v.is_array:
                arrays[v.number] = v
        steps = {number: memory_steps(x.example, len(shape), axes) for number, x in arrays.items()}
        sizes, steps = joined([shape[i] for i in axes], steps)
        places: dict[int, int] = {0: 0, 1: 1}
        codes = {number: tuple([self._step(s, places) for s in of]) for number, of in steps.items()}
        before, self._steps = self._names, []
        self._names = dict(before)
        for v in values:
            self._call(v, codes)
        if axes:
            self._names = before  # what loops hold is theirs
        return Loop(tuple([self._enter(n) for n in sizes]), tuple(self._steps))

    def _sum(self, v: Value, name: str, sizes: tuple[int, int, int]) -> list[Loop]:
        """Return the loops of a sum: along each row, or of rows that are added to one another in memory."""
        call, (kept, added, inner) = self._calls[v.number], sizes
        x, before = self._place[call.operands[0].number], self._names
        self._here, self._steps, self._names = {v.number}, [], dict(before)
        rows, length = self._enter(kept), self._enter(added)
        if name == ALONG:
            self._names[v.number] = found = self._new()
            self._steps.append((name, found, call.out, x, length))
            self._finish(v, found, (1,) if kept > 1 else ())
            self._names = before if kept > 1 else self._names
            return [Loop((rows,) if kept > 1 else (), tuple(self._steps))]
        out, width, step = self._place[v.number], self._enter(inner), self._enter(added * inner)
        total, entry, more = self._new(), self._new(), self._new()
        start = Loop((rows, width), (("number", total, call.out, self._enter(0)), ("write", out, (width, 1), total)))
        steps = (
            ("read", total, out, (width, 0, 1)),
            ("read", entry, x, (step, width, 1)),
            ("add", more, call.out, (total, entry)),
            ("write", out, (width, 0, 1), more),
        )
        self._look(v, total)
        end = [Loop((rows, width), (("read", total, out, (width, 1)), *self._steps))] if self._steps else []
        self._names = before
        return [start, Loop((rows, length, width), steps), *end]

    def _is_read(self, x: Value) -> bool:
        """Whether an operand is read from memory."""
        if x.number in self._own:
            return x.number not in self._here and has_axes(x)
        return isinstance(x.example, np.ndarray)

    def _call(self, v: Value, codes: dict[int, tuple[int, ...]]) -> None:
        call = self._calls[v.number]
        pairs = zip(call.operands, call.kinds, strict=True)
        names = tuple([self._cast(x, kind, codes) for x, kind in pairs])
        if call.name == "copy":
            name = self._names[v.number] = names[0]
        else:
            name = self._names[v.number] = self._new()
            self._steps.append((call.name, name, call.kinds[-1], names))
        self._finish(v, name, codes.get(v.number, ()))

    def _finish(self, v: Value, name: str, steps: tuple[int, ...]) -> None:
        """Look at a value, and leave it where others read it."""
        self._look(v, name)
        if v.number not in self._stored:
            return
        if v.is_array:
            self._steps.append(("write", self._place[v.number], steps, name))
        else:
            self._steps.append(("keep", *self._seat[v.number], name))

    def _cast(self, x: Any, kind: str, codes: dict[int, tuple[int, ...]]) -> str:
        """Return the name of an operand as a number of a kind."""
        if type(x) is not Value:
            return self._number(x, kind)
        name, has = self._read(x, codes), _kind(x)
        if has == kind:
            return name
        key = (name, kind)
        if key not in self._names:
            self._names[key] = self._new()
            self._steps.append((f"from {has}", self._names[key], kind, (name,)))
        return self._names[key]

    def _read(self, x: Value, codes: dict[int, tuple[int, ...]]) -> str:
        is_read = self._is_read(x)
        key = ("read", x.number) if is_read else x.number
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self._new()
            if is_read:
                self._steps.append(("read", name, self._place[x.number], codes[x.number]))
            else:
                self._steps.append(("take", name, self._place[x.number]))
            self._look(x, name)
        return name

    def _look(self, v: Value, name: str) -> None:
        if v.number in self._watched and v.number not in self.looked and _kind(v) in FLOATS:
            self.looked.add(v.number)
            self._steps.append(("look", name))

    def _number(self, x: Any, kind: str) -> str:
        bits = struct.unpack("q", struct.pack("d", float(x)))[0]
        key = ("number", bits, kind)
        if key not in self._names:
            self._names[key] = self._new()
            self._steps.append(("number", self._names[key], kind, self._enter(bits)))
        return self._names[key]

    def _new(self) -> str:
        self._count += 1
        return f"x{self._count}"

    def _step(self, step: int, places: dict[int, int]) -> int:
        """Return what stands for a step in memory: 0, 1, or its place in the table."""
        if step not in places:
            places[step] = self._enter(step)
        return places[step]

    def _enter(self, number: int) -> int:
        """Return the place in the table of a number that is entered."""
        self._table.append(number)
        return len(self._table) - 1


def _outer(unit: Unit, calls: dict[int, Cheap]) -> list[Value]:
    own = {v.number for v in unit.values}
    found = {x.number: x for v in unit.values for x in calls[v.number].operands if type(x) is Value}
    return [x for number, x in found.items() if number not in own]


def _rooms(numbers: list[Value]) -> list[tuple[Any, list[Value]]]:
    """Return arrays for numbers, one for each kind, with which of them it is for."""
    found = {kind: [v for v in numbers if _kind(v) == kind] for kind in sorted({_kind(v) for v in numbers})}
    return [(np.zeros(len(values), kind), values) for kind, values in found.items()]


def _kind(v: Value) -> str:
    found = kind_of(v.example)
    assert found is not None
    return found


def memory_steps(x: Any, count: int, axes: tuple[int, ...]) -> list[int]:
    """Return the steps in memory of an array along the axes of a loop over `count` of them, 0 where it is spread."""
    lead = count - np.ndim(x)
    return [0 if i < lead or x.shape[i - lead] == 1 else x.strides[i - lead] // x.itemsize for i in axes]


def joined(sizes: list[int], steps: dict[int, list[int]]) -> tuple[list[int], dict[int, list[int]]]:
    """Join neighbouring axes that all arrays walk through as if they were one."""
    i = len(sizes) - 2
    while i >= 0:
        if all(of[i] == of[i + 1] * sizes[i + 1] for of in steps.values()):
            sizes = [*sizes[:i], sizes[i] * sizes[i + 1], *sizes[i + 2 :]]
            steps = {number: [*of[:i], *of[i + 1 :]] for number, of in steps.items()}
        i -= 1
    return sizes, steps
