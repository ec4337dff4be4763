"""Linear tasks with Gaussian inputs, and what the engine learns from sets of them: a start, or a step size.

The meta-gradient of least squares is affine in the start, so its zero follows from the engine's gradients at d + 1
starts. All sets run side by side: task b of B is in the set b // T.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

import metagrad as mg
from metagrad.xp import rng


@dataclass(frozen=True)
class Drawn:
    """Tasks X (B, n, d) and y (B, n) with the true weights w (B, d)."""

    X: np.ndarray
    y: np.ndarray
    w: np.ndarray

    def task(self, train: int | None = None) -> mg.LeastSquares:
        """Return the task on all samples, or on the first `train` with the others to validate on."""
        if train is None:
            return mg.LeastSquares(self.X, self.y, w_star=self.w)
        rest = self.X[:, train:], self.y[:, train:]
        return mg.LeastSquares(self.X[:, :train], self.y[:, :train], validation=rest, w_star=self.w)


def draw(count: int, n: int, d: int, sigma: float, seed: int, *path: Any, kinds: Any = None) -> Drawn:
    """Draw `count` tasks with w = N(0, I/d), or of the kinds of `metagrad.theory.starts.tied`."""
    stream = rng(seed, "split_tasks", *path)
    X, w = stream.standard_normal((count, n, d)), stream.standard_normal((count, d)) / np.sqrt(d)
    noise = sigma * stream.standard_normal((count, n))
    if kinds is not None:
        kind = stream.choice(kinds.count, size=count, p=kinds.shares)
        X *= np.sqrt(kinds.scales)[kind][:, None, None]
        w *= np.asarray(kinds.signal)[kind][:, None]
        w[:, 0] += kinds.places[kind]
    return Drawn(X, np.einsum("bni,bi->bn", X, w) + noise, w)


def taught_starts(data: mg.LeastSquares, measure: str, alpha: float, steps: int, sets: int) -> np.ndarray:
    """Return the start (sets, d) at which the engine's meta-gradient vanishes, set by set."""
    task, d = mg.LearnedStart(data), data.X.shape[-1]
    count = len(data.y)

    def gradient(start: np.ndarray) -> np.ndarray:
        phi = mg.Joint(rule=np.full(count, alpha), task=np.broadcast_to(start, (count, d)).copy())
        ask = (task, mg.GradientDescent(), mg.Final(measure), phi)
        found = mg.meta_gradient(*ask, steps=steps, per_task=True).grad.task.to_float()
        return np.asarray(found).reshape(sets, -1, d).mean(axis=1)

    at_zero = gradient(np.zeros(d))
    matrix = np.stack([gradient(one) - at_zero for one in np.eye(d)], axis=-1)  # column j: along coordinate j
    return np.linalg.solve(matrix, -at_zero[..., None])[..., 0]


def tuned_step(data: mg.LeastSquares, measure: str, near: float, steps: int) -> float:
    """Return the step size at which the engine's meta-gradient vanishes, from 0.1 to 3 times the one it is sought near.

    The bracket is a place to look at; ValueError where the gradient has no change of sign in it.
    """

    def slope(eta: float) -> float:
        found = mg.meta_gradient(data, mg.GradientDescent(), mg.Final(measure), eta, steps=steps)
        return float(found.grad.eta.to_float())

    return float(brentq(slope, 0.1 * near, 3.0 * near, xtol=1e-6))
