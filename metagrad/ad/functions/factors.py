"""Factorisations: Cholesky, eigenvalues of symmetric matrices, singular values, QR.

One factorisation has several results, and each is a primitive of its own; they share what was computed. So a loss of
eigenvalues alone meets their rule alone, which holds at repeated eigenvalues too, wherever the loss treats equal ones
alike. Vectors have no derivative there, and eigenvalues no second one: it is a LinAlgError, a ValueError, that names
the matrix of the stack. That is on the host; a device is not waited for, and gives inf or NaN.

Rules are those of NumPy's functions as they are: cholesky and eigh read one triangle, and the cotangent lies there.
Sources: I. Murray, Differentiation of the Cholesky decomposition (2016); M. Giles, Collected matrix derivative results
(2008), and J. Magnus and H. Neudecker, Matrix Differential Calculus (2019), for eigenvalues and singular values;
S. Walter and L. Lehmann, Algorithmic differentiation of linear algebra functions with application in optimum
experimental design (2010), for QR.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad.functions.elementwise import where
from metagrad.ad.functions.products import matmul
from metagrad.ad.functions.shapes import concatenate, getitem, matrix_transpose, module_of, swapaxes
from metagrad.ad.functions.systems import (
    Held,
    LinAlgError,
    Triangle,
    column,
    compute,
    folded,
    identity,
    part_of,
    place,
    row,
    solve_with_triangle,
)
from metagrad.ad.tape import Function, primitive, value_of
from metagrad.errors import bad_value
from metagrad.xp import Array

_T = matrix_transpose


class EighResult(NamedTuple):
    """Eigenvalues, in increasing order, and eigenvectors as columns."""

    eigenvalues: Any
    eigenvectors: Any


class SVDResult(NamedTuple):
    """Left singular vectors as columns, singular values in decreasing order, right singular vectors as rows."""

    U: Any
    S: Any
    Vh: Any


class QRResult(NamedTuple):
    """Orthonormal columns and an upper triangular matrix."""

    Q: Any
    R: Any


def _is_not_definite(a: Any, lower: bool) -> Any:
    smallest = float(np.linalg.eigvalsh(a, UPLO="L" if lower else "U")[0])
    try:
        np.linalg.cholesky(a, upper=not lower)
    except LinAlgError:
        came = f"is not positive definite (smallest eigenvalue {smallest:.3g})"
        return (came, "positive eigenvalues", "Add jitter: a + 1e-10 * np.eye(n), or more, as rounding takes it.")
    return None


def _cholesky_rule(g: Any, out: Any, a: Any, lower: bool, name: str, how: Any) -> Any:
    """Return the cotangent L'^-1 F(L'g) L^-1, where F takes the lower triangle and half of the diagonal."""
    factor, g = (out, g) if lower else (_T(out), _T(g))
    product = part_of(matmul(_T(factor), g), True)
    product = product * (1.0 - 0.5 * identity(product))
    how = Triangle(lower=True, transposed=True, name=name)
    half = solve_with_triangle(factor, product, how)
    return folded(_T(solve_with_triangle(factor, _T(half), how)), lower)


_cholesky: Function = primitive(
    "cholesky",
    lambda a, lower, name, how: compute(name, how, a, bad=lambda m: _is_not_definite(m, lower)),
    (_cholesky_rule,),
)


def cholesky_by(a: Any, lower: bool, name: str, how: Callable[[Array], Array]) -> Any:
    """Return the triangular factor that `how` finds."""
    return _cholesky(a, lower, name, how)


def numpy_cholesky(lower: bool) -> Callable[[Array], Array]:
    """Return how NumPy, or CuPy, finds one triangular factor or the other."""

    def factor(a: Array) -> Array:
        xp = module_of(a)
        if lower:
            return xp.linalg.cholesky(a)
        if xp is np:
            return np.linalg.cholesky(a, upper=True)
        return xp.swapaxes(xp.linalg.cholesky(xp.swapaxes(a, -1, -2)), -1, -2)

    return factor


def cholesky(a: Any, *, upper: bool = False) -> Any:
    """Triangular factor of a symmetric positive definite matrix, of which one triangle is read."""
    return cholesky_by(a, not upper, "numpy.linalg.cholesky", numpy_cholesky(not upper))


def refuse_equal(values: Any, held: Held, of: str, what: str, also_zero: bool = False) -> None:
    """Raise LinAlgError where two values of a matrix are equal but for rounding (or one is 0); not on a device."""
    x = value_of(values)
    if module_of(x) is not np or not x.size:
        return
    # LAPACK's values are wrong by a few times that; nearer than this, vectors have no digit right.
    limit = 8 * x.shape[-1] * np.finfo(x.dtype).eps * np.abs(x).max(-1, keepdims=True)
    for close, name in (
        (np.abs(np.diff(x, axis=-1)) <= limit, "equal"),
        ((np.abs(x) <= limit) & also_zero, "zero"),
    ):
        if close.any():
            *index, i = (int(k) for k in np.argwhere(close)[0])
            which = f"{of}s {i} and {i + 1} that are equal" if name == "equal" else f"a {of} {i} that is 0"
            told = place(tuple(index))
            raise LinAlgError(
                f"{held.where}: {told} has {which} but for rounding, where {what} have no derivative, and the values "
                f"no second one; expected different ones{' other than 0' if also_zero else ''}. Use the values alone, "
                "to first order, write what does not depend on the choice of vectors without them (np.linalg.solve, "
                "inv, norm, expm), or take metagrad.ad.stop_gradient of the vectors."
            )


def _inverse_gaps(values: Any, by: Any = None) -> Any:
    """Return 1 / (v_j - v_i), times `by`, and 0 on the diagonal."""
    i = module_of(value_of(values)).arange(values.shape[-1])
    off = i[:, None] != i[None, :]
    gap = row(values) - column(values)
    if by is not None:
        gap = gap * by
    return where(off, 1.0 / where(off, gap, 1.0), 0.0)


def _eigenvalues_rule(g: Any, out: Any, a: Any, held: Held) -> Any:
    vectors = _eigenvectors(a, held)
    return folded(matmul(vectors * row(g), _T(vectors)), held.lower)


def _eigenvectors_rule(g: Any, out: Any, a: Any, held: Held) -> Any:
    values = _eigenvalues(a, held)
    refuse_equal(values, held, "eigenvalue", "eigenvectors")
    inner = _inverse_gaps(values) * matmul(_T(out), g)
    return folded(matmul(matmul(out, inner), _T(out)), held.lower)


_eigenvalues: Function = primitive("eigenvalues", lambda a, held: held[0], (_eigenvalues_rule,))
_eigenvectors: Function = primitive("eigenvectors", lambda a, held: held[1], (_eigenvectors_rule,))


def eigh_by(a: Any, lower: bool, name: str, how: Callable[[Array], Any]) -> EighResult:
    """Return the eigenvalues and eigenvectors that `how` finds."""
    value = value_of(a)
    held = Held(lambda: compute(name, how, value), name, lower)
    return EighResult(_eigenvalues(a, held), _eigenvectors(a, held))


_eigenvalues_alone: Function = primitive(
    "eigvalsh",
    lambda a, values, held: compute(held.where, values, a),
    (lambda g, out, a, values, held: _eigenvalues_rule(g, out, a, held),),
)


def eigvalsh_by(a: Any, lower: bool, name: str, values: Callable[[Array], Any], how: Callable[[Array], Any]) -> Any:
    """Return the eigenvalues that `values` finds; eigenvectors are found when they are needed."""
    value = value_of(a)
    return _eigenvalues_alone(a, values, Held(lambda: compute(name, how, value), name, lower))


def _is_lower(UPLO: str, name: str) -> bool:
    side = UPLO.upper()
    if side not in ("L", "U"):
        bad_value(name, "UPLO", repr(UPLO), "'L' or 'U'")
    return side == "L"


def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of a symmetric matrix, of which one triangle is read."""
    lower = _is_lower(UPLO, "numpy.linalg.eigh")
    return eigh_by(a, lower, "numpy.linalg.eigh", lambda x: module_of(x).linalg.eigh(x, UPLO))


