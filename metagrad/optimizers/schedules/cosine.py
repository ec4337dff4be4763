"""A number that goes from one value to another along half a wave, once or again and again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad import checks
from metagrad.optimizers._hyper import UNBOUNDED, check_phi, project
from metagrad.optimizers._schedules import beside, each, fraction
from metagrad.protocols import Tree
from metagrad.xp import Array

_RANGES = {"start": UNBOUNDED, "end": UNBOUNDED}


@dataclass(frozen=True)
class Cosine:
    """end + (start - end) (1 + cos(pi t/T))/2 at time t = 0, ..., T - 1 of a run of T steps; `end` from T on.

    The first step has `start`; no step of the run has `end`, which may be 0. `period`: begin anew every so many steps,
    t mod period and period in the places of t and T; it needs no horizon, and goes on beyond it. Floats, or arrays and
    trees as the rule takes them. ValueError unless the period is at least 1, TypeError unless it is an integer.
    Source: Loshchilov and Hutter 2017 (SGDR), equation 5, with eta_max = start, eta_min = end.

    >>> [round(Cosine()(Cosine.Phi(1.0, 0.0), t, 2), 9) for t in (0, 1, 2, 9)]
    [1.0, 0.5, 0.0, 0.0]
    >>> [round(Cosine(period=2)(Cosine.Phi(1.0, 0.0), t, None), 9) for t in (0, 1, 2, 9)]
    [1.0, 0.5, 1.0, 0.5]
    """

    period: int | None = None

    class Phi(NamedTuple):
        """The parameters."""

        start: Array
        end: Array

    def __post_init__(self) -> None:
        """Check the period."""
        if self.period is not None:
            checks.count("Cosine", "period", self.period, 1, "It counts steps, and is no meta-parameter.")

    def __call__(self, phi: Phi, t: int, steps: int | None) -> Tree:
        """Return the value at time t; TypeError after the first step where the horizon is not known."""
        over = fraction(t, steps, "Cosine") if self.period is None else (t % self.period) / self.period
        share = np.cos(math.pi * over / 2) ** 2 if over < 1 else 0.0  # (1 + cos x)/2, with all digits near 0
        return each(lambda start, end: end + (start - end) * beside(share, start), phi)

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi; raise unless it is floating and in range."""
        checked: Cosine.Phi = check_phi(Cosine.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: Cosine.Phi = project(phi, _RANGES)
        return nearest
