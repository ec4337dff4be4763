"""Short runs from a learned start, of tasks that are new at each call: by programs that serve all tasks of a kind.

Of a run of a few steps most of the time is the engine's and the tape's. Where a start is learned (MAML), such runs
come by the thousand, each of other tasks, which differ by nothing but their data (`on_data`). So the step, what is
measured and the way back to the start are recorded of a task whose data are inputs. Networks of ours are functions of
their data; a user's task has to be code that can be read through (`metagrad.replay.apart`). Rules are ours.

The third run of a kind records, once the sweep has found its answer. The first run by programs, the 2nd, the 4th, the
8th, ... and every 64th is made by the sweep, too, and every bit of the two estimates has to be the same; else the kind
is the sweep's for good. Looks are taken at once (`looks`); where anything has to be said, the sweep says it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from functools import cache, partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad, parts
from metagrad.measures import as_measure, is_of_ours
from metagrad.protocols import Estimate, Joint, Measure, Tree
from metagrad.replay import (
    NotReplayable,
    OfStep,
    ProgramRun,
    Routine,
    Routines,
    adjoint_like,
    alike,
    is_asked,
    laid,
    ones_of,
    said,
    same_bits,
)
from metagrad.replay import moved as beside
from metagrad.system import Training
from metagrad.tasks import LearnedStart
from metagrad.transforms import is_of_ours as is_objective_of_ours
from metagrad.transforms import shared_weight
from metagrad.unroll.carry import Ask, Carry, Options
from metagrad.unroll.looks import Given, Looks, SaidError, Terms
from metagrad.unroll.measured import Measured
from metagrad.unroll.on_data import Told, told
from metagrad.unroll.phi import Shape, first_float, prepare
from metagrad.unroll.quiet import SHARE
from metagrad.unroll.rescale import is_float_array, task_by_task
from metagrad.unroll.trust import is_of_the_loss, neighbour, surely_kept
from metagrad.xp import Array

_MOST = 32  # steps
_RECORDED_AT = 3  # which run of a kind; later, where kinds that were recorded had to go
_EVERY = 64  # runs, of which one is compared
_MOST_KINDS = 16
_MOST_BYTES = 1 << 25  # of what is kept of a run, and of the buffers of a kind
_LONGEST_PAUSE = 64  # runs: where something had to be said, the next ones are the sweep's
_RECENT = 4 * _MOST_KINDS  # runs
_LOCK, _GONE, _RUNS = Lock(), [0], [0]  # how many kinds with programs had to go while they were in use, and all runs
_KINDS: list[_Kind] = []  # what was asked for last is the last


def run_from_start(ask: Ask, options: Options, memory: int) -> RunFromStart | None:
    """Return the run that is asked for, where it is one of a kind; None where it is the sweep's at once.

    `memory`: bytes for states, of which those of all steps and what is kept beside them may take a share.
    """
    phi, few = ask.phi, ask.task
    if not isinstance(phi, Joint) or isinstance(phi.rule, Joint) or type(few) is not LearnedStart:
        return None
    is_whole = ask.at is None and ask.run is None and ask.steps <= _MOST and phi.task is not None
    apart = told(few.task) if is_whole and is_asked() and _are_usual(options) else None
    if apart is None or not _is_of_ours(ask):
        return None
    system = Training(few, ask.rule, ask.seed, gradient=options.gradient, steps=ask.horizon)
    if system.under_start is None or not system.is_ours:
        return None
    room = min(memory // SHARE, _MOST_BYTES)
    return RunFromStart(_kind_of(ask, apart, held=system.held), ask, system, apart, room)


def _is_of_ours(ask: Ask) -> bool:
    """Whether rule, objective and measure are ours, with settings that stay, and w is what is looked at."""
    if not (is_fixed(ask.rule) and is_fixed(ask.objective) and is_objective_of_ours(ask.objective)):
        return False
    return is_of_ours(_measure(ask)) and parts.entries(ask.rule) is None and parts.answer_of(ask.rule) is None


@cache
def _are_usual(options: Options) -> bool:
    """Whether options are the usual ones, but for the gradient and for what is done where something is to be said."""
    return replace(options, gradient="full", diverged="keep", rescue="auto") == Options()


def is_fixed(part: Any) -> bool:
    """Whether settings cannot be changed in place: arrays and lists could, and a program would not see it."""
    if isinstance(part, tuple):
        return all(map(is_fixed, part))
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return isinstance(part, int | float | str | type(None))
    is_frozen = type(part).__dataclass_params__.frozen  # type: ignore[attr-defined]
    return is_frozen and all(is_fixed(getattr(part, field.name)) for field in dataclasses.fields(part))


def _kind_of(ask: Ask, apart: Told, *, held: bool) -> _Kind:
    """Return the kind of a run, a new one where there is none yet."""
    assert isinstance(ask.task, LearnedStart)
    key = apart.settings, laid((apart.data,))[0], ask.steps, held, ask.task.starts
    with _LOCK:
        kind = next((one for one in _KINDS if one.is_of(key, ask)), None)
        if kind is None:
            kind = _Kind(key, ask, min(_RECORDED_AT + _GONE[0], _EVERY))
        else:
            _KINDS.remove(kind)
        _KINDS.append(kind)
        _RUNS[0] += 1
        _GONE[0] += sum(one.is_in_use for one in _KINDS[:-_MOST_KINDS])
        del _KINDS[:-_MOST_KINDS]
        kind.asked, kind.run = kind.asked + 1, _RUNS[0]
        return kind


class _Programs(NamedTuple):
    """What is recorded of a kind: steps, what is measured at the end with its gradient, and the way to the start.

    `layout`: that of a start that was checked.
    """

    step: Routines
    end: Routine
    start: Routine
    looks: Looks
    layout: Any


class RunFromStart:
    """One run: by programs where they are recorded, and beside the sweep where it is to be recorded or compared."""

    def __init__(self, kind: _Kind, ask: Ask, system: Training, apart: Told, room: int) -> None:
        """Take what is asked for, of that kind, and the task apart; `room`: bytes for what is kept of all steps."""
        self._kind, self._ask, self._system, self._apart, self._room = kind, ask, system, apart, room
        self._data = apart.data
        self._found: Estimate | None = None

    def found(self, where: str) -> Estimate | None:
        """Return the estimate; None where the sweep is to find it, or one to compare with."""
        kind = self._kind
        if kind.programs is None or kind.is_pausing():
            return None
        try:
            self._found = self._by_programs(kind.programs, where)
        except (SaidError, NotReplayable):
            kind.failed()
            return None
        return None if kind.is_to_be_compared() else self._found

    def beside(self, estimate: Estimate, where: str) -> Estimate:
        """Return what the sweep found, having compared with it, or recorded programs."""
        kind, mine = self._kind, self._found
        if mine is not None:
            if _are_same(mine, estimate):
                return mine
            self._give_up()
        if kind.is_to_be_recorded() and estimate.ok:
            try:
                kind.programs = self._recorded(where)
            except NotReplayable:
                self._give_up()
        return estimate

    def _give_up(self) -> None:
        """Leave all runs of this kind to the sweep; tasks of a user's may be told otherwise from now on."""
        self._kind.give_up()
        if self._apart.kind is not None:
            self._apart.kind.refuse()

    def _given(self, shape: Shape, where: str, checked: Any = None) -> tuple[Joint, Joint]:
        """Return phi as the parts complete it, and as a run takes it; a start of the layout `checked` is right."""
        ask = self._ask
        of_rule, start = parts.complete_phi(ask.rule, ask.phi.rule, where), ask.phi.task
        layout, leaves = laid((start,))
        if layout != checked:
            start = parts.check_given(ask.task, start, where)
        if not all(isinstance(leaf, np.ndarray | np.floating | float) for leaf in leaves):
            raise NotReplayable("a start on a device")
        phi = Joint(of_rule, start)
        return phi, prepare(phi, None, shape, where)

    def _begun(self, phi: Joint) -> tuple[Tree, Tree]:
        """Return (w, state) at 0, where w lies in memory as the w of later steps does."""
        w, state = self._system.start(phi)
        return ad.tree_map(_laid_out, w), state

    def _by_programs(self, programs: _Programs, where: str) -> Estimate:
        steps, looks = self._ask.steps, programs.looks
        phi, prepared = self._given(looks.shape, where, programs.layout)
        pair = self._begun(prepared)
        run = ProgramRun(programs.step, prepared.rule, self._data, steps)
        if not run.forwards(pair, self._room):
            raise SaidError

        def pull_start(adjoint: tuple[Tree, Tree]) -> Joint:
            return _known(programs.start.run((prepared, adjoint)))  # type: ignore[no-any-return]

        value, slope, near, are_kept = _known(programs.end.run((run.pair(steps - 1)[0], run.end()[0], self._data)))
        end = _AtTheEnd(run.end()[0], value, slope)
        terms = Terms(lambda _: end, near, bool(are_kept.all()))
        given = Given(self._ask, self._system, phi, prepared, Carry(*pair, looks.none), terms, pull_start)
        return looks.estimate(given, run, said(2 * steps, 2 * steps, programs.step.why_not_compiled))

    def _recorded(self, where: str) -> _Programs:
        """Return programs of the kind; NotReplayable where they cannot be had, or have other bits than the tape."""
        ask, system, data = self._ask, self._system, self._data
        shape = Shape.of(system.like(ask.phi), np, per_task=False)
        _, phi = self._given(shape, where)
        w, state = self._begun(phi)
        if first_float(w, where).dtype.name not in ("float32", "float64") or not _is_plain(system, phi, w, state):
            raise NotReplayable("a state of the rule that is not of the usual kind")
        weights = shared_weight(ask.objective, ask.steps)
        ways = range(1, ask.steps + 1), range(ask.steps, ask.steps + 1)
        if weights is None or weights.times not in ways:
            raise NotReplayable("other weights than those of the end, or of all times")
        of_kind = Training(self._apart.all_like_it(), ask.rule, ask.seed, gradient=_kind(system), steps=ask.horizon)
        measured = Measured(of_kind, _measure(ask), phi.rule, 0)
        measured.take_the_tape()
        of = OfStep(of_kind, measured if weights.times == ways[0] and ask.steps > 1 else None)
        trees, made = (0, phi.rule, w, state, data), (adjoint_like((w, state), 4), ones_of(w))
        near = beside(w, 2), beside(data, 8)
        looks = Looks(shape, ask.steps, held=system.held)
        layout, _ = laid((ask.phi.task,))
        programs = _Programs(Routines(), Routine("what is measured"), Routine("the start"), looks, layout)
        trees_near = 1, beside(phi.rule, 1), near[0], beside(state, 3), near[1]
        programs.step.learn(of.stepped, of.pulled, of.valued, trees, made, trees_near)
        end = partial(_at_the_end, of_kind, measured)
        programs.end.learn(end, (w, w, data), (near[0], beside(w, 9), near[1]))
        programs.start.learn(self._pulled_to_start, (phi, made[0]), (beside(phi, 1), beside(made[0], 7)))
        if programs.step.nbytes + programs.end.nbytes + programs.start.nbytes > _MOST_BYTES:
            raise NotReplayable("its buffers would take much memory")
        return programs

    def _pulled_to_start(self, phi: Joint, adjoint: tuple[Tree, Tree]) -> Joint:
        _, pull = ad.vjp(self._system.start, phi)
        found: Joint = pull(adjoint)[0]
        return found


