"""What an unroll is asked for, how it is to be differentiated, and its state at one time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

from metagrad import ad, checks, parts
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import GradientKind, Objective, Position, Rule, Task, Tree
from metagrad.xp import Array, rng

Scaling = Literal["auto", "adjoint", "none"]
Diverged = Literal["keep", "skip"]
Rescue = Literal["auto", "always", "never"]
_CHOICES = {
    "gradient": get_args(GradientKind),
    "scaling": get_args(Scaling),
    "diverged": get_args(Diverged),
    "rescue": get_args(Rescue),
}
_WHERE = "an estimator"
_FLAGS = ("per_task", "fused", "record")


def check_options(where: str, part: Any) -> None:
    """Raise unless the options that a frozen dataclass has are known choices, True or False; `memory` becomes bytes."""
    for name in part.__dataclass_fields__:
        if name in _CHOICES:
            checks.choice(where, name, getattr(part, name), _CHOICES[name])
        elif name in _FLAGS:
            checks.flag(where, name, getattr(part, name))
        elif name == "trust":
            if not isinstance(part.trust, bool):  # True stands for the usual number of copies
                checks.count(where, name, part.trust, 0)
        elif name == "memory":
            object.__setattr__(part, name, checks.size(where, name, part.memory))


class Carry(NamedTuple):
    """The state at one time: the true parameters are w * 2**exponent, the true state of the rule likewise."""

    w: Tree
    state: Tree
    exponent: Array  # (B,) int64


@dataclass(frozen=True)
class Ask:
    """What an estimator is asked for: its arguments, checked; see `metagrad.protocols.Estimator`."""

    task: Task
    rule: Rule
    objective: Objective
    phi: Tree
    steps: int
    seed: int = 0
    at: Position | None = None
    run: int | None = None

    def __post_init__(self) -> None:
        """Check that the parts are parts, that counts are counts, and that a position is one of the task."""
        for name, kind in (("task", Task), ("rule", Rule), ("objective", Objective)):
            parts.check_part(_WHERE, name, getattr(self, name), kind)
        for name, least in (("steps", 1), ("seed", 0)):
            object.__setattr__(self, name, checks.count(_WHERE, name, getattr(self, name), least))
        check_position(self.at, self.run, _WHERE)
        if self.at is not None:
            _check_like_the_task(self.at.w, self.task, self.seed)

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
        checks.count(where, name, given, 0)


def _check_like_the_task(w: Tree, task: Task, seed: int) -> None:
    """Raise ValueError where a run is to go on from parameters that are not those of the task."""
    mine = task.init(rng(seed, "init"))
    shapes, wanted = ([f"w{p} {getattr(x, 'shape', '')}" for p, x in _with_paths(tree)] for tree in (w, mine))
    if shapes != wanted:
        came = f"a position with {', '.join(shapes) or 'nothing'}"
        bad_value(_WHERE, "at", came, f"one of this task, with {', '.join(wanted)}", "Take it from `Estimate.end`.")


def _with_paths(tree: Tree) -> list[tuple[str, Any]]:
    return list(zip(ad.paths(tree), ad.leaves(tree), strict=True))


@dataclass(frozen=True)
class Options:
    """How to differentiate: which gradient, and what is carried beside the digits.

    `gradient`: "full", or "stop_gradient" to hold the optimizee's gradient constant (another number, at times of
    another sign). `scaling`: "auto" scales adjoints always and states where that is exact, "adjoint" only adjoints,
    "none" is plain floating point. `per_task`: phi leads with B and so does the meta-gradient. `diverged`: "keep" lets
    a task that leaves the range spoil the mean over tasks, "skip" leaves it out, and says so. `record`: keep the sizes
    of state and adjoint at every time. `rescue`: whether to run again with an exponent beside every entry where one a
    task was too few, "always" however long that takes. `wide`: run on scaled numbers. `entry`: tasks are coordinates
    (`unroll.split`). `precise`: look at every entry for what left the range (`unroll.lost`); `count`: count, on the way
    forwards, what may have. `copy`: 0 for the run itself, k for its k-th neighbour (`unroll.nudge`).
    """

    gradient: GradientKind = "full"
    scaling: Scaling = "auto"
    per_task: bool = False
    diverged: Diverged = "keep"
    record: bool = False
    rescue: Rescue = "auto"
    wide: bool = False
    entry: bool = False
    precise: bool = False
    count: bool = False
    copy: int = 0

    def __post_init__(self) -> None:
        """Check the choices."""
        check_options(_WHERE, self)


options_of = lru_cache(maxsize=64)(Options)  # those of an estimator are the same at every call, and are checked once
