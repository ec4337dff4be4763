"""Running an optimizer without differentiating it: the loss along the trajectory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metagrad.ad import leaves
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
    floats goes on as inf and NaN, and is returned so.
    """
    start = Start.of(task, optimizer, seed)
    w, state = start.w, start.state
    xp = namespace(*leaves(w))
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


def _room(steps: int, first: Array) -> Array:
    """Return an array for steps + 1 arrays like the first; MemoryError at once where they will not fit."""
    try:
        return np.empty((steps + 1, *first.shape), dtype=first.dtype)
    except (MemoryError, ValueError):
        size = (steps + 1) * first.nbytes
        raise MemoryError(f"rollout: {steps} steps of {first.size} numbers take {size:.3g} bytes") from None
