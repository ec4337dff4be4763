"""Tasks (the optimizees), one file a family."""

from metagrad.tasks.diagonal_quadratic import DiagonalQuadratic
from metagrad.tasks.function_task import FunctionTask
from metagrad.tasks.quadratic import Quadratic, random_quadratics

__all__ = ["DiagonalQuadratic", "FunctionTask", "Quadratic", "random_quadratics"]
