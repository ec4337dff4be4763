"""A run of which nothing has to be said: from end to end in two calls of machine code, and one look at all of it.

The sweep (`tape_sweep`) asks at every stretch of steps what is to be said, shifted, kept and compared. Of a short run
of code that has been read through (`metagrad.replay.closed`) and compared with the tape, nothing is, as a rule. So what
such a run is given and finds lies where it lay the last time (`metagrad.replay.whole_run`), and the same parts as in
the sweep (`tally`, `growth`, `accumulate`, `trust`, `lost`) look at all steps together. Where anything is not as usual,
a number out of its range, a task with another exponent than the others, a Status, there is no answer from here, and the
sweep finds one from the start. The numbers are the same bits either way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metagrad import ad, parts
from metagrad.guard import frozen
from metagrad.measures import as_measure
from metagrad.protocols import Estimate, Joint, Position, Tree
from metagrad.replay import (
    Looked,
    NotReplayable,
    Pulled,
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
from metagrad.scaled import Scaled, surely_finite
from metagrad.system import Training
from metagrad.transforms import shared_weight
from metagrad.unroll.accumulate import Accumulator
from metagrad.unroll.carry import Ask, Carry, Options
from metagrad.unroll.digits import LOG10_2, Known, cancellation, free_digits
from metagrad.unroll.growth import Growth
from metagrad.unroll.lost import Lost
from metagrad.unroll.monitor import Monitor
from metagrad.unroll.phi import Shape, first_float, prepare, restore
from metagrad.unroll.rescale import beside, exponent_limit, is_float_array, magnitude, within
from metagrad.unroll.stretch import Sizes, reached
from metagrad.unroll.tally import Tally, Times
from metagrad.unroll.trust import Trust
from metagrad.xp import Array, float_info

_USUAL = Options()
SHARE = 4  # of the memory for states: what is kept for pullbacks beside them
_FEWEST, _MOST = 8, 128  # steps
_MOST_RUNS = 4  # that are laid out for one task and measure
_MOST_BYTES = 1 << 24  # of what stays of a run
_LONGEST_PAUSE = 64  # runs: where something had to be said, the next ones are the sweep's


class _SaidError(Exception):
    """Something has to be said."""


class _Given(NamedTuple):
    """What a run is given: phi as the rule completes it and prepared, where it begins, and the leaves of all."""

    ask: Ask
    system: Training
    phi: Tree
    prepared: Tree
    begin: Carry
    leaves: list[Any]


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
    given = 0, unroll.phi, *unroll.start()[:2], None
    run = step.laid_out(given, steps) if _is_usual(unroll) else None
    if run is None or run.size > _MOST_BYTES:
        routines.not_laid_out.append(_Kind(ask))
    else:
        routines.runs.append(_Quiet(unroll, step.routines, run, given))


def _is_usual(unroll: Any) -> bool:
    """Whether a run is of the kind that can be quiet."""
    steps, tally = unroll.steps, unroll.tally
    if unroll.joint or tally.joint or unroll.is_half or unroll.scale_state or unroll.entries is not None:
        return False
    weights = shared_weight(unroll.ask.objective, steps)
    are_known = weights is not None and weights.times in (range(1, steps + 1), range(steps, steps + 1))
    if not are_known or unroll.watches_some or parts.is_random(unroll.task):
        return False
    return unroll.start_pullback() is None


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
        self._shape, self._limit = Shape.of(unroll.w0, np, per_task=False), exponent_limit(unroll.dtype)
        self._tiny = 2.0 ** float_info(unroll.dtype).min_exponent
        self._none = np.zeros(unroll.batch, np.int64)  # exponents of states
        self._said = said(2 * self._steps, 2 * self._steps, routines.why_not_compiled)
        self._failed = self._pause = 0

    @property
    def nbytes(self) -> int:
        """The memory that is taken now."""
        return self._run.nbytes

    def found(self, ask: Ask, system: Training, terms: Routines, where: str) -> Estimate | None:
        """Return the estimate, None where the sweep has to find it."""
        if not self._run.is_current:  # programs are to be NumPy's calls, which take no memory of a stretch
            return None
        if self._pause:
            self._pause -= 1
            return None
        self._routines.asked += 1
        try:
            found = self._as_usual(ask, system, terms, where)
        except (_SaidError, NotReplayable):  # or another thread has changed what is kept of the task
            found = None
            self._failed += 1
            self._pause = min(2**self._failed, _LONGEST_PAUSE)
        if found is None:
            self._routines.asked -= 1
            self._run.release(self._routines.spare)  # the sweep takes its memory from there
        else:
            self._failed = 0
        return found

    def _as_usual(self, ask: Ask, system: Training, terms: Routines, where: str) -> Estimate | None:
        """Return the estimate, None where the run is to be compared, or is another one."""
        run, routines = self._run, self._routines
        w = system.example()
        if first_float(w, where).dtype != self._shape.dtype:
            return None
        phi = parts.complete_phi(ask.rule, ask.phi, where)
        given = prepare(phi, None, self._shape, where)
        begin = Carry(w, self._state(system, given, w), self._none)
        # Only now: code of the user's that makes the start may have changed what is looked at.
        looked = Looked(ask.task, ask.rule, as_measure(type(ask.objective).__name__, ask.objective.measure))
        terms.depend_on(looked)
        routines.depend_on(looked)
        if not (terms.is_trusted and routines.is_trusted):
            return None
        if self not in terms.runs or (routines.keeping, routines.given) != self._programs:
            return None
        layout, leaves = laid((0, given, begin.w, begin.state, None))
        if layout != self._layout or not run.lock.acquire(blocking=False):
            return None
        try:
            run.take(routines.spare)
            return self._looked_at(_Given(ask, system, phi, given, begin, leaves), terms)
        finally:
            run.lock.release()

    def _state(self, system: Training, phi: Tree, w: Tree) -> Tree:
        """Return the state of the rule at the start, which owes nothing to phi: a user's may, at some phi."""
        state = system.state(phi, w)
        if not system.is_ours and ad.leaves(state):
            _, pull = ad.vjp(lambda p: (w, system.state(p, w)), phi)
            if pull.depends:
                raise _SaidError
        return state

    def _looked_at(self, given: _Given, terms: Routines) -> Estimate:
        """Return the estimate from the run; every look that a sweep takes is taken here."""
        run, steps, batch = self._run, self._steps, self._shape.batch
        if not run.forwards(given.leaves[1:]):
            raise _SaidError
        monitor = Monitor(np, batch, self._shape.dtype)
        lost = self._states(given.begin)
        w, state = ad.tree_map(_copied, run.pair(steps))
        end = Carry(w, state, self._none)
        tally = self._measured(given, end, monitor, terms)
        value, slope = tally.finish()
        pulled, adjoint, exponent = self._pulled(tally, end, slope, lost)
        gradient = Accumulator(np, entries=None, plain=False)
        gradient.add_many(pulled.phi_bars, exponent[0])
        growth = Growth(np, batch, given.begin.w)
        growth.steps(pulled.sums, (adjoint, end.w), exponent)
        grown, spread, grad = growth.result(), gradient.spread(), gradient.result()
        cancelled = cancellation(grad, spread, 1)
        grad = restore(grad, given.phi, batch, per_task=False)
        trust = self._shown(given.begin, end, tally)
        rounding = trust.lost(tally, held=False, done=0)
        known = Known(grown, trust.of_measure(tally), trust.floor, cancelled)
        digits, code = free_digits(value, known, shared=True, has_gradient=True)
        status, at = monitor.finish()
        if any(x is not None and x.any() for x in (rounding, code, status, tally.low())) or not value.mantissa.all():
            raise _SaidError
        if not all(map(surely_finite, ad.leaves(grad))):
            raise _SaidError
        if lost.matters(value, grad, given.prepared, steps, status).any():
            raise _SaidError
        where, told = Position(frozen(end.w), frozen(end.state), self._none.copy(), steps), self._said
        growth_of = LOG10_2 * grown.chaos
        return Estimate(value, grad, status, at, end=where, digits=digits, growth=growth_of, replay=told)

    def _states(self, begin: Carry) -> Lost:
        """Return what is known of the sizes of all states, which have to be in the range."""
        start, sizes = magnitude(begin[:2]), Sizes(self._run.states)
        is_fine = ((start >= self._tiny) | (start == 0)).all() and start.max() < np.inf
        if not is_fine or not sizes.are_within(self._tiny, np.inf):
            raise _SaidError
        lost = Lost(begin.w, limit=self._limit, scaled=False, precise=False)
        lost.state(np.maximum(start, sizes.top))
        return lost

    def _measured(self, given: _Given, end: Carry, monitor: Monitor, terms: Routines) -> Tally:
        """Return the objective with all that is measured on the way, which has to be of the usual size."""
        steps, values = self._steps, self._run.values
        times, w = Times(steps, 0), given.begin.w
        tally = Tally(
            given.system, given.ask.objective, given.prepared, times, monitor, w, scale_state=False, plain=False
        )
        tally.measured.take_the_tape()
        tally.measured.terms = ReplayTerms(tally.measured, steps, terms)
        found = None if values is None else values[1:]
        if found is not None and not found.min() >= self._tiny:
            raise _SaidError
        states = [end] * steps  # of those before the end nothing is asked but what is `found`
        tally.add_many(states, 1, found, tally.weights(range(1, steps + 1)))
        return tally

    def _pulled(self, tally: Tally, end: Carry, slope: Scaled, lost: Lost) -> tuple[Pulled, Tree, Array]:
        """Return what the way back gives, the adjoint of w at the end, and the one exponent that all adjoints have."""
        run, steps, limit = self._run, self._steps, self._limit
        term = tally.pulled(end, steps, slope, per_task=False)
        if term is None:
            raise _SaidError
        exponent, adjoint = term.exponent, ad.tree_map(_plus_zero, term.adjoint[0])
        size = magnitude(adjoint)
        if not within(size, limit) or (exponent != exponent[0]).any():
            raise _SaidError
        lost.powers(exponent)
        for room, leaf in zip(run.adjoint, ad.leaves(adjoint), strict=False):  # that of the rule's state is zero
            room[0] = leaf
        if not run.has_values:
            run.factors.fill(1)
        else:
            factors, may = beside(self._factors(tally, slope), exponent, limit)
            if not may.all():
                raise _SaidError
            run.factors[:-1], run.factors[-1] = factors, factors[-1]  # at 0 any will do
        pulled = run.backwards()
        if pulled is None or reached(pulled, range(steps - 1, -1, -1), limit) < steps:
            raise _SaidError
        return pulled, adjoint, exponent

    def _factors(self, tally: Tally, slope: Scaled) -> Scaled:
        found = tally.factors([], range(self._steps - 1, 0, -1), slope)
        assert found is not None
        return found

    def _shown(self, begin: Carry, end: Carry, tally: Tally) -> Trust:
        """Return what judges the last states, having seen the same ones as in a sweep."""
        trust, steps = Trust(self._steps), self._steps
        seen = {0: begin, steps: end}
        for t in (1, steps - 2, steps - 1):
            w, state = self._run.pair(t)
            seen[t] = Carry(w, state, self._none)
        for t in sorted(seen):
            trust.see(seen[t], t, in_sum=tally.weight(t) is not None)
        return trust


def _copied(leaf: Any) -> Any:
    return leaf.copy("K") if type(leaf) is np.ndarray else leaf


def _plus_zero(leaf: Any) -> Any:
    return leaf + 0.0 if is_float_array(leaf) else leaf
