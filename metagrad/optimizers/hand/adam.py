"""Adam: momentum, in units of the root of a running mean of squared gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.ad import safe_sqrt
from metagrad.optimizers._hyper import DECAY, EPS, STEP_SIZE, check_phi, each_leaf, project, zeros
from metagrad.optimizers._safe import one_minus_power, with_rest
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"eta": STEP_SIZE, "beta1": DECAY, "beta2": DECAY, "eps": EPS}


@dataclass(frozen=True)
class Adam:
    """m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, from m = v = 0, and at step t = 1, 2, ...

    w = w - eta mhat/(sqrt(vhat) + eps), mhat = m/(1 - beta1^t), vhat = v/(1 - beta2^t).

    `eta` > 0, `beta1` and `beta2` in [0, 1), `eps` > 0: floats, or arrays that broadcast against w (B, d). All
    derivatives are kept, those of the bias corrections among them, and they are finite where g is zero.
    """

    decays = ("beta1", "beta2")  # `step` takes them as `Decay`, too

    class Phi(NamedTuple):
        """The meta-parameters."""

        eta: Array
        beta1: Array | float = 0.9
        beta2: Array | float = 0.999
        eps: Array | float = 1e-8

    class State(NamedTuple):
        """The running means, and the number of steps done."""

        m: Tree
        v: Tree
        t: int

    def init(self, phi: Phi, w: Tree) -> State:
        """Return m = v = 0 and t = 0."""
        return Adam.State(zeros(w), zeros(w), 0)

    def step(self, phi: Phi, state: State, w: Tree, f: View) -> tuple[Tree, State]:
        """Return the next w and state."""
        t = state.t + 1

        def update(p: Any, w: Array, m: Array, v: Array, g: Array) -> tuple[Array, Array, Array]:
            eta, beta1, beta2, eps = p
            (b1, rest1), (b2, rest2) = with_rest(beta1), with_rest(beta2)
            m = b1 * m + rest1 * g
            v = b2 * v + rest2 * g * g
            mhat = m / one_minus_power(beta1, t)
            # The root first: v/(1 - beta2^t) may overflow where v does not, and w would stand still without a Status.
            root = safe_sqrt(v) / one_minus_power(beta2, t) ** 0.5
            return w - eta * mhat / (root + eps), m, v

        w, m, v = each_leaf(update, phi, w, state.m, state.v, f.gradient(w))
        return w, Adam.State(m, v, t)

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless all are floating and in range."""
        checked: Adam.Phi = check_phi(Adam.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: Adam.Phi = project(phi, _RANGES)
        return nearest
