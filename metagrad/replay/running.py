"""One program, step after step: what stays from step to step is looked at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.record import Program
from metagrad.replay.routine import Routine, applied, layout, leaves_of
from metagrad.xp import Array

Pair = tuple[Tree, Tree]  # (w, state)


class Running:
    """The program of a routine for one step after the other.

    Layouts are looked at until they stay, as what a program gives is what it is given next; those of samples always.
    """

    def __init__(self, routine: Routine) -> None:
        """Take the programs of a routine."""
        self._routine = routine
        self._key: Any = None
        self._of_sample: Any = None
        self._program: Program | None = None
        self._is_settled = False
        self._phi: Tree = None
        self._of_phi: list[Any] = []

    def next(
        self,
        time: int,
        phi: Tree,
        w: Tree,
        state: Tree,
        sample: Tree,
        made: tuple[Pair, Array] | None = None,
        kept: tuple[Any, ...] = (),
    ) -> Any:
        """Return what the program gives, None where there is none that applies; `made` and `kept` for pullbacks."""
        if phi is not self._phi:
            self._phi, self._of_phi = phi, leaves_of((phi,))
        flat = [time, *self._of_phi]
        _collect(flat, w)
        _collect(flat, state)
        of_sample = None
        if sample is not None:
            drawn = leaves_of((sample,))
            of_sample = layout((sample,), drawn)
            flat += drawn
        if made is not None:
            _collect(flat, made[0][0])
            _collect(flat, made[0][1])
            flat.append(made[1])
            flat += kept
        if not self._is_settled or of_sample != self._of_sample:
            trees = (time, phi, w, state, sample)
            key = layout(trees if made is None else (*trees, made, kept), flat)
            self._is_settled, self._of_sample = key == self._key, of_sample
            if not self._is_settled:
                self._key, self._program = key, self._routine.program(key)
        return None if self._program is None else applied(self._program, flat)


def _collect(flat: list[Any], tree: Tree) -> None:
    """Add the leaves of a tree; the usual kinds at once."""
    if type(tree) is np.ndarray:
        flat.append(tree)
    elif type(tree) is not tuple or tree:
        flat += ad.leaves(tree)
