"""Tasks (the optimizees), one file a family."""

from metagrad.tasks.diagonal_quadratic import DiagonalQuadratic
from metagrad.tasks.function_task import FunctionTask
from metagrad.tasks.least_squares import LeastSquares, random_least_squares, split_task
from metagrad.tasks.quadratic import Quadratic, random_quadratics

__all__ = [
    "DiagonalQuadratic",
    "FunctionTask",
    "LeastSquares",
    "Quadratic",
    "random_least_squares",
    "random_quadratics",
    "split_task",
]
