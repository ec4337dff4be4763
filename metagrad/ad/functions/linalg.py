"""Linear algebra: solutions, inverses, determinants, powers, and the least squares of numpy.linalg.

Functions take stacks (.., n, n) where NumPy's do. Where a matrix is singular, or how near it is, see `systems`.

Sources of the rules: M. Giles, Collected matrix derivative results (2008); J. Magnus and H. Neudecker, Matrix
Differential Calculus (2019), for determinants; G. Golub and V. Pereyra, The differentiation of pseudo-inverses and
nonlinear least squares problems whose variables separate (1973), for `pinv` and `lstsq`, at constant rank.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad.functions.elementwise import square, where
from metagrad.ad.functions.factors import reduced_svd, singular_values, svd_by, values_of_svd
from metagrad.ad.functions.norms import cond, matrix_norm, norm, vector_norm
from metagrad.ad.functions.products import dot, matmul
from metagrad.ad.functions.shapes import (
    array_of,
    getitem,
    in_place_of,
    like,
    matrix_transpose,
    module_of,
    reshape,
    sum_,
    transpose,
)
from metagrad.ad.functions.systems import (
    Held,
    by_columns,
    column,
    compute,
    identity,
    inverse,
    row,
    solve_matrix,
)
from metagrad.ad.tape import Function, primitive, value_of
from metagrad.xp import Array

_T = matrix_transpose
_NOT_GIVEN: Any = object()


class SlogdetResult(NamedTuple):
    """Sign, and logarithm of the size, of a determinant."""

    sign: Any
    logabsdet: Any


def solve(a: Any, b: Any) -> Any:
    """The solution x of a x = b; b is a vector only if it has one axis. ValueError for a singular matrix."""
    name = "numpy.linalg.solve"
    a = array_of(a)
    return by_columns(lambda c: solve_matrix(a, c, name, None), array_of(b))


def inv(a: Any) -> Any:
    """The inverse. ValueError for a singular matrix."""
    return inverse(a, "numpy.linalg.inv", None)


def _cofactors(a: Array) -> Array:
    """Return the derivative of det: det(a) inv(a)', here from the SVD, as there is no inverse of a singular matrix."""
    xp = module_of(a)
    finite = xp.all(xp.isfinite(a), axis=(-2, -1), keepdims=True)
    left, s, right = compute("numpy.linalg.det", xp.linalg.svd, xp.where(finite, a, xp.zeros_like(a)))
    others = xp.where(xp.eye(a.shape[-1], dtype=bool), xp.ones_like(a), s[..., None, :]).prod(-1)
    sign = (xp.linalg.det(left) * xp.linalg.det(right))[..., None, None]
    sign = xp.where(sign < 0, -xp.ones_like(sign), xp.ones_like(sign))
    out = sign * xp.matmul(left * others[..., None, :], right)
    return xp.where(finite, out, xp.asarray(np.nan, out.dtype))


def _cofactors_rule(g: Any, out: Any, a: Any) -> Any:
    back = _T(inverse(a, "the second derivative of numpy.linalg.det", None))
    scale = sum_(g * out, (-2, -1), keepdims=True)
    return scale * back - matmul(matmul(out, _T(g)), back)


_cofactors_of: Function = primitive("cofactors", _cofactors, (_cofactors_rule,))
_det: Function = primitive(
    "det",
    lambda a, name, how: compute(name, how or module_of(a).linalg.det, a),
    (lambda g, out, a, name, how: like(column(column(g)) * _cofactors_of(a), a),),
    lambda call: lambda tangents, out, args: in_place_of(sum_(_cofactors_of(args[0]) * tangents[0], (-2, -1)), out),
)


def det(a: Any) -> Any:
    """The determinant; its first derivative is right for singular matrices too, the second needs an inverse."""
    return _det(a, "numpy.linalg.det", None)


def det_by(a: Any, name: str, how: Callable[[Array], Any]) -> Any:
    """Return the determinant that `how` finds, in a wider dtype maybe."""
    return _det(a, name, how)


_log_size: Function = primitive(
    "slogdet",
    lambda a, held: held[1],
    (lambda g, out, a, held: column(column(g)) * _T(inverse(a, held.where, None)),),
)


def slogdet(a: Any) -> SlogdetResult:
    """Sign of the determinant, a constant, and the logarithm of its size."""
    value = value_of(a)
    held = Held(lambda: compute("numpy.linalg.slogdet", module_of(value).linalg.slogdet, value), "numpy.linalg.slogdet")
    return SlogdetResult(held[0], _log_size(a, held))


