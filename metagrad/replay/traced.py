"""An array that records what is computed with it; it is put INSIDE the tape's values, which run as ever.

So the tape, the task and the rule need no change: each call of NumPy's with a `Traced` is recorded with its result,
those of the tape's rules among them. What looks at numbers (a branch, float(x), np.asarray(x), an index) is refused,
for a program would go the way of one step for ever; a branch on the time alone is a guard of the program. Constants
meet constants as plain arrays, and are computed once.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import numpy as np

from metagrad.ad.tape import Var
from metagrad.replay.bounds import has_no_minus
from metagrad.replay.functions import METHODS, RECORDED, add_at, imag, method, put, put_along, real, reduction, spread
from metagrad.replay.in_place import in_place
from metagrad.replay.program import PLAIN, Graph, Value, is_literal
from metagrad.replay.refused import LOOKS, refuse_counts
from metagrad.xp import device_of, register_namespace, to_host

_MOST_COUNTED = 1 << 24  # entries, which float32 counts without rounding
RECORDING: ContextVar[Graph | None] = ContextVar("recording", default=None)


class Traced:
    """A value of a graph, with the methods of an array."""

    __slots__ = ("dtype", "graph", "is_fresh", "ndim", "shape", "value")
    __array_priority__ = 900.0

    def __init__(self, graph: Graph, value: Value) -> None:
        """Stand for `value`."""
        self.graph, self.value, example = graph, value, value.example
        self.shape: tuple[int, ...] = np.shape(example)
        self.dtype: Any = example.dtype if hasattr(example, "dtype") else np.dtype(type(example))
        self.ndim = len(self.shape)
        self.is_fresh = False  # zeros that nobody has seen: they may be written into, once

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def base(self) -> Any:
        """What the array is a view of, None for one of its own: the tape copies cotangents that are views."""
        return getattr(self.value.example, "base", None)

    @property
    def nbytes(self) -> int:
        """The bytes of the entries."""
        return self.size * int(self.dtype.itemsize)

    @property
    def strides(self) -> Any:
        """The steps in memory."""
        return self.value.example.strides

    @property
    def number_type(self) -> type | None:
        """The type of the number that this stands for, None for an array."""
        example = self.value.example
        return type(example) if isinstance(example, np.generic | float | int) else None

    def __len__(self) -> int:
        """Return the length of the first axis."""
        if not self.shape:
            raise TypeError("len() of a value with no axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        """Yield the entries along the first axis."""
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        """Show the example; while it is recorded, a text would stay that of one step."""
        if RECORDING.get() is not None:
            self.graph.refuse("it makes a text of a number: str(x), f'{x}'")
        return f"Traced({self.value.example!r})"

    def __hash__(self) -> int:
        """Refuse: a dictionary, or a set, would be asked for one step's number."""
        return self.graph.refuse("it looks a number up in a dictionary or a set")

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What code of a user sees is an array, or a number: isinstance(x, np.ndarray) is as it was.

        Python's numbers are numbers to the tape's rules, too: they do not promote, and some rules ask. On a device an
        array is no array of NumPy's, and CuPy leaves what is none to it.
        """
        if type(self.value.example) in PLAIN:
            return type(self.value.example)
        caller = sys._getframe(1)
        is_asked = RECORDING.get() is not None and not self.graph.of_device
        if is_asked and (not _is_library(caller) or caller.f_code.co_name == "isscalar"):
            return type(self.value.example)
        return Traced

    def __bool__(self) -> bool:
        """Return what a number of Python's is, and guard it; refuse to tell of an array."""
        if type(self.value.example) in PLAIN:
            self.graph.guards.append((self.value, bool(self.value.example)))
            return bool(self.value.example)
        return self.graph.refuse("it branches on numbers: `if x > 0`, any(x), x in y")

    def recorded_call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record a function that does not ask its arguments."""
        return record(self.graph, function, args, kwargs)

    def watched(self) -> None:
        """Let every run look whether there is a NaN here: where there is one, the tape makes zeros strong."""
        self.graph.watched.append(self.value)

    def surely_numbers(self) -> bool:
        """Whether there is no NaN, where every run then looks; data that have some, as they are recorded, may have."""
        is_whole = type(self.value.example) is int  # which may be too large for NumPy to look at
        if not is_whole and np.isnan(self.value.example).any():
            return False
        self.watched()
        return True

    def surely_from(self, least: float) -> bool:
        """Whether all entries are at least that, whatever the numbers are, for every run looks that none is NaN."""
        return least <= 0.0 and has_no_minus(self.value) and self.surely_numbers()

    def __array_ufunc__(self, ufunc: Any, called: str, *inputs: Any, **kwargs: Any) -> Any:
        """Record a ufunc; let the tape go first, whose values come back here."""
        if any(type(x) is Var for x in inputs):
            return NotImplemented
        if called == "at" and ufunc is np.add and len(inputs) == 3 and _is_fresh(inputs[0]):
            full, index, g = inputs
            return _fill(full, record(self.graph, add_at, (g, index, full.shape, full.dtype)))
        kwargs = {name: x for name, x in kwargs.items() if x is not None and x != (None,)}
        if called not in ("__call__", "reduce", "accumulate", "outer") or "out" in kwargs or "where" in kwargs:
            return self.graph.refuse(f"numpy.{ufunc.__name__}.{called} in place is not recorded")
        if called == "reduce":
            axis = inputs[1] if len(inputs) > 1 else kwargs.pop("axis", 0)
            rest = (axis, None, None, bool(kwargs.pop("keepdims", False)))
            return record(self.graph, ufunc.reduce, (inputs[0], *rest), kwargs)
        return record(self.graph, ufunc if called == "__call__" else getattr(ufunc, called), inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Record a function of NumPy's; let the tape go first."""
        if Var in types:
            return NotImplemented
        if function is np.put_along_axis and len(args) == 4 and not kwargs and _is_fresh(args[0]):
            full, index, g, axis = args
            return _fill(full, record(self.graph, put_along, (g, index, axis, full.shape, full.dtype)))
        if (function not in RECORDED and function not in _SPECIAL) or kwargs.get("out") is not None:
            module = getattr(function, "__module__", None) or "numpy"
            return self.graph.refuse(f"{module}.{function.__name__} is not recorded")
        if function is np.where and len(args) == 1:
            return self.graph.refuse("numpy.where(x) alone depends on the entries of x")
        if function in _SPECIAL:
            return _SPECIAL[function](*args, **kwargs)
        return _recorded(self.graph, function, args, kwargs)

    def __getitem__(self, index: Any) -> Any:
        """Record the entries at an index, which is no mask of traced entries."""
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(p, Traced) and p.dtype == bool for p in parts):
            return self.graph.refuse("x[mask] depends on the entries of the mask")
        return record(self.graph, operator.getitem, (self, index))

    def __setitem__(self, index: Any, g: Any) -> None:
        """Record zeros with g at an index; refuse to write over anything else."""
        if not self.is_fresh:
            self.graph.refuse("x[index] = y writes in place")
        _fill(self, record(self.graph, put, (g, index, self.shape, self.dtype)))

    def __getattr__(self, name: str) -> Any:
        """Return a method that is recorded."""
        if name not in METHODS:
            if RECORDING.get() is not None and not name.startswith("__") and not _is_library(sys._getframe(1)):
                self.graph.refused = self.graph.refused or f"x.{name} is not recorded"  # hasattr asks, too
            raise AttributeError(f"a recorded array has no {name!r}")

        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("out") is not None:
                return self.graph.refuse(f"x.{name}(out=...) writes in place")
            if name == "astype":
                kwargs.pop("copy", None)
            return _recorded(self.graph, name, (self, *args), kwargs)

        return call


