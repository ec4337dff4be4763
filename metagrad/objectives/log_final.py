"""The log objective: the paper's cure of explosion and vanishing on quadratics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metagrad.measures import (
    UNIT_WEIGHT,
    Measure,
    check_measure,
    degree_of,
    log_and_slope,
    measure_gradient,
    measure_of,
    one_like,
)
from metagrad.protocols import Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array


@dataclass(frozen=True)
class LogFinal:
    """G = (1/T) log f(w_T), or (1/T) log ||w_T||^2 with `measure="squared_norm"` (Wang et al. 2021).

    On a quadratic |G'| stays bounded in T. Where the loss has a nonzero floor it vanishes as fast as the plain
    objective. A loss that reaches zero has the value -inf, with Status.LOG_OF_ZERO.
    """

    measure: Measure = "loss"
    only_last = True
    logarithmic = True

    def __post_init__(self) -> None:
        """Check the name of the measure."""
        check_measure("LogFinal", self.measure)

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
        """Return the term itself: the logarithm is taken at the end."""
        return term, one_like(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return log(f(w_T))/T and 1/(T f(w_T))."""
        return log_and_slope(total, 1.0 / steps)
