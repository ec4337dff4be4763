"""The cotangent of a step size, whatever it is shared by."""

from __future__ import annotations

import numpy as np

from metagrad.scaled import ldexp
from metagrad.xp import Array


def is_one_a_task(eta: Array, batch: int) -> bool:
    """Whether all coordinates of a task share one step size: eta () or (B, 1)."""
    return bool(eta.ndim == 0 or eta.shape == (batch, 1))


def eta_cotangent(eta: Array, a: Array, b: Array, fold: Array | None) -> Array:
    """Return -sum of a b over all that eta is shared by, each task times 2**fold; a and b (B, ...)."""
    if is_one_a_task(eta, a.shape[0]):
        per_task = -np.einsum("bi,bi->b", a, b)
        per_task = per_task if fold is None else ldexp(per_task, fold)
        return per_task.sum() if eta.ndim == 0 else per_task[:, None]
    terms = -a * b
    terms = terms if fold is None else ldexp(terms, fold[:, None])
    extra = terms.ndim - eta.ndim
    terms = terms.sum(axis=tuple(range(extra))) if extra else terms
    shared = tuple(i for i, n in enumerate(eta.shape) if n == 1 and terms.shape[i] != 1)
    return terms.sum(axis=shared, keepdims=True) if shared else terms
