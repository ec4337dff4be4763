"""Compiled loops over whole blocks of gradient descent on quadratics (needs the extra `fast`, which is Numba).

Task by task, so that a small H stays in the first-level cache for the whole block: that, and no Python between the
steps, is all there is to win on a batch of small quadratics. The formulas are those of `quadratic_descent`.

The size of a vector is only asked whether it is out of range. So sum |x_i|, which costs nothing beside the step, stands
for it within [1/comfort, comfort]; only beyond is the largest entry looked for, and, where `scale` is set, its power of
two moved into the exponent.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

# Fused multiply-adds and sums in any order; infinities and NaN keep their meaning.
_FAST = {"contract", "reassoc", "nsz"}
# Those of `metagrad.unroll.nudge`, which a compiled loop knows as constants.
_PLACE, _MIX, _HALF, _LAST = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 32, 63))
_DIGITS = 2.0**53


@njit(error_model="numpy")
def _size(x: Any) -> Any:
    """Return max |x_i|, NaN if any entry is NaN."""
    largest = abs(x[0])
    for i in range(1, x.shape[0]):
        entry = abs(x[i])
        if not entry <= largest:
            largest = entry
        if math.isnan(largest):
            break
    return largest


@njit(error_model="numpy")
def _settle(x: Any, scale: bool) -> Any:
    """Return (size, power): the size of x, and the power of two that was moved out of it."""
    size = _size(x)
    if not scale or size == 0 or not math.isfinite(size):
        return size, 0
    power = math.frexp(size)[1]
    for i in range(x.shape[0]):
        x[i] = math.ldexp(x[i], -power)
    return size, power


@njit(error_model="numpy")
def _nudge(x: Any, salt: Any, eps: Any) -> None:
    """Move every entry by a unit in the last place, by a hash of its digits and place (`metagrad.unroll.nudge`)."""
    one = x.dtype.type(1)
    for i in range(x.shape[0]):
        mixed = np.uint64(np.int64(np.float64(math.frexp(x[i])[0]) * _DIGITS)) ^ (np.uint64(i) * _PLACE) ^ salt
        mixed = mixed * _MIX
        mixed = (mixed ^ (mixed >> _HALF)) * _MIX
        x[i] = x[i] * (one + eps if mixed >> _LAST else one - eps)


@njit(inline="always")
def dense_step(H: Any, x: Any, rate: Any, out: Any) -> Any:
    """Write x - rate H x to `out` and return the sum of its magnitudes; four rows at a time, one pass over x."""
    d, zero = x.shape[0], x.dtype.type(0)
    whole, total = d - d % 4, zero
    for i in range(0, whole, 4):
        r0, r1, r2, r3 = H[i], H[i + 1], H[i + 2], H[i + 3]
        s0 = s1 = s2 = s3 = zero
        for j in range(d):
            s0 += r0[j] * x[j]
            s1 += r1[j] * x[j]
            s2 += r2[j] * x[j]
            s3 += r3[j] * x[j]
        y0, y1, y2, y3 = x[i] - rate * s0, x[i + 1] - rate * s1, x[i + 2] - rate * s2, x[i + 3] - rate * s3
        out[i], out[i + 1], out[i + 2], out[i + 3] = y0, y1, y2, y3
        total += (abs(y0) + abs(y1)) + (abs(y2) + abs(y3))
    for i in range(whole, d):
        row, s0 = H[i], zero
        for j in range(d):
            s0 += row[j] * x[j]
        out[i] = x[i] - rate * s0
        total += abs(out[i])
    return total


@njit(inline="always")
def dense_pull(H: Any, v: Any, rate: Any, w: Any, out: Any) -> Any:
    """Write v - rate H v to `out`; return w . (H v) and the sum of the magnitudes of `out`."""
    d, zero = v.shape[0], v.dtype.type(0)
    whole, total, inner = d - d % 4, zero, zero
    for i in range(0, whole, 4):
        r0, r1, r2, r3 = H[i], H[i + 1], H[i + 2], H[i + 3]
        s0 = s1 = s2 = s3 = zero
        for j in range(d):
            s0 += r0[j] * v[j]
            s1 += r1[j] * v[j]
            s2 += r2[j] * v[j]
            s3 += r3[j] * v[j]
        out[i], out[i + 1], out[i + 2], out[i + 3] = s0, s1, s2, s3
    for i in range(whole, d):
        row, s0 = H[i], zero
        for j in range(d):
            s0 += row[j] * v[j]
        out[i] = s0
    for i in range(d):
        product = out[i]
        inner += w[i] * product
        out[i] = v[i] - rate * product
        total += abs(out[i])
    return inner, total


@njit(inline="always")
def diagonal_step(eigenvalues: Any, x: Any, rate: Any, out: Any) -> Any:
    """`dense_step` for a diagonal H."""
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        out[i] = x[i] - rate * (eigenvalues[i] * x[i])
        total += abs(out[i])
    return total


@njit(inline="always")
def diagonal_pull(eigenvalues: Any, v: Any, rate: Any, w: Any, out: Any) -> Any:
    """`dense_pull` for a diagonal H."""
    inner = total = v.dtype.type(0)
    for i in range(v.shape[0]):
        product = eigenvalues[i] * v[i]
        inner += w[i] * product
        out[i] = v[i] - rate * product
        total += abs(out[i])
    return inner, total


def _make_descend(step: Any) -> Any:
    @njit(fastmath=_FAST, error_model="numpy")
    def descend(
        H: Any, eta: Any, states: Any, exponents: Any, sizes: Any, comfort: Any, scale: bool, moved: Any
    ) -> None:
        """Fill states (n+1, B, d) and exponents (n+1, B) from their first entries, and sizes (n, B).

        `moved` = (salts, eps): those (n,) of the steps whose states are nudged by eps, or none.
        """
        salts, eps = moved
        steps, batch = sizes.shape
        lowest, last = 1 / comfort, eta.shape[0] - 1
        for b in range(batch):
            Hb, rates = H[min(b, H.shape[0] - 1)], eta[:, min(b, eta.shape[1] - 1)]
            for k in range(steps):
                after = states[k + 1, b]
                total = step(Hb, states[k, b], rates[min(k, last)], after)
                exponents[k + 1, b] = exponents[k, b]
                if lowest < total < comfort:
                    sizes[k, b] = total
                else:
                    sizes[k, b], power = _settle(after, scale)
                    exponents[k + 1, b] += power
                if salts.shape[0]:
                    _nudge(after, salts[k], eps)

    return descend


def _make_ascend(pull: Any) -> Any:
    @njit(fastmath=_FAST, error_model="numpy")
    def ascend(
        H: Any, eta: Any, states: Any, adjoint: Any, exponent: Any, into: Any, comfort: Any, scale: bool
    ) -> None:
        """Pull adjoint (B, d) and exponent (B,) back in place through states (n, B, d), last first.

        `into` = (contributions, powers, sizes), each (n, B): -w . (H v) of every step, the exponent of that v, and
        the size of the adjoint afterwards.
        """
        contributions, powers, sizes = into
        steps, batch, d = states.shape
        lowest, last = 1 / comfort, eta.shape[0] - 1
        for b in range(batch):
            Hb, rates = H[min(b, H.shape[0] - 1)], eta[:, min(b, eta.shape[1] - 1)]
            v, before = adjoint[b].copy(), adjoint[b].copy()
            for k in range(steps - 1, -1, -1):
                inner, total = pull(Hb, v, rates[min(k, last)], states[k, b], before)
                contributions[k, b], powers[k, b] = -inner, exponent[b]
                v, before = before, v
                if lowest < total < comfort:
                    sizes[k, b] = total
                else:
                    sizes[k, b], power = _settle(v, scale)
                    exponent[b] += power
            for i in range(d):
                adjoint[b, i] = v[i]

    return ascend


descend_dense, ascend_dense = _make_descend(dense_step), _make_ascend(dense_pull)
descend_diagonal, ascend_diagonal = _make_descend(diagonal_step), _make_ascend(diagonal_pull)
