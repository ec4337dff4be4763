"""The best T steps of gradient descent for any spectrum, signal and noise: the zeros of an orthogonal polynomial.

Theorem. Let pi_T be orthogonal of degree T for s dmu(s), with zeros z_1 .. z_T, and delta = noise/signal. Among all
methods w_T = q(H) X'y/n with a polynomial q of degree at most T - 1 (gradient descent with any steps, with momentum,
with weight decay), the least risk has gradient descent **on the loss with weight decay delta** and the steps

    eta_k = 1/(z_k + delta),   k = 1..T, in any order.

Proof. By the square in `risk`, the excess over the Bayes risk is signal integral s/(s + delta) R(s)^2 dmu with
R = 1 - (s + delta) q, which is every polynomial of degree T with R(-delta) = 1, and no other. R is least when it is
orthogonal to every change, (s + delta) p(s) with p of degree at most T - 1: integral s R(s) p(s) dmu = 0. So
R = pi_T/pi_T(-delta), which does not vanish at -delta < z_1. Its zeros are real and positive, and decay delta
makes R = prod_k (1 - eta_k (s + delta)). The noise moves the steps and adds the decay; the zeros stay the same.

Without noise this is the average-case method of Pedregosa and Scieur 2020, here as a schedule. With it, the nearest in
the literature that was searched is early stopping against ridge regression (Ali, Kolter and Tibshirani 2019, within a
factor of 1.69 at continuous time; Richards, Dobriban and Rebeschini 2021, the best of a finite class of step sizes)
and conjugate gradients on the penalised normal equations (Hucker, Reiss and Stark 2025; Gerth and Soodhalter 2025),
which choose the polynomial by the data. The statement above was not found there; it is a short consequence of known
facts. Without decay the best q has a residual 1 - s q whose zeros may be complex, see `regimes`.
"""

from __future__ import annotations

import numpy as np

from metagrad.theory.numbers.checks import Floats, check_kind
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.schedules._checks import checked_steps
from metagrad.theory.schedules.average_case import AverageCase
from metagrad.theory.schedules.orthogonal import zeros
from metagrad.theory.schedules.risk import bayes_risk, excess_risk


def best_schedule(problem: AverageCase, steps: int) -> Floats:
    """Return the best step sizes (T,), the largest first, for descent on the loss with decay `problem.decay`.

    ValueError for more steps than different eigenvalues: so many leave no excess. In the limit of many inputs the
    closed form of `proportional` is faster and keeps more digits.

    >>> best_schedule(AverageCase([1.0, 3.0], [3.0, 1.0], noise=1.0), 1)
    array([0.33333333])
    """
    check_kind("best_schedule", "problem", problem, AverageCase)
    checked_steps("best_schedule", steps)
    return np.asarray(1 / (zeros(problem, steps) + problem.decay), np.float64)


def best_excess(problem: AverageCase, steps: int) -> SignedLog:
    """Return what the best T steps leave over the Bayes risk of the problem; 0 when T reaches the eigenvalues.

    >>> best_excess(AverageCase([1.0, 3.0], [3.0, 1.0], noise=1.0), 1).to_float().round(12)
    np.float64(0.25)
    """
    check_kind("best_excess", "problem", problem, AverageCase)
    etas = best_schedule(problem, steps)
    if etas.size == problem.nodes.size:
        return SignedLog(np.array(0.0), np.array(-np.inf))
    return excess_risk(problem, etas, decay=problem.decay)


def best_risk(problem: AverageCase, steps: int) -> float:
    """Return the least risk of any polynomial of degree T - 1 in H, which `best_schedule` attains."""
    check_kind("best_risk", "problem", problem, AverageCase)
    return bayes_risk(problem) + float(best_excess(problem, steps).to_float(ieee=True))
