"""Whether code can be read through: all that it names is data that is looked at, or a function known to be pure.

Of such code nothing can change its numbers that a look at what it reaches (`kept`) does not see. Other code may read a
clock, a file, the state of a library or memory behind a buffer: there every run is compared with the tape. What is
read is the byte code: names of globals and builtins, modules, attributes that are known to be impure, imports and
assignments to globals.
"""

from __future__ import annotations

import builtins
import dis
from collections import deque
from collections.abc import Callable
from functools import cache, cached_property, partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from metagrad.replay.reached import NUMBERS

_PURE_MODULES = ("numpy", "math", "operator", "metagrad", "scipy.special", "typing", "dataclasses", "collections.abc")
# Attributes: what they give may be another thing at another time.
_IMPURE_NAMES = (
    "random load loads loadtxt genfromtxt fromfile fromregex memmap frombuffer geterr seterr setbufsize lib ctypeslib "
    "core _core f2py testing show_config get_include __globals__ __dict__ __code__ __closure__ __builtins__ time clock "
    "now open read readline readlines recv next environ getenv cell_contents"
)
_BUILTIN_NAMES = (
    "abs all any bool callable complex dict divmod enumerate filter float frozenset hasattr int isinstance issubclass "
    "len list map max min object pow property range repr reversed round set slice sorted staticmethod str sum super "
    "tuple type zip bytes format NotImplemented Ellipsis True False None __build_class__ __debug__"
)
# Methods that make and compare objects: no step calls them.
_NAMES_NOT_CALLED = (
    "__init__ __new__ __post_init__ __repr__ __str__ __eq__ __hash__ __reduce__ __reduce_ex__ __getstate__ "
    "__setstate__ __init_subclass__ __class_getitem__ __replace__ __setattr__ __delattr__ __match_args__"
)
_IMPURE, _PURE_BUILTINS = frozenset(_IMPURE_NAMES.split()), frozenset(_BUILTIN_NAMES.split())
_NOT_CALLED = frozenset(_NAMES_NOT_CALLED.split())
_DISPATCHER = type(np.sum)  # NumPy's functions that arrays of other kinds may take over
_INERT = (*NUMBERS, slice, range, np.dtype, type(Ellipsis), type(NotImplemented))
_MOST = 2000  # things
LOOKED_AT = 1 << 26  # bytes of an array, which is told by all of them


def is_closed(*parts: Any) -> bool:
    """Whether all that some parts reach can be read through."""
    try:
        return _Reading().all_of(list(parts))
    except Exception:  # of a descriptor, a broken attribute, or code of another kind: not to be read
        return False


