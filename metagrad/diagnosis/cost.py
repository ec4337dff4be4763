"""What a meta-gradient costs here: the memory of each plan of kept states, and the time of a step."""

from __future__ import annotations

import time
from contextlib import suppress
from statistics import median
from typing import NamedTuple

from metagrad import parts
from metagrad.diagnosis.case import Case
from metagrad.kernels import block_kernel, fused_step, lstm_window
from metagrad.unroll.checkpoint import Plan, make_plan, reach
from metagrad.unroll.unroll import Unroll

_REPEATS = 5
_ENOUGH_SECONDS = 1.0
_DEFAULT_MEMORY = 1 << 30


class Cost(NamedTuple):
    """The kernel that backpropagation takes, the bytes of a state, plans by name, and seconds a step, both sweeps."""

    kernel: str
    state_bytes: int
    plans: tuple[tuple[str, Plan], ...]
    seconds: float


def cost(case: Case) -> Cost:
    """Return the cost of the full meta-gradient: the time is the median of up to 5 runs, after a first one."""
    unroll = case.unroll()
    kernel, state_bytes = _kernel(case, unroll)
    times: list[float] = []
    case.gradient()
    while len(times) < _REPEATS and sum(times) < _ENOUGH_SECONDS:
        begun = time.perf_counter()
        case.gradient()
        times.append(time.perf_counter() - begun)
    return Cost(kernel, state_bytes, plans(case.steps, state_bytes), median(times) / case.steps)


def plans(steps: int, state_bytes: int) -> tuple[tuple[str, Plan], ...]:
    """Return three plans: all states kept; as few as one recomputation of each step allows; the default memory.

    >>> [(name, plan.places) for name, plan in plans(66, 8)]
    [('store all', 66), ('one recomputation', 10), ('default', 66)]
    """
    few = next(s for s in range(steps + 1) if reach(s, 1) >= steps + 1)
    found = [("store all", Plan(steps, steps, 0, state_bytes)), ("one recomputation", Plan(steps, few, 1, state_bytes))]
    with suppress(ValueError):  # one state may be more than that
        found.append(("default", make_plan(steps, state_bytes, _DEFAULT_MEMORY)))
    return tuple(found)


def _kernel(case: Case, unroll: Unroll) -> tuple[str, int]:
    """Return the name of what `unroll.backward` takes, and the bytes of what it keeps of a step."""
    state_bytes = unroll.carry_bytes(unroll.start())
    if unroll.joint:
        return "the tape", state_bytes
    window = lstm_window(case.rule, unroll.phi, unroll.w0)
    if window is not None:
        return "the fused LSTM window", window[1]
    if parts.looks_at_the_last_only(case.objective):
        block = block_kernel(
            case.task, case.rule, unroll.phi, "full", scale_state=unroll.scale_state, scale_adjoint=True
        )
        if block is not None:
            return "compiled blocks", state_bytes
    if fused_step(case.task, case.rule, "full") is not None:
        return "a fused step", state_bytes
    return "the tape", state_bytes
