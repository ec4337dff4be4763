"""The methods of ufuncs on traced values: reduce, accumulate, outer.

Where a ufunc's reduction has a name (add.reduce is sum), that is taken; else entries are combined one by one, from the
left, as NumPy does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.ad.functions.cumulative import ACCUMULATED
from metagrad.ad.functions.reductions import max_, min_, prod
from metagrad.ad.functions.shapes import expand_dims, getitem, reshape, stack, sum_, swapaxes

_REDUCED: dict[Any, Callable[..., Any]] = {np.add: sum_, np.multiply: prod, np.maximum: max_, np.minimum: min_}
_ACCUMULATED: dict[Any, Callable[..., Any]] = ACCUMULATED


def _reduce(ufunc: Any, traced: Callable[..., Any], array: Any, axis: Any = 0, keepdims: bool = False) -> Any:
    found = _REDUCED.get(ufunc)
    if found is not None:
        return found(array, axis, keepdims=keepdims)
    if not isinstance(axis, int):
        raise TypeError(f"numpy.{ufunc.__name__}.reduce of a traced value: axis is {axis!r}; expected one axis.")
    *_, last = _running(traced, array, axis)
    return expand_dims(last, axis) if keepdims else last


def _accumulate(ufunc: Any, traced: Callable[..., Any], array: Any, axis: int = 0) -> Any:
    found = _ACCUMULATED.get(ufunc)
    return found(array, axis) if found is not None else stack(list(_running(traced, array, axis)), axis)


def _running(traced: Callable[..., Any], array: Any, axis: int) -> Any:
    """Yield the entries along an axis combined so far."""
    at = axis % array.ndim
    x = swapaxes(array, 0, at) if at else array
    total = None
    for i in range(x.shape[0]):
        entry = getitem(x, i)
        total = entry if total is None else traced(total, entry)
        # Axis 0 is gone; what was there stands at at - 1, and belongs to the front.
        yield total if at < 2 else np.moveaxis(total, at - 1, 0)


def _outer(ufunc: Any, traced: Callable[..., Any], a: Any, b: Any) -> Any:
    return traced(reshape(a, (*np.shape(a), *(1,) * np.ndim(b))), b)


METHODS: dict[str, Callable[..., Any]] = {"reduce": _reduce, "accumulate": _accumulate, "outer": _outer}
