"""Powers of a linear map that depends on eta, applied to a vector, with the tangent in eta, at any magnitude.

A^t z for many t at once by repeated squaring: O(log t) products, so that a horizon of 10^6 costs 20 of them. A power
and its tangent, (A^2)' = A A' + A' A, share an exponent of two beside their digits. Where A and z have no negative
entries nothing cancels in A^t z; a relative error of t eps remains, which is inherent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metagrad.theory.numbers.checks import Floats
from metagrad.theory.numbers.signed_log import SignedLog


class Dual(NamedTuple):
    """A value and its tangent of one shape."""

    value: Floats
    tangent: Floats


def apply_powers(A: Dual, z: Floats, steps: Floats, weights: Floats) -> tuple[SignedLog, SignedLog]:
    """Return weights'A^t z (G, K, M) and its tangent for steps t (K,): A (G, D, D), z (D,), weights (D, M)."""
    remaining, shape = steps.astype(np.int64), (len(A.value), len(steps), len(z))
    states = Dual(np.broadcast_to(z, shape).copy(), np.zeros(shape))
    exponents, exponent = np.zeros(shape[:2], np.int64), np.zeros((shape[0], 1), np.int64)
    while True:
        odd = remaining % 2 == 1
        moved = _product(Dual(*(np.swapaxes(x, 1, 2) for x in A)), Dual(states.value[:, odd], states.tangent[:, odd]))
        (states.value[:, odd], states.tangent[:, odd]), shift = _normalised(moved, axis=2)
        exponents[:, odd] += exponent + shift
        remaining //= 2
        if not remaining.any():
            break
        A, shift = _normalised(_product(A, A), axis=(1, 2))
        exponent = 2 * exponent + shift[:, None]
    return _scaled(states.value @ weights, exponents), _scaled(states.tangent @ weights, exponents)


def _product(A: Dual, B: Dual) -> Dual:
    """Return B A, with the tangent B'A + BA'."""
    return Dual(B.value @ A.value, B.tangent @ A.value + B.value @ A.tangent)


def _normalised(x: Dual, axis: int | tuple[int, ...]) -> tuple[Dual, NDArray[np.int64]]:
    """Return x 2^-shift, its largest entry of order one, and the shift along the other axes."""
    high, low = (f(x.value, axis=axis, keepdims=True, initial=0.0) for f in (np.max, np.min))
    largest = np.maximum(high, -low)
    shift = np.where(largest > 0, np.frexp(largest)[1], 0).astype(np.int64)
    unit = np.ldexp(1.0, -shift)
    return Dual(x.value * unit, x.tangent * unit), np.squeeze(shift, axis)


def _scaled(value: Floats, exponents: NDArray[np.int64]) -> SignedLog:
    number = SignedLog.from_float(value)
    log = number.log + np.log(2.0) * exponents[..., None]
    return SignedLog(number.sign, np.where(number.sign == 0, -np.inf, log))
