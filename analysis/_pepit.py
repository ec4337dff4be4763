"""The worst case of a schedule by PEPit, a library that shares no code with ours (Goujaud et al. 2024)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def worst_case(schedule: ArrayLike) -> float:
    """Return the largest f(x_n) - f* of gradient descent with these steps (n,): convex f, L = 1, ||x_0 - x*|| <= 1.

    ImportError where PEPit is not installed. It solves the primal program with the solver that cvxpy picks: five
    digits are to be expected.
    """
    try:
        from PEPit import PEP
        from PEPit.functions import SmoothConvexFunction
    except ImportError as absent:
        raise ImportError(
            "worst_case: PEPit is not installed, which certifies independently of metagrad.theory; "
            "install it with `pip install -e '.[certify]'`."
        ) from absent
    problem = PEP()
    function = problem.declare_function(SmoothConvexFunction, L=1.0)
    best = function.stationary_point()
    x = problem.set_initial_point()
    problem.set_initial_condition((x - best) ** 2 <= 1)
    for eta in np.asarray(schedule, np.float64):
        x = x - float(eta) * function.gradient(x)
    problem.set_performance_metric(function(x) - function(best))
    return float(problem.solve(verbose=0))
