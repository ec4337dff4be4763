"""A number that shrinks, or grows, by one factor a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad.optimizers._hyper import FACTOR, UNBOUNDED, check_phi, project
from metagrad.optimizers._schedules import each
from metagrad.protocols import Tree
from metagrad.xp import Array

_RANGES = {"start": UNBOUNDED, "factor": FACTOR}


@dataclass(frozen=True)
class Exponential:
    """start factor^t at time t = 0, 1, ...; it needs no horizon, and goes on beyond it.

    `start`, any number that the rule takes, and `factor` > 0: floats, or arrays and trees as the rule takes them.

    >>> Exponential()(Exponential.Phi(0.8, 0.5), 2, None)
    0.2
    """

    class Phi(NamedTuple):
        """The parameters."""

        start: Array
        factor: Array

    def __call__(self, phi: Phi, t: int, steps: int | None) -> Tree:
        """Return the value at time t."""
        return each(lambda start, factor: start * factor**t, phi)

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi; raise unless it is floating and in range."""
        checked: Exponential.Phi = check_phi(Exponential.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: Exponential.Phi = project(phi, _RANGES)
        return nearest
