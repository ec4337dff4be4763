"""The loop of `meta_descent` on the log objective, compiled (needs Numba, the extra `fast`)."""

from __future__ import annotations

import math
from typing import Any

from numba import njit


@njit(inline="always")
def _four_bits(p: Any, b: Any, power: int) -> Any:
    """Return p b^(power mod 16) and b^16: four bits of repeated squaring in one trip to memory and back."""
    b2 = b * b
    b4 = b2 * b2
    b8 = b4 * b4
    p = p * b if power & 1 else p
    p = p * b2 if power & 2 else p
    p = p * b4 if power & 4 else p
    p = p * b8 if power & 8 else p
    return p, b8 * b8


@njit(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def descend(
    eigenvalues: Any, top: Any, bottom: Any, power: int, scale: float, floor: float, etas: Any, gradients: Any
) -> None:
    """Fill etas (K+1,) from its first entry and gradients (K,); eigenvalues ascending, power = 2t - 1."""
    d = eigenvalues.shape[0]
    alpha, L, eta = eigenvalues[0], eigenvalues[d - 1], etas[0]
    squares, powers = eigenvalues.copy(), eigenvalues.copy()
    for k in range(gradients.shape[0]):
        s = max(abs(1 - eta * alpha), abs(1 - eta * L))
        start, slope = 1 / s, eta / s  # b_i = a_i/s = start - slope lambda_i
        for i in range(d):
            powers[i], squares[i] = _four_bits(1.0, start - slope * eigenvalues[i], power)
        rest = power >> 4
        while rest:
            for i in range(d):
                powers[i], squares[i] = _four_bits(powers[i], squares[i], rest)
            rest >>= 4
        numerator = denominator = 0.0
        for i in range(d):
            numerator += top[i] * powers[i]
            denominator += bottom[i] * ((start - slope * eigenvalues[i]) * powers[i])
        gradients[k] = -2 * numerator / (s * denominator)
        eta -= scale / math.sqrt(k + 1) * gradients[k]
        if floor > eta:  # noqa: PLR1730 (max may turn NaN into the floor; a comparison leaves it)
            eta = floor
        etas[k + 1] = eta
