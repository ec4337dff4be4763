"""Norms of trees of arrays, task by task."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad import leaves, tree_map
from metagrad.ad.tape import value_of
from metagrad.optimizers._safe import safe_sqrt
from metagrad.protocols import Tree
from metagrad.xp import Array, namespace


def task_norm(tree: Tree) -> Array:
    """Return the Euclidean norm of each task over all arrays of the tree, shape (B,); its derivative at 0 is 0.

    The squares are those of numbers of at most 1, so that they fit wherever the numbers do.
    """
    flat = leaves(tree)
    unit = _largest(flat)
    squares = [np.sum((_rows(leaf) / unit[:, None]) ** 2, axis=-1) for leaf in flat]
    total = squares[0]
    for more in squares[1:]:
        total = total + more
    return unit * safe_sqrt(total)


def _largest(flat: list[Array]) -> Array:
    """Return the largest size of each task, a constant; 1 where it is 0 or no number."""
    xp = namespace(value_of(flat[0]))
    sizes = [xp.abs(value_of(_rows(leaf))).max(axis=-1) for leaf in flat]
    top = sizes[0]
    for size in sizes[1:]:
        top = xp.maximum(top, size)
    return xp.where((top > 0) & xp.isfinite(top), top, xp.ones_like(top))


def _rows(leaf: Array) -> Array:
    return leaf.reshape((leaf.shape[0], -1))


def along(per_task: Array, leaf: Array) -> Array:
    """Return numbers (B,) in a shape that broadcasts against `leaf` (B, ...)."""
    return per_task.reshape(per_task.shape + (1,) * (leaf.ndim - 1))


def chosen(condition: Array, yes: Tree, no: Tree) -> Tree:
    """Return the arrays of `yes` for the tasks where the condition (B,) holds, of `no` for the others.

    What is no array that leads with tasks, such as a counter, is that of `no`.
    """

    def choose(a: Any, b: Any) -> Any:
        if getattr(b, "shape", ())[:1] != condition.shape:
            return b
        return np.where(along(condition, b), a, b)

    return tree_map(choose, yes, no)
