"""Moving powers of two between digits and exponents, task by task, on trees whose arrays lead with B.

Multiplying by a power of two is exact as long as nothing becomes subnormal, so the digits of an unroll are the same
bits whenever and wherever the exponents are moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad import leaves, tree_map
from metagrad.protocols import Tree
from metagrad.scaled import Scaled, ldexp
from metagrad.xp import Array, filled, float_info, namespace

# An exponent that no run with a rate of growth reaches; one that grows doubly exponentially is there in 40 steps.
_FARTHEST = 1 << 40
_SHORT = 48  # entries of a row
_FEW = 1 << 16  # entries that are copied rather than looked at array by array
_MOST_RAISED = 4  # times the limit of an adjoint: how much larger factors of terms may be made, in powers of two


def is_float_array(leaf: Any) -> bool:
    """Whether `leaf` is an array of floats (counters and None are left alone)."""
    return getattr(getattr(leaf, "dtype", None), "kind", "") == "f" and leaf.ndim > 0


def magnitude(tree: Tree) -> Array:
    """Return the largest absolute value of each task over all float arrays of `tree`, shape (B,); NaN wins."""
    arrays = [leaf for leaf in leaves(tree) if is_float_array(leaf)]
    if len(arrays) > 2 and sum(leaf.size for leaf in arrays) <= _FEW and all(type(x) is np.ndarray for x in arrays):
        return row_maxima(np.abs(side_by_side(arrays)))  # one look instead of many
    sizes = [_largest(leaf) for leaf in arrays]
    total = sizes[0]
    for size in sizes[1:]:
        total = namespace(total).maximum(total, size)
    return total


def side_by_side(arrays: list[Any]) -> Any:
    """Return the entries of arrays of the host that lead with B, task by task, (B, n)."""
    found = arrays[0].reshape((len(arrays[0]), -1))
    return found if len(arrays) == 1 else np.concatenate([found, *[x.reshape((len(x), -1)) for x in arrays[1:]]], 1)


def _largest(leaf: Array) -> Array:
    size = abs(leaf)
    return size if size.ndim == 1 else row_maxima(size.reshape((size.shape[0], -1)))


def row_maxima(rows: Array) -> Array:
    """Return the largest entry of each row; NaN wins."""
    if type(rows) is np.ndarray and rows.shape[1] < _SHORT:
        return rows.T.copy().max(axis=0)  # NumPy takes a call a row, which costs more than a copy
    found: Array = rows.max(axis=1)
    return found


def along_tasks(factor: Array, leaf: Array) -> Array:
    """Return `factor` (B,) shaped to broadcast against `leaf` (B, ...)."""
    return factor.reshape(factor.shape + (1,) * (leaf.ndim - 1))


def task_by_task(tree: Tree, factor: Array) -> Tree:
    """Return a tree times `factor`, (B,), task by task."""
    return tree_map(lambda leaf: leaf * along_tasks(factor, leaf), tree)


def nothing_like(state: Tree) -> Tree:
    """Return zeros like a state, None for what is no array of floats."""
    if isinstance(state, tuple) and not state:
        return state
    return tree_map(lambda leaf: namespace(leaf).zeros_like(leaf) if is_float_array(leaf) else None, state)


def cleared(tree: Tree, mask: Array) -> Tree:
    """Return a tree with zeros for some tasks, `mask` (B,), whatever stood there."""

    def clear(leaf: Any) -> Any:
        xp, at = namespace(mask), along_tasks(mask, leaf)
        if type(leaf) is Scaled:
            return Scaled(xp.where(at, 0, leaf.mantissa).astype(leaf.dtype), xp.where(at, 0, leaf.exponent))
        return xp.where(at, 0, leaf).astype(leaf.dtype)

    return tree_map(clear, tree)


def shift(tree: Tree, by: Array) -> Tree:
    """Return every float array of `tree` times 2**by, `by` an integer array (B,)."""
    if isinstance(by, np.ndarray) and not by.any():  # only asked on the host, where looking costs nothing
        return tree

    def move(leaf: Any) -> Any:
        return ldexp(leaf, along_tasks(by, leaf)) if is_float_array(leaf) else leaf

    return tree_map(move, tree)


def exponent_limit(dtype: Any) -> int:
    """Return how far from 1 the digits may drift, in powers of two: a product of eight stays within the range."""
    return float_info(np.dtype(dtype)).max_exponent // 8


def normalise(tree: Tree, exponent: Array, size: Array, limit: int) -> tuple[Tree, Array]:
    """Move the magnitude `size` (B,) of each task that left [2**-limit, 2**limit] into its exponent.

    Zeros and non-finite values are left as they are: they have no exponent to move.
    """
    xp = namespace(size)
    if type(size) is Scaled:
        return bounded(tree), exponent  # every entry has an exponent of its own
    if xp is np and within(size, limit):
        return tree, exponent
    power = xp.frexp(size)[1].astype(np.int64)
    far = (xp.abs(power) > limit) & xp.isfinite(size) & (size > 0)
    by = xp.where(far, power, 0)
    return shift(tree, -by), exponent + by


def folded(tree: Tree, power: Array) -> tuple[Array | None, Array | int]:
    """Return by how much each task of a tree times 2**power is shifted before tasks are summed, and what all have then.

    None where all have one exponent already.
    """
    if len(power) == 1:
        return None, power[0]
    xp = namespace(power)
    if xp is np and bool((power == power[0]).all()):
        return None, power[0]  # one sweep does for all tasks
    lowest = np.iinfo(np.int64).min // 4
    top = xp.where(magnitude(tree) == 0, lowest, power).max()
    return power - top, top


def within(size: Array, limit: int) -> bool:
    """Whether all sizes are in (2**-limit, 2**limit): on the host, where looking costs nothing. NaN is not."""
    return bool(size.min() > 2.0**-limit) and bool(size.max() < 2.0**limit)


def beside(factors: Scaled, exponent: Array, limit: int) -> tuple[Array, Array]:
    """Return digits of factors of terms (..., B) beside the exponent of an adjoint, (B,), and if they may be, (...).

    They may where none gets much larger, and none becomes subnormal: what it is the factor of may be as large as a
    float can be, so that one of which digits are lost may count. One that is nothing even then is zero.
    """
    apart = factors.exponent - exponent
    if not apart.any():
        return factors.mantissa, filled(np, apart.shape[:-1], True, bool)
    info = float_info(factors.dtype)
    keeps_digits = (apart > info.min_exponent) & (apart <= _MOST_RAISED * limit)
    is_nothing = (apart < 2 * (info.min_exponent - info.max_exponent)) | (factors.mantissa == 0)
    return ldexp(factors.mantissa, apart), (keeps_digits | is_nothing).all(axis=-1)


def beside_or_alone(factor: Scaled, exponent: Array | None) -> tuple[Array, Array]:
    """Return digits and exponent of the factor of a term, (B,): those of an adjoint where it asks, and they may be."""
    if exponent is not None and (factor.exponent != exponent).any():
        moved, may = beside(factor, exponent, exponent_limit(factor.dtype))
        if may:
            return moved, exponent
    return factor.mantissa, factor.exponent


def summed(factors: Scaled, *, per_task: bool) -> tuple[Array, Array]:
    """Return factors (..., B) as cotangents of what is summed over tasks, and the exponents of those sums, (...).

    `per_task`: nothing is summed, and the exponents are (..., B).
    """
    digits, power = factors.mantissa, factors.exponent
    if per_task:
        return digits, power
    xp, lowest = namespace(digits), np.iinfo(np.int64).min // 4
    top = xp.where(digits == 0, lowest, power).max(axis=-1)
    by = power - top[..., None]
    is_alike = xp is np and not by.any()  # only asked on the host, where looking costs nothing
    return digits if is_alike else ldexp(digits, by), xp.where(top == lowest, 0, top)


def log2_of(size: Array) -> Array:
    """Return log2 of sizes in float64, of floats or of scaled numbers; -inf for zero."""
    return size.log2abs() if type(size) is Scaled else namespace(size).log2(size.astype(np.float64))


def widened(tree: Tree) -> Tree:
    """Return every float array of `tree` with an exponent beside each entry."""
    return tree_map(lambda leaf: Scaled.of(leaf) if _is_float(leaf) else leaf, tree)


def bounded(tree: Tree) -> Tree:
    """Return a tree with inf, or 0, for scaled numbers so far out that a power of them would overflow an exponent."""

    def within(leaf: Any) -> Any:
        if type(leaf) is not Scaled or not (abs(leaf.exponent) > _FARTHEST).any():
            return leaf
        beyond = np.where(leaf.exponent > 0, np.sign(leaf.mantissa) * np.inf, 0.0).astype(leaf.dtype)
        far = abs(leaf.exponent) > _FARTHEST
        return Scaled(np.where(far, beyond, leaf.mantissa), np.where(far, 0, leaf.exponent))

    return tree_map(within, tree)


def _is_float(leaf: Any) -> bool:
    return getattr(getattr(leaf, "dtype", None), "kind", "") == "f"


def add_aligned(
    a: Tree, a_exponent: Array, b: Tree, b_exponent: Array, a_size: Array | None = None
) -> tuple[Tree, Array]:
    """Return a 2**a_exponent + b 2**b_exponent as a tree and its exponent; a tree of zeros does not set it.

    `a_size`: the magnitude of a, or of its digits, where that is known.
    """
    xp = namespace(a_exponent)
    if xp is np and type(a_size) is np.ndarray:  # the usual cases, found cheaply
        if a_size.all() and (a_exponent == b_exponent).all():
            return tree_map(_added, a, b), a_exponent
        if not a_size.any() and magnitude(b).all():
            return tree_map(_added, a, b), b_exponent
    lowest = np.iinfo(np.int64).min // 4
    weights = [xp.where(magnitude(x) == 0, lowest, e) for x, e in ((a, a_exponent), (b, b_exponent))]
    top = xp.maximum(*weights)
    top = xp.where(top == lowest, 0, top)
    return tree_map(_added, shift(a, a_exponent - top), shift(b, b_exponent - top)), top


def _added(x: Any, y: Any) -> Any:
    return x + y if is_float_array(x) else x
