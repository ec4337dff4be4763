"""Meta-training of optimizers on fresh tasks."""

from metagrad.training.config import read_config, setup
from metagrad.training.loop import NonFiniteError
from metagrad.training.meta_run import MetaRun
from metagrad.training.meta_trainer import MetaTrainer
from metagrad.training.metrics import read_metrics
from metagrad.training.minimisation import Minimum, minimise
from metagrad.training.outer import Descent, Through
from metagrad.training.recipe import Recipe
from metagrad.training.runs import plot_runs
from metagrad.training.trained import load_trained, save_trained, trained_names
from metagrad.training.trainer import Result, Trainer

__all__ = [
    "Descent",
    "MetaRun",
    "MetaTrainer",
    "Minimum",
    "NonFiniteError",
    "Recipe",
    "Result",
    "Through",
    "Trainer",
    "load_trained",
    "minimise",
    "plot_runs",
    "read_config",
    "read_metrics",
    "save_trained",
    "setup",
    "trained_names",
]
