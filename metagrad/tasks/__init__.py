"""Tasks (the optimizees), one file a family."""

from metagrad.tasks._network import MLP
from metagrad.tasks.diagonal_quadratic import DiagonalQuadratic
from metagrad.tasks.function_task import FunctionTask
from metagrad.tasks.least_squares import LeastSquares, random_least_squares, random_regressions, split_task
from metagrad.tasks.mlp_classifier import MLPClassifier, image_classifiers
from metagrad.tasks.mlp_regressor import MLPRegressor, Sinusoids
from metagrad.tasks.quadratic import Quadratic, random_quadratics
from metagrad.tasks.wrappers.learned_start import LearnedStart

__all__ = [
    "MLP",
    "DiagonalQuadratic",
    "FunctionTask",
    "LearnedStart",
    "LeastSquares",
    "MLPClassifier",
    "MLPRegressor",
    "Quadratic",
    "Sinusoids",
    "image_classifiers",
    "random_least_squares",
    "random_quadratics",
    "random_regressions",
    "split_task",
]
