"""Gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.optimizers._hyper import DECAY, STEP_SIZE, check_phi, each_leaf, project, zeros
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"eta": STEP_SIZE, "mu": DECAY}


@dataclass(frozen=True)
class Momentum:
    """m_{t+1} = mu m_t - eta g_t, w_{t+1} = w_t + m_{t+1}, from m_0 = 0.

    `eta` > 0, the step size, and `mu` in [0, 1), the momentum: floats, or arrays that broadcast against w (B, d).
    PyTorch's b = mu b + g, w = w - eta b is the same with m = -eta b, as long as eta is the same at all steps.
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
            return w + m, m

        return each_leaf(update, phi, w, state, f.gradient(w))

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless all are floating and in range."""
        checked: Momentum.Phi = check_phi(Momentum.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: Momentum.Phi = project(phi, _RANGES)
        return nearest
