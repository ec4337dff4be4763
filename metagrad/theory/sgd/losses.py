"""SGD on a finite least-squares sample: exact expected losses and risk along the trajectory, and their derivatives.

The expectation is over the draws of the minibatches (and over w_0, where only its moments are given); the data are
fixed, or averaged over the targets given the inputs (`SgdAverage`). The moments follow `recursion`. Every function
takes `(problem, ..., eta, steps)`:

| call                               | step sizes                                     | result             |
|------------------------------------|------------------------------------------------|--------------------|
| `train_loss(problem, eta, 100)`    | constant, one run for each entry of eta (...,) | shape (..., 101)   |
| `train_loss(problem, schedule)`    | schedule (..., T), its own eta in every step   | shape (..., T + 1) |

where entry k of the last axis is the expectation after k steps. Results are `SignedLog`: above the
`stability_threshold` they leave every float range. `d_` functions differentiate in a constant eta, or in a common shift
of all step sizes of a schedule; `schedule_gradient` in each step size. A step size eta with |eta| max_i ||x_i||^2
outside of 1e-60 to 1e60 (and not 0), or a wrong shape, is a ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_type, bad_value, check_kind, check_memory, step_counts
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.sgd import adjoint, powers
from metagrad.theory.sgd._checks import checked_eta
from metagrad.theory.sgd.average import SgdAverage
from metagrad.theory.sgd.problem import (
    Measure,
    SgdProblem,
    excess_measure,
    risk_measure,
    train_measure,
    validation_measure,
)
from metagrad.theory.sgd.recursion import Recursion, trajectory
from metagrad.theory.sgd.stepping import follow


def train_loss(problem: SgdProblem, eta: ArrayLike, steps: int | None = None) -> SignedLog:
    """Return E||Xw_k - y||^2/(2n) after k = 0..T steps.

    >>> train_loss(SgdProblem([[1.0], [3.0]], [1.0, 3.0]), 0.25, 1).to_float()
    array([2.5    , 2.65625])
    """
    check_kind("train_loss", "problem", problem, SgdProblem)
    return expected(problem, train_measure(problem), eta, steps)


def d_train_loss(problem: SgdProblem, eta: ArrayLike, steps: int | None = None) -> SignedLog:
    """Return the eta-derivative of `train_loss`."""
    check_kind("d_train_loss", "problem", problem, SgdProblem)
    return _slope(problem, train_measure(problem), eta, steps)


def excess_train_loss(problem: SgdProblem, eta: ArrayLike, steps: int | None = None) -> SignedLog:
    """Return E f(w_k) - min f, accurate also where it is far below min f."""
    check_kind("excess_train_loss", "problem", problem, SgdProblem)
    return expected(problem, excess_measure(problem), eta, steps)


def d_excess_train_loss(problem: SgdProblem, eta: ArrayLike, steps: int | None = None) -> SignedLog:
    """Return the eta-derivative of `excess_train_loss`, which is that of `train_loss`."""
    check_kind("d_excess_train_loss", "problem", problem, SgdProblem)
    return _slope(problem, excess_measure(problem), eta, steps)


def validation_loss(
    problem: SgdProblem, X_val: ArrayLike, y_val: ArrayLike, eta: ArrayLike, steps: int | None = None
) -> SignedLog:
    """Return E||X_val w_k - y_val||^2/(2 n_val) on held-out samples."""
    check_kind("validation_loss", "problem", problem, SgdProblem)
    return expected(problem, validation_measure(problem, X_val, y_val), eta, steps)


def d_validation_loss(
    problem: SgdProblem, X_val: ArrayLike, y_val: ArrayLike, eta: ArrayLike, steps: int | None = None
) -> SignedLog:
    """Return the eta-derivative of `validation_loss`."""
    check_kind("d_validation_loss", "problem", problem, SgdProblem)
    return _slope(problem, validation_measure(problem, X_val, y_val), eta, steps)


def risk(problem: SgdProblem, w_star: ArrayLike, eta: ArrayLike, steps: int | None = None) -> SignedLog:
    """Return E||w_k - w*||^2 for w_star (d,)."""
    check_kind("risk", "problem", problem, SgdProblem)
    return expected(problem, risk_measure(problem, w_star), eta, steps)


def d_risk(problem: SgdProblem, w_star: ArrayLike, eta: ArrayLike, steps: int | None = None) -> SignedLog:
    """Return the eta-derivative of `risk`."""
    check_kind("d_risk", "problem", problem, SgdProblem)
    return _slope(problem, risk_measure(problem, w_star), eta, steps)


def expected(problem: SgdProblem | SgdAverage, measure: Measure, eta: ArrayLike, steps: int | None = None) -> SignedLog:
    """Return the expectation of any quadratic `Measure` of w_k, k = 0..T."""
    check_kind("expected", "problem", problem, SgdProblem | SgdAverage)
    check_kind("expected", "measure", measure, Measure)
    schedules, batch = _schedules("sgd", problem, eta, steps)
    ((value,),) = follow(_recursion(problem), [measure], schedules, tangent=False)
    return _shaped(value, batch)


def values_and_slopes(
    problem: SgdProblem | SgdAverage, measures: Sequence[Measure], eta: ArrayLike, steps: int | None = None
) -> list[tuple[SignedLog, SignedLog]]:
    """Return (value, eta-derivative) of several measures from one pass over the trajectory."""
    check_kind("values_and_slopes", "problem", problem, SgdProblem | SgdAverage)
    _check_measures("values_and_slopes", measures)
    schedules, batch = _schedules("sgd", problem, eta, steps)
    found = follow(_recursion(problem), measures, schedules, tangent=True)
    return [(_shaped(value, batch), _shaped(slope, batch)) for value, slope in found]


def at_steps(
    problem: SgdProblem | SgdAverage, measures: Sequence[Measure], eta: ArrayLike, steps: ArrayLike
) -> list[tuple[SignedLog, SignedLog]]:
    """Return (value, eta-derivative) of several measures after `steps` (K,) steps alone: each (..., K) for eta (...,).

    By powers of a matrix of order D = d(d+1)/2 + d + 1 instead of steps: O(D^3 log t), so that t = 10^6 is no more
    work than a few steps; needs 40 D^2 bytes. Errors of order t eps.
    """
    check_kind("at_steps", "problem", problem, SgdProblem | SgdAverage)
    _check_measures("at_steps", measures)
    etas, counts = _constant("at_steps", problem, eta), step_counts("at_steps", steps)
    if counts.ndim != 1 or counts.size == 0:
        bad_value("at_steps", "steps", f"of shape {counts.shape}", "shape (K,) with K >= 1")
    if etas.size == 0:
        bad_value("at_steps", "eta", f"of shape {etas.shape}, empty", "at least one step size")
    value, slope = powers.at_steps(_recursion(problem), measures, etas.ravel(), counts)
    return [(_shaped(value[..., i], etas.shape), _shaped(slope[..., i], etas.shape)) for i in range(len(measures))]


def moments(problem: SgdProblem, eta: ArrayLike, steps: int | None = None) -> tuple[Floats, Floats]:
    """Return E[w_T] (..., d) and E[w_T w_T'] (..., d, d) after the last step; OverflowError beyond float64."""
    check_kind("moments", "problem", problem, SgdProblem)
    schedules, batch = _schedules("moments", problem, eta, steps)
    *_, last = trajectory(Recursion(problem), schedules, tangent=False)
    with np.errstate(over="ignore", invalid="ignore"):
        m, S = np.ldexp(last.m[0], last.k[:, None]), np.ldexp(last.S[0], last.s[:, None, None])
        mixed = m[:, :, None] * problem.centre
        second = S + mixed + np.swapaxes(mixed, 1, 2) + np.outer(problem.centre, problem.centre)
        V = problem.svd[2]
        mean, second = (m + problem.centre) @ V.T, V @ second @ V.T
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(second))):
        raise OverflowError("moments: a moment exceeds float64; use train_loss, risk, .. (SignedLog) or a smaller eta.")
    return mean.reshape(*batch, *mean.shape[1:]), second.reshape(*batch, *second.shape[1:])


