"""Hand-designed optimizers as baselines, their step sizes tuned by the specified search."""

from __future__ import annotations

from typing import Any

import numpy as np

import metagrad as mg
from metagrad.unroll.rollout import rollout

STEP_SIZES = np.logspace(-5, 1, 25)  # the search of Andrychowicz et al. 2016 as specified: one grid for every rule
_RULES: dict[str, tuple[Any, Any]] = {
    "SGD": (mg.GradientDescent(), mg.GradientDescent.Phi),
    "momentum": (mg.Momentum(), mg.Momentum.Phi),
    "Nesterov": (mg.Nesterov(), mg.Nesterov.Phi),
    "RMSprop": (mg.RMSprop(), mg.RMSprop.Phi),
    "Adagrad": (mg.Adagrad(), mg.Adagrad.Phi),
    "Adam": (mg.Adam(), mg.Adam.Phi),
}
NAMES = tuple(_RULES)


def baseline(name: str, eta: float) -> tuple[Any, Any]:
    """Return a rule and its settings: the step size, and the rule's defaults."""
    rule, settings = _RULES[name]
    return rule, settings(float(eta))


def search(name: str, task: Any, steps: int, seed: int) -> np.ndarray:
    """Return the losses (step sizes, steps + 1, tasks) of a rule at every step size of the grid."""
    return np.stack([rollout(task, *baseline(name, eta), steps=steps, seed=seed) for eta in STEP_SIZES])


def best(validation: np.ndarray) -> int:
    """Return which step size has the least mean loss at the end; the losses are (step sizes, tasks)."""
    with np.errstate(all="ignore"):
        final = np.mean(validation, axis=-1)
    return int(np.argmin(np.where(np.isfinite(final), final, np.inf)))
