"""The loop of `meta_descent` on the log objective, compiled (needs Numba, the extra `fast`)."""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def descend(
    eigenvalues: Any, top: Any, bottom: Any, power: int, rates: Any, floor: float, etas: Any, gradients: Any
) -> None:
    """Fill etas (K+1,) from its first entry and gradients (K,); eigenvalues ascending, power = 2t - 1."""
    d = eigenvalues.shape[0]
    alpha, L, eta = eigenvalues[0], eigenvalues[d - 1], etas[0]
    b, squares, powers = eigenvalues.copy(), eigenvalues.copy(), eigenvalues.copy()
    for k in range(rates.shape[0]):
        s = max(abs(1 - eta * alpha), abs(1 - eta * L))
        inverse = 1 / s
        for i in range(d):
            b[i] = inverse - (eta * inverse) * eigenvalues[i]
            squares[i] = powers[i] = b[i]
        rest = power >> 1  # the power is odd: its first bit is in `powers`
        while rest:
            if rest & 1:
                for i in range(d):
                    squares[i] *= squares[i]
                    powers[i] *= squares[i]
            else:
                for i in range(d):
                    squares[i] *= squares[i]
            rest >>= 1
        numerator = denominator = 0.0
        for i in range(d):
            numerator += top[i] * powers[i]
            denominator += bottom[i] * (b[i] * powers[i])
        gradients[k] = -2 * numerator / (s * denominator)
        eta -= rates[k] * gradients[k]
        if floor > eta:  # noqa: PLR1730 (max may turn NaN into the floor; a comparison leaves it)
            eta = floor
        etas[k + 1] = eta
