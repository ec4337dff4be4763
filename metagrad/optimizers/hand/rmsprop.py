"""RMSprop: steps in units of the root of a running mean of squared gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from metagrad import checks
from metagrad.ad import safe_sqrt
from metagrad.optimizers._hyper import DECAY, EPS, STEP_SIZE, check_phi, each_leaf, filled, project
from metagrad.optimizers._safe import with_rest
from metagrad.protocols import Tree, View
from metagrad.xp import Array

Form = Literal["torch", "tensorflow"]
_FORMS = ["torch", "tensorflow"]


_RANGES = {"eta": STEP_SIZE, "rho": DECAY, "eps": EPS}


@dataclass(frozen=True)
class RMSprop:
    """v_{t+1} = rho v_t + (1 - rho) g_t^2, w_{t+1} = w_t - eta g_t/(sqrt(v_{t+1}) + eps), from v_0 = 0.

    That is `form="torch"`. `form="tensorflow"` is that of TensorFlow 1: sqrt(v_{t+1} + eps) below, from v_0 = 1.
    `eta` > 0, `rho` in [0, 1), `eps` > 0: floats, or arrays that broadcast against w (B, d).
    """

    form: Form = "torch"

    decays = ("rho",)  # `step` takes it as `Decay`, too

    class Phi(NamedTuple):
        """The meta-parameters."""

        eta: Array
        rho: Array | float = 0.9
        eps: Array | float = 1e-8

    def __post_init__(self) -> None:
        """Check the form."""
        checks.choice("RMSprop", "form", self.form, _FORMS)

    def init(self, phi: Phi, w: Tree) -> Tree:
        """Return v_0."""
        return filled(w, 0.0 if self.form == "torch" else 1.0)

    def step(self, phi: Phi, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Return (w_{t+1}, v_{t+1})."""

        def update(p: Any, w: Array, v: Array, g: Array) -> tuple[Array, Array]:
            eta, rho, eps = p
            decay, rest = with_rest(rho)
            v = decay * v + rest * g * g
            root = safe_sqrt(v) + eps if self.form == "torch" else np.sqrt(v + eps)
            return w - eta * g / root, v

        return each_leaf(update, phi, w, state, f.gradient(w))

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless all are floating and in range."""
        checked: RMSprop.Phi = check_phi(RMSprop.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: RMSprop.Phi = project(phi, _RANGES)
        return nearest
