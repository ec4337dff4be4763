"""The products with X that losses, gradients and solutions are made of."""

from __future__ import annotations

import numpy as np

from metagrad.xp import Array


def predictions(X: Array, w: Array) -> Array:
    """Return Xw, shape (B, n), for X (n, d) or (B, n, d) and w (B, d)."""
    return np.matmul(w, X.T) if X.ndim == 2 else np.matmul(X, w[..., None])[..., 0]


def half_mean_square(X: Array, y: Array, w: Array, sizes: Array | None) -> Array:
    """Return ||Xw - y||^2/(2n), shape (B,), n those of `sizes` where given."""
    residual = predictions(X, w) - y
    return 0.5 * own_mean(residual * residual, sizes)


def own_mean(terms: Array, sizes: Array | None) -> Array:
    """Return the mean over samples, (B,), of terms (B, n): over `sizes` (B,) of them where given; the rest are 0."""
    mean = np.mean(terms, axis=-1)
    return mean if sizes is None else mean * (terms.shape[-1] / sizes)
