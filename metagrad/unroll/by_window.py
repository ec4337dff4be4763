"""Backward sweeps with a kernel of the rule's windows, and programs of the task where they have the tape's bits."""

from __future__ import annotations

from collections.abc import Callable

from metagrad.kernels import lstm_window
from metagrad.protocols import Tree
from metagrad.replay import NotReplayable
from metagrad.scaled import Scaled
from metagrad.unroll.gradients import Gradients
from metagrad.unroll.replay_sweep import given_up, looked_once, room_of
from metagrad.unroll.unroll import Unroll
from metagrad.unroll.window_sweep import WindowSweep

Found = tuple[Scaled, Tree]


def by_window(unroll: Unroll, memory: int, *, again: Callable[[], Unroll]) -> tuple[Unroll, Found | None, str | None]:
    """Return value and gradient, None where steps have to be taken one by one, and a line about replaying.

    Before them the unroll that was run, or a new one (`again`) where there is neither.
    """
    options = unroll.options
    if options.per_task or options.record or unroll.joint:
        return unroll, None, None
    kernel = lstm_window(unroll.rule, unroll.phi, unroll.w0)
    if kernel is None:
        return unroll, None, None
    gradients = Gradients(unroll, room=room_of(memory))
    step = gradients.replayed
    try:
        with looked_once(unroll):
            found = WindowSweep(unroll, gradients, *kernel, memory).run()
        if step is not None:
            step.check_data()
    except NotReplayable as why:
        assert step is not None
        given_up(unroll, step, why)
        unroll = again()
        found = WindowSweep(unroll, Gradients(unroll, room=0, may_replay=False), *kernel, memory).run()
    if found is None:
        return unroll if unroll.is_fresh else again(), None, None
    return unroll, found, None if step is None else step.said()
