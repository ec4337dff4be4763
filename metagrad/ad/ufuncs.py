"""The methods and options of ufuncs on traced values: reduce, accumulate, outer, dtype=.

Where a ufunc's reduction has a name (add.reduce is sum), that is taken; else entries are combined one by one, from the
left, as NumPy does. What writes in place is refused, with what to write instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from metagrad.ad.functions.cumulative import ACCUMULATED
from metagrad.ad.functions.elementwise import copy
from metagrad.ad.functions.elementwise import where as choose
from metagrad.ad.functions.reductions import logsumexp, max_, min_, prod
from metagrad.ad.functions.shapes import (
    astype,
    expand_dims,
    getitem,
    is_float,
    module_of,
    reshape,
    stack,
    sum_,
    swapaxes,
)
from metagrad.ad.tape import Var, value_of
from metagrad.errors import bad_type

_LN2 = math.log(2.0)
Combine = Callable[..., Any]


def _known(reduced: Callable[..., Any], none: float) -> Callable[..., Any]:
    """Return a reduction that passes over NaN, which counts as `none`; NaN where there is nothing else."""

    def reduce(x: Any, axis: Any, keepdims: bool) -> Any:
        nan = module_of(value_of(x)).isnan(value_of(x))
        found = reduced(choose(nan, none, x), axis, keepdims=keepdims)
        return choose(nan.all(axis=axis, keepdims=keepdims), math.nan, found)

    return reduce


_REDUCED: dict[Any, Callable[..., Any]] = {
    np.add: lambda x, axis, keepdims: sum_(x, axis, keepdims=keepdims),
    np.maximum: lambda x, axis, keepdims: max_(x, axis, keepdims=keepdims),
    np.minimum: lambda x, axis, keepdims: min_(x, axis, keepdims=keepdims),
    np.fmax: _known(max_, -math.inf),
    np.fmin: _known(min_, math.inf),
    np.logaddexp: logsumexp,
    np.logaddexp2: lambda x, axis, keepdims: logsumexp(x * _LN2, axis, keepdims) / _LN2,
}
# Along one axis, from the last to the first of several.
_REDUCED_ALONG: dict[Any, Callable[..., Any]] = {np.multiply: prod}
# What entries that are left out count for.
_NEUTRAL: dict[Any, float] = {
    np.add: 0.0,
    np.multiply: 1.0,
    np.logaddexp: -math.inf,
    np.logaddexp2: -math.inf,
    np.hypot: 0.0,
}
_LIMITS = (np.maximum, np.minimum, np.fmax, np.fmin)  # these have no neutral number: `initial` is one


def _reduce(
    ufunc: Any,
    traced: Combine,
    array: Any,
    axis: Any = 0,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
    dtype: Any = None,
) -> Any:
    x = astype(array, dtype) if dtype is not None and np.dtype(dtype) != array.dtype else array
    axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    if where is not True:
        x = choose(value_of(where), x, _left_out(ufunc, initial))
    if ufunc in _REDUCED:
        found = _REDUCED[ufunc](x, axes, keepdims)
    else:
        found = _reduced_by_pairs(ufunc, traced, x, axes)
        found = expand_dims(found, axes) if keepdims else found
    return found if initial is None else traced(initial, found)


def _left_out(ufunc: Any, initial: Any) -> Any:
    if ufunc in _NEUTRAL:
        return _NEUTRAL[ufunc]
    if ufunc in _LIMITS and initial is not None:
        return value_of(initial)
    raise TypeError(
        f"numpy.{ufunc.__name__}.reduce of a traced value with where=: no number counts for nothing. Give "
        "initial= for a maximum or a minimum, or put such a number in the place of the entries with np.where."
    )


def _reduced_by_pairs(ufunc: Any, traced: Combine, x: Any, axes: tuple[int, ...]) -> Any:
    if len(axes) > 1 and ufunc.identity is None and ufunc not in _NEUTRAL:
        raise ValueError(f"numpy.{ufunc.__name__}.reduce: axis is {axes}; expected one axis, as the order counts.")
    if any(x.shape[at] == 0 for at in axes):
        return ufunc.reduce(value_of(x), axis=axes)  # what counts for nothing, a constant, or NumPy's error
    along = _REDUCED_ALONG.get(ufunc)
    for at in sorted(axes, reverse=True):
        if along is not None:
            x = along(x, at)
        else:
            *_, x = _running(traced, x, at)
    return x


def _accumulate(ufunc: Any, traced: Combine, array: Any, axis: int = 0, dtype: Any = None) -> Any:
    x = astype(array, dtype) if dtype is not None and np.dtype(dtype) != array.dtype else array
    if x.shape[normalize_axis_index(axis, x.ndim)] == 0:
        return copy(x)
    found = ACCUMULATED.get(ufunc)
    return found(x, axis) if found is not None else stack(list(_running(traced, x, axis)), axis)


def _running(traced: Combine, array: Any, axis: int) -> Any:
    """Yield the entries along an axis combined so far."""
    at = axis % array.ndim
    x = swapaxes(array, 0, at) if at else array
    total = None
    for i in range(x.shape[0]):
        entry = getitem(x, i)
        total = entry if total is None else traced(total, entry)
        # Axis 0 is gone; what was there stands at at - 1, and belongs to the front.
        yield total if at < 2 else np.moveaxis(total, at - 1, 0)


def _outer(ufunc: Any, traced: Combine, a: Any, b: Any, dtype: Any = None) -> Any:
    a, b = (x if dtype is None else _wide(x, dtype) for x in (a, b))
    return traced(reshape(a, (*np.shape(a), *(1,) * np.ndim(b))), b)


def _at(ufunc: Any, traced: Combine, a: Any, indices: Any, b: Any = None) -> NoReturn:
    raise TypeError(
        f"numpy.{ufunc.__name__}.at writes in place, which a traced value cannot. For np.add.at(a, i, b) with rows i "
        "write a + (np.arange(len(a))[:, None] == i).astype(b.dtype) @ b, for one entry each a + np.where(mask, b, 0)."
    )


def _reduceat(ufunc: Any, traced: Combine, array: Any, indices: Any, axis: int = 0, dtype: Any = None) -> NoReturn:
    name = ufunc.__name__
    raise TypeError(
        f"numpy.{name}.reduceat cannot be traced by metagrad.ad. Write np.stack([np.{name}.reduce(x[i:j]) for i, j in "
        "zip(starts, [*starts[1:], len(x)])])."
    )


METHODS: dict[str, Callable[..., Any]] = {
    "reduce": _reduce,
    "accumulate": _accumulate,
    "outer": _outer,
    "at": _at,
    "reduceat": _reduceat,
}
_DEFAULTS = {"casting": "same_kind", "order": "K", "subok": True}


def with_options(name: str, inputs: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the operands and options of a call of a ufunc: operands in the dtype asked for, and defaults left out.

    TypeError for where=, which leaves entries without a value; it says what to write.
    """
    where, dtype = kwargs.get("where", True), kwargs.get("dtype")
    if where is not True:
        _refuse_where(name, len(inputs))
    left = {n: x for n, x in kwargs.items() if n not in ("where", "dtype") and x is not _DEFAULTS.get(n, _DEFAULTS)}
    if dtype is None:
        return inputs, left
    if not is_float(np.dtype(dtype)):
        bad_type(name, "dtype", np.dtype(dtype), "a float type", "Convert what comes out, with its method astype.")
    return tuple(_wide(x, dtype) for x in inputs), left


def _wide(x: Any, dtype: Any) -> Any:
    """Return an operand in the dtype asked for; a Python number has none."""
    if type(x) is Var:
        return astype(x, dtype)
    return x.astype(dtype) if hasattr(x, "astype") else x


def _refuse_where(name: str, count: int) -> NoReturn:
    safe = "np.where(mask, x, 1)"
    call = f"x / {safe.replace('x', 'y')}" if name == "numpy.divide" else name.replace("numpy", "np") + f"({safe}"
    if name != "numpy.divide":
        call += ", y)" if count > 1 else ")"
    raise TypeError(
        f"{name} with where= cannot be traced by metagrad.ad: entries that are left out have no value of their own. "
        f"Write np.where(mask, {call}, 0), with the value that belongs there for 0."
    )
