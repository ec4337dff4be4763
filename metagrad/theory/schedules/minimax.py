"""Step sizes of least worst case over smooth convex functions, up to five steps, and the best constant step.

L = 1, ||x_0 - x*|| <= 1, criterion f(x_n) - f*. Two functions of one variable bound the worst case of every schedule h
of positive steps from below, with S = sum h: the quadratic x^2/2, and a function that is linear from x_0 on with slope
tau = 1/(2S + 1) and quadratic near 0 (Huber's),

    value of the quadratic  (1/2) prod_i (1 - h_i)^2,      value of Huber's  1/(2 (2S + 1)).

Long steps are bad on the first, short ones on the second. The schedules here make the two equal. With the balances

    b(h): prod_i (h_i - 1)^2 = 1/(2S + 1),      c(h): prod_i (h_i - 1) = 1/(1 + S),

c gives sqrt2, then (sqrt2, h) and the silver (sqrt2, 2, sqrt2); and each schedule of n steps is the solution m of b in

    n = 1: (m) = (3/2)      n = 2: (sqrt2, m)      n = 3: (sqrt2, m, 3/2), m = 1 + sqrt2
    n = 4: (sqrt2, h, m, 3/2), (sqrt2, h) of c     n = 5: (sqrt2, 2, sqrt2, m, 3/2).

That each is a minimax follows for n = 1, where no step makes both values smaller and `certificate.worst_case` proves
that nothing is worse. For the others it was found numerically, by branch and bound over worst-case programs (Das Gupta,
Van Parys and Ryu 2023); Grimmer, Shu and Wang 2024 build schedules of every length by composition and conjecture their
optimality. The equations above were found here from the numbers. Tests certify the value of each of the five, and that
no small change of its steps improves it.

A constant step h has as its worst case the larger of the two values: conjectured by Taylor, Hendrickx and Glineur 2017,
certified in tests up to n = 5. So the best one solves (1 - h)^{2n} = 1/(2nh + 1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats
from metagrad.theory.schedules._checks import checked_steps, one_schedule

LONGEST = 5
_ROOT2 = float(np.sqrt(2.0))


def minimax_schedule(steps: int) -> Floats:
    """Return the best steps (n,) for n = 1 to 5, in units of 1/L.

    >>> [minimax_schedule(n).round(6).tolist() for n in (2, 4)]
    [[1.414214, 1.876768], [1.414214, 1.601232, 3.005144, 1.5]]
    """
    count = checked_steps("minimax_schedule", steps, LONGEST, "Longer schedules: silver.silver_schedule.")
    if count == 1:
        return np.array([1.5])
    if count == 4:
        before = [_ROOT2, _solved(lambda h: (_ROOT2 - 1) * (h - 1) * (1 + _ROOT2 + h) - 1)]
    else:
        before = [_ROOT2, 2.0, _ROOT2] if count == 5 else [_ROOT2]
    after = [] if count == 2 else [1.5]
    middle = _solved(lambda m: _balance(np.array([*before, m, *after])))
    return np.array([*before, middle, *after])


def minimax_value(steps: int) -> float:
    """Return the worst case of (f(x_n) - f*)/(L ||x_0 - x*||^2) of `minimax_schedule`: 1/(2 (2 sum h + 1)).

    >>> [round(minimax_value(n), 6) for n in range(1, 6)]
    [0.125, 0.065946, 0.042893, 0.03117, 0.024071]
    """
    checked_steps("minimax_value", steps, LONGEST, "Longer schedules: silver.silver_bound.")
    return float(1 / (2 * (2 * minimax_schedule(steps).sum() + 1)))


def best_constant(steps: int) -> float:
    """Return the constant step of the least worst case after n steps, the root of (1 - h)^{2n} = 1/(2nh + 1).

    >>> [round(best_constant(n), 5) for n in (1, 2, 5)]
    [1.5, 1.60583, 1.74705]
    """
    n = checked_steps("best_constant", steps)
    return _solved(lambda h: 2 * n * np.log(h - 1) + np.log1p(2 * n * h), 1 + 1e-12, 2.0)


def lower_bound(schedule: ArrayLike) -> float:
    """Return the larger of the two values above: no worst case of the positive steps (n,) is smaller.

    >>> lower_bound([1.5])
    0.125
    """
    etas = one_schedule("lower_bound", schedule)
    return float(max(np.prod((1 - etas) ** 2) / 2, 1 / (2 * (2 * etas.sum() + 1))))


def _balance(etas: Floats) -> float:
    return float(np.prod((etas - 1) ** 2) * (2 * etas.sum() + 1) - 1)


def _solved(balance: Callable[[float], float], low: float = 1.0, high: float = 10.0) -> float:
    """Return the root of what grows in a step from 1 on."""
    from scipy.optimize import brentq

    return float(brentq(balance, low, high, xtol=1e-15, rtol=1e-15))
