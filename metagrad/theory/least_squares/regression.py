"""Gradient descent on least squares, given the sample: what it fits, what it learns, at every step size and horizon.

f(w) = ||Xw - y||^2/(2n), w_0 = 0, X (n, d). With X = sqrt(n) U diag(sqrt s) V' and g = U'y/sqrt(n),

| symbol     | code                                      | meaning                                               |
|------------|-------------------------------------------|-------------------------------------------------------|
| s_j, g_j   | `Regression.eigenvalues`, `.coefficients` | spectrum of X'X/n; y on the left singular vectors     |
| a_j        | `modes.Factors`                           | a_j = 1 - eta s_j                                     |
| h_t(s)     | `filters.spectral_filter`                 | (1 - (1 - eta s)^t)/s                                 |
| w_t        | `weights`                                 | V diag(h_t sqrt s) g = V diag(s h_t) V'w_LS           |
| T          | `train_loss`                              | (sum_j a_j^{2t} g_j^2 + residual)/2                   |
| T - T_inf  | `excess_train_loss`                       | (1/2) sum_j a_j^{2t} g_j^2: that of `last_iterate`    |
| V          | `validation_loss`                         | ||X_val w_t - y_val||^2/(2m)                          |
| R          | `risk`                                    | ||w_t - w*||^2                                        |

so one decomposition serves all step sizes and horizons. `eta` (finite, any sign) and `steps` (integers from 1)
broadcast with each other; the result has that shape. T, V, R and their eta-derivatives are `SignedLog`, since they
leave the range of floats beyond eta = 2/s_max; `log_rate` makes the log objective and its derivative of them.

Averages over y = Xw* + xi with xi ~ N(0, sigma^2 I) and w* isotropic, E||w*||^2 = signal, are in `average_case`.
Source: Wang et al. 2021, section 4 (the setting); the formulas are derived, and checked by tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares.checks import checked_sample, checked_size, checked_weights, representable
from metagrad.theory.numbers.checks import (
    Floats,
    bad_value,
    check_flag,
    check_kind,
    count,
    finite_floats,
    number,
    step_counts,
)
from metagrad.theory.numbers.filters import Filter, left_over, spectral_filter, sum_of_squares
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.quadratic import last_iterate
from metagrad.theory.quadratic.spectrum import Spectrum

_BLOCK = 2**21
"""Numbers h_k(s_j) that `first_exit` looks at in one go."""

ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""What rounding leaves of a residual that is zero, relative to the targets."""

_SMALLEST = 1e-290
"""Weights from which on their logarithm is taken from their parts."""


