"""One training step: a task that a rule solves, as functions of the meta-parameters.

    start      w_0 = task.init,              s_0 = rule.init(phi, w_0)
    step       w_{t+1}, s_{t+1} = rule.step(phi_t, s_t, w_t, f_t),   f_t the task on the sample of step t
    measured   the objective looks at        answer(phi, s_t, w_t)

The meta-parameters are the rule's, or a `Joint` of the rule's and the task's: then the task is `task.given(phi.task)`.
Sweeps, rollouts, windows and trainers take their steps here and nowhere else.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np

from metagrad import ad, checks, parts
from metagrad.errors import bad_type
from metagrad.guard import called, frozen, frozen_pair
from metagrad.protocols import GradientKind, Joint, Position, Rule, Task, Tree
from metagrad.tasks import LearnedStart
from metagrad.views import TaskView
from metagrad.xp import Array, Namespace, namespace


class Training:
    """A task and the rule that solves it; times t are those of the run."""

    def __init__(
        self,
        task: Task,
        rule: Rule,
        seed: int,
        *,
        gradient: GradientKind = "full",
        steps: int | None = None,
        xp: Namespace = np,
    ) -> None:
        """Bind the parts. `gradient="stop_gradient"` holds all that the rule is shown constant; `steps`: the horizon
        that the rule is told; `xp`: where samples live.
        """
        parts.check_wrapper(task, Task, "metagrad")
        parts.check_wrapper(rule, Rule, "metagrad")
        self.task, self.rule, self.seed, self.steps, self.xp = task, rule, seed, steps, xp
        self.held = gradient == "stop_gradient"
        self.kept: Array | None = None  # (B,) bools, where some tasks stay where they are
        self.is_random = parts.is_random(task)
        self._by_entry = parts.entries(rule) is not None
        self._by_function = parts.changes_with_time(rule) and not self._by_entry
        # Our own rules write into nothing that they are given: they are called without a guard, which takes a while.
        self.is_ours = parts.foreign(rule) is None
        self._moved = rule.step if self.is_ours else partial(called, rule, "step", rule.step)
        # A learned start is where a run begins and nothing else: steps are of the task that has it.
        begins_only = type(task) is LearnedStart and not parts.has_given(task.task)
        self.under_start: Task | None = task.task if begins_only else None  # type: ignore[attr-defined]

    def on(self, task: Task) -> Training:
        """Return the same system of another task of the same kind, which is not looked at: its data may be recorded."""
        moved = copy.copy(self)
        moved.task = task
        moved.under_start = None if self.under_start is None else task
        return moved

    def given(self, phi: Tree) -> Task:
        """Return the task with its meta-parameters in it."""
        return parts.given(self.task, phi.task) if isinstance(phi, Joint) else self.task

    def sample(self, t: int) -> Any:
        """Return the randomness of step t: the same whenever it is asked for."""
        return parts.sample(self.task, self.seed, t, self.xp) if self.is_random else None

    def example(self) -> Tree:
        """Return w_0 as the task has it without meta-parameters: for shapes, dtype and device."""
        return parts.start_of(self.task, self.seed)

    def like(self, phi: Tree) -> Tree:
        """Return `example()`, or zeros like it, of the host, where phi has the start: no other one has to be drawn."""
        if isinstance(phi, Joint) and type(self.task) is LearnedStart and self.task.is_of_ours:
            on_host = all(type(leaf) is np.ndarray for leaf in ad.leaves(phi.task))
            return self.task.like(self.seed) if on_host else self.example()
        return self.example()

    def start(self, phi: Tree, w: Tree = None) -> tuple[Tree, Tree]:
        """Return (w, state) at time 0; `w` where it is known already, because it owes nothing to phi.

        A start that tasks share is laid out for each of them, as the w of later steps are: programs tell the two apart.
        """
        w = parts.start_of(self.given(phi), self.seed) if w is None else w
        if self.under_start is not None:
            w = ad.tree_map(_laid_out, w)
        return w, self.state(phi, w)

    def state(self, phi: Tree, w: Tree) -> Tree:
        """Return the state of the rule at time 0, where w_0 is known."""
        return frozen(called(self.rule, "init", self.rule.init, _of_rule(phi), w))

    def step(self, t: int, phi: Tree, w: Tree, state: Tree) -> tuple[Tree, Tree]:
        """Return (w, state) at t + 1 from those at t; phi as `phi_at` gives it."""
        return self.stepped(t, phi, w, state, self.sample(t))

    def stepped(self, t: int, phi: Tree, w: Tree, state: Tree, sample: Any) -> tuple[Tree, Tree]:
        """Return the step on a sample: a function of its arguments alone."""
        seen = ad.stop_gradient(phi) if self.held and isinstance(phi, Joint) else phi
        if self.under_start is None:
            f = TaskView(self.given(seen), sample, t, self.steps)
        else:  # a user's rule may ask the task for its start
            f = TaskView(self.under_start, sample, t, self.steps, asked=partial(self.given, seen))
        of_rule = _of_rule(phi)
        if self._by_function:
            of_rule = parts.at(self.rule, of_rule, t)
        if self.held:
            with ad.gradients_held():
                moved: Any = self._moved(of_rule, state, w, f)
        else:
            moved = self._moved(of_rule, state, w, f)
        if not isinstance(moved, tuple) or len(moved) != 2:
            came = f"a {type(moved).__name__}" + (f" of {len(moved)}" if isinstance(moved, tuple) else "")
            bad_type(f"{type(self.rule).__name__}.step", "what it returns", came, "(new w, new state)")
        found = frozen_pair(moved)
        return found if self.kept is None else _staying(self.kept, found, (w, state))

    def phi_at(self, phi: Tree, t: int) -> Tree:
        """Return the meta-parameters with the entries of step t in the place of leaves that lead with time."""
        if not self._by_entry:
            return phi
        if isinstance(phi, Joint):
            return Joint(parts.at(self.rule, phi.rule, t), phi.task)
        return parts.at(self.rule, phi, t)

    def entries(self, phi: Tree) -> Tree | None:
        """Return a tree of bools like phi, whether a leaf leads with time; None where none does."""
        names, of_rule = parts.entries(self.rule), _of_rule(phi)
        if names is None:
            return None
        if isinstance(names, bool):
            mask = ad.tree_map(lambda leaf: True, of_rule)
        else:
            led = [ad.tree_map(lambda leaf, is_led=f in names: is_led, getattr(of_rule, f)) for f in of_rule._fields]
            mask = type(of_rule)(*led)
        return Joint(mask, ad.tree_map(lambda leaf: False, phi.task)) if isinstance(phi, Joint) else mask

    def measured(self, phi: Tree, w: Tree, state: Tree) -> tuple[Task, Tree]:
        """Return the task and the parameters that objectives look at."""
        answer = parts.answer_of(self.rule)
        if answer is None:
            return self.given(phi), w
        return self.given(phi), called(self.rule, "answer", answer, _of_rule(phi), state, w)


def _staying(kept: Array, moved: tuple[Tree, Tree], before: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
    """Return what moved for the tasks that are kept, and what was before for the others."""

    def choose(after: Any, was: Any) -> Any:
        if getattr(after, "ndim", 0) == 0 or after.shape != was.shape:
            return after
        return np.where(kept.reshape(kept.shape + (1,) * (after.ndim - 1)), after, was)

    found: tuple[Tree, Tree] = ad.tree_map(choose, moved, before)
    return found


def _laid_out(leaf: Any) -> Any:
    """Return an array whose tasks share a place in memory as one in which they do not; anything else as it is."""
    if type(leaf) is not np.ndarray or not leaf.ndim or leaf.strides[0] or len(leaf) == 1:
        return leaf
    return frozen(np.array(leaf, order="C"))


def _of_rule(phi: Tree) -> Tree:
    return phi.rule if isinstance(phi, Joint) else phi


def begin(task: Task, rule: Rule, phi: Tree, seed: int = 0) -> Position:
    """Return where a whole run with this seed begins, at t = 0."""
    parts.check_part("begin", "task", task, Task)
    parts.check_part("begin", "rule", rule, Rule)
    seed = checks.count("begin", "seed", seed, 0)
    phi = phi if isinstance(phi, Joint) else parts.complete_phi(rule, phi, "begin")
    w, state = Training(task, rule, seed).start(phi)
    first = ad.leaves(w)[0]
    return Position(w, state, namespace(first).zeros(first.shape[0], dtype=np.int64), 0)
