"""A program that is one function of machine code: called for one step, or for a row of them (`stretches`)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.buffers import Buffers
from metagrad.replay.cheap import kind_of
from metagrad.replay.numpy_code import Source
from metagrad.replay.program import PLAIN
from metagrad.replay.whole import Planned
from metagrad.replay.whole_code import steps_of
from metagrad.replay.whole_table import NotWhole

_STEP = np.dtype(np.int64).itemsize


class Place(NamedTuple):
    """How a leaf lies in memory: an array, or a number, which lies in an array of one entry."""

    kind: type  # what code is given: an array, one of NumPy's numbers, or one of Python's
    dtype: Any
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, x: Any) -> Place:
        """Return how x lies."""
        if type(x) is np.ndarray:
            return cls(np.ndarray, x.dtype, x.shape, x.strides)
        return cls(type(x), np.dtype(kind_of(x) or object), (), ())

    @property
    def is_usual(self) -> bool:
        """Whether it is an array with axes, as a new one lies."""
        return self.kind is np.ndarray and bool(self.shape) and self.strides == np.empty(self.shape, self.dtype).strides

    @property
    def nbytes(self) -> int:
        """The distance from one to the next where many lie in a row."""
        size: int = self.dtype.itemsize
        for n in self.shape:
            size *= n
        return size

    def room(self, count: int) -> Any:
        """Return memory for `count` of them, (count, ...)."""
        found = np.empty((count, *self.shape), self.dtype)
        if found.strides[1:] == self.strides:
            return found
        return np.ndarray(found.shape, self.dtype, found, strides=(self.nbytes, *self.strides))

    def column(self, room: Any) -> list[Any]:
        """Return what lies in a room, one by one, as code is given it."""
        if self.kind in PLAIN:
            return room.tolist()  # type: ignore[no-any-return]
        if self.kind is np.ndarray and not self.shape:
            return [room[i : i + 1].reshape(()) for i in range(len(room))]
        return list(room)


_HEAD = object.__basicsize__  # of a Python object: NumPy's C struct of an array goes on with where its entries begin
_read = ctypes.c_void_p.from_address


def _is_behind_the_head() -> bool:
    some: list[Any] = [
        np.empty(3),
        np.empty((2, 5))[1:, ::2],
        np.empty((), np.float32),
        np.ndarray((2,), np.int64, bytearray(16)),
    ]
    return all(_read(id(x) + _HEAD).value == x.ctypes.data for x in some)


def _told_by_numpy(x: Any) -> int:
    return int(x.__array_interface__["data"][0])


def _read_off(x: Any) -> int:
    return _read(id(x) + _HEAD).value or 0


# Where the entries of an array begin: read where that is, which takes a tenth of the time that NumPy takes to tell.
address: Callable[[Any], int] = _read_off if _is_behind_the_head() else _told_by_numpy


class WholeProgram:
    """The function with its table, and how what it is given and what it returns lies in memory."""

    def __init__(self, planned: Planned, tree: Tree) -> None:
        """Compile it; `tree`: what the outputs are the leaves of."""
        self._steps, self._held = steps_of(planned.whole), planned.held
        # Together, so that an interruption leaves them as they were, or as they are to be.
        self._memory = planned.table, planned.table.ctypes.data, planned.block
        self._of_block = planned.of_block
        self.width, self.tree, self.same_as = planned.whole.width, tree, planned.same_as
        self.inputs = [Place.of(v.example) for v in planned.inputs]
        self.outputs = [Place.of(v.example) for v in planned.outputs]
        self._made = [(place, place.is_usual) for place in self.outputs]
        if any(place.dtype == object for place in (*self.inputs, *self.outputs)):
            raise NotWhole("a leaf that is no number")
        self._distances: Any = None  # those that were asked for last
        self._built, self._apart = built(tree), dict[Any, Callable[..., Tree]]()

    def move(self, block: Any) -> None:
        """Let the buffers lie in another block, which is large enough. Not while it runs."""
        table = self._memory[0].copy()
        table[self._of_block] += block.ctypes.data - self.block.ctypes.data
        self._memory = table, table.ctypes.data, block

    @property
    def block(self) -> Any:
        """The memory of the buffers, None where there are none."""
        return self._memory[2]

    def distances(self, count: int, steps: tuple[int, ...]) -> Any:
        """Return how far so many steps lie from the first, (count, columns), each column at a distance of its own."""
        if self._distances is None or self._distances[0] != (count, steps):
            self._distances = (count, steps), np.multiply.outer(np.arange(count), steps)
        return self._distances[1]

    def run(self, rows: Any, count: int) -> int:
        """Take steps, with a row of addresses for each, (count, width), and return how many were taken."""
        return self._steps(count, self._memory[1], address(rows))

    def apart(self, first: int, end: int, tree: Tree) -> Callable[[list[Any]], list[Tree]]:
        """Return what makes trees of some outputs that lie side by side; `tree` is the structure of one."""
        places = self.outputs[first:end]
        make = self._apart.get((first, end))
        if make is None:
            make = self._apart[first, end] = built(tree)

        def trees(rooms: list[Any]) -> list[Tree]:
            columns = [place.column(room) for place, room in zip(places, rooms, strict=True)]
            return [make(*row) for row in zip(*columns, strict=True)]

        return trees

    def __call__(self, *inputs: Any) -> Tree | None:
        """Return the outputs of one step as a tree, None where the program does not apply."""
        given = [_as_array(x, place) for x, place in zip(inputs, self.inputs, strict=True)]
        rooms = [np.empty(place.shape, place.dtype) if usual else place.room(1) for place, usual in self._made]
        if self.run(np.array([address(x) for x in (*given, *rooms)], np.int64), 1) == 0:
            return None
        pairs = zip(self._made, rooms, strict=True)
        return self._built(*[room if usual else place.column(room)[0] for (place, usual), room in pairs])


def _as_array(x: Any, place: Place) -> Any:
    return x if type(x) is np.ndarray else np.array(x, place.dtype)


def built(tree: Tree) -> Callable[..., Tree]:
    """Return the function that puts leaves into a tree's structure."""
    source, count = Source(Buffers()), len(ad.leaves(tree))
    names = [f"x{i}" for i in range(count)]
    text = f"def built({', '.join(names)}):\n    return {source.tree(tree, iter(names))}\n"
    exec(compile(text, "<metagrad.replay>", "exec"), source.scope)
    found: Callable[..., Tree] = source.scope["built"]
    return found
