"""The table of a whole step: parts one after the other, and where the arrays lie that they work on.

Addresses, sizes and steps in memory are numbers of the table; of what moves from step to step the address is in a row
beside it, and the table has how far from there an array begins. While it is made, a room stands for what moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from metagrad.replay.cheap import kind_of
from metagrad.replay.loops import Argument, Kernel, Loop, joined, memory_steps
from metagrad.replay.program import Value

_CASTS = {("f8", "f8"), ("f4", "f4"), ("b1", "b1"), ("i8", "i8"), ("i8", "f8"), ("i8", "f4")}


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


class Table:
    """Parts, and the arrays by the numbers of their values."""

    def __init__(self, arrays: dict[int, Any], block: Any) -> None:
        """Begin with arrays that have been placed in a block, None where there are none."""
        self.arrays, self._block = arrays, block
        self.held: list[Any] = [] if block is None else [block]
        self.parts: list[tuple[int, Kernel | Inner]] = []
        self._rooms: list[tuple[int, int, int]] = []  # of what moves: from where to where, and the place in a row
        self._standing: list[Any] = []  # rooms that nothing is written into, needed while the table is made
        self._numbers: list[int] = []
        self._addresses: list[int] = []  # where those of what stays stand

    @property
    def numbers(self) -> Any:
        """The table itself."""
        return np.array(self._numbers, np.int64)

    def move(self, v: Value, row: int, number: int) -> None:
        """Give an input or an output a room, which stands for wherever it will lie, under a number."""
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
        self._standing.append(room)
        self.arrays[number] = room

    def knows(self, view: Any) -> bool:
        """Whether an array lies in memory that is held, or in a room of what moves."""
        return any(type(x) is np.ndarray and np.may_share_memory(x, view) for x in (*self.held, *self._standing))

    def add(self, part: Kernel | Inner, table: Iterable[int]) -> None:
        """Add a part with what it finds in its table."""
        numbers = list(table)
        arguments = tuple([self._moved(a, numbers) for a in part.arguments])
        self._addresses += [len(self._numbers) + a.place for a in arguments if a.row is None and a.place is not None]
        self.parts.append((len(self._numbers), part._replace(arguments=arguments)))
        self._numbers += numbers

    def within(self, block: Any) -> Any:
        """Return where in the table addresses in a block stand."""
        addresses = np.array(self._addresses, np.int64)
        return addresses[:0] if block is None else addresses[_are_in(self.numbers[addresses], block)]

    def lasting(self) -> list[Any]:
        """Return what is held for as long as the table is used: neither the block nor what stands for what moves."""
        rooms = [*self._standing, *([] if self._block is None else [self._block])]
        held = {id(x): x for x in self.held}.values()
        return [x for x in held if not any(np.may_share_memory(x, room) for room in rooms)]

    def _moved(self, argument: Argument, table: list[int]) -> Argument:
        """Let an argument that moves be found by its row; the table has how far from there it lies."""
        assert argument.place is not None
        address = table[argument.place]
        for start, end, row in self._rooms:
            if start <= address < end:
                table[argument.place] = address - start
                return argument._replace(row=row)
        return argument

    def constant(self, x: Value) -> Any:
        """Return a constant as an array."""
        if type(x.example) is np.ndarray:
            found = x.example
        else:
            kind = kind_of(x.example)
            if kind is None:
                raise NotWhole(f"a constant that is a {type(x.example).__name__}")
            found = np.array(x.example, kind)
        self.arrays[x.number] = found
        self.held.append(found)
        return found

    def cell(self, v: Value, kind: str) -> Any:
        """Return memory for a number."""
        found = self.arrays[v.number] = np.zeros((), kind)
        self.held.append(found)
        return found

    def kernel(self, arrays: list[Any], steps: tuple[Any, ...], sizes: tuple[int, ...] = ()) -> None:
        """Add a loop that is written by hand; the last array is written where there are several."""
        last = len(arrays) - 1
        arguments = tuple([Argument(x.dtype.str[1:], None, 0 < i == last, place=i) for i, x in enumerate(arrays)])
        places = tuple(range(len(arrays), len(arrays) + len(sizes)))
        self.add(Kernel(arguments, (Loop(places, steps),)), [x.ctypes.data for x in arrays] + list(sizes))

    def own_room(self, v: Value) -> Any:
        """Return memory of a result's own."""
        found = self.arrays.get(v.number)
        if found is None:
            found = np.empty_like(v.example)
            if found.strides != v.example.strides or not found.size:
                raise NotWhole("a result with gaps in memory")
            self.arrays[v.number] = found
            self.held.append(found)
        return found

    def entrywise(
        self, arrays: list[Any], steps: Callable[[Any, Any], list[Any]], numbers: tuple[int, ...] = ()
    ) -> None:
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
        self.add(Kernel(arguments, (Loop(loops, tuple(steps(codes, places))),)), table)

    def copy(self, source: Any, out: Any) -> None:
        """Add a copy of an array, of another kind maybe."""
        kinds = source.dtype.str[1:], out.dtype.str[1:]
        if kinds not in _CASTS:
            raise NotWhole(f"a copy of {kinds[0]} to {kinds[1]}")

        def steps(codes: Any, places: Any) -> Any:
            cast = [] if kinds[0] == kinds[1] else [("from i8", "y", kinds[1], ("x",))]
            return [("read", "x", 0, codes[0]), *cast, ("write", 1, codes[1], "y" if cast else "x")]

        self.entrywise([np.broadcast_to(source, out.shape), out], steps)

    def fill(self, out: Any) -> None:
        """Add that an array is filled with zeros."""
        kind = out.dtype.str[1:]
        self.entrywise(
            [out], lambda codes, places: [("number", "x", kind, places[0]), ("write", 0, codes[0], "x")], (0,)
        )

    def array(self, x: Any) -> Any:
        """Return an operand as an array."""
        if type(x) is Value and not x.is_constant:
            found = self.arrays.get(x.number)
        else:
            found = x.example if type(x) is Value else x
        if type(found) is not np.ndarray:
            raise NotWhole("an operand that has no place")
        self.held.append(found)
        return found


def _are_in(addresses: Any, block: Any) -> Any:
    return (addresses >= block.ctypes.data) & (addresses < block.ctypes.data + block.nbytes)
