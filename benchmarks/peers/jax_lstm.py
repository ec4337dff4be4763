"""JAX: the coordinate-wise LSTM unrolled by `lax.scan` in a jit-compiled `value_and_grad`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

jax.config.update("jax_enable_x64", True)
if os.environ.get("OMP_NUM_THREADS") == "1":
    # On one core a second thread that only dispatches costs JAX a few per cent: measure it at its best.
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def quadratics(problem: Any, phi: Any, steps: int, *, full: bool) -> Callable[[], list[Any]]:
    """Return a function that returns the mean over tasks of sum_t f(w_t) and its gradient; problem (H, w0)."""

    def product(H: Any, w: Any) -> Any:
        return jnp.matmul(H, w[..., None])[..., 0]

    def loss(w: Any, H: Any) -> Any:
        return 0.5 * jnp.sum(w * product(H, w)) / len(w)

    def objective(phi: Any, H: Any, w: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            w, state = carry
            update, state = _update(phi, product(H, w).reshape(-1), state, full)
            w = w + update.reshape(w.shape)
            return (w, state), loss(w, H)

        return jnp.sum(jax.lax.scan(step, (w, _start(phi, w)), None, length=steps)[1])

    return _call(objective, phi, *problem)


def networks(problem: Any, phi: Any, steps: int, *, full: bool) -> Callable[[], list[Any]]:
    """Return the same for one network; problem (x (T+1, n, p), y (T+1, n), (W_1, b_1, ...)), presets p = 5, 0.01."""

    def loss(w: Any, batch: Any) -> Any:
        (W1, b1, W2, b2), (x, y) = w, batch
        log_p = jax.nn.log_softmax(jax.nn.sigmoid(x @ W1 + b1) @ W2 + b2)
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

    def objective(phi: Any, x: Any, y: Any, w: Any) -> Any:
        def step(carry: Any, batches: Any) -> Any:
            w, state = carry
            now, after = batches
            g, _ = ravel_pytree(jax.grad(loss)(w, now))
            update, state = _update(phi, g, state, full, preprocessing=5.0)
            w = jax.tree.map(jnp.add, w, ravel_pytree(w)[1](0.01 * update))
            return (w, state), loss(w, after)

        batches = (x[:-1], y[:-1]), (x[1:], y[1:])
        return jnp.sum(jax.lax.scan(step, (w, _start(phi, ravel_pytree(w)[0])), batches)[1])

    return _call(objective, phi, *problem)


def gates(z: Any, c: Any, dh: Any, dc: Any) -> Callable[[], list[Any]]:
    """Return a function that returns h and the adjoints of z and c: the gates i, f, o, j of a layer, z (4H, N).

    The first three have the opposite sign, as in the engine; dh and dc are the adjoints of h and c'.
    """

    def cell(z: Any, c: Any) -> Any:
        i, f, o, j = jnp.split(z, 4)
        c = jax.nn.sigmoid(-f) * c + jax.nn.sigmoid(-i) * jnp.tanh(j)
        return jax.nn.sigmoid(-o) * jnp.tanh(c), c

    @jax.jit
    def both(z: Any, c: Any, dh: Any, dc: Any) -> Any:
        (h, _), pull = jax.vjp(cell, z, c)
        return h, *pull((dh, dc))

    arrays = [jnp.asarray(x) for x in (z, c, dh, dc)]
    return lambda: list(jax.block_until_ready(both(*arrays)))


def on_gpu() -> bool:
    """Whether JAX computes on a GPU; if so, from now on with all digits of float32 in its products."""
    if jax.default_backend() != "gpu":
        return False
    jax.config.update("jax_default_matmul_precision", "highest")
    return True


def _update(phi: Any, g: Any, state: Any, full: bool, preprocessing: float | None = None) -> Any:
    """Return the update (N,) before its scale, and the new state."""
    g, after = g if full else jax.lax.stop_gradient(g), []
    x = g[:, None] if preprocessing is None else _log_and_sign(g, preprocessing)
    for layer, memory in zip(phi.layers, state, strict=True):
        after.append(_cell(layer, x, memory))
        x = after[-1][0]
    return (x @ phi.output.weight + phi.output.bias)[:, 0], after


def _cell(layer: Any, x: Any, memory: Any) -> Any:
    h, c = memory
    i, j, f, o = jnp.split(jnp.concatenate((x, h), axis=-1) @ layer.weight + layer.bias, 4, axis=-1)
    c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * jnp.tanh(j)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _log_and_sign(g: Any, p: float) -> Any:
    size = jnp.abs(g)
    is_large = size >= math.exp(-p)
    log = jnp.where(is_large, jnp.log(jnp.where(is_large, size, 1.0)) / p, -1.0)
    return jnp.stack((log, jnp.where(is_large, jnp.sign(g), math.exp(p) * g)), axis=-1)


def _start(phi: Any, w: Any) -> Any:
    zeros = [jnp.zeros((w.size, layer.bias.size // 4), w.dtype) for layer in phi.layers]
    return [(zero, zero) for zero in zeros]


def _call(objective: Callable[..., Any], *arguments: Any) -> Callable[[], list[Any]]:
    both, arrays = jax.jit(jax.value_and_grad(objective)), jax.tree.map(jnp.asarray, arguments)

    def call() -> list[Any]:
        value, grad = both(*arrays)
        return [np.asarray(x) for x in (value, *jax.tree.leaves(grad))]

    return call
