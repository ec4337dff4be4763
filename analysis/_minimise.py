"""BFGS on the logarithms of positive meta-parameters, fed with meta-gradients of the engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

_FAR = 100.0  # a line search may try anything
_LAST = 20

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def minimised(objective: Objective, start: np.ndarray, *, most: int = 1000) -> tuple[np.ndarray, float, int]:
    """Return where BFGS ends from the positive `start` (P,), the value there, and how often it has asked.

    `objective(phi)` returns the value and its gradient in phi. At most `most` iterations. A line search ends where
    rounding hides that values still fall, at about 1e-8; slopes see further, so that some steps of BFGS's own last
    matrix follow, without a search, for as long as the slope shrinks. How near that is to a minimum is for the caller
    to measure.
    """
    asked = 0

    def of_logs(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal asked
        asked += 1
        phi = np.exp(np.clip(x, -_FAR, _FAR))
        value, slope = objective(phi)
        return value, slope * phi

    options = {"gtol": 1e-13, "maxiter": most}
    found = minimize(of_logs, np.log(np.asarray(start, np.float64)), jac=True, method="BFGS", options=options)
    x, slope = found.x, found.jac
    for _ in range(_LAST):
        there = x - found.hess_inv @ slope
        _, after = of_logs(there)
        if not np.max(np.abs(after)) < np.max(np.abs(slope)):
            break
        x, slope = there, after
    return np.exp(np.clip(x, -_FAR, _FAR)), float(found.fun), asked
