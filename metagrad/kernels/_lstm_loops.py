"""Compiled loops over the gates of an LSTM layer, and a product (needs the extra `fast`, which is Numba).

The formulas, the order of the gates i, f, o, j and the sign of the first three are those of `_lstm_cell`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from metagrad.kernels._exponentials import FAST, exponentials

_SUMS = {*FAST, "reassoc"}  # and sums in any order
_CELLS = 1024  # at a time: their gates stay in the first-level cache
_COLUMNS = 512  # of two arrays, of which a few rows stay in the first-level cache


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


@njit(inline="always")
def _add_row(row: Any, b: Any, x: Any, y: Any, z: Any) -> None:
    row[b] += x
    row[b + 1] += y
    row[b + 2] += z


@njit(fastmath=_SUMS, error_model="numpy", nogil=True)
def add_products(z: Any, r: Any, total: Any) -> None:
    """Add z r' to total, z (4H, N) and r (K, N) with rows that lie in one piece: 1.3 to 1.6 times as fast as BLAS.

    Four rows of z meet three of r, twelve sums in registers for seven numbers read, and nothing is packed. BLAS copies
    both operands, of which each number is used 80 times at most.
    """
    rows, others = len(z), len(r)
    for lo in range(0, z.shape[1], _COLUMNS):
        hi = min(z.shape[1], lo + _COLUMNS)
        for a in range(0, rows, 4):
            z0, z1, z2, z3 = z[a, lo:hi], z[a + 1, lo:hi], z[a + 2, lo:hi], z[a + 3, lo:hi]
            whole = others - others % 3
            for b in range(0, whole, 3):
                r0, r1, r2 = r[b, lo:hi], r[b + 1, lo:hi], r[b + 2, lo:hi]
                s00 = s01 = s02 = s10 = s11 = s12 = s20 = s21 = s22 = s30 = s31 = s32 = z.dtype.type(0)
                for m in range(hi - lo):
                    x0, x1, x2, x3, y0, y1, y2 = z0[m], z1[m], z2[m], z3[m], r0[m], r1[m], r2[m]
                    s00, s01, s02 = s00 + x0 * y0, s01 + x0 * y1, s02 + x0 * y2
                    s10, s11, s12 = s10 + x1 * y0, s11 + x1 * y1, s12 + x1 * y2
                    s20, s21, s22 = s20 + x2 * y0, s21 + x2 * y1, s22 + x2 * y2
                    s30, s31, s32 = s30 + x3 * y0, s31 + x3 * y1, s32 + x3 * y2
                _add_row(total[a], b, s00, s01, s02)
                _add_row(total[a + 1], b, s10, s11, s12)
                _add_row(total[a + 2], b, s20, s21, s22)
                _add_row(total[a + 3], b, s30, s31, s32)
            for b in range(whole, others):
                r0 = r[b, lo:hi]
                s0 = s1 = s2 = s3 = z.dtype.type(0)
                for m in range(hi - lo):
                    s0, s1 = s0 + z0[m] * r0[m], s1 + z1[m] * r0[m]
                    s2, s3 = s2 + z2[m] * r0[m], s3 + z3[m] * r0[m]
                total[a, b] += s0
                total[a + 1, b] += s1
                total[a + 2, b] += s2
                total[a + 3, b] += s3
