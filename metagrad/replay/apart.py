"""A user's task apart: its code, and its data. Tasks of one code are one kind, and share their programs.

In meta-training tasks are new at every call: another closure over other arrays, by the same lines. Data are the arrays
of floats that the task alone holds: in cells and defaults of its functions, in attributes, in tuples, lists and dicts
of these. Arrays of labels and masks are data where they have differed between tasks (`shared` knows), for a program
does more with what is known. What a global names, or a class has, is part of the kind, as are numbers and texts. Only
code that can be read through (`closed`) is taken apart. A task is put together again with other arrays, which may be
recorded (`traced`), by copies of its functions and objects: nothing of it is constructed anew, or written into.
"""

from __future__ import annotations

import dis
from collections import deque
from enum import Enum
from functools import cache, cached_property, partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from metagrad.replay.closed import Reading, Signature, is_pure_function, read_by
from metagrad.replay.content import content
from metagrad.replay.program import NotReplayable
from metagrad.xp import Namespace, device_of, is_laid_out

_MOST_ARRAYS, _MOST_BYTES = 32, 1 << 24  # one task's may stay as examples, as long as its kind is known
# What tells an array from what is recorded in its place, writes into one, or gives shapes that depend on numbers.
_TOUCHY = frozenset(
    [
        "base",
        "flags",
        "ctypes",
        "fill",
        "copyto",
        "put",
        "putmask",
        "place",
        "itemset",
        "setfield",
        "setflags",
        "byteswap",
        "resize",
        "lstsq",
        "replace",
        "setdefault",
        "__class__",
        "type",
        "vars",
        "id",
        "locals",
    ]
)
_CONTAINERS = (list, dict, set, frozenset, deque)


class Apart:
    """A task, with the signature of its kind and its data, array by array; `others` are what steps are made of, too.

    `code` is the signature without data and without what may be data (`may_vary`), None where the task cannot be taken
    apart. Until `settle` says which of them are, none is.
    """

    def __init__(self, task: Any, *others: Any) -> None:
        """Read the task, and the others."""
        self._parts = task, *others
        self._reading, self.code = _read(self._parts)
        self.may_vary = self._reading.may_vary
        self.settle(frozenset())

    def settle(self, varies: frozenset[int]) -> None:
        """Let those of `may_vary` at some places be data, and all others be told: the task's signature, and its data.

        The signature is None where there is no data, or more than may stay as an example.
        """
        self._varies = varies
        self.data = tuple(self._data(self._reading))
        all_vary = len(varies) == len(self.may_vary)  # then nobody has to read them, which waits for a device
        self.signature = self._signature(self.code, [] if all_vary else self.contents_of)
        is_much = len(self.data) > _MOST_ARRAYS or sum(x.nbytes for x in self.data) > _MOST_BYTES
        if is_much or not self.data or not (all(map(is_laid_out, self.data)) or self.device is not None):
            self.signature = None

    @property
    def device(self) -> Namespace | None:
        """The array module of the device on which all data are, None where they are not on one."""
        modules = [*map(device_of, self.data)]
        return modules[0] if modules and all(xp is modules[0] for xp in modules) else None

    def _data(self, reading: _Apart) -> list[Any]:
        return [*reading.data, *[x for k, x in enumerate(reading.may_vary) if k in self._varies]]

    @cached_property
    def contents_of(self) -> list[Any]:
        """What those of `may_vary` held when it was first asked."""
        return [*map(content, self.may_vary)]

    def _signature(self, code: Signature | None, contents: list[Any]) -> Signature | None:
        told = [None if k in self._varies else found for k, found in enumerate(contents)]
        return None if code is None else (code, tuple(told))

    def _read_again(self) -> tuple[Signature | None, list[Any]]:
        """Return signature and data, of what the parts hold now."""
        reading, code = _read(self._parts)
        all_vary = len(self._varies) == len(reading.may_vary)
        return self._signature(code, [] if all_vary else [*map(content, reading.may_vary)]), self._data(reading)

    @property
    def named(self) -> list[Any]:
        """What the signature tells by its place in memory: it has to live as long as signatures are compared."""
        return self._reading.named

    def with_data(self, data: tuple[Any, ...]) -> Any:
        """Return the task with other data in the place of its own.

        NotReplayable where it is no longer what was read: code that keeps what it has computed, say, in a property that
        is cached, would keep that of this task.
        """
        signature, own = self._read_again()
        if signature != self.signature or [*map(id, own)] != [*map(id, self.data)]:
            raise NotReplayable("the task holds other things than before the run")
        instead = {id(x): new for x, new in zip(self.data, data, strict=True)}
        return _Copies(instead, self._reading.own).of(self._parts[0])

    def contents(self) -> tuple[Any, ...]:
        """Return what tells the task, and its data, from what they were."""
        signature, own = self._read_again()
        return signature == self.signature, [*map(id, own)], [*map(content, self.data)]


def _read(parts: tuple[Any, ...]) -> tuple[_Apart, Signature | None]:
    """Return the reading of a task and of others, and the signature; None where it cannot be taken apart."""
    reading = _Apart()
    return reading, read_by(reading, parts, own=1)


