"""The fully connected network of `MLPClassifier`: its weights, its outputs, and their gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metagrad import ad
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.protocols import Tree
from metagrad.xp import Array

_WHERE = "MLP"
_ACTIVATIONS = {"sigmoid": ad.sigmoid, "relu": ad.relu}
# derivatives in terms of what the activation returned
_SLOPES = {"sigmoid": lambda a: a * (1 - a), "relu": lambda a: (a > 0).astype(a.dtype)}


@dataclass(frozen=True)
class MLP:
    """z = a_L-1 W_L + b_L, a_l = activation(a_l-1 W_l + b_l), a_0 = x: layers of the given `sizes`, inputs first.

    `init_std`: the standard deviation of all initial weights and biases, N(0, init_std^2), 0.01 in Andrychowicz et al.
    2016; or "shape" for 1.2/sqrt(shape[0]) of each tensor, biases included, as the public code of Wang et al. 2021 has
    it. A wrong value raises ValueError, a wrong kind TypeError.

    >>> MLP((784, 20, 10)).parameters, MLP((784, 100, 20, 10), "relu", "shape").parameters
    (15910, 80730)
    """

    sizes: tuple[int, ...]
    activation: Literal["sigmoid", "relu"] = "sigmoid"
    init_std: float | Literal["shape"] = 0.01

    def __post_init__(self) -> None:
        """Check the settings."""
        if not isinstance(self.sizes, tuple) or not all(type(size) is int for size in self.sizes):
            bad_type(_WHERE, "sizes", repr(self.sizes), "a tuple of integers such as (784, 20, 10)")
        if len(self.sizes) < 2 or min(self.sizes) < 1 or self.sizes[-1] < 2:
            expected = "the number of inputs, of units in each hidden layer (none is allowed), and of classes, >= 2"
            bad_value(_WHERE, "sizes", self.sizes, expected)
        if not isinstance(self.activation, str) or self.activation not in _ACTIVATIONS:
            known = nearest(str(self.activation), list(_ACTIVATIONS))
            bad_value(_WHERE, "activation", repr(self.activation), "a known activation", known)
        if isinstance(self.init_std, str) and self.init_std == "shape":
            return
        if isinstance(self.init_std, bool | str) or not isinstance(self.init_std, int | float):
            bad_type(_WHERE, "init_std", repr(self.init_std), "a number or 'shape'")
        if not 0 <= self.init_std < math.inf:
            bad_value(_WHERE, "init_std", self.init_std, "a finite standard deviation, at least 0")

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of W_1, b_1, W_2, b_2, ... of one task."""
        pairs = zip(self.sizes[:-1], self.sizes[1:], strict=True)
        return [shape for rows, columns in pairs for shape in ((rows, columns), (columns,))]

    @property
    def parameters(self) -> int:
        """The number of weights and biases of one task."""
        return sum(math.prod(shape) for shape in self.shapes)

    def draw(self, stream: np.random.Generator, count: int, dtype: Any) -> tuple[Any, ...]:
        """Return initial weights (W_1, b_1, W_2, b_2, ...), each (count, ...), on the host."""
        return tuple(
            (self._std(shape) * stream.standard_normal((count, *shape))).astype(dtype) for shape in self.shapes
        )

    def _std(self, shape: tuple[int, ...]) -> float:
        return 1.2 / math.sqrt(shape[0]) if self.init_std == "shape" else float(self.init_std)

    def outputs(self, w: Tree, x: Array) -> Array:
        """Return z (B, n, classes) for x (n, p) or (B, n, p)."""
        return self.layers(w, x)[-1]

    def layers(self, w: Tree, x: Array) -> list[Array]:
        """Return [a_0, a_1, ..., z]."""
        layers = [x]
        for i in range(0, len(w), 2):
            z = np.matmul(layers[-1], w[i]) + w[i + 1][:, None, :]
            layers.append(z if i + 2 == len(w) else _ACTIVATIONS[self.activation](z))
        return layers

    def pullback(self, w: Tree, layers: list[Array], cotangent: Array) -> Tree:
        """Return the gradient in w of <cotangent, z>, task by task: backpropagation through the layers."""
        found: list[Array] = []
        for i in range(len(w) - 2, -1, -2):
            a = layers[i // 2]
            found = [np.matmul(np.swapaxes(a, -1, -2), cotangent), np.sum(cotangent, axis=1), *found]
            if i > 0:
                cotangent = np.matmul(cotangent, np.swapaxes(w[i], -1, -2)) * _SLOPES[self.activation](a)
        return tuple(found)
