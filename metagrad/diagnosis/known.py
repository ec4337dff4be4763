"""What theory knows of a case: the horizon of plain floats on quadratics, and who wins the tuning of least squares.

Beside `estimators/closed_form.py` the one place where the engine looks at the theory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metagrad.diagnosis.case import Case
from metagrad.measures import as_measure
from metagrad.objectives import Final, LogFinal
from metagrad.optimizers import GradientDescent
from metagrad.protocols import Joint
from metagrad.tasks import DiagonalQuadratic, LeastSquares, Quadratic
from metagrad.xp import to_host

_TRAIN = ("loss", "train", "excess")
_LARGE_NOISE, _FEWEST_STEPS = 1.0, 10  # where the boundary is within 5 % of its expansion in 1/sigma
_CLOSE = 0.02  # of the larger risk: what the limit of many inputs does not decide


def plain_horizon(case: Case, dtype: Any) -> float | None:
    """Return from which step on plain backpropagation breaks in some task; None where no theory knows.

    Gradient descent with one step size on quadratics, `Final` or `LogFinal` of the loss: `theory.quadratic.horizons`.
    """
    eta, quadratic = _one_step_size(case), type(case.task) in (Quadratic, DiagonalQuadratic)
    objective: Any = case.objective
    if eta is None or not quadratic or type(objective) not in (Final, LogFinal) or _measure(case) != "loss":
        return None
    from metagrad.theory.quadratic import Spectrum, horizons

    task: Any = case.task
    w0 = np.asarray(to_host(task.w0), np.float64)
    if type(task) is DiagonalQuadratic:
        spectrum = Spectrum(np.asarray(to_host(task.eigenvalues), np.float64), w0**2)
    else:
        H = np.asarray(to_host(task.H), np.float64)
        spectrum = Spectrum.of(np.broadcast_to(H, (w0.shape[0], *H.shape[-2:])), w0)
    number = horizons.RANGES[np.dtype(dtype).name]
    of = horizons.log_gradient_horizon if type(objective) is LogFinal else horizons.gradient_horizon
    first = float(np.min(of(spectrum, np.asarray(eta), number).earliest))
    return first if first >= 0 else None  # a start at the minimum has no modes


def _one_step_size(case: Case) -> float | None:
    phi = case.phi.rule if isinstance(case.phi, Joint) else case.phi
    if type(case.rule) is not GradientDescent or np.ndim(phi.eta) != 0:
        return None
    return float(to_host(phi.eta))


def _measure(case: Case) -> str:
    objective: Any = case.objective
    return str(as_measure(type(objective).__name__, objective.measure).name)


class Validation(NamedTuple):
    """Whether n and the noise call for a validation objective.

    `verdict`: "yes", "no", "close", "used" (the objective looks at held-out data or the population already) or
    "unknown"; `why`: a reason, or the numbers in words. `ratio` n/d, `noise` sigma over the root of the signal, and
    the risks, relative to the signal, that either way reaches after so many steps in the limit of many inputs;
    `boundary` the n/d at which both are equal, for sigma from 1 on; NaN if unknown.
    """

    verdict: str
    why: str
    ratio: float = np.nan
    noise: float = np.nan
    train_risk: float = np.nan
    validation_risk: float = np.nan
    boundary: float = np.nan


def validation(case: Case) -> Validation:
    """Return the side of the phase diagram on which least squares lies; "unknown" for all else.

    Train-by-train tunes and runs on all n samples, train-by-validation on a half each (`theory.least_squares`,
    `tuned_limit`): Gaussian inputs, many of them. sigma and the signal are medians over tasks of what the samples
    say: by the true weights, or else by the least-squares residual where n > d.
    """
    measure = _measure(case)
    if measure in ("validation", "risk"):
        return Validation("used", f"the objective looks at the {measure} already")
    task: Any = case.task
    if type(task) is not LeastSquares:
        return Validation("unknown", f"theory has a phase diagram for LeastSquares, not for a {type(task).__name__}")
    if measure not in _TRAIN or type(case.rule) is not GradientDescent or task.batch_size is not None:
        return Validation("unknown", "theory has a phase diagram for full-batch gradient descent on the train loss")
    levels = [_levels(task, b) for b in range(task.y.shape[0])]
    known = [one for one in levels if one is not None]
    if not known:
        return Validation("unknown", "n <= d without w_star: the samples do not tell noise from signal; give w_star")
    noise, ratio = (float(np.median(column)) for column in zip(*known, strict=True))
    if not np.isfinite(noise):
        return Validation("yes", "the samples hold no signal above their noise", ratio, noise)
    from metagrad.theory.least_squares import generalization, tuned_limit

    train = float(tuned_limit.risk_tbt(case.steps, ratio=ratio, sigma=noise))
    held = float(tuned_limit.risk_tbv(case.steps, ratio=ratio, sigma=noise))
    verdict = "yes" if held < train else "no"
    if abs(held - train) <= _CLOSE * max(held, train):
        verdict = "close"
    why = f"n/d = {ratio:.3g} and sigma = {noise:.3g} of the signal's root"
    large = noise >= _LARGE_NOISE and case.steps >= _FEWEST_STEPS
    boundary = float(generalization.large_noise_boundary(case.steps, sigma=noise)) if large else np.nan
    return Validation(verdict, why, ratio, noise, train, held, boundary)


def _levels(task: LeastSquares, b: int) -> tuple[float, float] | None:
    """Return (sigma over the root of the signal, n/d) of task b, inputs scaled to variance 1; None if unknown."""
    X, y = (np.asarray(to_host(x), np.float64) for x in task.samples(b))
    w0 = np.asarray(to_host(task.w0), np.float64)[b]
    n, d = X.shape
    power = float(np.mean(X * X))
    if power == 0:
        return None
    if task.w_star is not None:
        w = np.asarray(to_host(task.w_star), np.float64)[b]
        variance, bias = float(np.mean((y - X @ w) ** 2)), 0.0
    elif n > d:
        w, _, rank, s = np.linalg.lstsq(X, y, rcond=None)
        if rank < d:
            return None
        variance = float(np.sum((y - X @ w) ** 2)) / (n - d)
        bias = variance * float(np.sum(s**-2.0))
    else:
        return None
    signal = power * (float(np.sum((w - w0) ** 2)) - bias)
    return (float(np.sqrt(variance / signal)) if signal > 0 else np.inf), n / d