def matrix_power(a: Any, n: int) -> Any:
    """The matrix multiplied n times with itself, or its inverse -n times."""
    if value_of(a).ndim < 2 or a.shape[-1] != a.shape[-2]:
        np.linalg.matrix_power(np.zeros(a.shape), 1)  # NumPy says what is wrong
    n = operator.index(n)
    if n == 0:
        return module_of(value_of(a)).broadcast_to(identity(a), a.shape)  # a constant
    if n < 0:
        a, n = inverse(a, "numpy.linalg.matrix_power", None), -n
    if n == 3:
        return matmul(matmul(a, a), a)
    out, power = None, a
    while True:  # by the bits of n, from the lowest
        n, bit = divmod(n, 2)
        if bit:
            out = power if out is None else matmul(out, power)
        if not n:
            return out
        power = matmul(power, power)


def multi_dot(arrays: Sequence[Any]) -> Any:
    """The product of several matrices, in the order that takes the fewest multiplications."""
    if len(arrays) < 2:
        raise ValueError(f"numpy.linalg.multi_dot: arrays has {len(arrays)}; expected at least two.")
    arrays = [array_of(a) for a in arrays]
    first, last = arrays[0], arrays[-1]
    rows = 1 if first.ndim == 1 else first.shape[0]
    sizes = [rows, *[a.shape[0] if i or a.ndim > 1 else a.size for i, a in enumerate(arrays)][1:]]
    sizes += [1 if last.ndim == 1 else last.shape[1]]
    if len(arrays) == 3:
        a, b, c, d = sizes
        x, y, z = arrays
        return dot(dot(x, y), z) if a * c * (b + d) < b * d * (a + c) else dot(x, dot(y, z))
    return _product(arrays, _cheapest(tuple(sizes)), 0, len(arrays) - 1)


def _cheapest(sizes: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """Return after which matrix to split the product of those from i to j."""
    n = len(sizes) - 1
    cost: dict[tuple[int, int], int] = {(i, i): 0 for i in range(n)}
    split = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            costs = {k: cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)}
            split[i, j] = min(costs, key=costs.__getitem__)
            cost[i, j] = costs[split[i, j]]
    return split


