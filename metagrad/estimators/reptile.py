"""`Reptile`: the way that a run went from its start, in the place of a gradient.

After k steps of the inner rule from w_0 = phi, to w_k of each task,

    g = (1/B) sum over tasks of (phi - w_k) / step_size,        phi <- phi - eps g   moves phi towards the w_k.

With step_size = 1 and `Descent(eps, power=0)` that is phi <- phi + eps mean(w_k - phi), Reptile as published (Nichol,
Achiam and Schulman 2018, algorithms 1 and 2). It is no gradient of any objective: a pseudo-gradient. With the inner
step size alpha in `step_size` and plain descent inside it is the sum of the gradients of the k steps (their section 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from metagrad import ad, checks, parts
from metagrad.errors import Status, bad_value
from metagrad.protocols import Estimate, Joint, Objective, Position, Rule, Task, Tree
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Ask, Options, check_options
from metagrad.unroll.lost import any_entry
from metagrad.unroll.phi import restore
from metagrad.unroll.replay_sweep import forwards, valued
from metagrad.unroll.rescale import is_float_array, magnitude, normalise, shift
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, namespace

_WHERE = "reptile"
_NOTE = "The gradient is a pseudo-gradient: the way from the end of the runs back to the start, not a derivative."


@dataclass(frozen=True)
class Reptile:
    """(phi - w_k)/step_size for a learned start phi, the mean over tasks: Reptile's pseudo-gradient, by a run forwards.

    For a task whose start is a meta-parameter, `LearnedStart(task)`, and phi = `Joint(rule=, task=)`. Meta-parameters
    that the start owes nothing to, those of the rule among them, have the pseudo-gradient 0: Reptile holds them. Where
    the rule has an answer (an average, say) it stands for w_k. The objective is what `value` is of, and no more: there
    need not be query data.
    `step_size`: what the way is divided by, finite and above 0; 1 for the published step, the inner step size for a
    pseudo-gradient of the size of a gradient. `per_task`: phi and the pseudo-gradient lead with the task axis.
    ValueError without a learned start, and for `at`: the way is that of the whole run, in one window.
    Source: Nichol, Achiam and Schulman 2018.

    >>> import metagrad as mg
    >>> few = mg.LearnedStart(mg.Quadratic(np.diag([1.0, 4.0]), np.ones((3, 2))))
    >>> found = Reptile()(few, mg.GradientDescent(), mg.Final(), mg.Joint(0.1, np.array([0.5, 0.5])), steps=2)
    >>> found.grad.task.to_float().round(6)  # (1 - (1 - 0.1 h)^2) phi
    array([0.095, 0.32 ])
    """

    step_size: float = 1.0
    per_task: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_options("Reptile", self)
        step_size = checks.number("Reptile", "step_size", self.step_size, above=0.0, below=np.inf)
        object.__setattr__(self, "step_size", step_size)

    def __call__(
        self,
        task: Task,
        rule: Rule,
        objective: Objective,
        phi: Tree,
        *,
        steps: int,
        seed: int = 0,
        at: Position | None = None,
        run: int | None = None,
    ) -> Estimate:
        """Return the value after `steps` steps and the pseudo-gradient; `run` as in `Reverse`, `at` has to be None."""
        if at is not None:
            came = f"a position at step {getattr(at, 't', '?')}"
            bad_value(_WHERE, "at", came, "None: the way is that of the whole run", "Take it in one window.")
        ask = Ask(task, rule, objective, phi, steps, seed, None, run)
        if not isinstance(phi, Joint) or phi.task is None:
            remedy = "Write LearnedStart(task), and its `first()` for the start."
            bad_value(_WHERE, "phi", "without a start that is learned", "Joint(rule=..., task=start)", remedy)
        options = Options("full", "auto", self.per_task, rescue="never", count=True)
        again = partial(Unroll, ask, options, _WHERE)
        with np.errstate(all="ignore"):  # what leaves the range is told by the Status
            unroll, found = forwards(again(), valued, again=again)
            of_task = self._pulled(unroll)
            of_task = ad.tree_map(lambda leaf: None if leaf is None else leaf / self.step_size, of_task)
            grad = Joint(ad.tree_map(_zeros, unroll.phi.rule), of_task)
            grad = restore(grad, unroll.given, unroll.batch, per_task=self.per_task)
        status = _status(found.status, of_task)
        if unroll.scale_state and (fell := unroll.fell()):  # what fell out counts beside what outgrew the floats
            lost = (status == 0) & any_entry(fell) & (unroll.end().exponent > 0)
            status = unroll.xp.where(lost, Status.ENTRIES_LOST.code, status)
        found = replace(found, grad=grad, status=status, end=None, notes=(*found.notes, _NOTE))
        return unroll.as_given(found)

    def _pulled(self, unroll: Unroll) -> Tree:
        """Return the ways of the tasks as Scaled numbers, pulled back to the task's meta-parameters: their sum."""
        task, seed = unroll.task, unroll.system.seed
        start, pull = ad.vjp(lambda theta: parts.start_of(parts.given(task, theta), seed), unroll.phi.task)
        if not pull.depends:
            came = f"a {type(task).__name__} whose start owes nothing to its meta-parameters"
            bad_value(_WHERE, "task", came, "a task whose start is learned", "Write LearnedStart(task).")
        way, power = normalise(*self._way(unroll, start), limit=0)
        if self.per_task:
            (theta,) = pull(way)
            return ad.tree_map(lambda leaf: _raised(leaf, power), theta)
        top = power.max()
        (theta,) = pull(shift(way, power - top))
        return ad.tree_map(lambda leaf: _raised(leaf, top), theta)

    def _way(self, unroll: Unroll, start: Tree) -> tuple[Tree, Array, Array]:
        """Return w_0 - w_k as digits and an exponent (B,), and the sizes of the digits (B,)."""
        end = unroll.end()
        last = unroll.phi_at(unroll.steps - 1)
        _, w = unroll.system.measured(last, end.w, end.state)
        # A state may have outgrown the floats, or have become too small for them: the longer of the two has digits.
        power = unroll.xp.maximum(end.exponent, 0)
        before, after = shift(start, -power), shift(w, end.exponent - power)
        way = ad.tree_map(lambda a, b: a - b if is_float_array(a) else None, before, after)
        return way, power, magnitude(way)


def _raised(leaf: Any, by: Any) -> Any:
    """Return leaf * 2**by as Scaled numbers; `by`: one number, or one a task, which the leaf leads with."""
    if leaf is None:
        return None
    found = Scaled.of(leaf)
    by = by.reshape(by.shape + (1,) * (found.mantissa.ndim - by.ndim)) if getattr(by, "ndim", 0) else by
    return Scaled.of(found.mantissa, found.exponent + by)


def _status(status: Array, ways: Tree) -> Array:
    """Return the Status codes (B,); a way that left the range though all states stayed in it spoils what it is in."""
    xp = namespace(status)
    is_finite = all(bool(xp.isfinite(leaf.mantissa).all()) for leaf in ad.leaves(ways) if leaf is not None)
    return status if is_finite or status.any() else xp.full_like(status, Status.GRADIENT_OVERFLOW.code)


def _zeros(leaf: Any) -> Any:
    return Scaled.of(leaf * 0) if hasattr(leaf, "dtype") and leaf.dtype.kind == "f" else None
