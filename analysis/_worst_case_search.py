"""A minimax by exchange: an adversary moves functions against a schedule, the schedule descends on all that it has met.

    ascent     theta_b <- argmax f_b(x_n)                    mg.minimise of -f on many functions at once
    descent    (h, t) <- argmin t  such that f_b(x_n) <= t   SLSQP in logs, values and derivatives by the engine

until the worst function that the adversary finds is no worse than those known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

import metagrad as mg
from analysis import _convex_functions as convex
from metagrad.xp import Array

_RULE = mg.Scheduled(mg.GradientDescent())
_KEPT = 4  # functions that a round adds
_DONE = 1e-6  # relative


@dataclass(frozen=True)
class Found:
    """The schedule (n,), the value of the worst function that was found for it, and after how many rounds."""

    schedule: Array
    value: float
    rounds: int


def minimax(start: Array, stream: np.random.Generator, *, functions: int, rounds: int) -> Found:
    """Return the schedule of least worst value among convex functions of one variable, near `start` (n,)."""
    schedule, best = np.array(start), None
    known = np.zeros((0, 2, convex.INTERVALS, 2))
    for k in range(rounds):
        thetas, values = worst(schedule, np.concatenate([_starts(functions, stream), known[-functions:]]))
        top = float(np.append(values, _values(schedule, known)).max())
        if best is None or top < best.value:
            best = Found(schedule, top, k + 1)
        known = np.concatenate([known, thetas[np.argsort(values)[-_KEPT:]]])
        schedule, level = _descended(schedule, known)
        if top <= level * (1 + _DONE):
            break
    assert best is not None
    return best


def _starts(functions: int, stream: np.random.Generator) -> Array:
    """Return where the adversary begins: Huber's functions of all widths on either side, and what random lengths give.

    A run that crosses the minimum sees both sides, and where it lands is not a convex question: starts have to be many.
    """
    random = stream.standard_normal((functions, 2, convex.INTERVALS, 2)) - 1.0
    random[:, :, 0, 0] = stream.uniform(np.log(0.02), np.log(2.0), (functions, 2))
    random[::2, :, 0, 1] = np.log(convex.LONG)
    return np.asarray(random)


def worst(schedule: Array, thetas: Array) -> tuple[Array, Array]:
    """Return the functions, moved to where the schedule leaves the most, and f(x_n) of each."""
    phi = mg.Joint(rule=schedule, task=thetas)
    settings = {"steps": len(schedule), "held": ("rule",), "method": "L-BFGS-B", "most": 40, "tolerance": 1e-8}
    found = mg.minimise(convex.task(thetas, -1.0), _RULE, mg.Final("validation"), phi, **settings)  # type: ignore[arg-type]
    return found.phi.task, _values(schedule, found.phi.task)


def _values(schedule: Array, thetas: Array) -> Array:
    """Return f_b(x_n)."""
    if not len(thetas):
        return np.zeros(0)
    phi = mg.Joint(rule=schedule, task=thetas)
    found = mg.value(convex.task(thetas), _RULE, mg.Final("validation"), phi, steps=len(schedule)).value
    return np.asarray(found.to_float())


def _descended(schedule: Array, thetas: Array) -> tuple[Array, float]:
    """Return the schedule of least max_b f_b(x_n), and that value."""
    task, count = convex.task(thetas), len(thetas)

    def at(x: Array) -> tuple[Array, Array]:
        """Return log f_b and its derivatives (B, n) in the logs of the steps."""
        etas = np.repeat(np.exp(x[:-1])[:, None], count, axis=1)
        phi = mg.Joint(rule=mg.GradientDescent.Phi(etas), task=thetas)
        found = mg.meta_gradient(task, _RULE, mg.Final("validation"), phi, steps=len(schedule), per_task=True)
        f = np.maximum(found.value.to_float(), 1e-12)
        return np.log(f), (found.grad.rule.eta.to_float() * etas / f).T

    def room(x: Array) -> Array:
        return np.asarray(x[-1] - at(x)[0])

    def slopes(x: Array) -> Array:
        return np.concatenate([-at(x)[1], np.ones((count, 1))], axis=1)

    x = np.append(np.log(schedule), 0.0)
    x[-1] = at(x)[0].max()
    far = 0.2  # a round moves no step by more than this in the log: beyond, the functions say little
    bounds = [(a - far, a + far) for a in x[:-1]] + [(-30.0, 30.0)]
    found = minimize(
        lambda x: x[-1],
        x,
        jac=lambda x: np.append(np.zeros(len(schedule)), 1.0),
        bounds=bounds,
        constraints={"type": "ineq", "fun": room, "jac": slopes},
        method="SLSQP",
        options={"maxiter": 100, "ftol": 1e-12},
    )
    moved = np.exp(found.x[:-1])
    return moved, float(np.exp(at(found.x)[0].max()))
