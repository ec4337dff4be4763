"""Nesterov's momentum: the gradient is taken where the momentum is about to lead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.optimizers._hyper import DECAY, STEP_SIZE, check_phi, each_leaf, project, zeros
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"eta": STEP_SIZE, "mu": DECAY}


@dataclass(frozen=True)
class Nesterov:
    """m_{t+1} = mu m_t - eta g_t, theta_{t+1} = theta_t + m_{t+1}, with g_t = grad f at w_t = theta_t + mu m_t.

    The parameters that the engine holds are the w_t, where gradients and losses are taken: in them the rule is
    w_{t+1} = w_t + mu m_{t+1} - eta g_t, as in PyTorch and optax, from w_0 = theta_0 and m_0 = 0. The theta_t are
    w_t - mu m_t. `eta` > 0 and `mu` in [0, 1): floats, or arrays that broadcast against w (B, d).
    """

    homogeneous = True

    class Phi(NamedTuple):
        """The meta-parameters."""

        eta: Array
        mu: Array | float = 0.9

    def init(self, phi: Phi, w: Tree) -> Tree:
        """Return m_0 = 0."""
        return zeros(w)

    def step(self, phi: Phi, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Return (w_{t+1}, m_{t+1})."""

        def update(p: Any, w: Array, m: Array, g: Array) -> tuple[Array, Array]:
            eta, mu = p
            m = mu * m - eta * g
            return w + mu * m - eta * g, m

        return each_leaf(update, phi, w, state, f.gradient(w))

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless all are floating and in range."""
        checked: Nesterov.Phi = check_phi(Nesterov.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: Nesterov.Phi = project(phi, _RANGES)
        return nearest
