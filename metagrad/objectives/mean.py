"""The mean of the measure over the trajectory: what most learned optimizers are trained for."""

from __future__ import annotations

from dataclasses import dataclass

from metagrad.measures import MeasureName, as_measure
from metagrad.protocols import Measure
from metagrad.scaled import Scaled
from metagrad.transforms import Shared, equal_share, unchanged


@dataclass(frozen=True)
class Mean:
    """(1/T) sum over t = 1..T of f(w_t) (w_0 is what the run is given)."""

    measure: MeasureName | Measure = "loss"

    def __post_init__(self) -> None:
        """Find the measure of the name."""
        object.__setattr__(self, "measure", as_measure("Mean", self.measure))

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return 1/T for t = 1..T."""
        return equal_share(steps).at(t)

    def shared_weight(self, steps: int) -> Shared:
        """Return that weight, and its times."""
        return equal_share(steps)

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return the term itself."""
        return unchanged(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return the sum itself."""
        return unchanged(total)
