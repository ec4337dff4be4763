"""Which arrays the code of a user's part reads besides its arguments: what an error or a check can name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from metagrad.xp import is_array

_DEPTH = 3


def arrays_read(part: Any) -> dict[str, Any]:
    """Return the arrays that a function, or the methods of an object, reach by their variables, by name.

    Looked at: closures, global variables, default values, attributes, and the tuples, lists and dicts among them.

    >>> import numpy as np
    >>> X = np.ones(2)
    >>> list(arrays_read(lambda w: w @ X))
    ['X']
    """
    found: dict[str, Any] = {}
    for name, value in _of(part, _DEPTH):
        if not any(value is known for known in found.values()):
            found.setdefault(name, value)
    return found


def _of(part: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if inspect.ismethod(part):
        yield from _of(part.__self__, depth)
    elif inspect.isfunction(part):
        yield from _of_function(part, depth)
    elif isinstance(part, functools.partial):
        yield from _of(part.func, depth)
        for name, value in (*enumerate(part.args), *part.keywords.items()):
            yield from _inside(str(name), value, depth)
    elif hasattr(part, "__dict__") and not isinstance(part, type):
        for name, value in vars(part).items():
            yield from _inside(f"self.{name}" if depth == _DEPTH else f".{name}", value, depth)
        for kind in type(part).__mro__[:-1]:
            if not kind.__module__.startswith("metagrad."):
                for value in vars(kind).values():
                    if inspect.isfunction(value):
                        yield from _of_function(value, depth)


def _of_function(function: Any, depth: int) -> Iterator[tuple[str, Any]]:
    try:
        seen = inspect.getclosurevars(function)
    except (TypeError, ValueError):
        return
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.default is not p.empty}
    for name, value in {**seen.nonlocals, **seen.globals, **defaults}.items():
        yield from _inside(name, value, depth)


def _inside(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if is_array(value):
        yield name, value
    elif depth <= 0:
        return
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value[:64]):
            yield from _inside(f"{name}[{i}]", item, depth - 1)
    elif isinstance(value, dict):
        for key, item in list(value.items())[:64]:
            yield from _inside(f"{name}[{key!r}]", item, depth - 1)
    elif inspect.isfunction(value) or isinstance(value, functools.partial):
        if not (getattr(value, "__module__", None) or "").startswith(("metagrad.", "numpy")):
            yield from _of(value, depth - 1)
    elif hasattr(value, "__dict__") and not isinstance(value, type) and not inspect.ismodule(value):
        for inner, found in _of(value, depth - 1):
            yield (f"{name}{inner}" if inner.startswith(".") else inner), found


def remembered(part: Any) -> dict[str, Any]:
    """Return the attributes of an object that a counter or a stream of random numbers would change: to be compared.

    >>> class Counting:
    ...     def __init__(self):
    ...         self.calls, self.data = 3, [1.0]
    >>> remembered(Counting())
    {'calls': 3}
    """
    found = {}
    for name, value in getattr(part, "__dict__", {}).items():
        if isinstance(value, bool | int | float | str):
            found[name] = value
        elif isinstance(value, np.random.Generator):
            found[name] = repr(value.bit_generator.state)
    return found


def of_another_dtype(part: Any, dtype: Any) -> str:
    """Return a clause that names the float and integer arrays that are not of `dtype`, or "" where there are none."""
    names = [f"{n} is {x.dtype}" for n, x in arrays_read(part).items() if x.dtype != dtype and x.dtype.kind in "fiu"]
    return f", where {', '.join(names[:4])}" if names else ""
