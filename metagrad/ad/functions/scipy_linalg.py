"""SciPy's linear algebra: values are SciPy's, rules those of `systems`, `linalg` and `factors`.

On a device, where CuPy has few of these names, cupy.linalg computes the same. Options that say where to write or
whether to look for inf and NaN change no derivative; they are taken, and nothing is overwritten.

Sources of the rules: those named in the other modules; for the exponential, I. Najfeld and T. Havel, Derivatives of the
matrix exponential and their computation (1995): the slope along E is the upper right block of that of [[A, E], [0, A]].
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from metagrad.ad.functions import factors, linalg
from metagrad.ad.functions.elementwise import copy, exp, where
from metagrad.ad.functions.joining import atleast_1d, atleast_2d
from metagrad.ad.functions.norms import norm as any_norm
from metagrad.ad.functions.shapes import (
    array_of,
    astype,
    broadcast_to,
    concatenate,
    flip,
    getitem,
    in_place_of,
    like,
    matrix_transpose,
    module_of,
)
from metagrad.ad.functions.systems import (
    Triangle,
    by_columns,
    compute,
    from_triangle,
    identity,
    inverse,
    part_of,
    solve_matrix,
    solve_with_triangle,
    triangle,
)
from metagrad.ad.tape import Function, primitive, value_of
from metagrad.errors import bad_value
from metagrad.xp import Array, scipy_of

_T = matrix_transpose
_SYMMETRIC = frozenset({"sym", "symmetric", "her", "hermitian", "pos", "positive definite"})
_TRIANGULAR = {"upper triangular": False, "lower triangular": True}


def _wide(x: Any) -> Any:
    """Return x as an array; of float16 as float32, in which SciPy computes then."""
    x = array_of(x)
    return astype(x, np.float32) if x.dtype == np.float16 else x


def _by(host: Callable[..., Any], device: Callable[[Any], Callable[..., Any]]) -> Callable[..., Any]:
    """Return a function of plain arrays: `host`, or on a device what `device` finds in its numpy.linalg."""

    def function(*arrays: Array) -> Any:
        xp = module_of(*arrays)
        return host(*arrays) if xp is np else device(xp.linalg)(*arrays)

    return function


def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Any:
    """The solution x of a x = b; of a symmetric matrix only the triangle is read that SciPy reads."""
    a, b = _wide(a), _wide(b)
    options: dict[str, Any] = {"check_finite": check_finite, "assume_a": assume_a}
    if assume_a in _SYMMETRIC:
        a, options["lower"] = from_triangle(a, lower), lower
    elif assume_a in _TRIANGULAR:
        a = part_of(a, _TRIANGULAR[assume_a])
    elif assume_a == "diagonal":
        a = a * identity(a)
    elif assume_a not in (None, "gen", "general"):
        remedy = "Leave it out: the matrix is then solved with as it is."
        bad_value("scipy.linalg.solve", "assume_a", repr(assume_a), "'gen', 'sym', 'pos' or a triangle", remedy)
    a = _T(a) if transposed else a
    how = _by(functools.partial(scipy.linalg.solve, **options), lambda of: of.solve)
    return by_columns(lambda c: solve_matrix(a, c, "scipy.linalg.solve", how), b)


def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The inverse. ValueError for a singular matrix."""
    how = _by(functools.partial(scipy.linalg.inv, check_finite=check_finite), lambda of: of.inv)
    return inverse(_wide(a), "scipy.linalg.inv", how)


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The determinant, in double precision; its second derivative needs an inverse."""
    how = _by(functools.partial(scipy.linalg.det, check_finite=check_finite), lambda of: of.det)
    return linalg.det_by(_wide(a), "scipy.linalg.det", how)


def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    """Norm of vectors (one axis) or matrices (two), of any order."""
    return any_norm(a, ord, axis, keepdims)


def pinv(a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False, check_finite: bool = True) -> Any:
    """The pseudo-inverse, and its rank if asked for; the number of singular values that count is constant."""
    a = _wide(a)
    value = value_of(a)
    if module_of(value) is not np and (atol is not None or return_rank):
        raise TypeError("scipy.linalg.pinv: atol and return_rank are not supported on a device. Use rtol.")
    limit = max(a.shape[-2:]) * float(np.finfo(a.dtype).eps) if rtol is None else rtol
    options = {"atol": atol, "rtol": rtol, "check_finite": check_finite}
    how = _by(
        functools.partial(scipy.linalg.pinv, **options),
        lambda of: functools.partial(of.pinv, rcond=limit),
    )
    cut = None if atol is None and rtol is None else (atol or 0.0, limit)
    out = linalg.pseudo_inverse(a, how, "scipy.linalg.pinv", cut)
    return (out, scipy.linalg.pinv(value, return_rank=True, **options)[1]) if return_rank else out


def lstsq(
    a: Any,
    b: Any,
    cond: Any = None,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    lapack_driver: str | None = None,
) -> tuple[Any, Any, Any, Any]:
    """The solution of smallest size, sums of squared residuals, rank (a constant) and singular values."""
    options = {"cond": cond, "check_finite": check_finite, "lapack_driver": lapack_driver}
    solver = _by(functools.partial(scipy.linalg.lstsq, **options), lambda of: functools.partial(of.lstsq, rcond=cond))
    return linalg.least_squares(_wide(a), _wide(b), solver, "scipy.linalg.lstsq")


def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Triangular factor, upper unless `lower`, of a positive definite matrix of which that triangle is read."""
    return _cholesky(_wide(a), lower, check_finite, "scipy.linalg.cholesky")


