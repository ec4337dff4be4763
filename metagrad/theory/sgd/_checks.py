"""Validation shared by the theories of SGD: magnitudes that no product of theirs can take out of float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_type, bad_value, finite_floats

LARGEST = 1e60


def within_range(function: str, name: str, value: ArrayLike) -> Floats:
    """Return the value as float64 if its largest magnitude is 0 or from 10^-60 to 10^60, else raise."""
    floats = finite_floats(function, name, value)
    largest = float(np.max(np.abs(floats), initial=0.0))
    if largest and not 1 / LARGEST <= largest <= LARGEST:
        expected = "a largest magnitude of 0, or from 1e-60 to 1e60"
        bad_value(function, name, f"{largest:.3g} at its largest", expected, "Rescale the data.")
    return floats


def checked_eta(function: str, eta: ArrayLike, scale: float) -> Floats:
    """Return eta as float64 if |eta| scale is 0 or from 10^-60 to 10^60, else raise."""
    etas = finite_floats(function, "eta", eta)
    with np.errstate(over="ignore"):
        reach = np.abs(etas) * scale
    outside = (reach > LARGEST) | ((reach < 1 / LARGEST) & (etas != 0) & (scale > 0))
    if np.any(outside):
        expected = f"0, or {1 / LARGEST / scale:.3g} to {LARGEST / scale:.3g} in magnitude"
        bad_value(function, "eta", f"{etas[outside].flat[0]:.6g}", expected)
    return etas


def check_batch_size(function: str, batch_size: int) -> None:
    """Raise unless the batch size is an integer of at least 1."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
        bad_type(function, "batch_size", f"a {type(batch_size).__name__}", "an integer")
    if batch_size < 1:
        bad_value(function, "batch_size", batch_size, "an integer of at least 1")


def checked_scalar(function: str, name: str, value: float) -> float:
    """Return a number that is not negative and `within_range`, or raise."""
    number = within_range(function, name, value)
    if number.ndim or number < 0:
        bad_value(function, name, value, "one number that is not negative")
    return float(number)
