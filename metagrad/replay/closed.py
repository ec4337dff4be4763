"""Whether code can be read through: all that it names is data that is looked at, or a function known to be pure.

Of such code nothing can change its numbers that a look at what it reaches (`kept`) does not see. Other code may read a
clock, a file, the state of a library or memory behind a buffer: there every run is compared with the tape. What is
read is the byte code: names of globals and builtins, modules, attributes that are known to be impure, imports and
assignments to globals.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections import deque
from collections.abc import Callable
from functools import cache, cached_property, partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from metagrad.replay.content import MOST_BYTES, content

_MODULES = "numpy cupy cupyx math operator metagrad scipy.special typing dataclasses collections.abc"
# Attributes: what they give may be another thing at another time.
_IMPURE_NAMES = (
    "random load loads loadtxt genfromtxt fromfile fromregex memmap frombuffer geterr seterr setbufsize lib ctypeslib "
    "core _core f2py testing show_config get_include __globals__ __dict__ __code__ __closure__ __builtins__ time clock "
    "now open read readline readlines recv next environ getenv cell_contents datetime64 attrgetter methodcaller "
    "metadata geterrcall seterrcall getbufsize open_memmap DataSource modules"
)
_BUILTIN_NAMES = (
    "abs all any bool callable complex dict divmod enumerate filter float frozenset hasattr int isinstance issubclass "
    "len list map max min object pow property range repr reversed round set slice sorted staticmethod str sum super "
    "tuple type zip bytes format NotImplemented Ellipsis True False None __build_class__ __debug__"
)
# Methods that Python calls; those that make objects are read where a class is named, those of `_SHOWN` if written.
_NAMES_NOT_CALLED = (
    "__repr__ __str__ __eq__ __hash__ __reduce__ __reduce_ex__ __getstate__ __setstate__ __init_subclass__ "
    "__class_getitem__ __replace__ __setattr__ __delattr__ __match_args__"
)
_OF_CLASSES = frozenset(
    [
        "__doc__",
        "__module__",
        "__qualname__",
        "__hash__",
        "__slots__",
        "__dictoffset__",
        "__weakrefoffset__",
        "__basicsize__",
        "__itemsize__",
        "__flags__",
        "__firstlineno__",
        "__abstractmethods__",
        "__name__",
    ]
)
_MAKERS = ("dataclasses", "reprlib", "collections")
# By which Python shows, compares and makes objects: read where a user wrote them.
_OF_VALUES = ("__repr__", "__str__", "__format__", "__eq__", "__hash__")
_OF_MAKING = ("__class_getitem__", "__setattr__", "__delattr__", "__init_subclass__")
_SHOWN = frozenset([*_OF_VALUES, *_OF_MAKING])
_MAKE = frozenset({"__init__", "__new__", "__post_init__"})
_OF_TUPLES = frozenset({"_make", "_replace", "_asdict", "__new__", "__getnewargs__"})  # generated ones
_IMPURE, _PURE_BUILTINS = frozenset(_IMPURE_NAMES.split()), frozenset(_BUILTIN_NAMES.split())
_NOT_CALLED, _PURE_MODULES = frozenset(_NAMES_NOT_CALLED.split()), tuple(_MODULES.split())
_MEMBERS = ("member_descriptor", "getset_descriptor", "_tuplegetter")
_DISPATCHER = type(np.sum)  # NumPy's functions that arrays of other kinds may take over
_INERT = frozenset({int, float, complex, str, bytes, bool, range, type(None), type(Ellipsis), type(NotImplemented)})
_MOST = 2000  # things
Signature = tuple[Any, ...]


def is_closed(*parts: Any) -> bool:
    """Whether all that some parts reach can be read through."""
    return read_through(*parts) is not None


def read_through(*parts: Any) -> Signature | None:
    """Return all that was read, in its order: which functions and objects, and what the data are.

    Where it is equal, nothing that the code depends on has changed. None where not all can be read through.
    """
    return read_by(Reading(), parts)


def read_by(reading: Reading, parts: tuple[Any, ...], own: int = 0) -> Signature | None:
    """Return what a reading finds in some parts; None where they cannot be read, or raise when they are looked at.

    `own`: as of `Reading.all_of`.
    """
    try:
        return reading.all_of([*parts], own)
    except Exception:  # of a descriptor, a broken attribute, or code of another kind: not to be read
        return None


class Reading:
    """One reading of some parts, and of all that they reach."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._seen: dict[int, int] = {}
        self._held: list[Any] = []  # so that no number is given twice

    def all_of(self, things: list[Any], own: int = 0) -> Signature | None:
        """Return the signature of things, the last first; None where not all can be read.

        `own`: how many of the first ones hold what is theirs alone (`apart`).
        """
        stack, signature = [(x, k < own) for k, x in enumerate(things)], list[Any]()
        while stack:
            x, is_own = stack.pop()
            kind = type(x)
            if kind in _INERT or _is_inert(x):
                signature.append((kind, x if kind is int or kind is str else repr(x)))
                continue
            order = self._seen.setdefault(id(x), len(self._seen))
            if order < len(self._held):  # which thing is met again, too
                if not self.may_meet_again(x, is_own=is_own):
                    return None
                signature.append(order)
                continue
            self._held.append(x)
            if len(self._seen) > _MOST:
                return None
            more = self._below(x)
            if more is None:
                return None
            signature.append((*self.told(x, is_own=is_own), len(more)))
            is_own = is_own and self.is_apart(x)
            stack += [(one, is_own and k < self._of_its_own) for k, one in enumerate(more)]
        return tuple(signature)

    def may_meet_again(self, x: Any, *, is_own: bool) -> bool:
        """Whether a thing may be met on this way, too."""
        return True

    def is_apart(self, x: Any) -> bool:
        """Whether what a thing holds is its own alone."""
        return True

    def told(self, x: Any, *, is_own: bool) -> tuple[Any, ...]:
        """Return what tells a thing, beside what is read below it."""
        return _told(x)

    def _below(self, x: Any) -> list[Any] | None:
        """Return what is to be read next, None where x is not to be read; the first `_of_its_own` are held by x."""
        self._of_its_own = 0
        read = _READ.get(type(x))
        if read is not None:
            return read(self, x)
        for kinds, read in _KINDS:
            if isinstance(x, kinds):
                return read(self, x)
        return self._of_object(x)

    def _of_method(self, x: MethodType) -> list[Any]:
        self._of_its_own = 1
        return [x.__self__, x.__func__]

    def _of_entries(self, x: Any) -> list[Any] | None:
        """Return the entries of a container; those that are told by their texts alone have to be texts and numbers."""
        told = [*x] if isinstance(x, dict | set | frozenset) else []
        if not all(_is_inert(key) or (type(key) is tuple and all(map(_is_inert, key))) for key in told):
            return None
        if any(base.__dict__.get("__slots__") for base in type(x).__mro__ if base.__module__ != "builtins"):
            return None
        entries = [*x.values()] if isinstance(x, dict) else [*x]
        self._of_its_own = 0 if isinstance(x, set | frozenset) else len(entries)
        if type(x).__module__ == "builtins":
            return entries
        of_class = self._of_class(type(x))
        return None if of_class is None else [*entries, *getattr(x, "__dict__", {}).values(), *of_class]

    def _of_function(self, x: FunctionType, *, makes: bool = False) -> list[Any] | None:
        """Return what a function reads; `makes`: it sets attributes of what is new."""
        cells = list(zip(x.__code__.co_freevars, x.__closure__ or (), strict=True))
        # `__class__` is that of `super()`, whose methods are called, and which makes nothing.
        found: list[Any] = [cell.cell_contents for name, cell in cells if name != "__class__"]
        found += [*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()]
        found += vars(x).values()
        self._of_its_own = len(found)
        for name, cell in cells:
            found += self._of_class(cell.cell_contents) if name == "__class__" else []
        if is_pure_function(x):
            if x.__code__.co_name not in _IMPURE and x.__closure__:
                return found
            self._of_its_own = 0
            return None if x.__code__.co_name in _IMPURE else []
        names = _names(x.__code__, makes=makes)
        if names is None or getattr(x, "__builtins__", None) is not vars(builtins):
            return None
        for name in names:
            if name in x.__globals__:
                found.append(x.__globals__[name])
            elif name not in _PURE_BUILTINS and not _is_exception(getattr(builtins, name, None)):
                return None
        modules = [m for name in names if isinstance(m := x.__globals__.get(name), ModuleType)]
        if any(not is_pure_module(m.__name__) for m in modules):
            return None
        return found

    def _of_type(self, cls: type) -> list[Any] | None:
        """Return what a class reads that is named, and so may be called."""
        if is_pure_module(cls.__module__):
            return [] if _is_pure(cls) else None
        found = self._of_class(cls)
        for base in cls.__mro__:
            for name in _MAKE & vars(base).keys():
                make = vars(base)[name]
                make = make.__func__ if isinstance(make, staticmethod) else make
                if isinstance(make, FunctionType) and not _is_of_tuple(make):
                    more = self._of_function(make, makes=True)
                    if more is None:
                        return None
                    found += more
        self._of_its_own = 0
        return found

    def _of_class(self, cls: type) -> list[Any]:
        found: list[Any] = [] if type(cls) is type else [type(cls)]
        for base in cls.__mro__:
            if base.__module__ == "builtins" or is_pure_module(base.__module__) or base.__module__ in ("abc", "enum"):
                continue
            for name, item in vars(base).items():
                function = getattr(item, "__func__", item)
                if name in _SHOWN and isinstance(function, FunctionType) and _is_written(function):
                    found.append(function)
                if name in _NOT_CALLED or name in _MAKE or _is_of_tuple(function):
                    continue
                if isinstance(item, property | cached_property) and type(item) not in (property, cached_property):
                    raise TypeError("a property of a class of its own, whose code is not read")
                if isinstance(item, staticmethod | classmethod):
                    found.append(item.__func__)
                elif isinstance(item, property):
                    found += [f for f in (item.fget,) if f is not None]
                elif isinstance(item, cached_property):
                    found.append(item.func)
                elif (callable(item) or not _is_pythons(name, item)) and type(item).__name__ not in _MEMBERS:
                    found.append(item)
        return found

    def _of_object(self, x: Any) -> list[Any] | None:
        """Return what an object of a class that can be read holds."""
        cls = type(x)
        if cls is partial:
            if vars(x):
                return None
            self._of_its_own = 3
            return [x.func, x.args, x.keywords]
        of_python = [base for base in cls.__mro__ if base is not object and base.__module__ == "builtins"]
        if of_python or not (hasattr(x, "__dict__") or hasattr(cls, "__slots__")):
            return None
        if getattr(cls, "__flags__", 0) & (1 << 9) == 0:  # a class that C made is no heap type
            return None
        slots = [base.__dict__.get("__slots__", ()) for base in cls.__mro__]
        names = [name for of in slots for name in ((of,) if isinstance(of, str) else of)]
        held = getattr(x, "__dict__", {})
        if any(name.startswith("__") and not name.endswith("__") for name in names):
            return None  # by another name
        slotted = [getattr(x, name) for name in names if hasattr(x, name)]
        self._of_its_own = len(held)
        return [*held.values(), *slotted, *self._of_class(cls)]


