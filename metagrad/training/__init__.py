"""Meta-training of optimizers on fresh tasks."""

from metagrad.training.recipe import Recipe
from metagrad.training.trainer import NonFiniteError, Result, Trainer

__all__ = ["NonFiniteError", "Recipe", "Result", "Trainer"]
