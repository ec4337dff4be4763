"""What a part keeps of its own: counters, caches and random streams on objects and in closures.

Code that changes such a thing whenever it is called is no function of its arguments, and a program of it would be that
of one call. So it is looked at before and after the recording; where it changed, the tape goes on, whose own check
(`metagrad.unroll.purity`) then takes every step twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from metagrad.replay.closed import LOOKED_AT as MOST_BYTES
from metagrad.replay.closed import is_closed
from metagrad.replay.program import NotReplayable
from metagrad.replay.reached import FEW, NUMBERS, reached, rest_of

_PIECE = 1 << 17  # bytes at once
_DEPTH, _MOST, _SMALL = 8, 1000, 1 << 12  # levels, things; bytes of an array: what is larger is data


class Kept:
    """What some parts keep, as it was."""

    def __init__(self, *parts: Any, whole: bool = False) -> None:
        """Look at it; `whole`: at large arrays, too."""
        self._parts, self._whole = parts, whole
        self.is_cut = False  # whether something is too deep, or too much, to be looked at
        self._was = self._look()

    @property
    def seen(self) -> dict[str, Any]:
        """What was seen, without the parts themselves."""
        return self._was

    def is_closed(self) -> bool:
        """Whether all that the parts reach can be read through (`metagrad.replay.closed`)."""
        return is_closed(*self._parts)

    def refuse_changes(self) -> None:
        """Raise NotReplayable where something is no longer what it was."""
        now = self._look()
        changed = sorted(name for name in self._was.keys() | now.keys() if self._was.get(name) != now.get(name))
        if changed:
            raise NotReplayable(f"`{changed[0]}` changes when it is called")

    def _look(self) -> dict[str, Any]:
        seen: set[int] = set()
        found: dict[str, Any] = {}
        for part in self._parts:
            for name, x in self._contents(type(part).__name__, part, _DEPTH, seen):
                key = name
                while key in found:  # two things of one name
                    key += "'"
                found[key] = x
        return found

    def _contents(self, name: str, x: Any, depth: int, seen: set[int]) -> Iterator[tuple[str, Any]]:
        """Yield the names and values of numbers, small arrays and random streams that x is or holds."""
        if isinstance(x, NUMBERS):
            yield name, (type(x).__name__, repr(x))
            return
        if id(x) in seen:
            return
        if depth == 0 or len(seen) > _MOST:
            self.is_cut = True
            return
        seen.add(id(x))
        if isinstance(x, np.ndarray):
            if x.dtype == object or (x.nbytes > _SMALL and not self._whole):
                yield name, id(x)
                self.is_cut = self.is_cut or x.dtype == object
            else:
                yield name, (x.shape, x.dtype.str, _content(x))
        elif isinstance(x, np.random.Generator | np.random.RandomState):
            yield name, repr(x.bit_generator.state if isinstance(x, np.random.Generator) else x.get_state())
        else:
            is_container = isinstance(x, tuple | list | dict | set | deque)
            yield f"len({name})", (len(x), rest_of(x)) if is_container else id(type(x))
            if is_container and len(x) > FEW and rest_of(x) is None:
                self.is_cut = True
            for key, item in reached(x):
                yield from self._contents(f"{name}.{key}", item, depth - 1, seen)


def _content(x: np.ndarray) -> Any:
    """Return what tells an array from what it was, within the process.

    Of a small one Python's own hash of its bytes; of a larger one, for each piece, the sum of its words times odd
    numbers drawn at random, modulo 2**64: it surely differs where one word does, and else but once in 2**63 or so, in a
    third of the time. Of a very large array some pieces stand for all: what changes in others is left to the
    comparisons with the tape.
    """
    if x.nbytes <= _PIECE or not (x.flags.c_contiguous or x.flags.f_contiguous):
        return hash((x if x.nbytes <= MOST_BYTES else x[:: 1 + x.nbytes // MOST_BYTES]).tobytes())
    whole = x.ravel("K").view(np.uint8)
    words, rest = whole[: whole.size // 8 * 8].view(np.uint64), whole[whole.size // 8 * 8 :]
    size, step = _PIECE // 8, _PIECE // 8
    if x.nbytes > MOST_BYTES:
        size = size // 32
        step = max(size, x.nbytes * size // MOST_BYTES)
    count = (len(words) - size) // step + 1
    pieces = np.lib.stride_tricks.as_strided(words, (count, size), (8 * step, 8), writeable=False)
    weights = _weights()[:size]
    last = words[len(words) - size :]
    return hash((pieces @ weights).tobytes()), int(last @ weights), rest.tobytes()


@cache
def _weights() -> np.ndarray:
    """Return odd numbers of this process, one for each word of a piece."""
    drawn = np.random.default_rng().integers(0, 1 << 63, _PIECE // 8, dtype=np.uint64)
    return (drawn << np.uint64(1)) | np.uint64(1)
