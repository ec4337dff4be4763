"""Theory as an estimator: the exact meta-gradient of gradient descent on quadratics and least squares, at any horizon.

The only module of the engine that looks at `metagrad.theory`; they share no code, which is what makes their agreement
evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metagrad.errors import Status, bad_value
from metagrad.objectives import Final, LogExcess, LogFinal, Mean, MeanLog, WeightedSum
from metagrad.optimizers import GradientDescent, Scheduled
from metagrad.protocols import Estimate, GradientKind, Joint, Objective, Position, Rule, Task, Tree
from metagrad.scaled import Scaled
from metagrad.tasks import DiagonalQuadratic, LeastSquares, Quadratic
from metagrad.xp import Array, to_host

_WHERE = "closed_form"


@dataclass(frozen=True)
class ClosedForm:
    """The closed forms of `metagrad.theory.quadratic` and `least_squares`, computed in float64 on the host.

    Covers `Quadratic` and `DiagonalQuadratic` with `GradientDescent` and every objective; eta one for all or one a
    task. With `Scheduled`, and with eta per coordinate on `DiagonalQuadratic`: `Final` and `LogFinal`.
    `gradient="stop_gradient"`: `Final` and `LogFinal`, eta one for all or one a task.
    `LeastSquares`, full batch: `Final`, `LogFinal` and `LogExcess` of every measure, eta one for all or one a task;
    with `Scheduled` the train loss and its excess. Anything else is a ValueError.
    """

    gradient: GradientKind = "full"
    per_task: bool = False

    def __call__(
        self,
        task: Task,
        rule: Rule,
        objective: Objective,
        phi: Tree,
        *,
        steps: int,
        seed: int = 0,
        at: Position | None = None,
        run: int | None = None,
    ) -> Estimate:
        """Return the value and the meta-gradient after `steps` steps; `seed` is not used, nothing is random.

        There is no `at`: a closed form begins where its task does (ValueError).
        """
        if at is not None:
            bad_value(_WHERE, "at", f"the position at t = {at.t}", "None, the start of the task", _USE_REVERSE)
        if isinstance(phi, Joint):
            if phi.task is not None:
                bad_value(_WHERE, "phi", "a Joint with meta-parameters of the task", "those of the rule", _USE_REVERSE)
            found = self(task, rule, objective, phi.rule, steps=steps, seed=seed)
            return replace(found, grad=Joint(found.grad, None))
        inner = rule.rule if type(rule) is Scheduled else rule
        if type(inner) is not GradientDescent:
            bad_value(_WHERE, "rule", f"a {type(inner).__name__}", "GradientDescent", _USE_REVERSE)
        problem = _problem_of(task, objective, steps, self.gradient)
        eta = np.asarray(to_host(phi.eta), dtype=np.float64)
        value, slope = problem.solve(eta, scheduled=type(rule) is Scheduled, per_task=self.per_task)
        if not self.per_task:
            slope = slope.mean(axis=0)
        elif type(rule) is Scheduled:  # phi leads with time, the derivatives with the task
            slope = Scaled(slope.mantissa.swapaxes(0, 1), slope.exponent.swapaxes(0, 1))
        status, step = _status_of(value, steps)
        return Estimate(value, type(phi)(slope.reshape(eta.shape)), status, step)


_USE_REVERSE = "Use method='reverse'."


def _problem_of(task: Any, objective: Any, steps: int, gradient: GradientKind) -> _Quadratics | _Regressions:
    """Return the closed forms for this very class of tasks: a subclass may have changed what its loss is."""
    if type(task) not in (Quadratic, DiagonalQuadratic, LeastSquares):
        expected = "a Quadratic, DiagonalQuadratic or LeastSquares"
        bad_value(_WHERE, "task", f"a {type(task).__name__}", expected, _USE_REVERSE)
    regression = type(task) is LeastSquares
    known = (Final, LogFinal, LogExcess) if regression else (Final, LogFinal, WeightedSum, Mean, MeanLog)
    if type(objective) not in known:
        expected = f"one of {', '.join(o.__name__ for o in known)} on a {type(task).__name__}"
        bad_value(_WHERE, "objective", f"a {type(objective).__name__}", expected, _USE_REVERSE)
    if regression:
        return _Regressions(task, objective, steps, gradient)
    return _Quadratics(task, objective, steps, gradient)


def _status_of(value: Scaled, steps: int) -> tuple[Array, Array]:
    """Return LOG_OF_ZERO where a logarithm is -inf, LOG_OF_NEGATIVE where it is NaN, and the step T."""
    code = np.where(np.isneginf(value.mantissa), Status.LOG_OF_ZERO.code, 0)
    code = np.where(np.isnan(value.mantissa), Status.LOG_OF_NEGATIVE.code, code)
    return code, np.where(code != 0, steps, -1)


class _Quadratics:
    """One closed form to evaluate; every method returns the value (B,) and the derivative (B, ...)."""

    def __init__(self, task: Quadratic | DiagonalQuadratic, objective: Any, steps: int, gradient: GradientKind) -> None:
        from metagrad.theory import quadratic

        self.theory, self.task, self.objective = quadratic, task, objective
        self.steps, self.held = steps, gradient == "stop_gradient"
        self.measure = objective.measure.name
        w0 = np.asarray(to_host(task.w0), dtype=np.float64)
        if isinstance(task, DiagonalQuadratic):
            self.spectrum = quadratic.Spectrum(np.asarray(to_host(task.eigenvalues), dtype=np.float64), w0**2)
        else:
            H = np.asarray(to_host(task.H), dtype=np.float64)
            self.spectrum = quadratic.Spectrum.of(np.broadcast_to(H, (w0.shape[0], *H.shape[-2:])), w0)

    def solve(self, eta: Array, *, scheduled: bool, per_task: bool) -> tuple[Scaled, Scaled]:
        """Dispatch on the shape of eta."""
        if scheduled:
            return self._schedule(eta.swapaxes(0, 1) if per_task else eta)
        if eta.ndim == 0 or (per_task and eta.size == self.task.w0.shape[0]):
            return self._shared(eta.reshape(-1) if per_task else eta)
        return self._coordinates(eta)

    def _shared(self, eta: Array) -> tuple[Scaled, Scaled]:
        theory, at = self.theory, (self.spectrum, eta, self.steps)
        objective, measure = self.objective, self.measure
        if self.held:
            self._only(Final, LogFinal, "gradient='stop_gradient'")
        if isinstance(objective, Final):
            derivative = theory.stop_gradient_d_objective if self.held else theory.d_objective
            return _scaled(theory.objective(*at, measure=measure)), _scaled(derivative(*at, measure=measure))
        if isinstance(objective, LogFinal):
            value = Scaled.of(theory.log_objective(*at, measure=measure))
            if self.held:  # it may leave the float range: it is not divided by what makes G' bounded
                return value, _scaled(theory.stop_gradient_d_log_objective(*at, measure=measure))
            return value, Scaled.of(theory.d_log_objective(*at, measure=measure))
        if isinstance(objective, WeightedSum):
            value = theory.weighted_sum(*at, rho=objective.rho, measure=measure)
            return _scaled(value), _scaled(theory.d_weighted_sum(*at, rho=objective.rho, measure=measure))
        if isinstance(objective, Mean):
            share = Scaled.of(np.asarray(1 / self.steps))
            value, slope = (f(*at, rho=1.0, measure=measure) for f in (theory.weighted_sum, theory.d_weighted_sum))
            return _scaled(value) * share, _scaled(slope) * share
        return self._mean_log(np.asarray(eta))

    def _mean_log(self, eta: Array) -> tuple[Scaled, Scaled]:
        # log f(w_t) = t G_t, so the mean of the logs is (1/T) sum_t t G_t
        times = np.arange(1, self.steps + 1)[:, None]
        values = self.theory.log_objective(self.spectrum, eta, times, measure=self.measure)
        slopes = self.theory.d_log_objective(self.spectrum, eta, times, measure=self.measure)
        return Scaled.of((times * values).sum(axis=0) / self.steps), Scaled.of(
            (times * slopes).sum(axis=0) / self.steps
        )

    def _schedule(self, etas: Array) -> tuple[Scaled, Scaled]:
        self._only(Final, LogFinal, "a schedule")
        if self.held or etas.ndim > 2:
            bad_value(_WHERE, "phi", f"of shape {etas.shape}", "one full-gradient step size a step", _USE_REVERSE)
        value = self.theory.schedule_objective(self.spectrum, etas, measure=self.measure)
        slope = self.theory.d_schedule_objective(self.spectrum, etas, measure=self.measure)
        return self._finish(_scaled(value), _scaled(slope))

    def _coordinates(self, eta: Array) -> tuple[Scaled, Scaled]:
        self._only(Final, LogFinal, "eta per coordinate")
        if self.held or not isinstance(self.task, DiagonalQuadratic):
            bad_value(
                _WHERE, "phi", f"eta of shape {eta.shape}", "eta per coordinate on a DiagonalQuadratic", _USE_REVERSE
            )
        value = self.theory.coordinate_objective(self.spectrum, eta, self.steps, measure=self.measure)
        slope = self.theory.d_coordinate_objective(self.spectrum, eta, self.steps, measure=self.measure)
        return self._finish(_scaled(value), _scaled(slope))

    def _finish(self, value: Scaled, slope: Scaled) -> tuple[Scaled, Scaled]:
        if isinstance(self.objective, Final):
            return value, slope
        total = Scaled(value.mantissa[:, None], value.exponent[:, None])
        quotient = slope / total
        return Scaled.of(value.log() / self.steps), Scaled.of(quotient.mantissa / self.steps, quotient.exponent)

    def _only(self, first: type, second: type, what: str) -> None:
        if not isinstance(self.objective, first | second):
            came = f"a {type(self.objective).__name__} with {what}"
            bad_value(_WHERE, "objective", came, f"{first.__name__} or {second.__name__}", _USE_REVERSE)


class _Regressions:
    """The closed forms of least squares, task by task: in the coordinates of w - w_0, which start at zero."""

    def __init__(self, task: LeastSquares, objective: Any, steps: int, gradient: GradientKind) -> None:
        from metagrad.theory import least_squares
        from metagrad.theory.quadratic import schedule

        if gradient != "full":
            bad_value(_WHERE, "gradient", repr(gradient), "'full' on LeastSquares", _USE_REVERSE)
        if task.batch_size is not None:
            remedy = "metagrad.theory.sgd has the expectations; use method='reverse' for one run."
            bad_value(_WHERE, "task", f"one with batch_size={task.batch_size}", "the full batch", remedy)
        objective.measure.of(task, task.w0, None)  # a measure that this task has no data for says so
        self.theory, self.schedule = least_squares, schedule
        self.task, self.objective, self.steps = task, objective, steps
        measure = objective.measure.name
        # homogeneous: the floor is exactly zero, not what rounding leaves of it
        self.measure = "excess" if measure in ("loss", "train") and task.degree == 2 else measure

    def solve(self, eta: Array, *, scheduled: bool, per_task: bool) -> tuple[Scaled, Scaled]:
        """Return the values (B,) and the derivatives (B, ...)."""
        count = self.task.y.shape[0]
        if scheduled and self.measure not in ("loss", "train", "excess"):
            bad_value(_WHERE, "measure", f"{self.measure!r} with a schedule", "the train loss", _USE_REVERSE)
        expected = (count,) if per_task else ()
        if eta.shape[int(scheduled) :] != expected:
            came = f"eta of shape {eta.shape} with per_task={per_task}"
            bad_value(_WHERE, "phi", came, "a step size for all, or one a task", _USE_REVERSE)
        rates = eta if per_task else np.broadcast_to(eta[..., None], (*eta.shape, count))
        solved = [self._one(b, rates[..., b]) for b in range(count)]
        values, slopes = ([pair[i] for pair in solved] for i in (0, 1))
        return _stacked(values), _stacked(slopes)

    def _one(self, b: int, eta: Array) -> tuple[Scaled, Scaled]:
        task = self.task
        (X, y), w0 = (_host(part) for part in task.samples(b)), _host(task.w0[b])
        regression = self.theory.Regression.of(X, y - X @ w0)
        value, slope = self._measured(b, regression, w0, eta)
        if isinstance(self.objective, LogExcess) and self.objective.floor is not None:
            floor = self.objective.floor
            value = value + -float(floor if isinstance(floor, float) or floor.ndim == 0 else floor[b])
        if isinstance(self.objective, Final):
            return _scaled(value), _scaled(slope)
        log = np.where(value.sign < 0, np.nan, value.log) / self.steps
        return Scaled.of(np.asarray(log)), _scaled(slope / value * (1.0 / self.steps))

    def _measured(self, b: int, regression: Any, w0: Array, eta: Array) -> tuple[Any, Any]:
        theory, task = self.theory, self.task
        if eta.ndim:  # a schedule
            value = self.schedule.schedule_objective(regression.spectrum, eta)
            floor = 0.0 if self.measure == "excess" else regression.train_floor
            return value + floor, self.schedule.d_schedule_objective(regression.spectrum, eta)
        at = eta, self.steps
        if self.measure == "validation":
            X_val, y_val = (_host(part) for part in task.validation_samples(b))
            given = regression, X_val, y_val - X_val @ w0
            return theory.validation_loss(*given, *at), theory.d_validation_loss(*given, *at)
        if self.measure in ("risk", "squared_norm"):
            target = _host(task.w_star)[b] - w0 if self.measure == "risk" else -w0
            return theory.risk(regression, target, *at), theory.d_risk(regression, target, *at)
        value = theory.excess_train_loss if self.measure == "excess" else theory.train_loss
        return value(regression, *at), theory.d_train_loss(regression, *at)


def _host(x: Any) -> Any:
    return np.asarray(to_host(x), dtype=np.float64)


def _stacked(numbers: list[Scaled]) -> Scaled:
    return Scaled(np.stack([s.mantissa for s in numbers]), np.stack([s.exponent for s in numbers]))


def _scaled(number: Any) -> Scaled:
    """Return a SignedLog of the theory as Scaled."""
    return Scaled.from_log(number.sign, number.log)
