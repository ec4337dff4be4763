"""Systems of linear equations: the primitives on which the rest of linear algebra stands, and the errors of all of it.

NumPy refuses a whole stack for one singular matrix and does not say which. Here errors name the function, the matrix of
the stack (the task), how it is, and what to do. That is on the host: a device is not waited for, and CuPy gives inf or
NaN there. A nearly singular matrix is no error: relative errors of solutions, and of their derivatives, are as large as
the unit roundoff times the condition number.

Sources of the rules: M. Giles, Collected matrix derivative results (2008), for solutions, inverse and determinant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad.functions.elementwise import where
from metagrad.ad.functions.products import matmul
from metagrad.ad.functions.shapes import getitem, in_place_of, like, matrix_transpose, module_of
from metagrad.ad.tape import Function, Push, primitive, value_of
from metagrad.errors import bad_type
from metagrad.xp import Array, scipy_of

LinAlgError = np.linalg.LinAlgError
SINGULAR = (
    "an invertible matrix",
    "Add a ridge, a + 1e-10 * np.eye(n), or take np.linalg.pinv(a) or np.linalg.lstsq(a, b), which need no inverse.",
)


class Held:
    """What one factorisation found, for the primitives that share it; `make` is asked when it is first needed."""

    __slots__ = ("_found", "_make", "lower", "where")

    def __init__(self, make: Callable[[], Sequence[Any]], where: str, lower: bool = True) -> None:
        """Keep how to make it, the function that was called, and which triangle of the matrix is read."""
        self._make, self.where, self.lower = make, where, lower
        self._found: Sequence[Any] | None = None

    def __getitem__(self, i: int) -> Any:
        """Return one of the parts."""
        if self._found is None:
            self._found = self._make()
        return self._found[i]


def place(index: tuple[int, ...]) -> str:
    """Say which matrix of a stack is meant."""
    return f"matrix {index[0] if len(index) == 1 else index} of the stack" if index else "the matrix"


def compute(where: str, function: Callable[..., Any], *values: Any, bad: Any = None) -> Any:
    """Return function(*values), where `bad(matrix)` says what is wrong with one that NumPy refuses, or None.

    LinAlgError, a ValueError, which names the matrix of the stack; TypeError for float16, which LAPACK does not know.
    """
    try:
        return function(*values)
    except ValueError as error:  # LinAlgError is one; SciPy looks for inf and NaN itself
        a = values[0]
        if module_of(a) is np and a.ndim >= 2:
            for index in np.ndindex(a.shape[:-2]):
                told = "has an entry that is inf or NaN" if not np.isfinite(a[index]).all() else bad and bad(a[index])
                if told:
                    came, expected, remedy = told if type(told) is tuple else (told, "finite entries", "")
                    text = f"{where}: {place(index)} {came}; expected {expected}. {remedy}"
                    raise LinAlgError(text.strip()) from error
        raise
    except TypeError:
        if module_of(*values) is np and not all(isinstance(x, np.ndarray | np.generic) for x in values):
            remedy = "Use metagrad.scaled.narrow(x) for the nearest floats."
            bad_type(where, "an operand", "an array of scaled numbers", "floats, which LAPACK works in", remedy)
        if any(getattr(x, "dtype", None) == np.float16 for x in values):
            remedy = "Convert it with x.astype(np.float32)."
            bad_type(where, "an operand", "an array of float16", "float32 or float64, which LAPACK works in", remedy)
        raise


def is_singular(a: Any) -> Any:
    """Say that a matrix is singular, with its rank; None if it is not."""
    if a.shape[-1] != a.shape[-2]:
        return None
    try:
        np.linalg.inv(a)
    except LinAlgError:
        rank = int(np.linalg.matrix_rank(a))
        return (f"is singular (rank {rank} of {len(a)}, condition inf)", *SINGULAR)
    return None


def triangle(n: int, xp: Any, lower: bool = True, strict: bool = False) -> Array:
    """Return where the triangle of an n x n matrix is; without the diagonal if `strict`."""
    i = xp.arange(n)
    rows, columns = (i[:, None], i[None, :]) if lower else (i[None, :], i[:, None])
    return rows > columns if strict else rows >= columns


def part_of(a: Any, lower: bool, strict: bool = False) -> Any:
    """Return a triangle of a, and 0 elsewhere."""
    return where(triangle(a.shape[-1], module_of(value_of(a)), lower, strict), a, 0.0)


def from_triangle(a: Any, lower: bool) -> Any:
    """Return the symmetric matrix of which a triangle of `a` is given; the other is not read."""
    return part_of(a, lower) + matrix_transpose(part_of(a, lower, strict=True))


def folded(g: Any, lower: bool) -> Any:
    """Return the cotangent of the triangle that is read from that of the symmetric matrix: its entries count twice."""
    return part_of(g, lower) + matrix_transpose(part_of(g, not lower, strict=True))


def identity(a: Any) -> Array:
    """Return the identity of the size and dtype of a matrix, or of those of a stack."""
    return module_of(value_of(a)).eye(a.shape[-1], dtype=a.dtype)


def column(x: Any) -> Any:
    """Return x as (.., n, 1)."""
    return getitem(x, (..., None))


def row(x: Any) -> Any:
    """Return x as (.., 1, n)."""
    return getitem(x, (..., None, slice(None)))


def _stacked_alike(xp: Any, a: Array, b: Array) -> tuple[Array, Array]:
    """Return two stacks of the same number of matrices: CuPy's solve does not broadcast them."""
    if xp is np or a.shape[:-2] == b.shape[:-2]:
        return a, b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return (
        xp.ascontiguousarray(xp.broadcast_to(a, (*batch, *a.shape[-2:]))),
        xp.ascontiguousarray(xp.broadcast_to(b, (*batch, *b.shape[-2:]))),
    )


