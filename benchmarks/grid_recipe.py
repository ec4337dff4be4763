"""The source paper's least-squares experiment for one task: every step size unrolled on its own.

    w <- w - eta X'(Xw - y)/n, t times from w = 0; once ||w|| >= radius, it stays at radius times a unit vector.

Both meta-objectives are ||Xw - y||^2/(2n) of the last w: on the samples trained on (train by train), and on the second
half after training on the first (train by validation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """One task of the experiment and the step sizes that it is run with: X (n, d), y (n,), direction (d,)."""

    X: Floats
    y: Floats
    direction: Floats
    etas: Floats
    steps: int
    radius: float

    @property
    def half(self) -> int:
        """The number of samples that train by validation trains on: the first ones, as good as any random half."""
        return len(self.y) // 2


def random_grid(n: int, d: int, steps: int, count: int, seed: int = 0) -> Grid:
    """Return the paper's task: x ~ N(0, I), w* on the unit sphere, y = x'w* + N(0, 1); eta from 1e-6 to 1."""
    stream = np.random.default_rng(np.random.SeedSequence([seed, n, d]))
    X, w_star, direction = stream.standard_normal((n, d)), stream.standard_normal(d), stream.standard_normal(d)
    y = X @ (w_star / np.linalg.norm(w_star)) + stream.standard_normal(n)
    return Grid(X, y, direction / np.linalg.norm(direction), np.logspace(-6, 0, count), steps, radius=40.0)


def losses(grid: Grid) -> Floats:
    """Return both objectives at every step size, (2, len(etas))."""
    X, y, h = grid.X, grid.y, grid.half
    by_train = [_loss(X, y, _descend(X, y, eta, grid)) for eta in grid.etas]
    by_validation = [_loss(X[h:], y[h:], _descend(X[:h], y[:h], eta, grid)) for eta in grid.etas]
    return np.array([by_train, by_validation])


def _descend(X: Floats, y: Floats, eta: float, grid: Grid) -> Floats:
    w = np.zeros(X.shape[1])
    for _ in range(grid.steps):
        w = w - eta * (X.T @ (X @ w - y)) / len(y)
        if np.linalg.norm(w) >= grid.radius:
            return grid.radius * grid.direction
    return w


def _loss(X: Floats, y: Floats, w: Floats) -> float:
    residual = X @ w - y
    return float(residual @ residual) / (2 * len(y))
