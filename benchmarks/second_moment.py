"""The exact second-moment recursion of SGD: expected train loss along the trajectory and its eta-derivative.

Theory steps in coordinates and with exponents that survive any step size; the peers step the moments of w plainly.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers, sgd_recipe
from benchmarks.harness import Contender, interleave
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings
from benchmarks.sgd_recipe import Sgd

SUMMARY = "exact moments of SGD and their derivative in eta, d = 50, T = 1000, against NumPy and a JAX scan"
PEERS = {"jax": "benchmarks.peers.jax_sgd"}
_REPETITIONS = 5  # of a second each


def run(settings: Settings) -> Result:
    """Compare at d = 50, n = 200 and T = 1000."""
    found, missing = peers.load_all(["jax"], PEERS)
    return Result(
        compare(sgd_recipe.random_sgd(n=200, d=50, steps=1000, seed=settings.seed), found, settings), [], missing
    )


def compare(problem: Sgd, found: dict[str, ModuleType], settings: Settings) -> list[Row]:
    """Return a row for each peer."""
    calls: dict[str, Callable[[], NDArray[Any]]] = {
        "theory.sgd": lambda: ours(problem),
        "plain NumPy recursion": lambda: sgd_recipe.losses(problem),
    }
    if "jax" in found:
        calls["JAX, jit, scan, jvp"] = found["jax"].losses(problem)
    contenders = [Contender(name, call) for name, call in calls.items()]
    costs = interleave(contenders, min(_REPETITIONS, settings.repetitions))
    values = [c.call() for c in contenders]
    n, d = problem.X.shape
    what = f"expected train loss and slope at {problem.steps} steps, d = {d}, n = {n}, b = {problem.batch}"
    name = contenders[0].name
    return [
        Row(what, name, costs[0], peer.name, cost, relative_difference(values[0], value))
        for peer, cost, value in zip(contenders[1:], costs[1:], values[1:], strict=True)
    ]


def ours(problem: Sgd) -> NDArray[Any]:
    """Return the expected train loss and its eta-derivative by theory, (2, T + 1)."""
    from metagrad.theory import sgd

    given = sgd.SgdProblem(problem.X, problem.y, problem.w0, batch_size=problem.batch)
    ((value, slope),) = sgd.values_and_slopes(given, [sgd.train_measure(given)], problem.eta, problem.steps)
    return np.stack([value.to_float(), slope.to_float()])
