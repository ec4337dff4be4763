"""Schedules and momentum in closed form: what a derivative costs beside one rollout in plain NumPy.

The gradient of the risk in all T steps of a schedule: theory on the spectrum of a sample, given and found anew, beside
one rollout on that sample, which gives the value alone. The sample has no noise and its own w*: the weights of the
spectrum are the shares of w*, so that theory's risk is ||w_T - w*||^2 of this rollout, and its gradient is compared
with that of reverse mode through all steps. The best schedule of the limit of many inputs: in closed form and by
Lanczos' method. Momentum: gradient and Hessian after a million steps beside a rollout of a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Contender, interleave
from benchmarks.problems import quadratics
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "gradient of a schedule, best schedules, and Hessians of momentum in closed form; d = 1000, T = 1000"
ALLOWED = 1.0
_REPETITIONS = 5  # of seconds each
_GAMMA, _SIGMA = 0.5, 0.5
_ETA, _MU = 0.5, 0.9

Floats = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """Sizes: n rows in d dimensions, T steps, and the steps `far` of the closed form of momentum."""

    n: int = 2000
    d: int = 1000
    steps: int = 1000
    far: int = 10**6
    seed: int = 0


def run(settings: Settings) -> Result:
    """Measure all three at d = 1000 and T = 1000."""
    case, repetitions = Case(seed=settings.seed), min(_REPETITIONS, settings.repetitions)
    return Result([*gradient_rows(case, repetitions), *best_rows(case, repetitions), *momentum_rows(case, repetitions)])


def sample(case: Case) -> tuple[Floats, Floats, Floats]:
    """Return X (n, d), w* (d,) and a schedule (T,) that decays from 1.5 to 0.15 over the largest eigenvalue, about."""
    stream = np.random.default_rng(np.random.SeedSequence([case.seed, case.n, case.d]))
    X, w_star = stream.standard_normal((case.n, case.d)), stream.standard_normal(case.d)
    largest = (1 + (case.d / case.n) ** 0.5) ** 2
    return X, w_star, np.geomspace(1.5, 0.15, case.steps) / largest


def rollout(X: Floats, w_star: Floats, schedule: Floats) -> float:
    """Return ||w_T - w*||^2 of gradient descent on ||X(w - w*)||^2/(2n) from w_0 = 0."""
    y, w = X @ w_star, np.zeros(len(w_star))
    for eta in schedule:
        w -= eta / len(X) * ((X @ w - y) @ X)
    return float((w - w_star) @ (w - w_star))


def rollout_of_matrix(H: Floats, w_star: Floats, schedule: Floats) -> float:
    """Return the same from H = X'X/n."""
    away = -w_star
    for eta in schedule:
        away = away - eta * (H @ away)
    return float(away @ away)


def reverse_mode(H: Floats, w_star: Floats, schedule: Floats) -> Floats:
    """Return the derivative of ||w_T - w*||^2 in every step, by hand: all gradients kept, then one step back each."""
    away, kept = -w_star, np.empty((len(schedule), len(w_star)))
    for k, eta in enumerate(schedule):
        kept[k] = H @ away
        away = away - eta * kept[k]
    adjoint, found = 2 * away, np.empty(len(schedule))
    for k in range(len(schedule) - 1, -1, -1):
        found[k] = -(adjoint @ kept[k])
        adjoint = adjoint - schedule[k] * (H @ adjoint)
    return found


def problem_of(X: Floats, w_star: Floats) -> Any:
    """Return the spectrum of X'X/n with the shares of w* as its weights."""
    from metagrad.theory.schedules import AverageCase

    eigenvalues, basis = np.linalg.eigh(X.T @ X / len(X))
    size = float(w_star @ w_star)
    return AverageCase(eigenvalues, (basis.T @ w_star) ** 2 / size, signal=size)


