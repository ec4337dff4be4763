"""np.vectorize on traced values: its function is called on entries, and what it returns is stacked.

That is what NumPy does too, by a loop in Python. The function gets traced entries, so it is written with NumPy's
functions (np.exp for math.exp), and it may branch on their comparisons.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metagrad.ad.functions.shapes import as_shape, astype, getitem, is_float, reshape, stack
from metagrad.ad.tape import Var
from metagrad.errors import bad_type
from metagrad.xp import is_array

_ONE = re.compile(r"\(([^()]*)\)")
OBJECTS = (
    "It was made by np.frompyfunc, which works on objects. Write np.vectorize(f), which is traced entry by entry, or "
    "call f with the arrays themselves where it is composed of NumPy's functions."
)
_WHERE = "numpy.vectorize"
Dims = list[tuple[str, ...]]


def of_objects(function: Any) -> bool:
    """Tell whether a ufunc was made by np.frompyfunc."""
    return isinstance(function, np.ufunc) and function.__name__.endswith("(vectorized)")


def vectorized(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Call the np.vectorize object `self`, some of whose arguments are traced."""
    function, operands = _without_excluded(self, args, kwargs)
    if not operands:
        return function()
    ins, outs = _core_dims(self.signature, len(operands))
    if len(operands) != len(ins):
        raise TypeError(f"{_WHERE}: {len(operands)} arguments came; the signature {self.signature} has {len(ins)}")
    arrays = [_array(x) for x in operands]
    sizes: dict[str, int] = {}
    for x, dims in zip(arrays, ins, strict=True):
        _enter(sizes, x.shape, dims, "an argument")
    loops = [x.shape[: len(x.shape) - len(dims)] for x, dims in zip(arrays, ins, strict=True)]
    shape = np.broadcast_shapes(*loops)
    is_scalar = self.signature is None
    made = [
        _results(function(*[_entry(x, loop, at, is_scalar) for x, loop in zip(arrays, loops, strict=True)]), outs)
        for at in itertools.product(*map(range, shape))
    ]
    columns = _columns(made, self.otypes, outs, sizes)
    parts = []
    for column, dims, dtype in zip(columns, outs or [()] * len(columns), _types(columns, self.otypes), strict=True):
        for x in column[:1]:
            _enter(sizes, np.shape(x), dims, "a result")
        parts.append(_stacked(column, (*shape, *[sizes[d] for d in dims]), dtype))
    return parts[0] if len(parts) == 1 else tuple(parts)


def _without_excluded(self: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], list[Any]]:
    """Return the function of the arguments over which is looped, and those: by place, then by name."""
    places = [i for i in range(len(args)) if i not in self.excluded]
    names = [name for name in kwargs if name not in self.excluded]

    def function(*entries: Any) -> Any:
        given = list(args)
        for i, x in zip(places, entries, strict=False):
            given[i] = x
        return self.pyfunc(*given, **{**kwargs, **dict(zip(names, entries[len(places) :], strict=True))})

    return function, [args[i] for i in places] + [kwargs[name] for name in names]


def _core_dims(signature: str | None, count: int) -> tuple[Dims, Dims | None]:
    """Return the names of the axes of each argument and result that are not looped over; results None if unknown."""
    if signature is None:
        return [()] * count, None
    sides = [_ONE.findall(side.replace(" ", "")) for side in signature.split("->")]
    ins, outs = ([tuple(filter(None, dims.split(","))) for dims in side] for side in sides)
    return ins, outs


def _array(x: Any) -> Any:
    if type(x) is Var or is_array(x):
        return x
    is_traced = type(x) in (list, tuple) and any(type(y) is Var for y in x)
    return stack(list(x)) if is_traced else np.asarray(x)


def _enter(sizes: dict[str, int], shape: tuple[int, ...], dims: tuple[str, ...], what: str) -> None:
    """Remember the sizes of the named axes; ValueError where there are too few, or where two sizes differ."""
    if len(shape) < len(dims):
        raise ValueError(f"{_WHERE}: {what} has the shape {shape}, which does not have all core dimensions {dims}")
    for name, n in zip(dims, shape[len(shape) - len(dims) :], strict=True):
        if sizes.setdefault(name, n) != n:
            raise ValueError(f"{_WHERE}: the core dimension {name!r} has two sizes, {sizes[name]} and {n}")


def _entry(x: Any, loop: tuple[int, ...], at: tuple[int, ...], is_scalar: bool) -> Any:
    index = tuple(0 if n == 1 else i for n, i in zip(loop, at[len(at) - len(loop) :], strict=True))
    if type(x) is Var:
        return getitem(x, index)
    found = x[index]
    return found.item() if is_scalar and isinstance(found, np.generic) else found  # as NumPy, Python's numbers


def _results(out: Any, outs: Dims | None) -> tuple[Any, ...]:
    results = out if isinstance(out, tuple) else (out,)
    if outs is not None and len(results) != len(outs):
        raise ValueError(f"{_WHERE}: the function returned {len(results)} results; the signature has {len(outs)}")
    return results


def _columns(made: list[Any], otypes: str | None, outs: Dims | None, sizes: dict[str, int]) -> list[list[Any]]:
    """Return the results of all calls, one list for each output."""
    if made:
        return [list(column) for column in zip(*made, strict=True)]
    if not otypes:
        raise ValueError("cannot call `vectorize` on size 0 inputs unless `otypes` is set")
    if any(d not in sizes for dims in outs or [] for d in dims):
        raise ValueError(f"{_WHERE}: the size of a new core dimension is not known, as there was nothing to call on")
    return [[] for _ in otypes]


def _types(columns: list[list[Any]], otypes: str | None) -> list[Any]:
    """Return the dtypes of the outputs: those that were asked for, else those of the first results, as in NumPy."""
    if otypes:
        return [np.dtype(char) for char in otypes]
    types = [x[0].dtype if hasattr(x[0], "dtype") else np.asarray(x[0]).dtype for x in columns]
    for dtype, column in zip(types, columns, strict=True):
        if not is_float(dtype) and any(type(x) is Var for x in column):
            came = f"of {dtype}, into which NumPy would convert all others"
            bad_type(_WHERE, "the first result", came, "a float", "Set otypes=[float], or return 0.0 for 0.")
    return types


def _stacked(column: list[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    if not any(type(x) is Var for x in column):
        return np.asarray(column, dtype=dtype).reshape(shape)
    # A result may lack what another has: it is repeated, as where it is written into an array.
    core = np.broadcast_shapes(*[np.shape(x) for x in column])
    whole = [x if np.shape(x) == core else np.broadcast_to(x, core) for x in column]
    out = reshape(stack(whole), as_shape(shape))
    return out if out.dtype == dtype else astype(out, dtype)
