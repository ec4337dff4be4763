"""What the objective measures and its gradient in w, as programs; see `step`: recorded, compared and given up likewise.

Not where the measure depends on meta-parameters or on the state of the rule: those terms are the tape's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.adjoints import along_tasks
from metagrad.replay.kept import Kept
from metagrad.replay.program import NotReplayable
from metagrad.replay.routine import LONG, Routines, moved
from metagrad.xp import Array, filled, rng


class ReplayTerms:
    """The values and gradients of a measure along one run."""

    def __init__(self, measured: Any, steps: int, routines: Routines) -> None:
        """Bind what an unroll measures (`metagrad.unroll.measured`)."""
        self._looked, self.routines = (measured.task, measured.measure), routines
        self._sample: Callable[[int], Any] = measured.sample
        self.valued: Callable[[Tree, Any], Array] = measured.valued  # without a program, and its gradient
        self.slope: Callable[[Tree, Any], Tree] = measured.slope
        self._near: Callable[[Any], Any] = measured.near
        self._of_w: Callable[[Tree, Any], Any] = measured.of_w
        self._looked_at = set(routines.looks([1, steps // 2] if steps >= LONG else [1]))
        self._is_on, self._is_sure = routines.why_not is None, routines.is_trusted
        self._are_old = routines.are_recorded  # by another run
        self._seen = 0  # terms
        self._handed: tuple[Tree, Tree] | None = None  # w, and the gradient there, from the program of the step

    def value(self, t: int, w: Tree) -> Array:
        """Return what is measured at time t."""
        trees = w, self._sample(t)
        self._seen += 1
        if self._is_on and not self._is_sure:
            return self._first(trees)
        found = self.routines.step.run(trees) if self._is_on else None
        return self.valued(*trees) if found is None else found

    def pullback(self, t: int, w: Tree) -> Callable[[Array], tuple[Tree]] | None:
        """Return the pullback of the measure at w, None where the tape has to find it."""
        if not self._is_sure:
            return None
        handed, self._handed = self._handed, None
        is_handed = handed is not None and handed[0] is w
        sample = self._sample(t) if t in self._looked_at or not is_handed else None
        if t in self._looked_at:
            self.routines.step.check(self.valued(w, sample), (w, sample))
            self._compare_slopes((w, sample))
        if handed is not None and is_handed:
            slope = handed[1]
            return lambda cotangent: (ad.tree_map(lambda x: x * along_tasks(cotangent, x), slope),)

        def pull(cotangent: Array) -> tuple[Tree]:
            found = self.routines.pull.run((w, sample, cotangent))
            return (self._pulled(w, sample, cotangent) if found is None else found,)

        return pull

    def hand(self, w: Tree, slope: Tree) -> None:
        """Take the gradient at w, found on the way."""
        self._handed = w, slope

    def gradient(self, w: Tree) -> Tree | None:
        """Return the gradient of what is measured, None where no program has it; of a task that draws no samples."""
        return self.routines.pull.run((w, self._sample(0), _ones(w))) if self._is_sure else None

    def give_up(self) -> None:
        """Drop programs of another run."""
        if self._are_old or self.routines.is_shared:
            self.routines.drop("the same calls give other numbers than the tape")

    def _first(self, trees: Any) -> Array:
        """Return what is measured, by the code itself, having compared the program with it, or recorded one."""
        expected, routines = self.valued(*trees), self.routines
        if routines.step.knows(trees):
            try:
                routines.step.check(expected, trees)
                if self._looked_at:
                    self._compare_slopes(trees)
                self._is_sure = True
                return expected
            except NotReplayable as why:  # of another run: the data have been changed since
                routines.drop(str(why))
                self._are_old = False
        if routines.why_not is not None:  # it is shared no longer
            self._is_on = False
        elif self._seen > 1:  # a single term is not worth it
            self._learn(trees)
        return expected

    def _learn(self, trees: Any) -> None:
        w, sample = trees
        beside = moved(w, 2), self._near(sample)
        kept = Kept(*self._looked, whole=True)
        try:
            self.routines.step.learn(self.valued, trees, beside)
            self.routines.pull.learn(self._pulled, (*trees, _ones(w)), (*beside, _drawn(w)))
            kept.refuse_changes()
            self._is_sure = True
        except NotReplayable as why:
            self.routines.step.why_not, self._is_on = str(why), False

    def _compare_slopes(self, trees: Any) -> None:
        w, sample = trees
        given = w, sample, _ones(w)
        if self.routines.pull.knows(given):
            self.routines.pull.check(self._pulled(*given), given)

    def _pulled(self, w: Tree, sample: Any, cotangent: Array) -> Tree:
        return ad.recorded(lambda u: self._of_w(u, sample), w)(cotangent)[0]


def _ones(w: Tree) -> Array:
    first = ad.leaves(w)[0]
    return filled(np, first.shape[0], 1, first.dtype)


def _drawn(w: Tree) -> Array:
    first = ad.leaves(w)[0]
    return rng(6, "adjoint").standard_normal(first.shape[0]).astype(first.dtype)
