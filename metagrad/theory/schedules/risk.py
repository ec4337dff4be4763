"""The risk of a given schedule with a given weight decay, and its derivative in every step and in the decay.

Gradient descent on loss + (decay/2)||w||^2 multiplies the error of an eigenvalue s by 1 - eta (s + decay). With
A(s) = prod_k (1 - eta_k (s + decay)), the filter is q = (1 - A)/(s + decay), and completing the square in the risk of
`average_case` gives, with its delta,

    risk = signal [mu({0}) + sum_j w_j delta/(s_j + delta)]           the Bayes (ridge) risk, which none can beat
         + signal sum_j w_j s_j/(s_j + delta) R(s_j)^2,               the excess,
    R(s) = 1 - (s + delta) q(s) = [(decay - delta) + (s + delta) A(s)]/(s + decay),
    d risk/d eta_k = -2 signal sum_j w_j s_j R(s_j) prod_{i != k} (1 - eta_i (s_j + decay)),
    d risk/d decay = -2 signal sum_j w_j s_j R(s_j) dq/d decay.

All terms of the risk are positive, and the products are sums of logarithms, less the step's own, or forwards and
backwards from each step where a factor is 0: a schedule may be of any length and its factors of any size. Time and
memory are T N numbers for N eigenvalues, for the value and the whole gradient alike. Derived (`symbolic` has the
square); checked by tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares.checks import checked_level
from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, check_memory
from metagrad.theory.numbers.modes import Factors
from metagrad.theory.numbers.signed_log import SignedLog, signed_sum
from metagrad.theory.schedules._checks import checked_schedule
from metagrad.theory.schedules.average_case import AverageCase

_LONGER = "Build the limit for more steps: AverageCase.limit(gamma, steps)."


def bayes_risk(problem: AverageCase) -> float:
    """Return the risk of the ridge solution at its best decay: no estimate from X'y has a smaller one.

    Of a limit it is that of its finite rule, above the limit's by as little as T = horizon steps leave;
    `proportional.bayes_risk` is the limit's own.

    >>> bayes_risk(AverageCase([1.0], [1.0], noise=1.0))
    0.5
    """
    check_kind("bayes_risk", "problem", problem, AverageCase)
    left = problem.at_zero + np.sum(problem.weights * problem.decay / (problem.nodes + problem.decay))
    return float(problem.signal * left)


def risk(problem: AverageCase, schedule: ArrayLike, *, decay: float = 0.0) -> SignedLog:
    """Return the risk after the steps `schedule` (..., T) on the loss with weight decay `decay` >= 0; shape (...).

    >>> risk(AverageCase([1.0], [1.0], noise=1.0), [0.25, 0.5]).to_float().round(12)
    np.float64(0.53125)
    """
    found = excess_risk(problem, schedule, decay=decay)
    return found + SignedLog.from_float(np.full(found.shape, bayes_risk(problem)))


def excess_risk(problem: AverageCase, schedule: ArrayLike, *, decay: float = 0.0) -> SignedLog:
    """Return the risk less the Bayes risk of the problem, (...,), for schedules (..., T), without a subtraction."""
    etas, shift = _checked("excess_risk", problem, schedule, decay)
    factors = Factors.of(etas[..., None], problem.nodes + shift)
    rest = _remainder(problem, shift, np.prod(factors.sign, axis=-2), np.sum(factors.log, axis=-2))
    gain = np.log(problem.weights) + np.log(problem.nodes / (problem.nodes + problem.decay))
    return signed_sum(1.0, gain + 2 * rest.log, np.log(problem.signal))


def d_risk(problem: AverageCase, schedule: ArrayLike, *, decay: float = 0.0) -> SignedLog:
    """Return d risk/d eta_k, (..., T), for the steps `schedule` (..., T) on the loss with weight decay `decay` >= 0.

    >>> d_risk(AverageCase([1.0], [1.0], noise=1.0), [0.25, 0.5]).to_float().round(12)
    array([0.25 , 0.375])
    """
    etas, shift = _checked("d_risk", problem, schedule, decay)
    factors = Factors.of(etas[..., None], problem.nodes + shift)
    sign, log = factors.sign, factors.log
    rest = _remainder(problem, shift, np.prod(sign, axis=-2), np.sum(log, axis=-2))
    others = _without(log, sign)
    gain = rest.log + np.log(problem.weights * problem.nodes)
    return signed_sum(-rest.sign[..., None, :] * others.sign, gain[..., None, :] + others.log, _twice(problem))


def d_risk_decay(problem: AverageCase, schedule: ArrayLike, *, decay: float = 0.0) -> SignedLog:
    """Return d risk/d decay, (...,), for the steps `schedule` (..., T) on the loss with weight decay `decay` >= 0.

    >>> d_risk_decay(AverageCase([1.0], [1.0], noise=1.0), [0.25, 0.5]).to_float().round(12)
    np.float64(-0.0625)
    """
    etas, shift = _checked("d_risk_decay", problem, schedule, decay)
    moved = problem.nodes + shift
    factors = Factors.of(etas[..., None], moved)
    sign, log = factors.sign, factors.log
    product = SignedLog(np.prod(sign, axis=-2), np.sum(log, axis=-2))
    rest = _remainder(problem, shift, product.sign, product.log)
    others = _without(log, sign) * etas[..., None]
    slope = (others.sum(axis=-2) + _filter(product, moved) * -1.0) / moved  # of q in the decay
    term = rest * slope * (problem.weights * problem.nodes)
    return signed_sum(-term.sign, term.log, _twice(problem))


def _checked(function: str, problem: AverageCase, schedule: ArrayLike, decay: float) -> tuple[Floats, float]:
    """Return the step sizes and the decay, or raise."""
    check_kind(function, "problem", problem, AverageCase)
    etas = checked_schedule(function, schedule, problem.horizon, _LONGER)
    shift = checked_level(function, "decay", decay)
    if shift.ndim:
        bad_value(function, "decay", f"of shape {shift.shape}", "one number")
    entries = etas.size * problem.nodes.size
    check_memory(function, "schedule", f"of shape {etas.shape}", entries, "Ask for fewer schedules at once.")
    return etas, float(shift)


def _remainder(problem: AverageCase, shift: float, sign: Floats, log: Floats) -> SignedLog:
    """Return R(s_j) (..., N) from the sign and log of A(s_j)."""
    if shift == problem.decay:
        return SignedLog(sign, log)
    moved = problem.nodes + shift
    kept = SignedLog(sign, log + np.log((problem.nodes + problem.decay) / moved))
    return kept + SignedLog.from_float(np.broadcast_to((shift - problem.decay) / moved, sign.shape))


def _filter(product: SignedLog, moved: Floats) -> SignedLog:
    """Return q = (1 - A)/(s + decay), by expm1 where A is next to 1."""
    with np.errstate(divide="ignore", over="ignore"):
        near = SignedLog.from_float(-np.expm1(np.minimum(product.log, 1.0)))
        far = SignedLog.from_float(1.0) + product * -1.0
    close = (product.sign > 0) & (product.log < 1.0)
    chosen = SignedLog(np.where(close, near.sign, far.sign), np.where(close, near.log, far.log))
    return chosen / moved


def _without(log: Floats, sign: Floats) -> SignedLog:
    """Return the products of all factors but one, (..., T, N)."""
    if np.all(log > -np.inf):
        whole = np.sum(log, axis=-2, keepdims=True)
        return SignedLog(np.prod(sign, axis=-2, keepdims=True) * sign, whole - log)
    sum_before, sum_after = np.zeros_like(log), np.zeros_like(log)  # a factor 0 cannot be divided out
    sum_before[..., 1:, :] = np.cumsum(log[..., :-1, :], axis=-2)
    sum_after[..., :-1, :] = np.cumsum(log[..., :0:-1, :], axis=-2)[..., ::-1, :]
    sign_before, sign_after = np.ones_like(sign), np.ones_like(sign)
    sign_before[..., 1:, :] = np.cumprod(sign[..., :-1, :], axis=-2)
    sign_after[..., :-1, :] = np.cumprod(sign[..., :0:-1, :], axis=-2)[..., ::-1, :]
    return SignedLog(sign_before * sign_after, sum_before + sum_after)


def _twice(problem: AverageCase) -> float:
    return float(np.log(2.0) + np.log(problem.signal))
