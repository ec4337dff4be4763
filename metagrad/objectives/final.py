"""The plain objective: what is measured after the last step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metagrad.measures import UNIT_WEIGHT, Measure, check_measure, degree_of, measure_gradient, measure_of, one_like
from metagrad.protocols import Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array


@dataclass(frozen=True)
class Final:
    """F = f(w_T), or ||w_T||^2 with `measure="squared_norm"` (Wang et al. 2021, the naive objective).

    On a quadratic its derivative in the step size is exponentially large or small in T for all but a window of
    step sizes of width O(1/T): see `metagrad.theory.bounds`.
    """

    measure: Measure = "loss"
    only_last = True
    logarithmic = False

    def __post_init__(self) -> None:
        """Check the name of the measure."""
        check_measure("Final", self.measure)

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return 1 at the last iterate."""
        return UNIT_WEIGHT if t == steps else None

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
        """Return the term itself."""
        return total, one_like(total)
