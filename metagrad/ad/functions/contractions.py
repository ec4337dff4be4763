"""NumPy's other products: of vectors and matrices in stacks, Kronecker's, polynomials, covariances.

All are compositions. Names that NumPy has from 2.2 on are looked up, and left out below.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from metagrad.ad.functions.elementwise import clip, sqrt
from metagrad.ad.functions.joining import atleast_2d
from metagrad.ad.functions.products import matmul, matmul_of_any, outer, tensordot
from metagrad.ad.functions.rearranging import diagonal, trace
from metagrad.ad.functions.shapes import (
    array_of,
    broadcast_to,
    cast,
    concatenate,
    getitem,
    matrix_transpose,
    module_of,
    moveaxis,
    reshape,
    squeeze,
    stack,
    sum_,
    transpose,
)
from metagrad.ad.tape import Var, value_of
from metagrad.errors import bad_type, bad_value

_ROW, _COLUMN = (Ellipsis, None, slice(None)), (Ellipsis, None)

# -- vectors and matrices in stacks


def vecdot(x1: Any, x2: Any, axis: int = -1) -> Any:
    """Sums of products of two vectors, along one axis of each."""
    a, b = [moveaxis(array_of(x), axis, -1) for x in (x1, x2)]
    return getitem(matmul(getitem(a, _ROW), getitem(b, _COLUMN)), (..., 0, 0))


def matvec(x1: Any, x2: Any) -> Any:
    """Products of matrices with vectors."""
    return getitem(matmul(array_of(x1), getitem(array_of(x2), _COLUMN)), (..., 0))


def vecmat(x1: Any, x2: Any) -> Any:
    """Products of vectors with matrices."""
    return getitem(matmul(getitem(array_of(x1), _ROW), array_of(x2)), (..., 0, slice(None)))


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Any:
    """Products of vectors of three entries that are orthogonal to both."""
    axes = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    x, y = [moveaxis(array_of(v), at, -1) for v, at in zip((a, b), axes, strict=False)]
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        came = f"vectors of {x.shape[-1]} and {y.shape[-1]} entries"
        remedy = "For those of two write a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]."
        bad_type("cross", "a, b", came, "vectors of 3", remedy)
    (x0, x1, x2), (y0, y1, y2) = [[getitem(v, (..., i)) for i in range(3)] for v in (x, y)]
    return moveaxis(stack([x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0], -1), -1, axes[2])


def kron(a: Any, b: Any) -> Any:
    """Kronecker's product: each entry of a times all of b."""
    x, y = array_of(a), array_of(b)
    n = max(x.ndim, y.ndim)
    outside, inside = (1,) * (n - x.ndim) + x.shape, (1,) * (n - y.ndim) + y.shape
    left = reshape(x, tuple(itertools.chain(*[(size, 1) for size in outside])))
    right = reshape(y, tuple(itertools.chain(*[(1, size) for size in inside])))
    return reshape(left * right, tuple(i * j for i, j in zip(outside, inside, strict=True)))


def _vectors(function: str, *given: Any) -> list[Any]:
    arrays = [array_of(x) for x in given]
    for i, x in enumerate(arrays, start=1):
        if x.ndim != 1:
            bad_value(function, f"x{i}", f"an array of shape {x.shape}", "one axis")
    return arrays


def linalg_outer(x1: Any, x2: Any) -> Any:
    """All products of an entry of one vector with an entry of another."""
    return outer(*_vectors("linalg.outer", x1, x2))


def linalg_tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Sum of products over paired axes."""
    return tensordot(x1, x2, axes)


def linalg_cross(x1: Any, x2: Any, axis: int = -1) -> Any:
    """Products of vectors of three entries that are orthogonal to both."""
    return cross(x1, x2, axis=axis)


def linalg_diagonal(x: Any, offset: int = 0) -> Any:
    """Diagonals of matrices in a stack."""
    return diagonal(x, offset, -2, -1)


def linalg_trace(x: Any, offset: int = 0, dtype: Any = None) -> Any:
    """Sums over the diagonals of matrices in a stack."""
    return trace(x, offset, -2, -1, dtype)


# -- polynomials, the highest power first


def polyval(p: Any, x: Any) -> Any:
    """The polynomial with coefficients p at x, by Horner's rule."""
    coefficients, at = array_of(p), array_of(x)
    value = value_of(at)
    out = module_of(value).zeros_like(value)
    for i in range(coefficients.shape[0]):
        out = out * at + getitem(coefficients, i)
    return out


