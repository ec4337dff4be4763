"""BFGS on the logarithms of positive meta-parameters, fed with meta-gradients of the engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

_FAR = 100.0  # a line search may try anything

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def minimised(objective: Objective, start: np.ndarray, *, most: int = 1000) -> tuple[np.ndarray, float, int]:
    """Return where BFGS ends from the positive `start` (P,), the value there, and how often it has asked.

    `objective(phi)` returns the value and its gradient in phi. At most `most` iterations. It stops where rounding hides
    the slope; how near that is to a minimum is for the caller to measure.
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
    return np.exp(np.clip(found.x, -_FAR, _FAR)), float(found.fun), asked
