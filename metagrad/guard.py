"""Calling code of a user's own: it gets arrays that it cannot write into, and is told by name where it tries.

What an unroll keeps (w, the state, phi, samples) is read again by the backward sweep. Code that wrote into it would
change the run after the fact, silently; so on the host it is given read-only views. Arrays on a device have no such
mark: run the same code on the host once.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from metagrad.errors import bad_type, bad_value

_BARE = (np.ndarray, float, dict, list, type(None))  # what a caller may give where code expects a NamedTuple
_READ_ONLY = "read-only"  # how each of NumPy's messages ends where an array may not be written into


_OTHERS: set[type] = set()  # kinds that are neither arrays nor hold any: known at a glance, as this is asked often


def frozen(tree: Any) -> Any:
    """Return `tree` with read-only views of its NumPy arrays; lists and dicts are new ones.

    What is read-only already is returned as it is, and so are tuples and dataclasses of it.

    >>> frozen([np.zeros(2)])[0].flags.writeable
    False
    """
    kind = type(tree)
    if kind in _OTHERS:
        return tree
    if kind is np.ndarray or isinstance(tree, np.ndarray):
        return _view(tree) if tree.flags.writeable else tree
    if isinstance(tree, tuple):
        return _tuple(tree) if tree else tree
    if isinstance(tree, list):
        return [frozen(item) for item in tree]
    return _rarer(tree)


def frozen_pair(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return `frozen` of a pair, in less time."""
    a, b = pair
    if type(a) not in _OTHERS:
        a = frozen(a)
    if type(b) not in _OTHERS and (type(b) is not tuple or b):
        b = frozen(b)
    return a, b


def _tuple(tree: Any) -> Any:
    changed, items = False, []
    for item in tree:
        now = item if type(item) in _OTHERS else frozen(item)
        if now is not item:
            changed = True
        items.append(now)
    if not changed:
        return tree
    return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)


def _rarer(tree: Any) -> Any:
    if isinstance(tree, dict):
        built = tree.copy()  # keeps the order of the keys
        for key, item in tree.items():
            built[key] = frozen(item)
        return built
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return _record(tree)
    _OTHERS.add(type(tree))
    return tree


def _record(record: Any) -> Any:
    moved = {}
    for field in dataclasses.fields(record):
        was = getattr(record, field.name)
        now = frozen(was)
        if now is not was:
            moved[field.name] = now
    if not moved:
        return record
    built = copy.copy(record)
    for name, value in moved.items():
        object.__setattr__(built, name, value)
    return built


def _view(array: Any) -> Any:
    view = array.view()
    view.setflags(False)  # write=False; by position, which takes half the time
    return view


class WrittenError(TypeError):
    """A traced array that was given is written over: what NumPy says of read-only arrays, while differentiating."""


def called(part: Any, member: str, function: Callable[..., Any], *args: Any) -> Any:
    """Return function(*args), a member of a user's part, on arrays that it cannot write into.

    ValueError, with the name of the part and of the member, where it tries to; TypeError where it takes other
    arguments, or reads an attribute that what it is given has not.
    """
    for x in args:
        kind = type(x)
        if kind not in _OTHERS and (kind is not np.ndarray or x.flags.writeable):
            args = tuple([frozen(x) for x in args])
            break
    try:
        return function(*args)
    except WrittenError:
        _refuse_writing(part, member)
    except ValueError as error:
        if not str(error).endswith(_READ_ONLY):
            raise
        _refuse_writing(part, member)
    except TypeError as error:
        if takes(function, args):
            raise
        came, expected = f"other arguments ({error})", f"{len(args)} of them, as metagrad.protocols says"
        bad_type(_name(part, member), "what it takes", came, expected)
    except AttributeError as error:
        kind = type(error.obj)
        if kind not in _BARE or kind not in map(type, args):
            raise
        came = f"a {kind.__name__}, which has no `{error.name}`"
        remedy = "Give phi as the rule reads it: a NamedTuple with these fields, and the same in `init` and `step`."
        bad_type(_name(part, member), "an argument", came, "what the code takes it for", remedy)


def takes(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether a function can be called with these arguments, as far as it says."""
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    except ValueError:  # a builtin, which does not say
        pass
    return True


def _refuse_writing(part: Any, member: str) -> NoReturn:
    came = "an array that is written into (w, the state, phi, a sample, or a view of one)"
    remedy = "Write `w = w - target` for `w -= target`, np.where for `x[index] = value`, or take a copy first."
    expected = "code that builds new arrays from what it is given"
    bad_value(_name(part, member), "an argument", came, expected, remedy)


def _name(part: Any, member: str) -> str:
    return f"{type(part).__name__}.{member}" if member else getattr(part, "__name__", type(part).__name__)
