"""The recipe of the source paper: G'(eta) by powers of the d x d matrix A = (I - eta H)/s, s = max|1 - eta lambda|.

    G'(eta) = -(2/s) [w0' A^{2t-1} H^2 w0] / [w0' A^{2t} H w0]

The published experiment multiplies A onto a d x d matrix one step at a time, 2t products, and looks for the
eigenvalues again at every eta; `slope` does the same, with the cheaper symmetric eigenvalue routine. `binary_slope`
squares instead: about 2 log2(t) products, the best that matrix powers can do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def slope(H: Floats, w0: Floats, eta: float, steps: int) -> float:
    """Return G'(eta) by 2t products of matrices."""
    A, s = contraction(H, eta)
    power = np.eye(len(H), dtype=H.dtype)
    for _ in range(2 * steps - 1):
        power = power @ A
    return _quotient(H, w0, power, power @ A, s)


def binary_slope(H: Floats, w0: Floats, eta: float, steps: int) -> float:
    """Return G'(eta) by repeated squaring."""
    A, s = contraction(H, eta)
    power = np.linalg.matrix_power(A, 2 * steps - 1)
    return _quotient(H, w0, power, power @ A, s)


def contraction(H: Floats, eta: float) -> tuple[Floats, Any]:
    """Return A and s, in the dtype of H."""
    s = np.abs(1 - H.dtype.type(eta) * np.linalg.eigvalsh(H)).max()
    return (np.eye(len(H), dtype=H.dtype) - H.dtype.type(eta) * H) / s, s


def _quotient(H: Floats, w0: Floats, odd: Floats, even: Floats, s: Any) -> float:
    return float(-(2 / s) * (w0 @ odd @ H @ (H @ w0)) / (w0 @ even @ (H @ w0)))
