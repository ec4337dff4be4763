"""What gradient descent on w'Hw/2 sees of its problem: eigenvalues, and the squared coordinates of w_0 on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import Floats, bad_value, finite_floats

Measure = Literal["loss", "squared_norm"]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The spectrum of H with the spectral weights of w_0: eigenvalues lambda_i >= 0 and c_i = (q_i'w_0)^2 >= 0.

    Both are float64 arrays of one shape (..., d), in any order along d; leading axes are a batch of problems.
    Eigenvalues or weights that are negative or not finite are a ValueError.

    >>> s = Spectrum.of([[2.0, 0.0], [0.0, 1.0]], [1.0, 3.0])
    >>> s.eigenvalues, s.weights
    (array([1., 2.]), array([9., 1.]))
    """

    eigenvalues: Floats
    weights: Floats

    def __post_init__(self) -> None:
        """Validate, and broadcast the two arrays against each other."""
        eigenvalues = finite_floats("Spectrum", "eigenvalues", self.eigenvalues)
        weights = finite_floats("Spectrum", "weights", self.weights)
        for name, array in (("eigenvalues", eigenvalues), ("weights", weights)):
            if array.ndim == 0 or array.shape[-1] == 0:
                bad_value("Spectrum", name, f"of shape {array.shape}", "shape (..., d) with d >= 1")
            if np.any(array < 0):
                bad_value("Spectrum", name, f"{array.min():.6g} at its smallest", "numbers that are not negative")
        if eigenvalues.shape[-1] != weights.shape[-1]:
            bad_value("Spectrum", "weights", f"of shape {weights.shape}", f"last axis {eigenvalues.shape[-1]}")
        eigenvalues, weights = np.broadcast_arrays(eigenvalues, weights)
        object.__setattr__(self, "eigenvalues", eigenvalues)
        object.__setattr__(self, "weights", weights)

    @classmethod
    def of(cls, H: ArrayLike, w0: ArrayLike, *, zero_below: float = 0.0) -> Spectrum:
        """Return the spectrum of symmetric positive semidefinite H (..., d, d) with the weights of w_0 (..., d).

        H may be asymmetric or indefinite only to rounding, 16 d eps max|H| with the eps of its dtype: it is
        symmetrised, and eigenvalues below zero are set to exactly 0. Beyond that it is a ValueError. Positive
        eigenvalues are kept, however small: those of a singular H come out as rounding noise near eps L, and
        `zero_below` (relative to L) sets eigenvalues up to that threshold to 0 as well.
        """
        matrix, start = finite_floats("Spectrum.of", "H", H), finite_floats("Spectrum.of", "w0", w0)
        d = matrix.shape[-1] if matrix.ndim else 0
        if matrix.ndim < 2 or matrix.shape[-2] != d or d == 0:
            bad_value("Spectrum.of", "H", f"of shape {matrix.shape}", "square matrices, shape (..., d, d)")
        if start.ndim == 0 or start.shape[-1] != d:
            bad_value("Spectrum.of", "w0", f"of shape {start.shape}", f"shape (..., {d})")
        transpose = np.swapaxes(matrix, -1, -2)
        slack = 16 * d * _eps(H) * np.max(np.abs(matrix), axis=(-2, -1))
        asymmetry = np.max(np.abs(matrix - transpose), axis=(-2, -1))
        if np.any(asymmetry > slack):
            bad_value("Spectrum.of", "H", f"asymmetric by {asymmetry.max():.3g}", "H = H'", "Pass (H + H.T)/2.")
        eigenvalues, vectors = np.linalg.eigh(matrix / 2 + transpose / 2)
        if np.any(eigenvalues < -slack[..., None]):
            expected = "a positive semidefinite matrix (no eigenvalue below 0 by more than rounding)"
            bad_value("Spectrum.of", "H", f"indefinite: it has the eigenvalue {eigenvalues.min():.6g}", expected)
        threshold = np.maximum(zero_below * eigenvalues[..., -1:], 0.0)
        weights = np.matmul(np.swapaxes(vectors, -1, -2), start[..., None])[..., 0] ** 2
        return cls(np.where(eigenvalues <= threshold, 0.0, eigenvalues), weights)

    @classmethod
    def diagonal(cls, h: ArrayLike, w0: ArrayLike) -> Spectrum:
        """Return the spectrum of H = diag(h), its coordinates kept in order: c_i = w0_i^2; h and w0 (..., d)."""
        return cls(finite_floats("Spectrum.diagonal", "h", h), finite_floats("Spectrum.diagonal", "w0", w0) ** 2)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape of the batch of problems; () for one."""
        return self.eigenvalues.shape[:-1]

    @property
    def active(self) -> NDArray[np.bool_]:
        """Where a mode moves and is seen: lambda_i > 0 and c_i > 0. The others add a constant to every objective."""
        return (self.eigenvalues > 0) & (self.weights > 0)

    @property
    def alpha(self) -> Floats:
        """The smallest eigenvalue of an active mode, shape (...,); NaN if there is none."""
        smallest = np.min(np.where(self.active, self.eigenvalues, np.inf), axis=-1)
        return np.asarray(np.where(np.isinf(smallest), np.nan, smallest), np.float64)

    @property
    def L(self) -> Floats:  # noqa: N802 - the paper's name
        """The largest eigenvalue of an active mode, shape (...,); NaN if there is none."""
        largest = np.max(np.where(self.active, self.eigenvalues, -np.inf), axis=-1)
        return np.asarray(np.where(np.isinf(largest), np.nan, largest), np.float64)


def log_kappa(spectrum: Spectrum, measure: Measure) -> Floats:
    """Return log kappa_i (..., d): kappa_i = c_i lambda_i / 2 for the loss, c_i for ||w||^2; -inf where it is 0."""
    if measure not in ("loss", "squared_norm"):
        bad_value("theory", "measure", repr(measure), "'loss' or 'squared_norm'")
    with np.errstate(divide="ignore"):
        log_weights = np.asarray(np.log(spectrum.weights), np.float64)
    if measure == "squared_norm":
        return log_weights
    return np.asarray(log_weights + log_eigenvalues(spectrum) - np.log(2.0), np.float64)


def log_eigenvalues(spectrum: Spectrum) -> Floats:
    """Return log lambda_i (..., d); -inf where lambda_i is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(spectrum.eigenvalues), np.float64)


def _eps(value: ArrayLike) -> float:
    dtype = np.asarray(value).dtype
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else float(np.finfo(np.float64).eps)
