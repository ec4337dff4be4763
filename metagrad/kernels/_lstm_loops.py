"""Compiled loops over the gates of an LSTM layer (needs the extra `fast`, which is Numba).

The formulas, the order of the gates i, f, o, j and the sign of the first three are those of `_lstm_cell`; exponentials
and hyperbolic tangents stay with NumPy, whose own are as fast as any.
"""

from __future__ import annotations

from typing import Any

from numba import njit

# Fused multiply-adds; infinities and NaN keep their meaning.
_FAST = {"contract", "nsz"}


@njit(fastmath=_FAST, error_model="numpy", nogil=True)
def open_gates(z: Any, c: Any, c_next: Any) -> None:
    """Turn z, with exponentials in its first three parts and tanh in the last, into the gates; write c' = f c + i j."""
    n, one = c.size, c.dtype.type(1)
    for m in range(n):
        i, f, o = one / (one + z[m]), one / (one + z[n + m]), one / (one + z[2 * n + m])
        z[m], z[n + m], z[2 * n + m] = i, f, o
        c_next[m] = f * c[m] + i * z[3 * n + m]


@njit(fastmath=_FAST, error_model="numpy", nogil=True)
def close_gates(z: Any, c: Any, t: Any, dh: Any, dc: Any) -> None:
    """Turn the gates into the adjoint of z, and dc, the adjoint of c', into that of c; t = tanh(c')."""
    n, one = c.size, c.dtype.type(1)
    for m in range(n):
        i, f, o, j = z[m], z[n + m], z[2 * n + m], z[3 * n + m]
        adjoint = dc[m] + dh[m] * o * (one - t[m] * t[m])
        z[m] = adjoint * j * (i * (i - one))
        z[n + m] = adjoint * c[m] * (f * (f - one))
        z[2 * n + m] = dh[m] * t[m] * (o * (o - one))
        z[3 * n + m] = adjoint * i * (one - j * j)
        dc[m] = adjoint * f
