"""Compiled loops over the gates of an LSTM layer (needs the extra `fast`, which is Numba).

The formulas, the order of the gates i, f, o, j and the sign of the first three are those of `_lstm_cell`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from metagrad.kernels._exponentials import FAST, exponentials

_CELLS = 1024  # at a time: their gates stay in the first-level cache


@cache
def opener(name: str) -> Any:
    """Return the loop that opens gates, for floats of the dtype of that name."""
    exp, tanh = exponentials(name)
    one = np.dtype(name).type(1)

    @njit(fastmath=FAST, error_model="numpy", nogil=True)
    def close(z: Any) -> None:
        for m in range(z.size):
            z[m] = one / (one + exp(z[m]))

    @njit(fastmath=FAST, error_model="numpy", nogil=True)
    def bend(z: Any) -> None:  # in place: one loop for two arrays would not be vectorised where they are the same
        for m in range(z.size):
            z[m] = tanh(z[m])

    @njit(fastmath=FAST, error_model="numpy", nogil=True)
    def open_gates(z: Any, c: Any, c_next: Any, h: Any) -> None:
        """Turn z into the gates; write c' = f c + i j and h = o tanh(c')."""
        n = c.size
        for lo in range(0, n, _CELLS):
            hi = min(n, lo + _CELLS)
            i, f, o, j = z[lo:hi], z[n + lo : n + hi], z[2 * n + lo : 2 * n + hi], z[3 * n + lo : 3 * n + hi]
            for k in range(3):
                close(z[k * n + lo : k * n + hi])
            bend(j)
            before, after, out = c[lo:hi], c_next[lo:hi], h[lo:hi]
            for m in range(hi - lo):
                after[m] = out[m] = f[m] * before[m] + i[m] * j[m]
            bend(out)
            for m in range(hi - lo):
                out[m] *= o[m]

    return open_gates


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def close_gates(z: Any, c: Any, t: Any, dh: Any, sent: Any, dc: Any) -> None:
    """Turn the gates into the adjoint of z, and dc, the adjoint of c', into that of c; that of h is dh + sent.

    t = tanh(c'), of NumPy: of one of these for a cell, a loop of its own is no faster.
    """
    n, one = c.size, c.dtype.type(1)
    for m in range(n):
        i, f, o, j = z[m], z[n + m], z[2 * n + m], z[3 * n + m]
        of_h = dh[m] + sent[m]
        adjoint = dc[m] + of_h * o * (one - t[m] * t[m])
        z[m] = adjoint * j * (i * (i - one))
        z[n + m] = adjoint * c[m] * (f * (f - one))
        z[2 * n + m] = of_h * t[m] * (o * (o - one))
        z[3 * n + m] = adjoint * i * (one - j * j)
        dc[m] = adjoint * f
