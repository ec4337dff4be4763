"""What a computation depends on, as one hash: the data and the code of objects, never where they lie in memory."""

from __future__ import annotations

import copyreg
import hashlib
from functools import cached_property
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from metagrad.xp import is_array, to_host

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def fingerprint(*parts: Any) -> str:
    """Return a hash of what `parts` are made of: the same in every process that makes them in the same way.

    Of arrays, numbers and containers what they hold; of objects their attributes, in slots too, and their class; of
    classes their members and bases; of functions the compiled code, the defaults and what they enclose. Not compared:
    what code reads from global variables, the inside of modules (by name and version only), cached properties, and
    what an object keeps even from `copy`. Another version of Python compiles to another hash.

    >>> fingerprint(1.0, [np.zeros(2)]) == fingerprint(1.0, [np.zeros(2)]) != fingerprint(1.0, [np.zeros(3)])
    True
    """
    walk = _Walk()
    for part in parts:
        walk.add(part)
    return walk.hash.hexdigest()


class _Walk:
    """A walk over what objects are made of; classes and functions are entered once, cycles never twice."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self._entered: dict[int, tuple[int, Any]] = {}  # with the object, so that its id stays its own

    def add(self, part: Any, above: tuple[int, ...] = ()) -> None:
        self._say(type(part).__qualname__)
        if isinstance(part, _PLAIN):
            self._say(repr(part))
        elif isinstance(part, ModuleType):
            self._say(f"{part.__name__} {getattr(part, '__version__', '')}")
        elif is_array(part) or isinstance(part, np.generic):
            self._add_array(to_host(part), above)
        elif isinstance(part, type | FunctionType) and id(part) in self._entered:
            self._say(f"number {self._entered[id(part)][0]}")
        elif id(part) not in above:
            if isinstance(part, type | FunctionType):
                self._entered[id(part)] = len(self._entered), part
            for piece in _pieces(part):
                self.add(piece, (*above, id(part)))

    def _add_array(self, array: Any, above: tuple[int, ...]) -> None:
        self._say(f"{array.dtype}{array.shape}")
        if array.dtype.hasobject:  # its bytes are addresses
            self.add(array.tolist(), above)
        else:
            self.hash.update(np.ascontiguousarray(array).tobytes())

    def _say(self, text: str) -> None:
        self.hash.update(f"{len(text)} {text}".encode())


def _pieces(part: Any) -> list[Any]:
    """Return what `part` consists of, in an order that every process finds again."""
    kind = type(part)
    if kind in (tuple, list):
        return [len(part), *part]
    if kind is dict:
        return [len(part), *(x for key in sorted(part, key=fingerprint) for x in (key, part[key]))]
    if kind in (set, frozenset):
        return sorted(map(fingerprint, part))
    return _pieces_of_class(part) if isinstance(part, type) else _code_of(part) or [kind, *_state(part)]


def _code_of(part: Any) -> list[Any]:
    """Return what a function consists of, however it is wrapped; nothing for what is no function."""
    if isinstance(part, CodeType):
        return [part.co_code, part.co_names, part.co_consts]
    if isinstance(part, FunctionType):
        enclosed = [cell.cell_contents for cell in part.__closure__ or () if cell != CellType()]
        return [part.__code__, part.__defaults__, part.__kwdefaults__, enclosed]
    # a property's, functools' and static methods', numba's
    inner = (getattr(part, name, None) for name in ("fget", "__wrapped__", "py_func"))
    return [one for one in inner if isinstance(one, FunctionType)]


def _pieces_of_class(kind: type) -> list[Any]:
    if kind.__module__ in ("builtins", "abc", "typing"):
        return [kind.__qualname__]
    members = {name: member for name, member in vars(kind).items() if not name.startswith("__") or name == "__call__"}
    return [kind.__qualname__, members, kind.__bases__]


def _state(part: Any) -> list[Any]:
    """Return the data of an object as `copy` would take it: attributes, slots, or what a class in C gives."""
    registered = copyreg.dispatch_table.get(type(part))
    try:
        reduced = part.__reduce_ex__(4) if registered is None else registered(part)
    except Exception:  # a lock, a stream: nothing that a copy could have either
        return []
    if isinstance(reduced, str):  # the name of a global
        return [reduced]
    arguments, state, *items = (*reduced[1:5], None, None, None)[:4]
    if isinstance(state, dict):
        state = {name: x for name, x in state.items() if not _is_cached(type(part), name)}
    return [arguments, state, *(list(item) for item in items if item is not None)]


def _is_cached(kind: type, name: str) -> bool:
    return any(isinstance(vars(base).get(name), cached_property) for base in kind.__mro__)
