"""JAX: MAML's meta-gradient as one jit-compiled `value_and_grad` over a `vmap` of the tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import jax_peer

VERSION = jax_peer.VERSION  # the module sets how calls are dispatched


def maml(kind: str, given: Any, steps: int) -> Callable[[], list[Any]]:
    """Return a function that returns the mean query loss after `steps` inner steps, and its gradient in the start."""
    loss = _sine_loss if kind == "sine waves" else _character_loss
    eta = np.float32(given.eta)

    def of_task(start: Any, support: Any, query: Any) -> Any:
        w = start
        for _ in range(steps):
            g = jax.grad(loss)(w, *support)
            w = jax.tree.map(lambda a, b: a - eta * b, w, g)
        return loss(w, *query)

    def objective(start: Any, support: Any, query: Any) -> Any:
        return jnp.mean(jax.vmap(of_task, in_axes=(None, 0, 0))(start, support, query))

    compiled = jax.jit(jax.value_and_grad(objective))
    arrays = jax.tree.map(jnp.asarray, (given.start, given.support, given.query))

    def call() -> list[Any]:
        value, grad = compiled(*arrays)
        return [np.asarray(x) for x in (value, *grad)]

    return call


def _sine_loss(w: Any, x: Any, y: Any) -> Any:
    for k in (0, 2):
        x = jax.nn.relu(x @ w[k] + w[k + 1])
    return jnp.mean((x @ w[4] + w[5] - y) ** 2)


def _character_loss(w: Any, x: Any, labels: Any) -> Any:
    """Return the cross-entropy of two strided convolutions and a layer; x holds the first layer's windows."""
    x = jax.nn.relu(x @ w[0] + w[1])
    kernel = w[2].reshape(3, 3, x.shape[-1], -1)  # a window's rows, columns, channels, as they are concatenated
    dimensions = ("NHWC", "HWIO", "NHWC")
    z = jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=dimensions)
    x = jax.nn.relu(z + w[3])
    z = x.reshape(x.shape[0], -1) @ w[4] + w[5]
    return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(z), axis=-1))
