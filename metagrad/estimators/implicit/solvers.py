"""H v = r, one symmetric system a task, by products with H alone: all tasks side by side.

    "cg"        conjugate gradients (Hestenes and Stiefel 1952), each task with step sizes of its own. SciPy's, on the
                block diagonal of all tasks, share them: then a hard task takes the products of all, and spoils the rest
    "neumann"   v = a sum_{j<J} (I - a H)^j r, the series of gradient descent with the step size a (Lorraine, Vicol and
                Duvenaud 2020, section 3): J terms are what J steps of backpropagation at the optimum give
    "dense"     D products tell H (D numbers of a task), and a Cholesky factorisation (SciPy's) solves; it sees every
                direction of negative curvature, up to rounding

H and r may be of any size: they come in units of a power of two. A task whose numbers are none, or whose H turns out
not to be positive, has no solution: its v is NaN, and the others are solved without it. What was reached is looked at
in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from metagrad.errors import Status, bad_value
from metagrad.scaled import ldexp
from metagrad.xp import Array

Product = Callable[[Array], Array]  # rows (B, D) -> H rows
MOST_DENSE = 1 << 26  # numbers of all H: half a GiB in float64
_LEAST_CURVATURE = 100.0  # roundings of |p||H p|: a product p'H p below that is not told from zero


class Solution(NamedTuple):
    """v (B, D) times 2**exponent (B,), and a Status code of every task (B,).

    A task without a solution (INNER_INDEFINITE, or no numbers) has v = NaN; one that was not solved to the tolerance
    (INNER_UNSOLVED) has what was reached.
    """

    v: Array
    exponent: Array
    code: Array


class Asked(NamedTuple):
    """Which solver, the residual of each task that is asked for, the most products, the step size of a series."""

    solver: str
    tolerance: float
    limit: int
    step: float | None


def power(rows: Array) -> Array:
    """Return the power of two of the largest entry of each row, 0 for rows of zeros and of what is no number."""
    size = np.abs(rows).max(axis=1)
    return np.where(np.isfinite(size), np.frexp(size)[1], 0).astype(np.int64)


def solved(product: Product, right: Array, asked: Asked, start: Solution | None = None) -> Solution:
    """Return the solution of H v = r for rows (B, D); a task whose r is zero has v = 0.

    `start`: the solution of a system nearby, from which conjugate gradients go on, with its exponents in units of r.
    """
    of_right = power(right)
    unit = ldexp(right, -of_right[:, None])
    size = np.sqrt(np.sum(unit * unit, axis=1, keepdims=True))
    unit = np.divide(unit, size, out=np.zeros_like(unit), where=size > 0)
    first = product(unit)
    # A series has the step size of the user in the units of H; the others may choose theirs.
    of_H = np.zeros(len(unit), dtype=np.int64) if asked.solver == "neumann" else power(first)
    is_in = np.isfinite(unit).all(axis=1) & np.isfinite(first).all(axis=1)

    def image(rows: Array) -> Array:
        return ldexp(product(np.where(is_in[:, None], rows, 0)), -of_H[:, None])

    unit = np.where(is_in[:, None], unit, 0)
    v = np.zeros_like(unit)
    if start is not None and asked.solver == "cg":
        near = ldexp(start.v, (start.exponent - of_right + of_H)[:, None])
        near = np.divide(near, size, out=np.zeros_like(unit), where=(size > 0) & np.isfinite(near).all(axis=1)[:, None])
        v = np.where(_length(unit - image(near)) < 1, near, 0).astype(unit.dtype, copy=False)
    v, is_positive = _solve(image, unit, v, asked)
    is_indefinite = is_in & ~is_positive  # of what is no number nothing is known
    is_in &= is_positive & np.isfinite(v).all(axis=1)
    residual = _length(unit - image(np.where(is_in[:, None], v, 0)))[:, 0]
    code = np.where(is_in & (residual <= 10 * asked.tolerance), 0, Status.INNER_UNSOLVED.code)
    code = np.where(is_indefinite, Status.INNER_INDEFINITE.code, code)
    return Solution(np.where(is_in[:, None], v * size, np.nan), of_right - of_H, code)


def _length(rows: Array) -> Array:
    """Return the length of each row, (B, 1)."""
    found: Array = np.sqrt(np.sum(rows * rows, axis=1, keepdims=True))
    return found


def _solve(product: Product, unit: Array, start: Array, asked: Asked) -> tuple[Array, Array]:
    """Return v, and which H are positive as far as is known."""
    if asked.solver == "dense":
        return _dense(product, unit)
    if asked.solver == "neumann":
        assert asked.step is not None
        return _neumann(product, unit, asked), np.ones(len(unit), dtype=bool)
    return _conjugate_gradients(product, unit, start, asked)


def _conjugate_gradients(product: Product, unit: Array, v: Array, asked: Asked) -> tuple[Array, Array]:
    """Return v, from where it begins on, and whether all directions that were met have positive curvature.

    A task goes on until its residual is within the tolerance, or it meets a direction without positive curvature.
    """
    eps = np.finfo(unit.dtype).eps
    residual = unit - product(v) if v.any() else unit
    p, left = residual, np.sum(residual * residual, axis=1)
    is_positive, goes_on = np.ones(len(unit), dtype=bool), left > asked.tolerance**2
    for _ in range(asked.limit):
        if not goes_on.any():
            break
        Hp = product(np.where(goes_on[:, None], p, 0))
        of_p, of_Hp = power(p), power(Hp)
        digits, image = ldexp(p, -of_p[:, None]), ldexp(Hp, -of_Hp[:, None])
        curvature = np.sum(digits * image, axis=1)
        least = _LEAST_CURVATURE * eps * np.sqrt(np.sum(digits * digits, axis=1) * np.sum(image * image, axis=1))
        is_positive &= ~goes_on | ~(curvature <= least)
        goes_on &= is_positive & np.isfinite(curvature)
        along = np.divide(left, curvature, out=np.zeros_like(left), where=goes_on)
        along = ldexp(along, -of_p - of_Hp)[:, None]
        v = np.where(goes_on[:, None], v + along * p, v)
        residual = np.where(goes_on[:, None], residual - along * Hp, residual)
        before, left = left, np.where(goes_on, np.sum(residual * residual, axis=1), left)
        share = np.divide(left, before, out=np.zeros_like(left), where=goes_on)[:, None]
        p = residual + share * p
        goes_on &= left > asked.tolerance**2
    return v, is_positive


def _neumann(product: Product, unit: Array, asked: Asked) -> Array:
    """Return the series to `limit` terms, or to where the next one is below the tolerance in every task."""
    step = unit.dtype.type(asked.step)
    term = step * unit
    total = term.copy()
    for _ in range(asked.limit - 1):
        term = term - step * product(term)
        total += term
        term = np.where(np.isfinite(total).all(axis=1, keepdims=True), term, 0)  # what diverges stays out
        if not np.abs(term).max() > asked.tolerance * step:
            break
    return total


def _dense(product: Product, unit: Array) -> tuple[Array, Array]:
    """Return v, and whether each H is positive definite; a row of zeros has v = 0, whatever its H."""
    from scipy.linalg import cho_factor, cho_solve

    count, width = unit.shape
    if count * width * width > MOST_DENSE:
        came = f"'dense' for {count} tasks of {width} parameters, {8 * count * width * width / 2**30:.3g} GiB"
        bad_value("implicit", "solver", came, "what takes at most half a GiB", "Use solver='cg'.")
    columns = [product(np.broadcast_to(row, unit.shape).copy()) for row in np.eye(width, dtype=unit.dtype)]
    matrices = np.stack(columns, axis=2)
    found, is_positive = np.zeros_like(unit), np.ones(count, dtype=bool)
    for b, H in enumerate((matrices + matrices.swapaxes(1, 2)) / 2):
        if not H.any() and not unit[b].any():
            continue
        try:
            found[b] = cho_solve(cho_factor(H), unit[b])
        except (np.linalg.LinAlgError, ValueError):  # not positive, or not finite
            is_positive[b] = False
    return found, is_positive
