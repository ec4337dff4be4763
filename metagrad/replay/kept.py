"""What a part keeps of its own: counters, caches and random streams on objects and in closures.

Code that changes such a thing whenever it is called is no function of its arguments, and a program of it would be that
of one call. So it is looked at before and after the recording; where it changed, the tape goes on, whose own check
(`metagrad.unroll.purity`) then takes every step twice.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from metagrad.replay.program import NotReplayable
from metagrad.replay.reached import NUMBERS, reached, rest_of

_LARGE, _WIDTH = 1 << 17, 1021  # bytes; a prime number of entries
_DEPTH, _MOST, _SMALL = 8, 1000, 1 << 12  # levels, things; bytes of an array: what is larger is data


class Kept:
    """What some parts keep, as it was."""

    def __init__(self, *parts: Any, whole: bool = False) -> None:
        """Look at it; `whole`: at large arrays, too."""
        self._parts, self._whole = parts, whole
        self._was = self._look()

    @property
    def seen(self) -> dict[str, Any]:
        """What was seen, without the parts themselves."""
        return self._was

    def refuse_changes(self) -> None:
        """Raise NotReplayable where something is no longer what it was."""
        now = self._look()
        changed = sorted(name for name in self._was.keys() | now.keys() if self._was.get(name) != now.get(name))
        if changed:
            raise NotReplayable(f"`{changed[0]}` changes when it is called")

    def _look(self) -> dict[str, Any]:
        seen: set[int] = set()
        return {
            name: x
            for part in self._parts
            for name, x in _contents(type(part).__name__, part, _DEPTH, seen, self._whole)
        }


def _contents(name: str, x: Any, depth: int, seen: set[int], whole: bool) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of numbers, small arrays and random streams that x is or holds."""
    if isinstance(x, NUMBERS):
        yield name, (type(x).__name__, repr(x))
        return
    if id(x) in seen or depth == 0 or len(seen) > _MOST:
        return
    seen.add(id(x))
    if isinstance(x, np.ndarray):
        if x.dtype == object or (x.nbytes > _SMALL and not whole):
            yield name, id(x)
        else:
            yield name, (x.shape, x.dtype.str, _content(x))
    elif isinstance(x, np.random.Generator | np.random.RandomState):
        yield name, repr(x.bit_generator.state if isinstance(x, np.random.Generator) else x.get_state())
    else:
        is_container = isinstance(x, tuple | list | dict | set | deque)
        yield f"len({name})", (len(x), rest_of(x)) if is_container else id(type(x))
        for key, item in reached(x):
            yield from _contents(f"{name}.{key}", item, depth - 1, seen, whole)


def _content(x: np.ndarray) -> Any:
    """Return what tells an array from what it was: of a large one the sums of columns, as if its rows were so wide.

    It is read once, as integers. Entries that changed places have changed columns, but for distances of so many.
    """
    if x.nbytes <= _LARGE or x.itemsize != 8 or not (x.flags.c_contiguous or x.flags.f_contiguous):
        return hashlib.sha1(x.tobytes()).digest()
    whole = x.ravel("K").view(np.uint64)
    rows = whole.size // _WIDTH
    table, rest = whole[: rows * _WIDTH].reshape(rows, _WIDTH), whole[rows * _WIDTH :]
    return hashlib.sha1(table.sum(axis=0).tobytes() + rest.tobytes()).digest()
