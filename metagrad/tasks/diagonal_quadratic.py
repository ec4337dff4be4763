"""Quadratics in their eigen-coordinates: elementwise steps, for long horizons and large batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad.checks import FLOAT_DTYPE, FLOATS
from metagrad.errors import bad_type, bad_value
from metagrad.xp import Array, is_array, namespace

_WHERE = "DiagonalQuadratic"


@dataclass(frozen=True)
class DiagonalQuadratic:
    """f_b(w) = sum_i lambda_bi w_i^2 / 2 from w_0 = w0_b: `eigenvalues` and `w0` (d,) or (B, d), one float dtype.

    Eigenvalues are finite and >= 0; a wrong shape or value raises ValueError, a wrong kind TypeError.

    >>> task = DiagonalQuadratic(np.array([1.0, 4.0]), np.array([1.0, 1.0]))
    >>> task.loss(task.init(None), None)
    array([2.5])
    """

    eigenvalues: Array
    w0: Array

    degree = 2  # f(s w) = s^2 f(w)
    fixed_start = True

    def __post_init__(self) -> None:
        """Check the arrays, and bring them to the shape (B, d)."""
        for name in ("eigenvalues", "w0"):
            x = getattr(self, name)
            if not is_array(x) or x.dtype.name not in FLOATS:
                came = f"an array of {x.dtype}" if is_array(x) else f"a {type(x).__name__}"
                bad_type(_WHERE, name, came, f"a NumPy or CuPy array of {FLOAT_DTYPE}", "Convert it first.")
            if not bool(namespace(x).isfinite(x).all()):
                bad_value(_WHERE, name, "not finite everywhere", "finite numbers", "Look for NaN and inf.")
        xp = namespace(self.eigenvalues, self.w0, where=_WHERE)
        if self.eigenvalues.dtype != self.w0.dtype:
            came = f"of {self.w0.dtype} while eigenvalues is {self.eigenvalues.dtype}"
            bad_type(_WHERE, "w0", came, "one dtype", "Convert one of them.")
        if bool((self.eigenvalues < 0).any()):
            bad_value(
                _WHERE, "eigenvalues", "negative somewhere", "eigenvalues >= 0", "The loss must be bounded below."
            )
        for name in ("eigenvalues", "w0"):
            x = getattr(self, name)
            if x.ndim not in (1, 2) or 0 in x.shape:
                bad_value(_WHERE, name, f"of shape {x.shape}", "shape (d,) or (B, d) with B, d >= 1")
        shapes = self.eigenvalues.shape, self.w0.shape
        batches = {shape[0] for shape in shapes if len(shape) == 2} - {1}
        if shapes[0][-1] != shapes[1][-1] or len(batches) > 1:
            expected = "(d,) or (B, d) of the same d and B"
            bad_value(_WHERE, "w0", f"of shape {shapes[1]} with eigenvalues of shape {shapes[0]}", expected)
        eigenvalues, w0 = xp.broadcast_arrays(xp.atleast_2d(self.eigenvalues), xp.atleast_2d(self.w0))
        object.__setattr__(self, "eigenvalues", xp.ascontiguousarray(eigenvalues))
        object.__setattr__(self, "w0", xp.ascontiguousarray(w0))

    def init(self, rng: np.random.Generator | None) -> Array:
        """Return w0, shape (B, d)."""
        return self.w0

    def loss(self, w: Array, sample: Any) -> Array:
        """Return sum_i lambda_i w_i^2 / 2, shape (B,)."""
        return 0.5 * np.sum(self.eigenvalues * w * w, axis=-1)

    def gradient(self, w: Array, sample: Any) -> Array:
        """Return lambda_i w_i, shape (B, d)."""
        return self.eigenvalues * w
