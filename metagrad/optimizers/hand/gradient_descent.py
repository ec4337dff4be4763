"""Gradient descent, whose one meta-parameter is the step size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.optimizers._hyper import STEP_SIZE, check_fits, check_phi, each_leaf, project
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"eta": STEP_SIZE}


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

    def init(self, phi: Phi, w: Tree) -> Tree:
        """Return the empty state; ValueError where the shape of eta does not fit w."""
        check_fits(phi, w)
        return ()

    def step(self, phi: Phi, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Return w - eta g."""

        def update(p: Any, w: Array, g: Array) -> tuple[Array]:
            return (w - p.eta * g,)

        return each_leaf(update, phi, w, f.gradient(w))[0], ()

    def check_phi(self, phi: Phi | float | Array, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless eta is floating, finite and > 0."""
        checked: GradientDescent.Phi = check_phi(GradientDescent.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: GradientDescent.Phi = project(phi, _RANGES)
        return nearest
