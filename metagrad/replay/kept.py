"""What a part keeps of its own: counters, caches and random streams on objects and in closures.

Code that changes such a thing whenever it is called is no function of its arguments, and a program of it would be that
of one call. So it is looked at before and after the recording; where it changed, the tape goes on, whose own check
(`metagrad.unroll.purity`) then takes every step twice.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from itertools import islice
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from metagrad.replay.program import NotReplayable

_LARGE, _WIDTH = 1 << 17, 1021  # bytes; a prime number of entries
_DEPTH, _FEW, _SMALL = 4, 64, 1 << 12  # levels, entries of a container, bytes of an array: what is larger is data
_NUMBERS = (int, float, complex, str, bytes, bool, type(None), np.generic)


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
    if isinstance(x, _NUMBERS):
        yield name, (type(x).__name__, repr(x))
        return
    if id(x) in seen or depth == 0:
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
        yield f"len({name})", len(x) if isinstance(x, tuple | list | dict | set) else id(type(x))
        for key, item in _held(x):
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


def _held(x: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(x, MethodType):
        yield "self", x.__self__
        x = x.__func__
    if isinstance(x, FunctionType):
        cells = zip(x.__code__.co_freevars, x.__closure__ or (), strict=True)
        yield from ((name, cell.cell_contents) for name, cell in cells if _is_filled(cell))
        yield from ((name, x.__globals__[name]) for name in x.__code__.co_names if _is_own(x.__globals__.get(name)))
        yield from ((f"default {i}", item) for i, item in enumerate(x.__defaults__ or ()))
        yield from (x.__kwdefaults__ or {}).items()
        yield from vars(x).items()
    elif isinstance(x, dict):
        yield from ((str(key), item) for key, item in islice(x.items(), _FEW))
    elif isinstance(x, tuple | list | deque):
        yield from ((str(i), item) for i, item in enumerate(islice(x, _FEW)))
    elif not isinstance(x, type):
        yield from islice(getattr(x, "__dict__", {}).items(), _FEW)
        if not type(x).__module__.startswith(("metagrad.", "numpy")):
            members = [(f"{type(x).__name__}.{key}", item) for key, item in vars(type(x)).items()]
            yield from (pair for pair in members if _is_own(pair[1]) or isinstance(pair[1], FunctionType))


def _is_own(x: Any) -> bool:
    """Whether a global may be a thing that code changes: not a module, a class or a function."""
    if x is None or isinstance(x, ModuleType | type):
        return False
    if isinstance(x, (*_NUMBERS, list, dict, deque, np.ndarray, np.random.Generator, np.random.RandomState)):
        return True
    library = str(getattr(x, "__module__", None) or type(x).__module__).partition(".")[0]
    return library not in ("numpy", "scipy", "metagrad", "builtins", "math")


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