def _told(x: Any) -> tuple[Any, ...]:
    """Return what tells a thing, beside what is read below it."""
    if isinstance(x, np.ndarray):
        kind = x.dtype.str if x.dtype.names is None else repr(x.dtype)
        return "array", x.shape, kind, x.strides, content(x)
    if isinstance(x, FunctionType):
        names = _names(x.__code__, makes=True) or ()
        known = tuple([name for name in names if name in x.__globals__])
        return "code", x.__code__, len(x.__defaults__ or ()), tuple(x.__kwdefaults__ or ()), known
    if isinstance(x, type | ModuleType | np.ufunc | BuiltinFunctionType | _DISPATCHER):
        return "this one", id(x)
    keys = tuple(map(repr, x)) if isinstance(x, dict) else tuple(getattr(x, "__dict__", ()))
    return (id(type(x)), keys) if type(x).__module__ == "builtins" else (id(type(x)), keys, *_named_by_classes(x))


def _named_by_classes(x: Any) -> tuple[Any, ...]:
    """Return the names of what the classes of an object have, and of the slots that it has filled."""
    classes = [
        base for base in type(x).__mro__ if base.__module__ != "builtins" and not is_pure_module(base.__module__)
    ]
    slots = [name for base in classes for name in base.__dict__.get("__slots__", ()) if hasattr(x, name)]
    return (*(tuple(vars(base)) for base in classes), *slots)


