"""JAX: a user's loss and rule unrolled by `lax.scan` in a jit-compiled `value_and_grad`.

Each problem is a function (given, rule, steps, wanted, at_once) -> call; `given` holds data, w0 and phi, `wanted` says
how many leaves of phi are differentiated. A step either takes the gradient and then the loss of the new w, as it is
written down, or loss and gradient of its w `at_once`, which saves a product a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.own_tasks import ADAM, FORGET_MORE, Given
from benchmarks.peers import jax_peer

VERSION = jax_peer.VERSION  # the module sets float64, and how calls are dispatched

Call = Callable[[], list[Any]]


def logistic(given: Given, rule: str, steps: int, wanted: int, *, at_once: bool) -> Call:
    """Return a function that returns the mean over tasks of sum_t f(w_t), and its gradient."""

    def loss(w: Any, data: Any, phi: Any) -> Any:
        x, y = data
        z = jnp.einsum("bni,bi->bn", x, w[0])
        return jnp.mean(jnp.log1p(jnp.exp(-jnp.abs(z))) + jnp.maximum(z, 0.0) - y * z, axis=-1)

    return _call(given, loss, _rule(rule), steps, wanted, at_once)


def decayed(given: Given, rule: str, steps: int, wanted: int, *, at_once: bool) -> Call:
    """Return the same with a weight decay, the exponential of the last of phi."""

    def loss(w: Any, data: Any, phi: Any) -> Any:
        x, y = data
        z = jnp.einsum("bni,bi->bn", x, w[0])
        losses = jnp.mean(jnp.log1p(jnp.exp(-jnp.abs(z))) + jnp.maximum(z, 0.0) - y * z, axis=-1)
        return losses + jnp.exp(phi[-1]) * jnp.sum(w[0] * w[0], axis=-1)

    return _call(given, loss, _rule(rule), steps, wanted, at_once)


def classes(given: Given, rule: str, steps: int, wanted: int, *, at_once: bool) -> Call:
    """Return the same of softmax regression on integer labels."""

    def loss(w: Any, data: Any, phi: Any) -> Any:
        x, y = data
        log_p = jax.nn.log_softmax(x @ w[0])
        return -jnp.mean(jnp.take_along_axis(log_p, y[..., None], axis=-1)[..., 0], axis=-1)

    return _call(given, loss, _rule(rule), steps, wanted, at_once)


def network(given: Given, rule: str, steps: int, wanted: int, *, at_once: bool) -> Call:
    """Return the same of two layers that see a minibatch a step."""

    def loss(w: Any, data: Any, phi: Any) -> Any:
        (W1, b1, W2, b2), (x, labels) = w, data
        hidden = jnp.tanh(x @ W1[0] + b1[0])
        log_p = jax.nn.log_softmax(hidden @ W2[0] + b2[0])
        return -jnp.mean(jnp.sum(labels * log_p, axis=-1))[None]

    return _call(given, loss, _rule(rule), steps, wanted, at_once)


def lstm_rule(given: Given, rule: str, steps: int, wanted: int, *, at_once: bool) -> Call:
    """Return the same of least squares under a coordinate-wise LSTM."""

    def loss(w: Any, data: Any, phi: Any) -> Any:
        x, y = data
        return jnp.mean((jnp.einsum("bni,bi->bn", x, w[0]) - y) ** 2, axis=-1) / 2

    def init(phi: Any, w: Any) -> Any:
        zeros = jnp.zeros((*w[0].shape, phi[2].size), w[0].dtype)
        return zeros, zeros

    def step(phi: Any, state: Any, w: Any, g: Any) -> Any:
        (weight, bias, out, shift), (h, c) = phi, state
        z = jnp.concatenate((g[0][..., None], h), axis=-1) @ weight + bias
        i, j, forget, o = jnp.split(z, 4, axis=-1)
        c = jax.nn.sigmoid(forget + FORGET_MORE) * c + jax.nn.sigmoid(i) * jnp.tanh(j)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (w[0] + h @ out + shift,), (h, c)

    return _call(given, loss, (init, step), steps, wanted, at_once)


def _rule(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return init and step of a rule."""
    if name == ADAM:
        return _adam_init, _adam
    return lambda phi, w: (), lambda phi, state, w, g: (jax.tree.map(lambda w, g: w - phi[0] * g, w, g), state)


def _adam_init(phi: Any, w: Any) -> Any:
    zeros = jax.tree.map(jnp.zeros_like, w)
    return zeros, zeros, jnp.zeros((), w[0].dtype)


def _adam(phi: Any, state: Any, w: Any, g: Any) -> Any:
    (eta, beta1, beta2, eps), (m, v, t) = phi, state
    t = t + 1
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, g)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, g)
    scale1, scale2 = 1 / (1 - beta1**t), 1 / (1 - beta2**t)
    w = jax.tree.map(lambda w, m, v: w - eta * scale1 * m / (jnp.sqrt(scale2 * v) + eps), w, m, v)
    return w, (m, v, t)


def _call(given: Given, loss: Any, rule: Any, steps: int, wanted: int, at_once: bool) -> Call:
    init, update = rule

    def sum_and_each(w: Any, data: Any, phi: Any) -> Any:
        losses = loss(w, data, phi)
        return jnp.sum(losses), losses

    both = jax.value_and_grad(sum_and_each, has_aux=True)

    def as_written(phi: Any, w: Any, seen: Any) -> Any:
        pairs, last = seen

        def step(carry: Any, pair: Any) -> Any:
            w, state = carry
            now, after = (last, last) if pair is None else pair
            _, g = both(w, now, phi)
            w, state = update(phi, state, w, g)
            return (w, state), jnp.mean(loss(w, after, phi))

        return jnp.sum(jax.lax.scan(step, (w, init(phi, w)), pairs, length=steps)[1])

    def with_loss(phi: Any, w: Any, seen: Any) -> Any:
        pairs, last = seen

        def step(carry: Any, now: Any) -> Any:
            w, state = carry
            (_, losses), g = both(w, last if now is None else now, phi)
            return update(phi, state, w, g), jnp.mean(losses)

        samples = None if pairs is None else pairs[0]
        (w, _), before = jax.lax.scan(step, (w, init(phi, w)), samples, length=steps)
        return jnp.sum(before[1:]) + jnp.mean(loss(w, last, phi))

    unrolled = with_loss if at_once else as_written

    def objective(phi: Any, rest: Any, w: Any, seen: Any) -> Any:
        return unrolled((*phi, *rest), w, seen)

    compiled = jax.jit(jax.value_and_grad(objective))
    arrays = jax.tree.map(jnp.asarray, (given.phi[:wanted], given.phi[wanted:], given.w0, _seen(given)))

    def call() -> list[Any]:
        value, grad = compiled(*arrays)
        return [np.asarray(x) for x in (value, *grad)]

    return call


def _seen(given: Given) -> Any:
    """Return what steps see, at w_t and at w_{t+1}, and what w_T sees; cut here, as compiled code would copy it."""
    if not given.samples:
        return None, given.data
    now, after = (tuple(a[part] for a in given.data) for part in (slice(-1), slice(1, None)))
    return (now, after), tuple(a[-1] for a in given.data)
