"""Meta-parameters on their way into an unroll and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import ad, checks
from metagrad.errors import bad_type, bad_value
from metagrad.guard import frozen
from metagrad.protocols import Joint, Tree
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Ask
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import Array, Namespace, is_array

_ITEMSIZES = (2, 4, 8)  # of the floats that tasks may have


@dataclass(frozen=True)
class Shape:
    """What meta-parameters have to fit: device, dtype, number of tasks, the most axes of w, and whether one a task."""

    xp: Namespace
    dtype: Any
    batch: int
    axes: int
    per_task: bool

    @classmethod
    def of(cls, w: Tree, xp: Namespace, *, per_task: bool) -> Shape:
        """Return that of the optimizee's parameters w."""
        arrays = [leaf for leaf in ad.leaves(w) if is_float_array(leaf)]
        return cls(xp, arrays[0].dtype, arrays[0].shape[0], max(leaf.ndim for leaf in arrays), per_task)


def first_float(w: Tree, where: str) -> Array:
    """Return the first float array of a task's w_0; raise where there is none of float16, 32 or 64."""
    floats = [leaf for leaf in ad.leaves(w) if is_float_array(leaf)]
    if floats and floats[0].dtype.itemsize in _ITEMSIZES:
        return floats[0]
    kinds = [f"{leaf.dtype}" if hasattr(leaf, "dtype") else type(leaf).__name__ for leaf in ad.leaves(w)]
    came, expected = (
        f"one whose `init` returns {kinds or 'nothing'}",
        f"arrays (B, ...) of {checks.FLOAT_DTYPE}",
    )
    return bad_value(where, "task", came, expected, "Use np.asarray(x, dtype=np.float64).")


def check_entries(phi: Tree, entries: Tree | None, ask: Ask, where: str) -> None:
    """Raise ValueError unless leaves that lead with time have an entry for every step of the run."""
    if entries is None:
        return
    exact = ask.at is None or ask.run is not None
    for leaf, is_led in zip(ad.leaves(phi), ad.leaves(entries), strict=True):
        found = np.shape(leaf)[:1]
        if is_led and not (found == (ask.horizon,) or (not exact and found and found[0] > ask.horizon)):
            came = f"an array of {found[0]} steps" if found else "a number"
            expected = f"{ask.horizon} entries along the first axis"
            bad_value(where, "phi", came, expected, "Give one for each step of the run.")


def bare(phi: Tree) -> Tree:
    """Return the meta-parameters of the rule where those of the task are None: that costs nothing more."""
    if not isinstance(phi, Joint):
        return phi
    if isinstance(phi.rule, Joint):
        bad_type(
            "metagrad", "phi", "a Joint within a Joint", "Joint(rule=..., task=...), each of them a tree of its own"
        )
    return phi.rule if phi.task is None else phi


def prepare(phi: Tree, entries: Tree | None, shape: Shape, where: str, *, floats: bool = True) -> Tree:
    """Return phi with every leaf as an array of the task's dtype.

    Python floats take the dtype of the task, within its range (ValueError); arrays must have it already: nothing is
    converted silently, and integers are no meta-parameters (TypeError). One number a task, (B,), becomes (B, 1, ...)
    with as many axes as the largest array of w, so that it meets the tasks and no other axis; where `entries` is true
    for a leaf it leads with time before. `floats` False leaves Python floats as they are, where nothing is
    differentiated: 1 - 0.999 in float64 has digits that it has not in float32.
    """

    def leaf_of(leaf: Any, is_led: bool = False) -> Any:
        if isinstance(leaf, float) and not hasattr(leaf, "dtype") and not floats:
            return leaf
        if isinstance(leaf, float):
            leaf = shape.xp.asarray(_in_range(leaf, shape.dtype, where), dtype=shape.dtype)
        if not hasattr(leaf, "dtype") or leaf.dtype.kind != "f" or isinstance(leaf, np.ma.MaskedArray):
            _refuse(leaf, where)
        if leaf.dtype != shape.dtype:
            came = f"an array of {leaf.dtype} while the task is {np.dtype(shape.dtype).name}"
            bad_type(where, "phi", came, "the dtype of the task", "Convert it, or pass a Python float.")
        if not is_array(leaf):  # a NumPy scalar: a number, which is on no device
            leaf = shape.xp.asarray(leaf)
        return _along_tasks(leaf, int(is_led), shape, where) if shape.per_task else leaf

    return frozen(ad.tree_map(leaf_of, phi) if entries is None else ad.tree_map(leaf_of, phi, entries))


def _refuse(leaf: Any, where: str) -> None:
    kind = f"an array of {leaf.dtype}" if hasattr(leaf, "dtype") else f"{leaf!r}, of type {type(leaf).__name__},"
    if isinstance(leaf, np.ma.MaskedArray):
        bad_type(
            where, "phi", "a masked array", "a plain one", "The mask would be lost: use phi.filled(...), or Masked."
        )
    remedy = "Write 1.0 for 1; keep what is not tuned, such as counts and names, in the rule or the task."
    bad_type(where, "phi", f"{kind} somewhere", "floats and float arrays (float16, float32 or float64)", remedy)


def _in_range(number: float, dtype: Any, where: str) -> float:
    with np.errstate(over="ignore", under="ignore"):
        rounded = float(np.asarray(number).astype(dtype))
    if rounded != number and (rounded == 0 or math.isinf(rounded)):
        came = f"{number!r} somewhere, which {np.dtype(dtype).name} rounds to {rounded!r}"
        bad_value(where, "phi", came, "numbers within the range of the task's dtype", "Give another, or a wider dtype.")
    return number


def _along_tasks(leaf: Array, axis: int, shape: Shape, where: str) -> Array:
    if leaf.ndim <= axis or leaf.shape[axis] != shape.batch:
        expected = f"a task axis of {shape.batch} at position {axis}"
        bad_value(where, "phi", f"of shape {leaf.shape} with per_task=True", expected)
    return leaf.reshape(leaf.shape + (1,) * (shape.axes - 1)) if leaf.ndim == axis + 1 else leaf


def restore(grad: Tree, phi: Tree, batch: int, *, per_task: bool) -> Tree:
    """Return the meta-gradient as phi was given, of the mean over tasks or task by task."""

    def leaf_of(leaf: Any, given: Any) -> Any:
        if leaf is None:
            return None
        if not per_task and batch > 1:
            leaf = Scaled.of(leaf.mantissa / batch, leaf.exponent)
        return leaf.reshape(np.shape(given))

    if isinstance(phi, Joint) and phi.task is None:
        return Joint(restore(grad, phi.rule, batch, per_task=per_task), None)
    return ad.tree_map(leaf_of, grad, phi)
