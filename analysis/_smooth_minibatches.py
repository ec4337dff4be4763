"""A small network on minibatches, each run with its own: every sequence of minibatches at once, so means are exact.

f(w) on a minibatch is the mean of (v'tanh(U x) - y)^2/2, w = (U, v) 2 inputs and 3 units, smooth and not quadratic.
With M minibatches there are M^k sequences of k; as tasks side by side their mean is the expectation over independent
minibatches, without a sampling error. `derivatives` are A = E grad f and B = E[H_i g_j], i != j, by formulae of their
own: the gradient by hand, its derivative along a direction by a complex step.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from metagrad.xp import rng

UNITS, INPUTS, SAMPLES = 3, 2, 3
SIZE = UNITS * (INPUTS + 1)


@dataclass(frozen=True)
class Draw:
    """Minibatches x (M, samples, inputs) and y (M, samples), and the start (SIZE,)."""

    x: np.ndarray
    y: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, count: int, seed: int, number: int) -> Draw:
        """Draw `count` minibatches, and a start of weights of size 1."""
        stream = rng(seed, "smooth_minibatches", number)
        x, y = stream.standard_normal((count, SAMPLES, INPUTS)), stream.standard_normal((count, SAMPLES))
        return cls(x, y, stream.standard_normal(SIZE))


@dataclass(frozen=True)
class Sequences:
    """The task: run b takes the minibatch order[b, t] at step t; the last of the order is the query."""

    draw: Draw
    order: np.ndarray  # (B, k)

    @classmethod
    def every(cls, draw: Draw, length: int) -> Sequences:
        """All M^length sequences."""
        return cls(draw, np.array(list(product(range(len(draw.x)), repeat=length))))

    def init(self, rng: Any) -> np.ndarray:
        """Every run starts alike."""
        return np.repeat(self.draw.start[None], len(self.order), axis=0)

    def sample(self, rng: Any, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the minibatches (B, samples, inputs) and (B, samples) of step t, the first at t = 0."""
        return self._batch(t)

    def loss(self, w: Any, sample: Any) -> Any:
        """Return the loss on the minibatch."""
        x, y = sample
        units = np.reshape(w[:, : UNITS * INPUTS], (len(self.order), UNITS, INPUTS))
        hidden = np.tanh(np.einsum("bui,bsi->bsu", units, x))
        off = np.einsum("bsu,bu->bs", hidden, w[:, UNITS * INPUTS :]) - y
        return np.mean(off**2, axis=1) / 2

    def validation_loss(self, w: Any) -> Any:
        """Return the loss on the query, the last minibatch of the order."""
        return self.loss(w, self._batch(self.order.shape[1] - 1))

    def _batch(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        at = self.order[:, min(t, self.order.shape[1] - 1)]  # past the end nothing learns from it
        return self.draw.x[at], self.draw.y[at]


def derivatives(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Return A and B at the start: the mean gradient, and the mean Hessian times it: minibatches are independent."""
    first = _gradient(draw, draw.start)
    tiny = 1e-30  # a complex step has no difference in it, and no rounding of one
    return first, _gradient(draw, draw.start + 1j * tiny * first).imag / tiny


def _gradient(draw: Draw, w: np.ndarray) -> np.ndarray:
    """Return the mean gradient over the minibatches, by hand; w may be complex."""
    units, outer = w[: UNITS * INPUTS].reshape(UNITS, INPUTS), w[UNITS * INPUTS :]
    hidden = np.tanh(np.einsum("ui,msi->msu", units, draw.x))
    off = hidden @ outer - draw.y
    inner = off[..., None] * outer * (1 - hidden**2)
    of_units, of_outer = np.einsum("msu,msi->ui", inner, draw.x), np.einsum("ms,msu->u", off, hidden)
    return np.concatenate([of_units.ravel(), of_outer]) / off.size
