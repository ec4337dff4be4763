"""Functions of the order of entries along an axis.

The order itself is constant: the derivative of sorting is that of the permutation found, to any order. It is stable:
of equal entries the one that comes first stays first, and takes the cotangent of that place alone. At a tie this is
the limit of gradients at nearby points without one; what does not depend on the order of equal entries is right there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from metagrad.ad.functions.reductions import mean
from metagrad.ad.functions.shapes import kept_shape, module_of, ravel, reshape, transpose
from metagrad.ad.tape import Function, Var, multilinear, primitive, value_of
from metagrad.errors import bad_type
from metagrad.xp import Array


def _order(x: Array, axis: int) -> Array:
    return module_of(x).argsort(x, axis=axis, kind="stable")


def _along(x: Array, indices: Array, axis: int) -> Array:
    return module_of(x).take_along_axis(x, indices, axis=axis)


def _scattered(g: Array, indices: Array, axis: int, shape: tuple[int, ...], distinct: bool) -> Array:
    xp, n = module_of(g), len(shape)
    full = xp.zeros(shape, g.dtype)
    if distinct:
        xp.put_along_axis(full, indices, g, axis)
        return full
    grid = [xp.arange(size).reshape((1,) * i + (size,) + (1,) * (n - 1 - i)) for i, size in enumerate(shape)]
    grid[axis] = indices
    xp.add.at(full, tuple(grid), g)  # an entry that was picked twice gets both cotangents
    return full


_gather: Function = primitive(
    "take_along_axis",
    lambda x, indices, axis, distinct: _along(x, indices, axis),
    (lambda g, out, x, indices, axis, distinct: _scatter(g, indices, axis, x.shape, distinct),),
    multilinear,
)
_scatter: Function = primitive(
    "scatter_along_axis",
    _scattered,
    (lambda g, out, x, indices, axis, shape, distinct: _gather(g, indices, axis, distinct),),
    multilinear,
)


def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """Entries at integer indices along one axis (of all entries if None); repeats count twice."""
    if type(indices) is Var:
        bad_type("take_along_axis", "indices", "a traced value", "integers, which have no derivative")
    return _gather(ravel(arr), indices, 0, False) if axis is None else _gather(arr, indices, axis, False)


def sort(a: Any, axis: int | None = -1) -> Any:
    """Entries in increasing order along one axis (all entries if None), NaN last; equal entries keep their order."""
    x, at = (ravel(a), 0) if axis is None else (a, axis)
    return _gather(x, _order(value_of(x), at), at, True)


def median(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Entry in the middle of the sorted, or mean of the two there; NaN where an entry is."""
    axes = normalize_axis_tuple(range(a.ndim) if axis is None else axis, a.ndim)
    rest = [i for i in range(a.ndim) if i not in axes]
    kept, n = [a.shape[i] for i in rest], math.prod(a.shape[i] for i in axes)
    x = reshape(transpose(a, (*rest, *axes)) if rest else a, (*kept, n))
    value = value_of(x)
    xp, order = module_of(value), _order(value, -1)
    middle = order[..., (n - 1) // 2 : n // 2 + 1]
    # Where there is a NaN it is sorted last, and the last entries stand for those in the middle.
    is_nan = xp.isnan(_along(value, order[..., -1:], -1))
    out = mean(_gather(x, xp.where(is_nan, order[..., n - middle.shape[-1] :], middle), -1, True), -1)
    return reshape(out, kept_shape(a.shape, axes)) if keepdims else out


TABLE: dict[Any, Any] = {
    np.sort: sort,
    np.median: median,
    np.take_along_axis: take_along_axis,
}
