"""What else could learn a step size where the log validation loss is flat: signs at random, and any fixed outer step.

Slopes are theory's, of groups of tasks that are tuned together, each group independent of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from metagrad.theory import least_squares

_LEAST = 1e-6  # the least step size that a walk may take
_GRID = 400
_HALVINGS = 50


@dataclass(frozen=True)
class Group:
    """Samples that are tuned together for one horizon."""

    samples: list[tuple[least_squares.Regression, np.ndarray, np.ndarray]]
    steps: int

    @classmethod
    def of(cls, task: mg.LeastSquares, steps: int) -> Group:
        """Return the group of all tasks of a task set."""
        parts = zip(task.X, task.y, *task.validation, strict=True)
        return cls([(least_squares.Regression.of(X, y), X_val, y_val) for X, y, X_val, y_val in parts], steps)

    @property
    def largest(self) -> float:
        """The largest step size that is looked at: a fifth above where the first sample grows.

        A minimum may lie a little above that, where the sample's sharpest direction is not yet worse than w_0.
        """
        return float(2.4 / max(sample.eigenvalues.max() for sample, *_ in self.samples))

    def slope(self, etas: Any) -> np.ndarray:
        """Return the mean over samples of d/deta (1/t) log V, with the shape of etas."""
        found = [
            least_squares.d_validation_loss(*sample, etas, self.steps)
            / least_squares.validation_loss(*sample, etas, self.steps)
            for sample in self.samples
        ]
        return np.mean([ratio.to_float(ieee=True) for ratio in found], axis=0) / self.steps

    def downhill(self, start: float) -> float:
        """Return the minimum of the mean log validation loss that lies downhill from a step size; NaN without one."""
        falls = float(np.sign(self.slope(start)))
        end = np.geomspace(start, _LEAST, _GRID) if falls > 0 else np.linspace(start, self.largest, _GRID)
        turned = np.flatnonzero(np.sign(self.slope(end)) == -falls)
        if not turned.size:
            return np.nan
        before, after = end[turned[0] - 1], end[turned[0]]
        for _ in range(_HALVINGS):
            middle = (before + after) / 2
            before, after = (before, middle) if np.sign(self.slope(middle)) == -falls else (middle, after)
        return float((before + after) / 2)


def sign_walk(group: Group, start: float, scale: float, count: int) -> float:
    """Return where steps of size scale/sqrt(k) against the sign of the slope end."""
    eta = np.array(start)
    for k in range(1, count + 1):
        eta = np.maximum(eta - scale / np.sqrt(k) * np.sign(group.slope(eta)), _LEAST)
    return float(eta)


def fixed_walks(group: Group, start: float, scales: np.ndarray, count: int) -> np.ndarray:
    """Return where gradient steps scale/sqrt(k) times the slope end, for each scale, kept up to the largest."""
    eta = np.full(len(scales), start)
    for k in range(1, count + 1):
        eta = np.clip(eta - scales / np.sqrt(k) * group.slope(eta), _LEAST, group.largest)
    return eta


def random_walks(start: float, scale: float, count: int, walks: int, stream: np.random.Generator) -> np.ndarray:
    """Return where steps of the size of sign steps end whose signs are tossed, walk by walk."""
    eta = np.full(walks, start)
    for k in range(1, count + 1):
        eta = np.maximum(eta + scale / np.sqrt(k) * stream.choice([-1.0, 1.0], walks), _LEAST)
    return eta


def right_signs(task: mg.LeastSquares, eta: float, steps: int) -> dict[str, np.ndarray]:
    """Return for each sample 1 where the slope's sign is theory's, else 0: scaled, and in plain floats."""
    group = Group.of(_in_float64(task), steps)
    true = [np.sign(float(Group([sample], steps).slope(eta))) for sample in group.samples]
    phi = mg.GradientDescent.Phi(np.full(len(true), eta, task.X.dtype))
    found = {}
    for scaling, problem in (("auto", task.centred()), ("none", task)):
        estimator = mg.Reverse(per_task=True, scaling=scaling)
        run = estimator(problem, mg.GradientDescent(), mg.LogFinal("validation"), phi, steps=steps)
        found["scaled" if scaling == "auto" else "plain"] = (run.grad.eta.sign() == true).astype(float)
    return found


def _in_float64(task: mg.LeastSquares) -> mg.LeastSquares:
    X, y, *held = (part.astype(np.float64) for part in (task.X, task.y, *task.validation))
    return mg.LeastSquares(X, y, validation=tuple(held))
