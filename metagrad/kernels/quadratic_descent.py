"""Gradient descent on a quadratic: w <- w - eta H w, and its two derivatives, without a tape.

With v the adjoint of the next state and H symmetric,
    adjoint of w:     v - H (eta v)
    cotangent of eta: -v . (H w) = -w . (H v)   for an eta shared by the coordinates of a task,
so that backwards one product with H serves both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.kernels._step_size import eta_cotangent, is_one_a_task
from metagrad.protocols import GradientKind
from metagrad.tasks import DiagonalQuadratic, Quadratic
from metagrad.xp import Array


class QuadraticDescent:
    """The step kernel of `GradientDescent` on `Quadratic` or `DiagonalQuadratic`."""

    def __init__(self, task: Quadratic | DiagonalQuadratic, gradient: GradientKind) -> None:
        """Bind the task; `gradient="stop_gradient"` holds H w constant when differentiating."""
        self._product = _symmetric_product(task) or task.gradient  # w, sample -> H w
        self._held = gradient == "stop_gradient"

    def step(self, t: int, phi: Any, w: Array, state: Any) -> tuple[Array, tuple[()]]:
        """Return w - eta H w."""
        return w - phi.eta * self._product(w, None), ()

    def pullback(self, t: int, phi: Any, at: Any, adjoint: Any, fold: Array | None) -> tuple[Any, Any]:
        """Return the cotangents of eta and of w."""
        (w, _), (v, _), eta = at, adjoint, phi.eta
        if self._held:
            eta_bar, v_before = eta_cotangent(eta, v, self._product(w, None), fold), v
        elif is_one_a_task(eta, v.shape[0]):
            Hv = self._product(v, None)
            eta_bar, v_before = eta_cotangent(eta, w, Hv, fold), v - eta * Hv
        else:
            eta_bar = eta_cotangent(eta, v, self._product(w, None), fold)
            v_before = v - self._product(eta * v, None)
        return type(phi)(eta_bar), (v_before, ())

    def pushforward(self, t: int, phi: Any, at: Any, d_phi: Any, tangent: Any) -> tuple[Any, Any]:
        """Return what the tangents of w and of eta give to the next tangent."""
        (w, _), (u, _) = at, tangent
        of_state = u if self._held else u - phi.eta * self._product(u, None)
        return (of_state, ()), (-d_phi.eta * self._product(w, None), ())


_SMALLEST_SYMMETRIC = 128


def _symmetric_product(task: Quadratic | DiagonalQuadratic) -> Any:
    """Return w -> H w by a product that reads one half of H, for one large task on the host; else None.

    One large product is bound by memory, so half of the bytes is close to half of the time.
    """
    if not isinstance(task, Quadratic) or type(task.H) is not np.ndarray or task.w0.shape[0] != 1:
        return None
    if task.w0.shape[1] < _SMALLEST_SYMMETRIC or task.H.dtype.itemsize < 4:
        return None
    from scipy.linalg.blas import get_blas_funcs

    symv = get_blas_funcs("symv", (task.H,))
    H = task.H.reshape(task.H.shape[-2:]).T  # H = H': column-major without a copy

    def product(w: Array, sample: Any) -> Array:
        return symv(1.0, H, w[0], lower=1)[None]

    return product
