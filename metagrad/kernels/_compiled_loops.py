"""Compiled loops over whole blocks of gradient descent on quadratics (needs the extra `fast`, which is Numba).

Task by task, so that a small H stays in the first-level cache for the whole block: that, and no Python between the
steps, is most of what there is to win on a batch of small quadratics. For the same reason the states of a task lie side
by side: those of one time would lie a page apart, and throw each other out of that cache. The formulas are those of
`quadratic_descent`.

The size of a vector is only asked whether it is out of range. So sum |x_i|, which costs nothing beside the step, stands
for it within [1/comfort, comfort]; only beyond is the largest entry looked for, and, where `scale` is set, its power of
two moved into the exponent.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from metagrad.kernels._compiled_steps import (
    FAST,
    dense_pull,
    dense_step,
    diagonal_pull,
    diagonal_step,
    symmetric_pull,
    symmetric_step,
)

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
def settle(x: Any, scale: bool) -> Any:
    """Return (size, power): the size of x, and the power of two that was moved out of it."""
    size = _size(x)
    if not scale or size == 0 or not math.isfinite(size):
        return size, 0
    power = math.frexp(size)[1]
    for i in range(x.shape[0]):
        x[i] = math.ldexp(x[i], -power)
    return size, power


@njit(error_model="numpy")
def nudge(x: Any, salt: Any, eps: Any) -> None:
    """Move every entry by a unit in the last place, by a hash of its digits and place (`metagrad.unroll.nudge`)."""
    one = x.dtype.type(1)
    for i in range(x.shape[0]):
        mixed = np.uint64(np.int64(np.float64(math.frexp(x[i])[0]) * _DIGITS)) ^ (np.uint64(i) * _PLACE) ^ salt
        mixed = mixed * _MIX
        mixed = (mixed ^ (mixed >> _HALF)) * _MIX
        x[i] = x[i] * (one + eps if mixed >> _LAST else one - eps)


def _make_descend(step: Any) -> Any:
    @njit(fastmath=FAST, error_model="numpy")
    def descend(
        H: Any, eta: Any, states: Any, exponents: Any, sizes: Any, comfort: Any, scale: bool, moved: Any
    ) -> None:
        """Fill states (B, n+1, d) and exponents (n+1, B) from their first entries, and sizes (n, B).

        `moved` = (salts, eps): those (n,) of the steps whose states are nudged by eps, or none.
        """
        salts, eps = moved
        steps, batch = sizes.shape
        lowest, last = 1 / comfort, eta.shape[0] - 1
        for b in range(batch):
            Hb, rates = H[min(b, H.shape[0] - 1)], eta[:, min(b, eta.shape[1] - 1)]
            for k in range(steps):
                after = states[b, k + 1]
                total = step(Hb, states[b, k], rates[min(k, last)], after)
                exponents[k + 1, b] = exponents[k, b]
                if lowest < total < comfort:
                    sizes[k, b] = total
                else:
                    sizes[k, b], power = settle(after, scale)
                    exponents[k + 1, b] += power
                if salts.shape[0]:
                    nudge(after, salts[k], eps)

    return descend


def _make_ascend(pull: Any) -> Any:
    @njit(fastmath=FAST, error_model="numpy")
    def ascend(H: Any, eta: Any, kept: Any, adjoint: Any, exponent: Any, into: Any, comfort: Any, scale: bool) -> None:
        """Pull adjoint (B, d) and exponent (B,) back in place through n states, last first.

        `kept` = (states, first): those that begin with the entry `first` of states (B, .., d).
        `into` = (contributions, powers, sizes), each (n, B): -w . (H v) of every step, the exponent of that v, and
        the size of the adjoint afterwards.
        """
        contributions, powers, sizes = into
        states, first = kept
        (steps, batch), d = sizes.shape, states.shape[2]
        lowest, last = 1 / comfort, eta.shape[0] - 1
        for b in range(batch):
            Hb, rates = H[min(b, H.shape[0] - 1)], eta[:, min(b, eta.shape[1] - 1)]
            v, before = adjoint[b].copy(), adjoint[b].copy()
            for k in range(steps - 1, -1, -1):
                inner, total = pull(Hb, v, rates[min(k, last)], states[b, first + k], before)
                contributions[k, b], powers[k, b] = -inner, exponent[b]
                v, before = before, v
                if lowest < total < comfort:
                    sizes[k, b] = total
                else:
                    sizes[k, b], power = settle(v, scale)
                    exponent[b] += power
            for i in range(d):
                adjoint[b, i] = v[i]

    return ascend


descend_dense, ascend_dense = _make_descend(dense_step), _make_ascend(dense_pull)
descend_symmetric, ascend_symmetric = _make_descend(symmetric_step), _make_ascend(symmetric_pull)
descend_diagonal, ascend_diagonal = _make_descend(diagonal_step), _make_ascend(diagonal_pull)
