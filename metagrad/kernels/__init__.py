"""Fused steps for one (task, update rule) pair, each equal to the tape's step and faster; found by `fused_step`."""

from __future__ import annotations

from typing import Any

from metagrad.kernels._curvature import hessian_product
from metagrad.kernels.block_descent import BlockDescent, block_kernel
from metagrad.kernels.least_squares_descent import LeastSquaresDescent
from metagrad.kernels.lstm_window import LstmWindow, lstm_window
from metagrad.kernels.quadratic_descent import QuadraticDescent
from metagrad.optimizers import GradientDescent, Scheduled
from metagrad.protocols import GradientKind, Rule, Task
from metagrad.tasks import DiagonalQuadratic, LeastSquares, Quadratic

_FUSED: dict[tuple[type, type], Any] = {
    (Quadratic, GradientDescent): QuadraticDescent,
    (DiagonalQuadratic, GradientDescent): QuadraticDescent,
    (LeastSquares, GradientDescent): LeastSquaresDescent,
}


def fused_step(task: Task, rule: Rule, gradient: GradientKind) -> Any:
    """Return the fused step of this very pair of classes, or None: a subclass may have changed what a step does."""
    inner = rule.rule if type(rule) is Scheduled else rule
    kernel = _FUSED.get((type(task), type(inner)))
    minibatches = type(task) is LeastSquares and task.batch_size is not None
    return None if kernel is None or minibatches else kernel(task, gradient)


__all__ = [
    "BlockDescent",
    "LeastSquaresDescent",
    "LstmWindow",
    "QuadraticDescent",
    "block_kernel",
    "fused_step",
    "hessian_product",
    "lstm_window",
]
