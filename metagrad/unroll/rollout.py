"""Running an optimizer without differentiating it: the loss along the trajectory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.ad import leaves
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Optimizer, Start, Task, Tree
from metagrad.unroll.steps import gradient_of, sample_of
from metagrad.xp import Array, namespace, to_host


def rollout(
    task: Task,
    optimizer: Optimizer,
    phi: Tree,
    *,
    steps: int,
    seed: int = 0,
    measure: Callable[[Tree], Array] | None = None,
) -> Array:
    """Return what `measure` gives (B,) at w_0..w_T, as floats on the host, shape (T + 1, B).

    `measure(w)`: by default the loss on the sample of the time (that of step t at w_t). A run that leaves the range of
    floats goes on as inf and NaN, and is returned so. `phi`: what the optimizer takes, in the dtype of the task or as
    Python's floats; a bare number is its first field. ValueError for `steps` below 0, TypeError for other kinds.
    """
    if isinstance(steps, bool) or not hasattr(steps, "__index__"):
        bad_type("rollout", "steps", f"{steps!r}, a {type(steps).__name__}", "an integer", "Use int(steps).")
    if steps < 0:
        bad_value("rollout", "steps", steps, "an integer of at least 0")
    start = Start.of(task, optimizer, seed)
    w, state = start.w, start.state
    xp = namespace(*leaves(w))
    phi = _checked(optimizer, phi, leaves(w)[0].dtype)
    at = getattr(optimizer, "at", lambda phi, t: phi)
    curve: Array = np.empty(0)
    with np.errstate(all="ignore"):
        for t in range(steps + 1):
            sample = sample_of(task, seed, t, xp)
            found = to_host(task.loss(w, sample) if measure is None else measure(w))
            curve = curve if t else _room(steps, found)
            curve[t] = found
            if t < steps:
                w, state = optimizer.step(at(phi, t), state, w, gradient_of(task, w, sample))
    return curve


def _checked(optimizer: Any, phi: Tree, dtype: Any) -> Tree:
    """Return phi as the optimizer's; TypeError for that of another one, and for arrays of another dtype."""
    kind = getattr(optimizer, "Phi", None)
    if kind is not None and not isinstance(phi, kind) and hasattr(optimizer, "check_phi"):
        phi = optimizer.check_phi(phi, "rollout")
    for leaf in leaves(phi):
        if getattr(leaf, "dtype", dtype) != dtype:
            came = f"of {leaf.dtype} while the task is {dtype}"
            bad_type("rollout", "phi", came, "the dtype of the task", "Convert it, or pass a Python float.")
    return phi


def _room(steps: int, first: Array) -> Array:
    """Return an array for steps + 1 arrays like the first; MemoryError at once where they will not fit."""
    try:
        return np.empty((steps + 1, *first.shape), dtype=first.dtype)
    except (MemoryError, ValueError):
        size = (steps + 1) * first.nbytes
        raise MemoryError(f"rollout: {steps} steps of {first.size} numbers take {size:.3g} bytes") from None