class _Kind:
    """The runs of one kind: what all have in common, how many there were, and their programs."""

    def __init__(self, key: tuple[Any, ...], ask: Ask, recorded_at: int) -> None:
        self._recorded_at, self._key, self._rule, self._objective = recorded_at, key, ask.rule, ask.objective
        self.asked = self.run = 0
        self.programs: _Programs | None = None
        self._is_given_up = False
        self._made = self._failed = self._pause = 0

    def is_of(self, key: tuple[Any, ...], ask: Ask) -> bool:
        """Whether a run is of this kind."""
        return self._key == key and alike((self._rule, self._objective), (ask.rule, ask.objective))

    @property
    def is_in_use(self) -> bool:
        """Whether there are programs, and they were asked for not long ago."""
        return self.programs is not None and _RUNS[0] - self.run <= _RECENT

    def is_to_be_recorded(self) -> bool:
        """Whether it is time to."""
        return self.programs is None and not self._is_given_up and self.asked >= self._recorded_at

    def is_pausing(self) -> bool:
        """Whether something had to be said in runs before this one."""
        self._pause -= self._pause > 0
        return self._pause > 0

    def is_to_be_compared(self) -> bool:
        """Whether the run that was made now is one of those that the sweep makes, too."""
        self._made, self._failed = self._made + 1, 0
        return self._made & (self._made - 1) == 0 or self._made % _EVERY == 0

    def failed(self) -> None:
        """Note that something had to be said."""
        self._failed += 1
        self._pause = min(2**self._failed, _LONGEST_PAUSE)

    def give_up(self) -> None:
        """Leave all runs of this kind to the sweep."""
        self._is_given_up, self.programs = True, None


