"""What is known of a term of the meta-objective: at one time, or at several."""

from __future__ import annotations

from typing import NamedTuple

from metagrad.scaled import Scaled
from metagrad.xp import Array


class Term(NamedTuple):
    """What the objective measures, what it makes of it, and the derivative of that; each (B,)."""

    term: Scaled
    inner: Scaled
    slope: Scaled
    found: Array  # what the measure returned


class Block(NamedTuple):
    """The same at several times, one after the other from `start` on; each (n, B)."""

    start: int
    term: Scaled
    inner: Scaled
    slope: Scaled
    found: Array

    def at(self, t: int) -> Term:
        """Return what there is at one time."""
        k = t - self.start
        term, inner, slope = (Scaled(x.mantissa[k], x.exponent[k]) for x in (self.term, self.inner, self.slope))
        return Term(term, inner, slope, self.found[k])