def _is_written(function: FunctionType) -> bool:
    """Whether a user wrote a method: those of dataclasses and NamedTuples are made."""
    return function.__code__.co_filename != "<string>" and function.__globals__.get("__name__") not in _MAKERS


def _is_pythons(name: str, item: Any) -> bool:
    """Whether a class has an attribute from Python, and not from a user who named it likewise."""
    return name.startswith("__") and (name in _OF_CLASSES or not (_is_inert(item) or isinstance(item, np.ndarray)))


def _is_inert(x: Any) -> bool:
    """Whether x is a number or a text, and does as those do."""
    return type(x) in _INERT or isinstance(x, np.dtype) or (isinstance(x, np.generic) and type(x).__module__ == "numpy")


def _is_pure(x: Any) -> bool:
    """Whether a thing of a module's is known to be pure."""
    return is_pure_module(x.__module__) and x.__name__ not in _IMPURE


def _is_numpys(x: np.ufunc) -> bool:
    """Whether a ufunc is one of NumPy's, or of SciPy's special functions, and of no code of Python's."""
    special = sys.modules.get("scipy.special")
    return getattr(np, x.__name__, None) is x or getattr(special, x.__name__, None) is x


def _is_of_tuple(x: Any) -> bool:
    """Whether a function is one that every NamedTuple has."""
    module = str(x.__globals__.get("__name__")) if isinstance(x, FunctionType) else ""
    return (module == "collections" or module.startswith("namedtuple_")) and x.__name__ in _OF_TUPLES


