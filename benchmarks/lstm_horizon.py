"""What a step of the shipped LSTM costs at any horizon: one task and step of 16 regressions, beside that at T = 100.

Such runs are chaotic beyond some hundred steps: adjoints grow by hundreds of digits. Value, meta-gradient, statuses
and digits come at the cost of a step that a short run has; where the memory allowed is too little for all states, they
are computed once more. Seconds are those of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import Contender, Timing, interleave, once
from benchmarks.results import Result, Row
from benchmarks.settings import Settings

SUMMARY = "the shipped LSTM on 16 regressions: the cost of a task and step from T = 10 to 10,000 (full: 100,000)"
TASKS, D = 16, 10
BASE, SHORT, LONG, LONGEST = 100, (10, 1000), (10_000,), (100_000,)
_TARGET = 1.5


def run(settings: Settings) -> Result:
    """Compare what a step costs: short horizons interleaved, long ones once."""
    call = calls(settings.seed)
    found: dict[int, Any] = {}

    def at(steps: int) -> Contender:
        return Contender(f"T = {steps}", lambda: found.update({steps: call(steps)}))

    base, *short = interleave([at(steps) for steps in (BASE, *SHORT)], settings.repetitions, cpu=True)
    costs = dict(zip(SHORT, short, strict=True))
    costs |= {steps: _of_the_cpu(once(at(steps))) for steps in (*LONG, *(LONGEST if settings.full else ()))}
    return Result([row(steps, cost, base, found[steps]) for steps, cost in costs.items()])


def _of_the_cpu(timing: Timing) -> Timing:
    return timing.times(timing.cores)


def row(steps: int, cost: Timing, base: Timing, found: Any) -> Row:
    """Return the cost of a task and step at a horizon beside that at the base; what was found stands in the note."""
    what = f"shipped LSTM, {TASKS} regressions, d = {D}, float32, full, a task and step"
    grown = 0.0 if found.growth is None else float(np.max(found.growth))
    lost = int((found.status != 0).sum())
    note = f"roundings grow by up to {grown:.0f} digits, {lost} of {TASKS} tasks have a Status, carrier {found.carrier}"
    ours, peer = cost.times(1 / (TASKS * steps)), base.times(1 / (TASKS * BASE))
    return Row(what, f"T = {steps:,}", ours, f"T = {BASE}", peer, target=_TARGET, note=note)


def calls(seed: int) -> Callable[[int], Any]:
    """Return steps -> the estimate."""
    import metagrad as mg

    trained = mg.load_trained("lstm_quadratics")
    task = mg.random_regressions(TASKS, D, family="gaussian", seed=seed, dtype="float32")
    reverse = mg.Reverse()
    return lambda steps: reverse(task, trained.optimizer, mg.WeightedSum(), trained.phi, steps=steps)
