"""The log objective: the paper's cure of explosion and vanishing on quadratics."""

from __future__ import annotations

from dataclasses import dataclass

from metagrad.measures import MeasureName, as_measure
from metagrad.protocols import Measure
from metagrad.scaled import Scaled
from metagrad.transforms import Shared, at_the_end, log_and_slope, unchanged


@dataclass(frozen=True)
class LogFinal:
    """G = (1/T) log f(w_T), or (1/T) log ||w_T||^2 with `measure="squared_norm"` (Wang et al. 2021).

    On a quadratic |G'| stays bounded in T. Where the loss has a nonzero floor it vanishes as fast as the plain
    objective. A loss that reaches zero has the value -inf, with Status.LOG_OF_ZERO.
    """

    measure: MeasureName | Measure = "loss"
    only_last = True
    logarithmic = True

    def __post_init__(self) -> None:
        """Find the measure of the name."""
        object.__setattr__(self, "measure", as_measure("LogFinal", self.measure))

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return 1 at the last iterate."""
        return at_the_end(steps).at(t)

    def shared_weight(self, steps: int) -> Shared:
        """Return that weight, and its times."""
        return at_the_end(steps)

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return the term itself: the logarithm is taken at the end."""
        return unchanged(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return log(f(w_T))/T and 1/(T f(w_T))."""
        return log_and_slope(total, 1.0 / steps)
