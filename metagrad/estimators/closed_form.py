"""Theory as an estimator: the exact meta-gradient of gradient descent on quadratics and least squares, at any horizon.

The only module of the engine that looks at `metagrad.theory`; they share no code, which is what makes their agreement
evidence.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metagrad.errors import Status, bad_value
from metagrad.estimators._closed_form_digits import JITTER, JITTER_SHARE, UNIT_ROUNDOFF, Solved, digits, signs
from metagrad.objectives import Final, LogExcess, LogFinal, Mean, MeanLog, WeightedSum
from metagrad.optimizers import GradientDescent, Scheduled
from metagrad.protocols import Estimate, GradientKind, Joint, Objective, Position, Rule, Task, Tree
from metagrad.scaled import Scaled
from metagrad.tasks import DiagonalQuadratic, LeastSquares, Quadratic
from metagrad.xp import Array, float_info, to_host

_WHERE = "closed_form"
_TINY = float(np.finfo(np.float64).tiny)
_CHUNK = 1 << 18  # factors that a sum over the horizon looks at in one go
_MOST_FACTORS = 1 << 30  # minutes


@dataclass(frozen=True)
class ClosedForm:
    """The closed forms of `metagrad.theory.quadratic` and `least_squares`, computed in float64 on the host.

    Covers `Quadratic` and `DiagonalQuadratic` with `GradientDescent` and every objective; eta one for all or one a
    task. With `Scheduled`, and with eta per coordinate on `DiagonalQuadratic`: `Final` and `LogFinal`.
    `gradient="stop_gradient"`: `Final` and `LogFinal`, eta one for all or one a task.
    `LeastSquares`, full batch: `Final`, `LogFinal` and `LogExcess` of every measure, eta one for all or one a task;
    with `Scheduled` the train loss and its excess. Anything else is a ValueError.

    Eigenvalues of a dense H count as zero up to 4 d u times the largest, u the unit roundoff of its dtype; least
    squares whose targets are X w_star, or X w for some w, up to rounding count as noise-free. Every number is computed
    again on data that rounding cannot tell apart: Status.GRADIENT_ROUNDING where that leaves less than one digit of the
    value or of the meta-gradient.

    >>> task = Quadratic(np.ones((3, 3)) / 3, np.array([1.0, 2.0, 0.0]))
    >>> found = ClosedForm()(task, GradientDescent(), LogFinal(), GradientDescent.Phi(0.7), steps=20)
    >>> found.ok, found.grad.eta.to_float().round(12)
    (True, np.float64(-6.666666666667))
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
        scheduled = type(rule) is Scheduled

        def solve(what: _Quadratics | _Regressions) -> Solved:
            return what.solve(eta, scheduled=scheduled, per_task=self.per_task)

        value, slope = solve(problem)
        of_value, of_slope = digits((value, slope), problem.neighbours(), solve, problem.quotient_rounding(value))
        if not self.per_task:
            slope = slope.mean(axis=0)
        elif type(rule) is Scheduled:  # phi leads with time, the derivatives with the task
            slope = Scaled(slope.mantissa.swapaxes(0, 1), slope.exponent.swapaxes(0, 1))
        status, step = _status_of(value, np.minimum(of_value, of_slope), steps)
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


def _status_of(value: Scaled, trusted: Array, steps: int) -> tuple[Array, Array]:
    """Return what is wrong with each task, and the step T.

    LOG_OF_ZERO where a logarithm is -inf, LOG_OF_NEGATIVE where it is NaN, GRADIENT_ROUNDING below one digit.
    """
    code = np.where(trusted < 1, Status.GRADIENT_ROUNDING.code, 0)
    code = np.where(np.isneginf(value.mantissa), Status.LOG_OF_ZERO.code, code)
    code = np.where(np.isnan(value.mantissa), Status.LOG_OF_NEGATIVE.code, code)
    return code, np.where(code != 0, steps, -1)


