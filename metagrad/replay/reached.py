"""What code and objects reach: the names that a function reads, what a closure holds, attributes and settings.

Of a function: its cells, defaults and attributes, the globals that it names (and the functions within it), and of a
module or a class among them the attributes that it names. Of an object: its attributes, with slots, and those of its
classes. Libraries are left alone: NumPy, SciPy, the standard library, and this one.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from functools import cache, cached_property, partial
from itertools import islice
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

NUMBERS = (int, float, complex, str, bytes, bool, type(None), np.generic)
FEW = 64  # entries of a container
_LIBRARIES = frozenset({*sys.stdlib_module_names, "numpy", "scipy", "metagrad"})
_OF_NO_DATA = frozenset({"builtins", "numpy", "scipy", "metagrad", "logging", "threading", "functools", "typing", "re"})
_LIBRARIES_OF_HOLDERS = frozenset({"numpy", "scipy", "metagrad"})  # a task, np.vectorize, np.poly1d
_HEAP = 1 << 9  # the flag of a class that Python made
_HOLDERS = (*NUMBERS, list, dict, set, tuple, deque, np.ndarray, np.random.Generator, np.random.RandomState)


def reached(x: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names of what x reaches at the next level, and the things."""
    if isinstance(x, MethodType):
        yield "self", x.__self__
        x = x.__func__
    if isinstance(x, partial):
        yield from (("function", x.func), ("arguments", x.args), ("keywords", x.keywords))
    elif isinstance(x, FunctionType):
        yield from _of_function(x)
    elif isinstance(x, type):
        yield from _of_classes(x)
    else:
        if isinstance(x, dict):
            yield from ((str(key), item) for key, item in islice(x.items(), FEW))
        elif isinstance(x, tuple | list | deque):
            yield from ((str(i), item) for i, item in enumerate(islice(x, FEW)))
        elif isinstance(x, set | frozenset):
            yield "entries", repr(sorted(map(repr, x)))
        if type(x).__module__ != "builtins":
            yield from islice(getattr(x, "__dict__", {}).items(), FEW)
            for cls in type(x).__mro__:
                if not _is_library(cls.__module__):
                    slots = vars(cls).get("__slots__", ())
                    names = (slots,) if isinstance(slots, str) else slots
                    yield from ((name, getattr(x, name)) for name in names if hasattr(x, name))
            yield from _of_classes(type(x))


def rest_of(x: Any) -> Any:
    """Return what the entries of a long container of numbers are, beyond those that are looked at one by one."""
    if isinstance(x, tuple | list | deque) and len(x) > FEW:
        rest = [*islice(x, FEW, None)]
        if all(isinstance(item, NUMBERS) for item in rest):
            return hash(tuple(map(repr, rest)))
    return None


def _of_function(x: FunctionType) -> Iterator[tuple[str, Any]]:
    yield "code", id(x.__code__)
    cells = zip(x.__code__.co_freevars, x.__closure__ or (), strict=True)
    yield from ((name, cell.cell_contents) for name, cell in cells if _is_filled(cell))
    names = _names(x.__code__)
    for name in names:
        item = x.__globals__.get(name, sys.modules.get(name))
        if isinstance(item, ModuleType):
            if not _is_library(item.__name__):
                read = ((key, vars(item)[key]) for key in names if key in vars(item))
                yield from ((f"{name}.{key}", of) for key, of in read if _may_change(of))
        elif isinstance(item, type):
            if not _is_library(item.__module__):
                yield name, item
        elif _may_change(item):
            yield name, item
    yield from ((f"default {i}", item) for i, item in enumerate(x.__defaults__ or ()))
    yield from (x.__kwdefaults__ or {}).items()
    yield from vars(x).items()


def _of_classes(last: type) -> Iterator[tuple[str, Any]]:
    """Yield what a class holds, and those that it inherits from."""
    for cls in last.__mro__:
        if not _is_library(cls.__module__):
            yield from _of_class(cls)


def _of_class(cls: type) -> Iterator[tuple[str, Any]]:
    for key, of in vars(cls).items():
        item = of
        if isinstance(of, staticmethod | classmethod):
            item = of.__func__
        elif isinstance(of, property):
            item = of.fget
        elif isinstance(of, cached_property):
            item = of.func
        if not key.startswith("__") and (isinstance(item, FunctionType) or _may_change(item)):
            yield f"{cls.__name__}.{key}", item


@cache
def _names(code: CodeType) -> tuple[str, ...]:
    """Return the names that code reads, and the code within it."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return tuple(dict.fromkeys([*code.co_names, *(name for names in inner for name in names)]))


def _may_change(x: Any) -> bool:
    """Whether it may be a thing that code changes: data, or a function or an object that is not a library's."""
    if x is None or isinstance(x, ModuleType | type):
        return False
    if isinstance(x, _HOLDERS):
        return True
    if isinstance(x, MethodType):
        return _may_change(x.__self__) or _may_change(x.__func__)
    if isinstance(x, FunctionType):  # a closure of a library's holds what it was given
        return not _is_library(x.__globals__.get("__name__")) or x.__closure__ is not None
    module = str(type(x).__module__).partition(".")[0]
    if module in _LIBRARIES_OF_HOLDERS:
        return hasattr(x, "__dict__") and type(x).__flags__ & _HEAP != 0
    return isinstance(x, partial) or module not in _OF_NO_DATA  # a SimpleNamespace holds what it is given


def _is_library(module: str | None) -> bool:
    return str(module).partition(".")[0] in _LIBRARIES


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