@dataclass(frozen=True, eq=False)
class Regression:
    """A sample (X, y) as gradient descent from w_0 = 0 sees it.

    `eigenvalues` s (r,) > 0 of X'X/n, `coefficients` g (r,), `basis` V (d, r) with r the rank of X, or (d, 0) where
    only averages are asked for; `residual` is ||y - UU'y||^2/n, twice the smallest train loss. Singular values up to
    max(n, d) eps times the largest count as 0.
    `rounding`: what counts as 0 relative to ||y||. So much of y outside of the columns of X is no residual, and where
    w* or validation targets are within it of the fit, the sample is noise-free: what is left of the error is
    a_j^t of the start and nothing else, at any size.
    From `krylov.krylov_regressions` the same of a smaller problem, exact for up to `horizon` steps; then `whole` is
    False, and `train_floor` and `solution` are those of the smaller problem.

    >>> reg = Regression.of([[1.0], [1.0]], [1.0, 3.0])
    >>> reg.eigenvalues, weights(reg, 0.5, 1), train_loss(reg, 0.5, 1).to_float().round(6)
    (array([1.]), array([1.]), np.float64(1.0))
    """

    eigenvalues: Floats
    coefficients: Floats
    residual: float
    basis: Floats
    n: int
    d: int
    horizon: float = np.inf
    whole: bool = True
    rounding: float = ROUNDING

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("eigenvalues", "coefficients", "basis"):
            array = finite_floats("Regression", name, getattr(self, name))
            object.__setattr__(self, name, array)
        r = len(np.atleast_1d(self.eigenvalues))
        d = count("Regression", "d", self.d)
        shapes: dict[str, list[tuple[int, ...]]] = {}
        shapes |= {"eigenvalues": [(r,)], "coefficients": [(r,)], "basis": [(d, r), (d, 0)]}
        for name, known in shapes.items():
            if getattr(self, name).shape not in known:
                bad_value("Regression", name, f"of shape {getattr(self, name).shape}", f"shape {known[0]}")
        count("Regression", "n", self.n)
        check_flag("Regression", "whole", self.whole)
        for name in ("residual", "rounding"):
            if number("Regression", name, getattr(self, name)) < 0:
                bad_value("Regression", name, getattr(self, name), "a number of at least 0")
        if self.horizon != np.inf:
            count("Regression", "horizon", self.horizon)

    @classmethod
    def of(
        cls, X: ArrayLike, y: ArrayLike, *, method: Literal["svd", "gram"] = "svd", rounding: float = ROUNDING
    ) -> Regression:
        """Decompose X (n, d) with targets y (n,).

        `method`: "svd", a thin singular value decomposition; "gram", the eigenvectors of the smaller one of XX'/n and
        X'X/n, several times faster, in which eigenvalues below about eps s_max are lost. ValueError on an empty
        sample, on shapes that do not fit, on NaN and inf.
        """
        inputs, targets = checked_sample("Regression.of", X, y)
        if number("Regression.of", "rounding", rounding) < 0:
            bad_value("Regression.of", "rounding", rounding, "a number of at least 0")
        size, _ = checked_size("Regression.of", "X", inputs), checked_size("Regression.of", "y", targets)
        if method not in ("svd", "gram"):
            bad_value("Regression.of", "method", repr(method), "'svd' or 'gram'")
        n, d = inputs.shape
        unit = inputs / size if size > 0 else inputs  # X'X of entries near 1e-200 would be zero
        left, s, basis = _svd(unit) if method == "svd" else _gram(unit)
        if np.any(s * size**2 < np.finfo(np.float64).tiny):
            bad_value("Regression.of", "X", f"of size {size:.3g}, and ill-conditioned", "a larger one", "Rescale it.")
        g = left.T @ targets / np.sqrt(n)
        rest = targets - left @ (left.T @ targets)
        left_out = len(s) < n and _norm(rest) > rounding * _norm(targets)
        residual = float(rest @ rest) / n if left_out else 0.0
        return cls(s * size**2, g, residual, basis, n, d, rounding=rounding)

    @property
    def spectrum(self) -> Spectrum:
        """The quadratic w'Hw/2 whose loss after t steps is the excess train loss: c_j = g_j^2/s_j."""
        if len(self.eigenvalues) == 0:
            return Spectrum(np.zeros(1), np.zeros(1))
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            weights = self.coefficients**2 / self.eigenvalues
            logs = 2 * np.log(np.abs(self.coefficients)) - np.log(self.eigenvalues)
            ordinary = (weights > _SMALLEST) & (weights < 1 / _SMALLEST)
            return Spectrum(self.eigenvalues, weights, np.where(ordinary, np.log(weights), logs))

    @property
    def train_floor(self) -> float:
        """The smallest train loss, that of the least-squares solution: T_inf."""
        return self.residual / 2

    @property
    def solution(self) -> Floats:
        """The least-squares solution of smallest norm (d,), where gradient descent ends."""
        return np.asarray(self.basis @ self.coordinates, np.float64)

    @property
    def coordinates(self) -> Floats:
        """The least-squares solution in the coordinates of the basis (r,): g_j/sqrt(s_j)."""
        return representable("Regression.coordinates", self.coefficients / np.sqrt(self.eigenvalues))


