"""Runs that end, task by task, where the gradient or the loss is small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from metagrad import checks, parts
from metagrad.ad import leaves
from metagrad.ad.tape import value_of
from metagrad.errors import bad_type, bad_value
from metagrad.optimizers._norms import chosen, task_norm
from metagrad.protocols import Rule, Tree, View
from metagrad.views import ChangedGradient
from metagrad.xp import Array, namespace

Of = Literal["gradient", "loss"]
_OF = ["gradient", "loss"]


@dataclass(frozen=True)
class Until:
    """The update rule `rule`, a task at a time, until `||grad f(w)|| <= tolerance`, or `f(w) <= tolerance`.

    `tolerance`, a Python float of at least 0, and `of`, "gradient" or "loss". It is looked at before each step, on
    the sample of the step, over all arrays of w; from the step at which it holds on, the w and the state of that task
    stay as they are, and the others go on. Counters in the state, which tasks share, go on with them: a rule's answer
    may depend on one, so that the answer of a task that stops is kept in the state, too. NaN is not small. The time at
    which a task stops is a piecewise constant function of phi and is held constant: the derivative is that of the run
    with this number of steps, which is the derivative of the run itself wherever no stopping time jumps. With samples
    the test is as noisy as they are. `Phi` is that of the rule. ValueError or TypeError for other tolerances.

    >>> import numpy as np, metagrad as mg
    >>> task = mg.Quadratic(np.eye(2), np.array([[8.0, 0.0], [1.0, 0.0]]))
    >>> rule = mg.Until(mg.GradientDescent(), tolerance=2.0)
    >>> mg.rollout(task, rule, 0.5, steps=4, measure=lambda w: w[:, 0])[-1]
    array([2., 1.])
    """

    rule: Rule
    tolerance: float
    of: Of = "gradient"

    class State(NamedTuple):
        """The state of the rule, which tasks have stopped, the answers, () where these are w, and the steps done."""

        inner: Tree
        done: Array  # (B,) bool
        answer: Tree
        t: int

    def __post_init__(self) -> None:
        """Check the tolerance and what it is of."""
        parts.check_part("Until", "rule", self.rule, Rule)
        checks.choice("Until", "of", self.of, _OF)
        given: Any = self.tolerance
        if not isinstance(given, float):
            came = f"{checks.shown(given)}, a {type(given).__name__}"
            remedy = "It is no meta-parameter: the derivative in it is zero."
            bad_type("Until", "tolerance", came, "a Python float", remedy)
        least = 0.0 if self.of == "gradient" else -math.inf
        if not least <= self.tolerance < math.inf:
            bad_value("Until", "tolerance", self.tolerance, "a finite number, for the gradient of at least 0")

    homogeneous = False  # the tolerance stays where the problem is scaled

    @property
    def Phi(self) -> Any:  # noqa: N802 - a class, as the `Phi` of every rule
        """That of the rule."""
        return parts.named_phi(self.rule)

    @property
    def decays(self) -> tuple[str, ...]:
        """Those of the rule."""
        return parts.decays(self.rule)

    @property
    def entries(self) -> tuple[str, ...] | bool | None:
        """Those of the rule."""
        return parts.entries(self.rule)

    @property
    def at(self) -> Any:
        """That of the rule, None where it has none."""
        return partial(parts.at, self.rule) if parts.changes_with_time(self.rule) else None

    def init(self, phi: Tree, w: Tree) -> State:
        """Return the state of the rule; no task has stopped."""
        first = value_of(leaves(w)[0])
        done = namespace(first).zeros(first.shape[0], dtype=bool)
        return Until.State(self.rule.init(phi, w), done, () if parts.answer_of(self.rule) is None else w, 0)

    def step(self, phi: Tree, state: State, w: Tree, f: View) -> tuple[Tree, State]:
        """Take one step of the rule in the tasks that have not stopped."""
        size, seen = self._seen(w, f)
        done = state.done | (value_of(size) <= self.tolerance)
        after, inner = self.rule.step(phi, state.inner, w, seen)
        after, inner = chosen(done, w, after), chosen(done, state.inner, inner)
        return after, Until.State(inner, done, self._answers(phi, state, w, done, after, inner), state.t + 1)

    def _answers(self, phi: Tree, state: State, w: Tree, done: Array, after: Tree, inner: Tree) -> Tree:
        """Return the answers after a step, with its meta-parameters; of tasks that have stopped those before it."""
        own = parts.answer_of(self.rule)
        if own is None:
            return ()
        before = state.answer if state.t else own(phi, state.inner, w)  # `init` knows no meta-parameters of a step
        return chosen(done, before, own(phi, inner, after))

    def _seen(self, w: Tree, f: View) -> tuple[Array, View]:
        """Return what is compared with the tolerance, and the view, in which a gradient is not computed again."""
        if self.of == "loss":
            return f(w), f
        g = f.gradient(w)
        return task_norm(g), ChangedGradient(f, lambda u: g if u is w else f.gradient(u))

    @property
    def answer(self) -> Any:
        """The answer of the rule, for tasks that have stopped the one that is kept; None where the rule has none."""
        own = parts.answer_of(self.rule)
        if own is None:
            return None
        return lambda phi, state, w: chosen(state.done, state.answer, own(phi, state.inner, w))

    def check_phi(self, phi: Any, where: str) -> Tree:
        """Let the rule check the meta-parameters."""
        return parts.check_phi(self.rule, phi, where)

    def project(self, phi: Tree) -> Tree:
        """Let the rule bring the meta-parameters into its ranges."""
        return parts.project(self.rule, phi)

    def check_horizon(self, phi: Tree, steps: int, where: str) -> None:
        """Let the rule check the horizon."""
        parts.check_horizon(self.rule, phi, steps, where)
