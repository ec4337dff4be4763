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
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.bits import same_bits
from metagrad.replay.kept import Kept
from metagrad.replay.program import NotReplayable
from metagrad.replay.routine import LONG, Routines, moved
from metagrad.replay.running import Running, is_float, with_term
from metagrad.replay.terms import ReplayTerms
from metagrad.scaled import ldexp
from metagrad.system import Training
from metagrad.xp import Array, rng

Pair = tuple[Tree, Tree]  # (w, state)


class _Step(NamedTuple):
    """A step that was taken from (w, state): what its pullback needs, the bytes of that, and maybe the sample."""

    w: Tree
    state: Tree
    found: tuple[Any, ...]
    size: int
    sample: Tree


class ReplayStep:
    """The step of a system, by its programs where they apply, else by the tape."""

    def __init__(
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
    ) -> None:
        """Bind the system; times are those of the unroll, which begins `offset` later in the run.

        `tape`: what takes the same steps by the tape, for tangents. `terms`: what is measured at most times; its
        gradient is then found beside the pullback of the step. `room`: bytes to keep of steps for their pullbacks.
        `forwards`: there is no way back, so that steps and tangents are looked at on the way.
        """
        self._system, self._offset, self._routines, self._terms = system, offset, routines, terms
        self._tape, self._room, self._bytes, self._forwards = tape, room, 0, forwards
        self._kept: dict[int, _Step] = {}  # by time
        self._data: list[Any] = []  # what the arrays of the latest sample are views of
        # At these times the tape pulls back, too, or goes forwards.
        times = [steps - 1, 0, *((steps // 3, 2 * steps // 3) if steps >= LONG else ())]
        self.looked_at = set(routines.looks(times))
        # Both ends always: what changes late, and not at the start, is seen there.
        self._compared = {0, steps - 1} | (self.looked_at if forwards else set())
        self._ones: Array | None = None
        self.taken: Pair | None = None  # the next (w, state) as the tape found it, where it was asked
        self._is_on = routines.why_not is None
        self._are_old = routines.are_recorded  # by another run
        self._is_sure = False  # whether a step of this run has been compared
        self.why_not = routines.why_not
        self.replayed = 0  # steps, forwards and backwards
        self.by_tape = 0

    def step(self, t: int, phi: Tree, w: Tree, state: Tree) -> Pair:
        """Return the next (w, state)."""
        time = self._offset + t
        sample = self._system.sample(time)
        trees = (time, phi, w, state, sample)
        if not self._is_on:
            return self._stepped(*trees)
        if not self._is_sure:
            return self._first(t, trees)
        if t in self._compared:
            self.by_tape += 1
            expected = self._stepped(*trees)
            self._check(t, expected, trees)
            return expected
        kept = self._routines.keeping.run(trees) if self._room else None
        if kept is not None:
            self._keep(t, trees, kept[1])
        found: Pair | None = self._routines.step.run(trees) if kept is None else kept[0][0]
        if found is None:
            self.by_tape += 1
            return self._stepped(*trees)
        self.replayed += 1
        return found

    def ahead(self, lo: int, hi: int, phi_at: Callable[[int], Tree], w: Tree, state: Tree) -> tuple[list[Pair], Any]:
        """Return (w, state) at lo + 1, lo + 2, ... up to hi, and what is measured at lo, lo + 1, ..., None if unknown.

        They end before a step that no program takes: `step` takes it.
        """
        pairs: list[Pair] = []
        values: list[Any] = []
        may_run = self._is_on and self._is_sure and (self._room > 0 or self._forwards)
        run, sample, offset = Running(self._routines.keeping), self._system.sample, self._offset
        for t in range(lo, hi if may_run else lo):
            if t in self._compared or t == 0:
                break
            trees = (offset + t, phi_at(t), w, state, sample(offset + t))
            found = run.next(*trees)
            if found is None:
                break
            (pair, value), kept = found
            if not self._forwards:
                self._keep(t, trees, kept)
            w, state = pair
            pairs.append(pair)
            values.append(value)
        self.replayed += len(pairs)
        return pairs, values

    def back(
        self,
        times: range,
        phi_at: Callable[[int], Tree],
        states: list[Any],
        adjoint: Pair,
        *,
        fold: Array | None,
        factors: Array | None,
    ) -> list[Any]:
        """Return (cotangent of phi, adjoint, adjoint with the term's) at some times, one after the other, backwards.

        `states` are those at these times, with w and state; `fold` as in `pullback`; `factors`, (n, B), what the
        gradients of what is measured are multiplied by before they are added, None where nothing is. They end before a
        step that no program takes.
        """
        results: list[Any] = []
        run, sample, offset = Running(self._routines.given), self._system.sample, self._offset
        for k, t in enumerate(times if self._is_on and self._is_sure else ()):
            at, kept = states[k], self._kept.get(t)
            if t in self.looked_at or kept is None or kept.w is not at.w or kept.state is not at.state:
                break
            drawn = sample(offset + t) if kept.sample is None else kept.sample
            trees = (offset + t, phi_at(t), at.w, at.state, drawn)
            factor = self._unit(at.w) if factors is None else factors[k]
            found = run.next(*trees, (adjoint, factor), kept.found)
            if found is None:
                break
            phi_bar, pulled, _, after = found
            if fold is not None:
                folded = run.next(*trees, (_shifted(adjoint, fold), factor), kept.found)
                if folded is None:
                    break
                phi_bar = folded[0]
            if factors is not None and after is None:  # no term is known here
                break
            adjoint = pulled if factors is None else after
            results.append((phi_bar, pulled, adjoint))
        return results

    def passed(self, times: range) -> None:
        """Let go of what was kept for steps that have been pulled back by `back`."""
        self.replayed += len(times)
        for t in times:
            self._drop(t)

    def _keep(self, t: int, trees: Any, found: tuple[Any, ...]) -> None:
        """Keep what a step found for its pullback; what was kept first goes where there is no room."""
        size = 0
        for x in found:
            size += x.nbytes
        if size > self._room:
            self._room = 0
            return
        if t in self._kept:
            self._drop(t)
        self._bytes += size
        sample = trees[4] if trees[4] is not None and self._holds_nothing(trees[4]) else None
        self._kept[t] = _Step(trees[2], trees[3], found, size, sample)
        while self._bytes > self._room:
            self._drop(next(iter(self._kept)))

    def _holds_nothing(self, sample: Tree) -> bool:
        """Whether a sample's arrays are views of what the one before was, so that to keep it takes no memory."""
        data, self._data = self._data, [getattr(x, "base", None) for x in ad.leaves(sample)]
        return len(data) == len(self._data) and all(
            x is not None and x is y for x, y in zip(data, self._data, strict=True)
        )

    def _drop(self, t: int) -> None:
        self._bytes -= self._kept.pop(t).size

    def _check(self, t: int, expected: Pair, trees: Any) -> bool:
        """Compare the programs with what the tape found, and keep what the pullback needs; tell if they apply."""
        found = self._routines.keeping.run(trees) if self._room else None
        if found is None:
            return self._routines.step.check(expected, trees)
        if not same_bits(found[0][0], expected):
            self._routines.step.differs()
        self._keep(t, trees, found[1])
        return True

    def _first(self, t: int, trees: Any) -> Pair:
        """Return the step, by the tape, having compared the program with it, or recorded one."""
        routines = self._routines
        self.by_tape += 1
        expected = self._stepped(*trees)
        if routines.step.knows(trees):
            try:
                self._is_sure = self._check(t, expected, trees)
                return expected
            except NotReplayable:  # of another run: its data have been changed since
                routines.begin_anew()
                self._are_old = False
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
        kept = Kept(self._system.task, self._system.rule)
        beside = (time + 1, moved(phi, 1), moved(w, 2), moved(state, 3), self._system.sample(time + 1))
        made = _adjoint((w, state), 4), self._unit(w)
        self._routines.learn(self._stepped, self._pulled, self._valued, trees, made, beside)
        try:
            kept.refuse_changes()
        except NotReplayable as why:
            self._routines.step.forget(str(why))

    def give_up(self, why: str) -> None:
        """Note why the run has to be made by the tape; programs of another run are recorded anew the next time."""
        self.why_not = why
        if self._are_old:
            self._routines.begin_anew()

    def said(self) -> str:
        """Say in one line what was replayed."""
        if self.why_not is not None:
            return f"Every step was taken by the tape. {self.why_not[0].upper()}{self.why_not[1:]}."
        said = f"{self.replayed} of {self.replayed + self.by_tape} steps, forwards and backwards, were replayed."
        reason = self._routines.why_not_compiled
        return said if reason is None else f"{said} Programs stay NumPy's: {reason}."

    def pullback(self, t: int, phi: Tree, at: Pair, adjoint: Pair, fold: Array | None) -> tuple[Tree, Pair]:
        """Return the cotangents of phi and of (w, state)."""
        time = self._offset + t
        trees = (time, phi, *at, self._system.sample(time))
        whole = self._cotangents(t, trees, adjoint)
        if fold is not None:
            whole = self._cotangents(t, trees, _shifted(adjoint, fold), again=True)[0], whole[1]
        if t in self._kept:
            self._drop(t)
        return whole

    def pushforward(self, t: int, phi: Tree, at: Pair, d_phi: Tree, tangent: Pair) -> tuple[Pair, Pair]:
        """Return the two parts of the next tangent."""
        push, time = self._routines.push, self._offset + t
        if not (self._is_on and self._is_sure) or push.why_not is not None:
            return self._pushed_by_tape(t, phi, at, d_phi, tangent)
        trees = (time, phi, *at, self._system.sample(time), d_phi, tangent)
        found = None if t in self.looked_at else push.run(trees)
        if found is not None:
            self.replayed += 1
            return found  # type: ignore[no-any-return]
        expected = self._pushed_by_tape(t, phi, at, d_phi, tangent)
        if push.knows(trees):
            push.check(expected, trees)
        else:
            beside = (time + 1, moved(phi, 1), moved(at[0], 2), moved(at[1], 3), self._system.sample(time + 1), d_phi)
            with suppress(NotReplayable):  # the steps may be replayed all the same
                push.learn(self._pushed, trees, (*beside, moved(tangent, 5)))
        return expected

    def _pushed_by_tape(self, t: int, phi: Tree, at: Pair, d_phi: Tree, tangent: Pair) -> tuple[Pair, Pair]:
        self.by_tape += 1
        found: tuple[Pair, Pair] = self._tape.pushforward(t, phi, at, d_phi, tangent)
        self.taken = self._tape.taken
        return found

    def _pushed(
        self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree, d_phi: Tree, tangent: Pair
    ) -> tuple[Pair, Pair]:
        """Return what the tangents of (w, state) and of phi add to the next tangent."""

        def step(phi: Tree, w: Tree, state: Tree) -> Pair:
            return self._system.stepped(time, phi, w, state, sample)

        _, of_state = ad.jvp(lambda *at: step(phi, *at), (w, state), tangent)
        _, of_phi = ad.jvp(lambda p: step(p, w, state), (phi,), (d_phi,))
        return of_state, of_phi

    def _cotangents(self, t: int, trees: Any, adjoint: Pair, *, again: bool = False) -> tuple[Tree, Pair]:
        found = self._replayed(t, trees, adjoint) if self._is_on else None
        if found is not None and (again or t not in self.looked_at):
            self.replayed += 1
            phi_bar, pair, slope, _ = found
            if slope is not None and self._terms is not None:
                self._terms.hand(trees[2], slope)
            return phi_bar, pair
        self.by_tape += 1
        pull = self._recorded(*trees)
        self.taken = pull.out
        phi_bar, w_bar, state_bar = pull(adjoint)
        if found is not None:
            expected = self._with_slope(trees, phi_bar, (w_bar, state_bar), self._unit(trees[2]))
            if not same_bits(found, expected):
                self._routines.pull.differs()
        return phi_bar, (w_bar, state_bar)

    def _replayed(self, t: int, trees: Any, adjoint: Pair) -> Any:
        """Return what the program of the pullback gives, with what was kept of the step where it is that very one."""
        made, kept = (adjoint, self._unit(trees[2])), self._kept.get(t)
        if kept is not None and kept.w is trees[2] and kept.state is trees[3]:
            pulled = self._routines.given.run((*trees, made, kept.found))
            if pulled is not None:
                return pulled
        return self._routines.pull.run((*trees, made))

    def _unit(self, w: Tree) -> Array:
        """Return a factor of 1 of a term, (B,): where none is added, and to compare with."""
        if self._ones is None:
            first = next(x for x in ad.leaves(w) if is_float(x))
            self._ones = np.ones(len(first), first.dtype)
        return self._ones

    def _stepped(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree) -> Pair:
        return self._system.stepped(time, phi, w, state, sample)

    def _recorded(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree) -> ad.Pullback:
        return ad.recorded(lambda p, x, s: self._system.stepped(time, p, x, s, sample), phi, w, state)

    def _pulled(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree, made: tuple[Pair, Array]) -> Any:
        """Return the cotangents of phi and of (w, state), and the gradient of what is measured, if it is at most times.

        The two have the gradient of the loss in common, which is then computed once. `made`: the adjoint, and what the
        gradient is multiplied by before it is added to that of w, (B,); the adjoint with it comes last.
        """
        phi_bar, w_bar, state_bar = self._recorded(time, phi, w, state, sample)(made[0])
        return self._with_slope((time, phi, w, state, sample), phi_bar, (w_bar, state_bar), made[1])

    def _with_slope(self, trees: Any, phi_bar: Tree, pulled: Pair, factor: Array) -> Any:
        if self._terms is None:
            return phi_bar, pulled, None, None
        slope = self._terms.slope(trees[2], trees[4])
        return phi_bar, pulled, slope, with_term(pulled, slope, factor)

    def _valued(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree) -> Any:
        """Return what is measured at w, where that is at most times: the step computes most of it."""
        return None if self._terms is None else self._terms.valued(w, sample)


def _adjoint(pair: Pair, seed: int) -> Pair:
    """Return an adjoint of (w, state) to record with: normal numbers, None for counters."""
    draw = rng(seed, "adjoint")
    found: Pair = ad.tree_map(lambda x: draw.standard_normal(x.shape).astype(x.dtype) if is_float(x) else None, pair)
    return found


def _shifted(adjoint: Pair, by: Array) -> Pair:
    """Return the adjoint times 2**by, task by task."""
    if not by.any():
        return adjoint
    found: Pair = ad.tree_map(
        lambda x: ldexp(x, by.reshape(by.shape + (1,) * (x.ndim - 1))) if is_float(x) else x, adjoint
    )
    return found
