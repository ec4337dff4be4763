"""Decays of the step size with one number to tune, on the noisy quadratic model, against its optimal schedule.

Step k of T, k = 1..T, is the peak times

    constant       1
    linear         1 - (k - 1)/T
    cosine         (1 + cos((k - 1) pi/T))/2
    inverse_sqrt   1/sqrt k
    inverse        1/k
    cooldown       1, and over the last fifth of the steps down to 0 along a line,

and the peak is the one of the least expected loss after T steps: the best of a fine scan, as there may be many minima
(the loss is a polynomial of degree 2T in the peak), refined on the logarithm of `sgd.noisy_quadratic.expected_loss`.
`decay_gap` is that loss over the loss of the optimal schedule of `sgd.noisy_schedules`. In one dimension the best is
A_k = 1/(1/A_0 + k/s^2), by steps that fall like 1/k. Shapes as in common use (linear: Defazio, Cutkosky, Mehta and
Mishchenko 2023; cosine: Loshchilov and Hutter 2017; cooldown: Haegele et al. 2024). Derived; checked by tests.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from metagrad.theory.numbers.checks import Floats, bad_value, check_choice, check_kind, number
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.schedules._checks import checked_steps
from metagrad.theory.sgd.noisy_quadratic import NoisyQuadratic, expected_loss
from metagrad.theory.sgd.noisy_schedules import optimal_schedule

Shape = Literal["constant", "linear", "cosine", "inverse_sqrt", "inverse", "cooldown"]
SHAPES: tuple[Shape, ...] = ("constant", "linear", "cosine", "inverse_sqrt", "inverse", "cooldown")
_A_DECADE = 200
_AT_ONCE = 2**20


def decay_shape(shape: Shape, steps: int) -> Floats:
    """Return the steps (T,) of a decay of peak 1, T = `steps`.

    >>> decay_shape("linear", 4)
    array([1.  , 0.75, 0.5 , 0.25])
    """
    check_choice("decay_shape", "shape", shape, SHAPES)
    count = checked_steps("decay_shape", steps)
    k = np.arange(count)
    if shape == "constant":
        return np.ones(count)
    if shape == "linear":
        return np.asarray(1 - k / count, np.float64)
    if shape == "cosine":
        return np.asarray((1 + np.cos(k * np.pi / count)) / 2, np.float64)
    if shape == "cooldown":
        last = max(count // 5, 1)
        return np.minimum(1.0, (count - k) / (last + 1))
    return np.asarray((k + 1.0) ** (-1.0 if shape == "inverse" else -0.5), np.float64)


def best_peak(problem: NoisyQuadratic, shape: Shape, steps: int, *, largest: float = np.inf) -> float:
    """Return the peak of the least loss after T = `steps` steps, up to `largest`.

    The scan has 200 peaks a decade, from 10^-4/max h to 100/min h.

    >>> round(best_peak(NoisyQuadratic([1.0], [1.0], [3.0]), "constant", 1), 6)
    0.75
    """
    from scipy.optimize import minimize_scalar

    check_kind("best_peak", "problem", problem, NoisyQuadratic)
    unit = decay_shape(shape, steps)
    top = _largest("best_peak", largest)

    def log_losses(log_peaks: Floats) -> Floats:
        return expected_loss(problem, np.exp(log_peaks)[:, None] * unit)[:, -1].log

    low, high = np.log(1e-4 / problem.curvatures.max()), min(np.log(1e2 / problem.curvatures.min()), top)
    if low >= high:
        bad_value("best_peak", "largest", largest, "a step size that moves the weights", "Take a larger one.")
    count = int(np.ceil(_A_DECADE * (high - low) / np.log(10.0))) + 1
    grid = np.linspace(low, high, count)
    at_once = max(1, _AT_ONCE // (unit.size * problem.curvatures.size))
    losses = np.concatenate([log_losses(grid[k : k + at_once]) for k in range(0, count, at_once)])
    at = int(np.argmin(losses))
    found = minimize_scalar(
        lambda x: float(log_losses(np.array([x]))[0]),
        bounds=(grid[max(at - 1, 0)], grid[min(at + 1, count - 1)]),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return float(min(np.exp(found.x if found.fun <= losses[at] else grid[at]), largest))


def decay_gap(problem: NoisyQuadratic, shape: Shape, steps: int, *, largest: float = np.inf) -> SignedLog:
    """Return the loss after T steps with the best peak over that of the optimal schedule, no step above `largest`.

    At least 1, but for what the optimal schedule's own search has missed.

    >>> decay_gap(NoisyQuadratic([1.0], [1.0], [3.0]), "constant", 1).to_float().round(9)
    np.float64(1.0)
    """
    check_kind("decay_gap", "problem", problem, NoisyQuadratic)
    ours = best_peak(problem, shape, steps, largest=largest) * decay_shape(shape, steps)
    best = optimal_schedule(problem, steps, largest=largest)
    final = expected_loss(problem, np.stack([ours, best]))[:, -1]
    return final[0] / final[1]


def _largest(function: str, largest: float) -> float:
    """Return the log of the largest step size, inf for none, or raise."""
    if isinstance(largest, float) and largest == np.inf:
        return np.inf
    if number(function, "largest", largest) <= 0:
        bad_value(function, "largest", largest, "a positive number, or inf for no limit")
    return float(np.log(largest))
