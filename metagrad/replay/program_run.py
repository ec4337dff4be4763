"""A short run by the programs of its steps, one after the other: nothing is laid out for it beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.adjoints import is_float
from metagrad.replay.many_steps import ones_of, pulled_of
from metagrad.replay.routine import Routines
from metagrad.replay.running import Running
from metagrad.replay.stretches import Pulled
from metagrad.xp import Array

Pair = tuple[Tree, Tree]  # (w, state)


class ProgramRun:
    """Some steps from t = 0 on, all of one sample, forwards and then backwards."""

    def __init__(self, routines: Routines, phi: Tree, sample: Tree, steps: int) -> None:
        """Take the programs of the step, and what all steps are given."""
        self._routines, self._phi, self._sample, self._steps = routines, phi, sample, steps
        self._pairs: list[Pair] = []
        self._kept: list[tuple[Any, ...]] = []
        self._values: list[Array | None] = []

    def forwards(self, pair: Pair, room: int) -> bool:
        """Take all steps from (w, state); tell whether programs took all of them, within so many bytes."""
        run = Running(self._routines.keeping)
        self._pairs = [pair]
        for t in range(self._steps):
            found = run.next(t, self._phi, *self._pairs[-1], self._sample)
            if found is None:
                return False
            (after, value), kept = found
            self._pairs.append(after)
            self._kept.append(kept)
            self._values.append(value)
            room -= sum(x.nbytes for x in (*ad.leaves(after), *kept) if isinstance(x, np.ndarray))
            if room < 0:
                return False
        return True

    @property
    def states(self) -> list[Any]:
        """The entries of all float leaves of (w, state) after each step, (T, B, n), in one array."""
        pairs = [[x for x in ad.leaves(pair) if is_float(x)] for pair in self._pairs[1:]]
        return [np.array([np.concatenate([x.reshape((len(x), -1)) for x in leaves], axis=1) for leaves in pairs])]

    @property
    def has_values(self) -> bool:
        """Whether something is measured before each step."""
        return self._values[0] is not None

    @property
    def values(self) -> Array | None:
        """What was measured before each step, (T, B); None where nothing is."""
        return np.array(self._values) if self.has_values else None

    def pair(self, t: int) -> Pair:
        """Return (w, state) at t."""
        return self._pairs[t]

    def end(self) -> Pair:
        """Return (w, state) after the last step."""
        return self._pairs[-1]

    def backwards(self, adjoint: Tree, factors: Array | None, look: Callable[[Pulled, range], bool]) -> Pulled | None:
        """Pull the adjoint of w at the end, and a zero one of the state, back over all steps; None if not over all.

        `factors`, (T - 1, B), of the terms at T - 1, ..., 1, where there are values; at 0 any will do. What was found
        is shown to `look`, with the times: where it says no, there is nothing.
        """
        run, ones = Running(self._routines.given), ones_of(self._pairs[0][0])
        pair = adjoint, ad.tree_map(_nothing, self._pairs[-1][1])
        results: list[Any] = []
        for t in range(self._steps - 1, -1, -1):
            factor = ones if factors is None or t == 0 else factors[self._steps - 1 - t]
            trees = t, self._phi, *self._pairs[t], self._sample
            found = run.next(*trees, (pair, factor), self._kept[t])
            if found is None:
                return None
            phi_bar, pulled, _, after, sums = found
            pair = pulled if factors is None else after
            results.append((phi_bar, pulled, pair, sums))
        found = pulled_of(results, with_terms=factors is not None)
        return found if look(found, range(self._steps - 1, -1, -1)) else None


def _nothing(leaf: Any) -> Any:
    return np.zeros_like(leaf) if is_float(leaf) else None
