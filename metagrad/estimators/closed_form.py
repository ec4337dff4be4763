"""Theory as an estimator: the exact meta-gradient of gradient descent on a quadratic, at any horizon.

The only module of the engine that looks at `metagrad.theory`; they share no code, which is what makes their agreement
evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad.errors import Status, bad_value
from metagrad.objectives import Final, LogFinal, MeanLog, WeightedSum
from metagrad.optimizers import GradientDescent, Scheduled
from metagrad.protocols import Estimate, GradientKind, MetaObjective, Optimizer, Task, Tree
from metagrad.scaled import Scaled
from metagrad.tasks import DiagonalQuadratic, Quadratic
from metagrad.xp import Array, to_host

_WHERE = "closed_form"


@dataclass(frozen=True)
class ClosedForm:
    """F, G, weighted sums and mean logs of `metagrad.theory.quadratic`, computed in float64 on the host.

    Covers `Quadratic` and `DiagonalQuadratic` with `GradientDescent` and every objective; eta one for all or one a
    task. With `Scheduled`, and with eta per coordinate on `DiagonalQuadratic`: `Final` and `LogFinal`.
    `gradient="stop_gradient"`: `Final` and `LogFinal`, eta one for all or one a task. Anything else is a ValueError.
    """

    gradient: GradientKind = "full"
    per_task: bool = False

    def __call__(
        self, task: Task, optimizer: Optimizer, objective: MetaObjective, phi: Tree, *, steps: int, seed: int = 0
    ) -> Estimate:
        """Return the value and the meta-gradient after `steps` steps; `seed` is not used, nothing is random."""
        if type(task) not in (Quadratic, DiagonalQuadratic):
            bad_value(_WHERE, "task", f"a {type(task).__name__}", "a Quadratic or DiagonalQuadratic", _USE_REVERSE)
        if type(objective) not in (Final, LogFinal, WeightedSum, MeanLog):
            bad_value(_WHERE, "objective", f"a {type(objective).__name__}", "one of metagrad.objectives", _USE_REVERSE)
        rule = optimizer.rule if type(optimizer) is Scheduled else optimizer
        if type(rule) is not GradientDescent:
            bad_value(_WHERE, "optimizer", f"a {type(rule).__name__}", "GradientDescent", _USE_REVERSE)
        assert isinstance(task, Quadratic | DiagonalQuadratic)
        problem = _Problem(task, objective, steps, self.gradient)
        eta = np.asarray(to_host(phi.eta), dtype=np.float64)
        value, slope = problem.solve(eta, scheduled=type(optimizer) is Scheduled, per_task=self.per_task)
        if not self.per_task:
            slope = slope.mean(axis=0)
        status, step = problem.status(value)
        return Estimate(value, type(phi)(slope.reshape(eta.shape)), status, step)


_USE_REVERSE = "Use method='reverse'."


class _Problem:
    """One closed form to evaluate; every method returns the value (B,) and the derivative (B, ...)."""

    def __init__(self, task: Quadratic | DiagonalQuadratic, objective: Any, steps: int, gradient: GradientKind) -> None:
        from metagrad.theory import quadratic

        self.theory, self.task, self.objective = quadratic, task, objective
        self.steps, self.held = steps, gradient == "stop_gradient"
        self.measure = objective.measure
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

    def status(self, value: Scaled) -> tuple[Array, Array]:
        """Return LOG_OF_ZERO where a logarithm is -inf."""
        hit = np.isneginf(value.mantissa)
        return np.where(hit, Status.LOG_OF_ZERO.code, 0), np.where(hit, self.steps, -1)

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


def _scaled(number: Any) -> Scaled:
    """Return a SignedLog of the theory as Scaled."""
    return Scaled.from_log(number.sign, number.log)
