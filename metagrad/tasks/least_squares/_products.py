"""The products with X that losses, gradients and solutions are made of."""

from __future__ import annotations

import numpy as np

from metagrad.xp import Array


def predictions(X: Array, w: Array) -> Array:
    """Return Xw, shape (B, n), for X (n, d) or (B, n, d) and w (B, d)."""
    return np.matmul(w, X.T) if X.ndim == 2 else np.matmul(X, w[..., None])[..., 0]


def half_mean_square(X: Array, y: Array, w: Array) -> Array:
    """Return ||Xw - y||^2/(2n), shape (B,)."""
    residual = predictions(X, w) - y
    return 0.5 * np.mean(residual * residual, axis=-1)
