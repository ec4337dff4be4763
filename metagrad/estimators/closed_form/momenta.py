"""The closed forms of heavy ball and Nesterov on `Quadratic` and `DiagonalQuadratic`, for all tasks at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.errors import bad_value
from metagrad.estimators.closed_form._shared import USE_REVERSE, WHERE, scaled
from metagrad.estimators.closed_form.quadratics import Quadratics
from metagrad.objectives import Final, LogFinal, Mean, WeightedSum
from metagrad.optimizers import Momentum
from metagrad.protocols import GradientKind, Rule
from metagrad.scaled import Scaled
from metagrad.tasks import DiagonalQuadratic, Quadratic
from metagrad.xp import Array

LARGEST_STEPS = 2**27  # up to which the 106 bits of the theory leave all 53 of a float


class Momenta(Quadratics):
    """One closed form to evaluate, its data moved by rounding as those of `Quadratics` are.

    `Nesterov` is measured where the engine holds its parameters, at the points of the gradients.
    """

    def __init__(
        self,
        task: Quadratic | DiagonalQuadratic,
        rule: Rule,
        objective: Any,
        steps: int,
        gradient: GradientKind,
    ) -> None:
        """Check that there is a closed form, and decompose H."""
        from metagrad.theory import momentum

        if gradient != "full":
            name = type(rule).__name__
            bad_value(WHERE, "gradient", repr(gradient), f"'full' with {name}", USE_REVERSE)
        if type(objective) not in (Final, LogFinal, WeightedSum, Mean):
            came = f"a {type(objective).__name__} with {type(rule).__name__}"
            bad_value(WHERE, "objective", came, "Final, LogFinal, WeightedSum or Mean", USE_REVERSE)
        if steps > LARGEST_STEPS:
            bad_value(WHERE, "steps", steps, f"an integer from 1 to 2^27 with {type(rule).__name__}")
        super().__init__(task, objective, steps, gradient)
        self.momentum = momentum
        self.kind: Any = "heavy_ball" if type(rule) is Momentum else "nesterov_ahead"

    def solve(self, eta: Array, *, scheduled: bool, per_task: bool) -> tuple[Scaled, Scaled]:
        """Return the values (B,) and the derivatives (B, 2) in eta and mu; `eta` is both of them, (2,) or (2, B)."""
        if scheduled:
            bad_value(WHERE, "rule", "a Scheduled rule with momentum", "constant eta and mu", USE_REVERSE)
        at = self.kind, self.spectrum, eta[0], eta[1], self.steps
        if isinstance(self.objective, Final):
            value = scaled(self.momentum.objective(*at, measure=self.measure))
            slopes = self.momentum.d_objective(*at, measure=self.measure)
        elif isinstance(self.objective, WeightedSum | Mean):
            rho = self.objective.rho if isinstance(self.objective, WeightedSum) else 1.0
            share = 1.0 if isinstance(self.objective, WeightedSum) else 1 / self.steps
            value = scaled(self.momentum.weighted_sum(*at, rho, measure=self.measure) * share)
            found = self.momentum.d_weighted_sum(*at, rho, measure=self.measure)
            slopes = self.momentum.Slope(*(slope * share for slope in found))
        else:
            value = Scaled.of(self.momentum.log_objective(*at, measure=self.measure))
            slopes = self.momentum.log_slope(*at, measure=self.measure)
        in_eta, in_mu = (scaled(slope) for slope in slopes)
        mantissa = np.stack([in_eta.mantissa, in_mu.mantissa], axis=-1)
        return value, Scaled(mantissa, np.stack([in_eta.exponent, in_mu.exponent], axis=-1))

    def curvature(self, eta: Array) -> Scaled:
        """Return the second derivatives of `Final` and `LogFinal` (B, 2, 2) in eta and mu; `eta` is both, (2,)."""
        at = self.kind, self.spectrum, eta[0], eta[1], self.steps
        if isinstance(self.objective, Final):
            found = [scaled(x) for x in self.momentum.d2_objective(*at, measure=self.measure)]
        else:
            found = [Scaled.of(x) for x in self.momentum.d2_log_objective(*at, measure=self.measure)]
        entries = [found[k] for k in (0, 1, 1, 2)]
        mantissa, exponent = (
            np.stack(part, axis=-1) for part in zip(*((x.mantissa, x.exponent) for x in entries), strict=True)
        )
        return Scaled(mantissa, exponent).reshape(-1, 2, 2)
