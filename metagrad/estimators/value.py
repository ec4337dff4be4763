"""The meta-objective alone: a run forwards, of which nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from metagrad.protocols import Estimate, Objective, Position, Rule, Task, Tree
from metagrad.unroll.carry import Ask, Options, Scaling
from metagrad.unroll.neighbours import check_trust, with_trust
from metagrad.unroll.steps import TapeStep
from metagrad.unroll.unroll import Unroll


@dataclass(frozen=True)
class Value:
    """finish(sum over t of weight(t) inner(measure of w_t)), by one run forwards; the gradient is None.

    `scaling`, `per_task` and `trust` as in `Reverse`. Its numbers are those of `Reverse(fused=False)`, bit for bit.
    """

    scaling: Scaling = "auto"
    per_task: bool = False
    trust: bool | int = False

    def __post_init__(self) -> None:
        """Check the number of copies."""
        check_trust("value", self.trust)

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
        return with_trust(partial(_value, ask), ask, Options("full", self.scaling, self.per_task), self.trust)


def _value(ask: Ask, options: Options) -> Estimate:
    with np.errstate(all="ignore"):  # leaving the range is reported by Status
        unroll = Unroll(ask, options, "value")
        unroll.advance(TapeStep(unroll.system, unroll.offset), unroll.start(), 0, ask.steps)
        value, _ = unroll.tally.finish()
        return unroll.estimate(value, None)
