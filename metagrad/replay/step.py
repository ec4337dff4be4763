"""A step of an unroll and its pullback as programs: recorded once, replayed at every step, forwards and backwards.

Inputs are the time, the meta-parameters, w, the state of the rule, the leaves of the sample, and the adjoint: nothing
of one step is left in a program. What the pullback needs of the step is kept where there is room, and else computed
again, as the tape does: the bits are those of the tape, whatever the memory plan. The tape stays the truth: it takes
the first step of every run, and some on the way back, and one other bit is the end of it: `NotReplayable`, and the run
is made again by the tape.

Replayed are tasks and rules in code that NumPy's calls and Python's arithmetic of the time make up, on arrays of
float32 and float64 on the host. Steps that look at numbers, write in place or call what is not recorded are the
tape's, all of them; steps with a NaN, and those that branch on the time another way, are the tape's one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.adjoints import is_float
from metagrad.replay.apart import Apart
from metagrad.replay.bits import same_bits
from metagrad.replay.kept import Kept
from metagrad.replay.kept_steps import KeptSteps
from metagrad.replay.many_steps import Adjoint, Course, ManySteps, Passed, ones_of, shifted
from metagrad.replay.many_tangents import Moving, Pushed, Way, along
from metagrad.replay.of_step import OfStep, adjoint_like
from metagrad.replay.program import NotReplayable
from metagrad.replay.routine import LONG, Routines, laid, moved
from metagrad.replay.stack import Stack
from metagrad.replay.stretches import Pulled
from metagrad.replay.terms import ReplayTerms
from metagrad.replay.whole_run import Inputs, NotWholeRun, WholeRun
from metagrad.system import Training
from metagrad.xp import Array

Pair = tuple[Tree, Tree]  # (w, state)


class ReplayStep:
    """The step of a system, by its programs where they apply, else by the tape."""

    _kind_of_step = OfStep

    def __init__(  # noqa: PLR0913 - most are named
        self,
        system: Training,
        offset: int,
        steps: int,
        tape: Any,
        routines: Routines,
        terms: ReplayTerms | None = None,
        *,
        room: int = 0,
        forwards: bool = False,
        apart: Apart | None = None,
    ) -> None:
        """Bind the system; times are those of the unroll, which begins `offset` later in the run.

        `tape`: what takes the same steps by the tape, for tangents. `terms`: what is measured at most times; its
        gradient is then found beside the pullback of the step. `room`: bytes to keep of steps for their pullbacks.
        `forwards`: there is no way back, so that steps and tangents are looked at on the way. `apart`: the task, where
        its programs are those of its kind, and its data beside phi.
        """
        self._system, self._offset, self._routines, self._terms = system, offset, routines, terms
        self._of, self.apart = self._kind_of_step(system, terms, apart), apart
        self._beside: tuple[Tree, Tree] | None = None  # phi, and phi with the data
        is_looked_at = apart is not None and system.is_random and apart.device is None  # on a device programs read them
        self._contents = apart.contents() if apart is not None and is_looked_at else None
        self._tape, self._forwards = tape, forwards
        self._kept = KeptSteps(room, routines.spare)
        self._many = ManySteps(routines, system.sample, self._kept, joint=terms is not None and terms.joint)
        # At these times the tape pulls back, too, or goes forwards.
        times = [steps - 1, 0, *((steps // 3, 2 * steps // 3) if steps >= LONG else ())]
        self.looked_at = set(routines.looks(times))
        self._is_trusted = routines.is_trusted
        # Both ends, but of closed code: what changes late, and not at the start, is seen there.
        ends = set() if self._is_trusted else {0, steps - 1}
        self._compared = ends | (self.looked_at if forwards else set())
        self._ones: Array | None = None
        self.is_along = False  # whether tangents are taken over many steps
        self.taken: Pair | None = None  # the next (w, state) as the tape found it, where it was asked
        self._is_on = routines.why_not is None
        self._are_old = routines.are_recorded  # by another run
        self._is_sure = self._is_trusted  # or a step of this run has been compared
        self.why_not = routines.why_not
        self.replayed = 0  # steps, forwards and backwards
        self.by_tape = 0

    def step(self, t: int, phi: Tree, w: Tree, state: Tree) -> Pair:
        """Return the next (w, state)."""
        time = self._offset + t
        sample = self._system.sample(time)
        trees = (time, self.given(phi), w, state, sample)
        if not self._is_on:
            return self._of.stepped(*trees)
        if self._is_trusted and not self._routines.step.knows(trees):  # inputs of another kind: record those, too
            self._is_trusted = self._is_sure = False
        if not self._is_sure:
            return self._first(t, trees)
        if t in self._compared:
            self.by_tape += 1
            expected = self._of.stepped(*trees)
            self._check(t, expected, trees)
            return expected
        kept = self._routines.keeping.run(trees) if self._kept.room else None
        if kept is not None:
            self._kept.keep(t, w, state, sample, kept[1])
        found: Pair | None = self._routines.step.run(trees) if kept is None else kept[0][0]
        if found is None:
            self.by_tape += 1
            return self._of.stepped(*trees)
        self.replayed += 1
        return found

    def ahead(self, lo: int, hi: int, phi_at: Callable[[int], Tree], w: Tree, state: Tree) -> tuple[Stack, Any]:
        """Return (w, state) at lo + 1, lo + 2, ... up to hi, and what is measured at lo, lo + 1, ..., None if unknown.

        They end before a step that no program takes: `step` takes it.
        """
        may_run, end = self._is_on and self._is_sure and (self._kept.room > 0 or self._forwards), lo
        while may_run and end < hi and (end > 0 or self._is_trusted) and end not in self._compared:
            end += 1
        if end == lo:
            return Stack([]), None
        found = self._many.ahead(self._course(range(lo, end), phi_at), (w, state), keep=not self._forwards)
        self.replayed += len(found[0])
        return found

    def back(
        self,
        times: range,
        phi_at: Callable[[int], Tree],
        states: list[Any],
        after: Any,
        adjoint: Pair,
        *,
        fold: Array | None,
        factors: Array | None,
    ) -> Pulled | None:
        """Return cotangents of phi, adjoints, and those with the terms', at some times, one after the other, backwards.

        `states` are those at these times, with w and state, and `after` that after the last; `fold` as in `pullback`;
        `factors`, (n, B), what the gradients of what is measured are multiplied by before they are added, None where
        nothing is; where phi is given something, too, (n, 2, B) with the cotangents for it. They end before a step that
        no program takes; None where there is none.
        """
        if not (self._is_on and self._is_sure):
            return None
        steps = self._kept.known(times, states, self.looked_at)
        may_take_again = self._kept.is_short and self.looked_at.isdisjoint(times)
        if not steps and times and may_take_again and (times[-1] or self._is_trusted):
            pairs = [(at.w, at.state) for at in (*states[::-1], after)]
            self._many.again(self._course(times[::-1], phi_at), pairs)
            steps = self._kept.known(times, states, self.looked_at)
        if not steps:
            return None
        course = self._course(times[: len(steps)], phi_at)
        return self._many.back(course, steps, Adjoint(adjoint, fold, factors))

    def given(self, phi: Tree) -> Tree:
        """Return phi as programs take it: with the data beside it, where they are the kind's."""
        if self.apart is None:
            return phi
        if self._beside is None or self._beside[0] is not phi:
            self._beside = phi, (phi, self.apart.data)
        return self._beside[1]

    def _course(self, times: range, phi_at: Callable[[int], Tree]) -> Course:
        return Course(times, phi_at if self.apart is None else lambda t: self.given(phi_at(t)), self._offset)

    def passed(self, times: range, pulled: Pulled) -> None:
        """Let go of what was kept for steps that have been pulled back by `back`, and of the adjoints it gave."""
        self.replayed += len(times)
        self._many.done(pulled)
        self._kept.drop_many(times)

    @property
    def adds_terms(self) -> bool:
        """Whether `back` can add what is measured."""
        return self._terms is not None

    def check_data(self) -> None:
        """Raise NotReplayable where data have changed in the run, as a sampler may write into them: steps read them."""
        if self.apart is not None and self._contents is not None and self._contents != self.apart.contents():
            raise NotReplayable("the data of the task change while it is run")

    @property
    def routines(self) -> Routines:
        """The programs."""
        return self._routines

    def was_whole(self, steps: int) -> bool:
        """Whether a run of so many steps, which need not be compared, was all machine code, forwards and backwards."""
        ways = self._routines.keeping.latest, self._routines.given.latest
        are_compiled = all(program is not None and program.whole is not None for program in ways)
        return self._is_trusted and self.by_tape == 0 and self.replayed == 2 * steps and are_compiled

    def laid_out(self, trees: Any, steps: int) -> WholeRun | None:
        """Return the run that was taken last, laid out for others; `trees` are those of its first step."""
        _, phi, w, state, _ = trees
        known, flat = laid(trees)
        forwards, backwards = self._routines.keeping.program(known), self._routines.given.beginning_with(known)
        adjoints = sum(map(is_float, ad.leaves((w, state))))
        if forwards is None or backwards is None:
            return None
        with suppress(NotWholeRun):
            return WholeRun(forwards, backwards, steps, Inputs(flat, len(ad.leaves(phi)), adjoints))
        return None

    def _check(self, t: int, expected: Pair, trees: Any) -> bool:
        """Compare the programs with what the tape found, and keep what the pullback needs; tell if they apply."""
        found = self._routines.keeping.run(trees) if self._kept.room else None
        if found is None:
            return self._routines.step.check(expected, trees)
        if not same_bits(found[0][0], expected):
            self._routines.step.differs()
        self._kept.keep(t, trees[2], trees[3], trees[4], found[1])
        return True

    def _first(self, t: int, trees: Any) -> Pair:
        """Return the step, by the tape, having compared the program with it, or recorded one."""
        routines = self._routines
        self.by_tape += 1
        expected = self._of.stepped(*trees)
        if routines.step.knows(trees):
            try:
                self._is_sure = self._check(t, expected, trees)
                return expected
            except NotReplayable as why:  # of another run: its data have been changed since
                routines.drop(str(why))
                self._are_old = False
        if routines.why_not is not None:  # it is shared no longer
            self._is_on, self.why_not = False, routines.why_not
            return expected
        if trees[0] == self._offset:  # the first step of a run may be like no other
            return expected
        try:
            self._learn(trees)
            self._is_sure = True
        except NotReplayable as why:
            self._is_on, self.why_not = False, str(why)
        return expected

    def _learn(self, trees: Any) -> None:
        time, phi, w, state, _ = trees
        kept = Kept(self._system.task, self._system.rule, whole=True)
        beside = (time + 1, moved(phi, 1), moved(w, 2), moved(state, 3), self._system.sample(time + 1))
        made = self._made(w, state)
        self._routines.learn(self._of.stepped, self._of.pulled, self._of.valued, trees, made, beside)
        try:
            kept.refuse_changes()
        except NotReplayable as why:
            self._routines.step.forget(str(why))

    def _made(self, w: Tree, state: Tree) -> Any:
        """Return what a pullback is recorded with."""
        return adjoint_like((w, state), 4), self._unit(w)

    def give_up(self, why: str) -> None:
        """Note why the run has to be made by the tape; programs of another run are recorded anew the next time."""
        self.why_not = why
        if self._are_old or self.apart is not None:
            self._routines.drop(why)

    def said(self) -> str:
        """Say in one line what was replayed."""
        if self.why_not is not None:
            return f"Every step was taken by the tape. {self.why_not[0].upper()}{self.why_not[1:]}."
        found = said(self.replayed, self.replayed + self.by_tape, self._routines.why_not_compiled)
        why_no_graph = self._routines.why_no_graph
        return found if why_no_graph is None else f"{found} They are no CUDA graph: {why_no_graph}."

    def pullback(self, t: int, phi: Tree, at: Pair, adjoint: Pair, fold: Array | None) -> tuple[Tree, Pair]:
        """Return the cotangents of phi and of (w, state)."""
        time = self._offset + t
        trees = (time, self.given(phi), *at, self._system.sample(time))
        whole = self._cotangents(t, trees, adjoint)
        if fold is not None:
            whole = self._cotangents(t, trees, shifted(adjoint, fold), again=True)[0], whole[1]
        self._kept.drop(t)
        return whole

    def pushforward(self, t: int, phi: Tree, at: Pair, d_phi: Tree, tangent: Pair) -> tuple[Pair, Pair]:
        """Return the two parts of the next tangent."""
        if not (self._is_on and self._is_sure):
            return self._pushed_by_tape(t, phi, at, d_phi, tangent)
        time = self._offset + t
        trees = (time, self.given(phi), *at, self._system.sample(time))
        unknown: Way | None = None
        ways = self._ways_to_push(at[0], d_phi, tangent)
        for way in ways:
            given = (*trees, *way.made)
            found = None if t in self.looked_at else way.routine.run(given)
            if found is not None:
                self.replayed += 1
                return found[0] if way.is_along else found  # type: ignore[no-any-return]
            if not way.routine.knows(given):
                unknown = way
            if way is unknown or t in self.looked_at:
                break
        expected = self._pushed_by_tape(t, phi, at, d_phi, tangent)
        for way in ways:
            given = (*trees, *way.made)
            if way is not unknown and way.routine.knows(given):
                whole = self._of.with_next(trees, expected, way.made[0], d_phi) if way.is_along else expected
                way.routine.check(whole, given)
        if unknown is not None:
            away = [moved(x, k) for k, x in enumerate(trees[1:4], start=1)]
            beside = (time + 1, *away, self._system.sample(time + 1), *unknown.beside())
            with suppress(NotReplayable):  # the steps may be replayed all the same
                unknown.routine.learn(unknown.of, (*trees, *unknown.made), beside)
        return expected

    def _ways_to_push(self, w: Tree, d_phi: Tree, tangent: Pair) -> list[Way]:
        """Return the programs that take a tangent on, the one to ask first in front.

        Where stretches are taken, that is theirs; the other sees no NaN in a term, where there is one.
        """
        ways = [Way(self._routines.push, self._of.pushed, (d_phi, tangent), is_along=False)]
        if self.is_along:
            made = (tangent, ones_of(w)), tuple(ad.leaves(d_phi))
            ways.insert(0, Way(self._routines.along, self._of.along, made, is_along=True))
        return [way for way in ways if way.routine.why_not is None]

    def end_along(self, lo: int, hi: int) -> int:
        """Return up to where, at most hi, tangents may be taken over many steps from lo on: to one to be looked at."""
        may_run = self._is_on and self._is_sure and self._routines.along.has_programs
        end, looked_at = lo, self._compared | self.looked_at
        while may_run and end < hi and (end > 0 or self._is_trusted) and end not in looked_at:
            end += 1
        return end

    def passed_ahead(self, times: range, phi_at: Callable[[int], Tree], w: Tree, state: Tree) -> Passed | None:
        """Return steps for tangents to be taken along, as far as programs take them; None where there is none."""
        return self._many.passed(self._course(times, phi_at), (w, state))

    def pushed(self, steps: Passed, tangent: Pair, d_phi: Tree, factor: Array) -> Pushed | None:
        """Return what becomes of a tangent over those steps, as far as programs take it; None where they do not."""
        return along(self._routines.along, steps, Moving(tangent, factor, tuple(ad.leaves(d_phi))))

    def went(self, steps: int, tangents: int) -> None:
        """Note that so many steps, with so many tangents, were noted."""
        self.replayed += steps * (1 + tangents)

    def _pushed_by_tape(self, t: int, phi: Tree, at: Pair, d_phi: Tree, tangent: Pair) -> tuple[Pair, Pair]:
        self.by_tape += 1
        found: tuple[Pair, Pair] = self._tape.pushforward(t, phi, at, d_phi, tangent)
        self.taken = self._tape.taken
        return found

    def _cotangents(self, t: int, trees: Any, adjoint: Pair, *, again: bool = False) -> tuple[Tree, Pair]:
        found = self._replayed(t, trees, adjoint) if self._is_on else None
        if found is not None and (again or t not in self.looked_at):
            self.replayed += 1
            phi_bar, pair, slope, _, _ = found
            if self._terms is not None and self._terms.joint:
                phi_bar = phi_bar[0]
            if slope is not None and self._terms is not None:
                self._terms.hand(trees[2], slope)
            return phi_bar, pair
        self.by_tape += 1
        pull = self._of.recorded(*trees)
        self.taken = pull.out
        phi_bar, w_bar, state_bar = pull(adjoint)
        if found is not None:
            expected = self._of.with_slope(trees, phi_bar, (w_bar, state_bar), adjoint, self._unit(trees[2]))
            if not same_bits(found, expected):
                self._routines.pull.differs()
        return phi_bar, (w_bar, state_bar)

    def _replayed(self, t: int, trees: Any, adjoint: Pair) -> Any:
        """Return what the program of the pullback gives, with what was kept of the step where it is that very one."""
        made, kept = (adjoint, self._unit(trees[2])), self._kept.get(t, trees[2], trees[3])
        if kept is not None:
            pulled = self._routines.given.run((*trees, made, kept.arrays))
            if pulled is not None:
                return pulled
        return self._routines.pull.run((*trees, made))

    def _unit(self, w: Tree) -> Array:
        if self._ones is None:
            self._ones = ones_of(w, joint=self._terms is not None and self._terms.joint)
        return self._ones


def said(replayed: int, of: int, why_not_compiled: str | None) -> str:
    """Say how many steps were replayed."""
    found = f"{replayed} of {of} steps, forwards and backwards, were replayed."
    return found if why_not_compiled is None else f"{found} Programs stay NumPy's: {why_not_compiled}."
