"""A start that is learned: the initial parameters as meta-parameters, one for all tasks."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import checks, parts
from metagrad.ad import leaves, paths, tree_map
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array, rng

_WHERE = "LearnedStart"
_TELLS_SHAPES = "metagrad.tasks.mlp_regressor.task"  # without a draw


@dataclass(frozen=True)
class LearnedStart:
    """The task `task`, whose meta-parameters are w_0: one tree without the task axis, the same for all tasks.

    Where the task has meta-parameters theta of its own, they are (w_0, theta). `first()` gives a tree to begin with,
    the start of the first task. A call that gives none starts where `task` does. With `per_task=True` every task has a
    start of its own, and the arrays lead with B. Everything else is that of `task`.
    `starts` = G > 1: the B tasks are G groups of B/G in a row, each with a start of its own, and w_0 leads with G: so
    many starts are learned side by side, in little more time than one. The meta-gradient, of the mean over all tasks,
    is 1/G of that of each group's own mean.
    With `Final("validation")` this is MAML, with `gradient="stop_gradient"` first-order MAML (Finn, Abbeel, Levine
    2017); with a step size for every coordinate in `Joint(rule=...)` Meta-SGD (Li et al. 2017).

    >>> import metagrad as mg
    >>> few = mg.LearnedStart(mg.Quadratic(np.diag([1.0, 4.0]), np.ones((3, 2))))
    >>> phi = mg.Joint(rule=0.1, task=np.array([0.5, 0.5]))
    >>> mg.meta_gradient(few, mg.GradientDescent(), mg.Final(), phi, steps=1).grad.task.to_float()
    array([0.405, 0.72 ])
    """

    task: Task
    w0: Tree = None
    starts: int = 1

    def __post_init__(self) -> None:
        """Check the task."""
        object.__setattr__(self, "_like", [])  # the shapes of w once they are known, for all that `given` makes
        given: Any = self.task
        if isinstance(given, type):
            name = given.__name__
            bad_type(_WHERE, "task", f"the class {name}", "an instance", f"Write LearnedStart({name}(...)).")
        if not isinstance(given, Task):
            missing = ", ".join(parts.missing(given, Task))
            bad_type(_WHERE, "task", f"a {type(given).__name__} without {missing}", "a task")
        checks.count(_WHERE, "starts", self.starts)
        if self.w0 is not None:
            self._check_start(self.w0, _WHERE, "w0")

    def __copy__(self) -> LearnedStart:
        """Return a copy that knows of no shapes yet: what it holds may become another dtype, or move to a device."""
        moved = object.__new__(type(self))
        vars(moved).update(vars(self), _like=[])
        return moved

    def __getattr__(self, name: str) -> Any:
        """Return what the task has: its measures, its gradient, what it declares."""
        if name.startswith("__") or name == "task":
            raise AttributeError(name)
        return parts.member(self.task, name)

    def first(self, seed: int = 0) -> Tree:
        """Return the start of the first task, without the task axis; with `starts`, of the first task of each group."""
        w = self.task.init(rng(seed, "init"))
        if self.starts == 1:
            return tree_map(lambda leaf: leaf[0], w)
        return tree_map(lambda leaf: leaf[:: self._group(leaf)], w)

    def _group(self, leaf: Any) -> int:
        """Return the number of tasks that share a start."""
        tasks = int(leaf.shape[0])
        if tasks % self.starts:
            bad_value(_WHERE, "starts", self.starts, f"a divisor of the number of tasks, {tasks}")
        return tasks // self.starts

    def init(self, rng: np.random.Generator | None) -> Tree:
        """Return w_0 for every task."""
        if self.w0 is not None:
            return tree_map(self._for_every_task, self.w0, self._shapes(rng))
        w = self.task.init(rng)  # type: ignore[arg-type]  # tasks that are not random take None
        self._remember(w)
        return w

    def loss(self, w: Tree, sample: Any) -> Array:
        """Return the loss of the task."""
        return self.task.loss(w, sample)

    def _shapes(self, draw: np.random.Generator | None) -> Tree:
        """Return arrays in the shapes and dtypes of w, which take no memory: a start is drawn once to know them."""
        if not self._like:
            known = parts.member(self.task, "like")() if type(self.task).__module__ == _TELLS_SHAPES else None
            self._remember(self.task.init(draw) if known is None else known)  # type: ignore[arg-type]
        return self._like[0]

    @property
    def is_of_ours(self) -> bool:
        """Whether the task is one of ours: a user's may have other shapes under another seed, or draw its data."""
        return type(self.task).__module__ in parts.OF_OURS

    def like(self, seed: int) -> Tree:
        """Return arrays of the host in the shapes and dtypes of w_0: zeros, which take no memory."""
        return self._shapes(rng(seed, "init"))

    def _remember(self, w: Tree) -> None:
        self._like[:] = [tree_map(_zeros, w)]

    def _check_start(self, start: Tree, where: str, name: str) -> None:
        w = self._shapes(rng(0, "init"))
        came, expected = paths(start), paths(w)
        if came != expected:
            bad_type(where, name, f"a start with {came}", f"a tree like w, {expected}", "`first()` gives one.")
        for path, leaf, like in zip(came, leaves(start), leaves(w), strict=True):
            self._group(like)
            one = like.shape[1:] if self.starts == 1 else (self.starts, *like.shape[1:])
            if np.shape(leaf) not in (one, like.shape):
                wanted = f"shape {one}, {'without the task axis' if self.starts == 1 else 'one for every group'}"
                bad_value(where, f"{name}{path}", f"of shape {np.shape(leaf)}", wanted, "`first()` gives a start.")
            if hasattr(leaf, "dtype") and leaf.dtype != like.dtype:
                bad_type(where, f"{name}{path}", f"of {leaf.dtype}", f"the dtype of w, {like.dtype}", "Convert it.")

    def given(self, phi: Tree) -> LearnedStart:
        """Return the task with this start, and with its own meta-parameters where it has some."""
        moved = copy.copy(self)  # not a new construction: phi may be traced
        object.__setattr__(moved, "_like", self._like)
        start, theta = phi if parts.has_given(self.task) else (phi, None)
        object.__setattr__(moved, "w0", start)
        object.__setattr__(moved, "task", parts.given(self.task, theta))
        return moved

    def check_given(self, phi: Tree, where: str) -> Tree:
        """Return phi; raise unless it is a start in the shapes of w without the task axis, and theta beside it."""
        own = parts.has_given(self.task)
        if own and not (isinstance(phi, tuple) and len(phi) == 2):
            bad_type(where, "phi.task", f"a {type(phi).__name__}", "(w_0, theta), as the task has a theta of its own")
        start, theta = phi if own else (phi, None)
        self._check_start(start, where, "phi.task")
        return (start, parts.check_given(self.task, theta, where)) if own else start

    def _for_every_task(self, start: Array, w: Array) -> Array:
        """Return the start (...), (G, ...) or (B, ...) in the shape of w, (B, ...)."""
        if start.shape == w.shape or (self.starts == 1 and start.shape == w.shape[1:]):
            return np.broadcast_to(start, w.shape)
        if start.shape == (self.starts, *w.shape[1:]):
            return np.repeat(start, self._group(w), axis=0)
        if math.prod(start.shape) == math.prod(w.shape):  # a number for each task comes as (B, 1, ...)
            return start.reshape(w.shape)
        came, expected = f"of shape {start.shape}", f"{w.shape[1:]}, or {w.shape} with one for every task"
        return bad_value(_WHERE, "phi.task", came, expected, "With per_task=True every task has a start of its own.")


def _zeros(leaf: Any) -> Any:
    """Return zeros like a leaf that share one place in memory."""
    if type(leaf) is Scaled:
        return Scaled(_zeros(leaf.mantissa), _zeros(leaf.exponent))
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
