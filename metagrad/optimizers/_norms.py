"""Norms of trees of arrays, task by task."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad import leaves, safe_norm, tree_map
from metagrad.protocols import Tree
from metagrad.xp import Array


def task_norm(tree: Tree) -> Array:
    """Return the Euclidean norm of each task over all arrays of the tree, shape (B,); its derivative at 0 is 0."""
    rows = [_rows(leaf) for leaf in leaves(tree)]
    return safe_norm(rows[0] if len(rows) == 1 else np.concatenate(rows, axis=-1), axis=-1)


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
