"""Gradient descent, whose one meta-parameter is the step size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from metagrad.optimizers._hyper import STEP_SIZE, beside, check_phi, leafwise
from metagrad.protocols import Tree
from metagrad.xp import Array


@dataclass(frozen=True)
class GradientDescent:
    """w_{t+1} = w_t - eta g_t, g_t = grad f(w_t).

    `eta`, the step size, is a float or an array that broadcasts against w (B, d): () one for all, (d,) one a
    coordinate. One a task, shape (B,), with `meta_gradient(..., per_task=True)`; one a step with `Scheduled`.
    """

    homogeneous = True

    class Phi(NamedTuple):
        """The meta-parameters of gradient descent."""

        eta: Array

    def init(self, w: Tree) -> Tree:
        """Return the empty state."""
        return ()

    def step(self, phi: Phi, state: Tree, w: Tree, g: Tree) -> tuple[Tree, Tree]:
        """Return w - eta g."""

        def update(w: Array, g: Array) -> tuple[Array]:
            (eta,) = beside(phi, w)
            return (w - eta * g,)

        return leafwise(update, w, g)[0], ()

    def check_phi(self, phi: Phi | float | Array, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless eta is floating, finite and > 0."""
        checked: GradientDescent.Phi = check_phi(GradientDescent.Phi, phi, where, {"eta": STEP_SIZE})
        return checked
