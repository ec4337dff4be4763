"""Regression by small networks, and the sine waves that starts are learned for."""

from metagrad.tasks.mlp_regressor.sinusoids import Sinusoids
from metagrad.tasks.mlp_regressor.task import MLPRegressor

__all__ = ["MLPRegressor", "Sinusoids"]
