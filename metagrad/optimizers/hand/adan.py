"""Adan: Nesterov's momentum in adaptive form, by the differences of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.ad import safe_sqrt
from metagrad.optimizers._hyper import DECAY, EPS, STEP_SIZE, WEIGHT_DECAY, check_phi, each_leaf, project, zeros
from metagrad.optimizers._safe import one_minus_power, with_rest
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_BETAS = dict.fromkeys(("beta1", "beta2", "beta3"), DECAY)
_RANGES = {"eta": STEP_SIZE, **_BETAS, "eps": EPS, "decay": WEIGHT_DECAY}


@dataclass(frozen=True)
class Adan:
    """With d = g_t - g_{t-1} (0 at the first step) and u = g_t + beta2 d, from m = v = n = 0, at step t = 1, 2, ...

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) d, n = beta3 n + (1 - beta3) u^2,
    w = (w - eta (mhat + beta2 vhat)/(sqrt(nhat) + eps))/(1 + eta decay),

    mhat = m/(1 - beta1^t), vhat = v/(1 - beta2^t), nhat = n/(1 - beta3^t). `eta` > 0, `beta1`, `beta2` and `beta3` in
    [0, 1), `eps` > 0, `decay` >= 0: floats, or arrays that broadcast against w (B, d). All derivatives are kept, and
    they are finite where g is zero. The decay is proximal: it divides.
    Source: Xie et al. 2022 (Adan: adaptive Nesterov momentum algorithm), algorithm 1, whose betas are 1 - beta here,
    with the bias corrections of the authors' code and without restarts.
    """

    decays = ("beta1", "beta2", "beta3")  # `step` takes them as `Decay`, too

    class Phi(NamedTuple):
        """The meta-parameters."""

        eta: Array
        beta1: Array | float = 0.98
        beta2: Array | float = 0.92
        beta3: Array | float = 0.99
        eps: Array | float = 1e-8
        decay: Array | float = 0.0

    class State(NamedTuple):
        """The running means of g, of d and of u^2, the last gradient, and the number of steps done."""

        m: Tree
        v: Tree
        n: Tree
        g: Tree
        t: int

    def init(self, phi: Phi, w: Tree) -> State:
        """Return m = v = n = 0 and t = 0."""
        return Adan.State(zeros(w), zeros(w), zeros(w), zeros(w), 0)

    def step(self, phi: Phi, state: State, w: Tree, f: View) -> tuple[Tree, State]:
        """Return the next w and state."""
        t, g = state.t + 1, f.gradient(w)

        def update(p: Any, w: Array, m: Array, v: Array, n: Array, last: Array, g: Array) -> tuple[Array, ...]:
            eta, beta1, beta2, beta3, eps, decay = p
            (b1, rest1), (b2, rest2), (b3, rest3) = with_rest(beta1), with_rest(beta2), with_rest(beta3)
            d = g - last
            u = g + b2 * d
            m, v, n = b1 * m + rest1 * g, b2 * v + rest2 * d, b3 * n + rest3 * u * u
            ahead = m / one_minus_power(beta1, t) + b2 * v / one_minus_power(beta2, t)
            root = safe_sqrt(n) / one_minus_power(beta3, t) ** 0.5  # the root first: see Adam
            return (w - eta * ahead / (root + eps)) / (1.0 + eta * decay), m, v, n

        # No branch on the time, as in `one_minus_power`: before the first step there is no gradient.
        last = ad.tree_map(lambda now, before: np.where(t == 1, now, before), g, state.g)
        w, m, v, n = each_leaf(update, phi, w, state.m, state.v, state.n, last, g)
        return w, Adan.State(m, v, n, g, t)

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless all are floating and in range."""
        checked: Adan.Phi = check_phi(Adan.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: Adan.Phi = project(phi, _RANGES)
        return nearest
