"""What the coordinate-wise LSTM reads of a gradient, coordinate by coordinate, and its derivative."""

from __future__ import annotations

import math

from metagrad.xp import Array, namespace


class Features:
    """g (N,) -> (1, N), or (log|g|/p, sgn g) where |g| >= e^-p, else (-1, e^p g), as (2, N)."""

    def __init__(self, p: float | None) -> None:
        """Bind p; None reads the gradient as it is."""
        self._p = p

    def write(self, g: Array, out: Array) -> None:
        """Write the features of g."""
        if self._p is None:
            out[0] = g
            return
        xp, p = namespace(g), self._p
        size = xp.abs(g)
        is_large = size >= math.exp(-p)
        out[0] = xp.where(is_large, xp.log(xp.where(is_large, size, 1.0)) / p, -1.0)
        out[1] = xp.where(is_large, xp.sign(g), math.exp(p) * g)

    def adjoint(self, g: Array, of_features: Array) -> Array:
        """Return the adjoint of g (N,) from that of the features."""
        if self._p is None:
            return of_features[0].copy()
        xp, p = namespace(g), self._p
        is_large = xp.abs(g) >= math.exp(-p)
        return xp.where(is_large, of_features[0] / (p * xp.where(is_large, g, 1.0)), math.exp(p) * of_features[1])
