"""The sum over the trajectory: the objective of Andrychowicz et al. 2016 and its discounted forms."""

from __future__ import annotations

from dataclasses import dataclass

from metagrad import checks
from metagrad.measures import MeasureName, as_measure
from metagrad.protocols import Measure
from metagrad.scaled import Scaled
from metagrad.transforms import UNIT_WEIGHT, Shared, power_weight, unchanged


@dataclass(frozen=True)
class WeightedSum:
    """Phi = sum over t = 1..T of rho^t f(w_t); rho > 0, rho = 1 the plain sum (w_0 is what the run is given)."""

    rho: float = 1.0
    measure: MeasureName | Measure = "loss"

    def __post_init__(self) -> None:
        """Check the weight, and find the measure of the name."""
        object.__setattr__(self, "measure", as_measure("WeightedSum", self.measure))
        checks.number("WeightedSum", "rho", self.rho, above=0.0)

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return rho^t for t = 1..T."""
        return power_weight(self.rho, t) if t >= 1 else None

    def shared_weight(self, steps: int) -> Shared | None:
        """Return the weight 1 of t = 1..T where rho is 1."""
        return Shared(range(1, steps + 1), UNIT_WEIGHT) if self.rho == 1 else None

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return the term itself."""
        return unchanged(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return the sum itself."""
        return unchanged(total)
