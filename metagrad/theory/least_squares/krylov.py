"""Least squares without a decomposition of X: t steps of Golub and Kahan's, or Lanczos', hold t of gradient descent.

From w_0 = 0, w_k lies in the Krylov space span{b, Hb, ..., H^{k-1} b} of H = X'X/n, b = X'y/n, at every step size. So
with an orthonormal basis V of that of dimension t, V'HV = Q diag(theta) Q' and V'b = ||b|| e_1,

    w_k = VQ diag(h_k(theta) sqrt theta) g,   g = diag(theta)^{-1/2} Q'V'b     for all k <= t, exactly:

a `Regression` with t Ritz values in the place of eigenvalues, and all functions of `least_squares` apply to it. The
train loss in particular is a Gauss quadrature. It costs 2t products with X, however large n and d are. Source: Lanczos
1950, Golub and Kahan 1965, and Golub and Meurant for the quadrature; checked by tests against the full decomposition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.least_squares._krylov_spaces import Space, bidiagonal, tridiagonal
from metagrad.theory.least_squares.checks import checked_sample, checked_size
from metagrad.theory.least_squares.regression import Regression
from metagrad.theory.numbers.checks import Floats, bad_value, step_counts

Method = Literal["products", "gram"]


def krylov_regressions(
    X: ArrayLike, y: ArrayLike, steps: int, *, train: ArrayLike | None = None, method: Method = "products"
) -> list[Regression]:
    """Return, for each training set, the sample as gradient descent sees it during its first `steps` steps.

    X (n, d), y (n,); `train` (k, n) of bool: the rows of each of k training sets, all rows in one set by default.
    The sets share the work. `method`: "products" with X, or "gram", through X'X, which pays from about n = 3d on, and
    in which eigenvalues below about eps s_max are lost. The result refuses longer horizons (`horizon`), unless the
    Krylov space was exhausted before: then it holds at any horizon. A set of no more rows, or X of no more columns,
    than `steps` is decomposed in full. ValueError on what `Regression.of` refuses, and on a set without rows.

    >>> reg, = krylov_regressions([[1.0, 0.0], [0.0, 2.0]], [1.0, 1.0], 2)
    >>> reg.eigenvalues.round(12), reg.horizon
    (array([2. , 0.5]), inf)
    """
    inputs, targets = checked_sample("krylov_regressions", X, y)
    if step_counts("krylov_regressions", steps).ndim:
        bad_value("krylov_regressions", "steps", f"of shape {np.shape(steps)}", "one number", "Give the largest.")
    if method not in ("products", "gram"):
        bad_value("krylov_regressions", "method", repr(method), "'products' or 'gram'")
    rows = _training_sets(train, len(inputs))
    small = np.minimum(np.count_nonzero(rows, axis=1), inputs.shape[1]) <= steps
    found: list[Regression | None] = [None] * len(rows)
    for k in np.flatnonzero(small):
        how: Literal["svd", "gram"] = "svd" if method == "products" else "gram"
        found[k] = Regression.of(inputs[rows[k]], targets[rows[k]], method=how)
    large = np.flatnonzero(~small)
    for k, each in zip(large, _projected(inputs, targets, rows[large], int(steps), method), strict=True):
        found[k] = each
    return [each for each in found if each is not None]


def _projected(X: Floats, y: Floats, train: NDArray[np.bool_], steps: int, method: Method) -> list[Regression]:
    """Return the sample as seen from the Krylov space of each training set."""
    (unit, size), (aims, height) = (_moderate(name, x) for name, x in (("X", X), ("y", y)))
    if not len(train):
        return []
    space = (bidiagonal if method == "products" else tridiagonal)(unit, train, (aims * train) @ unit, steps)
    found = (_regression(space, k, unit, aims, rows) for k, rows in enumerate(train))
    return [_rescaled(each, size, height) for each in found]


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


def _regression(space: Space, k: int, X: Floats, y: Floats, rows: NDArray[np.bool_]) -> Regression:
    """Return the Ritz values and vectors of training set k, as a `Regression`."""
    n, d, steps = int(np.count_nonzero(rows)), X.shape[1], space.basis.shape[1]
    singular, Q = space.singular(k, max(n, d) * float(np.finfo(np.float64).eps))
    basis = (Q.T @ space.basis[k, : len(Q)]).T
    first = Q[0] if len(Q) else np.zeros(0)
    solution = first * space.start[k] / singular**2  # X'X w = X'y in the basis
    rest = (y - X @ (basis @ solution))[rows]
    return Regression(
        eigenvalues=singular**2 / n,
        coefficients=solution * singular / np.sqrt(n),
        residual=float(rest @ rest) / n if len(singular) < n else 0.0,
        basis=basis,
        n=n,
        d=d,
        horizon=np.inf if len(Q) < steps else steps,
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
