"""A run of which nothing has to be said: from end to end in two calls of machine code, and one look at all of it.

The sweep (`tape_sweep`) asks at every stretch of steps what is to be said, shifted, kept and compared. Of a short run
of code that has been read through (`metagrad.replay.closed`) and compared with the tape, nothing is, as a rule. So what
such a run is given and finds lies where it lay the last time (`metagrad.replay.whole_run`), and all looks are taken
together (`looks`). Where anything is not as usual the sweep finds the answer, from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.measures import as_measure
from metagrad.protocols import Estimate, Joint, Tree
from metagrad.replay import (
    Looked,
    NotReplayable,
    ReplayStep,
    ReplayTerms,
    Routines,
    WholeRun,
    alike,
    are_laid_out,
    is_asked,
    laid,
    routines_of,
    said,
)
from metagrad.system import Training
from metagrad.transforms import shared_weight
from metagrad.unroll.carry import Ask, Carry, Options
from metagrad.unroll.looks import Given, Looks, SaidError, Terms
from metagrad.unroll.of_kind import MeasuredOfKind
from metagrad.unroll.phi import Shape, first_float, prepare

_USUAL = Options()
SHARE = 4  # of the memory for states: what is kept for pullbacks beside them
_FEWEST, _MOST = 8, 128  # steps
_MOST_RUNS = 4  # that are laid out for one task and measure
_MOST_BYTES = 1 << 24  # of what stays of a run
_LONGEST_PAUSE = 64  # runs: where something had to be said, the next ones are the sweep's


def quiet(ask: Ask, options: Options, where: str, memory: int) -> Estimate | None:
    """Return value and meta-gradient of a run that was laid out before; None where the sweep has to find them.

    `memory`: bytes for states, of which what is kept for pullbacks may take a share, as in a sweep.
    """
    if options != _USUAL or ask.at is not None or ask.run is not None or ask.steps > _MOST:
        return None
    if not is_asked() or not are_laid_out(ask.task) or isinstance(ask.phi, Joint):
        return None
    system = Training(ask.task, ask.rule, ask.seed, steps=ask.horizon)
    terms = routines_of("what is measured", system, as_measure(type(ask.objective).__name__, ask.objective.measure))
    run = next((one for one in terms.runs if one.is_of(ask) and one.size <= memory // SHARE), None)
    found = None if run is None else run.found(ask, system, terms, where)
    if found is None:
        terms.asked -= 1  # the sweep asks for them
    return found


def lay_out(unroll: Any, step: ReplayStep) -> None:
    """Let later runs like one that a sweep has taken be quiet ones, where they can be; that is asked once."""
    ask, steps, terms = unroll.ask, unroll.steps, unroll.tally.measured.terms
    if unroll.options != _USUAL or ask.at is not None or ask.run is not None or isinstance(ask.phi, Joint):
        return
    if terms is None or not step.was_whole(steps) or not _FEWEST <= steps <= _MOST:
        return
    routines = terms.routines
    known = [*routines.runs, *routines.not_laid_out]
    if len(known) >= _MOST_RUNS or any(one.is_of(ask) for one in known):
        return
    given = 0, step.given(unroll.phi), *unroll.begins, None
    run = step.laid_out(given, steps) if _is_usual(unroll) and unroll.start_pullback() is None else None
    if run is None or run.size > _MOST_BYTES:
        routines.not_laid_out.append(_Kind(ask))
    else:
        routines.runs.append(_Quiet(unroll, step.routines, run, given))


def quiet_of_kind(unroll: Any, step: ReplayStep, memory: int) -> Estimate | None:
    """Return value and meta-gradient of a run of a task that is new, where one of its kind was laid out before.

    The sweep has read the task already (`of_kind`), and goes on where there is no answer from here.
    """
    ask, terms = unroll.ask, unroll.tally.measured.terms
    if unroll.options != _USUAL or ask.at is not None or ask.run is not None or isinstance(ask.phi, Joint):
        return None
    run = next((one for one in terms.routines.runs if one.is_of(ask) and one.size <= memory // SHARE), None)
    # Code is the same as of the task that was laid out, but what it says of itself may be a matter of its data.
    return run.found_of_kind(unroll, step) if run is not None and _is_usual(unroll) else None


def _is_usual(unroll: Any) -> bool:
    """Whether a run is of the kind that can be quiet."""
    steps, tally = unroll.steps, unroll.tally
    if unroll.joint or tally.joint or unroll.is_half or unroll.scale_state or unroll.entries is not None:
        return False
    weights = shared_weight(unroll.ask.objective, steps)
    are_known = weights is not None and weights.times in (range(1, steps + 1), range(steps, steps + 1))
    return are_known and not unroll.watches_some and not parts.is_random(unroll.task)


class _Kind:
    """The rule, the objective and the steps of a run."""

    def __init__(self, ask: Ask) -> None:
        self._objective, self._rule, self._steps = ask.objective, ask.rule, ask.steps

    def is_of(self, ask: Ask) -> bool:
        """Whether those of a run are the same."""
        return ask.steps == self._steps and alike((self._objective, self._rule), (ask.objective, ask.rule))


class _Quiet(_Kind):
    """A run that is laid out, for inputs of one layout."""

    def __init__(self, unroll: Any, routines: Routines, run: WholeRun, given: Any) -> None:
        super().__init__(unroll.ask)
        self._run, self._routines, self.size = run, routines, run.size
        self._programs = routines.keeping, routines.given
        self._layout, _ = laid(given)
        self._looks = Looks(Shape.of(unroll.w0, np, per_task=False), self._steps)
        self._said = said(2 * self._steps, 2 * self._steps, routines.why_not_compiled)
        self._failed = self._pause = 0

    @property
    def nbytes(self) -> int:
        """The memory that is taken now."""
        return self._run.nbytes

    def found(self, ask: Ask, system: Training, terms: Routines, where: str) -> Estimate | None:
        """Return the estimate, None where the sweep has to find it."""
        if self._is_pausing():
            return None
        self._routines.asked += 1
        found = self._tried(partial(self._as_usual, ask, system, terms, where))
        if found is None:
            self._routines.asked -= 1
        return found

    def found_of_kind(self, unroll: Any, step: ReplayStep) -> Estimate | None:
        """Return the estimate of another task of the kind, None where the sweep has to find it."""
        return None if self._is_pausing() else self._tried(partial(self._of_kind, unroll, step))

    def _is_pausing(self) -> bool:
        """Whether the sweep is to find this one."""
        if not self._run.is_current:  # programs are to be NumPy's calls, which take no memory of a stretch
            return True
        self._pause -= (is_pausing := self._pause > 0)
        return is_pausing

    def _tried(self, take: Callable[[], Estimate | None]) -> Estimate | None:
        """Return the estimate; where there is none, note it, and give the memory back."""
        try:
            found = take()
        except (SaidError, NotReplayable):  # or another thread has changed what is kept of the task
            found = None
            self._failed += 1
            self._pause = min(2**self._failed, _LONGEST_PAUSE)
        if found is None:
            self._run.release(self._routines.spare)  # the sweep takes its memory from there
        else:
            self._failed = 0
        return found

    def _as_usual(self, ask: Ask, system: Training, terms: Routines, where: str) -> Estimate | None:
        """Return the estimate, None where the run is to be compared, or is another one."""
        routines = self._routines
        w = system.example()
        if first_float(w, where).dtype != self._looks.shape.dtype:
            return None
        phi = parts.complete_phi(ask.rule, ask.phi, where)
        given = prepare(phi, None, self._looks.shape, where)
        begin = Carry(w, self._state(system, given, w), self._looks.none)
        # Only now: code of the user's that makes the start may have changed what is looked at.
        looked = Looked(ask.task, ask.rule, as_measure(type(ask.objective).__name__, ask.objective.measure))
        terms.depend_on(looked)
        routines.depend_on(looked)
        of_terms = partial(ReplayTerms, steps=self._steps, routines=terms)
        taken = Given(ask, system, phi, given, begin, Terms(of_terms))
        return self._taken((0, given, begin.w, begin.state, None), terms, taken)

    def _of_kind(self, unroll: Any, step: ReplayStep) -> Estimate | None:
        """Return the same of a task that was read and taken apart."""
        terms = unroll.tally.measured.terms.routines
        if not unroll.system.is_ours and unroll.start_pullback() is not None:
            raise SaidError
        apart, begin = step.apart, Carry(unroll.begins[0], unroll.begins[1], self._looks.none)
        assert apart is not None

        def of_terms(measured: Any) -> ReplayTerms:
            return ReplayTerms(MeasuredOfKind(measured, apart), self._steps, terms)

        taken = Given(unroll.ask, unroll.system, unroll.given, unroll.phi, begin, Terms(of_terms))
        return self._taken((0, step.given(unroll.phi), begin.w, begin.state, None), terms, taken)

    def _taken(self, trees: Any, terms: Routines, given: Given) -> Estimate | None:
        """Return the estimate of a run from `trees`, those of its first step."""
        run, routines = self._run, self._routines
        if not (terms.is_trusted and routines.is_trusted):
            return None
        if self not in terms.runs or (routines.keeping, routines.given) != self._programs:
            return None
        layout, leaves = laid(trees)
        if layout != self._layout or not run.lock.acquire(blocking=False):
            return None
        try:
            run.take(routines.spare)
            if not run.forwards(leaves[1:]):
                raise SaidError
            return self._looks.estimate(given, run, self._said)
        finally:
            run.lock.release()

    def _state(self, system: Training, phi: Tree, w: Tree) -> Tree:
        """Return the state of the rule at the start, which owes nothing to phi: a user's may, at some phi."""
        state = system.state(phi, w)
        if not system.is_ours and ad.leaves(state):
            _, pull = ad.vjp(lambda p: (w, system.state(p, w)), phi)
            if pull.depends:
                raise SaidError
        return state