class _Quadratics:
    """One closed form to evaluate; every method returns the value (B,) and the derivative (B, ...)."""

    def __init__(self, task: Quadratic | DiagonalQuadratic, objective: Any, steps: int, gradient: GradientKind) -> None:
        from metagrad.theory import quadratic

        self.theory, self.task, self.objective = quadratic, task, objective
        self.steps, self.held = steps, gradient == "stop_gradient"
        self._quotient = False
        self.measure = objective.measure.name
        self._w0, self._H = _host(task.w0), None  # H: where its decomposition is rounded
        if isinstance(task, DiagonalQuadratic):
            self.spectrum = quadratic.Spectrum.diagonal(_host(task.eigenvalues), self._w0)
        else:
            H = to_host(task.H)
            self._H = np.broadcast_to(_host(H), (self._w0.shape[0], *H.shape[-2:]))
            self._roundoff = float_info(H.dtype).eps / 2
            self.spectrum = self._decomposed(self._H, self._w0)

    def _decomposed(self, H: Array, w0: Array) -> Any:
        zero_below = 4 * H.shape[-1] * self._roundoff
        return self.theory.Spectrum.of(H, w0, zero_below=zero_below, roundoff=2 * self._roundoff)

    def neighbours(self) -> Iterator[tuple[_Quadratics, float]]:
        """Return the same problem from data that rounding cannot tell apart, and what share of the change counts."""
        spectrum = self.spectrum
        for which in (0, 1) if spectrum.eigenvalues.shape[-1] > 1 else ():
            moved = spectrum.log_weights + 2 * np.log1p(JITTER * signs(spectrum.eigenvalues.shape[-1:], which))
            yield self._at(replace(spectrum, log_weights=moved)), JITTER_SHARE
        if self._H is None or self.theory.is_diagonal(self._H).all():
            return
        size, d = np.max(np.abs(self._H), axis=(-2, -1), keepdims=True), self._H.shape[-1]
        level = np.where(self.theory.is_diagonal(self._H)[:, None, None], 0.0, 4 * UNIT_ROUNDOFF)
        for which in (0, 1):
            pattern = np.triu(signs((d, d), which))
            moved = self._H + level * size * (pattern + np.triu(pattern, 1).T)
            start = 1.0 + level[..., 0] * signs((d,), which)
            yield self._at(self._decomposed(moved, self._w0 * start)), 1.0
        yield self._at(self._with_small_eigenvalues(self._H)), 1.0
        coordinate = spectrum.log_weights / 2 - np.log(np.max(np.abs(self._w0), axis=-1, keepdims=True) + _TINY)
        small = (coordinate < np.log(8 * d * UNIT_ROUNDOFF)) & (level[..., 0] > 0)
        yield self._at(replace(spectrum, log_weights=np.where(small, -np.inf, spectrum.log_weights))), 1.0

    def _with_small_eigenvalues(self, H: Array) -> Any:
        """Return the spectrum whose zeros are as large as they may be, unless H is exactly singular."""
        kept = self.theory.Spectrum.of(H, self._w0, roundoff=2 * self._roundoff).eigenvalues
        size = 4 * UNIT_ROUNDOFF * np.max(kept, axis=-1, keepdims=True)
        zeros = self.spectrum.eigenvalues == 0
        rounded = zeros & ~self.theory.is_diagonal(H)[:, None]
        rounded &= ~self.theory.exactly_singular(H, zeros.sum(axis=-1))[:, None]
        return replace(self.spectrum, eigenvalues=np.where(rounded, kept + size, self.spectrum.eigenvalues))

    def _at(self, spectrum: Any) -> _Quadratics:
        moved = copy.copy(self)
        moved.spectrum = spectrum
        return moved

    def quotient_rounding(self, value: Scaled) -> Array | float:
        """Return the relative rounding of a gradient that is a quotient of numbers of any size."""
        return _quotient_rounding(value, self.steps) if self._quotient else 0.0

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
        width = max(1, self.spectrum.eigenvalues.size)
        if self.steps * width > _MOST_FACTORS:
            came = f"{self.steps} with {width} eigenvalues in all, a sum of {self.steps * width:.3g} terms"
            bad_value(_WHERE, "steps", came, f"at most {_MOST_FACTORS // width} for MeanLog", _USE_REVERSE)
        chunk, totals = max(1, _CHUNK // width), [0.0, 0.0]
        for start in range(1, self.steps + 1, chunk):
            times = np.arange(start, min(start + chunk, self.steps + 1))[:, None]
            for i, rate in enumerate((self.theory.log_objective, self.theory.d_log_objective)):
                totals[i] += (times * rate(self.spectrum, eta, times, measure=self.measure)).sum(axis=0) / self.steps
        value, slope = (Scaled.of(np.asarray(total)) for total in totals)
        return value, slope

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
        self._quotient = True
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
        self._roundoff = float_info(task.X.dtype).eps / 2
        self._which: int | None = None

    def neighbours(self) -> Iterator[tuple[_Regressions, float]]:
        """Return the same data moved by rounding, nothing counted as noise-free, and 1, the share that counts."""
        for which in (0, 1):
            moved = copy.copy(self)
            moved._which = which
            yield moved, 1.0

    def quotient_rounding(self, value: Scaled) -> Array | float:
        """Return the relative rounding of a gradient that is a quotient of numbers of any size."""
        return 0.0 if isinstance(self.objective, Final) else _quotient_rounding(value, self.steps)

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
        value, slope = self._measured(b, self._regression(b), _host(self.task.w0[b]), eta)
        if isinstance(self.objective, LogExcess) and self.objective.floor is not None:
            floor = self.objective.floor
            value = value + -float(floor if isinstance(floor, float) or floor.ndim == 0 else floor[b])
        if isinstance(self.objective, Final):
            return _scaled(value), _scaled(slope)
        log = np.where(value.sign < 0, np.nan, value.log) / self.steps
        return Scaled.of(np.asarray(log)), _scaled(slope / value * (1.0 / self.steps))

    def _regression(self, b: int) -> Any:
        """Return the sample about w_0, without noise where that is all that rounding leaves of it."""
        task, make = self.task, self.theory.Regression
        (X, y), w0 = (_host(part) for part in task.samples(b)), _host(task.w0[b])
        targets, level = y - X @ w0, np.abs(y) + np.abs(X) @ np.abs(w0)
        if self._which is not None:
            X = X * (1 + 2 * UNIT_ROUNDOFF * signs(X.shape, self._which))
            return make.of(X, targets + 2 * UNIT_ROUNDOFF * level * signs(y.shape, self._which), rounding=0.0)
        share = np.max(level) / (np.max(np.abs(targets)) or 1.0)
        found = make.of(X, targets, rounding=16 * self._roundoff * share)
        if task.w_star is None:
            return found
        away = _host(task.w_star)[b] - w0
        level += np.abs(X) @ (np.abs(w0) + np.abs(away))
        if np.any(np.abs(targets - X @ away) > 4 * self._roundoff * level):
            return found
        exact = np.sqrt(found.eigenvalues) * (away @ found.basis)
        return replace(found, coefficients=exact, residual=0.0)

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


def _quotient_rounding(log_rate: Scaled, steps: int) -> Array:
    """Return the rounding of F'/F where F = exp(T log_rate)."""
    size = np.abs(np.ldexp(log_rate.mantissa, np.clip(log_rate.exponent, -1000, 1000).astype(np.int32)))
    return np.minimum(UNIT_ROUNDOFF * np.where(np.isfinite(size), steps * size, 0.0), 1.0)


def _host(x: Any) -> Any:
    return np.asarray(to_host(x), dtype=np.float64)


def _stacked(numbers: list[Scaled]) -> Scaled:
    return Scaled(np.stack([s.mantissa for s in numbers]), np.stack([s.exponent for s in numbers]))


def _scaled(number: Any) -> Scaled:
    """Return a SignedLog of the theory as Scaled."""
    return Scaled.from_log(number.sign, number.log)
