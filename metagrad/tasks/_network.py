"""The fully connected network of `MLPClassifier` and `MLPRegressor`: its weights, its outputs, and their gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metagrad import ad, checks
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.protocols import Tree
from metagrad.xp import Array

_WHERE = "MLP"
_CUT = 2.0  # standard deviations, as TensorFlow cuts a truncated normal distribution
_ACTIVATIONS: dict[str, Any] = {"sigmoid": ad.sigmoid, "relu": ad.relu, "tanh": np.tanh}
# derivatives in terms of what the activation returned
_SLOPES = {"sigmoid": lambda a: a * (1 - a), "relu": lambda a: (a > 0).astype(a.dtype), "tanh": lambda a: 1 - a * a}


@dataclass(frozen=True)
class MLP:
    """z = a_L-1 W_L + b_L, a_l = activation(a_l-1 W_l + b_l), a_0 = x: layers of the given `sizes`, inputs first.

    `init_std`: the standard deviation of all initial weights and biases, N(0, init_std^2), 0.01 in Andrychowicz et al.
    2016; or "shape" for 1.2/sqrt(shape[0]) of each tensor, biases included, as the public code of Wang et al. 2021 has
    it; or "fan_in" for weights and biases uniform within 1/sqrt(inputs of the layer), what PyTorch begins with.
    `truncated`: weights N(0, init_std^2) drawn anew beyond two standard deviations, and biases 0, as the public code of
    MAML (Finn, Abbeel and Levine 2017) has it. A wrong value raises ValueError, a wrong kind TypeError.

    >>> MLP((784, 20, 10)).parameters, MLP((784, 100, 20, 10), "relu", "shape").parameters
    (15910, 80730)
    """

    sizes: tuple[int, ...]
    activation: Literal["sigmoid", "relu", "tanh"] = "sigmoid"
    init_std: float | Literal["shape", "fan_in"] = 0.01
    truncated: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        if not isinstance(self.sizes, tuple) or not all(type(size) is int for size in self.sizes):
            bad_type(_WHERE, "sizes", repr(self.sizes), "a tuple of integers such as (784, 20, 10)")
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            expected = "the number of inputs, of units in each hidden layer (none is allowed), and of outputs"
            bad_value(_WHERE, "sizes", self.sizes, expected)
        if not isinstance(self.activation, str) or self.activation not in _ACTIVATIONS:
            known = nearest(str(self.activation), list(_ACTIVATIONS))
            bad_value(_WHERE, "activation", repr(self.activation), "a known activation", known)
        checks.flag(_WHERE, "truncated", self.truncated)
        if isinstance(self.init_std, str) and self.init_std in ("shape", "fan_in"):
            if self.truncated and self.init_std == "fan_in":
                came, remedy = "True beside init_std='fan_in'", "Uniform weights have no tails: leave it out."
                bad_value(_WHERE, "truncated", came, "a standard deviation to cut at", remedy)
            return
        if isinstance(self.init_std, bool | str) or not isinstance(self.init_std, int | float):
            bad_type(_WHERE, "init_std", repr(self.init_std), "a number, 'shape' or 'fan_in'")
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
        layers = zip(self.sizes[:-1], self.shapes[0::2], self.shapes[1::2], strict=True)
        drawn = [self._drawn(stream, (count, *shape), rows, dtype) for rows, *both in layers for shape in both]
        return tuple(leaf.astype(dtype) for leaf in drawn)

    def _drawn(self, stream: np.random.Generator, shape: tuple[int, ...], rows: int, dtype: Any) -> Any:
        """Return weights or biases of a layer with so many inputs, with the axis of tasks."""
        if self.init_std == "fan_in":
            return stream.uniform(-1.0, 1.0, shape) / math.sqrt(rows)
        std = 1.2 / math.sqrt(shape[1]) if self.init_std == "shape" else float(self.init_std)
        if not self.truncated:
            return std * stream.standard_normal(shape)
        return np.zeros(shape) if len(shape) == 2 else std * _truncated(stream, shape, dtype)

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


def _truncated(stream: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return standard normal numbers, those beyond two standard deviations drawn anew."""
    kind = np.float32 if dtype == np.float32 else np.float64
    drawn = stream.standard_normal(shape, dtype=kind)
    while (far := np.abs(drawn) > _CUT).any():
        drawn[far] = stream.standard_normal(int(far.sum()), dtype=kind)
    return drawn
