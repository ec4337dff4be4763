"""Whole blocks of gradient descent on one large quadratic, by products that read one half of H.

A large matrix-vector product is bound by memory, so half of the bytes is close to half of the time; at d = 1000 it
takes about as long as twenty small calls from Python, so a step makes few others. Formulas: `quadratic_descent`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metagrad.protocols import Task
from metagrad.tasks import Quadratic
from metagrad.xp import Array, float_info

_LARGEST_SMALL = 128
_CHUNK_ENTRIES = 1 << 18


def has_symmetric_product(task: Task) -> bool:
    """Whether this is one large quadratic on the host, in float32 or float64."""
    if type(task) is not Quadratic or type(task.H) is not np.ndarray or task.H.dtype.itemsize < 4:
        return False
    return bool(task.w0.shape[0] == 1 and task.w0.shape[1] > _LARGEST_SMALL)


def symmetric_product(task: Quadratic) -> tuple[Any, Array]:
    """Return the BLAS's symv, (scale, H, x, beta=, y=) -> scale H x + beta y, and H (d, d) as it wants it."""
    from scipy.linalg.blas import get_blas_funcs

    return get_blas_funcs("symv", (task.H,)), task.H.reshape(task.H.shape[-2:]).T  # H = H': column-major, no copy


class SymmetricDescent:
    """Forwards and backwards through a block of steps of `GradientDescent`, with full gradients."""

    def __init__(self, task: Quadratic, eta: Array, *, scale_state: bool, scale_adjoint: bool) -> None:
        """Bind the task and eta (1 or T, 1)."""
        self._symv, self._H = symmetric_product(task)
        self._eta: list[float] = eta[:, 0].tolist()
        self._scale_state, self._scale_adjoint = scale_state, scale_adjoint
        self._comfort = 2.0 ** (float_info(task.w0.dtype).max_exponent // 4)
        self.chunk = max(1, _CHUNK_ENTRIES // task.w0.size)

    def _rate(self, t: int) -> float:
        return self._eta[0] if len(self._eta) == 1 else self._eta[t]

    def descend(self, lo: int, hi: int, w: Array, exponent: Array) -> tuple[Array, Array, Array]:
        """Return the states (n+1, 1, d) and exponents (n+1, 1) at lo..hi from those at lo, and the sizes (n, 1)."""
        states = np.empty((hi - lo + 1, *w.shape), dtype=w.dtype)
        exponents = np.empty((hi - lo + 1, 1), dtype=np.int64)
        sizes = np.empty((hi - lo, 1), dtype=w.dtype)
        states[0], exponents[0] = w, exponent
        for k in range(hi - lo):
            before, after = states[k, 0], states[k + 1, 0]
            after[:] = self._symv(-self._rate(lo + k), self._H, before, beta=1.0, y=before)
            sizes[k], power = self._settle(after, self._scale_state)
            exponents[k + 1] = exponents[k] + power
        return states, exponents, sizes

    def ascend(self, lo: int, states: Array, adjoint: Array, exponent: Array) -> tuple[Array, Array, Array]:
        """Pull adjoint (1, d) and exponent (1,), in place, back through the states (n, 1, d) at lo..lo+n-1.

        Returns the cotangents of eta, the exponents of the adjoints they were made with, and the sizes of the
        adjoints, each (n, 1).
        """
        shape, v = states.shape[:2], adjoint[0]
        contributions, powers, sizes = (np.empty(shape, dtype) for dtype in (v.dtype, np.int64, v.dtype))
        for k in reversed(range(len(states))):
            Hv = self._symv(1.0, self._H, v)
            contributions[k], powers[k] = -states[k, 0].dot(Hv), exponent
            v -= self._rate(lo + k) * Hv
            sizes[k], power = self._settle(v, self._scale_adjoint)
            exponent += power
        return contributions, powers, sizes

    def _settle(self, x: Array, scale: bool) -> tuple[Any, int]:
        """Return (size, power): the size of x, and the power of two that was moved out of it.

        The size is only asked whether it is out of range, so the cheap x'x stands for it where it is comfortable.
        """
        square = x.dot(x)
        if 1 / self._comfort < square < self._comfort:
            return square, 0
        size = abs(x).max()
        if not scale or size == 0 or not math.isfinite(size):
            return size, 0
        power = math.frexp(size)[1]
        x[:] = np.ldexp(x, -power)
        return size, power
