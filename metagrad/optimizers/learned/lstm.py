"""The coordinate-wise LSTM of Andrychowicz et al. 2016: an optimizer whose update rule is a recurrent network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad, checks
from metagrad.errors import bad_type, bad_value
from metagrad.optimizers.learned._networks import (
    Affine,
    affine,
    check_draw,
    check_network,
    gather,
    scatter,
    truncated_normal,
    unmade,
)
from metagrad.protocols import Tree, View
from metagrad.xp import Array, float_info, namespace

_UNITS = "Its entries count the units of the layers; () is a rule without layers."


@dataclass(frozen=True)
class CoordinatewiseLSTM:
    """w_{t+1} = w_t + scale (h w_out + b_out), h the output of LSTM layers that read g_t, each coordinate apart.

    One network for all coordinates of all arrays of w; each coordinate has a state of its own. A layer of H units
    with input x and state (h, c), both zero at the start, is

        (i, j, f, o) = [x, h] W + b,   c' = sigma(f + 1) c + sigma(i) tanh(j),   h' = sigma(o) tanh(c').

    `hidden`: the numbers of units, from the input to the output; () is the linear rule scale (x w_out + b_out).
    `preprocessing`: None, or p > 0 for the two features (log|g|/p, sgn g) where |g| >= e^-p, else (-1, e^p g); e^p has
    to fit the dtype of the run (p <= 88 in float32, 11 in plain float16).
    `scale`: of the update, a finite number. `CoordinatewiseLSTM.paper()` has p = 10 and scale 0.1, `.dm()` p = 5 and
    scale 0.01, `.quadratic()` no preprocessing and scale 1. Where a gradient is inf or NaN, so is the update NaN.
    Source: Andrychowicz et al. 2016 and its public code.

    >>> rule = CoordinatewiseLSTM.paper()
    >>> sum(leaf.size for leaf in ad.leaves(rule.init_meta(np.random.default_rng(0))))
    5141
    """

    hidden: tuple[int, ...] = (20, 20)
    preprocessing: float | None = 10.0
    scale: float = 0.1

    class Phi(NamedTuple):
        """The weights: (n_in + H, 4H) and (4H,) of each layer, (H, 1) and (1,) of the output."""

        layers: tuple[Affine, ...]
        output: Affine

    class Memory(NamedTuple):
        """The state of one layer, both (B, n, H) for n coordinates."""

        h: Array
        c: Array

    def __post_init__(self) -> None:
        """Check the architecture."""
        where = "CoordinatewiseLSTM"
        if not isinstance(self.hidden, tuple):
            bad_type(where, "hidden", checks.shown(self.hidden), "a tuple of integers", "Write (20,) for one layer.")
        units = [checks.count(where, f"hidden[{k}]", n, 0, _UNITS) for k, n in enumerate(self.hidden)]
        if 0 in units:
            bad_value(where, "hidden", self.hidden, "at least one unit a layer", _UNITS)
        p = self.preprocessing
        if p is not None and not 0 < checks.number(where, "preprocessing", p) < math.log(np.finfo(np.float64).max):
            bad_value(where, "preprocessing", p, "a number above 0 and below 709, or None", "The paper has 10.")
        checks.number(where, "scale", self.scale)

    @classmethod
    def paper(cls, hidden: tuple[int, ...] = (20, 20)) -> CoordinatewiseLSTM:
        """Return the paper's: p = 10, scale 0.1."""
        return cls(hidden, 10.0, 0.1)

    @classmethod
    def dm(cls, hidden: tuple[int, ...] = (20, 20)) -> CoordinatewiseLSTM:
        """Return that of the authors' public code for neural networks: p = 5, scale 0.01."""
        return cls(hidden, 5.0, 0.01)

    @classmethod
    def quadratic(cls, hidden: tuple[int, ...] = (20, 20)) -> CoordinatewiseLSTM:
        """Return the one for quadratics: the gradient as it is, scale 1."""
        return cls(hidden, None, 1.0)

    def init_meta(self, rng: np.random.Generator, dtype: Any = np.float64) -> Phi:
        """Return random weights: truncated normal, std 1/sqrt(n_in + H) in the layers (biases too), 1/sqrt(H) in w_out.

        b_out is 0. The dtype is that of the task.
        """
        check_draw("CoordinatewiseLSTM.init_meta", rng, dtype)

        def draw(shape: tuple[int, ...], std: float) -> Array:
            return truncated_normal(rng, shape, std, dtype)

        shapes, layers = self.meta_like(dtype), []
        for weight, bias in shapes.layers:
            std = 1 / math.sqrt(weight.shape[0])
            layers.append(Affine(draw(weight.shape, std), draw(bias.shape, std)))
        inputs = shapes.output.weight.shape[0]
        output = Affine(draw((inputs, 1), 1 / math.sqrt(inputs)), np.zeros(1, dtype=dtype))
        return CoordinatewiseLSTM.Phi(tuple(layers), output)

    def meta_like(self, dtype: Any = np.float64) -> Phi:
        """Return zeros of the shapes of the weights; they take no memory and cannot be written to."""

        def zeros(*shape: int) -> Array:
            return unmade("CoordinatewiseLSTM", "hidden", self.hidden, shape, dtype)

        layers, inputs = [], self._inputs
        for units in self.hidden:
            layers.append(Affine(zeros(inputs + units, 4 * units), zeros(4 * units)))
            inputs = units
        return CoordinatewiseLSTM.Phi(tuple(layers), Affine(zeros(inputs, 1), zeros(1)))

    def init(self, phi: Phi, w: Tree) -> tuple[Memory, ...]:
        """Return zeros; ValueError where e^p does not fit the dtype."""
        w = ad.stop_gradient(w)
        xp, first = namespace(*ad.leaves(w)), ad.leaves(w)[0]
        largest = math.log(2) * float_info(first.dtype).max_exponent
        if self.preprocessing is not None and self.preprocessing >= largest:
            expected = f"a number below {largest:.4g}, as e^p is a number of {first.dtype}"
            bad_value("CoordinatewiseLSTM", "preprocessing", self.preprocessing, expected, "Take a wider dtype.")
        n = sum(math.prod(leaf.shape[1:]) for leaf in ad.leaves(w))

        def zeros(units: int) -> Array:
            return xp.zeros((first.shape[0], n, units), dtype=first.dtype)

        return tuple(CoordinatewiseLSTM.Memory(zeros(units), zeros(units)) for units in self.hidden)

    def step(self, phi: Phi, state: tuple[Memory, ...], w: Tree, f: View) -> tuple[Tree, tuple[Memory, ...]]:
        """Return the next w and state."""
        gradient = gather(f.gradient(w))
        x, memories = self._features(gradient), []
        for layer, memory in zip(phi.layers, state, strict=True):
            memories.append(lstm_cell(layer, x, memory))
            x = memories[-1].h
        update = self.scale * affine(phi.output, x)[..., 0]
        # Saturating units would turn an infinite gradient into a finite update.
        update = np.where(np.isfinite(gradient), update, np.nan)
        return ad.add(w, scatter(update, w)), tuple(memories)

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi; raise unless its arrays are finite and have the shapes of this architecture."""
        checked: CoordinatewiseLSTM.Phi = check_network(where, phi, self.meta_like())
        return checked

    @property
    def _inputs(self) -> int:
        return 1 if self.preprocessing is None else 2

    def _features(self, g: Array) -> Array:
        """Return what the network reads, (B, n, 1) or (B, n, 2)."""
        return g[..., None] if self.preprocessing is None else log_and_sign(g, self.preprocessing)


def lstm_cell(layer: Affine, x: Array, memory: CoordinatewiseLSTM.Memory) -> CoordinatewiseLSTM.Memory:
    """Return (h', c') from the input x (B, n, inputs) and (h, c).

    The forget gate opens by 1 more than its bias says: W and b are drawn around zero.
    """
    z = affine(layer, np.concatenate((x, memory.h), axis=-1))
    i, j, f, o = np.split(z, 4, axis=-1)
    c = ad.sigmoid(f + 1.0) * memory.c + ad.sigmoid(i) * np.tanh(j)
    return CoordinatewiseLSTM.Memory(ad.sigmoid(o) * np.tanh(c), c)


def log_and_sign(g: Array, p: float) -> Array:
    """Return (log|g|/p, sgn g) where |g| >= e^-p, else (-1, e^p g), along a new last axis; NaN for NaN."""
    size = np.abs(g)
    is_large = size >= math.exp(-p)
    # Two selections each: the branch that is not taken must have finite derivatives too.
    log = np.where(is_large, np.log(np.where(is_large, size, 1.0)) / p, -1.0)
    sign = np.where(is_large, np.sign(g), math.exp(p) * np.where(is_large, 0.0, g))
    return np.stack((log, sign), axis=-1)
