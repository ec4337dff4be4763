"""A program: the values that a function computed, each made once from those before it (SSA form), in order.

    Value     an input, a constant, or a function applied to values and plain arguments
    Graph     records values; a call that was recorded before is that value again (common subexpressions)

A call is told by its function and its arguments, a constant by its content. What Python computes from the time and from
counters (`t + 1`, `t == 1`) is recorded as well, as plain numbers; a branch on them is a guard: where it would go the
other way, the program does not apply.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from metagrad.replay.functions import COPIES

MOST_BYTES, MOST_VALUES = 1 << 28, 20_000  # of results that are held while a function is recorded
PLAIN = (int, float, bool)  # Python's numbers, which do not promote arrays


class NotReplayable(Exception):  # noqa: N818  # it is an answer, which the tape takes over from
    """A function cannot be recorded, or its program gave other bits than the tape: why, in one line."""


class Value:
    """One value of a program: what computes it, from what, and the result that it had when it was recorded."""

    __slots__ = ("args", "example", "function", "is_input", "kwargs", "number")

    def __init__(
        self,
        number: int,
        example: Any,
        function: Callable[..., Any] | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        is_input: bool = False,
    ) -> None:
        """Keep them; without a function it is an input or a constant."""
        self.number, self.example, self.function, self.args = number, example, function, args
        self.kwargs, self.is_input = kwargs or {}, is_input

    @property
    def is_constant(self) -> bool:
        """Whether the value is the same in every run."""
        return self.function is None and not self.is_input

    @property
    def is_array(self) -> bool:
        """Whether it is an array with axes; numbers are computed as NumPy and Python do."""
        return type(self.example) is np.ndarray and self.example.ndim > 0

    def operands(self) -> Iterator[Value]:
        """Yield the values that it is computed from."""
        yield from values_in(self.args)
        yield from values_in(tuple(self.kwargs.values()))


def values_in(item: Any) -> Iterator[Value]:
    """Yield the values among arguments, and in tuples, lists and slices of them."""
    if type(item) is Value:
        yield item
    elif isinstance(item, tuple | list):
        for x in item:
            yield from values_in(x)


def replaced(item: Any, change: Callable[[Value], Any]) -> Any:
    """Return arguments with change(value) in the place of values."""
    if type(item) is Value:
        return change(item)
    if isinstance(item, tuple | list):
        items = [replaced(x, change) for x in item]
        return type(item)(*items) if hasattr(item, "_fields") else type(item)(items)
    return item


# One name for one thing: operators on arrays are ufuncs.
SAME = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.truediv: np.divide,
    operator.neg: np.negative,
    operator.abs: np.absolute,
    operator.lt: np.less,
    operator.le: np.less_equal,
    operator.gt: np.greater,
    operator.ge: np.greater_equal,
    operator.eq: np.equal,
    operator.ne: np.not_equal,
    operator.and_: np.bitwise_and,
    operator.or_: np.bitwise_or,
    operator.invert: np.invert,
    operator.matmul: np.matmul,
}
_EITHER_ORDER = frozenset({np.add, np.multiply, np.equal, np.not_equal, np.bitwise_and, np.bitwise_or})
_LITERALS = (*PLAIN, str, bytes, slice, type, np.generic, np.dtype, type(None), type(Ellipsis), range)


class Graph:
    """The values of a program in the order in which they were recorded."""

    def __init__(self, *, of_device: bool = False) -> None:
        """Start with none; `of_device`: they stand for arrays of a device."""
        self.of_device = of_device
        self.values: list[Value] = []
        self.inputs: list[Value] = []
        self.guards: list[tuple[Value, bool]] = []  # what a branch of Python's looked at, and what it saw
        self.watched: list[Value] = []  # where the tape looks for NaN
        self.refused: str | None = None
        self.nbytes = 0  # of all results, which are held while it is recorded
        self._known: dict[Any, Value] = {}
        self._alive: list[Any] = []  # constants, so that their addresses stay theirs

    def refuse(self, why: str) -> NoReturn:
        """Raise NotReplayable; the reason is kept, should somebody catch it."""
        self.refused = self.refused or why
        raise NotReplayable(why)

    def input(self, example: Any) -> Value:
        """Return a new input."""
        value = self._new(example, is_input=True)
        self.inputs.append(value)
        return value

    def constant(self, x: Any) -> Value:
        """Return the value of an array that is the same in every run: by its place in memory, or by its content."""
        place = ("place", x.ctypes.data, x.shape, x.strides, x.dtype.str)
        found = self._known.get(place)
        if found is None:
            key = ("constant", x.shape, x.strides, x.dtype.str, hashlib.sha1(x.tobytes()).digest())
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = self._new(x)
            self._known[place] = found
            self._alive.append(x)
        return found

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
        """Return the value of function(*args, **kwargs); arguments are values, literals, and tuples and lists of them.

        Computed from the examples, unless it was recorded before.
        """
        function, args = self._canonical(function, args)
        args = args if kwargs else self._cast(function, args)
        pairs = [_key(x) for x in args]
        if function in _EITHER_ORDER:
            pairs.sort(key=repr)
        key = (function, *pairs, *[(name, _key(kwargs[name])) for name in sorted(kwargs)])
        found = self._known.get(key)
        if found is None:
            concrete = {name: replaced(x, _example) for name, x in kwargs.items()}
            if "raise" in np.geterr().values():
                self.refuse("it lets NumPy raise, np.errstate(...='raise'): what is caught depends on numbers")
            try:
                example = function(*replaced(args, _example), **concrete)
            except Exception as error:  # somebody may catch it: another step may not raise
                self.refused = self.refused or f"{type(error).__name__} while it was recorded"
                raise
            values = [*values_in(args), *values_in(tuple(kwargs.values()))]
            if type(example) is np.ndarray and all(v.is_constant for v in values):
                found = self.constant(example)
            elif function in COPIES and not kwargs and _is_alike(args, example):
                found = args[0]
            else:
                found = self._new(example, function, args, kwargs)
            self._known[key] = found
        return found

    def _canonical(self, function: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        values = [x for x in args if type(x) is Value]
        if function in SAME and any(v.is_array for v in values):
            return SAME[function], args
        if function is operator.getitem and values and values[0].function is np.split:
            return function, _of_split(values[0], args)
        is_numpys = function is operator.pow and not self.of_device  # CuPy's power is a power
        is_power = is_numpys and type(args[1]) in (int, float) and type(args[0]) is Value
        if is_power and args[0].is_array and args[0].example.dtype.kind == "f":  # as NumPy does
            known = _POWERS.get(args[1])
            return (np.power, args) if known is None else (known, args[:1])
        return function, args

    def _cast(self, function: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return counts that are constant as the floats to which NumPy would cast them in every run."""
        counts = [type(x) is Value and x.is_constant and x.example.dtype.kind in "iu" for x in args]
        if not (any(counts) and isinstance(function, np.ufunc) and function.signature is None):
            return args
        try:
            dtypes = function.resolve_dtypes((*map(dtype_of, args), *[None] * function.nout))
        except TypeError:  # NumPy says so itself
            return args
        pairs = zip(args, counts, dtypes, strict=False)
        return tuple([self.constant(x.example.astype(d)) if c and d.kind == "f" else x for x, c, d in pairs])

    def _new(self, example: Any, function: Any = None, args: Any = (), kwargs: Any = None, **named: Any) -> Value:
        value = Value(len(self.values), example, function, args, kwargs, **named)
        self.values.append(value)
        self.nbytes += example.nbytes if type(example) is np.ndarray and function is not None else 0
        if self.nbytes > MOST_BYTES or len(self.values) > MOST_VALUES:
            self.refuse(f"to record it would take {len(self.values)} values of {self.nbytes >> 20} MiB and more")
        return value


