"""Validation shared by the theory of schedules."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares.checks import checked_level, checked_ratio
from metagrad.theory.numbers.checks import Floats, bad_value, check_together, count, finite_floats

MOST_STEPS = 2**20


def checked_steps(function: str, steps: int, largest: float = MOST_STEPS, remedy: str = "") -> int:
    """Return a number of steps as an int; TypeError unless it is an integer, ValueError unless 1 to `largest`."""
    found = count(function, "steps", steps)
    if found > largest:
        bad_value(function, "steps", found, f"at most {largest:.0f} steps", remedy)
    return found


def checked_schedule(function: str, schedule: ArrayLike, largest: float = MOST_STEPS, remedy: str = "") -> Floats:
    """Return step sizes (..., T) as float64, 1 <= T <= `largest`; ValueError otherwise."""
    etas = finite_floats(function, "schedule", schedule)
    if etas.ndim == 0 or etas.shape[-1] == 0:
        bad_value(function, "schedule", f"of shape {etas.shape}", "shape (..., T) with T >= 1")
    if etas.shape[-1] > largest:
        bad_value(function, "schedule", f"of {etas.shape[-1]} steps", f"at most {largest:.0f}", remedy)
    return etas


def one_schedule(function: str, schedule: ArrayLike) -> Floats:
    """Return one schedule (T,) of positive step sizes; ValueError otherwise."""
    etas = checked_schedule(function, schedule)
    if etas.ndim != 1:
        bad_value(function, "schedule", f"of shape {etas.shape}", "shape (T,), one schedule")
    if np.any(etas <= 0):
        bad_value(function, "schedule", f"{etas.min():.6g} at its smallest", "positive step sizes")
    return etas


def interval(function: str, smallest: float, largest: float) -> tuple[float, float]:
    """Return the ends 0 < m <= M of a spectrum; ValueError otherwise, and beyond 1e-100 to 1e100."""
    ends = []
    for name, value in (("smallest", smallest), ("largest", largest)):
        end = finite_floats(function, name, value)
        if end.ndim:
            bad_value(function, name, f"of shape {end.shape}", "one number")
        if not 1e-100 <= end <= 1e100:
            bad_value(function, name, f"{float(end):.6g}", "an eigenvalue from 1e-100 to 1e100", "Divide all by one.")
        ends.append(float(end))
    if ends[0] > ends[1]:
        bad_value(function, "largest", f"{ends[1]:.6g}", f"at least the smallest eigenvalue, {ends[0]:.6g}")
    return ends[0], ends[1]


def limit_levels(function: str, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return gamma, sigma and signal as float64 arrays that broadcast; ValueError out of their ranges."""
    ratio, noise = checked_ratio(function, gamma), checked_level(function, "sigma", sigma)
    size = positive_level(function, "signal", signal)
    check_together(function, gamma=ratio.shape, sigma=noise.shape, signal=size.shape)
    return ratio, noise, size


def positive_level(function: str, name: str, value: ArrayLike) -> Floats:
    """Return a level as float64; ValueError unless it is from 1e-75 to 1e75."""
    level = checked_level(function, name, value)
    if np.any(level <= 0):
        bad_value(function, name, f"{level.min():.6g}", "a positive number", "Without a signal w = 0 is best.")
    return level
