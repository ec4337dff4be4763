"""The contracts between a task, an update rule, a meta-objective and an estimator, on one page.

Arrays lead with the task axis B. `w` are the optimizee's parameters, `phi` the meta-parameters, `t` the index of a
step, `steps` the horizon T. A tree is an array, or a tuple, NamedTuple, list or dict of trees. A user's class needs
no base class: it needs the methods marked *required*; the others are looked up, in `metagrad.parts` and nowhere else,
and have the stated default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from metagrad.errors import Status
from metagrad.scaled import Scaled
from metagrad.summary import summary, wrapped
from metagrad.xp import Array, to_host

Tree = Any  # an array, or a tuple, NamedTuple, list or dict of trees
# Whether the derivative goes through the optimizee's gradient, or holds it constant: two different numbers.
GradientKind = Literal["full", "stop_gradient"]


@runtime_checkable
class Task(Protocol):
    """The optimizee: a batch of B problems that are solved side by side.

    Optional:
    `sample(rng, t)` all the randomness of step t, a function of (seed, t) alone (default: None);
    `full_batch` True where every sample is None, so that no random stream need be made for it (default: False);
    `fixed_start` True on a class whose `init` draws nothing and is content with None, so that none need be made for
    it either; a class derived from it says so itself (default: False);
    `given(phi)` the task with these meta-parameters in it: its start, its loss, its data. It checks nothing, because
    the leaves of phi may be traced (default: the task has no meta-parameters);
    `check_given(phi, where)` phi, completed and checked, or an error (default: phi as it is);
    `gradient(w, sample)` d loss/d w in differentiable NumPy-style code (default: the tape's gradient of `loss`);
    `gradient_rounding(w)` the gradient on all samples at w and how far rounding may move it, both like w: by it an
    unroll knows a meta-gradient without digits, Status.GRADIENT_ROUNDING (default: what the floats next to w change,
    for tasks without samples; random ones without the method are not looked at);
    `degree` the p with loss(s w) = s**p loss(w) for all s > 0, if there is one (default: None);
    `train_loss(w)`, `excess(w)`, `validation_loss(w)`, `risk(w)` what the measures of those names measure, (B,).
    """

    def init(self, rng: np.random.Generator) -> Tree:
        """Return w_0, every array (B, ...). Required."""
        ...

    def loss(self, w: Tree, sample: Any) -> Array:
        """Return the loss of each task, shape (B,), in NumPy-style code. Required."""
        ...


class View(Protocol):
    """What a rule sees of its task at one step: the loss and its gradient wherever it asks, on one sample.

    Under `gradient="stop_gradient"` every answer is a constant, whatever is asked.
    """

    t: int  # the time of the run, from 0 on, also where it is cut into windows
    steps: int | None  # the horizon of the run, where it is known

    def __call__(self, w: Tree) -> Array:
        """Return the loss at w, shape (B,)."""
        ...

    def gradient(self, w: Tree) -> Tree:
        """Return the gradient of the loss at w, like w."""
        ...

    def ask(self, question: Any, w: Tree) -> Tree:
        """Return question(task, w, sample), or what the task's method of that name returns for (w, sample)."""
        ...


@runtime_checkable
class Rule(Protocol):
    """An update rule with meta-parameters phi: hand-designed or learned.

    A step is a function of its arguments. It builds new arrays and writes into nothing that it is given: NumPy arrays
    are read-only views, and an error names the method that writes. It keeps nothing on `self`: a step that is another
    one when the backward sweep takes it again is an error, too. What is to be random comes from
    `metagrad.xp.rng(seed, name, f.t)`, with a seed of the rule's own. Where phi is given task by task, a number of each
    task arrives as (B, 1), with as many axes as w: it stands beside w, not beside losses (B,).

    Optional:
    `answer(phi, state, w)` the parameters that the objective looks at, such as an average (default: w);
    `homogeneous` True if scaling w, the state and the gradient by s > 0 scales the new w and state by s (False);
    `check_phi(phi, where)` phi, completed and checked, or an error (default: phi as it is);
    `check_horizon(phi, steps, where)` an error where phi is not for so many steps (default: none);
    `project(phi)` the nearest meta-parameters that `check_phi` takes, for the outer loops of training, which pass them
    on after each of their steps; it keeps NaN (default: phi as it is, with no range at all);
    `at(phi, t)` the meta-parameters of step t, differentiated through (default: phi);
    `entries` the names of the fields of phi that lead with time, or True for all: `at` takes their entries t (None);
    `decays` names of the fields of `Phi` that `step` takes with their rest, see `metagrad.optimizers.Unconstrained`.
    """

    def init(self, phi: Tree, w: Tree) -> Tree:
        """Return the rule's state before the first step; every float array (B, ...). Required."""
        ...

    def step(self, phi: Tree, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Return (new w, new state), in NumPy-style code; the gradient is `f.gradient(w)`. Required."""
        ...


@runtime_checkable
class Measure(Protocol):
    """What a meta-objective looks at, beside its derivative and degree where they are known (`metagrad.measures`)."""

    @property
    def name(self) -> str:
        """What it is called; "loss", "train" and "excess" say that its derivative is the gradient of the loss."""
        ...

    def of(self, task: Task, w: Tree, sample: Any) -> Array:
        """Return what is measured at w, shape (B,), in NumPy-style code."""
        ...

    def gradient(self, task: Task, w: Tree, sample: Any) -> Tree | None:
        """Return its derivative in w where a formula is known, else None: the tape then finds it."""
        ...

    def degree(self, task: Task) -> int | None:
        """Return the p with of(s w) = s**p of(w) for all s > 0, if there is one."""
        ...


@runtime_checkable
class Objective(Protocol):
    """finish(sum over t of weight(t) * inner(measure of w_t)): what the meta-parameters are tuned for.

    Optional: `only_last`, True if no iterate but the last has a weight (default: False);
    `logarithmic`, True if a logarithm is taken, so that a zero or negative term has a Status of its own (False).
    """

    @property
    def measure(self) -> Any:
        """The `Measure`, or its name (`metagrad.measures`)."""
        ...

    def weight(self, t: int, steps: int) -> Scaled | float | None:
        """Return the weight of w_t in the sum, a number or Scaled, or None where w_t does not enter (t = 0..steps)."""
        ...

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return the transformed term and its derivative."""
        ...

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return the transformed sum and its derivative."""
        ...


class Joint(NamedTuple):
    """The meta-parameters of the rule and of the task, tuned side by side; a bare phi is the rule's."""

    rule: Tree
    task: Tree = None


class Position(NamedTuple):
    """Where an unroll stands at time t: the true parameters are w * 2**exponent, the true state likewise.

    What came before is held constant: a meta-gradient from here on is that of the later steps alone (truncated
    backpropagation). The exponent (B,) is zero but for homogeneous problems, whose state may leave the range of floats.
    NumPy arrays in it may be read-only views: an unroll keeps them.
    """

    w: Tree
    state: Tree
    exponent: Array
    t: int


class Record(NamedTuple):
    """The largest entries of a run's state and of its adjoint, task by task at t = 0..T: Scaled (T + 1, B)."""

    state: Scaled
    adjoint: Scaled


class Digits(NamedTuple):
    """How many decimal digits of an estimate can be trusted: float64 (B,), from 0 to those of the dtype, -log10(eps).

    `value`: of each task's objective. `gradient`: of the length of the meta-gradient over all of phi, task by task
    where it is; where it is that of the mean over tasks all entries hold its one number. None where there is no
    gradient. Of rounding alone: what leaves the range is a matter of the Status. With `trust=True` they are measured,
    by runs from neighbouring floats, to within a digit or so (`metagrad.unroll.neighbours`). Without, they are what the
    sweep knows (`metagrad.unroll.digits`): the most that there can be for values alone, for a gradient that was held
    constant, and for learned rules.
    """

    value: Array
    gradient: Array | None


@dataclass(frozen=True)
class Estimate:
    """A meta-objective and its meta-gradient, task by task.

    `value`: Scaled (B,). `grad`: the tree of phi, as the rule completes it, with Scaled leaves: the gradient of the
    mean over tasks, or task by task where phi was given task by task. `status`: Status codes (B,), `status_step`: the
    step at which the status was first seen, -1 for OK. `stderr`: as `grad`, for estimators that sample; None for exact
    ones. `end`: where the estimator has arrived, to go on from there; None for one that does not unroll. `notes`:
    sentences about what the numbers leave out, and which function made the first NaN or inf. `record`: the sizes along
    the run, where they were asked for. `carrier`: what had an exponent of its own, "task", or "entry" or "wide" where
    that was too few (`metagrad.unroll.rescue`). `digits`: how many digits can be trusted; None for estimators that do
    not tell. `growth` (B,): log10 of the most that a relative change of the state grew on its way through the run; None
    where it was not looked at. `replay`: how many steps were replayed by programs, or why none (`metagrad.replay`);
    None where that was not tried.
    """

    value: Scaled
    grad: Tree
    status: Array
    status_step: Array
    stderr: Tree | None = None
    end: Any = field(default=None, repr=False)  # a Position, or what the estimator carries beside one
    notes: tuple[str, ...] = ()
    record: Record | None = field(default=None, repr=False)
    carrier: str = "task"
    digits: Digits | None = None
    growth: Array | None = field(default=None, repr=False)
    replay: str | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether every task's numbers can be trusted."""
        return not bool(to_host(self.status).any())

    def __str__(self) -> str:
        """Say in a few lines whether the numbers can be trusted, what they are, by name, and how many digits they have.

        `repr` shows every field.
        """
        codes = to_host(self.status)
        count = f"{codes.size} task{'s' if codes.size > 1 else ''}"
        first = f"OK: {count}, {Status.OK.message}" if self.ok else f"NOT OK: {np.count_nonzero(codes)} of {count}"
        numbers = summary(self.value, self.grad, self.stderr, self.digits)
        return "\n".join([first, *map(wrapped, self._troubles()), *numbers, *map(wrapped, self.notes)])

    def report(self) -> str:
        """Say, one line a kind of trouble, what happened, to how many tasks, from which step on, and what to do."""
        said = [] if self.replay is None else [self.replay]
        return "\n".join([*(self._troubles() or [Status.OK.message]), *self.notes, *said])

    def _troubles(self) -> list[str]:
        codes, at = to_host(self.status), to_host(self.status_step)
        lines = []
        for code in np.unique(codes[codes != 0]):
            hit = codes == code
            status = Status.from_code(code)
            where = f"{hit.sum()} of {codes.size} tasks, first at step {at[hit].min()}"
            lines.append(f"{status.name} ({where}): {status.message}")
        return lines


class Estimator(Protocol):
    """A way to a meta-gradient; all of them share one call."""

    def __call__(
        self,
        task: Task,
        rule: Rule,
        objective: Objective,
        phi: Tree,
        *,
        steps: int,
        seed: int = 0,
        at: Any = None,
        run: int | None = None,
    ) -> Estimate:
        """Return the value and the meta-gradient after `steps` steps.

        `at`: go on from there instead of from the task's own start; the objective counts its own time from 0 and sees
        both ends. It is the `Estimate.end` of a call before: a `Position`, or an object of the estimator's own where
        it carries more (perturbations that persist, say); no one else looks inside. `run`: the horizon of the whole
        run that a rule is shown, where these steps are a part of it.
        """
        ...


class OuterReport(NamedTuple):
    """What an outer step did: log2 of the norm of the meta-gradient, whether it was clipped, and whether it is finite.

    `finite` is False where the meta-gradient, or the step along it, is inf or NaN.
    """

    log2_norm: float
    clipped: bool = False
    finite: bool = True


class Outer(Protocol):
    """The step of an outer loop, from a meta-gradient to the next meta-parameters."""

    def init(self, phi: Tree) -> Tree:
        """Return the state before the first step: a tree of numbers and arrays."""
        ...

    def step(self, phi: Tree, state: Tree, found: Estimate, k: int) -> tuple[Tree, Tree, OuterReport]:
        """Return the next phi, the next state, and what the step did; k = 1, 2, ... counts the steps of the run.

        Where a meta-parameter has no next value its entries are NaN, and the state is one to go on from: what becomes
        of the run is for the loop to decide.
        """
        ...
