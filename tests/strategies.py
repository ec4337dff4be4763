"""What our own random tests draw from: `metagrad.testing`, in the ranges that they were written for."""

import numpy as np

from metagrad import GradientDescent, Scheduled, testing
from metagrad.testing import quadratic as random_quadratic
from metagrad.testing.strategies import LOGARITHMIC, PLAIN
from metagrad.xp import rng

__all__ = ["OBJECTIVES", "horizons", "objectives", "phi_of", "quadratics", "random_quadratic", "step_sizes"]

OBJECTIVES = [*PLAIN, *LOGARITHMIC]

quadratics = testing.quadratics()
step_sizes = testing.step_sizes(most=1.8)
horizons = testing.horizons(40)
objectives = testing.objectives()


def phi_of(kind, task, steps, eta, seed=0):
    """Return (optimizer, phi, per_task) for a kind of step size."""
    batch, d = task.w0.shape
    spread = rng(seed, "phi").uniform(0.7, 1.3, size=4096)
    dtype = task.w0.dtype
    shapes = {"shared": (), "coordinate": (d,), "task": (batch,), "schedule": (steps,), "schedule_task": (steps, batch)}
    shape = shapes[kind]
    values = (eta * spread[: int(np.prod(shape, dtype=int))].reshape(shape)).astype(dtype)
    rule = Scheduled(GradientDescent()) if kind.startswith("schedule") else GradientDescent()
    return rule, rule.check_phi(values, "test"), kind.endswith("task")
