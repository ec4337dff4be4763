"""Gradient descent on least squares, full batch: w <- w - eta X'(Xw - y)/n and its two derivatives, without a tape.

With v the adjoint of the next state and u = Xv,
    adjoint of w:     v - eta X'u/n
    cotangent of eta: -u . (Xw - y)/n   for an eta shared by the coordinates of a task,
so that backwards three products with X serve both.
"""

from __future__ import annotations

from typing import Any

from metagrad.kernels._curvature import transposed_product
from metagrad.kernels._step_size import eta_cotangent, is_one_a_task
from metagrad.protocols import GradientKind
from metagrad.tasks import LeastSquares
from metagrad.xp import Array


class LeastSquaresDescent:
    """The step kernel of `GradientDescent` on `LeastSquares` without minibatches."""

    def __init__(self, task: LeastSquares, gradient: GradientKind) -> None:
        """Bind the task; `gradient="stop_gradient"` holds the gradient constant when differentiating."""
        self._task, self._X, self._n = task, task.X, task.divisor
        self._held = gradient == "stop_gradient"

    def step(self, t: int, phi: Any, w: Array, state: Any) -> tuple[Array, tuple[()]]:
        """Return w - eta X'(Xw - y)/n."""
        return w - phi.eta * self._task.gradient(w, None), ()

    def pullback(self, t: int, phi: Any, at: Any, adjoint: Any, fold: Array | None) -> tuple[Any, Any]:
        """Return the cotangents of eta and of w."""
        (w, _), (v, _), eta = at, adjoint, phi.eta
        if self._held:
            return type(phi)(eta_cotangent(eta, v, self._task.gradient(w, None), fold)), (v, ())
        if is_one_a_task(eta, v.shape[0]):
            u = self._task.predictions(v) / self._n
            residual = self._task.predictions(w) - self._task.y
            return type(phi)(eta_cotangent(eta, u, residual, fold)), (v - eta * transposed_product(self._X, u), ())
        eta_bar = eta_cotangent(eta, v, self._task.gradient(w, None), fold)
        return type(phi)(eta_bar), (v - transposed_product(self._X, self._task.predictions(eta * v) / self._n), ())

    def pushforward(self, t: int, phi: Any, at: Any, d_phi: Any, tangent: Any) -> tuple[Any, Any]:
        """Return what the tangents of w and of eta give to the next tangent."""
        (w, _), (u, _) = at, tangent
        of_state = u if self._held else u - phi.eta * transposed_product(self._X, self._task.predictions(u) / self._n)
        return (of_state, ()), (-d_phi.eta * self._task.gradient(w, None), ())
