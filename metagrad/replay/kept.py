"""What a part keeps of its own: counters, caches and random streams on objects and in closures.

Code that changes such a thing whenever it is called is no function of its arguments, and a program of it would be that
of one call. So it is looked at before and after the recording; where it changed, the tape goes on, whose own check
(`metagrad.unroll.purity`) then takes every step twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from metagrad.replay.closed import Signature, read_through
from metagrad.replay.content import content
from metagrad.replay.program import NotReplayable
from metagrad.replay.reached import FEW, NUMBERS, reached, rest_of
from metagrad.xp import device_of

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
            for name, x in self._things(type(part).__name__, part, _DEPTH, seen):
                key = name
                while key in found:  # two things of one name
                    key += "'"
                found[key] = x
        return found

    def _things(self, name: str, x: Any, depth: int, seen: set[int]) -> Iterator[tuple[str, Any]]:
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
        if device_of(x) is not None:
            yield name, (x.shape, x.dtype.str, content(x) if self._whole or x.nbytes <= _SMALL else id(x))
        elif isinstance(x, np.ndarray):
            if x.dtype == object or (x.nbytes > _SMALL and not self._whole):
                yield name, id(x)
                self.is_cut = self.is_cut or x.dtype == object
            else:
                yield name, (x.shape, x.dtype.str, content(x))
        elif isinstance(x, np.random.Generator | np.random.RandomState):
            yield name, repr(x.bit_generator.state if isinstance(x, np.random.Generator) else x.get_state())
        else:
            is_container = isinstance(x, tuple | list | dict | set | deque)
            yield f"len({name})", (len(x), rest_of(x)) if is_container else id(type(x))
            if is_container and len(x) > FEW and rest_of(x) is None:
                self.is_cut = True
            for key, item in reached(x):
                yield from self._things(f"{name}.{key}", item, depth - 1, seen)


class Looked:
    """What some parts reach before a run, looked at when somebody asks, each way once."""

    def __init__(self, *parts: Any) -> None:
        """Take the parts."""
        self._parts = parts

    @cached_property
    def signature(self) -> Signature | None:
        """What code that can be read through depends on; None for other code."""
        return read_through(*self._parts)

    @cached_property
    def kept(self) -> Kept:
        """What they keep."""
        return Kept(*self._parts, whole=True)
