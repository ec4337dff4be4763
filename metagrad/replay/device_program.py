"""Pass: the program as calls of a device's array module, in the place of NumPy's.

It is recorded with arrays of the host, as any program is. What Python computes from the time stays with Python
(`_Numbers`); all else is calls of the module with arrays of the device, of which every one writes into new memory, as
the module's own pool is quick. Where all of them may be captured, they become one launch (`captured`). Whether there
is a NaN where the tape would look for one is asked when all is launched (`seen`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial, reduce
from threading import Lock
from typing import Any

import numpy as np

from metagrad.protocols import Tree
from metagrad.replay.asked import when_compiled
from metagrad.replay.buffers import Buffers
from metagrad.replay.captured import Captured, captured
from metagrad.replay.compiled import Recipe
from metagrad.replay.functions import add_at, method_name, put, put_along, real, spread
from metagrad.replay.numpy_code import Source, defined, is_float
from metagrad.replay.program import PLAIN, SAME, NotReplayable, Value, dtype_of, replaced
from metagrad.replay.seen import may_go_on
from metagrad.xp import Array, Namespace, device_of, scipy_of

_RUNS = 4  # from which on a program is worth to be captured
_REDUCED = {np.add.reduce: "sum", np.maximum.reduce: "max", np.minimum.reduce: "min", np.multiply.reduce: "prod"}
_OF_ZEROS = (put, put_along, add_at)
# Calls that launch kernels and nothing else: the host copies nothing to the device for them, and waits for nothing.
_MAY_BE_CAPTURED = frozenset(
    [
        *(np.where, np.einsum, np.reshape, np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze),
        *(np.matrix_transpose, np.broadcast_to, np.ravel, np.copy, spread, real, put, add_at, *_REDUCED),
        *(np.take, np.take_along_axis),
        *(*SAME, operator.pow, operator.getitem),
    ]
)
_METHODS = frozenset(["reshape", "transpose", "swapaxes", "squeeze", "ravel", "flatten", "copy", "astype"])


class DeviceProgram:
    """What a function computed, to be run on arrays of a device; see `record.Program`."""

    whole = None  # it is no machine code
    why_not_compiled = None

    def __init__(self, recipe: Recipe, xp: Namespace) -> None:
        """Make the calls from what the passes have left; NotReplayable where the module lacks one of them."""
        self._lock, self._xp = Lock(), xp
        self._numbers = _Numbers(recipe)
        arrays = _Arrays(recipe, self._numbers, xp)
        self._run, self.source, self._slots = arrays.run, arrays.source, arrays.slots
        self.calls = arrays.calls
        self._places = [k for k, v in enumerate(recipe.inputs) if not self._numbers.is_one(v)]
        self._made = _made(recipe, self._numbers)
        self._graph: Captured | None = None
        self.why_no_graph = arrays.why_no_graph
        self._runs = 0

    @property
    def nbytes(self) -> int:
        """The memory that the program holds: that of its graph."""
        return 0 if self._graph is None else self._graph.nbytes

    @property
    def is_captured(self) -> bool:
        """Whether it is one launch."""
        return self._graph is not None

    def __call__(self, inputs: Sequence[Any]) -> Tree | None:
        """Return the outputs, arrays of their own, as a tree; None where the program does not apply to these inputs."""
        numbers = self._numbers(inputs)
        if numbers is None:
            return None
        given = [inputs[k] for k in self._places]
        slots = [numbers[v.number] for v, _ in self._slots]
        with self._lock:  # the memory of a graph is one run's
            found, top = self._launched(given, slots)
            if not may_go_on(top):
                return None
        return self._made(found, numbers)

    def _launched(self, given: list[Array], slots: list[Any]) -> tuple[list[Array], Array | None]:
        when = when_compiled()
        if self._graph is not None and when != "never":
            try:
                return self._graph(given, slots)
            except Exception as error:  # of the driver, or of the memory
                self._graph, self.why_no_graph = None, f"launching it failed ({type(error).__name__})"
        try:
            found: tuple[list[Array], Array | None] = self._run(*given, *slots)
        except Exception as error:  # of the array module, which may take other arguments than NumPy
            if self._runs:
                raise
            raise NotReplayable(f"it fails on the device ({type(error).__name__}: {error})"[:200]) from error
        self._runs += 1
        may_be = self._graph is None and self.why_no_graph is None and when != "never"
        if may_be and (self._runs >= _RUNS or when == "at once"):
            self._capture(given, slots, found[0])
        return found

    def _capture(self, given: list[Array], slots: list[Any], expected: list[Array]) -> None:
        xp = self._xp
        if any(device_of(x) is None for x in given):
            self.why_no_graph = "a number of NumPy's is among its inputs"
            return
        alone = [xp.asarray(np.asarray(x, dtype)) for x, (_, dtype) in zip(slots, self._slots, strict=True)]
        self._graph, self.why_no_graph = captured(xp, self._run, given, alone, expected)


class _Numbers:
    """What Python computes from the time and from counters, and the branches on it."""

    def __init__(self, recipe: Recipe) -> None:
        self._made: set[int] = {v.number for v in recipe.inputs if type(v.example) in PLAIN}
        self._inputs = [(k, v) for k, v in enumerate(recipe.inputs) if v.number in self._made]
        self._calls = [v for v in recipe.calls if v.function is not None and self._is_made(v)]
        self._guards = [(v, expected) for v, expected in recipe.guards]
        self._looks = [v for v in recipe.watched if v.number in self._made and is_float(v.example)]
        if not all(v.number in self._made for v, _ in self._guards):
            raise NotReplayable("it branches on what is on a device")

    def _is_made(self, v: Value) -> bool:
        """Whether a call computes a number from numbers alone."""
        if any(x.number not in self._made for x in v.operands()):
            return False
        if not (type(v.example) in PLAIN or isinstance(v.example, np.generic)):
            raise NotReplayable("it makes an array of the time")
        self._made.add(v.number)
        return True

    def is_one(self, v: Value) -> bool:
        """Whether a value is such a number."""
        return v.number in self._made

    def __call__(self, inputs: Sequence[Any]) -> dict[int, Any] | None:
        """Return the numbers; None where a branch would go another way, or where one is NaN."""
        found: dict[int, Any] = {v.number: inputs[k] for k, v in self._inputs}

        def of(x: Value) -> Any:
            return found[x.number]

        for v in self._calls:
            kwargs = {name: replaced(x, of) for name, x in v.kwargs.items()}
            made = found[v.number] = v.function(*replaced(v.args, of), **kwargs)  # type: ignore[misc]
            if type(made) is not type(v.example):  # 2 ** t, say, which is no integer below 0
                return None
        if any(bool(found[v.number]) is not expected for v, expected in self._guards):
            return None
        return None if any(found[v.number] != found[v.number] for v in self._looks) else found


class _Arrays:
    """The calls on arrays, as a function of the arrays among the inputs, and of numbers in its slots."""

    def __init__(self, recipe: Recipe, numbers: _Numbers, xp: Namespace) -> None:
        self._xp, self._numbers = xp, numbers
        self._new: dict[int, Value] = {}
        self._next = 1 + max(v.number for v in [*recipe.inputs, *recipe.calls])
        self._slot_of: dict[tuple[int, Any], Value] = {}
        self.slots: list[tuple[Value, Any]] = []
        calls = [v for v in recipe.calls if v.function is not None and not numbers.is_one(v)]
        self.calls, why_not = len(calls), [_why_not_captured(v) for v in calls]
        inputs = [v for v in recipe.inputs if not numbers.is_one(v)]
        moved = [self._moved(v) for v in calls]
        self.why_no_graph = next((why for why in why_not if why is not None), None)
        if self.why_no_graph is None and any(dtype is None for _, dtype in self.slots):
            self.why_no_graph = "a number of the time is in a call that would keep it"
        source = Source(Buffers())
        names = [source.take(v) for v in inputs]
        names += [source.take(self._slot_of[v.number, dtype]) for v, dtype in self.slots]
        for v in moved:
            source.call(v)
        top = self._top(recipe, source)
        outputs = [self._item(v, None) for v in recipe.outputs if not numbers.is_one(v)]
        source.lines.append(f"return [{', '.join(source.results(outputs))}], {top}")
        self.source = f"def run({', '.join(names)}):\n    " + "\n    ".join(source.lines) + "\n"
        self.run = defined(source, self.source)

    def _top(self, recipe: Recipe, source: Source) -> str:
        """Return the largest entry of all that is looked at, NaN where there is one; None where nothing is."""
        looked = {v.number: v for v in recipe.watched if is_float(v.example) and np.size(v.example)}
        arrays = [v for v in looked.values() if not (self._numbers.is_one(v) or v.is_constant)]
        largest, larger = source.bind(self._xp.max, "f"), source.bind(self._xp.maximum, "f")
        tops = [f"{largest}({source.name(v)})" for v in arrays]
        return reduce(lambda a, b: f"{larger}({a}, {b})", tops) if tops else "None"

    def _moved(self, v: Value) -> Value:
        """Return a call with the function and the constants of the device."""
        dtypes = _dtypes_of(v)

        def of(k: int, item: Any) -> Any:
            return replaced(item, lambda x: self._item(x, dtypes(k)))

        args = tuple([of(k, x) for k, x in enumerate(v.args)])
        kwargs = {name: of(-1, x) for name, x in v.kwargs.items()}
        return Value(v.number, v.example, _on(self._xp, v.function), args, kwargs)

    def _item(self, v: Value, dtype: Any) -> Value:
        """Return a value as it stands in a call: a constant on the device, a number in its slot."""
        if self._numbers.is_one(v):
            slot = self._slot_of.get((v.number, dtype))
            if slot is None:
                slot = self._slot_of[v.number, dtype] = Value(self._next, v.example, is_input=True)
                self._next += 1
                self.slots.append((v, dtype))
            return slot
        if not v.is_constant or type(v.example) is not np.ndarray:
            return v
        if v.number not in self._new:
            self._new[v.number] = Value(v.number, self._xp.asarray(v.example))
        return self._new[v.number]


def _dtypes_of(v: Value) -> Callable[[int], Any]:
    """Return which dtype a call makes of a number among its arguments, by its place; None where that is not known."""
    same: dict[Any, Any] = {**SAME, operator.pow: np.power}
    ufunc = same.get(v.function, v.function)
    if isinstance(ufunc, np.ufunc) and ufunc.signature is None and not v.kwargs:
        kinds = [dtype_of(x) for x in v.args]
        try:
            known = ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout))
        except TypeError:
            return lambda k: None
        return lambda k: known[k] if k >= 0 else None
    if v.function is np.where:
        return lambda k: v.example.dtype if k > 0 else None
    return lambda k: None


def _why_not_captured(v: Value) -> str | None:
    """Return why a call cannot be captured, None where it may be."""
    function, name = v.function, getattr(v.function, "__name__", "a function")
    is_ufunc = isinstance(function, np.ufunc) and function.nout == 1 and (function.signature is None or _is_matmul(v))
    method = method_name(function)
    if not (is_ufunc or function in _MAY_BE_CAPTURED or method in _METHODS):
        return f"{method or name} is not captured"
    index = v.args[1] if function in (operator.getitem, put, add_at) else ()
    if not all(_stays(part) for part in (index if isinstance(index, tuple) else (index,))):
        return "an index is not captured that the host copies to the device"
    if function in (np.take, np.take_along_axis) and type(v.args[1]) is not Value:
        return "an index is not captured that the host copies to the device"
    if function is np.where and len(v.args) != 3:
        return "numpy.where of one argument is not captured"
    return None


def _is_matmul(v: Value) -> bool:
    return v.function is np.matmul


def _stays(part: Any) -> bool:
    """Whether a part of an index is none that is copied to the device, or read from there, as masks are."""
    if type(part) is Value:
        return getattr(getattr(part.example, "dtype", None), "kind", "") in ("i", "u")
    return part is None or part is Ellipsis or type(part) in (int, slice)


@cache
def _on(xp: Namespace, function: Any) -> Any:
    """Return the function of a device's array module that stands for one of NumPy's; others as they are."""
    if function in _REDUCED:
        total = getattr(xp, _REDUCED[function])
        return lambda x, axis, dtype, out, keepdims: total(x, axis=axis, keepdims=keepdims)
    if function is np.matrix_transpose:  # which CuPy lacks
        return partial(xp.swapaxes, axis1=-1, axis2=-2)
    if function in _OF_ZEROS:
        return partial(function, xp=xp)
    name, module = getattr(function, "__name__", ""), getattr(function, "__module__", "") or ""
    if isinstance(function, np.ufunc):
        found = getattr(xp, name, None) or getattr(scipy_of(xp, "special"), name, None)
    elif module in ("numpy.linalg", "numpy.fft"):
        found = getattr(getattr(xp, module.rpartition(".")[2]), name, None)
    elif module == "numpy":
        found = getattr(xp, name, None)
    else:  # of Python's, or of ours: they go by what they are given
        return function
    if found is None:
        raise NotReplayable(f"{xp.__name__} has no {name}")
    return found


def _made(recipe: Recipe, numbers: _Numbers) -> Callable[[list[Array], dict[int, Any]], Tree]:
    """Return the function that puts results in their places, arrays and numbers."""
    source = Source(Buffers())

    def places() -> Iterator[str]:
        count = 0
        for v in recipe.outputs:
            if numbers.is_one(v):
                yield f"numbers[{v.number}]"
            else:
                yield f"arrays[{count}]"
                count += 1

    text = f"def run(arrays, numbers):\n    return {source.tree(recipe.tree, places())}\n"
    return defined(source, text)
