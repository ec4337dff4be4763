"""What gradient descent on w'Hw/2 sees of its problem: eigenvalues, and the squared coordinates of w_0 on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, finite_floats, number, real_floats
from metagrad.theory.numbers.exact_rank import exact_rank

Measure = Literal["loss", "squared_norm"]
_LARGEST_RANK = 256
_SMALLEST, _LARGEST = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The spectrum of H with the spectral weights of w_0: eigenvalues lambda_i >= 0 and c_i = (q_i'w_0)^2 >= 0.

    Both are float64 arrays of one shape (..., d), in any order along d; leading axes are a batch of problems.
    `log_weights` is log c_i, which all formulas go by; it comes from the weights, or is given beside them where c_i
    leaves float64 and they are 0 or inf. `diagonal` and `of` give it, so that w_0 may have any size.
    Eigenvalues or weights that are negative or not finite are a ValueError.

    >>> s = Spectrum.of([[2.0, 0.0], [0.0, 1.0]], [1.0, 3.0])
    >>> s.eigenvalues, s.weights
    (array([2., 1.]), array([1., 9.]))
    >>> float(Spectrum.diagonal([1.0], [1e-300]).log_weights[0].round(1))
    -1381.6
    """

    eigenvalues: Floats
    weights: Floats
    log_weights: Any = None  # an array like the others, once it is built

    def __post_init__(self) -> None:
        """Validate, and broadcast the arrays against each other."""
        eigenvalues = finite_floats("Spectrum", "eigenvalues", self.eigenvalues)
        if self.log_weights is None:
            weights = finite_floats("Spectrum", "weights", self.weights)
            logs = weights
        else:
            weights, logs = (real_floats("Spectrum", "weights", x) for x in (self.weights, self.log_weights))
        for name, array in (("eigenvalues", eigenvalues), ("weights", weights)):
            if array.ndim == 0 or array.shape[-1] == 0:
                bad_value("Spectrum", name, f"of shape {array.shape}", "shape (..., d) with d >= 1")
            if not np.all(array >= 0):
                bad_value("Spectrum", name, f"{array.min():.6g} at its smallest", "numbers that are not negative")
        if not np.all(logs < np.inf):
            bad_value("Spectrum", "log_weights", f"{np.max(logs)} at its largest", "finite numbers, or -inf")
        if eigenvalues.shape[-1] != weights.shape[-1]:
            bad_value("Spectrum", "weights", f"of shape {weights.shape}", f"last axis {eigenvalues.shape[-1]}")
        eigenvalues, weights, logs = _broadcast(eigenvalues, weights, logs)
        if self.log_weights is None:
            with np.errstate(divide="ignore"):
                logs = np.asarray(np.log(weights), np.float64)
        for name, array in (("eigenvalues", eigenvalues), ("weights", weights), ("log_weights", logs)):
            object.__setattr__(self, name, array)

    @classmethod
    def of(cls, H: ArrayLike, w0: ArrayLike, *, zero_below: float = 0.0, roundoff: float | None = None) -> Spectrum:
        """Return the spectrum of symmetric positive semidefinite H (..., d, d) with the weights of w_0 (..., d).

        `roundoff` u is the unit roundoff of the numbers in H, by default that of its dtype. H may be asymmetric or
        indefinite only to rounding, 32 d u max|H|: it is symmetrised, and eigenvalues below zero are set to exactly 0.
        Beyond that it is a ValueError. Positive eigenvalues are kept, however small: those of a singular H come out as
        rounding noise near u L, and `zero_below` (relative to L) sets eigenvalues up to that threshold to 0 as well.
        The eigenvalues of a diagonal H are its entries, and exact; `zero_below` leaves them alone.

        >>> Spectrum.of(np.ones((3, 3)), [1.0, 2.0, 0.0], zero_below=1e-15).eigenvalues.round(12)
        array([0., 0., 3.])
        """
        matrix, start = _square("Spectrum.of", H), finite_floats("Spectrum.of", "w0", w0)
        d = matrix.shape[-1]
        for name, level in (("zero_below", zero_below), ("roundoff", roundoff)):
            if (level is not None or name == "zero_below") and number("Spectrum.of", name, level) < 0:
                bad_value("Spectrum.of", name, level, "a number of at least 0")
        if start.ndim == 0 or start.shape[-1] != d:
            bad_value("Spectrum.of", "w0", f"of shape {start.shape}", f"shape (..., {d})")
        transpose = np.swapaxes(matrix, -1, -2)
        u = _unit_roundoff(H) if roundoff is None else roundoff
        slack = 32 * d * u * np.max(np.abs(matrix), axis=(-2, -1))
        asymmetry = np.max(np.abs(matrix - transpose), axis=(-2, -1))
        if np.any(asymmetry > slack):
            bad_value("Spectrum.of", "H", f"asymmetric by {asymmetry.max():.3g}", "H = H'", "Pass (H + H.T)/2.")
        eigenvalues, coordinates, exact = _decomposed(matrix / 2 + transpose / 2, start)
        lowest = np.min(eigenvalues, axis=-1)
        if np.any(lowest < -np.where(exact, 0.0, slack)):
            expected = "a positive semidefinite matrix (no eigenvalue below 0 by more than rounding)"
            bad_value("Spectrum.of", "H", f"indefinite: it has the eigenvalue {lowest.min():.6g}", expected)
        share = np.where(exact, 0.0, zero_below)[..., None]
        threshold = np.maximum(share * np.max(eigenvalues, axis=-1, keepdims=True), 0.0)
        return cls.diagonal(np.where(eigenvalues <= threshold, 0.0, eigenvalues), coordinates)

    @classmethod
    def diagonal(cls, h: ArrayLike, w0: ArrayLike) -> Spectrum:
        """Return the spectrum of H = diag(h), its coordinates kept in order: c_i = w0_i^2; h and w0 (..., d)."""
        start = finite_floats("Spectrum.diagonal", "w0", w0)
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            weights, logs = start**2, 2 * np.log(np.abs(start))
            ordinary = (weights >= _SMALLEST) & (weights <= _LARGEST)
            return cls(h, weights, np.where(ordinary, np.log(weights), logs))  # type: ignore[arg-type]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape of the batch of problems; () for one."""
        return self.eigenvalues.shape[:-1]

    @property
    def active(self) -> NDArray[np.bool_]:
        """Where a mode moves and is seen: lambda_i > 0 and c_i > 0. The others add a constant to every objective."""
        return np.asarray((self.eigenvalues > 0) & (self.log_weights > -np.inf))

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
    check_kind("log_kappa", "spectrum", spectrum, Spectrum)
    if measure not in ("loss", "squared_norm"):
        bad_value("theory", "measure", repr(measure), "'loss' or 'squared_norm'")
    if measure == "squared_norm":
        return np.asarray(spectrum.log_weights, np.float64)
    return np.asarray(spectrum.log_weights + log_eigenvalues(spectrum) - np.log(2.0), np.float64)


