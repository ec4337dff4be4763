"""What a user's task, rule or objective leaves out, completed: the one place that looks optional members up.

A part needs its required members alone (`metagrad.protocols`). Every other member has a default, and it is here. No
other module asks a part whether it has a member; a test forbids it.
"""

from __future__ import annotations

from typing import Any

from metagrad import ad
from metagrad.protocols import Objective, Task, Tree
from metagrad.xp import Array, Namespace, move, rng


def known_gradient(task: Task, w: Tree, sample: Any) -> Tree | None:
    """Return d loss/d w by the task's own formula, or None where it has none."""
    own = getattr(task, "gradient", None)
    return None if own is None else own(w, sample)


def gradient(task: Task, w: Tree, sample: Any) -> Tree:
    """Return d loss/d w: the task's own where it has one, else the tape's."""
    own = getattr(task, "gradient", None)
    return own(w, sample) if own is not None else ad.grad(lambda u: task.loss(u, sample))(w)


def sample(task: Task, seed: int, t: int, xp: Namespace) -> Any:
    """Return the randomness of step t of a task, on its device; None for a task that has none."""
    draw = None if getattr(task, "full_batch", False) else getattr(task, "sample", None)
    return None if draw is None else move(draw(rng(seed, "sample", t), t), xp)


def degree(task: Task) -> int | None:
    """Return the p with loss(s w) = s**p loss(w) for all s > 0, or None where the task declares none."""
    found: int | None = getattr(task, "degree", None)
    return found


def has_measure(task: Task, method: str) -> bool:
    """Whether the task offers the measure `method(w)` beside its loss."""
    return getattr(task, method, None) is not None


def own_measure(task: Task, method: str, w: Tree) -> Array:
    """Return what the task's `method(w)` measures, shape (B,); it must have one."""
    return getattr(task, method)(w)


def looks_at_the_last_only(objective: Objective) -> bool:
    """Whether no iterate but the last has a weight."""
    return bool(getattr(objective, "only_last", False))


def takes_a_logarithm(objective: Objective) -> bool:
    """Whether a term that is zero or negative has a Status of its own."""
    return bool(getattr(objective, "logarithmic", False))
