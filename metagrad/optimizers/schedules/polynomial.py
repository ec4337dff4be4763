"""A number that goes from one value to another along a power of the time that is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.optimizers._hyper import POWER, UNBOUNDED, check_phi, project
from metagrad.optimizers._schedules import each, fraction
from metagrad.protocols import Tree
from metagrad.xp import Array

_RANGES = {"start": UNBOUNDED, "end": UNBOUNDED, "power": POWER}


@dataclass(frozen=True)
class Polynomial:
    """end + (start - end) (1 - t/T)^power at time t = 0, ..., T - 1 of a run of T steps; `end` from T on.

    The first step has `start`; no step of the run has `end`, which may be 0. `power` > 0, 1 for a straight line: it has
    a derivative, too. Floats, or arrays and trees as the rule takes them.

    >>> [Polynomial()(Polynomial.Phi(1.0, 0.0, 2.0), t, 4) for t in (0, 1, 2, 3, 4, 9)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    class Phi(NamedTuple):
        """The parameters."""

        start: Array
        end: Array
        power: Array

    def __call__(self, phi: Phi, t: int, steps: int | None) -> Tree:
        """Return the value at time t; TypeError after the first step where the horizon is not known."""
        left = 1.0 - fraction(t, steps, "Polynomial")
        if left == 0:
            return each(lambda start, end, power: end, phi)
        return each(lambda start, end, power: end + (start - end) * left**power, phi)

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi; raise unless it is floating and in range."""
        checked: Polynomial.Phi = check_phi(Polynomial.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: Polynomial.Phi = project(phi, _RANGES)
        return nearest
