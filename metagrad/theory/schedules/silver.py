"""The silver schedules: long steps among short ones, faster than any constant step on every smooth convex function.

With smoothness L = 1 and rho = 1 + sqrt 2, for n = 2^k - 1 steps (nu(i): how often 2 divides i):

    eta_i = 1 + rho^{nu(i) - 1}:   sqrt2, 2, sqrt2, 2 + sqrt2, sqrt2, 2, sqrt2, ..      sum = rho^k - 1,
    f(x_n) - f* <= ||x_0 - x*||^2/(1 + sqrt(4 rho^{2k} - 3)),       of order n^{-1.2716}.

Strongly convex functions of condition kappa, n = 2^k: with psi(t) = (1 + kappa t)/(1 + t), start from y = z = 1/kappa,
eta = [psi(y)], and double by e = 1 - z, r = e + sqrt(1 + e^2), y' = z/r, z' = z r:

    eta' = [eta without its last, psi(y'), eta without its last, psi(z')],
    ||x_n - x*||^2 <= ((1 - z)/(1 + z))^2 ||x_0 - x*||^2.

For smoothness L divide all steps by L and multiply the bound of f by L. Source: Altschuler and Parrilo 2023
(Acceleration by stepsize hedging, I for strongly convex functions, II for convex ones); the bounds are theirs. The
first is not the worst case itself: `certificate` finds 1/(4 rho^k - 2) at n = 1, 3, 7, the value of Huber's function
(`minimax`), and tests hold both against it.
"""

from __future__ import annotations

import numpy as np

from metagrad.theory.numbers.checks import Floats, bad_value, number
from metagrad.theory.schedules._checks import checked_steps

_RHO = 1 + np.sqrt(2.0)


def silver_schedule(steps: int) -> Floats:
    """Return the silver steps (n,) for smooth convex functions, n = 2^k - 1, in units of 1/L.

    >>> silver_schedule(7).round(4)
    array([1.4142, 2.    , 1.4142, 3.4142, 1.4142, 2.    , 1.4142])
    """
    count, _ = _doublings("silver_schedule", steps, 1)
    index = np.arange(1, count + 1)
    twos = np.log2(index & -index)
    return np.asarray(1 + _RHO ** (twos - 1), np.float64)


def silver_bound(steps: int) -> float:
    """Return the bound of (f(x_n) - f*)/(L ||x_0 - x*||^2) for n = 2^k - 1 silver steps, over smooth convex f.

    >>> round(silver_bound(3), 6)
    0.079825
    """
    _, doublings = _doublings("silver_bound", steps, 1)
    return float(1 / (1 + np.sqrt(4 * _RHO ** (2 * doublings) - 3)))


def strongly_convex_silver(steps: int, condition: float) -> Floats:
    """Return the silver steps (n,) for strongly convex functions of a condition above 1, n = 2^k, in units of 1/L.

    >>> strongly_convex_silver(2, 8.0).round(4)
    array([1.3757, 2.5118])
    """
    return _strong("strongly_convex_silver", steps, condition)[0]


def strongly_convex_bound(steps: int, condition: float) -> float:
    """Return the bound of ||x_n - x*||^2/||x_0 - x*||^2 after n = 2^k of these steps, at a condition above 1.

    >>> round(strongly_convex_bound(8, 32.0), 5)
    0.22145
    """
    z = _strong("strongly_convex_bound", steps, condition)[1]
    return float(((1 - z) / (1 + z)) ** 2)


def _doublings(function: str, steps: int, missing: int) -> tuple[int, int]:
    """Return the steps n and k with n + `missing` = 2^k, or raise."""
    count = checked_steps(function, steps)
    whole = count + missing
    if whole & (whole - 1):
        expected = "2^k - 1: 1, 3, 7, 15, .." if missing else "2^k: 1, 2, 4, 8, .."
        bad_value(function, "steps", count, expected, "Other lengths have no silver schedule.")
    return count, whole.bit_length() - 1


def _strong(function: str, steps: int, condition: float) -> tuple[Floats, float]:
    count, doublings = _doublings(function, steps, 0)
    kappa = number(function, "condition", condition)
    if not 1 < kappa <= 1e100:
        bad_value(function, "condition", kappa, "L/m above 1, up to 1e100", "At 1 one step of 1/L ends it.")

    def psi(t: float) -> float:
        return (1 + kappa * t) / (1 + t)

    z = 1 / kappa
    etas = np.array([psi(z)])
    for _ in range(doublings):
        ratio = (1 - z) + np.sqrt(1 + (1 - z) ** 2)
        head = etas[:-1]
        etas = np.concatenate([head, [psi(z / ratio)], head, [psi(z * ratio)]])
        z = z * ratio
    return etas[:count], float(z)
