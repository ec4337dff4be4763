"""Norms of vectors and matrices, and condition numbers.

Their derivatives are those of the formulas: at a norm of 0, NaN (`safe_norm` has 0 there); of largest and smallest
entries, ties share equally. The norms 2, -2 and "nuc" of a matrix are of its singular values. Those have a derivative
wherever they differ from each other and from 0; where equal ones are treated alike, as by "nuc", they may be equal.
"""

from __future__ import annotations

import math
from typing import Any

from metagrad.ad.functions.elementwise import absolute, power, sqrt, square
from metagrad.ad.functions.factors import singular_values
from metagrad.ad.functions.reductions import max_, min_
from metagrad.ad.functions.shapes import getitem, kept_shape, moveaxis, reshape, sum_
from metagrad.ad.functions.systems import inverse
from metagrad.ad.tape import value_of

_BY_SUMS = {1: (-2, max_), -1: (-2, min_), math.inf: (-1, max_), -math.inf: (-1, min_)}


def _of_vectors(x: Any, ord: Any, axis: Any, keepdims: bool, name: str) -> Any:
    if ord is None or ord == 2:
        return sqrt(sum_(square(x), axis, keepdims))
    if isinstance(ord, str):
        raise ValueError(f"{name}: ord is {ord!r}; expected a number for vectors, as this is for matrices.")
    if ord == 0:
        value = value_of(x)  # how many entries are not 0: a constant
        return (value != 0).astype(value.dtype).sum(axis=axis, keepdims=keepdims)
    if abs(ord) == math.inf:
        if ord > 0 and not x.size:
            return sum_(absolute(x), axis, keepdims)  # of nothing the largest is 0
        return (max_ if ord > 0 else min_)(absolute(x), axis, keepdims)
    if ord == 1:
        return sum_(absolute(x), axis, keepdims)
    return power(sum_(power(absolute(x), ord), axis, keepdims), 1.0 / ord)


def _of_matrices(x: Any, ord: Any, axes: tuple[int, int], keepdims: bool, name: str) -> Any:
    if ord is None or ord in ("fro", "f"):
        return sqrt(sum_(square(x), axes, keepdims))
    if axes[0] % x.ndim == axes[1] % x.ndim:
        raise ValueError(f"{name}: axis is {axes}; expected two different axes.")
    m = moveaxis(x, axes, (-2, -1))
    if ord in _BY_SUMS:
        axis, reduce = _BY_SUMS[ord]
        out = reduce(sum_(absolute(m), axis), -1)
    elif ord == "nuc":
        out = sum_(singular_values(m, name), -1)
    elif ord in (2, -2):
        out = (max_ if ord == 2 else min_)(singular_values(m, name), -1)
    else:
        raise ValueError(f"{name}: ord is {ord!r}; expected 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2 for matrices.")
    return reshape(out, kept_shape(x.shape, axes)) if keepdims else out


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Norm of vectors (one axis) or matrices (two), of any order; 0/0 at 0, where `safe_norm` has 0."""
    if axis is None and (ord is None or (ord == 2 and x.ndim == 1)):
        return sqrt(sum_(square(x), None, keepdims))
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if len(axes) == 1:
        return _of_vectors(x, ord, axes, keepdims, "numpy.linalg.norm")
    if len(axes) == 2:
        return _of_matrices(x, ord, (axes[0], axes[1]), keepdims, "numpy.linalg.norm")
    raise ValueError(f"numpy.linalg.norm: there are {len(axes)} axes; expected one for vectors or two for matrices.")


def vector_norm(x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """Norm of vectors along one axis or several, of all entries if None."""
    return _of_vectors(x, ord, axis, keepdims, "numpy.linalg.vector_norm")


def matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Norm of matrices along the last two axes."""
    return _of_matrices(x, ord, (-2, -1), keepdims, "numpy.linalg.matrix_norm")


def cond(x: Any, p: Any = None) -> Any:
    """Condition number; in the 2-norm (None) the largest by the smallest singular value, else by the inverse."""
    if p is None or p in (2, -2):
        s = singular_values(x, "numpy.linalg.cond")
        first, last = getitem(s, (..., 0)), getitem(s, (..., -1))
        return last / first if p == -2 else first / last
    found = inverse(x, "numpy.linalg.cond", None)
    return _of_matrices(x, p, (-2, -1), False, "numpy.linalg.cond") * _of_matrices(
        found, p, (-2, -1), False, "numpy.linalg.cond"
    )
