"""HIPS autograd: the unrolled coordinate-wise LSTM in NumPy code differentiated by tracing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from autograd.tracer import getval


def quadratics(problem: Any, phi: Any, steps: int, *, full: bool) -> Callable[[], list[Any]]:
    """Return a function that returns the mean over tasks of sum_t f(w_t) and its gradient; problem (H, w0)."""
    H, start = problem

    def objective(phi: Any) -> Any:
        layers, (w_out, b_out) = phi
        zeros = [np.zeros((start.size, bias.size // 4), start.dtype) for _, bias in layers]
        w, state, total = start, [(zero, zero) for zero in zeros], 0.0
        product = anp.matmul(H, w[..., None])[..., 0]
        for _ in range(steps):
            x, after = anp.reshape(product if full else getval(product), (-1, 1)), []
            for (weight, bias), memory in zip(layers, state, strict=True):
                after.append(_cell(weight, bias, x, memory))
                x = after[-1][0]
            w, state = w + anp.reshape(anp.matmul(x, w_out) + b_out, w.shape), after
            product = anp.matmul(H, w[..., None])[..., 0]
            total = total + 0.5 * anp.sum(w * product) / len(start)
        return total

    both = value_and_grad(objective)
    weights = [tuple(layer) for layer in phi.layers], tuple(phi.output)

    def call() -> list[Any]:
        value, (layers, output) = both(weights)
        return [np.asarray(value), *(g for layer in (*layers, output) for g in layer)]

    return call


def _cell(weight: Any, bias: Any, x: Any, memory: Any) -> Any:
    h, c = memory
    i, j, f, o = anp.split(anp.matmul(anp.concatenate((x, h), axis=1), weight) + bias, 4, axis=1)
    c = _sigmoid(f + 1) * c + _sigmoid(i) * anp.tanh(j)
    return _sigmoid(o) * anp.tanh(c), c


def _sigmoid(x: Any) -> Any:
    return 0.5 * anp.tanh(0.5 * x) + 0.5
