"""The MLP optimizer of Metz et al. 2019, with 31 features of every coordinate, as used by Wang et al. 2021."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad, checks
from metagrad.optimizers._hyper import leafwise
from metagrad.optimizers.learned._networks import Affine, affine, check_draw, check_network, unmade
from metagrad.protocols import Tree, View
from metagrad.xp import Array, namespace

_DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)
_TIMES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0, 300_000.0)
_STATE_FEATURES = 22


@dataclass(frozen=True)
class MLP31:
    """w_{t+1} = w_t - scale a exp(exponent_scale b), (a, b) the output of an MLP 31 -> hidden (ReLU) -> 2.

    Every coordinate keeps m_k = beta_k m_k + (1 - beta_k) g and s_k = beta_k s_k + (1 - beta_k) g^2, k = 1..5, from
    zero, beta = 0.5, 0.9, 0.99, 0.999, 0.9999, without bias correction. Its features are

        g, m_k (s_k + 1e-6)^(-1/2), w, m_k, s_k, (s_k + 1e-6)^(-1/2)    each z as z/sqrt(1e-5 + mean z^2),
        tanh(t/T_j - 1), T = 3, 10, 30, 100, 300, 1000, 3000, 10 000, 300 000, t = 1 at the first step,

    where the mean is over the coordinates of the tensor, so that these do see each other. `hidden` >= 1 units;
    `scale` and `exponent_scale` finite. 1090 weights with 32 units. A gradient that is inf or NaN makes its tensor NaN.
    Source: Metz et al. 2019 and the public code of Wang et al. 2021.

    >>> rule = MLP31()
    >>> sum(leaf.size for leaf in ad.leaves(rule.init_meta(np.random.default_rng(0))))
    1090
    """

    hidden: int = 32
    scale: float = 0.001
    exponent_scale: float = 0.001

    class Phi(NamedTuple):
        """The weights: (31, hidden) and (hidden,), (hidden, 2) and (2,)."""

        hidden: Affine
        output: Affine

    class State(NamedTuple):
        """The running means of g and g^2, (B, n, 5) for each array of n coordinates, and the steps done."""

        m: Tree
        s: Tree
        t: int

    def __post_init__(self) -> None:
        """Check the architecture."""
        checks.count("MLP31", "hidden", self.hidden)
        for name in ("scale", "exponent_scale"):
            checks.number("MLP31", name, getattr(self, name))

    def init_meta(self, rng: np.random.Generator, dtype: Any = np.float64) -> Phi:
        """Return random weights: standard normal, biases 0.1. The dtype is that of the task."""
        check_draw("MLP31.init_meta", rng, dtype)

        def drawn(layer: Affine) -> Affine:
            weight = rng.standard_normal(layer.weight.shape).astype(dtype)
            return Affine(weight, np.full(layer.bias.shape, 0.1, dtype=dtype))

        return MLP31.Phi(*map(drawn, self.meta_like(dtype)))

    def meta_like(self, dtype: Any = np.float64) -> Phi:
        """Return zeros of the shapes of the weights; they take no memory and cannot be written to."""

        def layer(inputs: int, outputs: int) -> Affine:
            return Affine(*(unmade("MLP31", "hidden", self.hidden, s, dtype) for s in ((inputs, outputs), (outputs,))))

        return MLP31.Phi(layer(_STATE_FEATURES + len(_TIMES), self.hidden), layer(self.hidden, 2))

    def init(self, phi: Phi, w: Tree) -> State:
        """Return m = s = 0 and t = 0."""

        def zeros(leaf: Array) -> Array:
            shape = (leaf.shape[0], math.prod(leaf.shape[1:]), len(_DECAYS))
            return namespace(leaf).zeros(shape, dtype=leaf.dtype)

        w = ad.stop_gradient(w)
        return MLP31.State(ad.tree_map(zeros, w), ad.tree_map(zeros, w), 0)

    def step(self, phi: Phi, state: State, w: Tree, f: View) -> tuple[Tree, State]:
        """Return the next w and state."""
        t = state.t + 1
        layer = _at_time(phi.hidden, t)

        def update(w: Array, m: Array, s: Array, g: Array) -> tuple[Array, Array, Array]:
            column = g.reshape((*m.shape[:2], 1))
            beta, rest = _constant(_DECAYS, g), _constant([1 - x for x in _DECAYS], g)
            m = beta * m + rest * column
            s = beta * s + rest * column * column
            z = _normalised(_state_features(column, m, s, w.reshape(column.shape)))
            out = affine(phi.output, ad.relu(affine(layer, z)))
            moved = self.scale * out[..., 0] * np.exp(self.exponent_scale * out[..., 1])
            return w - moved.reshape(w.shape), m, s

        w, m, s = leafwise(update, w, state.m, state.s, f.gradient(w))
        return w, MLP31.State(m, s, t)

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi; raise unless its arrays are finite and have the shapes of this architecture."""
        checked: MLP31.Phi = check_network(where, phi, self.meta_like())
        return checked


def _state_features(g: Array, m: Array, s: Array, w: Array) -> Array:
    """Return the features that are normalised, (B, n, 22)."""
    inverse_root = 1.0 / np.sqrt(s + 1e-6)
    return np.concatenate((g, m * inverse_root, w, m, s, inverse_root), axis=-1)


def _normalised(z: Array) -> Array:
    """Return z/sqrt(1e-5 + mean z^2), the mean over the coordinates, for z of any size whose root mean square fits.

    Computed for z in units of its largest entry where that is above 1; units do not change it, nor its derivative.
    """
    unit = np.maximum(np.abs(ad.stop_gradient(z)).max(axis=1, keepdims=True), 1.0)
    y = z / unit
    return y / np.sqrt(1e-5 / unit / unit + np.mean(y * y, axis=1, keepdims=True))


def _at_time(layer: Affine, t: int) -> Affine:
    """Return the layer of the 22 features at step t: those of time are the same everywhere, and go into its bias."""
    weight = layer.weight
    time = np.tanh(t / np.asarray(_TIMES, np.float64) - 1).astype(weight.dtype)
    xp = namespace(ad.stop_gradient(weight))
    time = time if xp is np else xp.asarray(time)
    return Affine(weight[..., :_STATE_FEATURES, :], np.matmul(time, weight[..., _STATE_FEATURES:, :]) + layer.bias)


def _constant(values: Any, like: Array) -> Array:
    return namespace(ad.stop_gradient(like)).asarray(values, dtype=like.dtype)