def _of_one_length(a1: Any, a2: Any) -> list[Any]:
    arrays = [array_of(a) for a in (a1, a2)]
    arrays = [a if a.ndim else reshape(a, (1,)) for a in arrays]
    n = max(a.shape[0] for a in arrays)
    return [a if a.shape[0] == n else concatenate((_zeros(a, n - a.shape[0]), a)) for a in arrays]


def _zeros(a: Any, n: int) -> Any:
    return module_of(value_of(a)).zeros(n, a.dtype)


def polyadd(a1: Any, a2: Any) -> Any:
    """Coefficients of the sum of two polynomials."""
    x, y = _of_one_length(a1, a2)
    return x + y


def polysub(a1: Any, a2: Any) -> Any:
    """Coefficients of the difference of two polynomials."""
    x, y = _of_one_length(a1, a2)
    return x - y


def _powers(p: Any, n: int) -> Any:
    return module_of(value_of(p)).arange(n, 0, -1)


def polyder(p: Any, m: int = 1) -> Any:
    """Coefficients of the m-th derivative of a polynomial."""
    if m < 0:
        bad_value("polyder", "m", m, "at least 0", "Take np.polyint.")
    for _ in range(m):
        n = p.shape[0] - 1
        p = getitem(p, slice(0, max(n, 0))) * _powers(p, n)
    return p


def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """Coefficients of the m-th antiderivative of a polynomial, with the constants k."""
    if m < 0:
        bad_value("polyint", "m", m, "at least 0", "Take np.polyder.")
    constants = array_of([0.0] * m if k is None else k)
    constants = broadcast_to(constants, (m,)) if constants.size == 1 else constants
    if constants.shape != (m,):
        bad_value("polyint", "k", f"an array of shape {constants.shape}", f"{m} constants, or one")
    for i in range(m):
        last = getitem(constants, slice(i, i + 1)) if k is not None else _zeros(p, 1)
        p = concatenate((p / _powers(p, p.shape[0]), last))
    return p


def poly(seq_of_zeros: Any) -> Any:
    """Coefficients of the polynomial with given zeros."""
    if seq_of_zeros.ndim != 1:
        came, remedy = f"an array of shape {seq_of_zeros.shape}", "Take np.poly(np.linalg.eigvalsh(x)) of a matrix."
        bad_type("poly", "seq_of_zeros", came, "one axis", remedy)
    zeros = cast("poly", seq_of_zeros, np.float64) if seq_of_zeros.dtype == np.float16 else seq_of_zeros  # as NumPy's
    out, none = module_of(value_of(zeros)).ones(1, zeros.dtype), _zeros(zeros, 1)
    for i in range(zeros.shape[0]):
        out = concatenate((out, none)) - concatenate((none, out)) * getitem(zeros, i)
    return out


def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    """The matrix of powers of a vector."""
    if x.ndim != 1:
        bad_value("vander", "x", f"an array of shape {x.shape}", "one axis")
    base = cast("vander", x, np.promote_types(x.dtype, int))
    value = value_of(base)
    columns: list[Any] = [module_of(value).ones_like(value)]
    for _ in range((x.shape[0] if N is None else N) - 1):
        columns.append(base if len(columns) == 1 else columns[-1] * base)
    if N == 0:
        return module_of(value).zeros((x.shape[0], 0), value.dtype)
    return stack(columns if increasing else columns[::-1], 1)


