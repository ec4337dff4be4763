"""H v = r, one symmetric system a task, by products with H alone: all tasks side by side.

    "cg"        conjugate gradients (SciPy's) on the block diagonal of all tasks, r scaled to length 1 in each
    "neumann"   v = a sum_{j<J} (I - a H)^j r, the series of gradient descent with the step size a (Lorraine, Vicol and
                Duvenaud 2020, section 3): J terms are what J steps of backpropagation at the optimum give
    "dense"     D products tell H (D numbers of a task), and a Cholesky factorisation (SciPy's) solves; it sees every
                direction of negative curvature, up to rounding

H and r may be of any size: they come in units of a power of two. A task whose numbers are none, or whose H turns out
not to be positive, is left out, and the others are solved without it. What was reached is looked at in the end.
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
_MOST_ALONE = 32  # tasks that are solved by themselves where all together were not
_LEAST_CURVATURE = 100.0  # roundings of |p||H p|: a product p'H p below that is not told from zero


class Solution(NamedTuple):
    """v (B, D) times 2**exponent (B,), and a Status code of every task (B,); v is zero where there is no solution."""

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


def solved(product: Product, right: Array, asked: Asked) -> Solution:
    """Return the solution of H v = r for rows (B, D); a task whose r is zero has v = 0."""
    of_right = power(right)
    unit = ldexp(right, -of_right[:, None])
    size = np.sqrt(np.sum(unit * unit, axis=1, keepdims=True))
    unit = np.divide(unit, size, out=np.zeros_like(unit), where=size > 0)
    first = product(unit)
    # A series has the step size of the user in the units of H; the others may choose theirs.
    of_H = np.zeros(len(unit), dtype=np.int64) if asked.solver == "neumann" else power(first)
    system = _System(product, unit, of_H, asked)
    v, is_in, is_positive = system.solve(np.isfinite(unit).all(axis=1) & np.isfinite(first).all(axis=1))
    residual = system.residual(v)
    is_left = is_in & ~(residual <= 10 * asked.tolerance) & (asked.solver == "cg") & (len(unit) > 1)
    for b in np.flatnonzero(is_left)[:_MOST_ALONE]:  # a singular neighbour takes the steps of all
        mine = np.arange(len(unit)) == b
        again, is_mine, is_good = system.solve(mine)
        is_in[b], is_positive[b] = is_mine[b], is_good[b]
        v[b] = again[b]
    residual = system.residual(v)
    code = np.where(is_in & (residual <= 10 * asked.tolerance), 0, Status.INNER_UNSOLVED.code)
    code = np.where(is_positive, code, Status.INNER_INDEFINITE.code)
    return Solution(v * size, of_right - of_H, code)


class _System(NamedTuple):
    """Systems of one size: H in units of 2**power, right sides of length 1 or 0."""

    product: Product
    unit: Array
    power: Array
    asked: Asked

    def solve(self, is_in: Array) -> tuple[Array, Array, Array]:
        """Return v, which tasks were solved of those that are `is_in`, and which H were not found to be no positive."""
        is_in, is_positive = is_in.copy(), np.ones(len(self.unit), dtype=bool)
        v = np.zeros_like(self.unit)
        while is_in.any():
            aside = is_in[:, None]

            def image(rows: Array, aside: Array = aside) -> Array:
                return np.where(aside, ldexp(self.product(np.where(aside, rows, 0)), -self.power[:, None]), 0)

            v, curved = _solve(image, np.where(aside, self.unit, 0), self.asked)
            is_positive &= curved | ~is_in
            spoiled = is_in & (~curved | ~np.isfinite(v).all(axis=1))
            if not spoiled.any():
                break
            is_in &= ~spoiled
        return np.where(is_in[:, None], v, 0), is_in, is_positive

    def residual(self, v: Array) -> Array:
        """Return |r - H v|/|r| of each task."""
        found: Array = np.sqrt(np.sum((self.unit - ldexp(self.product(v), -self.power[:, None])) ** 2, axis=1))
        return found


def _solve(product: Product, unit: Array, asked: Asked) -> tuple[Array, Array]:
    """Return v, and which H are positive as far as is known."""
    if asked.solver == "dense":
        return _dense(product, unit)
    if asked.solver == "neumann":
        assert asked.step is not None
        return _neumann(product, unit, asked), np.ones(len(unit), dtype=bool)
    return _conjugate_gradients(product, unit, asked)


def _conjugate_gradients(product: Product, unit: Array, asked: Asked) -> tuple[Array, Array]:
    """Return v, and whether all directions that were met have positive curvature."""
    from scipy.sparse.linalg import LinearOperator, cg

    is_positive, info = np.ones(len(unit), dtype=bool), np.finfo(unit.dtype)

    def image(flat: Array) -> Array:
        rows = flat.reshape(unit.shape).astype(unit.dtype, copy=False)
        found = product(rows)
        is_seen = np.abs(rows).max(axis=1) > info.tiny / info.eps  # a task that is done goes on with next to nothing
        p, Hp = (ldexp(x, -power(x)[:, None]) for x in (rows, found))
        least = _LEAST_CURVATURE * info.eps * np.sqrt(np.sum(p * p, axis=1) * np.sum(Hp * Hp, axis=1))
        is_positive[is_seen & (np.sum(p * Hp, axis=1) <= least)] = False
        if not is_positive.all():  # from here on the steps, which all tasks share, would spoil the others too
            raise _CurvedError
        return found.ravel()

    whole = LinearOperator((unit.size, unit.size), matvec=image, dtype=unit.dtype)
    try:
        v, _ = cg(whole, unit.ravel(), rtol=0.0, atol=asked.tolerance, maxiter=asked.limit)
    except _CurvedError:
        return np.zeros_like(unit), is_positive
    return v.reshape(unit.shape).astype(unit.dtype, copy=False), is_positive


class _CurvedError(Exception):
    """A direction without positive curvature was met."""


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