def _at_the_end(system: Training, measured: Measured, before: Tree, w: Tree, data: tuple[Array, ...]) -> Any:
    """Return what is measured at the last w and its gradient, what is measured beside it, and where digits are kept.

    `before`: the w of the last step.
    """
    name, steps = measured.measure.name, system.steps
    assert steps is not None, "the horizon is known"
    value, slope = measured.valued(w, data), measured.slope(w, data)
    at = w if is_of_the_loss(name) else before
    g, near = (parts.gradient(system.task, u, data) for u in (at, ad.tree_map(neighbour, at)))
    return value, slope, measured.valued(ad.tree_map(neighbour, w), data), surely_kept(name, slope, g, near, steps)


class _AtTheEnd:
    """What is measured at the last w, and its gradient: what `Tally` asks of `ReplayTerms`."""

    def __init__(self, w: Tree, value: Array, slope: Tree) -> None:
        self._w, self._value, self._slope = w, value, slope

    def value(self, t: int, w: Tree) -> Array:
        """Return what is measured."""
        self._check(w)
        return self._value

    def pullback(self, t: int, w: Tree) -> Any:
        """Return the pullback of what is measured to w."""
        self._check(w)
        return lambda cotangent: (task_by_task(self._slope, cotangent),)

    def gradient(self, w: Tree) -> None:
        """Return None: the task has its own."""

    def _check(self, w: Tree) -> None:
        if w is not self._w:
            raise SaidError


