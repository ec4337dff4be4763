"""A loop as a rule sees it: a task that knows its gradient and its loss at one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from metagrad import ad
from metagrad.errors import bad_type
from metagrad.protocols import Tree
from metagrad.xp import Array, is_array, namespace

WHERE = "Stepper.update"


class Seen(NamedTuple):
    """What a loop tells at one step: the parameters, the gradient and the loss (1,) there, and both elsewhere.

    `loss`: None where the loop does not tell. `gradient_at`, `loss_at`: functions of other parameters, or None.
    """

    w: Tree
    gradient: Tree
    loss: Array | None
    gradient_at: Callable[[Tree], Tree] | None
    loss_at: Callable[[Tree], Array] | None


class LoopTask:
    """The task that a loop of one's own is: what it knows stands in the sample of the step, a `Seen`."""

    full_batch = False

    def init(self, rng: np.random.Generator) -> Tree:
        """Raise TypeError: a loop starts where its caller says."""
        bad_type(WHERE, "f", "a loop of one's own, which is asked for its start", "questions about the step alone")

    def loss(self, w: Tree, sample: Seen) -> Array:
        """Return the loss that the loop tells; TypeError where it tells none, or none at w."""
        if _is_there(w, sample.w) and sample.loss is not None:
            return sample.loss
        if sample.loss_at is None:
            came = "None" if sample.loss is None else "a number"
            other = "" if sample.loss is None else " at other parameters"
            remedy = f"Write update(params, grads, loss=...){', with a function of params' if other else ''}."
            bad_type(WHERE, "loss", came, f"the loss{other}, because the rule asks for it", remedy)
        _refuse_traced(w, "loss")
        return sample.loss_at(w)

    def gradient(self, w: Tree, sample: Seen) -> Tree:
        """Return the gradient that the loop tells; TypeError where it tells none at w."""
        if _is_there(w, sample.w):
            return sample.gradient
        if sample.gradient_at is None:
            came = "the gradient at `params` alone, and the rule asks for it at other parameters"
            bad_type(WHERE, "grads", came, "a function of params that returns the gradient there")
        _refuse_traced(w, "grads")
        return sample.gradient_at(w)


def _is_there(w: Tree, known: Tree) -> bool:
    """Whether w is the place where the loop knows its numbers: the same arrays, or arrays of the same numbers."""
    asked, there = ad.leaves(w), ad.leaves(known)
    same = (
        x is y or (is_array(x) and bool(namespace(y).array_equal(x, y))) for x, y in zip(asked, there, strict=False)
    )
    return len(asked) == len(there) and all(same)


def _refuse_traced(w: Tree, name: str) -> None:
    if not all(is_array(x) for x in ad.leaves(w)):
        came = "what a loop computes, and the rule differentiates it by itself"
        bad_type(WHERE, name, came, "a rule that asks for f.gradient(w)", "Use metagrad.rollout for such a rule.")
