"""Products with the Hessian of tasks whose gradient is linear, for which nothing needs to be recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.protocols import Task
from metagrad.tasks import DiagonalQuadratic, LeastSquares, Quadratic
from metagrad.xp import Array


def hessian_product(task: Task) -> Callable[[Array, Array, Any], Array] | None:
    """Return (w, v, sample) -> H v for these very classes, else None."""
    if type(task) is Quadratic or type(task) is DiagonalQuadratic:
        return lambda w, v, sample: task.gradient(v, sample)
    if type(task) is LeastSquares and task.full_batch:
        return lambda w, v, sample: transposed_product(task.X, task.predictions(v) / task.divisor)
    return None


def transposed_product(X: Array, u: Array) -> Array:
    """Return X'u, (B, d), for X (n, d) or (B, n, d) and u (B, n)."""
    return np.matmul(u, X) if X.ndim == 2 else np.matmul(u[:, None, :], X)[:, 0]