def _laid_out(leaf: Array) -> Array:
    return np.array(leaf, order="C")


def _known(found: Any) -> Any:
    """Return what a program gave; SaidError where none applied."""
    if found is None:
        raise SaidError
    return found


def _measure(ask: Ask) -> Measure:
    return as_measure(type(ask.objective).__name__, ask.objective.measure)


def _kind(system: Training) -> Any:
    return "stop_gradient" if system.held else "full"


def _is_plain(system: Training, phi: Joint, w: Tree, state: Tree) -> bool:
    """Whether the state at the start owes nothing to phi, and has no inf, which would mean "none yet"."""
    floats = [leaf for leaf in ad.leaves(state) if is_float_array(leaf)]
    if any(np.isinf(leaf).any() for leaf in floats):
        return False
    return not floats or not ad.vjp(lambda p: (w, system.state(p, w)), phi.rule)[1].depends


def _are_same(a: Estimate, b: Estimate) -> bool:
    """Whether two estimates have the same bits, but for what is said of replaying."""
    a, b = (replace(x, replay=None) for x in (a, b))
    assert a.record is None
    rest = (a.notes, a.carrier, a.record, a.stderr) == (b.notes, b.carrier, b.record, b.stderr)
    return rest and same_bits(_bits(a), _bits(b))


def _bits(x: Estimate) -> Tree:
    grad = [(leaf.mantissa, leaf.exponent) for leaf in ad.leaves(x.grad)]
    numbers = (x.value.mantissa, x.value.exponent), grad, x.status, x.status_step, x.growth
    return numbers, tuple(x.end), None if x.digits is None else tuple(x.digits)
