"""Tasks of the engine whose validation loss is the risk of an average case, and steps and weight decay tuned on them.

On an eigenvalue s descent makes of w = 0 the part q(s) s of the target: a quadratic in one coordinate a node, with the
target 1 and the curvature s, and weight decay beside it. What the targets' average leaves over the Bayes risk is a
quadratic in the same coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import metagrad as mg
from analysis._minimise import minimised
from metagrad.theory.schedules import AverageCase


def task_of(problem: AverageCase) -> mg.FunctionTask:
    """Return the task: its loss with weight decay theta, and the excess over the Bayes risk as its validation loss."""
    s, delta = problem.nodes, problem.decay
    share = problem.signal * problem.weights * s / (s + delta)

    def loss(w, theta):
        return np.sum(s * (w - 1) ** 2, axis=-1) / 2 + theta * np.sum(w * w, axis=-1) / 2

    def excess(w):
        return np.sum(share * (1 - (s + delta) / s * w) ** 2, axis=-1)

    return mg.FunctionTask(loss, np.zeros((1, s.size)), validation=excess, theta=np.array(0.1))


def tuned(problem: AverageCase, etas: np.ndarray, decay: float | None) -> tuple[np.ndarray, float]:
    """Return the step sizes (T,) and the decay that the engine's gradient leads to from a schedule and a decay.

    The objective is the logarithm of the excess. With `decay` None only the steps are tuned, and the decay is 0.
    """
    task, steps = task_of(problem), len(etas)
    rule = mg.Scheduled(mg.GradientDescent())

    def objective(phi: np.ndarray) -> tuple[float, np.ndarray]:
        theta = 0.0 if decay is None else phi[-1]
        joint = mg.Joint(rule=mg.GradientDescent.Phi(phi[:steps]), task=np.array(theta))
        found = mg.meta_gradient(task, rule, mg.LogFinal("validation"), joint, steps=steps)
        slope = found.grad.rule.eta.to_float()
        if decay is not None:
            slope = np.append(slope, found.grad.task.to_float())
        return float(found.value.to_float()[0]), slope

    start = etas if decay is None else np.append(etas, decay)
    phi, _, _ = minimised(objective, start)
    return np.sort(phi[:steps])[::-1], 0.0 if decay is None else float(phi[-1])


def line(steps: int, middle: float, ends: Sequence[float] = (1.1, 0.9)) -> np.ndarray:
    """Return a schedule along a straight line about `middle`: equal steps would stay equal, by symmetry."""
    return middle * np.linspace(*ends, steps) if steps > 1 else np.array([middle])
