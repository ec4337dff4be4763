"""What the objective measures and its gradient, as programs; see `step`: recorded, compared and given up likewise.

Of w alone (`ReplayTerms`), or of meta-parameters, w and the state of the rule (`ReplayJointTerms`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.adjoints import along_tasks
from metagrad.replay.kept import Kept
from metagrad.replay.program import NotReplayable
from metagrad.replay.routine import LONG, Routines, moved
from metagrad.xp import Array, filled, like, namespace, rng


class ReplayTerms:
    """The values and gradients of a measure along one run."""

    joint = False
    _place = 0  # of w in what the measure is a function of

    def __init__(self, measured: Any, steps: int, routines: Routines) -> None:
        """Bind what an unroll measures (`metagrad.unroll.measured`)."""
        self._looked, self.routines = (measured.task, measured.measure), routines
        self._sample: Callable[[int], Any] = measured.sample
        self.valued: Callable[..., Array] = measured.valued  # without a program, and its gradient
        self.slope: Callable[[Tree, Any], Tree] = measured.slope
        self._near: Callable[[Any], Any] = measured.near
        self._of: Callable[..., Any] = measured.of_w
        self.looked_at = set(routines.looks([1, steps // 2] if steps >= LONG else [1]))
        self._is_on, self._is_sure = routines.why_not is None, routines.is_trusted
        self._are_old = routines.are_recorded  # by another run
        self._seen = 0  # terms
        self._handed: tuple[Tree, Tree] | None = None  # w, and the gradient there, from the program of the step

    def value(self, t: int, *at: Tree) -> Array:
        """Return what is measured at time t."""
        trees = *at, self._sample(t)
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
        sample = self._sample(t) if t in self.looked_at or not is_handed else None
        if t in self.looked_at:
            self.routines.step.check(self.valued(w, sample), (w, sample))
            self._compare_slopes((w, sample))
        if handed is not None and is_handed:
            slope = handed[1]
            return lambda cotangent: (ad.tree_map(lambda x: x * along_tasks(cotangent, x), slope),)

        def pull(cotangent: Array) -> tuple[Tree]:
            found = self.routines.pull.run((w, sample, cotangent))
            return (self.pulled(w, sample, cotangent) if found is None else found,)

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
                if self.looked_at:
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
        *at, sample = trees
        w = at[self._place]
        beside = *[moved(x, k) for k, x in enumerate(at, start=2)], self._near(sample)
        kept = Kept(*self._looked, whole=True)
        try:
            self.routines.step.learn(self.valued, trees, beside)
            self.routines.pull.learn(self.pulled, (*trees, _ones(w)), (*beside, _drawn(w)))
            kept.refuse_changes()
            self._is_sure = True
        except NotReplayable as why:
            self.routines.step.why_not, self._is_on = str(why), False

    def _compare_slopes(self, trees: Any) -> None:
        given = *trees, _ones(trees[self._place])
        if self.routines.pull.knows(given):
            self.routines.pull.check(self.pulled(*given), given)

    def pulled(self, *given: Any) -> Tree:
        """Return the pullback of the measure, of what it is a function of, the sample and a cotangent."""
        w, sample, cotangent = given
        return ad.recorded(lambda u: self._of(u, sample), w)(cotangent)[0]


class ReplayJointTerms(ReplayTerms):
    """The same of a measure that depends on phi and on the state of the rule, too."""

    joint = True
    _place = 1

    def __init__(self, measured: Any, steps: int, routines: Routines) -> None:
        """Bind what an unroll measures."""
        super().__init__(measured, steps, routines)
        self._of, self.valued = measured.jointly, measured.valued_jointly

    def pullback(self, t: int, w: Tree) -> None:
        """Return None: where w alone is asked for, the tape finds it."""

    def gradient(self, w: Tree) -> None:
        """Return None: the task has its own, beside phi."""

    def jointly(self, t: int, *at: Tree) -> Callable[..., tuple[Tree, ...]] | None:
        """Return the pullback of the measure (see `pulled`), None where the tape has to find it."""
        if not self._is_sure:
            return None
        trees = *at, self._sample(t)
        if t in self.looked_at:
            self.routines.step.check(self.valued(*trees), trees)
            self._compare_slopes(trees)

        def pull(cotangent: Array) -> tuple[Tree, ...]:
            found = self.routines.pull.run((*trees, cotangent))
            return self.pulled(*trees, cotangent) if found is None else found  # type: ignore[no-any-return]

        return pull

    def tangents(self, t: int, *given: Any) -> tuple[Array, Array, Array] | None:
        """Return the measure at (phi, w, state), and what the tangents of (w, state) and of phi add; None: the tape's.

        `given`: phi, w, state, and the tangents, that of phi first.
        """
        push, (phi, w, state, *made) = self.routines.push, given
        if not self._is_sure or push.why_not is not None:
            return None
        trees = phi, w, state, self._sample(t), *made
        found = None if t in self.looked_at else push.run(trees)
        if found is not None:
            return found  # type: ignore[no-any-return]
        expected = self.pushed(*trees)
        if push.knows(trees):
            push.check(expected, trees)
        else:
            beside = moved(phi, 2), moved(w, 3), moved(state, 4), self._near(trees[3]), made[0], moved(made[1], 5)
            with suppress(NotReplayable):  # the values may be replayed all the same
                push.learn(self.pushed, trees, beside)
        return expected  # type: ignore[no-any-return]

    def pushed(self, phi: Tree, w: Tree, state: Tree, sample: Any, d_phi: Tree, tangent: Any) -> Any:
        """Return what the measure is, and what the tangents of (w, state) and of phi add to it."""
        found, along = ad.jvp(lambda u, s: self._of(phi, u, s, sample), (w, state), tangent)
        _, beside = ad.jvp(lambda p: self._of(p, w, state, sample), (phi,), (d_phi,))
        return found, along, beside

    def pulled(self, *given: Any) -> Tree:
        """Return the pullback to (phi, w, state): a cotangent's to phi, and the gradients of each task in w and state.

        The gradient in w is that of the step, where the loss is measured; phi is given the sum over tasks.
        """
        *at, sample, cotangent = given
        pull = ad.recorded(lambda *moving: self._of(*moving, sample), *at)
        return pull(cotangent, wrt=(0,))[0], *pull(_ones(at[self._place]), wrt=(1, 2))[1:]


def _ones(w: Tree) -> Array:
    first = ad.leaves(w)[0]
    return filled(namespace(first), first.shape[0], 1, first.dtype)


def _drawn(w: Tree) -> Array:
    first = ad.leaves(w)[0]
    return like(first, rng(6, "adjoint").standard_normal(first.shape[0]).astype(first.dtype))