def _is_looked_at(x: Any) -> bool:
    """Whether an array is told by all its entries, and its memory is NumPy's own."""
    if x.dtype.hasobject or x.nbytes > MOST_BYTES:
        return False
    while isinstance(x, np.ndarray):
        if type(x) is not np.ndarray:
            return False
        x = x.base
    return x is None


def _is_exception(x: Any) -> bool:
    return isinstance(x, type) and issubclass(x, BaseException)


def is_pure_function(x: FunctionType) -> bool:
    """Whether a function is of a module that is known to be pure, and does not only say so."""
    name = x.__globals__.get("__name__")
    if not is_pure_module(name):
        return False
    module = sys.modules.get(str(name))
    return module is not None and vars(module) is x.__globals__


@cache
def is_pure_module(name: str | None) -> bool:
    """Whether a module is known to be pure, by its name: NumPy, and others of which all functions are."""
    return any(name == m or str(name).startswith(f"{m}.") for m in _PURE_MODULES) and not str(name).startswith(
        ("numpy.random", "numpy.ctypeslib", "numpy.lib._npyio")
    )


@cache
def _names(code: CodeType, *, makes: bool = False) -> frozenset[str] | None:
    """Return the globals that code reads, and the code within it; None where it does what is not to be read.

    `makes`: it may set attributes.
    """
    found: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            found.add(str(step.argval))
        elif (
            step.opname.startswith(("STORE_GLOBAL", "DELETE_GLOBAL", "IMPORT", "DELETE_ATTR"))
            or (step.opname.startswith("STORE_ATTR") and not makes)
            or (
                step.opname.endswith("_DEREF")
                and not step.opname.startswith("LOAD")
                and step.argval in code.co_freevars
            )
            or (step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER")) and str(step.argval) in _IMPURE)
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


# How things of each kind are read, the first that fits; what is of such a type and no other is found at once.
_KINDS: tuple[tuple[Any, Callable[[Reading, Any], list[Any] | None]], ...] = (
    ((np.ndarray,), lambda _, x: [] if _is_looked_at(x) else None),
    ((dict, tuple, list, set, frozenset, deque), Reading._of_entries),
    ((slice,), lambda _, x: [x.start, x.stop, x.step]),
    ((MethodType,), Reading._of_method),
    ((FunctionType,), Reading._of_function),
    ((ModuleType,), lambda _, x: [] if is_pure_module(x.__name__) else None),
    ((type,), Reading._of_type),
    ((np.ufunc,), lambda _, x: [] if _is_numpys(x) else None),
    ((BuiltinFunctionType, _DISPATCHER), lambda _, x: [] if _is_pure(x) else None),
)
_READ = {kind: read for kinds, read in _KINDS for kind in kinds}