def log_eigenvalues(spectrum: Spectrum) -> Floats:
    """Return log lambda_i (..., d); -inf where lambda_i is 0."""
    check_kind("log_eigenvalues", "spectrum", spectrum, Spectrum)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(spectrum.eigenvalues), np.float64)


def _square(function: str, H: ArrayLike) -> Floats:
    matrices = finite_floats(function, "H", H, copy=False)
    if matrices.ndim < 2 or matrices.shape[-2] != matrices.shape[-1]:
        bad_value(function, "H", f"of shape {matrices.shape}", "square matrices, shape (..., d, d)")
    return matrices


def _broadcast(*arrays: Floats) -> list[Floats]:
    try:
        return list(np.broadcast_arrays(*arrays))
    except ValueError:
        came = f"of shape {arrays[1].shape} with eigenvalues of shape {arrays[0].shape}"
        return bad_value("Spectrum", "weights", came, "shapes whose batches broadcast")


def is_diagonal(H: Floats) -> NDArray[np.bool_]:
    """Return which of the matrices (..., d, d) have no entry beside the diagonal, (...)."""
    matrices = _square("is_diagonal", H)
    own = np.diagonal(matrices, axis1=-2, axis2=-1)
    return np.asarray(np.count_nonzero(matrices, axis=(-2, -1)) == np.count_nonzero(own, axis=-1))


def exactly_singular(H: Floats, zeros: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the matrices (B, d, d), as they stand, have at least `zeros` (B,) eigenvalues that are exactly 0.

    False without a look for d above 256: it takes d^3 operations a matrix.
    """
    matrices = _square("exactly_singular", H)
    d, same = matrices.shape[-1], H.strides[0] == 0
    if matrices.ndim != 3 or np.shape(zeros) != matrices.shape[:1]:
        came = f"of shape {np.shape(zeros)} with H of shape {matrices.shape}"
        bad_value("exactly_singular", "zeros", came, "shape (B,) with H (B, d, d)")
    if d > _LARGEST_RANK:
        return np.asarray(zeros == 0)
    ranks = (
        [exact_rank(H[0])] * len(H)
        if same
        else [exact_rank(each) if k else d for each, k in zip(H, zeros, strict=True)]
    )
    return np.asarray(np.array(ranks) <= d - zeros)


def _unit_roundoff(value: ArrayLike) -> float:
    """Return the unit roundoff of the dtype of the value, that of float64 for other kinds."""
    dtype = np.asarray(value).dtype
    return float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps) / 2


def _decomposed(H: Floats, w0: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return the eigenvalues of H (..., d, d), the coordinates of w_0 on the eigenvectors, and where both are exact.

    A diagonal H is read as it is, however far apart its entries are.
    """
    size = np.max(np.abs(w0), axis=-1, keepdims=True)
    unit = np.where(size == 0, 1.0, size)
    eigenvalues, vectors = np.linalg.eigh(H)
    coordinates = np.matmul(np.swapaxes(vectors, -1, -2), (w0 / unit)[..., None])[..., 0] * unit
    exact = is_diagonal(H)
    eigenvalues = np.where(exact[..., None], np.diagonal(H, axis1=-2, axis2=-1), eigenvalues)
    return eigenvalues, np.where(exact[..., None], w0, coordinates), exact
