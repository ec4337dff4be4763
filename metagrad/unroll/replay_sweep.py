"""Runs backwards and forwards, with programs in the place of the tape where they are sure to have its bits.

Recording takes about the time of 10 to 20 steps by the tape. A task that is seen for the first time is recorded in long
runs only, one that comes again in shorter ones too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from metagrad.protocols import Estimate, Task, Tree
from metagrad.replay import (
    Apart,
    Looked,
    LookedApart,
    NotReplayable,
    ReplayJointTerms,
    ReplayStep,
    ReplayTerms,
    Routines,
    is_asked,
    routines_of,
)
from metagrad.scaled import Scaled
from metagrad.system import Training
from metagrad.unroll.blame import explained
from metagrad.unroll.of_kind import MeasuredOfKind, Shared, apart_of, stepped_task
from metagrad.unroll.quiet import SHARE, lay_out
from metagrad.unroll.steps import StepKernel, TapeStep
from metagrad.unroll.tape_sweep import TapeSweep
from metagrad.unroll.unroll import Unroll

_FEWEST, _FEWEST_SHARED, _FEWEST_AT_FIRST = 8, 2, 40  # steps
_MOST_KEPT = 1 << 26  # bytes that are kept for pullbacks
_DTYPES = ("float32", "float64")


def room_of(memory: int) -> int:
    """Return the bytes that are kept of steps for their pullbacks, where there is so much for states."""
    return min(memory // SHARE, _MOST_KEPT)


def by_replay(unroll: Unroll, memory: int) -> tuple[tuple[Scaled, Tree] | None, str | None]:
    """Return value and gradient, None where the tape has to find them (anew); and a line about it, None: not tried."""
    step = replay_step(unroll, room=room_of(memory))
    if step is None:
        return None, None
    try:
        found = TapeSweep(unroll, step).run(memory)
        step.check_data()
        if not step.is_of_kind:
            lay_out(unroll, step)
        return found, step.said()
    except NotReplayable as why:
        given_up(unroll, step, why)
        return None, step.said()


def forwards(
    unroll: Unroll,
    run: Callable[[Unroll, StepKernel], Estimate],
    *,
    again: Callable[[], Unroll],
    may_replay: bool = True,
) -> tuple[Unroll, Estimate]:
    """Return what `run` finds forwards, by programs or else by the tape in a new unroll (`again`), and the unroll."""
    step = replay_step(unroll, forwards=True) if may_replay else None
    try:
        found = run(unroll, step or TapeStep(unroll.system, unroll.offset))
        if step is not None:
            step.check_data()
    except NotReplayable as why:
        assert step is not None
        given_up(unroll, step, why)
        unroll = again()
        found = run(unroll, TapeStep(unroll.system, unroll.offset))
    said = None if step is None else step.said()
    return unroll, replace(explained(unroll, found, on_tape=True), replay=said)


def valued(unroll: Unroll, kernel: StepKernel) -> Estimate:
    """Return the value of a run that a kernel takes forwards, without a gradient: what `forwards` may run."""
    unroll.tally.measured.take_the_tape()
    unroll.advance(kernel, unroll.start(), 0, unroll.steps)
    value, _ = unroll.tally.finish()
    return unroll.estimate(value, None)


def replay_step(
    unroll: Unroll, *, system: Training | None = None, room: int = 0, forwards: bool = False
) -> ReplayStep | None:
    """Return the step of an unroll by programs, None where they are not worth it, or not asked for.

    `system`: whose step it is, where that is not the unroll's own.
    """
    system = system or unroll.system
    if not is_asked():
        return None
    if unroll.xp is not np or unroll.wide or unroll.is_half or unroll.dtype.name not in _DTYPES:
        return None
    task = stepped_task(unroll, system)
    found = _programs(unroll, system, task, apart_of(unroll, system, task) if unroll.steps >= _FEWEST_SHARED else None)
    if found is None:
        return None
    unroll.tally.measured.terms = found.terms
    tape, options = TapeStep(system, unroll.offset), {"room": room, "forwards": forwards, "apart": found.apart}
    return ReplayStep(system, unroll.offset, unroll.steps, tape, found.routines, found.beside, **options)


class _Programs(NamedTuple):
    """Programs of a step, of what is measured, and that once more if the step's have it; the task, if its kind's."""

    routines: Routines
    terms: ReplayTerms
    beside: ReplayTerms | None
    apart: Apart | None


def _programs(unroll: Unroll, system: Training, task: Task, known: Shared | None) -> _Programs | None:
    """Return programs of the task's kind, or else its own; None where they are not worth it.

    Where it cannot have its own, as where a sample picks entries of its data, those of its kind may do: there data are
    recorded. `known`: the task apart, and its kind.
    """
    of_kind = known if known is not None and known.kind.is_to_share else None
    if of_kind is None and unroll.steps < _FEWEST:
        return None
    kind = None if of_kind is None else of_kind.kind
    held = Looked(task, system.rule, unroll.tally.measure) if kind is None else LookedApart(kind)
    of_terms = routines_of("what is measured", system, unroll.tally.measure, of=task, kind=kind)
    of_terms.depend_on(held)
    terms = _terms(unroll, of_kind, of_terms)
    is_beside = _is_weighed_often(unroll) and unroll.options.scaling != "none"
    beside = terms if is_beside and not (unroll.tally.joint and unroll.entries is not None) else None
    measure = None if beside is None else unroll.tally.measure
    routines = routines_of("the step", system, measure, of=task, kind=kind)
    routines.depend_on(held)
    if kind is not None and (routines.why_not or of_terms.why_not):
        kind.refuse()
        return _programs(unroll, system, task, known)
    if kind is None and known is not None and routines.why_not and not known.kind.is_refused:
        known.kind.ask()
        return _programs(unroll, system, task, known)
    if routines.asked == 1 and unroll.steps < _FEWEST_AT_FIRST:
        return None
    return _Programs(routines, terms, beside, None if of_kind is None else of_kind.apart)


def given_up(unroll: Unroll, step: ReplayStep, why: NotReplayable) -> None:
    """Note that a program had other bits than the tape: the run is to be made by the tape, of a new unroll."""
    step.give_up(str(why))
    if unroll.tally.measured.terms is not None:
        unroll.tally.measured.terms.give_up()


def _terms(unroll: Unroll, of_kind: Shared | None, routines: Routines) -> ReplayTerms:
    """Return the programs of what is measured."""
    tally = unroll.tally
    measured: Any = tally.measured if of_kind is None else MeasuredOfKind(tally.measured, of_kind.apart)
    return (ReplayJointTerms if tally.joint else ReplayTerms)(measured, tally.steps, routines)


def _is_weighed_often(unroll: Unroll) -> bool:
    return all(unroll.tally.weight(t) is not None for t in (1, unroll.steps // 2))
