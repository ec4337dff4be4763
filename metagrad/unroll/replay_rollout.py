"""Steps forwards of which nothing but the states is asked: by programs where they are sure to be the tape's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay import NotReplayable, ReplayStep, is_asked
from metagrad.system import Training
from metagrad.unroll.of_kind import programs_of
from metagrad.unroll.on_data import is_users
from metagrad.unroll.steps import TapeStep
from metagrad.unroll.tally import Times

Pair = tuple[Tree, Tree]  # (w, state)
Look = Callable[[int, Tree, Tree], None]
_DTYPES = ("float32", "float64")
_AT_ONCE = 64  # steps
_FEWEST_AT_FIRST = 400  # steps: recording takes as long as some hundred steps forwards


def run_forwards(system: Training, phi: Tree, start: Pair, times: Times, look: Look) -> Pair:
    """Return (w, state) after the steps at some times of a run, having looked at it before each and at the end.

    look(k, w, state) is called for k = 0, 1, ..., steps; from 0 on again, where programs turn out to be others.
    """
    look(0, *start)
    step = _by_programs(system, start[0], times)
    if step is not None:
        try:
            found = _run(step, system, phi, start, times, look)
            step.check_data()
            return found
        except NotReplayable as why:
            step.give_up(str(why))
            look(0, *start)
    return _run(None, system, phi, start, times, look)


def _run(step: ReplayStep | None, system: Training, phi: Tree, pair: Pair, times: Times, look: Look) -> Pair:
    steps, offset = times

    def phi_at(k: int) -> Tree:
        return system.phi_at(phi, offset + k)

    k = 0
    while k < steps:
        if step is None:
            taken = [system.step(offset + k, phi_at(k), *pair)]
        else:
            pairs, _ = step.ahead(k, min(steps, k + _AT_ONCE), phi_at, *pair)
            taken = pairs.trees if len(pairs) else [step.step(k, phi_at(k), *pair)]
        for at in taken:
            k += 1
            look(k, *at)
        pair = taken[-1]
    return pair


def _by_programs(system: Training, w: Tree, times: Times) -> ReplayStep | None:
    """Return the step by programs, None where they are not worth it, or not asked for.

    Tasks of ours have formulas for their gradients, and a step forwards costs what its program does.
    """
    dtypes = {getattr(leaf, "dtype", None) for leaf in ad.leaves(w)}
    if not is_asked() or system.xp is not np or not all(str(dtype) in _DTYPES for dtype in dtypes):
        return None
    task: Any = system.task if system.under_start is None else system.under_start
    if not is_users(task):
        return None
    steps, offset = times
    named = [("the step", "of a rollout")]
    found = programs_of(system, task, None, named, steps=steps, goes_on=offset > 0, at_first=_FEWEST_AT_FIRST)
    if found is None:
        return None
    step = partial(ReplayStep, system, offset, steps, TapeStep(system, offset), found.routines[0])
    return step(forwards=True, apart=found.apart)
