"""Newton's method within trust regions, by SciPy, and to the last digits that the gradient has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad.xp import Array

_ROUNDING = 64 * float(np.finfo(np.float64).eps)
_MOST = 20


class Ended(NamedTuple):
    """Where the method ended, x (P,), and what is said of it, as SciPy's results do."""

    x: Array
    success: bool
    message: str
    nit: int


def newton(
    function: Callable[[Array], tuple[float, Array]],
    hessian: Callable[[Array], Array],
    x0: Array,
    tolerance: float,
    most: int,
) -> Ended:
    """Minimise f from x0: `function` gives f and its gradient, inf and 0 where there is no number.

    A trust region looks at f, which rounding keeps from telling points apart that the gradient still does. Where it
    stops for that, plain Newton steps go on, while each at least halves the largest slope.
    """
    from scipy.optimize import minimize

    options = {"gtol": tolerance, "maxiter": most}
    first: Any = minimize(function, x0, jac=True, hess=hessian, method="trust-exact", options=options)
    x, nit = np.asarray(first.x), int(first.nit)
    f, g = function(x)
    for _ in range(min(_MOST, most - nit)):
        if np.abs(g).max() <= tolerance:
            break
        try:
            np.linalg.cholesky(hessian(x))
        except np.linalg.LinAlgError:  # no minimum of its parabola
            break
        near = x - np.linalg.solve(hessian(x), g)
        lower, slope = function(near)
        if not (lower <= f + _ROUNDING * (1 + abs(f)) and 2 * np.abs(slope).max() <= np.abs(g).max()):
            break
        x, f, g, nit = near, lower, slope, nit + 1
    if np.abs(g).max() <= tolerance:
        return Ended(x, True, "The largest slope is within the tolerance.", nit)
    return Ended(x, bool(first.success), str(first.message), nit)