def weights(regression: Regression, eta: ArrayLike, steps: ArrayLike) -> Floats:
    """Return w_t = V diag(h_t(s) sqrt s) g, shape (..., d); OverflowError where it leaves the range of float64."""
    check_kind("weights", "regression", regression, Regression)
    fraction, move = _fitted(regression, eta, steps, "weights")
    with np.errstate(over="ignore", invalid="ignore"):
        w = fraction * regression.coordinates @ regression.basis.T * np.exp(move.scale)[..., None]
    if not np.all(np.isfinite(w)):
        raise OverflowError(f"weights: w_t is of size exp({move.scale.max():.6g}); use a smaller eta or fewer steps.")
    return np.asarray(w, np.float64)


def excess_train_loss(regression: Regression, eta: ArrayLike, steps: ArrayLike) -> SignedLog:
    """Return T - T_inf = (1/2) sum_j a_j^{2t} g_j^2."""
    check_kind("excess_train_loss", "regression", regression, Regression)
    _check_horizon(regression, steps, "excess_train_loss")
    spectrum, size = _unit_excess(regression)
    return last_iterate.objective(spectrum, eta, steps, measure="squared_norm") * (size**2 / 2)


def train_loss(regression: Regression, eta: ArrayLike, steps: ArrayLike) -> SignedLog:
    """Return T = ||Xw_t - y||^2/(2n)."""
    check_kind("train_loss", "regression", regression, Regression)
    return excess_train_loss(regression, eta, steps) + regression.train_floor


def d_train_loss(regression: Regression, eta: ArrayLike, steps: ArrayLike) -> SignedLog:
    """Return dT/deta = -t sum_j a_j^{2t-1} s_j g_j^2."""
    check_kind("d_train_loss", "regression", regression, Regression)
    _check_horizon(regression, steps, "d_train_loss")
    spectrum, size = _unit_excess(regression)
    return last_iterate.d_objective(spectrum, eta, steps, measure="squared_norm") * (size**2 / 2)


def validation_loss(
    regression: Regression, X_val: ArrayLike, y_val: ArrayLike, eta: ArrayLike, steps: ArrayLike
) -> SignedLog:
    """Return V = ||X_val w_t - y_val||^2/(2m) on other samples X_val (m, d), y_val (m,)."""
    check_kind("validation_loss", "regression", regression, Regression)
    error, seen, move = _validation_error(regression, X_val, y_val, eta, steps, "validation_loss")
    return sum_of_squares(error, move.scale) * (0.5 / len(seen))


def d_validation_loss(
    regression: Regression, X_val: ArrayLike, y_val: ArrayLike, eta: ArrayLike, steps: ArrayLike
) -> SignedLog:
    """Return dV/deta = (X_val w_t - y_val)'X_val (dw_t/deta)/m."""
    check_kind("d_validation_loss", "regression", regression, Regression)
    error, seen, move = _validation_error(regression, X_val, y_val, eta, steps, "d_validation_loss")
    size: Floats = np.max(np.abs(error), axis=-1, keepdims=True, initial=0.0)
    along = (error / np.where(size == 0, 1.0, size)) @ seen  # one number for each mode
    return move.pull(along, regression.eigenvalues) * size[..., 0] * (1 / len(seen))


def risk(regression: Regression, w_star: ArrayLike, eta: ArrayLike, steps: ArrayLike) -> SignedLog:
    """Return R = ||w_t - w*||^2, the risk for inputs x ~ N(0, I): E(x'w_t - x'w*)^2; w* (d,)."""
    check_kind("risk", "regression", regression, Regression)
    error, unseen, move = _parameter_error(regression, w_star, eta, steps, "risk")
    return sum_of_squares(error, move.scale) + sum_of_squares(unseen, 0.0)


def d_risk(regression: Regression, w_star: ArrayLike, eta: ArrayLike, steps: ArrayLike) -> SignedLog:
    """Return dR/deta = 2 (w_t - w*)'(dw_t/deta)."""
    check_kind("d_risk", "regression", regression, Regression)
    error, _, move = _parameter_error(regression, w_star, eta, steps, "d_risk")
    return move.pull(2 * error, regression.eigenvalues, regression.coordinates)


