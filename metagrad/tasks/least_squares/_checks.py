"""What least-squares data must be: the checks of `LeastSquares`, `random_least_squares` and `split_task`."""

from __future__ import annotations

import math
from typing import Any

from metagrad.errors import bad_type, bad_value
from metagrad.tasks import _checks as shared
from metagrad.xp import Array


def check_samples(where: str, names: tuple[str, str], X: Any, y: Any) -> None:
    """Raise unless X and y are float arrays without NaN and inf, of shapes that belong together."""
    for name, array in zip(names, (X, y), strict=True):
        shared.check_array(where, name, array)
    check_shapes(where, names, X, y)


def check_shapes(where: str, names: tuple[str, str], X: Array, y: Array) -> None:
    """Raise unless X is (n, d) or (B, n, d) with n, d >= 1 and y is (n,) or (B, n)."""
    if X.ndim not in (2, 3):
        remedy = "One sample a row." if X.ndim != 1 else "Use X[:, None] for one feature."
        bad_value(where, names[0], f"of shape {X.shape}", "shape (n, d) or (B, n, d)", remedy)
    if X.shape[-2] == 0:
        bad_value(where, names[0], f"of shape {X.shape}, without a sample (n = 0)", "n >= 1 rows")
    if X.shape[-1] == 0 or 0 in X.shape:
        bad_value(where, names[0], f"of shape {X.shape}", "at least one task and one feature, d >= 1")
    if y.ndim not in (1, 2) or y.shape[-1] != X.shape[-2]:
        expected = f"one target for each of the {X.shape[-2]} rows of {names[0]}, shape ({X.shape[-2]},) or (B, n)"
        bad_value(where, names[1], f"of shape {y.shape}", expected)


def check_pair(where: str, validation: Any) -> None:
    """Raise unless `validation` is a pair."""
    if not isinstance(validation, tuple) or len(validation) != 2:
        bad_type(where, "validation", f"a {type(validation).__name__}", "a pair (X_val, y_val)")


def check_validation(where: str, validation: tuple[Any, Any], d: int) -> None:
    """Raise unless the pair (X_val, y_val) is samples with the d features of X."""
    check_samples(where, ("X_val", "y_val"), *validation)
    if validation[0].shape[-1] != d:
        came = f"of shape {validation[0].shape}"
        bad_value(where, "X_val", came, f"{d} columns, as X has", "Use the same features for both.")


def check_noise(where: str, sigma: Any) -> None:
    """Raise unless sigma is a finite number, at least zero."""
    if isinstance(sigma, bool) or not isinstance(sigma, int | float):
        bad_type(where, "sigma", f"{sigma!r}, a {type(sigma).__name__}", "a number", "Use float(sigma).")
    if not 0 <= sigma < math.inf:
        bad_value(where, "sigma", sigma, "a finite standard deviation, at least 0")


def training_size(where: str, name: str, fraction: Any, n: int) -> int:
    """Return how many of n samples are trained on; raise where the training or the validation part would be empty."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        bad_type(where, name, f"{fraction!r}, a {type(fraction).__name__}", "a number in (0, 1)", "Half is 0.5.")
    if not 0 < fraction < 1:
        bad_value(where, name, fraction, "a share of the samples in (0, 1)", "Half is 0.5.")
    if n < 2:
        bad_value(where, "n", n, "at least 2 samples to split", "Give more samples, or train without a split.")
    size = round(fraction * n)
    if not 1 <= size < n:
        came = f"{fraction}, which leaves {size} of {n} samples for training"
        bad_value(where, name, came, f"both parts non-empty: {1 / n:.4g} <= share < 1", "Take a share nearer to 0.5.")
    return size