def _forward(a: Any, b: Any, name: str, how: Any) -> Any:
    xp = module_of(a, b)
    return compute(name, how or xp.linalg.solve, *_stacked_alike(xp, a, b), bad=is_singular)


def _back(g: Any, a: Any, name: str) -> Any:
    return solve_matrix(matrix_transpose(a), g, name, None)


def _push_solve(call: Function) -> Push:
    def push(tangents: dict[int, Any], out: Any, args: Sequence[Any]) -> Any:
        a, _, name, _ = args
        right = -matmul(tangents[0], out) if 0 in tangents else 0.0
        right = tangents[1] + right if 1 in tangents else right
        return in_place_of(solve_matrix(a, right, name, None), out)

    return push


solve_matrix: Function = primitive(
    "solve",
    _forward,
    (
        lambda g, out, a, b, name, how: like(-matmul(_back(g, a, name), matrix_transpose(out)), a),
        lambda g, out, a, b, name, how: like(_back(g, a, name), b),
    ),
    _push_solve,
)
inverse: Function = primitive(
    "inv",
    lambda a, name, how: compute(name, how or module_of(a).linalg.inv, a, bad=is_singular),
    (lambda g, out, a, name, how: -matmul(matmul(matrix_transpose(out), g), matrix_transpose(out)),),
    lambda call: lambda tangents, out, args: -matmul(matmul(out, tangents[0]), out),
)


def by_columns(function: Callable[..., Any], b: Any, *rest: Any) -> Any:
    """Return function(b, ..) of matrices of columns for a vector too: as NumPy 2 has it, what has one axis."""
    is_vector = value_of(b).ndim == 1
    out = function(column(b) if is_vector else b, *rest)
    return getitem(out, (..., 0)) if is_vector else out


class Triangle(NamedTuple):
    """How a triangular matrix is to be read and solved with."""

    lower: bool
    transposed: bool = False
    unit: bool = False  # the diagonal is not read, and is 1
    name: str = "scipy.linalg.solve_triangular"
    by_scipy: bool = False  # also stacks, which SciPy does one by one
    check_finite: bool = False


def _is_singular_triangle(a: Any) -> Any:
    zeros = np.flatnonzero(np.diagonal(a) == 0)
    return (f"is singular: entry ({zeros[0]}, {zeros[0]}) is 0", *SINGULAR) if zeros.size else None


def _solve_with_triangle(a: Any, b: Any, how: Triangle) -> Any:
    xp = module_of(a, b)
    if (a.ndim == 2 and b.ndim == 2) or (how.by_scipy and xp is np):
        solve = scipy_of(xp, "linalg").solve_triangular
        options = {"check_finite": how.check_finite} if xp is np else {}
        call = lambda a, b: solve(a, b, int(how.transposed), how.lower, how.unit, **options)  # noqa: E731
        return compute(how.name, call, a, b, bad=_is_singular_triangle)
    read = part_of(a, how.lower, how.unit)
    read = read + identity(a) if how.unit else read
    read = xp.swapaxes(read, -1, -2) if how.transposed else read
    return compute(how.name, xp.linalg.solve, *_stacked_alike(xp, read, b), bad=_is_singular_triangle)


def _back_by_triangle(g: Any, a: Any, how: Triangle) -> Any:
    back = how._replace(transposed=not how.transposed, by_scipy=False, check_finite=False)
    return solve_with_triangle(a, g, back)


def _triangle_rule_b(g: Any, out: Any, a: Any, b: Any, how: Triangle) -> Any:
    return like(_back_by_triangle(g, a, how), b)


def _triangle_rule_a(g: Any, out: Any, a: Any, b: Any, how: Triangle) -> Any:
    back = _back_by_triangle(g, a, how)
    left, right = (out, back) if how.transposed else (back, out)
    return like(part_of(-matmul(left, matrix_transpose(right)), how.lower, how.unit), a)


solve_with_triangle: Function = primitive(
    "solve_triangular", _solve_with_triangle, (_triangle_rule_a, _triangle_rule_b)
)
