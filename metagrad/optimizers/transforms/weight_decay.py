"""A decay of the weights beside the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.optimizers._hyper import WEIGHT_DECAY, check_phi, each_leaf, project
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"weight_decay": WEIGHT_DECAY}


@dataclass(frozen=True)
class WeightDecay:
    """w_{t+1} - weight_decay w_t, where w_{t+1} is what the rule inside makes of w_t.

    `weight_decay` >= 0: a float, an array that broadcasts against w, or a tree of them like w. The rule sees the
    gradient of the loss alone, so that neither its momentum nor its squares know of the decay. The share is that of a
    step, without the step size: AdamW's is eta decay.
    Source: Loshchilov and Hutter 2019 (Decoupled weight decay regularization), their lambda.

    >>> import numpy as np
    >>> decay = WeightDecay()
    >>> decay.moved(decay.Phi(0.5), np.array([[2.0]]), np.array([[1.5]]))
    array([[0.5]])
    """

    homogeneous = True

    class Phi(NamedTuple):
        """The meta-parameters."""

        weight_decay: Array

    def gradient(self, phi: Phi, f: View, w: Tree) -> Tree:
        """Return the gradient as it is."""
        return f.gradient(w)

    def moved(self, phi: Phi, before: Tree, after: Tree) -> Tree:
        """Return the next w, decayed."""

        def decayed(p: Any, w: Array, moved: Array) -> tuple[Array]:
            return (moved - p.weight_decay * w,)

        return each_leaf(decayed, phi, before, after)[0]

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi; raise unless it is floating and in range."""
        checked: WeightDecay.Phi = check_phi(WeightDecay.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: WeightDecay.Phi = project(phi, _RANGES)
        return nearest
