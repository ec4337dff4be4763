"""One block of memory for the buffers of a program, and of others that are never run at the same time.

    Packing   where in the block each buffer lies, from when it is written until it is read for the last time
    Arena     the block: programs that have an arena in common write over each other's buffers, one run after the other

Nothing in a buffer is needed after a run, as what a program returns lies elsewhere.
"""

from __future__ import annotations

import weakref
from threading import Lock
from typing import Any

import numpy as np

_LINE, _ENTRY = 64, 16  # bytes: where a line of the cache begins, and an array of less than one


class Packing:
    """Places for buffers that are needed for some time: those that are needed at the same time do not overlap."""

    def __init__(self) -> None:
        """Begin with none."""
        self._slots: list[list[int]] = []  # from when to when, and how large

    def begin(self, time: int, nbytes: int) -> int:
        """Return the number of a buffer of so many bytes, needed from a time on."""
        unit = _LINE if nbytes >= _LINE else _ENTRY
        self._slots.append([time, np.iinfo(np.int64).max, max(1, -(-nbytes // unit)) * unit])
        return len(self._slots) - 1

    def end(self, number: int, time: int) -> None:
        """Note when a buffer is needed for the last time."""
        self._slots[number][1] = time

    def places(self) -> tuple[list[int], int]:
        """Return where each begins, and the bytes of all: the largest first, each in the smallest gap that it fits."""
        order = sorted(range(len(self._slots)), key=lambda i: (-self._slots[i][2], self._slots[i][0]))
        first, last, size = np.array(self._slots, np.int64).reshape(-1, 3)[order].T
        found = np.zeros(len(order), np.int64)  # in that order
        for k, nbytes in enumerate(size.tolist()):
            beside = (first[:k] <= last[k]) & (last[:k] >= first[k])
            best, least, end = None, 0, 0
            for begin, taken in sorted(zip(found[:k][beside].tolist(), size[:k][beside].tolist(), strict=True)):
                if begin - end >= nbytes and (best is None or begin - end < least):
                    best, least = end, begin - end
                end = max(end, begin + taken)
            found[k] = end if best is None else best
        places = [0] * len(order)
        for i, place in zip(order, found.tolist(), strict=True):
            places[i] = place
        return places, int((found + size).max(initial=0))


class Arena:
    """Memory for one run at a time: who runs a program that has it holds the lock.

    Machine code has memory of its own, `code`, under the same lock: calls of NumPy's are let go of when there is some.
    """

    def __init__(self, lock: Any = None) -> None:
        """Begin with none."""
        self.lock = Lock() if lock is None else lock
        self.code = Arena(self.lock) if lock is None else self
        self._of_roots = Lock()
        self._roots: list[Any] = []  # held weakly: a block lives as long as a program has it
        self._programs: Any = weakref.WeakSet()

    def block(self, nbytes: int) -> Any:
        """Return memory of so many bytes: what other programs have, where that is enough."""
        with self._of_roots:
            alive = [root for ref in self._roots if (root := ref()) is not None]
            fitting = [root for root in alive if len(root) >= nbytes + _LINE]
            root = min(fitting, key=len) if fitting else np.zeros(nbytes + _LINE, np.uint8)
            self._roots = [weakref.ref(x) for x in (alive if fitting else [*alive, root])]
        begin = -root.ctypes.data % _LINE
        return root[begin : begin + nbytes]

    def share(self, program: Any) -> None:
        """Let a program's `block` be that of others, if it is large enough, or theirs be this one: by `move`."""
        self._programs.add(program)
        programs = [one for one in self._programs if one.block is not None]
        if not programs:
            return
        largest = max([one.block for one in programs], key=len)
        for one in programs:
            if one.block.base is not largest.base:
                one.move(largest)

    @property
    def nbytes(self) -> int:
        """The memory that programs have of it."""
        held = sum(int(root.nbytes) for ref in self._roots.copy() if (root := ref()) is not None)
        return held if self.code is self else held + self.code.nbytes