class _Apart(Reading):
    def __init__(self) -> None:
        super().__init__()
        self.data, self.named, self.may_vary = list[Any](), list[Any](), list[Any]()
        self.own: set[int] = set()

    def may_meet_again(self, x: Any, *, is_own: bool) -> bool:
        """Refuse what the task holds and a global names, too: its copy would not be that one."""
        return is_own is (id(x) in self.own) or not _is_copied(x) or x == ()

    def is_apart(self, x: Any) -> bool:
        return _is_copied(x)

    def _below(self, x: Any) -> list[Any] | None:
        if device_of(x) is not None:
            return []
        is_users = type(x) is FunctionType and not is_pure_function(x)
        return None if is_users and _is_touchy(x.__code__) else super()._below(x)

    def told(self, x: Any, *, is_own: bool) -> tuple[Any, ...]:
        if is_own:
            self.own.add(id(x))
        if type(x) is np.ndarray:
            if is_own and x.dtype.kind in "fiub":
                of_kind = self.data if x.dtype.kind == "f" else self.may_vary
                of_kind.append(x)
                return "data", x.shape, x.dtype.str, x.strides
        elif (xp := device_of(x)) is not None:
            if not is_own or x.dtype.kind not in "fiub":
                return "on a device", xp.__name__, x.shape, x.dtype.str, content(x)
            (self.data if x.dtype.kind == "f" else self.may_vary).append(x)
            return "data", xp.__name__, x.shape, x.dtype.str, x.strides
        else:
            self.named.append(type(x) if _is_copied(x) else x)
        return super().told(x, is_own=is_own)


@cache
def _is_touchy(code: CodeType) -> bool:
    """Whether code may see that an array is recorded, or writes into things."""
    for step in dis.get_instructions(code):
        if step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"):
            return True
        if step.opname == "BINARY_OP" and step.argrepr.endswith("="):  # in place, of an array that may have two names
            return True
        if step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL", "LOAD_NAME")) and step.argval in _TOUCHY:
            return True
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return any("out" in const for const in code.co_consts if isinstance(const, tuple)) or any(map(_is_touchy, inner))


def _is_copied(x: Any) -> bool:
    """Whether a thing that a task holds is put together anew."""
    kind = type(x)
    if device_of(x) is not None:
        return True
    if kind is FunctionType:
        return bool(x.__closure__ or x.__defaults__ or x.__kwdefaults__)
    if kind in (tuple, list, dict, MethodType, partial, np.ndarray):
        return True
    return hasattr(kind, "_make") if isinstance(x, tuple) else hasattr(x, "__dict__") and _is_plain(kind)


def _is_plain(kind: type) -> bool:
    """Whether objects of a class are their attributes, and nothing more."""
    if issubclass(kind, (type, Enum, FunctionType, *_CONTAINERS)) or kind.__flags__ & 1 << 9 == 0:
        return False
    if hasattr(kind, "__del__"):
        return False
    slots = [name for base in kind.__mro__ for name in base.__dict__.get("__slots__", ())]
    return not slots and all(base is object or base.__flags__ & 1 << 9 for base in kind.__mro__)


class _Copies:
    """Copies of what a task holds, each made once."""

    def __init__(self, instead: dict[int, Any], own: set[int]) -> None:
        self._known, self._own = instead, own
        self._held: list[Any] = []  # so that no number is given twice

    def of(self, x: Any) -> Any:
        """Return the copy of a thing; what is not the task's own stays what it is."""
        known = self._known.get(id(x))
        if known is not None:
            return known
        if id(x) not in self._own or not _is_copied(x) or type(x) is np.ndarray or device_of(x):
            return x
        self._held.append(x)
        copy = _COPIED.get(type(x), _Copies._tuple if isinstance(x, tuple) else _Copies._object)
        return copy(self, x)

    def _made(self, x: Any, new: Any) -> Any:
        self._known[id(x)] = new
        return new

    def _tuple(self, x: Any) -> Any:
        items = [self.of(item) for item in x]
        return tuple(items) if type(x) is tuple else type(x)._make(items)

    def _list(self, x: list[Any]) -> Any:
        new = self._made(x, [])
        new += [self.of(item) for item in x]
        return new

    def _dict(self, x: dict[Any, Any]) -> Any:
        new = self._made(x, {})
        new.update({key: self.of(item) for key, item in x.items()})
        return new

    def _method(self, x: Any) -> Any:
        return MethodType(x.__func__, self.of(x.__self__))

    def _partial(self, x: Any) -> Any:
        return partial(self.of(x.func), *map(self.of, x.args), **{k: self.of(v) for k, v in x.keywords.items()})

    def _object(self, x: Any) -> Any:
        new = self._made(x, object.__new__(type(x)))
        vars(new).update({name: self.of(item) for name, item in vars(x).items()})
        return new

    def _function(self, x: Any) -> Any:
        cells = tuple([CellType() for _ in x.__closure__ or ()])
        new = self._made(x, FunctionType(x.__code__, x.__globals__, x.__name__, None, cells))
        new.__qualname__, new.__module__ = x.__qualname__, x.__module__
        new.__defaults__ = None if x.__defaults__ is None else tuple(map(self.of, x.__defaults__))
        new.__kwdefaults__ = x.__kwdefaults__ and {k: self.of(v) for k, v in x.__kwdefaults__.items()}
        vars(new).update({name: self.of(item) for name, item in vars(x).items()})
        for name, cell, old in zip(x.__code__.co_freevars, cells, x.__closure__ or (), strict=True):
            cell.cell_contents = old.cell_contents if name == "__class__" else self.of(old.cell_contents)
        return new


_COPIED: dict[type, Any] = {
    tuple: _Copies._tuple,
    list: _Copies._list,
    dict: _Copies._dict,
    MethodType: _Copies._method,
    partial: _Copies._partial,
    FunctionType: _Copies._function,
}
