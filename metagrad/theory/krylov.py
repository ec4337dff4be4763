"""Least squares without a decomposition: t steps of Lanczos hold every iterate of t steps of gradient descent.

From w_0 = 0, w_k lies in the Krylov space span{b, Hb, ..., H^{k-1} b} of H = X'X/n, b = X'y/n, at every step size. So
with an orthonormal basis V of that of dimension t, T = V'HV = S diag(theta) S' (tridiagonal) and V'b = ||b|| e_1,

    w_k = VS diag(h_k(theta) sqrt theta) g,   g = diag(theta)^{-1/2} S'V'b     for all k <= t, exactly:

a `Regression` with t Ritz values in the place of eigenvalues, and all functions of `least_squares` apply to it. The
train loss in particular is a Gauss quadrature. It costs 2t products with X, however large n and d are; the basis is
reorthogonalised in full, without which Lanczos vectors do not stay orthogonal. Source: Lanczos 1950, and Golub and
Meurant for the quadrature; checked by tests against the full decomposition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory._checks import Floats, bad_value, step_counts
from metagrad.theory._regression import checked_sample, checked_size
from metagrad.theory.least_squares import Regression

_EPS = float(np.finfo(np.float64).eps)


Method = Literal["products", "gram"]


def krylov_regressions(
    X: ArrayLike, y: ArrayLike, steps: int, *, train: ArrayLike | None = None, method: Method = "products"
) -> list[Regression]:
    """Return, for each training set, the sample as gradient descent sees it during its first `steps` steps.

    X (n, d), y (n,); `train` (k, n) of bool: the rows of each of k training sets, all rows in one set by default.
    The sets share the work. `method`: "products" with X, or "gram", through X'X, which pays from about n = 3d on, and
    in which eigenvalues below about eps s_max are lost. The result refuses longer horizons (`horizon`), unless the
    Krylov space was exhausted before: then it holds at any horizon. ValueError on what `Regression.of` refuses, and
    on a training set without rows.

    >>> reg, = krylov_regressions([[1.0, 0.0], [0.0, 2.0]], [1.0, 1.0], 2)
    >>> reg.eigenvalues.round(12), reg.horizon
    (array([0.5, 2. ]), inf)
    """
    inputs, targets = checked_sample("krylov_regressions", X, y)
    if step_counts("krylov_regressions", steps).ndim:
        bad_value("krylov_regressions", "steps", f"of shape {np.shape(steps)}", "one number", "Give the largest.")
    if method not in ("products", "gram"):
        bad_value("krylov_regressions", "method", repr(method), "'products' or 'gram'")
    rows = _training_sets(train, len(inputs))
    (unit, size), (aims, height) = (_moderate(name, x) for name, x in (("X", inputs), ("y", targets)))
    hessian = _products(unit, rows) if method == "products" else _grams(unit, rows)
    space = _lanczos(hessian, (aims * rows) @ unit, min(steps, *inputs.shape), max(inputs.shape))
    found = [_regression(space, k, unit, aims, row, int(steps)) for k, row in enumerate(rows)]
    return [_rescaled(each, size, height) for each in found]


@dataclass(frozen=True)
class _Space:
    """Bases V (k, t, d) of the Krylov spaces, V'X'XV tridiagonal: its diagonals (t, k); zeros once exhausted."""

    basis: Floats
    diagonal: Floats
    off_diagonal: Floats
    steps: int


def _moderate(name: str, x: Floats) -> tuple[Floats, float]:
    """Return x/size and size, which is 1 unless x is so large or small that its fourth power leaves the floats."""
    size = checked_size("krylov_regressions", name, x)
    return (x, 1.0) if size == 0 or 1e-50 < size < 1e50 else (x / size, size)


def _rescaled(regression: Regression, size: float, height: float) -> Regression:
    """Return the sample (size X, height y)."""
    return replace(
        regression,
        eigenvalues=regression.eigenvalues * size**2,
        coefficients=regression.coefficients * height,
        residual=regression.residual * height**2,
    )


def _products(X: Floats, train: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """Return v (k, d) -> X'Xv over the rows of each training set."""
    weight = train.astype(np.float64)
    return lambda v: ((v @ X.T) * weight) @ X


