"""Gradient descent with momentum and a decay of the weights that does not go through the momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.optimizers._hyper import DECAY, STEP_SIZE, WEIGHT_DECAY, check_phi, each_leaf, project, zeros
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"eta": STEP_SIZE, "mu": DECAY, "decay": WEIGHT_DECAY}


@dataclass(frozen=True)
class SGDW:
    """m_{t+1} = mu m_t - eta g_t, w_{t+1} = w_t + m_{t+1} - eta decay w_t, from m_0 = 0.

    The decay is decoupled: it is no part of the gradient, so that the momentum does not remember it; per step it takes
    the share eta decay of w_t. A term decay ||w||^2/2 in the loss is another rule, the same one at mu = 0 only.
    `eta` > 0, `mu` in [0, 1), `decay` >= 0: floats, or arrays that broadcast against w (B, d).
    Source: Loshchilov and Hutter 2019 (Decoupled weight decay regularization), algorithm 1; their lambda is eta decay.
    """

    homogeneous = True

    class Phi(NamedTuple):
        """The meta-parameters."""

        eta: Array
        mu: Array | float = 0.9
        decay: Array | float = 0.01

    def init(self, phi: Phi, w: Tree) -> Tree:
        """Return m_0 = 0."""
        return zeros(w)

    def step(self, phi: Phi, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Return (w_{t+1}, m_{t+1})."""

        def update(p: Any, w: Array, m: Array, g: Array) -> tuple[Array, Array]:
            eta, mu, decay = p
            m = mu * m - eta * g
            return w + m - eta * decay * w, m

        return each_leaf(update, phi, w, state, f.gradient(w))

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless all are floating and in range."""
        checked: SGDW.Phi = check_phi(SGDW.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: SGDW.Phi = project(phi, _RANGES)
        return nearest
