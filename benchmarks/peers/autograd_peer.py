"""HIPS autograd: NumPy code differentiated by tracing."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import autograd.numpy as anp
from autograd import value_and_grad
from numpy.typing import NDArray

VERSION = version("autograd")


def reverse(H: NDArray[Any], w0: NDArray[Any], eta: float, steps: int) -> Callable[[], tuple[float, float]]:
    """Return a function that returns the mean over tasks of G and of G'; H (B, d, d), w0 (B, d)."""

    def objective(rate: Any) -> Any:
        w = w0
        for _ in range(steps):
            w = w - rate * anp.matmul(H, w[..., None])[..., 0]
        loss = 0.5 * anp.sum(w * anp.matmul(H, w[..., None])[..., 0], axis=-1)
        return anp.mean(anp.log(loss)) / steps

    both = value_and_grad(objective)

    def call() -> tuple[float, float]:
        value, slope = both(w0.dtype.type(eta))
        return float(value), float(slope)

    return call
