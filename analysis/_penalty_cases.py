"""Ridge regressions whose penalty is tuned on held-out data: for the engine, and for the theory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import metagrad as mg
from analysis._real_problems import problem, standardised
from metagrad.theory.quadratic.implicit import PenalisedQuadratic
from metagrad.xp import rng


@dataclass(frozen=True)
class Cases:
    """Training and held-out samples of some regressions, X (B, n, d), y (B, n), and the log of their penalty."""

    X: np.ndarray
    y: np.ndarray
    held: tuple[np.ndarray, np.ndarray]
    log_penalty: float

    @cached_property
    def theory(self) -> list[PenalisedQuadratic]:
        """Return the regressions as quadratics, from w_0 = 0."""
        Z, t = self.held
        n, k, zero = self.X.shape[1], Z.shape[1], np.zeros(self.X.shape[2])
        return [
            PenalisedQuadratic(x.T @ x / n, x.T @ y / n, z.T @ z / k, z.T @ u / k, zero)
            for x, y, z, u in zip(self.X, self.y, Z, t, strict=True)
        ]

    @cached_property
    def curvatures(self) -> np.ndarray:
        """Return the least and the largest curvature of each, (B, 2)."""
        return np.stack([one.curvatures(self.log_penalty)[[0, -1]] for one in self.theory])

    @cached_property
    def task(self) -> mg.FunctionTask:
        """Return the regressions as a task of the engine, whose theta is the log of the penalty."""
        return self.task_from(np.zeros((len(self.X), self.X.shape[2])))

    def task_from(self, w0: np.ndarray) -> mg.FunctionTask:
        """Return the same from another start, (B, d)."""
        Z, t = self.held

        def loss(w: Any, theta: Any) -> Any:
            off = np.einsum("bnd,bd->bn", self.X, w) - self.y
            return np.mean(off * off, axis=-1) / 2 + np.sum(np.exp(theta) * w * w, axis=-1) / 2

        def validation(w: Any) -> Any:
            off = np.einsum("bnd,bd->bn", Z, w) - t
            return np.mean(off * off, axis=-1) / 2

        return mg.FunctionTask(loss, w0, validation=validation, theta=np.array(self.log_penalty))

    @property
    def phi(self) -> mg.Joint:
        """Return the step size of each, one over its largest curvature, and the log of its penalty."""
        etas = 1 / self.curvatures[:, 1]
        return mg.Joint(rule=mg.GradientDescent.Phi(etas), task=np.full(len(etas), self.log_penalty))


def random_cases(count: int, *, n: int, d: int, penalty: float, seed: int) -> Cases:
    """Return regressions on Gaussian inputs with a random w* of length 1 and noise of variance 1."""
    draw = rng(seed, "penalty", n, d)
    X, Z = draw.standard_normal((count, n, d)), draw.standard_normal((count, n, d))
    w = draw.standard_normal((count, d, 1))
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    y, t = ((x @ w)[..., 0] + draw.standard_normal((count, n)) for x in (X, Z))
    return Cases(X, y, (Z, t), float(np.log(penalty)))


def diabetes_cases(count: int, *, n: int, penalty: float, seed: int) -> Cases:
    """Return splits of the 442 patients: n to train on, as many held out; inputs scaled by those trained on."""
    data, draw = problem("diabetes"), rng(seed, "penalty", "diabetes")
    parts = []
    for _ in range(count):
        chosen = draw.permutation(len(data.target))[: 2 * n]
        y = data.target[chosen]
        parts.append((standardised(data.inputs_of[chosen], n), (y - y[:n].mean()) / y[:n].std()))
    X, y = (np.stack(part) for part in zip(*parts, strict=True))
    return Cases(X[:, :n], y[:, :n], (X[:, n:], y[:, n:]), float(np.log(penalty)))
