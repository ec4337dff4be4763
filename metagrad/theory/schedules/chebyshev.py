"""The best schedule for the worst quadratic of a spectrum in [m, M]: Chebyshev's, and what the order of steps costs.

T steps multiply the error of an eigenvalue s by P(s) = prod_k (1 - eta_k s), and the worst factor over [m, M] is least
for Chebyshev's polynomial of the first kind:

    1/eta_t = (M + m)/2 - (M - m)/2 cos((t - 1/2) pi/T),   t = 1..T,   max |P| = 1/T_T((M + m)/(M - m)).

In exact arithmetic the order of the steps does not matter. In floats a prefix of the schedule multiplies the state, and
a suffix multiplies the rounding errors made before it, by up to its own largest |product| over [m, M]:

    large_first  from t = 1 on, the order above: prefixes grow first, like M/m to the number of large steps;
    small_first  backwards: prefixes never exceed 1, suffixes do as much as the prefixes of the other;
    fractal      sigma_1 = [1], sigma_{2T} = sigma_T and 2T + 1 - sigma_T in turn: 1 8 4 5 2 7 3 6 for T = 8, T a power
                 of two; large and small steps alternate at every scale, and both products stay small.

Source: Young 1953 and the textbooks for the schedule; Lebedev and Finogenov 1971, Agarwal, Goel and Zhang 2021 for the
order. Extrema are found by bisection between the zeros, in logarithms, at any size; checked by tests.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import Floats, bad_value, check_choice, check_memory
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.schedules._checks import checked_steps, interval, one_schedule
from metagrad.theory.schedules._extrema import between

Order = Literal["large_first", "small_first", "fractal"]
ORDERS: tuple[Order, ...] = ("large_first", "small_first", "fractal")


def chebyshev_schedule(steps: int, *, smallest: float, largest: float, order: Order = "fractal") -> Floats:
    """Return Chebyshev's step sizes (T,) for eigenvalues from `smallest` to `largest`, above 0, in an order.

    ValueError in the fractal order unless T is a power of two.

    >>> chebyshev_schedule(2, smallest=1.0, largest=3.0).round(6)
    array([0.773459, 0.369398])
    """
    count = checked_steps("chebyshev_schedule", steps)
    low, high = interval("chebyshev_schedule", smallest, largest)
    places = positions(count, order)
    # (M + m)/2 - (M - m)/2 cos x = m + (M - m) sin^2(x/2) keeps the digits of 1/eta next to m
    return np.asarray(1 / (low + (high - low) * np.sin((places + 0.5) * np.pi / (2 * count)) ** 2), np.float64)


def positions(steps: int, order: Order = "fractal") -> NDArray[np.int64]:
    """Return t - 1 of the schedule above for each step in turn, (T,).

    >>> (positions(8) + 1).tolist()
    [1, 8, 4, 5, 2, 7, 3, 6]
    """
    count = checked_steps("positions", steps)
    check_choice("positions", "order", order, ORDERS)
    if order != "fractal":
        found = np.arange(count)
        return found if order == "large_first" else found[::-1].copy()
    if count & (count - 1):
        remedy = "Take the order 'small_first' or 'large_first', or another number of steps."
        bad_value("positions", "steps", count, "a power of two in the fractal order", remedy)
    found = np.zeros(1, np.int64)
    while found.size < count:
        found = np.stack([found, 2 * found.size - 1 - found], axis=1).ravel()
    return found


def chebyshev_factor(steps: int, *, smallest: float, largest: float) -> SignedLog:
    """Return 1/T_T((M + m)/(M - m)), the least worst factor of T steps over [m, M]: 0 where m = M.

    >>> chebyshev_factor(2, smallest=1.0, largest=3.0).to_float().round(12)
    np.float64(0.142857142857)
    """
    count = checked_steps("chebyshev_factor", steps)
    low, high = interval("chebyshev_factor", smallest, largest)
    if low == high:
        return SignedLog(np.array(0.0), np.array(-np.inf))
    over = 2 * low / (high - low)  # (M + m)/(M - m) - 1
    angle = count * np.log1p(over + np.sqrt(over * (over + 2)))
    return _size(float(np.log(2.0) - angle - np.log1p(np.exp(-2 * angle))))


def worst_factor(schedule: ArrayLike, *, smallest: float, largest: float) -> SignedLog:
    """Return max over [m, M] of |prod_k (1 - eta_k s)| for positive steps (T,), of any size.

    >>> worst_factor([0.5, 0.5], smallest=1.0, largest=3.0).to_float().round(12)
    np.float64(0.25)
    """
    etas = one_schedule("worst_factor", schedule)
    low, high = interval("worst_factor", smallest, largest)
    return _size(_log_worst(np.sort(1 / etas), low, high))


def largest_prefix(schedule: ArrayLike, *, smallest: float, largest: float) -> SignedLog:
    """Return the largest `worst_factor` of the first k steps, k = 1..T: how far a state can grow on the way.

    >>> largest_prefix([1.0, 0.4], smallest=1.0, largest=3.0).to_float().round(12)
    np.float64(2.0)
    """
    etas = one_schedule("largest_prefix", schedule)
    low, high = interval("largest_prefix", smallest, largest)
    check_memory("largest_prefix", "schedule", f"of {etas.size} steps", etas.size**2, "Take fewer steps.")
    return _size(max(_log_worst(np.sort(1 / etas[:k]), low, high) for k in range(1, etas.size + 1)))


def largest_suffix(schedule: ArrayLike, *, smallest: float, largest: float) -> SignedLog:
    """Return the largest `worst_factor` of the last k steps, k = 1..T: how far a rounding error can grow.

    >>> largest_suffix([1.0, 0.4], smallest=1.0, largest=3.0).to_float().round(12)
    np.float64(0.6)
    """
    etas = one_schedule("largest_suffix", schedule)
    return largest_prefix(etas[::-1], smallest=smallest, largest=largest)


def _size(log: float) -> SignedLog:
    return SignedLog(np.array(1.0), np.array(log))


def _log_worst(zeros: Floats, low: float, high: float) -> float:
    """Return the log of max |prod (1 - s/z_k)| over [low, high] for ascending zeros."""
    tops = between(zeros) if zeros.size > 1 else np.empty(0)
    at = np.concatenate([[low, high], tops[(tops > low) & (tops < high)]])
    with np.errstate(divide="ignore"):
        return float(np.max(np.sum(np.log(np.abs(1 - at[:, None] / zeros)), axis=1)))
