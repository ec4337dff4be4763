"""`Implicit`: the derivative of an objective at the inner optimum in the meta-parameters of the task.

At w*(theta), where the inner gradient g(theta, w) = d loss/d w vanishes and the Hessian H = dg/dw is positive,

    dF(theta, w*(theta))/d theta  =  dF/d theta  -  (dg/d theta)' v,        H v = dF/dw.

(Implicit function theorem; for hyper-parameters: Bengio 2000, Pedregosa 2016, Lorraine, Vicol and Duvenaud 2020.) The
optimum owes nothing to the rule that found it, so the gradient in the rule's own meta-parameters is zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from metagrad import ad, checks, parts
from metagrad.errors import Status, bad_value
from metagrad.estimators.implicit.inner import Found, Inner
from metagrad.estimators.implicit.solvers import Asked
from metagrad.protocols import Estimate, Joint, Objective, Position, Rule, Task, Tree
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Ask, Options, check_options
from metagrad.unroll.digits import log2_length
from metagrad.unroll.phi import restore
from metagrad.unroll.replay_sweep import forwards, valued
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, to_host

Solver = Literal["cg", "neumann", "dense"]
_WHERE = "implicit"
_ELSEWHERE = Status.INNER_NOT_STATIONARY.code
_DEFAULTS = {"float64": (1e-10, 1e-6), "float32": (1e-5, 1e-3)}  # tolerance, stationary


@dataclass(frozen=True)
class Implicit:
    """d F(w*(theta))/d theta by the implicit function theorem, after `steps` steps of the rule towards w*.

    For a task of full batches with meta-parameters of its own (`Joint(rule=, task=)`), and an objective of the last
    iterate. `solver` of H v = r: "cg" (conjugate gradients), "neumann" (a series with the step size `step`, below 2
    over the largest curvature), "dense" (a factorisation: for few parameters; it alone looks along every direction).
    `tolerance`: the residual |r - H v|/|r| of each task (default: 1e-10, in float32 1e-5). `limit`: the most products
    with H. `stationary`: by how much the gradient may change, relative to its length, from the end of the run to the
    optimum that Newton's step predicts from there (default: 1e-6, in float32 1e-3). `checked=False` does not look at
    that, which takes two more systems: then nothing says whether the end of the run is an optimum.

    What is not so is said by a Status of the task: INNER_NOT_STATIONARY (also where an entry was held by the rule, and
    where the logarithm is of a loss that vanishes at the optimum), INNER_INDEFINITE, INNER_UNSOLVED. A note tells by
    how much an objective and the gradient would change, to first order, on the way to the optimum. A task whose system
    has no solution (INNER_INDEFINITE, or numbers that are none) has the gradient NaN, and so has a sum that it enters;
    of a system that was not solved to the tolerance (INNER_UNSOLVED) what was reached is taken.

    >>> import metagrad as mg
    >>> task = mg.FunctionTask(lambda w, theta: (w[:, 0] - theta) ** 2, np.zeros((1, 1)), theta=np.array(2.0))
    >>> phi = mg.Joint(rule=0.3, task=np.array(2.0))
    >>> found = Implicit()(task, mg.GradientDescent(), mg.Final("squared_norm"), phi, steps=40)
    >>> found.ok, float(found.grad.task.to_float().round(12))  # w* = theta, F = theta^2
    (True, 4.0)
    """

    solver: Solver = "cg"
    tolerance: float | None = None
    limit: int = 1000
    stationary: float | None = None
    step: float | None = None
    checked: bool = True
    per_task: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_options("Implicit", self)
        checks.choice("Implicit", "solver", self.solver, get_args(Solver))
        checks.count("Implicit", "limit", self.limit)
        checks.flag("Implicit", "checked", self.checked)
        for name in ("tolerance", "stationary", "step"):
            given = getattr(self, name)
            if given is not None:
                below = np.inf if name == "step" else 1.0
                object.__setattr__(self, name, checks.number("Implicit", name, given, above=0.0, below=below))
        if (self.step is None) == (self.solver == "neumann"):
            came = "None" if self.step is None else f"{self.step:g} with solver={self.solver!r}"
            expected = "a step size with solver='neumann', and with no other"
            bad_value("Implicit", "step", came, expected, "It has to be below 2 over the largest curvature.")

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
        """Return the value after `steps` steps and the gradient at the optimum that they lead to.

        `at` and `run` as in `Reverse`: the optimum owes nothing to where the run began.
        """
        ask = Ask(task, rule, objective, phi, steps, seed, at, run)
        _check(ask)
        options = Options("full", "auto", self.per_task, rescue="never", count=True)
        again = partial(Unroll, ask, options, _WHERE)
        with np.errstate(all="ignore"):  # what leaves the range is told by the Status
            unroll, found = forwards(again(), valued, again=again)
            inner = Inner(unroll, unroll.end())
            here = inner.implicit(objective, self._asked(unroll.dtype))
            grad = Joint(ad.tree_map(_zeros, unroll.phi.rule), here.grad)
            grad = restore(grad, unroll.given, unroll.batch, per_task=self.per_task)
            is_number = numbers(here.grad, unroll.batch, per_task=self.per_task)
            status, notes = told(found, here, is_number, self._seen(inner, here, objective) if self.checked else None)
        step = np.where(to_host(found.status) == status, to_host(found.status_step), steps)
        xp = unroll.xp
        found = replace(
            found, grad=grad, status=xp.asarray(status), status_step=xp.asarray(step), notes=found.notes + notes
        )
        return unroll.as_given(found)

    def _seen(self, inner: Inner, here: Found, objective: Objective) -> Seen:
        """Look once more at the optimum that Newton's step predicts, solved to more digits: what differs is unknown."""
        by, batch = self._asked(inner.unroll.dtype), inner.unroll.batch
        stationary = self.stationary or _DEFAULTS[np.dtype(inner.unroll.dtype).name][1]
        ahead, is_known = inner.at_the_optimum(by)
        there = ahead.implicit(objective, by._replace(tolerance=by.tolerance / 100, limit=2 * by.limit), here.v)
        off = apart(here.grad, there.grad, batch, per_task=self.per_task)
        is_settled = is_known & (off <= stationary) & inner.is_all_moved() & settled(here, objective, stationary)
        return Seen(off, is_settled)

    def _asked(self, dtype: Any) -> Asked:
        """Return what is asked of the solver, with the tolerance of the dtype where none was given."""
        return Asked(self.solver, self.tolerance or _DEFAULTS[np.dtype(dtype).name][0], self.limit, self.step)


