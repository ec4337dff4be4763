"""What an unroll is asked for, how it is to be differentiated, and its state at one time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from metagrad.errors import bad_type, bad_value, nearest
from metagrad.protocols import GradientKind, Objective, Position, Rule, Task, Tree
from metagrad.xp import Array

Scaling = Literal["auto", "adjoint", "none"]
Diverged = Literal["keep", "skip"]
_CHOICES = {"gradient": get_args(GradientKind), "scaling": get_args(Scaling), "diverged": get_args(Diverged)}


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


def check_position(at: Any, run: Any, where: str) -> None:
    """Raise unless `at` is None or a Position at a time from 0 on, and `run` None or an integer."""
    if at is not None and not isinstance(at, Position):
        remedy = "Pass the `end` of an Estimate." if hasattr(at, "end") else "`Estimate.end` is one."
        bad_type(where, "at", f"a {type(at).__name__}", "a Position, or None", remedy)
    for name, given in (("at.t", 0 if at is None else at.t), ("run", 1 if run is None else run)):
        if isinstance(given, bool) or not hasattr(given, "__index__") or given < 0:
            bad_type(where, name, repr(given), "an integer of at least 0")


@dataclass(frozen=True)
class Options:
    """How to differentiate: which gradient, and what is carried beside the digits.

    `gradient`: "full", or "stop_gradient" to hold the optimizee's gradient constant (another number, at times of
    another sign). `scaling`: "auto" scales adjoints always and states where that is exact, "adjoint" only adjoints,
    "none" is plain floating point. `per_task`: phi leads with B and so does the meta-gradient. `diverged`: "keep" lets
    a task that leaves the range spoil the mean over tasks, "skip" leaves it out, and says so. `record`: keep the sizes
    of state and adjoint at every time. `copy`: 0 for the run itself, k for its k-th neighbour (`unroll.nudge`).
    """

    gradient: GradientKind = "full"
    scaling: Scaling = "auto"
    per_task: bool = False
    diverged: Diverged = "keep"
    record: bool = False
    copy: int = 0

    def __post_init__(self) -> None:
        """Check the choices."""
        for name, known in _CHOICES.items():
            if (given := getattr(self, name)) not in known:
                bad_value("an estimator", name, repr(given), "a known choice", nearest(str(given), list(known)))
