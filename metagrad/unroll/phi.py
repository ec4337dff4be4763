"""Meta-parameters on their way into an unroll and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, is_array


def prepare(phi: Tree, unroll: Unroll, where: str) -> Tree:
    """Return phi with every float as an array of the task's dtype; one a task, (B,), becomes (B, 1).

    Python floats take the dtype of the task, within its range (ValueError); arrays must have it already: nothing is
    converted silently.
    """

    def leaf_of(leaf: Any) -> Any:
        if isinstance(leaf, float):
            leaf = unroll.xp.asarray(_in_range(leaf, unroll.dtype, where), dtype=unroll.dtype)
        if not is_array(leaf) or leaf.dtype.kind != "f":
            return leaf
        if leaf.dtype != unroll.dtype:
            came = f"an array of {leaf.dtype} while the task is {np.dtype(unroll.dtype).name}"
            bad_type(where, "phi", came, "the dtype of the task", "Convert it, or pass a Python float.")
        return _along_tasks(leaf, unroll, where) if unroll.options.per_task else leaf

    return ad.tree_map(leaf_of, phi)


def _in_range(number: float, dtype: Any, where: str) -> float:
    with np.errstate(over="ignore", under="ignore"):
        rounded = float(np.asarray(number).astype(dtype))
    if rounded != number and (rounded == 0 or math.isinf(rounded)):
        came = f"{number!r} somewhere, which {np.dtype(dtype).name} rounds to {rounded!r}"
        bad_value(where, "phi", came, "numbers within the range of the task's dtype", "Give another, or a wider dtype.")
    return number


def _along_tasks(leaf: Array, unroll: Unroll, where: str) -> Array:
    axis = 1 if unroll.scheduled else 0  # a schedule leads with time
    if leaf.ndim <= axis or leaf.shape[axis] != unroll.batch:
        expected = f"a task axis of {unroll.batch} at position {axis}"
        bad_value(where, "phi", f"of shape {leaf.shape} with per_task=True", expected)
    return leaf[..., None] if leaf.ndim == axis + 1 else leaf


def restore(grad: Tree, phi: Tree, batch: int, *, per_task: bool) -> Tree:
    """Return the meta-gradient in the shapes of phi as it was given: of the mean over tasks, or task by task."""

    def leaf_of(leaf: Any, given: Any) -> Any:
        if leaf is None:
            return None
        if not per_task and batch > 1:
            leaf = Scaled.of(leaf.mantissa / batch, leaf.exponent)
        return leaf.reshape(np.shape(given))

    return ad.tree_map(leaf_of, grad, phi)
