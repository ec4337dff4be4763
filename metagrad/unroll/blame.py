"""Why a run has no number: the function that made the first NaN or inf, and the step, found by a replay.

Nothing is watched while all is well. Where a task ends with NaN or an overflow, the run is made again up to the step
that its status names, and that one step is looked at (`metagrad.ad.blame`). It costs at most the run forwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.ad import blame
from metagrad.errors import Status
from metagrad.protocols import Estimate
from metagrad.unroll.carry import Carry
from metagrad.unroll.steps import TapeStep
from metagrad.unroll.unroll import Unroll
from metagrad.xp import to_host

_NAN = (Status.STATE_NAN, Status.ADJOINT_NAN, Status.OBJECTIVE_NAN, Status.GRADIENT_NAN)
_OVERFLOW = (
    Status.STATE_OVERFLOW,
    Status.ADJOINT_OVERFLOW,
    Status.OBJECTIVE_OVERFLOW,
    Status.GRADIENT_OVERFLOW,
)


def explained(unroll: Unroll, estimate: Estimate, *, on_tape: bool) -> Estimate:
    """Return the estimate with a note that names the function and the step, for each kind of trouble.

    Of an overflow only where the run was `on_tape`: the replay of a fused one would take longer than the run. On a
    device only within `metagrad.ad.strong_zeros`: to look at a status is to wait for it. Of a run with an exponent
    beside every entry not at all: it was made after one of plain floats, which says it.
    """
    if unroll.wide or (unroll.xp is not np and not ad.are_zeros_strong()):
        return estimate
    codes, steps = to_host(estimate.status), to_host(estimate.status_step)
    if not codes.any():
        return estimate
    sought = [status.code for status in (*_NAN, *(_OVERFLOW if on_tape else ()))]
    first: dict[int, int] = {}  # the first task of each kind of trouble
    for task in np.argsort(steps, kind="stable"):
        if codes[task] in sought:
            first.setdefault(int(codes[task]), int(task))
    replay = _Replay(unroll)
    notes = []
    for code, task in first.items():  # in the order of their steps
        culprit = replay.culprit(Status.from_code(code), task, int(steps[task]))
        if culprit is not None:
            found, t = culprit
            notes.append(f"Task {task}: {found}, at step {unroll.offset + t}.")
    return replace(estimate, notes=(*estimate.notes, *notes)) if notes else estimate


class _Replay:
    """The run once more, as far as it is asked for."""

    def __init__(self, unroll: Unroll) -> None:
        self.unroll = unroll
        self.kernel = TapeStep(unroll.system, unroll.offset)
        self._carry, self._at = unroll.start(), 0

    def culprit(self, status: Status, task: int, t: int) -> tuple[blame.Culprit, int] | None:
        """Return what made the trouble of a task that was first seen at time t, and the time."""
        if status in (Status.OBJECTIVE_NAN, Status.OBJECTIVE_OVERFLOW):
            return self._in_a_term(task)
        if status in (Status.STATE_NAN, Status.STATE_OVERFLOW):
            with blame.watching() as rules:
                found = None if t == 0 else blame.in_value(self._step(t - 1), task, self.unroll.batch, rules)
        else:
            found = self._on_the_way_back(task, t)
        return None if found is None else (found, t)

    def _state(self, t: int) -> Carry:
        if t < self._at:
            self._carry, self._at = self.unroll.start(), 0
        self._carry, self._at = self.unroll.advance(self.kernel, self._carry, self._at, t), t
        return self._carry

    def _step(self, t: int) -> ad.Pullback:
        carry = self._state(t)
        return self.kernel.recorded(t, self.unroll.phi_at(t), (carry.w, carry.state))

    def _on_the_way_back(self, task: int, t: int) -> blame.Culprit | None:
        """Look where a derivative is not finite: with a cotangent of ones, as the true one is known no longer."""
        steps = [self._step(t)] if t < self.unroll.steps else []
        for pullback in (*steps, self.unroll.tally.measured.recorded(self._state(t), t)):
            found = blame.in_pullback(pullback, ad.tree_map(_ones, pullback.out), task, self.unroll.batch)
            if found is not None:
                return found
        return None

    def _in_a_term(self, task: int) -> tuple[blame.Culprit, int] | None:
        tally, steps = self.unroll.tally, self.unroll.steps
        for t in (t for t in range(steps + 1) if tally.weight(t) is not None):
            found = blame.in_value(tally.measured.recorded(self._state(t), t), task, self.unroll.batch)
            if found is not None:
                return found, t
        return None


def _ones(x: Any) -> Any:
    return np.ones_like(x) if getattr(getattr(x, "dtype", None), "kind", "") == "f" else None
