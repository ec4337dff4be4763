"""The phase diagram of the two ways to tune, from theory: the risks on a grid of (n/d, sigma), and their boundary."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import memory, phase_recipe
from benchmarks.harness import Contender, interleave, once
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "phase diagram of 50 x 50 points from theory at t = 40, in seconds, and against quadrature point by point"
STEPS, ALLOWED = 40, 30.0
Points = tuple[NDArray[Any], NDArray[Any]]
PEERS: dict[str, str] = {}
_REPETITIONS = 3  # of seconds each


def run(settings: Settings) -> Result:
    """Measure 50 x 50 points, n/d and sigma from 0.1 to 10."""
    points = case(settings.seed)
    mine, *theirs = calls(points, {})
    rows = compare(points, settings)
    return Result([*rows, *memory.rows("phase_diagram", _what(points), mine, theirs, settings.seed)])


def case(seed: int) -> Points:
    """Return the values of n/d and of sigma."""
    return np.geomspace(0.1, 10, 50), np.geomspace(0.1, 10, 50)


def calls(points: Points, found: dict[str, ModuleType]) -> dict[str, Callable[[], NDArray[Any]]]:
    """Return our call and the recipe's, by name."""
    return {
        "theory.tuned_limit": lambda: ours(*points),
        "quadrature, grid and Brent's method": lambda: phase_recipe.risks(STEPS, *points),
    }


def compare(points: Points, settings: Settings) -> list[Row]:
    """Return the risks against the recipe and the time allowed, and the boundary against what is left of it."""
    contenders = [Contender(name, call) for name, call in calls(points, {}).items()]
    risks, recipe = interleave(contenders, min(_REPETITIONS, settings.repetitions))
    boundary = once(Contender("boundary", lambda: _boundary(points[1])))
    far = relative_difference(contenders[0].call(), contenders[1].call())
    curve = f"boundary in n/d at {len(points[1])} sigma to 1e-12, t = {STEPS}"
    name = contenders[0].name
    return [
        Row(_what(points), name, risks, contenders[1].name, recipe, far, 1e-7),
        Row(_what(points), name, risks, "allowed", ALLOWED, target=1.0),
        Row(curve, name, boundary, "allowed, less the risks", ALLOWED - risks.median, target=1.0),
    ]


def _what(points: Points) -> str:
    return f"both risks, {len(points[0])} n/d x {len(points[1])} sigma, t = {STEPS}"


def ours(ratios: NDArray[Any], sigmas: NDArray[Any]) -> NDArray[Any]:
    """Return what `phase_recipe.risks` returns, by theory."""
    from metagrad.theory.least_squares import tuned_limit

    at: dict[str, Any] = {"ratio": ratios[:, None], "sigma": sigmas}
    return np.array([tuned_limit.risk_tbt(STEPS, **at), tuned_limit.risk_tbv(STEPS, **at)])


def _boundary(sigmas: NDArray[Any]) -> list[NDArray[Any]]:
    from metagrad.theory.least_squares import tuned_limit

    return tuned_limit.boundary(STEPS, sigma=sigmas)