def _is_library(frame: Any) -> bool:
    """Whether it is code of ours, or of NumPy and SciPy, that asks."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("metagrad", "numpy", "scipy")


def _is_fresh(x: Any) -> bool:
    return type(x) is Traced and x.is_fresh


def _fill(full: Traced, made: Traced) -> None:
    """Let zeros that nobody has seen be what was written into them."""
    full.value, full.is_fresh = made.value, False


def record(graph: Graph, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
    """Return function(*args, **kwargs), recorded; several results are recorded one by one."""
    items = tuple([_item(graph, x) for x in args])
    named = {name: _item(graph, x) for name, x in kwargs.items()} if kwargs else {}
    return _wrapped(graph, graph.call(function, items, named))


def _recorded(graph: Graph, called: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Record a function, or a method by its name; sums, products, extremes and means as what NumPy calls for them."""
    refuse_counts(graph, called, args, kwargs, Traced)
    if (found := reduction(called, args, kwargs)) is not None:
        return record(graph, *found)
    total = reduction("sum", args, kwargs) if called in ("mean", np.mean) else None
    if total is not None and type(args[0]) is Traced and args[0].dtype in (np.float32, np.float64):
        made = record(graph, *total)
        count = args[0].size // max(1, made.size)
        if made.ndim and count < _MOST_COUNTED:
            return record(graph, np.divide, (made, float(count)))
    return record(graph, method(called) if isinstance(called, str) else called, args, kwargs)


def _item(graph: Graph, x: Any) -> Any:
    """Return an argument as it stands in a program."""
    kind = type(x)
    if kind is Traced:
        x.is_fresh = False
        return x.value
    if kind is np.ndarray or device_of(x) is not None:
        return graph.constant(to_host(x))
    if isinstance(x, tuple | list):
        items = [_item(graph, i) for i in x]
        return kind(*items) if hasattr(x, "_fields") else kind(items)
    if kind is slice:
        if Traced in (type(x.start), type(x.stop), type(x.step)):
            graph.refuse("a slice whose ends depend on the time")
        return x
    if is_literal(x):
        return x
    return graph.refuse(f"a {kind.__name__} among the arguments of a function")


def _wrapped(graph: Graph, value: Value) -> Any:
    example = value.example
    if isinstance(example, tuple | list):
        parts = [_wrapped(graph, graph.call(operator.getitem, (value, i), {})) for i in range(len(example))]
        return type(example)(*parts) if hasattr(example, "_fields") else type(example)(parts)
    if example is NotImplemented:
        return example
    if type(example) is np.ndarray or isinstance(example, (np.generic, *PLAIN)):
        return Traced(graph, value)
    return graph.refuse(f"a function that returns a {type(example).__name__}")