def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues of a symmetric matrix, of which one triangle is read; repeated ones have a first derivative."""
    lower, name = _is_lower(UPLO, "numpy.linalg.eigvalsh"), "numpy.linalg.eigvalsh"
    values, both = (lambda x: module_of(x).linalg.eigvalsh(x, UPLO)), (lambda x: module_of(x).linalg.eigh(x, UPLO))
    return eigvalsh_by(a, lower, name, values, both)


def _singular_rule(g: Any, out: Any, a: Any, held: Held) -> Any:
    return matmul(_left(a, held) * row(g), _right(a, held))


def _inner(product: Any, s: Any) -> Any:
    """Return (P - P') / (s_j^2 - s_i^2), and 0 on the diagonal."""
    return _inverse_gaps(s, row(s) + column(s)) * (product - _T(product))


def _left_rule(g: Any, out: Any, a: Any, held: Held) -> Any:
    s, right = _singular(a, held), _right(a, held)
    is_tall = a.shape[-2] > a.shape[-1]
    refuse_equal(s, held, "singular value", "singular vectors", also_zero=is_tall)
    product = matmul(_T(out), g)
    part = matmul(out, _inner(product, s) * row(s))
    if is_tall:
        part = part + (g - matmul(out, product)) / row(s)
    return matmul(part, right)


def _right_rule(g: Any, out: Any, a: Any, held: Held) -> Any:
    s, left = _singular(a, held), _left(a, held)
    is_wide = a.shape[-1] > a.shape[-2]
    refuse_equal(s, held, "singular value", "singular vectors", also_zero=is_wide)
    product = matmul(out, _T(g))
    part = matmul(column(s) * _inner(product, s), out)
    if is_wide:
        part = part + (g - matmul(_T(product), out)) / column(s)
    return matmul(left, part)


_left: Function = primitive("left_singular_vectors", lambda a, held: held[0], (_left_rule,))
_singular: Function = primitive("singular_values", lambda a, held: held[1], (_singular_rule,))
_right: Function = primitive("right_singular_vectors", lambda a, held: held[2], (_right_rule,))
_singular_alone: Function = primitive(
    "svdvals",
    lambda a, values, held: compute(held.where, values, a),
    (lambda g, out, a, values, held: _singular_rule(g, out, a, held),),
)


def svdvals_by(a: Any, name: str, values: Callable[[Array], Any], how: Callable[[Array], Any]) -> Any:
    """Return the singular values that `values` finds; vectors are found when they are needed."""
    value = value_of(a)
    return _singular_alone(a, values, Held(lambda: compute(name, how, value), name))


def svd_by(a: Any, full_matrices: bool, name: str, how: Callable[[Array], Any]) -> SVDResult:
    """Return the singular value decomposition that `how` finds."""
    if full_matrices and a.shape[-1] != a.shape[-2]:
        came, expected = "True for a matrix that is not square", "False"
        remedy = f"Its further vectors have no derivative: any others would do. Write {name}(a, full_matrices=False)."
        bad_value(name, "full_matrices", came, expected, remedy)
    value = value_of(a)
    held = Held(lambda: compute(name, how, value), name)
    return SVDResult(_left(a, held), _singular(a, held), _right(a, held))


def reduced_svd(a: Array) -> Any:
    """Return the reduced singular value decomposition of plain matrices."""
    return module_of(a).linalg.svd(a, full_matrices=False)


def values_of_svd(a: Array) -> Any:
    """Return the singular values of plain matrices."""
    return module_of(a).linalg.svd(a, compute_uv=False)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular value decomposition, reduced: of a matrix that is not square with full_matrices=False."""
    if not compute_uv:
        return singular_values(a, "numpy.linalg.svd")
    return svd_by(a, full_matrices, "numpy.linalg.svd", reduced_svd)


def singular_values(a: Any, name: str, found: Any = None) -> Any:
    """Return the singular values for the function of that name; `found` are those that were found already."""
    return svdvals_by(a, name, values_of_svd if found is None else lambda value: found, reduced_svd)


def svdvals(x: Any) -> Any:
    """Singular values; at 0 one of their slopes is taken, as theirs is that of a size."""
    return singular_values(x, "numpy.linalg.svdvals")


def _over_upper(x: Any, upper: Any, held: Held) -> Any:
    """Return x R'^-1."""
    size, xp = value_of(upper), module_of(value_of(upper))
    if xp is np and size.size:
        pivots = np.abs(np.diagonal(size, axis1=-2, axis2=-1))
        close = pivots <= size.shape[-1] * np.finfo(size.dtype).eps * pivots.max(-1, keepdims=True)
        if close.any():
            *index, i = (int(k) for k in np.argwhere(close)[0])
            remedy = "The derivative is that of independent columns: leave out those that depend on others."
            raise LinAlgError(
                f"{held.where}: {place(tuple(index))} has a column {i} that depends on those before it (R[{i}, {i}] is "
                f"0 but for rounding); expected independent columns. {remedy}"
            )
    return _T(solve_with_triangle(upper, _T(x), Triangle(lower=False, name=held.where)))


def _mirrored(m: Any) -> Any:
    """Return the symmetric matrix of which m has the lower triangle."""
    return part_of(m, True) + _T(part_of(m, True, strict=True))


def _q_rule(g: Any, out: Any, a: Any, held: Held) -> Any:
    return _over_upper(g - matmul(out, _mirrored(matmul(_T(g), out))), _r(a, held), held)


def _r_rule(g: Any, out: Any, a: Any, held: Held) -> Any:
    return _over_upper(matmul(_q(a, held), _mirrored(matmul(out, _T(g)))), out, held)


_q: Function = primitive("orthonormal_columns", lambda a, held: held[0], (_q_rule,))
_r: Function = primitive("upper_triangle", lambda a, held: held[1], (_r_rule,))


def qr_by(a: Any, name: str, how: Callable[[Array], Any]) -> QRResult:
    """Return the reduced QR decomposition that `how` finds; of a wide matrix the first columns decide."""
    value, k = value_of(a), min(a.shape[-2:])
    q, r = compute(name, how, value)
    held = Held(lambda: (q, r[..., :k]), name)
    if k == a.shape[-1]:
        return QRResult(_q(a, held), _r(a, held))
    first, rest = getitem(a, (..., slice(0, k))), getitem(a, (..., slice(k, None)))
    left = _q(first, held)
    return QRResult(left, concatenate((_r(first, held), matmul(swapaxes(left, -1, -2), rest)), -1))


def qr(a: Any, mode: str = "reduced") -> Any:
    """Orthonormal columns and an upper triangle: mode "reduced", "r", or "complete" where that is the same."""
    m, n = a.shape[-2:]
    if mode not in ("reduced", "r", "complete") or (mode == "complete" and m > n):
        remedy = "Write np.linalg.qr(a): the columns beyond those of a have no derivative, as any others would do."
        bad_value("numpy.linalg.qr", "mode", repr(mode), "'reduced' or 'r'", remedy)
    found = qr_by(a, "numpy.linalg.qr", lambda x: module_of(x).linalg.qr(x))
    return found.R if mode == "r" else found


EIG = (
    "Its eigenvalues are complex. For a symmetric matrix take np.linalg.eigh(a); else write what the loss needs with "
    "np.linalg.solve, np.linalg.matrix_power, np.linalg.det or scipy.linalg.expm."
)
TABLE: dict[Any, Any] = {
    np.linalg.cholesky: cholesky,
    np.linalg.eigh: eigh,
    np.linalg.eigvalsh: eigvalsh,
    np.linalg.svd: svd,
    np.linalg.svdvals: svdvals,
    np.linalg.qr: qr,
}
REFUSED: dict[Any, str] = {np.linalg.eig: EIG, np.linalg.eigvals: EIG}
