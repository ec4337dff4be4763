"""What an unroll is asked for, how it is to be differentiated, and its state at one time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from metagrad.protocols import GradientKind, Objective, Position, Rule, Task, Tree
from metagrad.xp import Array

Scaling = Literal["auto", "adjoint", "none"]
Diverged = Literal["keep", "skip"]


class Carry(NamedTuple):
    """The state at one time: the true parameters are w * 2**exponent, the true state of the rule likewise."""

    w: Tree
    state: Tree
    exponent: Array  # (B,) int64


@dataclass(frozen=True)
class Ask:
    """What an estimator is asked for: its arguments, as they were given; see `metagrad.protocols.Estimator`."""

    task: Task
    rule: Rule
    objective: Objective
    phi: Tree
    steps: int
    seed: int = 0
    at: Position | None = None
    run: int | None = None

    @property
    def offset(self) -> int:
        """The time of the run at which these steps begin."""
        return 0 if self.at is None else self.at.t

    @property
    def horizon(self) -> int:
        """The horizon of the run, as far as it is known."""
        return max(self.offset + self.steps, 0 if self.run is None else self.run)


@dataclass(frozen=True)
class Options:
    """How to differentiate: which gradient, and what is carried beside the digits.

    `gradient`: "full", or "stop_gradient" to hold the optimizee's gradient constant (another number, at times of
    another sign). `scaling`: "auto" scales adjoints always and states where that is exact, "adjoint" only adjoints,
    "none" is plain floating point. `per_task`: phi leads with B and so does the meta-gradient. `diverged`: "keep" lets
    a task that leaves the range spoil the mean over tasks, "skip" leaves it out, and says so. `record`: keep the sizes
    of state and adjoint at every time.
    """

    gradient: GradientKind = "full"
    scaling: Scaling = "auto"
    per_task: bool = False
    diverged: Diverged = "keep"
    record: bool = False
