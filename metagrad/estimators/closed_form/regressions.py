"""The closed forms of `LeastSquares`, task by task."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from metagrad.errors import bad_value
from metagrad.estimators.closed_form._digits import signs
from metagrad.estimators.closed_form._shared import UNIT_ROUNDOFF, USE_REVERSE, WHERE, host, quotient_rounding, scaled
from metagrad.objectives import Final, LogExcess
from metagrad.protocols import GradientKind
from metagrad.scaled import Scaled
from metagrad.tasks import LeastSquares
from metagrad.xp import Array, float_info


class Regressions:
    """The closed forms of least squares, task by task: in the coordinates of w - w_0, which start at zero."""

    def __init__(self, task: LeastSquares, objective: Any, steps: int, gradient: GradientKind) -> None:
        """Check that there is a closed form; the decompositions come with `solve`."""
        from metagrad.theory import least_squares
        from metagrad.theory.quadratic import schedule

        if gradient != "full":
            bad_value(WHERE, "gradient", repr(gradient), "'full' on LeastSquares", USE_REVERSE)
        if task.batch_size is not None:
            remedy = "metagrad.theory.sgd has the expectations; use method='reverse' for one run."
            bad_value(WHERE, "task", f"one with batch_size={task.batch_size}", "the full batch", remedy)
        objective.measure.of(task, task.w0, None)  # a measure that this task has no data for says so
        self.theory, self.schedule = least_squares, schedule
        self.task, self.objective, self.steps = task, objective, steps
        measure = objective.measure.name
        # homogeneous: the floor is exactly zero, not what rounding leaves of it
        self.measure = "excess" if measure in ("loss", "train") and task.degree == 2 else measure
        self._roundoff = float_info(task.X.dtype).eps / 2
        self._which: int | None = None

    def settled(self, solve: Any) -> Regressions:
        """Return the problem itself: its data decide what counts as zero."""
        return self

    def neighbours(self) -> Iterator[tuple[Regressions, float]]:
        """Return the same data moved by rounding, nothing counted as noise-free, and 1, the share that counts."""
        for which in range(4):
            moved = copy.copy(self)
            moved._which = which
            yield moved, 1.0

    def own_rounding(self, value: Scaled) -> Array | float:
        """Return the relative rounding of a quotient of numbers of any size, held as logarithms."""
        return 0.0 if isinstance(self.objective, Final) else quotient_rounding(value, self.steps)

    def solve(self, eta: Array, *, scheduled: bool, per_task: bool) -> tuple[Scaled, Scaled]:
        """Return the values (B,) and the derivatives (B, ...)."""
        count = self.task.y.shape[0]
        if scheduled and self.measure not in ("loss", "train", "excess"):
            bad_value(WHERE, "measure", f"{self.measure!r} with a schedule", "the train loss", USE_REVERSE)
        expected = (count,) if per_task else ()
        if eta.shape[int(scheduled) :] != expected:
            came = f"eta of shape {eta.shape} with per_task={per_task}"
            bad_value(WHERE, "phi", came, "a step size for all, or one a task", USE_REVERSE)
        rates = eta if per_task else np.broadcast_to(eta[..., None], (*eta.shape, count))
        solved = [self._one(b, rates[..., b]) for b in range(count)]
        values, slopes = ([pair[i] for pair in solved] for i in (0, 1))
        return _stacked(values), _stacked(slopes)

    def _one(self, b: int, eta: Array) -> tuple[Scaled, Scaled]:
        value, slope = self._measured(b, self._regression(b), host(self.task.w0[b]), eta)
        if isinstance(self.objective, LogExcess) and self.objective.floor is not None:
            floor = self.objective.floor
            value = value + -float(floor if isinstance(floor, float) or floor.ndim == 0 else floor[b])
        if isinstance(self.objective, Final):
            return scaled(value), scaled(slope)
        log = np.where(value.sign < 0, np.nan, value.log) / self.steps
        return Scaled.of(np.asarray(log)), scaled(slope / value * (1.0 / self.steps))

    def _regression(self, b: int) -> Any:
        """Return the sample about w_0, without noise where that is all that rounding leaves of it."""
        task, make = self.task, self.theory.Regression
        (X, y), w0 = (host(part) for part in task.samples(b)), host(task.w0[b])
        targets, level = y - X @ w0, np.abs(y) + np.abs(X) @ np.abs(w0)
        star = None if task.w_star is None else host(task.w_star)[b]
        if self._which is not None:
            return self._moved_regression(b, X, (targets, level), None if star is None else star - w0)
        share = np.max(level) / (np.max(np.abs(targets)) or 1.0)
        found = make.of(X, targets, rounding=16 * self._roundoff * share)
        if star is None:
            return found
        level += np.abs(X) @ (np.abs(w0) + np.abs(star - w0))
        if np.any(np.abs(targets - X @ (star - w0)) > 4 * self._roundoff * level):
            return found
        return _without_noise(found, star - w0)

    def _moved_regression(self, b: int, X: Array, aims: tuple[Array, Array], away: Array | None) -> Any:
        """Return the sample moved by rounding: without noise only where there is none in exact arithmetic."""
        (targets, level), which, u = aims, self._which, UNIT_ROUNDOFF
        assert which is not None
        near = X * (1 + 4 * u * signs(X.shape, which)) if which < 2 else X
        exact = away is not None and self._fits_exactly(b)
        moved = targets + 4 * u * level * signs(targets.shape, which)
        found = self.theory.Regression.of(near, moved, rounding=16 * u if exact else 0.0)
        if which >= 2:
            shift = 4 * u * np.sqrt(found.eigenvalues * found.eigenvalues.max(initial=0.0))
            shift = shift * (signs(shift.shape, 0) if which > 2 else 1.0)
            found = replace(found, eigenvalues=found.eigenvalues + shift)
        if away is None or not exact:
            return found
        return _without_noise(found, away * (1 + 4 * u * signs(away.shape, which)))

    def _fits_exactly(self, b: int) -> bool:
        """Tell whether X w_star = y in exact arithmetic, and of the validation samples where they are measured."""
        pairs = [self.task.samples(b)]
        if self.measure == "validation":
            pairs.append(self.task.validation_samples(b))
        w = host(self.task.w_star)[b]
        return all(self.theory.fits_exactly(host(X), host(y), w) for X, y in pairs)

    def _measured(self, b: int, regression: Any, w0: Array, eta: Array) -> tuple[Any, Any]:
        theory, task = self.theory, self.task
        if eta.ndim:  # a schedule
            value = self.schedule.schedule_objective(regression.spectrum, eta)
            floor = 0.0 if self.measure == "excess" else regression.train_floor
            return value + floor, self.schedule.d_schedule_objective(regression.spectrum, eta)
        at = eta, self.steps
        if self.measure == "validation":
            X_val, y_val = (host(part) for part in task.validation_samples(b))
            aims = y_val - X_val @ w0
            if self._which is not None and regression.rounding == 0:  # the data as they stand, not without noise
                level = np.abs(y_val) + np.abs(X_val) @ np.abs(w0)
                aims = aims + 4 * UNIT_ROUNDOFF * level * signs(aims.shape, self._which)
            given = regression, X_val, aims
            return theory.validation_loss(*given, *at), theory.d_validation_loss(*given, *at)
        if self.measure in ("risk", "squared_norm"):
            target = host(task.w_star)[b] - w0 if self.measure == "risk" else -w0
            return theory.risk(regression, target, *at), theory.d_risk(regression, target, *at)
        value = theory.excess_train_loss if self.measure == "excess" else theory.train_loss
        return value(regression, *at), theory.d_train_loss(regression, *at)


def _without_noise(regression: Any, away: Array) -> Any:
    """Return the regression whose solution is w_0 + away, which leaves no residual."""
    exact = np.sqrt(regression.eigenvalues) * (away @ regression.basis)
    return replace(regression, coefficients=exact, residual=0.0)


def _stacked(numbers: list[Scaled]) -> Scaled:
    return Scaled(np.stack([s.mantissa for s in numbers]), np.stack([s.exponent for s in numbers]))
