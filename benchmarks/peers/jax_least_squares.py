"""JAX: the least-squares grid as one compiled program, `vmap` over the step sizes and `lax.scan` over the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from benchmarks.grid_recipe import Grid
from benchmarks.peers import jax_peer

VERSION = jax_peer.VERSION


def losses(grid: Grid, dtype: Any = np.float64) -> Callable[[], NDArray[Any]]:
    """Return a function that returns both objectives at every step size, (2, len(etas))."""
    X, y, direction, etas = (jnp.asarray(a, dtype=dtype) for a in (grid.X, grid.y, grid.direction, grid.etas))
    h, end = grid.half, jnp.asarray(grid.radius, dtype=dtype) * direction

    def descend(X: Any, y: Any, eta: Any) -> Any:
        def step(state: Any, _: Any) -> tuple[Any, None]:
            w, truncated = state
            w = w - eta * (X.T @ (X @ w - y)) / len(y)
            truncated = truncated | (jnp.sum(w * w) >= grid.radius**2)
            return (jnp.where(truncated, end, w), truncated), None

        start = (jnp.zeros(X.shape[1], X.dtype), jnp.asarray(False))
        return jax.lax.scan(step, start, None, length=grid.steps)[0][0]

    def loss(X: Any, y: Any, w: Any) -> Any:
        return jnp.mean((X @ w - y) ** 2) / 2

    @jax.jit
    def both(X: Any, y: Any, etas: Any) -> Any:
        by_train = jax.vmap(lambda eta: loss(X, y, descend(X, y, eta)))(etas)
        by_validation = jax.vmap(lambda eta: loss(X[h:], y[h:], descend(X[:h], y[:h], eta)))(etas)
        return jnp.stack([by_train, by_validation])

    return lambda: np.asarray(both(X, y, etas))
