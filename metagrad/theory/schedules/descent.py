"""The best real step sizes where no formula has them: descent on the risk with its exact gradient, from several starts.

Without weight decay, and with more noise than the boundary of `regimes`, the best polynomial is out of reach of real
steps: the best ones lie where zeros of the residual coalesce, in pairs or all together. The risk is a smooth function
of the logarithms of the steps there too, and BFGS finds a minimum. It may be a local one: the starts are the best
schedule with decay, the real parts of the complex zeros, the best constant step, and steps spread about that, and the
best of the minima is kept. `optimal.best_risk` is a bound from below that none can pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metagrad.theory.numbers.checks import Floats, check_kind, number
from metagrad.theory.schedules._checks import checked_steps
from metagrad.theory.schedules.average_case import AverageCase
from metagrad.theory.schedules.optimal import best_schedule
from metagrad.theory.schedules.regimes import polynomial_zeros
from metagrad.theory.schedules.risk import d_risk, excess_risk

_MOST = 100
_SCAN = 400
_FAR = 200.0  # a line search may try steps of any size


def best_constant(problem: AverageCase, steps: int, *, decay: float = 0.0) -> float:
    """Return the constant step size of the least risk after `steps` steps with weight decay `decay` >= 0.

    A scan of 400 step sizes up to 2 over the largest eigenvalue, refined: the risk may have several minima.

    >>> round(best_constant(AverageCase.limit(0.5, 1, sigma=1.0), 1), 6)
    0.5
    """
    from scipy.optimize import minimize_scalar

    check_kind("best_constant", "problem", problem, AverageCase)
    count = checked_steps("best_constant", steps)
    shift = number("best_constant", "decay", decay)

    def log_excess(eta: Any) -> Floats:
        return excess_risk(problem, np.repeat(np.atleast_1d(eta)[:, None], count, axis=1), decay=shift).log

    grid = np.geomspace(1e-4, 2.0, _SCAN) / (problem.nodes.max() + shift)
    at = int(np.argmin([float(log_excess(eta)[0]) for eta in grid]))
    ends = grid[max(at - 1, 0)], grid[min(at + 1, _SCAN - 1)]
    found = minimize_scalar(
        lambda eta: float(log_excess(eta)[0]), bounds=ends, method="bounded", options={"xatol": 1e-12}
    )
    return float(found.x)


def best_without_decay(problem: AverageCase, steps: int) -> Floats:
    """Return the best real step sizes (T,) found without weight decay, the largest first; `steps` <= 100.

    Up to the boundary of `regimes` these are `best_steps_alone`, to the accuracy of the descent (1e-6 in the steps,
    1e-10 in the risk).

    >>> best_without_decay(AverageCase.limit(0.5, 2, sigma=1.0), 2).round(4)
    array([0.5, 0.5])
    """
    check_kind("best_without_decay", "problem", problem, AverageCase)
    count = checked_steps("best_without_decay", steps, _MOST, "Longer schedules are near the best constant step.")
    found = [descended(problem, start) for start in _starts(problem, count)]
    values = [float(excess_risk(problem, etas).log) for etas in found]
    return np.asarray(np.sort(found[int(np.argmin(values))])[::-1], np.float64)


def descended(problem: AverageCase, schedule: Floats, *, decay: float = 0.0) -> Floats:
    """Return the step sizes (T,) that BFGS on their logarithms reaches from the positive `schedule` (T,).

    >>> problem = AverageCase.limit(0.25, 2)
    >>> np.sort(descended(problem, np.array([0.3, 0.4]))).round(6)
    array([0.571429, 1.333333])
    """
    from scipy.optimize import minimize

    from metagrad.theory.schedules._checks import one_schedule

    check_kind("descended", "problem", problem, AverageCase)
    start = np.log(one_schedule("descended", schedule))
    number("descended", "decay", decay)

    def value(x: NDArray[np.float64]) -> tuple[float, Floats]:
        etas = np.exp(np.clip(x, -_FAR, _FAR))
        excess = excess_risk(problem, etas, decay=decay)
        slope = d_risk(problem, etas, decay=decay) / excess
        return float(excess.log), slope.to_float(ieee=True) * etas

    # BFGS stops where rounding hides the slope, and says so by `success`, which nothing here depends on
    found = minimize(value, start, jac=True, method="BFGS", options={"gtol": 1e-12, "maxiter": 2000})
    return np.asarray(np.exp(np.clip(found.x, -_FAR, _FAR)), np.float64)


def _starts(problem: AverageCase, steps: int) -> list[Floats]:
    middle = best_constant(problem, steps)
    places = np.maximum(polynomial_zeros(problem, steps).real, 0.1 * problem.nodes.min())
    ramp = np.linspace(-1.0, 1.0, steps) if steps > 1 else np.zeros(1)
    return [
        best_schedule(problem, steps),
        1 / places * np.exp(0.01 * ramp),
        np.full(steps, middle),
        middle * np.exp(0.5 * ramp),
    ]
