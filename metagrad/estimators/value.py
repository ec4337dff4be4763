"""The meta-objective alone: a run forwards, of which nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from metagrad.protocols import Estimate, Objective, Position, Rule, Task, Tree
from metagrad.unroll.backward import looked
from metagrad.unroll.carry import Ask, Options, Rescue, Scaling, check_options
from metagrad.unroll.neighbours import with_trust
from metagrad.unroll.replay_sweep import forwards, valued
from metagrad.unroll.rescue import rescued, wanted_forwards
from metagrad.unroll.unroll import Unroll


@dataclass(frozen=True)
class Value:
    """finish(sum over t of weight(t) inner(measure of w_t)), by one run forwards; the gradient is None.

    `scaling`, `per_task`, `rescue` and `trust` as in `Reverse`. Its numbers are those of `Reverse(fused=False)`, bit by
    bit.
    """

    scaling: Scaling = "auto"
    per_task: bool = False
    rescue: Rescue = "auto"
    trust: bool | int = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_options("Value", self)

    def __call__(
        self,
        task: Task,
        rule: Rule,
        objective: Objective,
        phi: Tree,
        *,
        steps: int,
        seed: int = 0,
        at: Position | None = None,
        run: int | None = None,
    ) -> Estimate:
        """Return the value after `steps` steps; `at` and `run` as in `Reverse`."""
        ask = Ask(task, rule, objective, phi, steps, seed, at, run)
        options = Options("full", self.scaling, self.per_task, rescue=self.rescue, count=True)
        return with_trust(partial(_value, ask), ask, options, self.trust)


def _value(ask: Ask, options: Options) -> Estimate:
    with np.errstate(all="ignore"):  # leaving the range is reported by Status
        unroll, estimate = _once(ask, options)
        return rescued(unroll, estimate, again=_once, looked=looked, need=wanted_forwards(unroll, estimate.value))


def _once(ask: Ask, options: Options) -> tuple[Unroll, Estimate]:
    """Return the estimate of one run forwards, and its unroll."""
    return forwards(Unroll(ask, options, "value"), valued, again=partial(Unroll, ask, options, "value"))