def _unary(function: Any) -> Callable[[Traced], Any]:
    return lambda self: record(self.graph, function, (self,))


def _refusing(what: str) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: self.graph.refuse(what)


for _name, _made in {"real": real, "imag": imag, "T": np.transpose, "mT": np.matrix_transpose}.items():
    setattr(Traced, _name, property(_unary(_made)))
for _name, _why in LOOKS.items():
    setattr(Traced, _name, _refusing(_why))


def _binary(function: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forth(self: Traced, other: Any) -> Any:
        return NotImplemented if _is_foreign(other) else record(self.graph, function, (self, other))

    def back(self: Traced, other: Any) -> Any:
        return NotImplemented if _is_foreign(other) else record(self.graph, function, (other, self))

    return forth, back


def _is_foreign(other: Any) -> bool:
    return not (type(other) in (Traced, np.ndarray) or is_literal(other) or device_of(other) is not None)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    _forth, _back = _binary(getattr(operator, f"__{_name}__"))
    setattr(Traced, f"__{_name}__", _forth)
    setattr(Traced, f"__r{_name}__", _back)
    setattr(Traced, f"__i{_name}__", in_place(_forth))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Traced, f"__{_name}__", _binary(getattr(operator, _name))[0])
for _name in ("lshift", "rshift", "divmod"):
    setattr(Traced, f"__{_name}__", _refusing(f"{_name} is not recorded"))
    setattr(Traced, f"__r{_name}__", _refusing(f"{_name} is not recorded"))
for _name in ("neg", "abs", "invert", "pos"):
    setattr(Traced, f"__{_name}__", _unary(getattr(operator, f"__{_name}__")))


class _Scipy:
    """SciPy's parts by name."""

    def __getattr__(self, part: str) -> Any:
        return _ScipyPart(import_module(f"scipy.{part}"))


class _ScipyPart:
    """A part of SciPy: its ufuncs pass calls on; the others, which the tape's own primitives ask for, are recorded."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            graph = RECORDING.get()
            if graph is None or not any(type(x) is Traced for x in (*args, *kwargs.values())):
                return function(*args, **kwargs)
            return record(graph, function, args, kwargs)

        return function if isinstance(function, np.ufunc) or not callable(function) else call


class _Namespace:
    """What the tape computes traced values with: NumPy, of which nothing is looked at, as on a device."""

    __name__ = "metagrad.replay"

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """Return x as an array."""
        if type(x) is not Traced:
            return np.asarray(to_host(x), dtype=dtype)
        return x if dtype is None or x.dtype == dtype else x.astype(dtype)

    def zeros_like(self, x: Any, dtype: Any = None, shape: Any = None) -> Any:
        """Return zeros: an array to be filled where its shape is given, else a constant."""
        if type(x) is not Traced or shape is None:
            return _known(np.zeros_like(_model(x), dtype=dtype, shape=shape))
        return self.zeros(shape, x.dtype if dtype is None else dtype)

    def zeros(self, shape: Any, dtype: Any = float) -> Any:
        """Return an array to be filled, or to be taken for a constant."""
        graph = RECORDING.get()
        if graph is None:
            return np.zeros(shape, dtype)
        made = Traced(graph, graph.constant(np.zeros(shape, dtype)))
        made.is_fresh = True
        return made

    def ones_like(self, x: Any, dtype: Any = None, shape: Any = None) -> Any:
        """Return ones, a constant."""
        return _known(np.ones_like(_model(x), dtype=dtype, shape=shape))

    def empty_like(self, x: Any, dtype: Any = None, shape: Any = None) -> Any:
        """Return zeros, a constant."""
        return _known(np.zeros_like(_model(x), dtype=dtype, shape=shape))

    def broadcast_to(self, x: Any, shape: Any) -> Any:
        """Repeat as the tape does it."""
        return record(x.graph, spread, (x, shape)) if type(x) is Traced else spread(x, shape)


def _known(x: Any) -> Any:
    """Return a constant: recorded, where it may meet arrays of a device, which arrays of the host could not."""
    graph = RECORDING.get()
    return x if graph is None or not graph.of_device else Traced(graph, graph.constant(x))


def _model(x: Any) -> Any:
    """Return an array like x, of which shape, dtype and layout matter alone."""
    return x.value.example if type(x) is Traced else x


NAMESPACE = _Namespace()


def _of_the_example(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is the same in every run of a program: shapes."""
    return lambda a, axis=None: function(a.value.example, *(() if axis is None else (axis,)))


_SPECIAL: dict[Any, Callable[..., Any]] = {
    np.zeros_like: NAMESPACE.zeros_like,
    np.ones_like: NAMESPACE.ones_like,
    np.empty_like: NAMESPACE.empty_like,
}
_SPECIAL |= {function: _of_the_example(function) for function in (np.ndim, np.shape, np.size)}
register_namespace(Traced, NAMESPACE, _Scipy(), hosts_others=True)