# -- covariances


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    dtype: Any = None,
) -> Any:
    """Covariances of variables in rows (or columns); the weights of observations are constants."""
    given = [array_of(v) for v in (m, y) if v is not None]
    wide = np.result_type(*[v.dtype for v in given], np.float64) if dtype is None else dtype
    rows = [_in_rows(v, rowvar) for v in given]
    x = cast("cov", concatenate(rows) if len(rows) > 1 else rows[0], wide)
    if x.shape[0] == 0:
        return x
    count = x.shape[1]
    ddof = (0 if bias else 1) if ddof is None else ddof
    repeats, weights = [_weights(name, w, count) for name, w in (("fweights", fweights), ("aweights", aweights))]
    w = repeats if weights is None else weights if repeats is None else repeats * weights
    if w is None:
        centre, lost = sum_(x, 1, keepdims=True) / count, count - ddof
    else:
        total = w.sum()
        centre = sum_(x * w, 1, keepdims=True) / total
        lost = total - (ddof if weights is None else ddof * (w * weights).sum() / total)
    if not lost > 0:
        bad_value("cov", "ddof", ddof, f"fewer degrees of freedom than observations, {count}")
    x = x - centre
    return squeeze(matmul(x, transpose(x if w is None else x * w)) * (1 / lost))


def _in_rows(v: Any, rowvar: bool) -> Any:
    if v.ndim > 2:
        bad_value("cov", "m, y", f"an array of shape {v.shape}", "two axes at most")
    rows = atleast_2d(v)
    return rows if rowvar or v.ndim != 2 else transpose(rows)


def _weights(name: str, w: Any, count: int) -> Any:
    if type(w) is Var:
        remedy = "Write the covariance with np.average and a product of matrices."
        bad_type("cov", name, "a traced value", "a constant", remedy)
    if w is None:
        return None
    w = array_of(w)
    if w.shape != (count,):
        bad_value("cov", name, f"an array of shape {w.shape}", f"one weight for each observation, {count}")
    if isinstance(w, np.ndarray) and (w.dtype.kind == "f" if name == "fweights" else False) and (w != np.rint(w)).any():
        bad_type("cov", name, "an array with fractions", "integers", "Take aweights.")
    if isinstance(w, np.ndarray) and (w < 0).any():
        bad_value("cov", name, "an array with negative entries", "weights of at least 0")
    return w


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, dtype: Any = None) -> Any:
    """Correlations of variables in rows (or columns)."""
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviations = sqrt(diagonal(c))
    return clip(c / getitem(deviations, _COLUMN) / getitem(deviations, _ROW), -1.0, 1.0)


TABLE: dict[Any, Any] = {
    np.vecdot: vecdot,
    np.cross: cross,
    np.kron: kron,
    np.linalg.matmul: matmul_of_any,
    np.linalg.tensordot: linalg_tensordot,
    np.linalg.vecdot: vecdot,
    np.linalg.outer: linalg_outer,
    np.linalg.cross: linalg_cross,
    np.linalg.diagonal: linalg_diagonal,
    np.linalg.trace: linalg_trace,
    np.linalg.matrix_transpose: matrix_transpose,
    np.polyval: polyval,
    np.poly: poly,
    np.polyadd: polyadd,
    np.polysub: polysub,
    np.polyder: polyder,
    np.polyint: polyint,
    np.vander: vander,
    np.cov: cov,
    np.corrcoef: corrcoef,
}
for _name, _traced in {"matvec": matvec, "vecmat": vecmat}.items():
    if hasattr(np, _name):
        TABLE[getattr(np, _name)] = _traced
CONSTANT = frozenset({np.einsum_path})
REFUSED = {
    np.polymul: "Write np.convolve(a1, a2).",
    np.polyfit: "Solve np.linalg.lstsq(np.vander(x, deg + 1), y)[0], or the normal equations by np.linalg.solve.",
    np.polydiv: "How many coefficients are left depends on their values.",
    np.roots: "They are complex in general. Differentiate np.polyval(p, x) at a root of one's own: dx = -dp / p'(x).",
}
