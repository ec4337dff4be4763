"""The exact second-moment recursion of SGD: expected train loss along the trajectory and its eta-derivative.

Theory steps in coordinates and with exponents that survive any step size; the peers step the moments of w plainly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import memory, peers, sgd_recipe
from benchmarks.harness import Contender, interleave
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings
from benchmarks.sgd_recipe import Sgd

SUMMARY = "exact moments of SGD and their derivative in eta, d = 50, T = 1000, against NumPy and a JAX scan"
PEERS = {"jax": "benchmarks.peers.jax_sgd"}
ALLOWED = 10.0
_REPETITIONS = 5  # of a second each
_FLOOR = "floor: 8 n d^2 flops a step, 4 Mflop, for value and tangent: 72 of some 130 microseconds at the rate of dgemm"
_KEPT = "ours keeps the factors of X, its rotated rows, their transpose and two products a row: 6 n d numbers, 0.46 MiB"


def run(settings: Settings) -> Result:
    """Compare at d = 50, n = 200 and T = 1000."""
    found, missing = peers.load_all(["jax"], PEERS)
    problem = case(settings.seed)
    mine, *theirs = calls(problem, found)
    rows = compare(problem, found, settings)
    of_memory = memory.rows("second_moment", _what(problem), mine, theirs, settings.seed)
    return Result([*rows, *(replace(row, note=_KEPT) for row in of_memory)], missing=missing)


def case(seed: int) -> Sgd:
    """Return noisy least squares with 200 samples in 50 dimensions."""
    return sgd_recipe.random_sgd(n=200, d=50, steps=1000, seed=seed)


def calls(problem: Sgd, found: dict[str, ModuleType]) -> dict[str, Callable[[], NDArray[Any]]]:
    """Return our call, then the peers', by name."""
    by_name: dict[str, Callable[[], NDArray[Any]]] = {
        "theory.sgd": lambda: ours(problem),
        "plain NumPy recursion": lambda: sgd_recipe.losses(problem),
    }
    if "jax" in found:
        by_name["JAX, jit, scan, jvp"] = found["jax"].losses(problem)
    return by_name


def compare(problem: Sgd, found: dict[str, ModuleType], settings: Settings) -> list[Row]:
    """Return a row for each peer, and one for the time allowed."""
    contenders = [Contender(name, call) for name, call in calls(problem, found).items()]
    costs = interleave(contenders, min(_REPETITIONS, settings.repetitions))
    values = [c.call() for c in contenders]
    name = contenders[0].name
    rows = [
        Row(_what(problem), name, costs[0], peer.name, cost, relative_difference(values[0], value), note=_FLOOR)
        for peer, cost, value in zip(contenders[1:], costs[1:], values[1:], strict=True)
    ]
    return [*rows, Row(_what(problem), name, costs[0], "allowed", ALLOWED, target=1.0)]


def _what(problem: Sgd) -> str:
    n, d = problem.X.shape
    return f"expected train loss and slope after 0 to {problem.steps} steps, d = {d}, n = {n}, b = {problem.batch}"


def ours(problem: Sgd) -> NDArray[Any]:
    """Return the expected train loss and its eta-derivative by theory, (2, T + 1)."""
    from metagrad.theory import sgd

    given = sgd.SgdProblem(problem.X, problem.y, problem.w0, batch_size=problem.batch)
    ((value, slope),) = sgd.values_and_slopes(given, [sgd.train_measure(given)], problem.eta, problem.steps)
    return np.stack([value.to_float(), slope.to_float()])