def _cholesky(a: Any, lower: bool, check_finite: bool, name: str) -> Any:
    there = factors.numpy_cholesky(lower)
    how = _by(
        functools.partial(scipy.linalg.cholesky, lower=lower, check_finite=check_finite),
        lambda of: there,
    )
    return factors.cholesky_by(a, lower, name, how)


def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, bool]:
    """Triangular factor for `cho_solve`, and which triangle it is; the other one is that of the matrix, as SciPy's."""
    a = _wide(a)
    factor = _cholesky(a, lower, check_finite, "scipy.linalg.cho_factor")
    return where(triangle(a.shape[-1], module_of(value_of(a)), lower), factor, a), lower


def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The solution of a x = b from the factor of a."""
    c, lower = c_and_lower
    c, lower = _wide(c), bool(np.all(lower))
    how = Triangle(lower, transposed=not lower, name="scipy.linalg.cho_solve")
    how = how._replace(by_scipy=True, check_finite=check_finite)
    back = how._replace(transposed=lower)
    return by_columns(lambda y: solve_with_triangle(c, solve_with_triangle(c, y, how), back), _wide(b))


def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """The solution x of a x = b, or a'x = b, where one triangle of a is read."""
    if trans not in (0, 1, 2, "N", "T", "C"):
        bad_value("scipy.linalg.solve_triangular", "trans", repr(trans), "0, 1, 2, 'N', 'T' or 'C'")
    how = Triangle(lower, trans not in (0, "N"), unit_diagonal, by_scipy=True, check_finite=check_finite)
    return by_columns(lambda c: solve_with_triangle(_wide(a), c, how), _wide(b))


