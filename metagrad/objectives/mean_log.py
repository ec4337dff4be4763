"""The mean of the logarithms over the trajectory: the objective of Wichrowska et al. 2017, without their offset."""

from __future__ import annotations

from dataclasses import dataclass

from metagrad.measures import MeasureName, as_measure
from metagrad.protocols import Measure
from metagrad.scaled import Scaled
from metagrad.transforms import Shared, equal_share, log_and_slope, unchanged


@dataclass(frozen=True)
class MeanLog:
    """M = (1/T) sum over t = 1..T of log f(w_t)."""

    measure: MeasureName | Measure = "loss"
    logarithmic = True

    def __post_init__(self) -> None:
        """Find the measure of the name."""
        object.__setattr__(self, "measure", as_measure("MeanLog", self.measure))

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return 1/T for t = 1..T."""
        return equal_share(steps).at(t)

    def shared_weight(self, steps: int) -> Shared:
        """Return that weight, and its times."""
        return equal_share(steps)

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return log f(w_t) and 1/f(w_t)."""
        return log_and_slope(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return the sum itself."""
        return unchanged(total)