def log_rate(value: SignedLog, slope: SignedLog, steps: ArrayLike) -> tuple[Floats, Floats]:
    """Return the log objective (1/t) log F and its derivative F'/(t F), from F and F'.

    -inf and NaN where F = 0.
    """
    check_kind("log_rate", "value", value, SignedLog)
    check_kind("log_rate", "slope", slope, SignedLog)
    t = step_counts("log_rate", steps)
    return np.asarray(value.log / t, np.float64), (slope / value * (1 / t)).to_float(ieee=True)


def first_exit(regression: Regression, eta: ArrayLike, steps: int, radius: float) -> Floats:
    """Return the first k <= steps with ||w_k|| >= radius, in the shape of `eta`; inf where there is none.

    ||w_k||^2 = sum_j s_j h_k(s_j)^2 g_j^2. The paper ends a trajectory at radius 40 sigma.
    """
    check_kind("first_exit", "regression", regression, Regression)
    if np.ndim(radius) or (radius != np.inf and number("first_exit", "radius", radius) <= 0):
        bad_value("first_exit", "radius", radius, "a number above 0", "Truncation at 0 would end every run at once.")
    if step_counts("first_exit", steps).ndim:
        bad_value("first_exit", "steps", f"of shape {np.shape(steps)}", "one number", "Give the largest.")
    step_sizes = finite_floats("first_exit", "eta", eta)
    _check_horizon(regression, steps, "first_exit")
    # up to eta = 2/s_max, 0 <= s h_k <= 2, and so ||w_k|| <= 2 ||w_LS||
    far = sum_of_squares(regression.coordinates, 0.0).log + np.log(4) >= 2 * np.log(radius)
    may_leave = far | (step_sizes * np.max(regression.eigenvalues, initial=0.0) > 2) | (step_sizes < 0)
    flat, first, start = step_sizes.ravel(), np.full(step_sizes.size, np.inf), 1
    inside = np.flatnonzero(may_leave)
    while start <= steps and len(inside):
        length = max(1, _BLOCK // (len(inside) * max(1, len(regression.eigenvalues))))
        block = np.arange(start, min(start + length, steps + 1))[:, None]
        fraction, move = _fitted(regression, flat[inside], block, "first_exit")
        left = sum_of_squares(fraction * regression.coordinates, move.scale).log >= 2 * np.log(radius)
        first[inside] = np.min(np.where(left, block, np.inf), axis=0)
        inside, start = inside[np.isinf(first[inside])], start + length
    return first.reshape(step_sizes.shape)


def _fitted(regression: Regression, eta: ArrayLike, steps: ArrayLike, function: str) -> tuple[Floats, Filter]:
    """Return s h_t = 1 - a^t, the fraction of w_LS that is reached, in the units of the filter; and the filter.

    A mode that y does not excite would set the unit alone where it diverges, and leave nothing of the others.
    """
    _check_horizon(regression, steps, function)
    excited = np.where(regression.coefficients == 0, 0.0, regression.eigenvalues)
    move = spectral_filter(excited, eta, steps, function)
    return move.value * excited, move


def _unit_excess(regression: Regression) -> tuple[Spectrum, float]:
    """Return the quadratic whose ||w_t||^2 is sum_j a_j^{2t} (g_j/size)^2, and size = max |g_j|."""
    size = float(np.max(np.abs(regression.coefficients), initial=0.0)) or 1.0
    if len(regression.eigenvalues) == 0:
        return Spectrum(np.zeros(1), np.zeros(1)), size
    return Spectrum.diagonal(regression.eigenvalues, regression.coefficients / size), size


def _check_horizon(regression: Regression, steps: ArrayLike, function: str) -> None:
    if np.max(step_counts(function, steps), initial=1) > regression.horizon:
        expected = f"at most {regression.horizon:.0f}, the steps that this Krylov space was made for"
        bad_value(function, "steps", np.max(steps), expected, "Give krylov_regressions more steps.")


def _svd(X: Floats) -> tuple[Floats, Floats, Floats]:
    """Return U (n, r), s (r,) and V (d, r)."""
    left, singular, right = np.linalg.svd(X, full_matrices=False)
    kept = singular > singular[0] * max(X.shape) * np.finfo(np.float64).eps
    return left[:, kept], singular[kept] ** 2 / len(X), right[kept].T


def _gram(X: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the same as `_svd`, by the eigenvectors of the smaller Gram matrix."""
    n, d = X.shape
    s, vectors = np.linalg.eigh((X @ X.T if n <= d else X.T @ X) / n)
    s, vectors = s[::-1], vectors[:, ::-1]
    kept = s > s[0] * max(n, d) * np.finfo(np.float64).eps
    s, vectors = s[kept], vectors[:, kept]
    other = (X.T @ vectors if n <= d else X @ vectors) / np.sqrt(n * s)
    return (vectors, s, other) if n <= d else (other, s, vectors)


def _validation_error(
    regression: Regression, X_val: ArrayLike, y_val: ArrayLike, eta: ArrayLike, steps: ArrayLike, function: str
) -> tuple[Floats, Floats, Filter]:
    """Return X_val w_t - y_val (..., m) in the units of the filter, X_val V diag(V'w_LS) (m, r), and the filter."""
    inputs, targets = checked_sample(function, X_val, y_val, ("X_val", "y_val"))
    if inputs.shape[1] != regression.d:
        bad_value(function, "X_val", f"of shape {inputs.shape}", f"{regression.d} columns, as X has")
    mixed = inputs @ regression.basis
    with np.errstate(over="ignore", invalid="ignore"):
        seen = representable(function, mixed * regression.coordinates)
    level = np.abs(mixed) @ _coordinate_size(regression) + np.abs(targets)
    if np.all(np.abs(np.sum(seen, axis=1) - targets) <= regression.rounding * level):
        move = _left_over(regression, eta, steps, function)
        return -move.value @ seen.T, seen, move
    fraction, move = _fitted(regression, eta, steps, function)
    return fraction @ seen.T - move.unit[..., None] * targets, seen, move


def _parameter_error(
    regression: Regression, w_star: ArrayLike, eta: ArrayLike, steps: ArrayLike, function: str
) -> tuple[Floats, Floats, Filter]:
    """Return V'(w_t - w*) (..., r) in the units of the filter, w* - VV'w* (d,), and the filter."""
    target = checked_weights(function, "w_star", w_star, regression.d)
    within = regression.basis.T @ target
    unseen = target - regression.basis @ within if len(within) < regression.d else np.zeros(1)
    size = _norm(target)
    if _norm(unseen) <= regression.rounding * size:
        unseen = np.zeros(1)
    level = _coordinate_size(regression) + size
    if np.all(np.abs(regression.coordinates - within) <= regression.rounding * level):
        move = _left_over(regression, eta, steps, function)
        return -move.value * regression.coordinates, unseen, move
    fraction, move = _fitted(regression, eta, steps, function)
    return fraction * regression.coordinates - move.unit[..., None] * within, unseen, move


def _coordinate_size(regression: Regression) -> Floats:
    """Return ||g||/sqrt(s_j) (r,): relative to it the coordinates of the solution are rounded."""
    return np.asarray(_norm(regression.coefficients) / np.sqrt(regression.eigenvalues), np.float64)


def _norm(x: Floats) -> float:
    """Return ||x||, in range wherever its entries are."""
    size = float(np.max(np.abs(x), initial=0.0))
    return size * float(np.linalg.norm(x / size)) if size else 0.0


def _left_over(regression: Regression, eta: ArrayLike, steps: ArrayLike, function: str) -> Filter:
    """Return a_j^t in units of the largest one of an excited mode."""
    _check_horizon(regression, steps, function)
    return left_over(regression.eigenvalues, eta, steps, regression.coefficients != 0, function)
