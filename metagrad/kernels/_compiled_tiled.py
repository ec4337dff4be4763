"""The loops of `_compiled_loops` over small dense matrices, each copied into padded rows for the steps of a block."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from metagrad.kernels._compiled_loops import nudge, settle
from metagrad.kernels._compiled_steps import FAST, dense_pull
from metagrad.kernels._compiled_tiles import VECTOR_BYTES, tiled_step


@njit(inline="always")
def _padded(d: Any, x: Any) -> Any:
    """Return how long a row of d entries is in whole vectors."""
    lanes = VECTOR_BYTES // x.itemsize
    return (d + lanes - 1) // lanes * lanes


@njit(inline="always")
def _put(row: Any, into: Any) -> None:
    for i in range(row.shape[0]):
        into[i] = row[i]


@njit(inline="always")
def _put_rows(H: Any, into: Any) -> None:
    for i in range(H.shape[0]):
        _put(H[i], into[i])


@njit(inline="always")
def _clear_ends(x: Any, d: int) -> None:
    for i in range(d, x.shape[0]):
        x[i] = 0


@njit(fastmath=FAST, error_model="numpy")
def _plain_pull(H: Any, v: Any, rate: Any, w: Any, out: Any) -> Any:
    """Do what `tiled_step` does by the loop that has ends: zeros beside inf are no zeros."""
    return dense_pull(H, v, rate, w, out)


@njit(fastmath=FAST, error_model="numpy")
def descend_tiled(
    H: Any, eta: Any, states: Any, exponents: Any, sizes: Any, comfort: Any, scale: bool, moved: Any
) -> None:
    """Do what `_compiled_loops.descend` does."""
    salts, eps = moved
    (steps, batch), d = sizes.shape, states.shape[2]
    lowest, last = 1 / comfort, eta.shape[0] - 1
    p = _padded(d, states)
    rows, x, after = np.zeros((d, p), states.dtype), np.zeros(p, states.dtype), np.zeros(p, states.dtype)
    for b in range(batch):
        rates = eta[:, min(b, eta.shape[1] - 1)]
        if b < H.shape[0]:
            _put_rows(H[b], rows)
        _put(states[b, 0], x)
        for k in range(steps):
            rate, kept = rates[min(k, last)], states[b, k + 1]
            _, total = tiled_step(rows, x, rate, x, after)
            if not math.isfinite(total):
                _, total = _plain_pull(H[min(b, H.shape[0] - 1)], x[:d], rate, x[:d], after[:d])
                _clear_ends(after, d)
            exponents[k + 1, b] = exponents[k, b]
            if lowest < total < comfort:
                sizes[k, b] = total
            else:
                sizes[k, b], power = settle(after[:d], scale)
                exponents[k + 1, b] += power
            if salts.shape[0]:
                nudge(after[:d], salts[k], eps)
            _put(after[:d], kept)
            x, after = after, x


@njit(fastmath=FAST, error_model="numpy")
def ascend_tiled(
    H: Any, eta: Any, kept: Any, adjoint: Any, exponent: Any, into: Any, comfort: Any, scale: bool
) -> None:
    """Do what `_compiled_loops.ascend` does."""
    contributions, powers, sizes = into
    states, first = kept
    (steps, batch), d = sizes.shape, states.shape[2]
    lowest, last = 1 / comfort, eta.shape[0] - 1
    p, kind = _padded(d, states), states.dtype
    rows, w, v, before = np.zeros((d, p), kind), np.zeros(p, kind), np.zeros(p, kind), np.zeros(p, kind)
    for b in range(batch):
        rates = eta[:, min(b, eta.shape[1] - 1)]
        if b < H.shape[0]:
            _put_rows(H[b], rows)
        _put(adjoint[b], v)
        _clear_ends(v, d)
        for k in range(steps - 1, -1, -1):
            rate = rates[min(k, last)]
            _put(states[b, first + k], w)
            inner, total = tiled_step(rows, v, rate, w, before)
            if not math.isfinite(inner + total):
                inner, total = _plain_pull(H[min(b, H.shape[0] - 1)], v[:d], rate, w[:d], before[:d])
                _clear_ends(before, d)
            contributions[k, b], powers[k, b] = -inner, exponent[b]
            if lowest < total < comfort:
                sizes[k, b] = total
            else:
                sizes[k, b], power = settle(before[:d], scale)
                exponent[b] += power
            v, before = before, v
        _put(v[:d], adjoint[b])
