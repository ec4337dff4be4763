"""Products with the Hessian of tasks whose gradient is linear, for which nothing needs to be recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metagrad.protocols import Task
from metagrad.tasks import DiagonalQuadratic, Quadratic
from metagrad.xp import Array


def hessian_product(task: Task) -> Callable[[Array, Array, Any], Array] | None:
    """Return (w, v, sample) -> H v for these very classes, else None."""
    if type(task) is Quadratic or type(task) is DiagonalQuadratic:
        return lambda w, v, sample: task.gradient(v, sample)
    return None
