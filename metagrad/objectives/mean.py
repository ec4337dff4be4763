"""The mean of the measure over the trajectory: what most learned optimizers are trained for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad.measures import Measure, check_measure, degree_of, measure_gradient, measure_of, one_like
from metagrad.protocols import Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array


@dataclass(frozen=True)
class Mean:
    """(1/T) sum over t = 1..T of f(w_t) (w_0 does not depend on phi)."""

    measure: Measure = "loss"
    logarithmic = False

    def __post_init__(self) -> None:
        """Check the measure."""
        check_measure("Mean", self.measure)

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return 1/T for t = 1..T."""
        return Scaled.of(np.asarray(1.0 / steps)) if t >= 1 else None

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
