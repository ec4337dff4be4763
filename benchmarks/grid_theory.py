"""What `grid_recipe.losses` computes, by theory: without a descent for each step size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.grid_recipe import Grid

Floats = NDArray[Any]


def krylov(grid: Grid) -> Floats:
    """Return both objectives from one Krylov space for each training set, with shared products."""
    from metagrad.theory.least_squares.krylov import krylov_regressions

    train = np.ones((2, len(grid.y)), dtype=bool)
    train[1, grid.half :] = False
    return _losses(krylov_regressions(grid.X, grid.y, grid.steps, train=train), grid)


def decomposition(grid: Grid, method: Literal["gram", "svd"]) -> Floats:
    """Return both objectives from a full decomposition of each training set."""
    from metagrad.theory.least_squares import Regression

    h = grid.half
    return _losses([Regression.of(X, y, method=method) for X, y in ((grid.X, grid.y), (grid.X[:h], grid.y[:h]))], grid)


def _losses(regressions: list[Any], grid: Grid) -> Floats:
    from metagrad.theory.least_squares import first_exit, train_loss, validation_loss

    X, y, h, at = grid.X, grid.y, grid.half, (grid.etas, grid.steps)
    by_train, by_validation = regressions
    losses = [train_loss(by_train, *at), validation_loss(by_validation, X[h:], y[h:], *at)]
    truncated = np.isfinite([first_exit(regression, *at, grid.radius) for regression in regressions])
    squares = (X @ (grid.radius * grid.direction) - y) ** 2
    ends = np.array([[squares.mean() / 2], [squares[h:].mean() / 2]])
    return np.where(truncated, ends, [loss.to_float(ieee=True) for loss in losses])


WAYS: dict[str, Callable[[Grid], Floats]] = {
    "theory.krylov, both at once": krylov,
    "theory.least_squares, Gram matrices": partial(decomposition, method="gram"),
    "theory.least_squares, SVD": partial(decomposition, method="svd"),
}
