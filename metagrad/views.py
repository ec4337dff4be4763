"""What a rule sees of its task at one step (`metagrad.protocols.View`), and views made of other views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metagrad import ad, checks, parts
from metagrad.errors import bad_type
from metagrad.protocols import Task, Tree, View
from metagrad.xp import Array


class TaskView:
    """The task itself, on the sample of one step.

    While gradients are held (`ad.gradients_held`) every answer is a constant, made of constants, so that nothing is
    recorded for it; but where the rule differentiates by itself, what it differentiates is seen.
    """

    __slots__ = ("_asked", "_sample", "_task", "steps", "t")

    def __init__(
        self, task: Task, sample: Any, t: int, steps: int | None, *, asked: Callable[[], Task] | None = None
    ) -> None:
        """Bind the task, its sample, the time and the horizon of the run; `asked` gives one that has more to tell."""
        self._task, self._sample, self.t, self.steps, self._asked = task, sample, t, steps, asked

    def __call__(self, w: Tree) -> Array:
        """Return the loss at w."""
        return _held(parts.checked_loss(self._task, _held(w), self._sample))

    def gradient(self, w: Tree) -> Tree:
        """Return the gradient of the loss at w."""
        if not ad.are_gradients_held():  # the usual case, asked for at every step
            return parts.gradient(self._task, w, self._sample)
        return ad.stop_gradient(parts.gradient(self._task, ad.stop_gradient(w), self._sample))

    def ask(self, question: Any, w: Tree) -> Tree:
        """Return question(task, w, sample), or what the task's method of that name returns for (w, sample)."""
        task = self._task if self._asked is None else self._asked()
        return _held(parts.answers(task, question, _held(w), self._sample))


def _held(tree: Tree) -> Tree:
    return ad.stop_gradient(tree) if ad.are_gradients_held() else tree


class FixedGradient:
    """A gradient that is known, wherever it is asked for: for a rule that is stepped by hand.

    >>> import numpy as np, metagrad as mg
    >>> rule, w = mg.GradientDescent(), np.array([[1.0, 2.0]])
    >>> phi = rule.Phi(0.5)
    >>> rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(w))[0]
    array([[0.5, 1. ]])
    """

    __slots__ = ("_g", "steps", "t")

    def __init__(self, g: Tree, t: int = 0, steps: int | None = None) -> None:
        """Bind the gradient, the time and the horizon of the run; raise where one of them is none."""
        if not ad.leaves(g) or not all(isinstance(x, float) or hasattr(x, "dtype") for x in ad.leaves(g)):
            bad_type("FixedGradient", "g", checks.shown(g), "a float array, or a tree of them like w")
        checks.count("FixedGradient", "t", t, 0)
        if steps is not None:
            checks.count("FixedGradient", "steps", steps, 0)
        self._g, self.t, self.steps = g, t, steps

    def __call__(self, w: Tree) -> Array:
        """Raise TypeError: a gradient does not tell the loss."""
        came, remedy = "a gradient alone", "Step the rule on a task, or take a rule that asks for the gradient only."
        return bad_type("FixedGradient", "f(w)", came, "a task that knows its loss", remedy)

    def gradient(self, w: Tree) -> Tree:
        """Return the gradient that is known."""
        return self._g

    def ask(self, question: Any, w: Tree) -> Tree:
        """Raise TypeError: there is no task to ask."""
        came, remedy = "a gradient alone", "Step the rule on a task, or take a rule that asks for the gradient only."
        return bad_type("FixedGradient", "f.ask", came, "a task that can be asked", remedy)


class ChangedGradient:
    """The view `f` with another gradient: what transformations of the gradient show to the rule inside of them."""

    __slots__ = ("_f", "_gradient", "steps", "t")

    def __init__(self, f: View, gradient: Callable[[Tree], Tree]) -> None:
        """Bind the view, and the function from w to the gradient that is shown."""
        self._f, self._gradient, self.t, self.steps = f, gradient, f.t, f.steps

    def __call__(self, w: Tree) -> Array:
        """Return the loss at w, unchanged."""
        return self._f(w)

    def gradient(self, w: Tree) -> Tree:
        """Return the changed gradient at w."""
        return self._gradient(w)

    def ask(self, question: Any, w: Tree) -> Tree:
        """Return what the view answers, unchanged."""
        return self._f.ask(question, w)