def eigh(
    a: Any, *, lower: bool = True, eigvals_only: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Any:
    """Eigenvalues and eigenvectors of a symmetric matrix, of which one triangle is read."""
    if eigvals_only:
        return _eigenvalues(a, lower, check_finite, "scipy.linalg.eigh")
    how = _spectral(lower, check_finite)
    return tuple(factors.eigh_by(_wide(a), lower, "scipy.linalg.eigh", how))


def eigvalsh(a: Any, *, lower: bool = True, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Eigenvalues of a symmetric matrix, of which one triangle is read."""
    return _eigenvalues(a, lower, check_finite, "scipy.linalg.eigvalsh")


def _spectral(lower: bool, check_finite: bool) -> Callable[..., Any]:
    return _by(
        functools.partial(scipy.linalg.eigh, lower=lower, check_finite=check_finite),
        lambda of: functools.partial(of.eigh, UPLO="L" if lower else "U"),
    )


def _eigenvalues(a: Any, lower: bool, check_finite: bool, name: str) -> Any:
    values = _by(
        functools.partial(scipy.linalg.eigvalsh, lower=lower, check_finite=check_finite),
        lambda of: functools.partial(of.eigvalsh, UPLO="L" if lower else "U"),
    )
    return factors.eigvalsh_by(_wide(a), lower, name, values, _spectral(lower, check_finite))


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False, check_finite: bool = True
) -> Any:
    """Singular value decomposition, reduced: of a matrix that is not square with full_matrices=False."""
    if not compute_uv:
        return _singular_values(a, check_finite, "scipy.linalg.svd")
    return tuple(factors.svd_by(_wide(a), full_matrices, "scipy.linalg.svd", _svd(check_finite)))


def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Singular values."""
    return _singular_values(a, check_finite, "scipy.linalg.svdvals")


def _svd(check_finite: bool) -> Callable[..., Any]:
    return _by(
        functools.partial(scipy.linalg.svd, full_matrices=False, check_finite=check_finite),
        lambda of: functools.partial(of.svd, full_matrices=False),
    )


def _singular_values(a: Any, check_finite: bool, name: str) -> Any:
    values = _by(
        functools.partial(scipy.linalg.svdvals, check_finite=check_finite),
        lambda of: functools.partial(of.svd, compute_uv=False),
    )
    return factors.svdvals_by(_wide(a), name, values, _svd(check_finite))


def qr(a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", check_finite: bool = True) -> Any:
    """Orthonormal columns and an upper triangle: mode "economic", "r", or "full" where that is the same."""
    a = _wide(a)
    m, n = a.shape[-2:]
    if mode not in ("economic", "full", "r") or (mode == "full" and m > n):
        remedy = (
            "Write scipy.linalg.qr(a, mode='economic'): the columns beyond those of a have no derivative, as any "
            "others would do."
        )
        bad_value("scipy.linalg.qr", "mode", repr(mode), "'economic' or 'r'", remedy)
    how = _by(
        functools.partial(scipy.linalg.qr, mode="economic", check_finite=check_finite),
        lambda of: of.qr,
    )
    q, r = factors.qr_by(a, "scipy.linalg.qr", how)
    if mode != "r":
        return q, r
    below = module_of(value_of(r)).zeros((*r.shape[:-2], max(m - n, 0), n), dtype=r.dtype)
    return ((concatenate((r, below), -2) if m > n else r),)


def _expm(a: Array) -> Array:
    xp = module_of(a)
    exponential = scipy_of(xp, "linalg").expm
    if xp is np or a.ndim == 2:
        return compute("scipy.linalg.expm", exponential, a)
    flat = a.reshape((-1, *a.shape[-2:]))  # CuPy's takes one matrix
    return xp.stack([exponential(flat[i]) for i in range(flat.shape[0])]).reshape(a.shape)


def _slope(a: Any, e: Any) -> Any:
    """Return the slope of the exponential at a along e. It is linear in e, whose size, a power of two, goes around."""
    value = value_of(e)
    xp = module_of(value)
    size = xp.max(xp.abs(value), axis=(-2, -1), keepdims=True)
    size = xp.ldexp(xp.ones_like(size), xp.frexp(xp.where(xp.isfinite(size) & (size > 0), size, xp.ones_like(size)))[1])
    above = concatenate((a, e / size), -1)
    below = concatenate((xp.zeros_like(value), a), -1)
    n = a.shape[-1]
    return getitem(exponential(concatenate((above, below), -2)), (..., slice(0, n), slice(n, None))) * size


exponential: Function = primitive(
    "expm",
    _expm,
    (lambda g, out, a: like(_slope(_T(a), g), a),),
    lambda call: lambda tangents, out, args: in_place_of(_slope(args[0], tangents[0]), out),
)


def expm(A: Any) -> Any:
    """Exponential of a matrix."""
    if not A.size:
        return copy(A)
    return exp(A) if A.shape[-2:] == (1, 1) else exponential(_wide(A))


def block_diag(*arrs: Any) -> Any:
    """Matrices along the diagonal, and 0 elsewhere."""
    blocks = [atleast_2d(array_of(x)) for x in arrs]
    xp, dtype = module_of(*[value_of(x) for x in blocks]), np.result_type(*[x.dtype for x in blocks])
    batch = np.broadcast_shapes(*[x.shape[:-2] for x in blocks])
    width, rows, at = sum(x.shape[-1] for x in blocks), [], 0
    for x in blocks:
        m, n = x.shape[-2:]
        before, after = (xp.zeros((*batch, m, k), dtype=dtype) for k in (at, width - at - n))
        rows.append(concatenate((before, broadcast_to(x, (*batch, m, n)), after), -1))
        at += n
    return concatenate(rows, -2)


def toeplitz(c: Any, r: Any = None) -> Any:
    """Matrix with c as its first column and r (or c) as its first row, constant along diagonals."""
    c = atleast_1d(c)
    r = c if r is None else atleast_1d(r)
    m, n = c.shape[-1], r.shape[-1]
    i = module_of(value_of(c)).arange(max(m, n))
    both = concatenate((flip(getitem(r, (..., slice(1, None))), -1), c), -1)
    return getitem(both, (..., i[:m, None] - i[None, :n] + (n - 1)))


def circulant(c: Any) -> Any:
    """Matrix whose columns are c, each moved on by one."""
    c = atleast_1d(c)
    i = module_of(value_of(c)).arange(c.shape[-1])
    return getitem(c, (..., i[:, None] - i[None, :]))  # below 0 an index counts from the end


_FUNCTION_OF_SYMMETRIC = "For a symmetric matrix write values, V = np.linalg.eigh(a); (V * np.{0}(values)) @ V.T."
_LU = "Write np.linalg.solve(a, b), np.linalg.slogdet(a), or for a positive definite matrix scipy.linalg.cho_factor(a)."
TABLE: dict[Any, Any] = {
    getattr(scipy.linalg, function.__name__): function
    for function in (
        *(solve, inv, det, norm, pinv, lstsq, cholesky, cho_factor, cho_solve, solve_triangular, eigh, eigvalsh),
        *(svd, svdvals, qr, expm, block_diag, toeplitz, circulant),
    )
}
REFUSED: dict[Any, str] = {
    scipy.linalg.logm: _FUNCTION_OF_SYMMETRIC.format("log"),
    scipy.linalg.sqrtm: _FUNCTION_OF_SYMMETRIC.format("sqrt"),
    scipy.linalg.lu: _LU,
    scipy.linalg.lu_factor: _LU,
    scipy.linalg.lu_solve: _LU,
    scipy.linalg.eig: factors.EIG,
    scipy.linalg.eigvals: factors.EIG,
}
