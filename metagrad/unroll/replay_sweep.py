"""Runs backwards and forwards, with programs in the place of the tape where they are sure to have its bits.

Recording takes about the time of 10 to 20 steps by the tape. A task that is seen for the first time is recorded in long
runs only, one that comes again in shorter ones too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from metagrad.protocols import Estimate, Tree
from metagrad.replay import (
    DeviceStep,
    NanSeen,
    NotReplayable,
    ReplayJointTerms,
    ReplayStep,
    ReplayTerms,
    asked_at_the_end,
    is_asked,
)
from metagrad.scaled import Scaled
from metagrad.system import Training
from metagrad.unroll.blame import explained
from metagrad.unroll.of_kind import MeasuredOfKind, programs_of, programs_on_device, stepped_task
from metagrad.unroll.quiet import SHARE, lay_out, quiet_of_kind
from metagrad.unroll.steps import StepKernel, TapeStep
from metagrad.unroll.tape_sweep import TapeSweep
from metagrad.unroll.unroll import Unroll

_MOST_KEPT = 1 << 26  # bytes that are kept for pullbacks
_DTYPES = ("float32", "float64")


def room_of(memory: int) -> int:
    """Return the bytes that are kept of steps for their pullbacks, where there is so much for states."""
    return min(memory // SHARE, _MOST_KEPT)


def by_replay(unroll: Unroll, memory: int) -> tuple[tuple[Scaled, Tree] | Estimate | None, str | None]:
    """Return value and gradient, None where the tape has to find them (anew); and a line about it, None: not tried.

    Or the whole estimate, where it was found at once.
    """
    step = replay_step(unroll, room=room_of(memory))
    if step is None:
        return None, None
    quiet = quiet_of_kind(unroll, step, memory) if step.apart is not None else None
    if quiet is not None:
        return quiet, quiet.replay
    try:
        with looked_once(unroll):
            found = TapeSweep(unroll, step).run(memory)
        step.check_data()
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
        with looked_once(unroll):
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
    if unroll.wide or unroll.is_half or unroll.dtype.name not in _DTYPES:
        return None
    tally, task = unroll.tally, stepped_task(unroll, system)
    is_beside = _is_weighed_often(unroll) and unroll.options.scaling != "none"
    is_beside = is_beside and not (tally.joint and unroll.entries is not None)
    named = ("what is measured", tally.measure), ("the step", tally.measure if is_beside else None)
    goes_on = unroll.ask.at is not None
    of = system, task, tally.measure, named
    if unroll.xp is np:
        found = programs_of(*of, steps=unroll.steps, goes_on=goes_on)
    else:
        found, room = programs_on_device(*of, steps=unroll.steps, xp=unroll.xp), 0
    if found is None:
        return None
    measured: Any = tally.measured if found.apart is None else MeasuredOfKind(tally.measured, found.apart)
    of_terms, of_step = found.routines
    terms = (ReplayJointTerms if tally.joint else ReplayTerms)(measured, tally.steps, of_terms)
    tally.measured.terms = terms
    beside, tape = terms if is_beside else None, TapeStep(system, unroll.offset)
    step = partial(
        ReplayStep if unroll.xp is np else DeviceStep, system, unroll.offset, unroll.steps, tape, of_step, beside
    )
    return step(room=room, forwards=forwards, apart=found.apart)


def looked_once(unroll: Unroll) -> Any:
    """Return what a run stands in: on a device nobody asks for a NaN before it is over."""
    return nullcontext() if unroll.xp is np else asked_at_the_end(is_still=not unroll.system.is_random)


def given_up(unroll: Unroll, step: ReplayStep, why: NotReplayable) -> None:
    """Note that a program had other bits than the tape: the run is to be made by the tape, of a new unroll."""
    if isinstance(why, NanSeen):
        step.why_not = str(why)
        return
    step.give_up(str(why))
    if unroll.tally.measured.terms is not None:
        unroll.tally.measured.terms.give_up()


def _is_weighed_often(unroll: Unroll) -> bool:
    return all(unroll.tally.weight(t) is not None for t in (1, unroll.steps // 2))