class _Reading:
    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._held: list[Any] = []  # so that no number is given twice

    def all_of(self, things: list[Any]) -> bool:
        stack = things
        while stack:
            x = stack.pop()
            if isinstance(x, _INERT) or id(x) in self._seen:
                continue
            self._seen.add(id(x))
            self._held.append(x)
            if len(self._seen) > _MOST:
                return False
            more = self._below(x)
            if more is None:
                return False
            stack += more
        return True

    def _below(self, x: Any) -> list[Any] | None:
        """Return what is to be read next, None where x is not to be read."""
        for kinds, read in self._kinds:
            if isinstance(x, kinds):
                return read(x)
        if isinstance(x, np.ufunc):
            return []
        return self._of_object(x)

    @property
    def _kinds(self) -> tuple[tuple[Any, Callable[[Any], list[Any] | None]], ...]:
        """How things of each kind are read, the first that fits."""
        return (
            (np.ndarray, lambda x: [] if _is_looked_at(x) else None),
            (dict, lambda x: [*x.keys(), *x.values()]),
            ((tuple, list, set, frozenset, deque), self._of_entries),
            (MethodType, lambda x: [x.__self__, x.__func__]),
            (partial, lambda x: [x.func, x.args, x.keywords]),
            (FunctionType, lambda x: [] if _is_pure_module(x.__module__) else self._of_function(x)),
            (ModuleType, lambda x: [] if _is_pure_module(x.__name__) else None),
            (type, self._of_class),
            (BuiltinFunctionType, lambda x: [] if _is_pure_module(x.__module__) else None),
            (_DISPATCHER, lambda x: [] if _is_pure_module(x.__module__) else None),
        )

    def _of_entries(self, x: Any) -> list[Any] | None:
        of_class = [] if type(x).__module__ == "builtins" else self._of_class(type(x))
        return None if of_class is None else [*x, *of_class]

    def _of_function(self, x: FunctionType) -> list[Any] | None:
        found: list[Any] = [*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values(), *vars(x).values()]
        for cell in x.__closure__ or ():
            found.append(cell.cell_contents)
        names = _names(x.__code__)
        if names is None:
            return None
        for name in names:
            if name in x.__globals__:
                found.append(x.__globals__[name])
            elif name not in _PURE_BUILTINS and not _is_exception(getattr(builtins, name, None)):
                return None
        modules = [m for name in names if isinstance(m := x.__globals__.get(name), ModuleType)]
        if any(not _is_pure_module(m.__name__) for m in modules):
            return None
        return found

    def _of_class(self, cls: type) -> list[Any] | None:
        found: list[Any] = []
        for base in cls.__mro__:
            if base.__module__ == "builtins" or _is_pure_module(base.__module__) or base.__module__ in ("abc", "enum"):
                continue
            for name, item in vars(base).items():
                if name in _NOT_CALLED or (name.startswith("__") and not callable(item)):
                    continue
                if isinstance(item, staticmethod | classmethod):
                    found.append(item.__func__)
                elif isinstance(item, property):
                    found += [f for f in (item.fget,) if f is not None]
                elif isinstance(item, cached_property):
                    found.append(item.func)
                elif type(item).__name__ in ("member_descriptor", "getset_descriptor", "_tuplegetter"):
                    continue
                else:
                    found.append(item)
        return found

    def _of_object(self, x: Any) -> list[Any] | None:
        """Return what an object of a class that can be read holds."""
        cls = type(x)
        of_python = [base for base in cls.__mro__ if base is not object and base.__module__ == "builtins"]
        if of_python or not (hasattr(x, "__dict__") or hasattr(cls, "__slots__")):
            return None
        below = self._of_class(cls)
        if below is None or getattr(cls, "__flags__", 0) & (1 << 9) == 0:  # a class that C made is no heap type
            return None
        slots = [base.__dict__.get("__slots__", ()) for base in cls.__mro__]
        names = [name for of in slots for name in ((of,) if isinstance(of, str) else of) if hasattr(x, name)]
        return [*below, *getattr(x, "__dict__", {}).values(), *[getattr(x, name) for name in names]]


def _is_looked_at(x: Any) -> bool:
    """Whether an array is told by all its entries, and its memory is NumPy's own."""
    if x.dtype.hasobject or x.nbytes > LOOKED_AT:
        return False
    while isinstance(x, np.ndarray):
        if type(x) is not np.ndarray:
            return False
        x = x.base
    return x is None


def _is_exception(x: Any) -> bool:
    return isinstance(x, type) and issubclass(x, BaseException)


def _is_pure_module(name: str | None) -> bool:
    return any(name == m or str(name).startswith(f"{m}.") for m in _PURE_MODULES) and not str(name).startswith(
        ("numpy.random", "numpy.ctypeslib", "numpy.lib._npyio")
    )


@cache
def _names(code: CodeType) -> frozenset[str] | None:
    """Return the globals that code reads, and the code within it; None where it does what is not to be read."""
    found: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found.add(str(step.argval))
        elif (
            step.opname.startswith(("STORE_GLOBAL", "DELETE_GLOBAL", "IMPORT", "STORE_ATTR", "DELETE_ATTR"))
            or (
                step.opname.endswith("_DEREF")
                and not step.opname.startswith("LOAD")
                and step.argval in code.co_freevars
            )
            or (step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD")) and str(step.argval) in _IMPURE)
            or ("YIELD" in step.opname and code.co_name != "<genexpr>")
            or "AWAIT" in step.opname
        ):
            return None
    for const in code.co_consts:
        if isinstance(const, CodeType):
            inner = _names(const)
            if inner is None:
                return None
            found |= inner
    return frozenset(found)
