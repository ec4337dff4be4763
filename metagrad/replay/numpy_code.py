"""Pass: the program as one Python function of straight-line calls of NumPy, which write into their buffers.

The source is made here, of names that are made here; arrays, functions and settings are bound to the names. Views of
buffers are made once. The function returns its outputs, each an array of its own, or None where the program does not
apply: a branch would go another way, or there is a NaN where the tape would look for one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.buffers import Buffers
from metagrad.replay.functions import is_fresh, method_name, plain_einsum
from metagrad.replay.program import NotReplayable, Value, values_in

Run = Callable[..., Any]
_SIGNS = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.pow: "**",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}


class Source:
    """The lines of the function, and what its names stand for."""

    def __init__(self, buffers: Buffers) -> None:
        """Begin with no line."""
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {"look": has_nan}
        self._buffers, self._names, self._arrays = buffers, dict[int, str](), dict[int, Any]()
        self._bound: dict[int, str] = {}
        self._taken: set[int] = set()  # inputs
        self._made: set[int] = set()  # arrays of their own

    def bind(self, x: Any, kind: str) -> str:
        """Return the name of an object."""
        name = self._bound.get(id(x))
        if name is None:
            name = self._bound[id(x)] = f"{kind}{len(self._bound)}"
            self.scope[name] = x
        return name

    def name(self, v: Value) -> str:
        """Return the name of a value."""
        if v.is_constant:
            return self.bind(v.example, "c")
        return self._names[v.number]

    def take(self, v: Value) -> str:
        """Return the name of an input, an argument of the function."""
        name = self._names[v.number] = f"v{v.number}"
        self._taken.add(v.number)
        return name

    def item(self, x: Any) -> str:
        """Return an argument as it stands in a call."""
        if type(x) is Value:
            return self.name(x)
        if type(x) in (tuple, list) and any(True for _ in values_in(x)):
            inner = "".join(f"{self.item(i)}, " for i in x)
            return f"({inner})" if type(x) is tuple else f"[{inner}]"
        if x is None or type(x) in (bool, int, str):
            return f"({x!r})" if type(x) is int and x < 0 else repr(x)  # -1 ** n is -(1 ** n)
        return self.bind(x, "k")

    def call(self, v: Value) -> None:
        """Add the line of a call; a view of what stays where it is, is made now."""
        static = self._static(v)
        if static is not None:
            self._arrays[v.number] = static
            self._names[v.number] = self.bind(static, "b")
            return
        buffer = self._buffers.arrays.get(v.number)
        if buffer is not None:
            self._arrays[v.number] = buffer
            name = self._names[v.number] = self.bind(buffer, "b")
            self.lines.append(self._into(v, name))
            return
        self._names[v.number] = f"v{v.number}"
        self.lines.append(f"v{v.number} = {self._expression(v)}")

    def _static(self, v: Value) -> Any:
        """Return the view of arrays that stay where they are; None for what is no view of such."""
        if is_fresh(v.function, v.args) or not all(x.number in self._arrays for x in v.operands()):
            return None
        source = next(v.operands(), None)
        if source is None or type(v.example) is not np.ndarray:
            return None
        place = _with_arrays(v.args, self._arrays)
        found = v.function(*place, **v.kwargs)  # type: ignore[misc]
        is_view = type(found) is np.ndarray and np.may_share_memory(found, self._arrays[source.number])
        return found if is_view and found.strides == v.example.strides else None

    def _into(self, v: Value, out: str) -> str:
        args = [self.item(x) for x in v.args]
        if isinstance(v.function, np.ufunc):
            named = (
                "out=" if v.function in (np.maximum, np.minimum) else ""
            )  # by position is faster, and deprecated there
            return f"{self.bind(v.function, 'f')}({', '.join(args)}, {named}{out})"
        args[3] = out  # a reduction: array, axis, dtype, out, keepdims
        return f"{self.bind(v.function, 'f')}({', '.join(args)})"

    def _expression(self, v: Value) -> str:
        if v.function in _SIGNS:
            x, y = map(self.item, v.args)
            return f"{x} {_SIGNS[v.function]} {y}"
        args = [self.item(x) for x in v.args] + [f"{name}={self.item(x)}" for name, x in v.kwargs.items()]
        called = method_name(v.function)
        if called is not None and type(v.args[0]) is Value:
            return f"{args[0]}.{called}({', '.join(args[1:])})"
        if v.function is np.einsum and v.kwargs in ({}, {"optimize": False}):
            return f"{self.bind(plain_einsum, 'f')}({', '.join(args[: len(v.args)])})"
        return f"{self.bind(v.function, 'f')}({', '.join(args)})"

    def guard(self, v: Value, *, expected: bool) -> None:
        """Give up where a branch would go another way."""
        self.lines.append(f"if bool({self.name(v)}) is not {expected}: return None")

    def look(self, v: Value) -> None:
        """Give up where there is a NaN."""
        name = self.name(v)
        is_number = isinstance(v.example, np.generic | float)
        self.lines.append(f"if {name} != {name}: return None" if is_number else f"if look({name}): return None")

    def results(self, outputs: list[Value]) -> list[str]:
        """Return the expressions of the outputs: those that are not new arrays of their own are copied."""
        seen: set[int] = set()
        parts = []
        for v in outputs:
            name = self.name(v)
            is_made = not v.is_constant and v.number not in self._taken
            is_own = (
                is_made and v.number not in self._arrays and (v.number in self._made or is_fresh(v.function, v.args))
            )
            if type(v.example) is np.ndarray and (not is_own or v.number in seen):
                name = f"{name}.copy('K')"
            seen.add(v.number)
            parts.append(name)
        return parts

    def _key(self, key: Any) -> str:
        return repr(key) if type(key) in (str, int) else self.bind(key, "K")

    def tree(self, tree: Tree, leaves: Iterator[str]) -> str:
        """Return the expression of a tree with these leaves, from left to right."""
        if tree is None:
            return "None"
        if isinstance(tree, dict):
            if type(tree) is not dict:
                raise NotReplayable(f"a {type(tree).__name__} in what it returns")
            items = {key: self.tree(tree[key], leaves) for key in sorted(tree)}
            return "{" + ", ".join(f"{self._key(key)}: {items[key]}" for key in tree) + "}"
        if not ad.is_branch(tree):
            return next(leaves)
        inner = ", ".join([self.tree(x, leaves) for x in tree])
        if isinstance(tree, list):
            return f"[{inner}]"
        if hasattr(tree, "_fields"):
            return f"{self.bind(type(tree), 'T')}({inner})"
        return f"({inner},)" if tree else "()"


def has_nan(x: Any) -> bool:
    """Whether there is a NaN in an array or a number, as the tape looks for it."""
    if type(x) is np.ndarray:
        x = x.item(x.argmax()) if x.size else 0.0  # the first NaN counts as the largest
    return math.isnan(x)


def _with_arrays(item: Any, arrays: dict[int, Any]) -> Any:
    if type(item) is Value:
        return arrays[item.number]
    if isinstance(item, tuple | list):
        return type(item)([_with_arrays(x, arrays) for x in item])
    return item


def numpy_code(
    inputs: list[Value],
    calls: list[Value],
    outputs: list[Value],
    tree: Tree,
    buffers: Buffers,
    *,
    guards: list[tuple[Value, bool]] = (),  # type: ignore[assignment]
    watched: list[Value] = (),  # type: ignore[assignment]
) -> tuple[Run, str]:
    """Return the program as a function of its inputs, and its source; `tree` is what the outputs are the leaves of."""
    source = Source(buffers)
    names = [source.take(v) for v in inputs]
    waiting = {v.number: expected for v, expected in guards}
    looked = {v.number for v in watched}
    for v in inputs:
        if v.number in waiting:
            source.guard(v, expected=waiting[v.number])
        if v.number in looked and is_float(v.example):
            source.look(v)
    for v in calls:
        if v.function is None:
            continue
        source.call(v)
        if v.number in waiting:
            source.guard(v, expected=waiting[v.number])
        if v.number in looked and is_float(v.example):
            source.look(v)
    text = ended(source, names, outputs, tree)
    return defined(source, text), text


def ended(source: Source, names: list[str], outputs: list[Value], tree: Tree) -> str:
    """Return the text of the function of all lines, which returns the outputs."""
    source.lines.append(f"return {source.tree(tree, iter(source.results(outputs)))}")
    return f"def run({', '.join(names)}):\n    " + "\n    ".join(source.lines) + "\n"


def defined(source: Source, text: str) -> Run:
    """Return the function of a text."""
    exec(compile(text, "<metagrad.replay>", "exec"), source.scope)
    run: Run = source.scope["run"]
    return run


def is_float(example: Any) -> bool:
    """Whether there may be a NaN in a result."""
    return type(example) is float or getattr(getattr(example, "dtype", None), "kind", "") == "f"
