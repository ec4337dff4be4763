"""Ways to compute what `grid_recipe.losses` computes, without a descent for each step size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.grid_recipe import Grid

Floats = NDArray[Any]


def krylov(grid: Grid) -> Floats:
    """Lanczos on X'X/n for both training sets at once: after t steps the basis V holds every w_t, exactly.

    The products P = XV for all samples come with it, so that any loss is the mean of (Pc - y)^2 over its samples.
    """
    n, h = len(grid.y), grid.half
    train = np.ones((2, n))
    train[1, h:] = 0.0
    diagonal, off_diagonal, P = _lanczos(grid.X, grid.y, train, grid.steps)
    sizes = train.sum(1)[:, None]
    T = np.zeros((2, grid.steps, grid.steps))
    i = np.arange(grid.steps)
    T[:, i, i], T[:, i[1:], i[:-1]] = diagonal / sizes, off_diagonal[:, 1:] / sizes
    s, Q = np.linalg.eigh(T)
    c, truncated = _coordinates(s, Q[:, 0] * off_diagonal[:, :1] / sizes, grid)
    squares = (P.transpose(0, 2, 1) @ (Q @ c) - grid.y[:, None]) ** 2
    losses = np.stack([squares[0].mean(0), squares[1, h:].mean(0)]) / 2
    return np.where(truncated, _truncated_losses(grid), losses)


def _lanczos(X: Floats, y: Floats, train: Floats, steps: int) -> tuple[Floats, Floats, Floats]:
    # Orthogonalising against all earlier vectors contains the three-term recurrence.
    sets, n = train.shape
    V, P = np.empty((sets, steps, X.shape[1])), np.empty((sets, steps, n))
    diagonal, off_diagonal = np.empty((steps, sets, 1)), np.empty((steps, sets, 1))
    z = (y * train) @ X
    for j in range(steps):
        off_diagonal[j] = np.sqrt(np.einsum("ij,ij->i", z, z))[:, None]
        v = np.divide(z, off_diagonal[j], out=V[:, j])
        p = v @ X.T
        P[:, j] = p
        p *= train
        diagonal[j] = np.einsum("ij,ij->i", p, p)[:, None]
        if j + 1 < steps:
            z = p @ X
            past = V[:, : j + 1]
            z -= ((past @ z[:, :, None]).transpose(0, 2, 1) @ past)[:, 0]
    return diagonal[..., 0].T, off_diagonal[..., 0].T, P


def _coordinates(s: Floats, b: Floats, grid: Grid) -> tuple[Floats, Floats]:
    # w_k in the eigenbasis of X'X/n (eigenvalues s, X'y/n = b): c <- (1 - eta s) c + eta b, with the check of the norm.
    factor, shift = 1 - grid.etas * s[..., None], grid.etas * b[..., None]
    c, truncated = np.zeros_like(factor), np.zeros((len(s), len(grid.etas)), dtype=bool)
    for _ in range(grid.steps):
        c *= factor
        c += shift
        truncated |= np.einsum("bij,bij->bj", c, c) >= grid.radius**2
    return np.where(truncated[:, None], 0.0, c), truncated


def _truncated_losses(grid: Grid) -> Floats:
    squares = (grid.X @ (grid.radius * grid.direction) - grid.y) ** 2
    return np.array([[squares.mean() / 2], [squares[grid.half :].mean() / 2]])


def dual(grid: Grid) -> Floats:
    """Closed form by the eigendecomposition of the n x n matrices XX'/n, one product for both."""
    y, h = grid.y, grid.half
    gram = grid.X @ grid.X.T

    def one(rows: slice, held_out: slice) -> tuple[Floats, Floats]:
        size = len(y[rows])
        s, Q = np.linalg.eigh(gram[rows, rows] / size)
        c, truncated = _coordinates(s[None], (np.sqrt(s / size) * (Q.T @ y[rows]))[None], grid)
        cross = gram[held_out, rows] @ (Q / np.sqrt(s * size))
        return ((cross @ c[0] - y[held_out, None]) ** 2).mean(0) / 2, truncated[0]

    everything, first, second = slice(None), slice(h), slice(h, None)
    return _both(one(everything, everything), one(first, second), grid)


def primal(grid: Grid) -> Floats:
    """Closed form by the eigendecomposition of the d x d matrices X'X/n."""

    def one(X: Floats, y: Floats, X_held_out: Floats, y_held_out: Floats) -> tuple[Floats, Floats]:
        s, V = np.linalg.eigh(X.T @ X / len(y))
        c, truncated = _coordinates(s[None], (V.T @ (X.T @ y) / len(y))[None], grid)
        return ((X_held_out @ (V @ c[0]) - y_held_out[:, None]) ** 2).mean(0) / 2, truncated[0]

    X, y, h = grid.X, grid.y, grid.half
    return _both(one(X, y, X, y), one(X[:h], y[:h], X[h:], y[h:]), grid)


def _both(by_train: tuple[Floats, Floats], by_validation: tuple[Floats, Floats], grid: Grid) -> Floats:
    losses, truncated = (np.stack(pair) for pair in zip(by_train, by_validation, strict=True))
    return np.where(truncated, _truncated_losses(grid), losses)


CANDIDATES: dict[str, Callable[[Grid], Floats]] = {
    "Krylov basis, both objectives at once": krylov,
    "closed form, dual": dual,
    "closed form, primal": primal,
}
