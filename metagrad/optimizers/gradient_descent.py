"""Gradient descent, whose one meta-parameter is the step size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Tree
from metagrad.xp import Array, is_array, namespace


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
        if isinstance(w, tuple):
            moved = [u - phi.eta * v for u, v in zip(w, g, strict=True)]
            return (type(w)(*moved) if hasattr(w, "_fields") else tuple(moved)), ()
        return w - phi.eta * g, ()

    def check_phi(self, phi: Phi | float | Array, where: str) -> Phi:
        """Return phi as `Phi`, a bare number or array becoming eta; raise unless eta is floating, finite and > 0."""
        eta: Any = phi.eta if isinstance(phi, GradientDescent.Phi) else phi
        if isinstance(eta, bool | int) or (is_array(eta) and eta.dtype.kind != "f"):
            bad_type(where, "eta", f"{eta!r}, an integer", "a floating-point step size", "Write 1.0 for 1.")
        if not isinstance(eta, float) and not is_array(eta):
            if not hasattr(eta, "dtype"):
                bad_type(where, "eta", f"a {type(eta).__name__}", "a float or an array", "Pass phi = eta.")
            eta = float(eta)
        xp = namespace(eta)
        if not bool(xp.all(xp.isfinite(xp.asarray(eta)))):
            bad_value(where, "eta", eta, "a finite step size")
        if not bool(xp.all(xp.asarray(eta) > 0)):
            remedy = "For step sizes at or below zero call an estimator directly, metagrad.Reverse()(...)."
            bad_value(where, "eta", eta, "a step size above 0", remedy)
        return GradientDescent.Phi(eta)