def schedule_gradient(problem: SgdProblem, measure: Measure, schedule: ArrayLike) -> SignedLog:
    """Return dV/d eta_k (T,) of V = E[measure of w_T] for a schedule (T,); needs 8 T d^2 bytes.

    >>> problem = SgdProblem([[1.0]], [1.0])
    >>> schedule_gradient(problem, train_measure(problem), [0.5, 0.5]).to_float()
    array([-0.125, -0.125])
    """
    check_kind("schedule_gradient", "problem", problem, SgdProblem)
    check_kind("schedule_gradient", "measure", measure, Measure)
    schedules, batch = _schedules("schedule_gradient", problem, schedule, None)
    if batch:
        bad_value("schedule_gradient", "schedule", f"of shape {np.shape(schedule)}", "one schedule, shape (T,)")
    return adjoint.schedule_gradient(problem, measure, schedules[0])


def _slope(problem: SgdProblem, measure: Measure, eta: ArrayLike, steps: int | None) -> SignedLog:
    ((_, slope),) = values_and_slopes(problem, [measure], eta, steps)
    return slope


def _recursion(problem: SgdProblem | SgdAverage) -> Recursion:
    return problem.recursion if isinstance(problem, SgdAverage) else Recursion(problem)


def _schedules(
    function: str, problem: SgdProblem | SgdAverage, eta: ArrayLike, steps: int | None
) -> tuple[Floats, tuple[int, ...]]:
    """Return the schedules (G, T) and the shape of the batch that G flattens."""
    etas = _constant(function, problem, eta)
    if steps is None:
        if etas.ndim == 0 or etas.shape[-1] == 0:
            remedy = "For a constant step size pass `steps` as well."
            bad_value(function, "eta", f"of shape {etas.shape}", "a schedule, shape (..., T) with T >= 1", remedy)
    elif step_counts(function, steps).ndim:
        bad_value(function, "steps", f"of shape {np.shape(steps)}", "one integer: the whole trajectory comes back")
    else:
        remedy = "The whole trajectory comes back; `at_steps` takes a few horizons of any length."
        check_memory(function, "steps", steps, int(steps) * etas.size, remedy)
        etas = np.broadcast_to(etas[..., None], (*etas.shape, int(steps)))
    return etas.reshape(-1, etas.shape[-1]), etas.shape[:-1]


def _constant(function: str, problem: SgdProblem | SgdAverage, eta: ArrayLike) -> Floats:
    return checked_eta(function, eta, float(np.max(np.sum(problem.X**2, axis=1))))


def _shaped(value: SignedLog, batch: tuple[int, ...]) -> SignedLog:
    steps = value.shape[-1]
    return SignedLog(value.sign.reshape(*batch, steps), value.log.reshape(*batch, steps))


def _check_measures(function: str, measures: Sequence[Measure]) -> None:
    """Raise unless there is at least one, and each is a `Measure`."""
    if not isinstance(measures, list | tuple) or not measures:
        bad_type(function, "measures", f"a {type(measures).__name__}", "a list of at least one Measure")
    for measure in measures:
        check_kind(function, "measures", measure, Measure)