def _product(arrays: Sequence[Any], split: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return arrays[i]
    k = split[i, j]
    return dot(_product(arrays, split, i, k), _product(arrays, split, k + 1, j))


def _pinv_rule(g: Any, out: Any, a: Any, how: Any, name: str) -> Any:
    left = g - matmul(g, matmul(a, out))
    right = g - matmul(matmul(out, a), g)
    back = _T(out)
    return matmul(matmul(_T(left), out), back) + matmul(matmul(back, out), _T(right)) - matmul(matmul(back, g), back)


_pseudo_inverse: Function = primitive("pinv", lambda a, how, name: compute(name, how, a), (_pinv_rule,))


def _by_svd(a: Any, kept: Array, name: str) -> Any:
    """Return the pseudo-inverse of the singular values that are kept, where others that are not 0 are cut off."""
    left, s, right = svd_by(a, False, name, reduced_svd)
    return matmul(_T(right) * row(where(kept, 1.0 / where(kept, s, 1.0), 0.0)), _T(left))


def _cuts_off(s: Array, kept: Array, shape: tuple[int, ...]) -> bool:
    """Tell whether singular values are cut off that are not 0 but for rounding."""
    rounding = max(shape[-2:]) * np.finfo(s.dtype).eps * s.max(-1, keepdims=True, initial=0.0)
    return bool(((s > rounding) & ~kept).any())


def pseudo_inverse(a: Any, how: Callable[[Array], Any], name: str, cut: Any) -> Any:
    """Return the pseudo-inverse that `how` finds; `cut` is None or the absolute and the relative limit that is given.

    The rule is that of constant rank. Singular values beyond rounding that are cut off have a part in the derivative:
    it is that of the singular value decomposition then. A device is not waited for, and has the first rule always.
    """
    value = value_of(a)
    if cut is not None and module_of(value) is np and value.size:
        s = compute(name, values_of_svd, value)
        kept = s > cut[0] + np.asarray(cut[1])[..., None] * s.max(-1, keepdims=True)
        if _cuts_off(s, kept, value.shape):
            return _by_svd(a, kept, name)
    return _pseudo_inverse(a, how, name)


def pinv(a: Any, rcond: Any = None, *, rtol: Any = _NOT_GIVEN) -> Any:
    """The pseudo-inverse; of the singular values, those above rcond times the largest count, and stay so."""
    if rcond is None and rtol is not _NOT_GIVEN:
        rcond = max(a.shape[-2:]) * np.finfo(a.dtype).eps if rtol is None else rtol
    limit = {} if rcond is None else {"rcond": rcond}
    cut = None if rcond is None else (0.0, rcond)
    return pseudo_inverse(a, lambda x: module_of(x).linalg.pinv(x, **limit), "numpy.linalg.pinv", cut)


def _solution_rule_a(g: Any, out: Any, a: Any, b: Any, solver: Any, held: Any) -> Any:
    u = _solution_of(_T(a), g, solver, None)
    residual, outside = b - matmul(a, out), g - matmul(_T(a), u)
    part = matmul(residual, _T(_solution_of(a, u, solver, None))) - matmul(u, _T(out))
    return part + matmul(_solution_of(_T(a), out, solver, None), _T(outside))


_solution_of: Function = primitive(
    "lstsq",
    lambda a, b, solver, held: (held or solver(a, b))[0],
    (_solution_rule_a, lambda g, out, a, b, solver, held: _solution_of(_T(a), g, solver, None)),
)


def least_squares(a: Any, b: Any, solver: Callable[[Any, Any], Any], name: str) -> tuple[Any, Any, Any, Any]:
    """Return solution, sums of squared residuals, rank and singular values, as `solver` has them for plain values.

    With u = pinv(a)' g the cotangent of b, that of a is r (pinv(a) u)' - u x' + pinv(a)' x (g - a'u)'.
    """
    a, b = array_of(a), array_of(b)
    value, right = value_of(a), value_of(b)
    if value.ndim != 2:
        raise np.linalg.LinAlgError(f"{name}: a has {value.ndim} axes; expected a matrix. Take them one by one.")
    found = compute(name, solver, value, right)
    _, residuals, rank, s = found
    is_vector = right.ndim == 1
    columns = column(b) if is_vector else b
    held = (found[0][:, None] if is_vector else found[0],)
    if module_of(value) is np and s is not None and _cuts_off(s, np.arange(s.size) < rank, value.shape):
        x = matmul(_by_svd(a, np.arange(s.size) < rank, name), columns)
    else:
        x = _solution_of(a, columns, solver, held)
    left = sum_(square(columns - matmul(a, x)), 0)
    if residuals.shape == left.shape:
        residuals = left
    elif residuals.shape == () and is_vector:
        residuals = getitem(left, 0)
    s = s if s is None else singular_values(a, name, s)
    return (getitem(x, (slice(None), 0)) if is_vector else x), residuals, rank, s


def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Any, Any, Any, Any]:
    """The solution of smallest size, sums of squared residuals, rank (a constant) and singular values."""
    solver = lambda a, b: module_of(a, b).linalg.lstsq(a, b, rcond)  # noqa: E731
    return least_squares(a, b, solver, "numpy.linalg.lstsq")


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """The solution x of tensordot(a, x, x.ndim) = b."""
    a, b = (array_of(x) for x in (a, b))
    if axes is not None:
        last = [k % a.ndim for k in ((axes,) if isinstance(axes, int) else axes)]
        a = transpose(a, [k for k in range(a.ndim) if k not in last] + last)
    shape = a.shape[b.ndim :]
    n = math.prod(shape)
    if a.size != n * n:
        np.linalg.tensorsolve(np.zeros(a.shape), np.zeros(b.shape))  # NumPy says what is wrong
    flat = getitem(solve_matrix(reshape(a, (n, n)), reshape(b, (n, 1)), "numpy.linalg.tensorsolve", None), (..., 0))
    return reshape(flat, shape)


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse with regard to tensordot(a, b, ind)."""
    if ind <= 0:
        raise ValueError("numpy.linalg.tensorinv: ind is not positive; expected how many of the axes come first.")
    shape = a.shape[ind:] + a.shape[:ind]
    n = math.prod(a.shape[ind:])
    return reshape(inverse(reshape(a, (n, -1)), "numpy.linalg.tensorinv", None), shape)


TABLE: dict[Any, Any] = {
    np.linalg.solve: solve,
    np.linalg.inv: inv,
    np.linalg.det: det,
    np.linalg.slogdet: slogdet,
    np.linalg.norm: norm,
    np.linalg.vector_norm: vector_norm,
    np.linalg.matrix_norm: matrix_norm,
    np.linalg.cond: cond,
    np.linalg.matrix_power: matrix_power,
    np.linalg.multi_dot: multi_dot,
    np.linalg.pinv: pinv,
    np.linalg.lstsq: lstsq,
    np.linalg.tensorsolve: tensorsolve,
    np.linalg.tensorinv: tensorinv,
}
CONSTANT: frozenset[Any] = frozenset({np.linalg.matrix_rank})
