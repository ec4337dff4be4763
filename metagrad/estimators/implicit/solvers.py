"""H v = r, one symmetric system a task, by products with H alone: all tasks side by side.

    "cg"        conjugate gradients (SciPy's) on the block diagonal of all tasks, r scaled to length 1 in each
    "neumann"   v = a sum_{j<J} (I - a H)^j r, the series of gradient descent with the step size a (Lorraine, Vicol and
                Duvenaud 2020, section 3): J terms are what J steps of backpropagation at the optimum give
    "dense"     D products tell H (D numbers of a task), a Cholesky factorisation (SciPy's) solves, and says for sure
                whether H is positive definite

What was reached is looked at in the end: the residual of every task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from metagrad.errors import Status, bad_value
from metagrad.xp import Array

Product = Callable[[Array], Array]  # rows (B, D) -> H rows
MOST_DENSE = 1 << 26  # numbers of all H: half a GiB in float64
_LEAST_CURVATURE = 100.0  # roundings of |p||H p|: a product p'H p below that is not told from zero


class Solution(NamedTuple):
    """v (B, D), the residual |r - H v|/|r| of every task (B,), and a Status code of every task (B,)."""

    v: Array
    residual: Array
    code: Array


class Asked(NamedTuple):
    """Which solver, the residual of each task that is asked for, the most products, the step size of a series."""

    solver: str
    tolerance: float
    limit: int
    step: float | None


def solved(product: Product, right: Array, asked: Asked) -> Solution:
    """Return the solution of H v = r for rows (B, D); a task whose r is zero has v = 0."""
    solver, tolerance, limit, step = asked
    length = np.sqrt(np.sum(right * right, axis=1, keepdims=True))
    unit = np.divide(right, length, out=np.zeros_like(right), where=length > 0)
    if solver == "dense":
        v, is_positive = _dense(product, unit)
    elif solver == "neumann":
        assert step is not None
        v, is_positive = _neumann(product, unit, limit, tolerance, right.dtype.type(step)), np.ones(len(right), bool)
    else:
        v, is_positive = _conjugate_gradients(product, unit, tolerance, limit)
    residual = np.sqrt(np.sum((unit - product(v)) ** 2, axis=1))
    code = np.where(residual <= 10 * tolerance, 0, Status.INNER_UNSOLVED.code)  # NaN is unsolved
    code = np.where(is_positive, code, Status.INNER_INDEFINITE.code)
    return Solution(v * length, residual, code)


def _conjugate_gradients(product: Product, unit: Array, tolerance: float, limit: int) -> tuple[Array, Array]:
    """Return v, and whether all directions that were met have positive curvature."""
    from scipy.sparse.linalg import LinearOperator, cg

    is_positive = np.ones(len(unit), dtype=bool)

    def image(flat: Array) -> Array:
        rows = flat.reshape(unit.shape).astype(unit.dtype, copy=False)
        found = product(rows)
        curvature = np.sum(rows * found, axis=1)
        size = np.sqrt(np.sum(rows * rows, axis=1) * np.sum(found * found, axis=1))
        is_positive[(curvature <= _LEAST_CURVATURE * np.finfo(unit.dtype).eps * size) & (size > 0)] = False
        return found.ravel()

    whole = LinearOperator((unit.size, unit.size), matvec=image, dtype=unit.dtype)
    v, _ = cg(whole, unit.ravel(), rtol=0.0, atol=tolerance, maxiter=limit)
    return v.reshape(unit.shape).astype(unit.dtype, copy=False), is_positive


def _neumann(product: Product, unit: Array, limit: int, tolerance: float, step: float) -> Array:
    """Return the series to `limit` terms, or to where the next one is below the tolerance in every task."""
    term = step * unit
    total = term.copy()
    for _ in range(limit - 1):
        term = term - step * product(term)
        total += term
        size = np.abs(term).max()
        if not size > tolerance * step or not np.isfinite(size):
            break
    return total


def _dense(product: Product, unit: Array) -> tuple[Array, Array]:
    """Return v, and whether each H is positive definite; NaN where it is not."""
    from scipy.linalg import cho_factor, cho_solve

    count, width = unit.shape
    if count * width * width > MOST_DENSE:
        came = f"'dense' for {count} tasks of {width} parameters, {8 * count * width * width / 2**30:.3g} GiB"
        bad_value("implicit", "solver", came, "what takes at most half a GiB", "Use solver='cg'.")
    columns = [product(np.broadcast_to(row, unit.shape).copy()) for row in np.eye(width, dtype=unit.dtype)]
    matrices = np.stack(columns, axis=2)
    found, is_positive = np.full_like(unit, np.nan), np.zeros(count, dtype=bool)
    for b, H in enumerate((matrices + matrices.swapaxes(1, 2)) / 2):
        if not np.isfinite(H).all():
            continue
        try:
            found[b] = cho_solve(cho_factor(H), unit[b])
        except np.linalg.LinAlgError:
            continue
        is_positive[b] = True
    return found, is_positive
