"""The best step size and momentum: as t grows in closed form, and at a finite horizon.

As t grows the slowest mode decides, and the rate is the largest modulus of the roots. Its minimum, with kappa =
L/alpha:

    heavy ball   eta = 4/(sqrt L + sqrt alpha)^2,  beta = ((sqrt kappa - 1)/(sqrt kappa + 1))^2,  rate sqrt beta
    Nesterov     eta = 4/(3 L + alpha),  beta = (s - 2)/(s + 2),  rate 1 - 2/s,  s = sqrt(3 kappa + 1)

The first is Polyak's (1964), the second as in Lessard, Recht and Packard (2016). Both put alpha at a double root, where
G has its steepest slope (`bounds`), and so both are a poor choice at a finite horizon: the factor t of a double root
has to be paid back, and with complex roots the modes can be met near their zeros. `best` finds the pair of a horizon,
by a scan and a quasi-Newton method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.momentum.iterates import RULES, Rule
from metagrad.theory.momentum.last_iterate import d_log_objective, log_objective
from metagrad.theory.momentum.roots import stability_limit
from metagrad.theory.numbers.checks import (
    Floats,
    bad_value,
    check_choice,
    check_kind,
    count,
    finite_floats,
    one_horizon,
)
from metagrad.theory.quadratic.spectrum import Measure, Spectrum

_LARGEST_BETA = 1 - 1e-6
_POLISHED = 24  # the best points of the scan that are polished: G has a valley for each near-zero of all modes


@dataclass(frozen=True)
class Best:
    """The best pair of a horizon: G(eta, beta), and the size of what is left of its gradient in (log eta, beta)."""

    eta: float
    beta: float
    G: float
    left: float


def polyak(alpha: ArrayLike, L: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return eta, beta and the rate of heavy ball at its best as t grows; 0 < alpha <= L.

    >>> [float(x.round(6)) for x in polyak(1.0, 100.0)]
    [0.033058, 0.669421, 0.818182]
    """
    low, high = _ends("polyak", alpha, L)
    root = (np.sqrt(high) - np.sqrt(low)) / (np.sqrt(high) + np.sqrt(low))
    eta = 4 / (np.sqrt(high) + np.sqrt(low)) ** 2
    return np.asarray(eta, np.float64), np.asarray(root**2, np.float64), np.asarray(root, np.float64)


def nesterov(alpha: ArrayLike, L: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return eta, beta and the rate of Nesterov's method at its best as t grows; 0 < alpha <= L.

    >>> [float(x.round(6)) for x in nesterov(1.0, 100.0)]
    [0.013289, 0.793275, 0.884722]
    """
    low, high = _ends("nesterov", alpha, L)
    s = np.sqrt(3 * high / low + 1)
    parts = 4 / (3 * high + low), (s - 2) / (s + 2), 1 - 2 / s
    eta, beta, rate = (np.asarray(x, np.float64) for x in parts)
    return eta, beta, rate


def best(rule: Rule, spectrum: Spectrum, steps: int, *, measure: Measure = "loss", grid: int = 96) -> Best:
    """Return the pair with the least G at horizon t, beta in [0, 1 - 1e-6] and eta within stability.

    A scan of grid x grid points, uniform in sqrt(beta) and in h of the largest eigenvalue, then L-BFGS with the exact
    gradient from the best of them. Where F = 0 can be reached, as with two eigenvalues, G is -inf in the limit: what is
    returned is as far as floats go. One problem at a time.
    """
    check_choice("best", "rule", rule, RULES)
    check_kind("best", "spectrum", spectrum, Spectrum)
    t, size = one_horizon("best", steps), count("best", "grid", grid, 8)
    if spectrum.batch_shape:
        bad_value("best", "spectrum", f"a batch of shape {spectrum.batch_shape}", "one problem")
    from scipy.optimize import minimize

    beta = np.linspace(0.0, 1.0, size, endpoint=False) ** 2
    eta = np.linspace(0.0, 1.0, size + 2)[1:-1, None] * stability_limit(rule, beta) / spectrum.L
    G = log_objective(rule, spectrum, eta, beta, t, measure=measure)
    starts = _valleys(G)

    def value(x: Floats) -> tuple[float, Floats]:
        at = rule, spectrum, np.exp(x[0]), x[1], t
        slope = d_log_objective(*at, measure=measure)
        found = float(log_objective(*at, measure=measure))
        gradient = np.array([float(slope.eta) * np.exp(x[0]), float(slope.beta)])
        return (found, gradient) if np.isfinite(found) and np.isfinite(gradient).all() else (-1e3, np.zeros(2))

    found: Best | None = None
    for i, j in starts:
        start = np.array([np.log(eta[i, j]), beta[j]])
        options = {"maxiter": 200, "ftol": 1e-15, "gtol": 1e-10}
        bounds = [(None, None), (0.0, _LARGEST_BETA)]
        end = minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        slope = np.where((end.x[1] <= 0) & (end.jac[1] > 0), [end.jac[0], 0.0], end.jac)
        at_end = float(log_objective(rule, spectrum, np.exp(end.x[0]), end.x[1], t, measure=measure))
        here = Best(float(np.exp(end.x[0])), float(end.x[1]), at_end, float(np.max(np.abs(slope))))
        if found is None or here.G < found.G:
            found = here
    assert found is not None
    return found


def _valleys(G: Floats) -> list[tuple[int, int]]:
    """Return the lowest local minima of the grid, the least first."""
    padded = np.pad(G, 1, constant_values=np.inf)
    size = G.shape[0], G.shape[1]
    around = [padded[1 + i : 1 + i + size[0], 1 + j : 1 + j + size[1]] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    low = np.min(around, axis=0) >= G
    rows, columns = np.nonzero(low)
    order = np.argsort(G[low])[:_POLISHED]
    return [(int(rows[k]), int(columns[k])) for k in order]


def _ends(function: str, alpha: ArrayLike, L: ArrayLike) -> tuple[Floats, Floats]:
    low, high = finite_floats(function, "alpha", alpha), finite_floats(function, "L", L)
    if np.any(low <= 0) or np.any(low > high):
        bad_value(function, "alpha", alpha, f"numbers above 0 and at most L = {high}")
    return low, high