class Seen(NamedTuple):
    """How far the gradient at the predicted optimum is from that here, relative, and where it is near enough, (B,)."""

    off: Array
    is_settled: Array


def _check(ask: Ask) -> None:
    """Raise where there is no inner optimum to speak of, or nothing that it depends on."""
    phi = ask.phi
    if not isinstance(phi, Joint) or phi.task is None:
        remedy = "The optimum does not depend on the rule's own; use method='reverse' for those."
        bad_value(_WHERE, "phi", "without meta-parameters of the task", "Joint(rule=..., task=...)", remedy)
    if parts.is_random(ask.task):
        came = f"a {type(ask.task).__name__} that draws a sample for every step"
        bad_value(_WHERE, "task", came, "a task of full batches, which has an optimum", "Use method='reverse'.")
    if not parts.looks_at_the_last_only(ask.objective):
        expected = "one of the last iterate, such as Final or LogFinal"
        bad_value(_WHERE, "objective", f"a {type(ask.objective).__name__}", expected, "Use method='reverse'.")
    from metagrad.optimizers import Stopped  # rules load late

    held: Any = ask.rule
    while held is not None:
        if isinstance(held, Stopped) and held.radius < np.inf:
            came = f"a {type(held).__name__}, which ends at a ball"
            bad_value(_WHERE, "rule", came, "one that goes to the optimum", "Use method='reverse'.")
        held = parts.inner_rule(held)
    if parts.answer_of(ask.rule) is not None:
        came = f"a {type(ask.rule).__name__}, whose answer is not its w"
        bad_value(_WHERE, "rule", came, "a rule that stays at the optimum", "Use method='reverse'.")


def apart(ours: Tree, theirs: Tree, batch: int, *, per_task: bool) -> Array:
    """Return the relative distance of two gradients, (B,): of all their leaves, or task by task; NaN for no number."""
    rows = batch if per_task else 1
    pairs = [(a, b) for a, b in zip(ad.leaves(ours), ad.leaves(theirs), strict=True) if a is not None]
    off = log2_length([(a - b).reshape((rows, -1)) for a, b in pairs])
    size = log2_length([a.reshape((rows, -1)) for a, _ in pairs])
    found = np.where(np.isneginf(to_host(off)), 0.0, np.exp2(to_host(off - size)))
    known = numbers(ours, batch, per_task=per_task) & numbers(theirs, batch, per_task=per_task)
    return np.where(known, found, np.nan)


def numbers(grad: Tree, batch: int, *, per_task: bool) -> Array:
    """Return whether a gradient is finite, (B,): as a whole, or task by task."""
    rows = batch if per_task else 1
    leaves = [to_host(leaf.mantissa).reshape((rows, -1)) for leaf in ad.leaves(grad) if leaf is not None]
    return np.broadcast_to(np.all([np.isfinite(leaf).all(axis=1) for leaf in leaves], axis=0), (batch,))


def settled(here: Found, objective: Objective, stationary: float) -> Array:
    """Whether a logarithm stays where it is on the way to the optimum: that of a loss that vanishes there does not."""
    if not parts.takes_a_logarithm(objective):
        return np.ones(len(here.code), dtype=bool)
    moved = to_host(here.moved.log2abs())
    return np.asarray(moved <= np.log2(stationary))  # NaN is not


def told(found: Estimate, here: Found, is_number: Array, seen: Seen | None) -> tuple[Array, tuple[str, ...]]:
    """Return the Status codes (B,), and what there is to say of how near the optimum is; None: not looked at."""
    code = np.zeros(len(is_number), np.int64) if seen is None else np.where(seen.is_settled, 0, _ELSEWHERE)
    code = np.where(is_number, code, Status.GRADIENT_NAN.code)  # a sum that a task spoils is no number for any of them
    code = np.where(here.code != 0, here.code, code)
    status = to_host(found.status)
    status = np.where(status == 0, code, status)
    sizes = to_host(here.moved.log10abs())[here.code == 0]
    worst = np.max(sizes[~np.isnan(sizes)], initial=-np.inf)
    by = "no number" if not sizes.size else "nothing" if np.isneginf(worst) else f"10^{float(worst):.3g}"
    note = f"From here to the optimum that Newton's step predicts, an objective would change by {by}, to first order"
    if seen is None:
        return status, (f"{note} (at most, over tasks); whether there is one was not looked at.",)
    known = seen.off[~np.isnan(seen.off)]
    share = f"{known.max():.2g} of its length" if known.size else "no number"
    return status, (f"{note}, and the gradient by {share} (at most, over tasks).",)


def _zeros(leaf: Any) -> Any:
    return Scaled.of(leaf * 0) if getattr(getattr(leaf, "dtype", None), "kind", "") == "f" else None
