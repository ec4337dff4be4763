"""Whole windows of the coordinate-wise LSTM by hand: forwards and backwards in place, without a tape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.kernels._arena import Arena
from metagrad.kernels._lstm_features import Features
from metagrad.kernels._lstm_layer import Layer
from metagrad.optimizers import CoordinatewiseLSTM
from metagrad.optimizers.learned._networks import Affine, gather, scatter
from metagrad.protocols import Rule, Tree
from metagrad.xp import Array, is_array, namespace


class LstmWindow:
    """The steps of `CoordinatewiseLSTM` from one time to another, all coordinates of all tasks side by side.

    Sums over coordinates and steps are taken in the dtype of the weights.
    """

    def __init__(
        self, rule: CoordinatewiseLSTM, phi: CoordinatewiseLSTM.Phi, shape: tuple[int, int], steps: int
    ) -> None:
        """Bind the weights, and make room for at most `steps` steps at a time; `shape` (B, n), n coordinates a task."""
        count, dtype = shape[0] * shape[1], phi.output.weight.dtype
        self._shape, self._xp = shape, namespace(phi.output.weight)
        self._scale, self._features = rule.scale, Features(rule.preprocessing)
        empty = self._xp.empty  # CuPy keeps its memory by itself
        if self._xp is np:
            empty = Arena(self, (steps + 4) * step_bytes(phi, count)).array
        self._layers = [Layer(weights, steps, count, empty) for weights in phi.layers]
        self._w_out, self._b_out = phi.output
        self._gradients = empty((steps, count), dtype)
        self._sent = empty((len(self._w_out), count), dtype)
        self._w_out_bar, self._b_out_bar = self._xp.zeros_like(self._w_out), self._xp.zeros_like(self._b_out)

    def load(self, state: tuple[CoordinatewiseLSTM.Memory, ...]) -> None:
        """Begin with this state, arrays (B, n, H)."""
        for layer, memory in zip(self._layers, state, strict=True):
            layer.h(0)[...] = memory.h.reshape(-1, memory.h.shape[-1]).T
            layer.cells[0] = memory.c.reshape(-1, memory.c.shape[-1]).T

    def state(self, k: int) -> tuple[CoordinatewiseLSTM.Memory, ...]:
        """Return the state before the k-th step, arrays (B, n, H)."""

        def rows(x: Array) -> Array:
            return self._xp.array(x.T, order="C").reshape((*self._shape, -1))  # a copy: the memory will be used again

        return tuple(CoordinatewiseLSTM.Memory(rows(layer.h(k)), rows(layer.cells[k])) for layer in self._layers)

    def forward(self, k: int, w: Tree, g: Tree) -> Tree:
        """Take the k-th step from w, where the gradient is g; return the next w."""
        coordinates = self._gradients[k]
        coordinates[...] = gather(g).reshape(-1)
        self._features.write(coordinates, self._layers[0].x(k))
        for layer, above in pairwise(self._layers):
            above.x(k)[...] = layer.forward(k)
        h = self._layers[-1].forward(k)
        update = self._scale * (self._xp.matmul(self._w_out[:, 0], h) + self._b_out)
        update[~self._xp.isfinite(coordinates)] = np.nan  # saturating units would hide it
        return ad.add(w, scatter(update.reshape(self._shape), w))

    def gradient(self, k: int, w: Tree) -> Tree:
        """Return the gradient that the k-th step was given, like w; it lies where later steps write theirs."""
        return scatter(self._gradients[k].reshape(self._shape), w)

    def backward(self, k: int, adjoint: Tree, *, full: bool, fold: Array | None = None) -> Tree:
        """Pull the adjoint of the next w back through the k-th step; return that of g where `full`, else None.

        What the step gives to the weights is that of the adjoint times `fold` (B,), task by task, where there is one.
        """
        update_bar, columns = self._scale * gather(adjoint).reshape(-1), self._columns(fold)
        folded = update_bar if columns is None else update_bar * columns
        self._w_out_bar[:, 0] += self._xp.matmul(self._layers[-1].h(k + 1), folded)
        self._b_out_bar += folded.sum()
        sent = self._xp.multiply(self._w_out, update_bar, out=self._sent)
        for number in range(len(self._layers) - 1, -1, -1):
            sent = self._layers[number].backward(k, sent, inputs=full or number > 0, columns=columns)
        if not full:
            return None
        return scatter(self._features.adjoint(self._gradients[k], sent).reshape(self._shape), adjoint)

    def adjoint_sizes(self) -> Array:
        """Return the largest entry of the adjoint of each task's state, (B,)."""
        sizes = [abs(x).max(axis=0) for layer in self._layers for x in layer.adjoints]
        return self._xp.stack(sizes).max(axis=0).reshape(self._shape).max(axis=1)

    def scale_adjoints(self, factors: Array) -> None:
        """Multiply the adjoint of each task's state by a number of its own, (B,)."""
        columns = self._columns(factors)
        for layer in self._layers:
            for x in layer.adjoints:
                self._xp.multiply(x, columns, out=x)

    def take_gradient(self) -> CoordinatewiseLSTM.Phi:
        """Return what the steps that were pulled gave to the weights since the last time that it was taken."""
        layers = tuple(Affine(*layer.take_gradient()) for layer in self._layers)
        output = Affine(self._w_out_bar, self._b_out_bar)
        self._w_out_bar, self._b_out_bar = (self._xp.zeros_like(x) for x in output)
        return CoordinatewiseLSTM.Phi(layers, output)

    def _columns(self, factors: Array | None) -> Array | None:
        """Return factors (B,) as (B n,), one a coordinate."""
        return None if factors is None else self._xp.repeat(factors, self._shape[1])


def step_bytes(phi: CoordinatewiseLSTM.Phi, count: int) -> int:
    """Return the memory that a step takes: its gates, cells, what is read, and the gradient."""
    numbers = sum(5 * (weights.bias.size // 4) + len(weights.weight) + 1 for weights in phi.layers) + 1
    return int(numbers * count * phi.output.weight.dtype.itemsize)


def lstm_window(rule: Rule, phi: Any, w: Tree) -> tuple[Callable[[int], LstmWindow], int] | None:
    """Return (steps -> kernel, bytes a step) for this very class; None where the tape must do."""
    if type(rule) is not CoordinatewiseLSTM or not rule.hidden:
        return None
    arrays = [*ad.leaves(w), *ad.leaves(phi)]
    if len({(type(x), getattr(x, "dtype", None)) for x in arrays}) > 1 or not _is_wide(arrays[0]):
        return None
    if phi.output.weight.ndim != 2:  # weights for every task
        return None
    shape = gather(w).shape
    return partial(LstmWindow, rule, phi, shape), step_bytes(phi, shape[0] * shape[1])


def _is_wide(x: Any) -> bool:
    """Whether there are gates for arrays like x: on the host of 4 bytes and more, on a device float32 and float64."""
    if not is_array(x):
        return False
    if namespace(x) is np:
        return type(x) is np.ndarray and x.dtype.itemsize >= 4
    return x.dtype.char in "fd"
