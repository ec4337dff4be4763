"""JAX: jit-compiled `lax.scan` (or an unrolled loop) and `value_and_grad`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

jax.config.update("jax_enable_x64", True)
if os.environ.get("OMP_NUM_THREADS") == "1":
    # On one core a second thread that only dispatches costs JAX a few per cent: measure it at its best.
    jax.config.update("jax_cpu_enable_async_dispatch", False)

VERSION = jax.__version__


def reverse(
    H: NDArray[Any], w0: NDArray[Any], eta: float, steps: int, *, unrolled: bool = False
) -> Callable[[], tuple[float, float]]:
    """Return a function that returns the mean over tasks of G and of G'; H (B, d, d), w0 (B, d)."""
    objective = jax.jit(jax.value_and_grad(_mean_log_objective(steps, unrolled)))
    args = (jnp.asarray(eta, dtype=w0.dtype), jnp.asarray(H), jnp.asarray(w0))

    def call() -> tuple[float, float]:
        value, slope = objective(*args)
        return float(value), float(slope)

    return call


def slopes(H: NDArray[Any], w0: NDArray[Any], etas: NDArray[Any], steps: int) -> NDArray[Any]:
    """Return G'(eta) for every eta; H (d, d), w0 (d,)."""
    one = _mean_log_objective(steps, False)
    slope = jax.jit(jax.vmap(jax.grad(one), in_axes=(0, None, None)))
    return np.asarray(slope(jnp.asarray(etas), jnp.asarray(H)[None], jnp.asarray(w0)[None]))


def meta_descent(
    problem: tuple[NDArray[Any], NDArray[Any]], eta0: float, power: int | float, rates: NDArray[Any]
) -> Callable[[], NDArray[Any]]:
    """Return a function that runs eta <- max(0, eta - rate_k G'(eta)) in one scan and returns all eta.

    `problem` holds eigenvalues and weights; `power` = 2t - 1: an int is a constant that XLA expands to products, a
    float an argument that it raises to by exp and log.
    """
    constant = power if isinstance(power, int) else None

    @jax.jit
    def run(eta: Any, lam: Any, kappa: Any, rates: Any, power: Any) -> Any:
        return jax.lax.scan(_meta_step(lam, kappa, constant or power), eta, rates)[1]

    eigenvalues, weights = problem
    arrays = (eta0, eigenvalues, weights * eigenvalues / 2, rates, float(power))
    args = tuple(jnp.asarray(x) for x in arrays)
    return lambda: np.asarray(run(*args))


def _meta_step(lam: Any, kappa: Any, power: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    def step(eta: Any, rate: Any) -> tuple[Any, Any]:
        a = 1 - eta * lam
        s = jnp.max(jnp.abs(a))  # powers relative to the largest factor: in range at any horizon
        powers = (a / s) ** power
        slope = -(2 / s) * jnp.sum(kappa * lam * powers) / jnp.sum(kappa * powers * (a / s))
        eta = jnp.maximum(0.0, eta - rate * slope)
        return eta, eta

    return step


def _mean_log_objective(steps: int, unrolled: bool) -> Callable[[Any, Any, Any], Any]:
    def product(H: Any, w: Any) -> Any:
        return jnp.matmul(H, w[..., None])[..., 0]

    def objective(eta: Any, H: Any, w: Any) -> Any:
        def step(w: Any, _: Any) -> tuple[Any, None]:
            return w - eta * product(H, w), None

        if unrolled:
            for _ in range(steps):
                w, _ = step(w, None)
        else:
            w, _ = jax.lax.scan(step, w, None, length=steps)
        loss = 0.5 * jnp.sum(w * product(H, w), axis=-1)
        return jnp.mean(jnp.log(loss)) / steps

    return objective
