"""The phase diagram of the two ways to tune, from theory: the risks on a grid of (n/d, sigma), and their boundary."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import phase_recipe
from benchmarks.harness import Contender, interleave, once
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "phase diagram of 50 x 50 points from theory at t = 40, in seconds, and against quadrature point by point"
STEPS, POINTS, ALLOWED = 40, 50, 30.0
_REPETITIONS = 3  # of seconds each


def run(settings: Settings) -> Result:
    """Measure 50 x 50 points, n/d and sigma from 0.1 to 10."""
    return Result(compare(np.geomspace(0.1, 10, POINTS), np.geomspace(0.1, 10, POINTS), settings))


def compare(ratios: NDArray[Any], sigmas: NDArray[Any], settings: Settings) -> list[Row]:
    """Return the risks against the recipe and the time allowed, and the boundary against the time allowed."""
    contenders = [
        Contender("theory.tuned_limit", lambda: ours(ratios, sigmas)),
        Contender("quadrature, grid and Brent's method", lambda: phase_recipe.risks(STEPS, ratios, sigmas)),
    ]
    risks, recipe = interleave(contenders, min(_REPETITIONS, settings.repetitions))
    boundary = once(Contender("boundary", lambda: _boundary(sigmas)))
    far = relative_difference(contenders[0].call(), contenders[1].call())
    what = f"both risks, {len(ratios)} n/d x {len(sigmas)} sigma, t = {STEPS}"
    curve = f"boundary in n/d at {len(sigmas)} sigma to 1e-12, t = {STEPS}"
    name = contenders[0].name
    return [
        Row(what, name, risks, contenders[1].name, recipe, far, 1e-7),
        Row(what, name, risks, "allowed", ALLOWED, target=1.0),
        Row(curve, name, boundary, "allowed", ALLOWED - risks.median, target=1.0),
    ]


def ours(ratios: NDArray[Any], sigmas: NDArray[Any]) -> NDArray[Any]:
    """Return what `phase_recipe.risks` returns, by theory."""
    from metagrad.theory import tuned_limit

    at: dict[str, Any] = {"ratio": ratios[:, None], "sigma": sigmas}
    return np.array([tuned_limit.risk_tbt(STEPS, **at), tuned_limit.risk_tbv(STEPS, **at)])


def _boundary(sigmas: NDArray[Any]) -> list[NDArray[Any]]:
    from metagrad.theory import tuned_limit

    return tuned_limit.boundary(STEPS, sigma=sigmas)
