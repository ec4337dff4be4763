"""Lion: steps of one size, in the direction of the sign of a momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad.optimizers._hyper import DECAY, STEP_SIZE, WEIGHT_DECAY, check_phi, each_leaf, project, zeros
from metagrad.optimizers._safe import with_rest
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"eta": STEP_SIZE, "beta1": DECAY, "beta2": DECAY, "decay": WEIGHT_DECAY}


@dataclass(frozen=True)
class Lion:
    """w_{t+1} = w_t - eta (sgn(beta1 m_t + (1 - beta1) g_t) + decay w_t), m_{t+1} = beta2 m_t + (1 - beta2) g_t.

    From m_0 = 0; sgn(0) = 0. `eta` > 0, `beta1` and `beta2` in [0, 1), `decay` >= 0: floats, or arrays that broadcast
    against w (B, d). A gradient that is no number gives a w that is none, though the sign of inf is 1.

    The sign is constant almost everywhere, and its derivative is taken as zero. So w depends on eta and decay alone:
    dw_{t+1} = (1 - eta decay) dw_t - (sgn(.) + decay w_t) d eta - eta w_t d decay; the derivatives in beta1 and beta2
    are exactly zero, and no second derivative of the loss enters: "full" and "stop_gradient" are the same number. The
    jumps of w(eta, beta1, beta2, decay) where a sign changes are not seen; for beta1 and beta2 estimate a smoothed
    derivative by evolution strategies.
    Source: Chen et al. 2023 (Symbolic discovery of optimization algorithms), algorithm 2.
    """

    decays = ("beta1", "beta2")  # `step` takes them as `Decay`, too

    class Phi(NamedTuple):
        """The meta-parameters."""

        eta: Array
        beta1: Array | float = 0.9
        beta2: Array | float = 0.99
        decay: Array | float = 0.01

    def init(self, phi: Phi, w: Tree) -> Tree:
        """Return m_0 = 0."""
        return zeros(w)

    def step(self, phi: Phi, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Return (w_{t+1}, m_{t+1})."""

        def update(p: Any, w: Array, m: Array, g: Array) -> tuple[Array, Array]:
            eta, beta1, beta2, decay = p
            (b1, rest1), (b2, rest2) = with_rest(beta1), with_rest(beta2)
            mixed = b1 * m + rest1 * g
            direction = np.where(np.isfinite(mixed), np.sign(mixed), np.nan)
            return w - eta * direction - eta * decay * w, b2 * m + rest2 * g

        return each_leaf(update, phi, w, state, f.gradient(w))

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless all are floating and in range."""
        checked: Lion.Phi = check_phi(Lion.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: Lion.Phi = project(phi, _RANGES)
        return nearest
