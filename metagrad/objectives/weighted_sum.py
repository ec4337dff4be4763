"""The sum over the trajectory: the objective of Andrychowicz et al. 2016 and its discounted forms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from metagrad.errors import bad_value
from metagrad.measures import Measure, check_measure, degree_of, measure_gradient, measure_of, one_like, power_weight
from metagrad.protocols import Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array


@dataclass(frozen=True)
class WeightedSum:
    """Phi = sum over t = 1..T of rho^t f(w_t); rho > 0, rho = 1 the plain sum (w_0 does not depend on phi)."""

    rho: float = 1.0
    measure: Measure = "loss"
    logarithmic = False

    def __post_init__(self) -> None:
        """Check the measure and the weight."""
        check_measure("WeightedSum", self.measure)
        if not (self.rho > 0 and math.isfinite(self.rho)):
            bad_value("WeightedSum", "rho", self.rho, "a finite number above 0")

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return rho^t for t = 1..T."""
        return power_weight(self.rho, t) if t >= 1 else None

    def term(self, task: Task, w: Tree, sample: Any) -> Array:
        """Return the measure at w."""
        return measure_of(self.measure, task, w, sample)

    def term_gradient(self, task: Task, w: Tree, sample: Any) -> Array | None:
        """Return the derivative of the term in w where it is known, else None."""
        return measure_gradient(self.measure, task, w, sample)

    def degree(self, task: Task) -> int | None:
        """Return the degree of homogeneity of the measure."""
        return degree_of(self.measure, task)

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return the term itself."""
        return term, one_like(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return the sum itself."""
        return total, one_like(total)
