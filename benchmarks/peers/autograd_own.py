"""HIPS autograd: the logistic regression of `own_loss`, NumPy code differentiated by tracing, twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad, value_and_grad

from benchmarks.own_tasks import ADAM, Given
from benchmarks.peers import autograd_peer

VERSION = autograd_peer.VERSION


def logistic(given: Given, rule: str, steps: int) -> Callable[[], list[Any]]:
    """Return a function that returns the mean over tasks of sum_t f(w_t), and its gradient."""
    (x, y), (start,) = given.data, given.w0

    def losses(w: Any) -> Any:
        z = anp.einsum("bni,bi->bn", x, w)
        return anp.mean(anp.log1p(anp.exp(-anp.abs(z))) + anp.maximum(z, 0.0) - y * z, axis=-1)

    gradient, update = grad(lambda w: anp.sum(losses(w))), _adam if rule == ADAM else _descent

    def objective(phi: Any) -> Any:
        w, state, total = start, (0.0, 0.0), 0.0
        for t in range(steps):
            w, state = update(phi, state, w, gradient(w), t + 1)
            total = total + anp.mean(losses(w))
        return total

    both = value_and_grad(objective)

    def call() -> list[Any]:
        value, slopes = both(tuple(float(p) for p in given.phi))
        return [np.asarray(value), *(np.asarray(slope) for slope in slopes)]

    return call


def _descent(phi: Any, state: Any, w: Any, g: Any, t: int) -> Any:
    return w - phi[0] * g, state


def _adam(phi: Any, state: Any, w: Any, g: Any, t: int) -> Any:
    (eta, beta1, beta2, eps), (m, v) = phi, state
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    scale1, scale2 = 1 / (1 - beta1**t), 1 / (1 - beta2**t)
    return w - eta * scale1 * m / (anp.sqrt(scale2 * v) + eps), (m, v)
