"""Roots and norms whose derivative at zero is 0, where that of the plain ones has no value."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.tape import value_of
from metagrad.xp import Array, namespace


def safe_sqrt(v: Array) -> Array:
    """Return sqrt(v) with the derivative 0 at v = 0, of every order; NaN for NaN and for negative numbers.

    The derivative 1/(2 sqrt v) is infinite at 0, and 0 * inf = NaN in the chain rule. With v = g^2 it makes
    g/(sqrt v + eps) have its true derivative 1/eps at g = 0. Source: derived, checked by tests.

    >>> from metagrad import ad, safe_sqrt
    >>> ad.grad(safe_sqrt)(np.array([0.0, 4.0])).tolist()
    [0.0, 0.25]
    """
    is_zero = v == 0
    # Both selections are needed: what comes back at 0 need not be 0, and 1/(2 sqrt 0) is never to be computed.
    return np.where(is_zero, 0.0, np.sqrt(np.where(is_zero, 1.0, v)))


def safe_norm(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """Return the Euclidean norm of x along `axis` (of all entries if None), with the derivative 0 at x = 0.

    ||x|| = m sqrt(sum (x / m)^2), m the largest entry, so that the squares fit wherever the numbers do. Inf where an
    entry is inf, NaN where one is NaN. Source: derived, checked by tests.

    >>> from metagrad import ad, safe_norm
    >>> x = np.array([[2e200, 2e200], [0.0, 0.0]])
    >>> (safe_norm(x, axis=1) / 1e200).round(3).tolist(), ad.grad(lambda x: safe_norm(x, axis=1))(x).round(3).tolist()
    ([2.828, 0.0], [[0.707, 0.707], [0.0, 0.0]])
    """
    size = value_of(x)
    xp = namespace(size)
    top = xp.abs(size).max(axis=axis, keepdims=True)
    unit = xp.where((top > 0) & xp.isfinite(top), top, xp.ones_like(top))  # a constant: it cancels
    root = safe_sqrt(np.sum((x / unit) ** 2, axis=axis, keepdims=True)) * unit
    return root if keepdims else np.squeeze(root, tuple(range(x.ndim)) if axis is None else axis)
