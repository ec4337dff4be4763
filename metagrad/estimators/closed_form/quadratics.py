"""The closed forms of `Quadratic` and `DiagonalQuadratic`, for all tasks at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from metagrad.errors import bad_value
from metagrad.estimators.closed_form._digits import JITTER, JITTER_SHARE, change, signs
from metagrad.estimators.closed_form._shared import (
    UNIT_ROUNDOFF,
    USE_REVERSE,
    WHERE,
    Solved,
    host,
    quotient_rounding,
    scaled,
)
from metagrad.objectives import Final, LogFinal, Mean, WeightedSum
from metagrad.protocols import GradientKind
from metagrad.scaled import Scaled
from metagrad.tasks import DiagonalQuadratic, Quadratic
from metagrad.xp import Array, float_info, to_host

_NO_MATTER = 0.1  # a change that leaves one digit
_TINY = float(np.finfo(np.float64).tiny)
_CHUNK = 1 << 18  # factors that a sum over the horizon looks at in one go
_MOST_FACTORS = 1 << 30  # minutes


class Quadratics:
    """One closed form to evaluate; every method returns the value (B,) and the derivative (B, ...)."""

    def __init__(self, task: Quadratic | DiagonalQuadratic, objective: Any, steps: int, gradient: GradientKind) -> None:
        """Decompose H; NaN and inf are none of it, as the task has seen to."""
        from metagrad.theory import quadratic

        self.theory, self.task, self.objective = quadratic, task, objective
        self.steps, self.held = steps, gradient == "stop_gradient"
        self._quotient = False
        self.measure = objective.measure.name
        self._w0, self._H = host(task.w0), None  # H: where its decomposition is rounded
        if isinstance(task, DiagonalQuadratic):
            self.spectrum = quadratic.Spectrum.diagonal(host(task.eigenvalues), self._w0)
        else:
            H = to_host(task.H)
            self._H = np.broadcast_to(host(H), (self._w0.shape[0], *H.shape[-2:]))
            self._roundoff = float_info(H.dtype).eps / 2
            self._narrow = np.full(len(self._w0), self._roundoff > UNIT_ROUNDOFF)
            self.spectrum = self._decomposed(self._H, self._w0)

    def _decomposed(self, H: Array, w0: Array) -> Any:
        d = H.shape[-1]
        found = self.theory.Spectrum.of(H, w0, zero_below=4 * d * UNIT_ROUNDOFF, roundoff=2 * self._roundoff)
        if not self._narrow.any():
            return found
        small = found.eigenvalues <= d * self._roundoff * np.max(found.eigenvalues, axis=-1, keepdims=True)
        small &= (self._narrow & ~self.theory.is_diagonal(H))[:, None]
        return replace(found, eigenvalues=np.where(small, 0.0, found.eigenvalues))

    def settled(self, solve: Callable[[Quadratics], Solved]) -> Quadratics:
        """Return the same problem, the small eigenvalues of a narrow H as they are where that is no matter.

        H of float32 or float16 has eigenvalues that may be nothing but its rounding. Where they decide, they count as
        zero, and `neighbours` tells; elsewhere the matrix as it stands is exact.
        """
        if self._H is None or not self._narrow.any():
            return self
        as_given = copy.copy(self)
        as_given._narrow = np.zeros_like(self._narrow)
        as_given.spectrum = as_given._decomposed(self._H, self._w0)
        if np.array_equal(as_given.spectrum.eigenvalues, self.spectrum.eigenvalues):
            return as_given
        as_given._narrow = change(solve(as_given), solve(self)) >= _NO_MATTER
        as_given.spectrum = as_given._decomposed(self._H, self._w0)
        return as_given

    def neighbours(self) -> Iterator[tuple[Quadratics, float]]:
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
            shift = level[..., 0] * size[..., 0] * (signs((d,), which) if which else 1.0)
            values = np.where(spectrum.eigenvalues == 0, 0.0, np.maximum(spectrum.eigenvalues + shift, 0.0))
            yield self._at(replace(spectrum, eigenvalues=values)), 1.0
        if (spectrum.eigenvalues == 0).any():
            yield self._at(self._with_small_eigenvalues(self._H)), 1.0
        coordinate = spectrum.log_weights / 2 - np.log(np.max(np.abs(self._w0), axis=-1, keepdims=True) + _TINY)
        small = (coordinate < np.log(8 * d * UNIT_ROUNDOFF)) & (level[..., 0] > 0)
        if small.any():
            yield self._at(replace(spectrum, log_weights=np.where(small, -np.inf, spectrum.log_weights))), 1.0

    def _with_small_eigenvalues(self, H: Array) -> Any:
        """Return the spectrum whose zeros are as large as they may be, unless H is exactly singular."""
        kept = np.abs(np.linalg.eigvalsh(H))
        size = 4 * UNIT_ROUNDOFF * np.max(kept, axis=-1, keepdims=True)
        zeros = self.spectrum.eigenvalues == 0
        rounded = zeros & ~self.theory.is_diagonal(H)[:, None]
        rounded &= ~self.theory.exactly_singular(H, zeros.sum(axis=-1))[:, None]
        return replace(self.spectrum, eigenvalues=np.where(rounded, kept + size, self.spectrum.eigenvalues))

    def _at(self, spectrum: Any) -> Quadratics:
        moved = copy.copy(self)
        moved.spectrum = spectrum
        return moved

    def own_rounding(self, value: Scaled) -> Array | float:
        """Return the relative rounding of sums and quotients of numbers of any size, held as logarithms."""
        with np.errstate(divide="ignore"):
            logs = np.stack([np.log(self.spectrum.eigenvalues), self.spectrum.log_weights])
        of_terms = UNIT_ROUNDOFF * np.max(np.abs(np.where(np.isfinite(logs), logs, 0.0)), axis=(0, -1))
        return of_terms + (quotient_rounding(value, self.steps) if self._quotient else 0.0)

    def solve(self, eta: Array, *, scheduled: bool, per_task: bool) -> tuple[Scaled, Scaled]:
        """Dispatch on the shape of eta."""
        if scheduled:
            return self._schedule(eta.swapaxes(0, 1) if per_task else eta)
        if eta.ndim == 0 or (per_task and eta.size == self.task.w0.shape[0]):
            return self._shared(eta.reshape(-1) if per_task else eta)
        return self._coordinates(eta)

    def curvature(self, eta: Array) -> Scaled:
        """Return the second derivatives of `Final` and `LogFinal` (B, 1, 1) in one step size for all tasks."""
        at = self.spectrum, eta, self.steps
        if isinstance(self.objective, Final):
            found = scaled(self.theory.d2_objective(*at, measure=self.measure))
        else:
            found = Scaled.of(self.theory.d2_log_objective(*at, measure=self.measure))
        return found.reshape(-1, 1, 1)

    def _shared(self, eta: Array) -> tuple[Scaled, Scaled]:
        theory, at = self.theory, (self.spectrum, eta, self.steps)
        objective, measure = self.objective, self.measure
        if self.held:
            self._only(Final, LogFinal, "gradient='stop_gradient'")
        if isinstance(objective, Final):
            derivative = theory.stop_gradient_d_objective if self.held else theory.d_objective
            return scaled(theory.objective(*at, measure=measure)), scaled(derivative(*at, measure=measure))
        if isinstance(objective, LogFinal):
            value = Scaled.of(theory.log_objective(*at, measure=measure))
            if self.held:  # it may leave the float range: it is not divided by what makes G' bounded
                return value, scaled(theory.stop_gradient_d_log_objective(*at, measure=measure))
            return value, scaled(theory.log_slope(*at, measure=measure))
        if isinstance(objective, WeightedSum):
            value = theory.weighted_sum(*at, rho=objective.rho, measure=measure)
            return scaled(value), scaled(theory.d_weighted_sum(*at, rho=objective.rho, measure=measure))
        if isinstance(objective, Mean):
            share = Scaled.of(np.asarray(1 / self.steps))
            value, slope = (f(*at, rho=1.0, measure=measure) for f in (theory.weighted_sum, theory.d_weighted_sum))
            return scaled(value) * share, scaled(slope) * share
        return self._mean_log(np.asarray(eta))

    def _mean_log(self, eta: Array) -> tuple[Scaled, Scaled]:
        # log f(w_t) = t G_t, so the mean of the logs is (1/T) sum_t t G_t
        width = max(1, self.spectrum.eigenvalues.size)
        if self.steps * width > _MOST_FACTORS:
            came = f"{self.steps} with {width} eigenvalues in all, a sum of {self.steps * width:.3g} terms"
            bad_value(WHERE, "steps", came, f"at most {_MOST_FACTORS // width} for MeanLog", USE_REVERSE)
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
            bad_value(WHERE, "phi", f"of shape {etas.shape}", "one full-gradient step size a step", USE_REVERSE)
        value = self.theory.schedule_objective(self.spectrum, etas, measure=self.measure)
        slope = self.theory.d_schedule_objective(self.spectrum, etas, measure=self.measure)
        return self._finish(scaled(value), scaled(slope))

    def _coordinates(self, eta: Array) -> tuple[Scaled, Scaled]:
        self._only(Final, LogFinal, "eta per coordinate")
        if self.held or not isinstance(self.task, DiagonalQuadratic):
            bad_value(
                WHERE, "phi", f"eta of shape {eta.shape}", "eta per coordinate on a DiagonalQuadratic", USE_REVERSE
            )
        value = self.theory.coordinate_objective(self.spectrum, eta, self.steps, measure=self.measure)
        slope = self.theory.d_coordinate_objective(self.spectrum, eta, self.steps, measure=self.measure)
        return self._finish(scaled(value), scaled(slope))

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
            bad_value(WHERE, "objective", came, f"{first.__name__} or {second.__name__}", USE_REVERSE)
