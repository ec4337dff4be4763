"""What the checks of a sample (X, y) have in common."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, finite_floats
from metagrad.theory.numbers.modes import two_product

_SMALLEST, _LARGEST = 1e-150, 1e145
"""Sizes of X and y whose squares, and sums of them, are numbers."""


def checked_sample(
    function: str, X: ArrayLike, y: ArrayLike, names: tuple[str, str] = ("X", "y")
) -> tuple[Floats, Floats]:
    """Return X (n, d) and y (n,) as float64; ValueError on an empty sample, shapes that differ, NaN or inf."""
    inputs, targets = (finite_floats(function, name, x, copy=False) for name, x in zip(names, (X, y), strict=True))
    if inputs.ndim != 2:
        bad_value(function, names[0], f"of shape {inputs.shape}", "shape (n, d)", "One row a sample.")
    if inputs.shape[0] == 0 or inputs.shape[1] == 0:
        bad_value(function, names[0], f"of shape {inputs.shape}, empty", "n >= 1 samples of d >= 1 inputs")
    if targets.shape != inputs.shape[:1]:
        bad_value(function, names[1], f"of shape {targets.shape}", f"shape {inputs.shape[:1]}, a target a row of X")
    return inputs, targets


def checked_size(function: str, name: str, array: Floats) -> float:
    """Return the largest magnitude; ValueError unless it is 0 or its square is well within the range of float64."""
    size = float(max(array.max(), -array.min()))
    if size != 0 and not _SMALLEST <= size <= _LARGEST:
        came, expected = f"of size {size:.3g}", f"a size of {_SMALLEST:.0e} to {_LARGEST:.0e}, or 0"
        bad_value(function, name, came, expected, "Divide it by a constant: X by c makes eta c^2 of it, y by c w_t/c.")
    return size


def fits_exactly(X: ArrayLike, y: ArrayLike, w: ArrayLike) -> bool:
    """Tell whether Xw = y holds in exact arithmetic, for X (n, d), y (n,) and w (d,) as they stand.

    >>> fits_exactly([[0.5, 2.0]], [3.5], [3.0, 1.0]), fits_exactly([[0.1, 0.2]], [0.3], [1.0, 1.0])
    (True, False)
    """
    inputs, targets = checked_sample("fits_exactly", X, y)
    weights = checked_weights("fits_exactly", "w", w, inputs.shape[1])
    products, errors = two_product(inputs, weights)
    terms = np.concatenate([products, errors, -targets[:, None]], axis=1)
    return bool(np.isfinite(terms).all()) and all(math.fsum(row) == 0 for row in terms.tolist())


def representable(function: str, x: Floats) -> Floats:
    """Return x, a product of sizes of X, y and others; OverflowError where it leaves the range of float64."""
    size = np.max(np.abs(x), initial=0.0)
    if not (size == 0 or 1e-290 < size < 1e290):
        raise OverflowError(f"{function}: what X, y and X_val multiply to is of size {size:.3g}; rescale them.")
    return x


def checked_weights(function: str, name: str, w: ArrayLike, d: int) -> Floats:
    """Return w (d,) as float64; ValueError on another shape, NaN or inf."""
    weights = finite_floats(function, name, w)
    if weights.shape != (d,):
        bad_value(function, name, f"of shape {weights.shape}", f"shape ({d},), as X has {d} columns")
    return weights


def checked_level(function: str, name: str, value: ArrayLike) -> Floats:
    """Return a noise level or a signal strength as float64; ValueError below 0, and beyond 1e-75 to 1e75 but for 0."""
    level = finite_floats(function, name, value)
    if np.any(level < 0):
        bad_value(function, name, f"{level.min():.6g}", "a number of at least 0")
    return _moderate(function, name, level, level[level > 0])


def checked_ratio(function: str, value: ArrayLike) -> Floats:
    """Return gamma = d/n as float64; ValueError unless it is above 0, and from 1e-75 to 1e75."""
    ratio = finite_floats(function, "gamma", value)
    if np.any(ratio <= 0):
        bad_value(function, "gamma", f"{ratio.min():.6g}", "d/n > 0")
    return _moderate(function, "gamma", ratio, ratio)


def _moderate(function: str, name: str, array: Floats, positive: Floats) -> Floats:
    """Return the array, if products and quotients of four such numbers stay in the range of float64."""
    for x in (positive.min(initial=1.0), positive.max(initial=1.0)):
        if not 1e-75 <= x <= 1e75:
            bad_value(function, name, f"{x:.6g}", "a number from 1e-75 to 1e75")
    return array
