"""The inner problem where a run has ended, and what the implicit function theorem takes of it.

With the inner gradient g(theta, w), the Hessian H = dg/dw and the objective F(theta, w),

    gradient  =  dF/d theta  -  (dg/d theta)' v,        H v = dF/dw,

all at one w, which is an optimum or not: `estimator` finds out. Where it is none, Newton's step w - H^{-1} g says where
the optimum would be, and v'g by how much F would fall on the way there, to first order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad, parts
from metagrad.estimators.implicit.solvers import Asked, Solution, power, solved
from metagrad.protocols import Objective, Position, Tree
from metagrad.scaled import Scaled, ldexp
from metagrad.unroll.rescale import is_float_array, shift
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, to_host

_NEAR = 20  # powers of two: tasks within them are pulled back together, without a loss that float32 would see
_ROUNDINGS = 1000  # of H w: an inner gradient below that may be none


class Rows(NamedTuple):
    """Numbers of each task, digits (B, ...) times 2**exponent (B,), on the host."""

    digits: Array
    exponent: Array


class Found(NamedTuple):
    """The gradient, the Status codes of the linear systems (B,), v'g: by how much F would fall to the optimum, and v.

    Where a task has no solution, v is NaN, and so is the gradient of this task, and a sum that it enters.
    """

    grad: Tree
    code: Array
    moved: Scaled
    v: Rows


class Inner:
    """The inner problem where the run has ended: w, theta, and what is asked about them. Rows are (B, D)."""

    def __init__(self, unroll: Unroll, end: Position) -> None:
        """Bind; w are the true parameters."""
        self.unroll, self.theta = unroll, unroll.phi.task
        self.w = shift(end.w, end.exponent)
        self.left = self.rows(self.inner_gradient(self.theta, self.w))
        self.of_left = power(self.left)

    def inner_gradient(self, theta: Tree, w: Tree) -> Tree:
        """Return g(theta, w)."""
        return parts.gradient(parts.given(self.unroll.task, theta), w, None)

    def measured(self, theta: Tree, w: Tree) -> Array:
        """Return what the objective looks at, (B,)."""
        return self.unroll.tally.measure.of(parts.given(self.unroll.task, theta), w, None)

    def rows(self, tree: Tree) -> Array:
        """Return a tree like w as rows on the host, (B, D)."""
        flat = [to_host(x).reshape((self.unroll.batch, -1)) for x in ad.leaves(tree) if is_float_array(x)]
        return np.concatenate(flat, axis=1)

    def tree(self, rows: Array) -> Tree:
        """Return rows as a tree like w; leaves that are no floats have no cotangent."""
        found: list[Any] = []
        at = 0
        for leaf in ad.leaves(self.w):
            if not is_float_array(leaf):
                found.append(None)
                continue
            width = int(np.prod(leaf.shape[1:]))
            piece = rows[:, at : at + width].reshape(leaf.shape)
            found.append(self.unroll.xp.asarray(np.ascontiguousarray(piece)))
            at += width
        return ad.unflatten(self.w, found)

    def slope(self, objective: Objective) -> Rows:
        """Return d objective/d measure."""
        term = Scaled.of(self.measured(self.theta, self.w))
        weight: Any = objective.weight(self.unroll.steps, self.unroll.steps)
        weight = weight if isinstance(weight, Scaled) else Scaled.of(np.asarray(float(weight), self.unroll.dtype))
        inner, of_inner = objective.inner(term)
        _, of_sum = objective.finish(inner * weight, self.unroll.steps)
        whole = of_sum * weight * of_inner
        return Rows(to_host(whole.mantissa).astype(self.unroll.dtype), to_host(whole.exponent))

    def pulled_measure(self, slope: Rows) -> Rows:
        """Return dF/dw."""
        pull = ad.recorded(lambda w: self.measured(self.theta, w), self.w)
        rows = self.rows(pull(self.unroll.xp.asarray(slope.digits))[0])
        by = power(rows)
        return Rows(ldexp(rows, -by[:, None]), slope.exponent + by)

    def product(self) -> Any:
        """Return rows -> H rows, by the pullback of the inner gradient, whose Jacobian is symmetric."""
        pull = ad.recorded(partial(self.inner_gradient, self.theta), self.w)
        return lambda rows: self.rows(pull(self.tree(rows))[0])

    def implicit(self, objective: Objective, by: Asked, near: Rows | None = None) -> Found:
        """Return dF/d theta - (dg/d theta)'v, and what is known of it; `near`: a v from nearby to go on from."""
        slope = self.slope(objective)
        right = self.pulled_measure(slope)
        start = None if near is None else Solution(near.digits, near.exponent - right.exponent, np.zeros(0))
        solution = solved(self.product(), right.digits, by, start)
        v = Rows(solution.v, right.exponent + solution.exponent)
        moved = raised(
            np.sum(v.digits * ldexp(self.left, -self.of_left[:, None]), axis=1), v.exponent + self.of_left, np
        )
        return Found(self.gradient(slope, v._replace(digits=-v.digits)), solution.code, moved, v)

    def at_the_optimum(self, by: Asked) -> tuple[Inner, Array]:
        """Return the same at w - H^{-1} g, where Newton's method sees the optimum, and which tasks know it, (B,).

        A task does not where the system was not solved, unless g is what rounding leaves of H w; then it stays here.
        """
        product = self.product()
        solution = solved(product, self.left, by)
        whole = product(self.rows(self.w))
        g, whole = (ldexp(x, -power(whole)[:, None]) for x in (self.left, whole))
        rounding = _ROUNDINGS * np.finfo(g.dtype).eps * np.sqrt(np.sum(whole * whole, axis=1))
        is_known = (solution.code == 0) | (np.sqrt(np.sum(g * g, axis=1)) <= rounding)
        away = ldexp(solution.v, solution.exponent[:, None])
        away = np.where((solution.code == 0)[:, None], away, 0)
        w = ad.tree_map(lambda x, y: x if y is None else x - y, self.w, self.tree(away))
        end = self.unroll.end()._replace(w=w, exponent=np.zeros(self.unroll.batch, np.int64))
        return Inner(self.unroll, end), is_known

    def is_all_moved(self) -> Array:
        """Whether no entry stayed exactly where it began though it had a gradient: one that is held is no optimum's."""
        start = parts.start_of(parts.given(self.unroll.task, self.theta), self.unroll.system.seed)
        stayed = self.rows(start) == self.rows(self.w)
        pulled = (self.rows(self.inner_gradient(self.theta, start)) != 0) | (self.left != 0)
        return ~(stayed & pulled).any(axis=1)

    def gradient(self, slope: Rows, minus_v: Rows) -> Tree:
        """Return dF/d theta - (dg/d theta)'v as Scaled numbers, summed over the tasks or task by task."""
        xp = self.unroll.xp
        of_measure = ad.recorded(lambda theta: self.measured(theta, self.w), self.theta)
        of_slope = ad.recorded(lambda theta: self.inner_gradient(theta, self.w), self.theta)
        direct = self._summed(lambda digits: of_measure(xp.asarray(digits))[0], slope)
        through = self._summed(lambda rows: of_slope(self.tree(rows))[0], minus_v)
        return ad.tree_map(lambda one, other: None if one is None else one + other, direct, through)

    def _summed(self, pull: Callable[[Array], Tree], given: Rows) -> Tree:
        """Return the pullback of rows in Scaled numbers; tasks of far exponents are pulled back apart, and added."""
        if self.unroll.options.per_task:
            return ad.tree_map(lambda leaf: raised(leaf, given.exponent, self.unroll.xp), pull(given.digits))
        total: Tree = None
        left = np.ones(len(given.exponent), dtype=bool)
        while left.any():
            top = given.exponent[left].max()
            near = left & (given.exponent > top - _NEAR)
            aside = (slice(None),) + (None,) * (given.digits.ndim - 1)
            digits = ldexp(np.where(near[aside], given.digits, 0), np.where(near, given.exponent - top, 0)[aside])
            found = ad.tree_map(lambda leaf, by=top: raised(leaf, by, self.unroll.xp), pull(digits))
            total = found if total is None else ad.tree_map(lambda a, b: None if a is None else a + b, total, found)
            left &= ~near
        return total


def raised(leaf: Any, by: Any, xp: Any) -> Any:
    """Return leaf * 2**by as Scaled numbers; `by`: one number, or one a task, which the leaf leads with."""
    if leaf is None:
        return None
    found = Scaled.of(leaf)
    by = xp.asarray(by)
    by = by.reshape(by.shape + (1,) * (found.mantissa.ndim - by.ndim)) if by.ndim else by
    return Scaled(found.mantissa, xp.where(found.mantissa == 0, 0, found.exponent + by))