def dtype_of(x: Any) -> Any:
    """Return what NumPy decides on casts by: a dtype, or the type of a number of Python's."""
    example = _example(x) if type(x) is Value else x
    if type(example) is bool:
        return np.dtype(bool)
    return type(example) if type(example) in PLAIN else getattr(example, "dtype", np.dtype(object))


# What Python's x ** exponent of an array is for some exponents; for others it is np.power.
_POWERS: dict[float, Any] = {2: np.square, 1: np.positive, 0.5: np.sqrt, -1: np.reciprocal}


def _is_alike(args: tuple[Any, ...], copy: Any) -> bool:
    """Whether a copy of a value lies in memory as the value does."""
    x = args[0].example if len(args) == 1 and type(args[0]) is Value else None
    return type(x) is np.ndarray is type(copy) and x.strides == copy.strides and x.dtype == copy.dtype


def _of_split(split: Value, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a part of what was split as that part of the whole, which a pullback asks for, too."""
    x, count = split.args[:2]
    axis = split.kwargs.get("axis", split.args[2] if len(split.args) > 2 else 0)
    if type(x) is not Value or not (type(count) is type(axis) is type(args[1]) is int):
        return args
    axis %= x.example.ndim
    size, k = x.example.shape[axis] // count, args[1] % count
    return x, (*[slice(None, None, None)] * axis, slice(k * size, (k + 1) * size, None))


def _example(value: Value) -> Any:
    return value.example


def is_literal(x: Any) -> bool:
    """Whether an argument stands in a program as it is."""
    return isinstance(x, _LITERALS)


def _key(item: Any) -> Any:
    if type(item) is Value:
        return ("value", item.number)
    if isinstance(item, tuple | list):
        return (type(item).__name__, *map(_key, item))
    return (type(item).__name__, repr(item))
