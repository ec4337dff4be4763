"""The plain objective: what is measured after the last step."""

from __future__ import annotations

from dataclasses import dataclass

from metagrad.measures import MeasureName, as_measure
from metagrad.protocols import Measure
from metagrad.scaled import Scaled
from metagrad.transforms import Shared, at_the_end, unchanged


@dataclass(frozen=True)
class Final:
    """F = f(w_T), or ||w_T||^2 with `measure="squared_norm"` (Wang et al. 2021, the naive objective).

    On a quadratic its derivative in the step size is exponentially large or small in T for all but a window of
    step sizes of width O(1/T): see `metagrad.theory.bounds`.
    """

    measure: MeasureName | Measure = "loss"
    only_last = True

    def __post_init__(self) -> None:
        """Find the measure of the name."""
        object.__setattr__(self, "measure", as_measure("Final", self.measure))

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return 1 at the last iterate."""
        return at_the_end(steps).at(t)

    def shared_weight(self, steps: int) -> Shared:
        """Return that weight, and its times."""
        return at_the_end(steps)

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return the term itself."""
        return unchanged(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return the term itself."""
        return unchanged(total)
