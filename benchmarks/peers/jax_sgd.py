"""JAX: the recursion of SGD's moments as one compiled scan, its derivative in the step size by forward mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import jax_peer
from benchmarks.sgd_recipe import Sgd

VERSION = jax_peer.VERSION


def losses(problem: Sgd) -> Callable[[], NDArray[Any]]:
    """Return a function that returns the expected train loss after 0..T steps and its eta-derivative, (2, T + 1)."""
    X, y, w0 = (jnp.asarray(a) for a in (problem.X, problem.y, problem.w0))
    n, b = len(problem.y), problem.batch

    def trajectory(eta: Any, X: Any, y: Any, w0: Any) -> Any:
        H, g = X.T @ X / n, X.T @ y / n

        def step(state: Any, _: Any) -> tuple[Any, Any]:
            m, M = state
            loss = jnp.sum(H * M) / 2 - g @ m + y @ y / (2 * n)
            HM, gm, Hmg = H @ M, jnp.outer(g, m), jnp.outer(H @ m, g)
            weights = jnp.sum((X @ M) * X, axis=1) - 2 * y * (X @ m) + y**2
            C = X.T @ (weights[:, None] * X) / n
            B = HM @ H - Hmg - Hmg.T + jnp.outer(g, g)
            M = M - eta * (HM + HM.T - gm - gm.T) + eta**2 * (C / b + (1 - 1 / b) * B)
            return (m - eta * (H @ m - g), M), loss

        return jax.lax.scan(step, (w0, jnp.outer(w0, w0)), None, length=problem.steps + 1)[1]

    @jax.jit
    def both(eta: Any, X: Any, y: Any, w0: Any) -> Any:
        return jnp.stack(jax.jvp(lambda eta: trajectory(eta, X, y, w0), (eta,), (jnp.ones_like(eta),)))

    eta = jnp.asarray(problem.eta)
    return lambda: np.asarray(both(eta, X, y, w0))
