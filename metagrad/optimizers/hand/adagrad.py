"""Adagrad: steps in units of the root of the sum of all squared gradients so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.ad import safe_sqrt
from metagrad.optimizers._hyper import EPS, STEP_SIZE, check_phi, each_leaf, project, zeros
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"eta": STEP_SIZE, "eps": EPS}


@dataclass(frozen=True)
class Adagrad:
    """v_{t+1} = v_t + g_t^2, w_{t+1} = w_t - eta g_t/(sqrt(v_{t+1}) + eps), from v_0 = 0.

    `eta` > 0 and `eps` > 0: floats, or arrays that broadcast against w (B, d).
    """

    class Phi(NamedTuple):
        """The meta-parameters."""

        eta: Array
        eps: Array | float = 1e-8

    def init(self, phi: Phi, w: Tree) -> Tree:
        """Return v_0 = 0."""
        return zeros(w)

    def step(self, phi: Phi, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Return (w_{t+1}, v_{t+1})."""

        def update(p: Any, w: Array, v: Array, g: Array) -> tuple[Array, Array]:
            eta, eps = p
            v = v + g * g
            return w - eta * g / (safe_sqrt(v) + eps), v

        return each_leaf(update, phi, w, state, f.gradient(w))

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless all are floating and in range."""
        checked: Adagrad.Phi = check_phi(Adagrad.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: Adagrad.Phi = project(phi, _RANGES)
        return nearest
