"""The noisy quadratic model: descent on f(w) = sum_i h_i w_i^2/2, each step with a fresh noisy target.

The gradient of step k is h_i (w_i - c_i) with targets c_i ~ (0, s_i^2), independent from step to step. With A_i =
E w_i^2 and step sizes eta_1 .. eta_T,

    A_i+ = (1 - eta h_i)^2 A_i + eta^2 h_i^2 s_i^2,        F_k = sum_i h_i A_i/2 after k steps.

F is the expected loss above its minimum. The gradient of F_T in the schedule is that of an adjoint that starts at
L_i = h_i/2 and goes back by L_i = (1 - eta h_i)^2 L_i+ (`schedule_gradient`). All sums but that gradient are of terms
that are not negative, and are held as logarithms: any step size and horizon is in range. eta and h count as exact
numbers, also where eta h is almost 1. In one dimension the best step of all is the greedy one, and
1/A_k = 1/A_0 + k/s^2.

The schedules, greedy and optimal, are in `noisy_schedules`. Model after Wu et al. 2018 (Understanding
short-horizon bias in stochastic meta-optimization); formulas derived, checked by tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, finite_floats, step_counts
from metagrad.theory.numbers.modes import Factors
from metagrad.theory.numbers.signed_log import SignedLog, signed_sum
from metagrad.theory.sgd._checks import checked_eta, checked_scalar, within_range


@dataclass(frozen=True, eq=False)
class NoisyQuadratic:
    """Curvatures h (d,), variances of the targets s^2 (d,), and second moments A_0 (d,) at the start.

    h is positive, the others are not negative; magnitudes from 1e-60 to 1e60. ValueError otherwise.

    >>> NoisyQuadratic([1.0, 0.05], [1.0, 20.0], [100.0, 100.0]).largest_stable
    2.0
    """

    curvatures: Floats
    noise: Floats
    start: Floats

    def __post_init__(self) -> None:
        """Validate."""
        curvatures = within_range("NoisyQuadratic", "curvatures", self.curvatures)
        if curvatures.ndim != 1 or curvatures.size == 0:
            bad_value("NoisyQuadratic", "curvatures", f"of shape {curvatures.shape}", "shape (d,) with d >= 1")
        if np.any(curvatures <= 0):
            bad_value("NoisyQuadratic", "curvatures", f"{curvatures.min():.6g} at its smallest", "positive numbers")
        object.__setattr__(self, "curvatures", curvatures)
        for name in ("noise", "start"):
            array = within_range("NoisyQuadratic", name, getattr(self, name))
            if array.shape != curvatures.shape:
                bad_value("NoisyQuadratic", name, f"of shape {array.shape}", f"shape {curvatures.shape}")
            if np.any(array < 0):
                bad_value("NoisyQuadratic", name, f"{array.min():.6g} at its smallest", "numbers that are not negative")
            object.__setattr__(self, name, array)

    @property
    def largest_stable(self) -> float:
        """2/max h: a larger step makes the sharpest coordinate grow."""
        return float(2 / self.curvatures.max())


def expected_loss(problem: NoisyQuadratic, schedule: ArrayLike) -> SignedLog:
    """Return F_k (..., T+1) for k = 0..T along schedules (..., T).

    >>> expected_loss(NoisyQuadratic([1.0], [1.0], [3.0]), [0.75, 0.5]).to_float().round(12)
    array([1.5    , 0.375  , 0.21875])
    """
    check_kind("expected_loss", "problem", problem, NoisyQuadratic)
    log_A = _log_moments(problem, checked_schedule("expected_loss", problem, schedule))
    return signed_sum(1.0, log_A + np.log(problem.curvatures), np.log(0.5))


def schedule_gradient(problem: NoisyQuadratic, schedule: ArrayLike) -> SignedLog:
    """Return dF_T/d eta_k (..., T) = sum_i L_i [-2 h_i (1 - eta_k h_i) A_i + 2 eta_k h_i^2 s_i^2].

    L_i is the adjoint after step k, A_i the moment before it.
    """
    check_kind("schedule_gradient", "problem", problem, NoisyQuadratic)
    etas = checked_schedule("schedule_gradient", problem, schedule)
    log_A, h = _log_moments(problem, etas)[..., :-1, :], problem.curvatures
    factors = Factors.of(etas[..., None], h)
    log_factors = factors.log
    with np.errstate(divide="ignore"):
        log_pull = np.log(2 * h) + log_factors + log_A
        log_noise = np.log(2 * h**2) + np.log(np.abs(etas))[..., None] + np.log(problem.noise)
    later = np.zeros_like(log_factors)
    later[..., :-1, :] = 2 * np.cumsum(log_factors[..., :0:-1, :], axis=-2)[..., ::-1, :]
    log_L = later + np.log(h / 2)
    sign = np.concatenate([-factors.sign, np.broadcast_to(np.sign(etas)[..., None], factors.sign.shape)], axis=-1)
    return signed_sum(sign, np.concatenate([log_L + log_pull, log_L + log_noise], axis=-1), 0.0)


def one_dimensional(start: float, noise: float, steps: ArrayLike) -> Floats:
    """Return A_k = 1/(1/A_0 + k/s^2) after k steps of the best schedule in one dimension; k from 1.

    >>> one_dimensional(100.0, 1.0, [1, 100]).round(5)
    array([0.9901, 0.01  ])
    """
    k = step_counts("one_dimensional", steps)
    first, variance = (checked_scalar("one_dimensional", name, x) for name, x in (("start", start), ("noise", noise)))
    if first == 0 or variance == 0:
        return np.zeros_like(k)
    return np.asarray(1 / (1 / first + k / variance), np.float64)


def checked_schedule(function: str, problem: NoisyQuadratic, schedule: ArrayLike) -> Floats:
    """Return schedules (..., T) with T >= 1 and entries whose product with max h is within 1e-60 to 1e60, or raise."""
    check_kind("checked_schedule", "problem", problem, NoisyQuadratic)
    etas = finite_floats(function, "schedule", schedule)
    if etas.ndim == 0 or etas.shape[-1] == 0:
        bad_value(function, "schedule", f"of shape {etas.shape}", "shape (..., T) with T >= 1")
    return checked_eta(function, etas, float(problem.curvatures.max()))


def _log_moments(problem: NoisyQuadratic, etas: Floats) -> Floats:
    """Return log A (..., T+1, d) before the first step and after each."""
    h = problem.curvatures
    with np.errstate(divide="ignore"):
        log_A = np.broadcast_to(np.log(problem.start), (*etas.shape[:-1], len(h)))
        kept = 2 * Factors.of(etas[..., None], h).log
        added = 2 * np.log(np.abs(etas)[..., None] * h) + np.log(problem.noise)
    moments = [log_A]
    for k in range(etas.shape[-1]):
        moments.append(np.logaddexp(moments[-1] + kept[..., k, :], added[..., k, :]))
    return np.stack(moments, axis=-2)
