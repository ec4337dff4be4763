"""Samples of several steps, drawn before the steps are taken: they have to stay what they are until they are read.

A sampler may fill one array anew at every step, or a buffer of which its samples are views once in a while. A step by
itself reads its sample at once; many steps read theirs when all are drawn, and the way back later still. So what the
arrays of samples are views of is looked at when it is seen first, and again before it is relied upon.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.content import content
from metagrad.replay.whole_program import address

_LITTLE = 1 << 18  # bytes of a sample that are looked at at every step
_MUCH = 1 << 24  # bytes of what is a view of more, and is looked at itself
_ALONE = 3  # references to an array that nobody holds but a view of it, and who asks


def drawn(sample: Callable[[int], Tree], times: Sequence[int]) -> list[Tree] | None:
    """Return the samples of some times; None where one was written over by another, which a step is still to read."""
    found: list[Tree] = []
    known: dict[int, Any] = {}  # what lay where, as far as that is looked at
    owners = Owners()
    for k, t in enumerate(times):
        one = sample(t)
        found.append(one)
        for x in _arrays(one):
            place = address(x)
            if place in known and (known[place] is None or known[place] != content(x)):
                return None
            known[place] = content(x) if k == 0 or x.nbytes <= _LITTLE else known.get(place)
        owners.see(one)
    return found if owners.are_as_they_were() else None


class Owners:
    """What the arrays of samples are views of, as it was when it was seen first."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._seen: dict[int, tuple[Any, Any]] = {}  # held, so that no number is given twice

    def see(self, sample: Tree) -> None:
        """Look at what the arrays of a sample are views of, unless it is known."""
        for x in _arrays(sample):
            if x.base is not None:
                owner = _owner_of(x)
                if owner is not None and id(owner) not in self._seen:
                    self._seen[id(owner)] = owner, content(owner)

    def are_as_they_were(self) -> bool:
        """Whether all that was seen still holds the same."""
        return all(content(owner) == was for owner, was in self._seen.values())


def _owner_of(x: Any) -> Any:
    """Return what an array is a view of, or the array where that is much, or none of NumPy's; None where nobody has it.

    What nobody holds but the view, as where an array that is new is given another shape, is written into by nobody.
    """
    base = x.base
    if type(base) is not np.ndarray:
        return x
    while type(base.base) is np.ndarray:
        base = base.base
    if base.base is None and sys.getrefcount(base) <= _ALONE:
        return None
    return base if base.base is None and base.nbytes <= _MUCH else x


def _arrays(sample: Tree) -> Iterator[Any]:
    return (x for x in (() if sample is None else ad.leaves(sample)) if type(x) is np.ndarray)