def _grams(X: Floats, train: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """Return the same through the matrices X'X: one product for the rows that are in the same training sets."""
    patterns, which = np.unique(train, axis=1, return_inverse=True)
    H = np.zeros((len(train), X.shape[1], X.shape[1]))
    for j, pattern in enumerate(patterns.T):
        part = X[which.ravel() == j]
        H[pattern] += part.T @ part
    return lambda v: (v[:, None] @ H)[:, 0]


def _lanczos(hessian: Callable[[Floats], Floats], start: Floats, dimension: int, width: int) -> _Space:
    """Run Lanczos from `start` (k, d), orthogonal against all earlier vectors."""
    sets, d = start.shape
    basis = np.zeros((sets, dimension, d))
    diagonal, off_diagonal = np.zeros((dimension, sets)), np.zeros((dimension, sets))
    z, least = start, np.zeros(sets)
    for j in range(dimension):
        norm = np.sqrt(np.einsum("ij,ij->i", z, z))
        off_diagonal[j] = norm = np.where(norm <= least, 0.0, norm)
        v = np.divide(z, np.where(norm == 0, np.inf, norm)[:, None], out=basis[:, j])
        z = hessian(v)
        diagonal[j] = np.einsum("ij,ij->i", v, z)
        least = np.maximum(least, width * _EPS * diagonal[j])
        if j + 1 < dimension:
            # the recurrence first: what is left to the projection is rounding, which it cannot amplify
            z = z - diagonal[j][:, None] * v
            if j:
                z -= norm[:, None] * basis[:, j - 1]
            z = _orthogonal(z, basis[:, : j + 1])
    return _Space(basis, diagonal, off_diagonal, dimension)


def _orthogonal(z: Floats, past: Floats) -> Floats:
    """Return z (k, d) without its part in the span of `past` (k, j, d); again where most of z was in it."""
    for _ in range(2):
        before = np.einsum("ij,ij->i", z, z)
        z = z - ((past @ z[:, :, None]).transpose(0, 2, 1) @ past)[:, 0]
        if np.all(np.einsum("ij,ij->i", z, z) > 0.01 * before):
            break
    return z


def _regression(space: _Space, k: int, X: Floats, y: Floats, rows: NDArray[np.bool_], steps: int) -> Regression:
    """Return the Ritz values and vectors of training set k, as a `Regression`."""
    n, d = int(np.count_nonzero(rows)), X.shape[1]
    found = int(np.count_nonzero(space.off_diagonal[:, k]))
    T = np.diag(space.diagonal[:found, k])
    T[range(1, found), range(found - 1)] = space.off_diagonal[1:found, k]
    theta, S = np.linalg.eigh(T / n)  # reads the lower triangle
    kept = theta > max(n, d) * _EPS * np.max(theta, initial=0.0)
    theta, S = theta[kept], S[:, kept]
    first = S[0] if found else np.zeros(0)
    g = first * space.off_diagonal[0, k] / (n * np.sqrt(theta))
    basis = (S.T @ space.basis[k, :found]).T
    rest = (y - X @ (basis @ (g / np.sqrt(theta))))[rows]
    return Regression(
        eigenvalues=theta,
        coefficients=g,
        residual=float(rest @ rest) / n if len(theta) < n else 0.0,
        basis=basis,
        n=n,
        d=d,
        horizon=np.inf if found < space.steps or found >= min(n, d) else steps,
        whole=False,
    )


def _training_sets(train: ArrayLike | None, n: int) -> NDArray[np.bool_]:
    if train is None:
        return np.ones((1, n), bool)
    rows = np.asarray(train)
    if rows.dtype != np.bool_ or rows.ndim != 2 or rows.shape[1] != n:
        bad_value("krylov_regressions", "train", f"{rows.dtype} of shape {rows.shape}", f"bool of shape (k, {n})")
    if not np.all(rows.any(axis=1)):
        bad_value("krylov_regressions", "train", "without a row in some set", "at least one sample in each set")
    return rows