def gradient_rows(case: Case, repetitions: int) -> list[Row]:
    """Compare theory's gradient in all steps with the value of one rollout."""
    from metagrad.theory.schedules import d_risk

    X, w_star, schedule = sample(case)
    H = X.T @ X / case.n
    given = problem_of(X, w_star)
    calls: list[Callable[[], Any]] = [
        lambda: d_risk(given, schedule).to_float(),
        lambda: d_risk(problem_of(X, w_star), schedule).to_float(),
        lambda: rollout(X, w_star, schedule),
        lambda: rollout_of_matrix(H, w_star, schedule),
        lambda: reverse_mode(H, w_star, schedule),
    ]
    ours, anew, with_X, with_H, reverse = interleave([Contender("", call) for call in calls], repetitions)
    exact = calls[4]()
    far = [float(np.abs(calls[i]() - exact).max() / np.abs(exact).max()) for i in (0, 1)]
    what = f"gradient of the risk in all steps of a schedule, d = {case.d}, T = {case.steps}"
    given_name, anew_name = "theory.schedules.d_risk, spectrum given", "theory.schedules.d_risk, spectrum found"
    by_X, by_H = f"one rollout, value alone, X with n = {case.n}", "one rollout, value alone, H given"
    note = "the gradient is compared with that of reverse mode"
    return [
        Row(what, given_name, ours, by_X, with_X, far[0], target=2.0, note=note),
        Row(what, anew_name, anew, by_X, with_X, far[1], target=2.0, note=note),
        Row(what, given_name, ours, by_H, with_H, far[0], note=note),
        Row(what, anew_name, anew, by_H, with_H, far[1], note=note),
        Row(what, given_name, ours, "reverse mode by hand, H given", reverse, far[0]),
    ]


def best_rows(case: Case, repetitions: int) -> list[Row]:
    """Time the best schedule of the limit, in closed form and by Lanczos' method on a rule with one node more."""
    from metagrad.theory.schedules import AverageCase, best_schedule, proportional

    calls: list[Callable[[], Floats]] = [
        lambda: proportional.best_schedule(case.steps, gamma=_GAMMA, sigma=_SIGMA),
        lambda: best_schedule(AverageCase.limit(_GAMMA, case.steps + 1, sigma=_SIGMA), case.steps),
    ]
    closed, lanczos = interleave([Contender("", call) for call in calls], repetitions)
    far = relative_difference(calls[0](), calls[1]())
    what = f"best schedule of the limit d/n -> {_GAMMA}, T = {case.steps}"
    return [
        Row(what, "theory.schedules.proportional, closed form", closed, "allowed", ALLOWED, far, target=1.0),
        Row(what, "theory.schedules.optimal, Lanczos", lanczos, "allowed", ALLOWED, far, target=1.0),
    ]


def heavy_ball(H: Floats, w0: Floats, steps: int) -> float:
    """Return w'Hw/2 after `steps` steps of heavy ball."""
    w, v = w0, np.zeros(len(w0))
    for _ in range(steps):
        v = _MU * v - _ETA * (H @ w)
        w = w + v
    return float(w @ (H @ w)) / 2


def momentum_rows(case: Case, repetitions: int) -> list[Row]:
    """Compare gradient and Hessian in (eta, mu) in closed form with the value of a rollout."""
    from metagrad.theory import momentum
    from metagrad.theory.quadratic import Spectrum

    H, w0 = (x[0] for x in quadratics(1, case.d, case.seed))
    spectrum = Spectrum.of(H, w0)

    def derivatives() -> Any:
        at = "heavy_ball", spectrum, _ETA, _MU, case.far
        return momentum.d_objective(*at), momentum.d2_objective(*at)  # type: ignore[arg-type]

    calls: list[Callable[[], Any]] = [derivatives, lambda: heavy_ball(H, w0, case.steps)]
    ours, peer = interleave([Contender("", call) for call in calls], repetitions)
    value = momentum.objective("heavy_ball", spectrum, _ETA, _MU, case.steps).to_float()
    far = relative_difference(value, calls[1]())
    what = f"gradient and Hessian of heavy ball in (eta, mu), d = {case.d}, t = {case.far}"
    note = f"the values are compared at t = {case.steps}"
    name = f"one rollout of {case.steps} steps, value alone, H given"
    return [Row(what, "theory.momentum, spectrum given", ours, name, peer, far, note=note)]
