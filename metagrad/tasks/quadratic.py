"""Batches of quadratics f(w) = w'Hw/2: the task on which everything can be checked against theory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import checks as arguments
from metagrad.checks import FLOAT_DTYPE, FLOATS
from metagrad.errors import bad_type, bad_value
from metagrad.xp import Array, float_info, is_array, namespace, rng

_WHERE = "Quadratic"


@dataclass(frozen=True)
class Quadratic:
    """f_b(w) = w'H_b w/2 from w_0 = w0_b, for b = 1..B.

    `H` (d, d) for one matrix shared by all tasks or (B, d, d), symmetric positive semidefinite; `w0` (d,) for one
    task or (B, d). Both in one float dtype, which is the dtype of all that follows. A wrong shape or value raises
    ValueError, a wrong kind TypeError. Source: Wang et al. 2021, section 3.

    >>> task = Quadratic(np.diag([1.0, 4.0]), np.array([1.0, 1.0]))
    >>> task.loss(task.init(None), None)
    array([2.5])
    """

    H: Array
    w0: Array

    degree = 2  # f(s w) = s^2 f(w)
    fixed_start = True

    def __post_init__(self) -> None:
        """Check the arrays, and bring w0 to the shape (B, d)."""
        for name in ("H", "w0"):
            _check_float_array(name, getattr(self, name))
        xp = namespace(self.H, self.w0, where=_WHERE)
        if self.H.dtype != self.w0.dtype:
            bad_type(_WHERE, "w0", f"of {self.w0.dtype} while H is {self.H.dtype}", "one dtype", "Convert one.")
        if self.w0.ndim not in (1, 2) or 0 in self.w0.shape:
            bad_value(_WHERE, "w0", f"of shape {self.w0.shape}", "shape (d,) or (B, d) with B, d >= 1")
        object.__setattr__(self, "w0", xp.atleast_2d(self.w0))
        batch, d = self.w0.shape
        if self.H.shape not in ((d, d), (batch, d, d)):
            expected = f"({d}, {d}) or ({batch}, {d}, {d}) to match w0 of shape ({batch}, {d})"
            bad_value(_WHERE, "H", f"of shape {self.H.shape}", f"shape {expected}")
        _check_positive_semidefinite(self.H)

    def init(self, rng: np.random.Generator | None) -> Array:
        """Return w0, shape (B, d)."""
        return self.w0

    def loss(self, w: Array, sample: Any) -> Array:
        """Return w'Hw/2, shape (B,)."""
        return 0.5 * np.sum(w * self.gradient(w, sample), axis=-1)

    def gradient(self, w: Array, sample: Any) -> Array:
        """Return Hw, shape (B, d)."""
        if self.H.ndim == 2:
            return np.matmul(w, self.H)  # H = H'
        return np.matmul(self.H, w[..., None])[..., 0]


def random_quadratics(count: int, d: int, seed: int = 0, dtype: Any = np.float64) -> Quadratic:
    """Return `count` random tasks of the paper: H = X'X, X (d, d) and w0 standard normal, not normalised.

    lambda_max is about 4d (67 to 77 at d = 20). ValueError for counts below 1.
    Source: the public experiments of Wang et al. 2021.
    """
    where = "random_quadratics"
    for name, value in (("count", count), ("d", d)):
        arguments.count(where, name, value)
    arguments.float_dtype(where, "dtype", dtype)
    stream = rng(seed, where, count, d)
    X = stream.standard_normal((count, d, d))
    w0 = stream.standard_normal((count, d))
    H = np.matmul(X.transpose(0, 2, 1), X)
    return Quadratic(H.astype(dtype), w0.astype(dtype))


def _check_float_array(name: str, x: Any) -> None:
    if not is_array(x):
        bad_type(_WHERE, name, f"a {type(x).__name__}", "a NumPy or CuPy array", "Use np.asarray(...).")
    if x.dtype.name not in FLOATS:
        bad_type(_WHERE, name, f"an array of {x.dtype}", FLOAT_DTYPE, f"Use {name}.astype(float).")
    if not bool(namespace(x).isfinite(x).all()):
        bad_value(_WHERE, name, "not finite everywhere", "finite numbers", "Look for NaN and inf.")


def _check_positive_semidefinite(H: Array) -> None:
    xp = namespace(H)
    wide = H if H.dtype.itemsize >= 4 else H.astype(np.float32)  # LAPACK has no half precision
    eps = float_info(H.dtype).eps
    magnitude = xp.abs(wide).max(axis=(-2, -1), keepdims=True)
    if bool((xp.abs(wide - wide.swapaxes(-1, -2)) > 8 * eps * magnitude).any()):
        bad_value(_WHERE, "H", "not symmetric", "a symmetric matrix", "Use (H + H.T) / 2 if that is meant.")
    # Scaled to entries of order 1, so that 1e-300 and 1e+300 are judged alike.
    unit = wide / xp.where(magnitude == 0, 1, magnitude)
    eigenvalues = xp.linalg.eigvalsh(unit)
    slack = 16 * H.shape[-1] * eps
    if bool((eigenvalues[..., 0] < -slack).any()):
        lowest = float((eigenvalues[..., 0] * magnitude[..., 0, 0]).min())
        remedy = "A quadratic that is unbounded below has no minimum to descend to."
        bad_value(_WHERE, "H", f"indefinite (an eigenvalue is {lowest:.6g})", "a positive semidefinite matrix", remedy)
