"""Whether a meta-gradient has digits: it has none where the state has converged to the last ones of its own.

Gradient descent that has arrived at w* up to rounding stays there, and what is left of g = grad f(w) is the rounding
of its evaluation, dg. The meta-gradient is a sum of products h' P g_t, h the derivative of what is measured and P the
steps in between, in which h or the late g_t are then nothing but dg. The truth goes on shrinking (a loss with a floor)
or stays what it was (the log of a loss without one).
At the end of an unroll of T steps, u the unit roundoff and max the largest entry, the digits are gone where
    max|g| < 8 max|dg|                                    the gradient is within 8 times its rounding,
    max|w_T - w_{T-2}| < 4u max|w_T|, max|g| < 2T max|dg|   the steps round away, and T of them could have moved g,
    |h'g| < 8 |h dg|                                      h is orthogonal to g, but for rounding,
    max|h - g| > max|g|/8                                 the excess is that above a solution which is rounded itself.
g is taken at w_T where the training loss or its excess is measured (then h is g), else at w_{T-1}, where the last
step was. Two steps count together, as beyond the best step size rounding makes w go back and forth for ever. The
constants are measured ones: no meta-gradient that is off by more than a third for this reason should be called right,
and some with one or two digits left are called rounding. Derived; checked by tests against the theory.

A sum over all times counts as lost only if its late terms count: if T times the last one, by |h||g|, is above a tenth
of the first. A task that never moved where g is exactly zero has lost nothing: it started at a solution.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.errors import Status
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Carry
from metagrad.unroll.rescale import along_tasks, is_float_array, log2_of, magnitude, shift
from metagrad.unroll.tally import Tally
from metagrad.xp import Array, float_info, namespace, rng

_ROUNDINGS, _STEP_ROUNDINGS = 8.0, 2.0
_OF_THE_LOSS = ("loss", "train", "excess")


def is_of_the_loss(measure: str) -> bool:
    """Whether a measure, by its name, is the training loss, so that its digits are those of the last gradient."""
    return measure in _OF_THE_LOSS


class Trust:
    """The few states of an unroll by which its digits are judged."""

    def __init__(self, steps: int) -> None:
        """Remember those at time 0, where a sum begins, and at the last three times."""
        self._steps = steps
        self._kept: dict[int, Carry] = {}
        self._sum_from: int | None = None
        self._near: tuple[Tree, Tree] | None = None  # the last w, and floats near it
        self._has_moved: Array | None = None
        self.floor: Array | None = None  # log2 of max|dg| / max|g| at the end, where only the end counts

    def see(self, carry: Carry, t: int, *, in_sum: bool) -> None:
        """Note the state at t, which is reached for the first time; `in_sum` if it has a weight."""
        begins = in_sum and self._sum_from is None and t < self._steps
        if begins:
            self._sum_from = t
        if begins or t == 0 or t >= self._steps - 2:
            self._kept[t] = carry

    def see_many(self, carries: list[Carry], t: int, weights: list[Scaled | None]) -> None:
        """Note the states from t on, which are reached for the first time, with those weights."""
        first = next((k for k, weight in enumerate(weights) if weight is not None), len(carries))
        last = max(0, self._steps - 2 - t)
        for k in sorted({0, first, *range(last, len(carries))} - {len(carries)}):
            self.see(carries[k], t + k, in_sum=weights[k] is not None)

    def lost(self, tally: Tally, *, held: bool, done: int) -> Array | None:
        """Return GRADIENT_ROUNDING for the tasks whose meta-gradient is rounding, else 0, (B,); None if unknown.

        `held`: whether the gradient was held constant; `done`: the steps before time 0.
        """
        measure = tally.measure.name
        of_loss = is_of_the_loss(measure)
        if held and not of_loss:
            return None  # sum_t g_t: the early ones decide, none of them has lost a digit
        if tally.weight(self._steps) is None:
            return None  # what the end has lost says nothing of terms before it
        last, before = self._kept[self._steps], self._kept[self._steps - 1]
        at = last if of_loss else before
        known = tally.slope_at
        g = known[1] if known is not None and known[0] is at.w else None
        found = self._gradient_and_rounding(tally, at.w, g, fixed=tally.measured.sample(self._steps) is None)
        if found is None:
            return None
        g, dg = found
        size, level = magnitude(g), magnitude(dg)
        if self._sum_from is None:
            floor = log2_of(level) - log2_of(size)
            self.floor = tally.xp.where((size > 0) | self._moved(last), floor, -np.inf)
        few, drift = _ROUNDINGS * level, _STEP_ROUNDINGS * (done + self._steps) * level
        if tally.xp is np and measure in ("loss", "train") and (size >= few + drift).all():
            return None  # the usual case, found cheaply
        lost, is_slow = size < few, size < drift
        if tally.xp is not np or is_slow.any():
            lost = lost | (self._stalled(last) & is_slow)
        if measure == "excess":
            lost = lost | _differ(tally.term_slope(last, self._steps)[1], g)
        elif not of_loss:
            lost = lost | _orthogonal(tally.direction(last, self._steps), g, dg)
        lost = lost & ((size > 0) | self._moved(last))
        if self._sum_from is not None:
            lost = lost & self._late_terms_count(tally, self._sum_from, tally.xp.maximum(size, level), of_loss)
        return tally.xp.where(lost, Status.GRADIENT_ROUNDING.code, 0)

    def of_measure(self, tally: Tally, near: Array | None = None) -> Array | None:
        """Return log2 |dF|, (B,): what the objective changes as w_T moves by a float; None where it has no weight.

        `near`: what is measured there, where that is known.
        """
        last = self._kept[self._steps]
        if near is None and tally.weight(self._steps) is not None:
            near = tally.measured.at(last._replace(w=self._neighbour(last.w)), self._steps)
        moved = None if near is None else tally.moved(last, near, self._steps)
        if moved is None:
            return None
        return tally.xp.where(self._moved(last), moved, -np.inf)

    def _moved(self, last: Carry) -> Array:
        """Whether w is no longer where it started."""
        if self._has_moved is None:
            self._has_moved = magnitude(_change(self._kept[0], last)) > 0
        return self._has_moved

    def _neighbour(self, w: Tree) -> Tree:
        """Return floats near those of w, which is asked for twice."""
        if self._near is None or self._near[0] is not w:
            self._near = w, ad.tree_map(neighbour, w)
        return self._near[1]

    def _gradient_and_rounding(self, tally: Tally, w: Tree, g: Tree, *, fixed: bool) -> tuple[Tree, Tree] | None:
        """Return g and dg at w; None for a task that is random (not `fixed`) and does not know of its rounding.

        `g` where it is known already, else None.
        """
        found = parts.gradient_rounding(tally.task, w)
        if found is not None:
            return found
        if not fixed:
            return None
        g = tally.measured.gradient(w) if g is None else g
        near = tally.measured.gradient(self._neighbour(w))
        return g, ad.tree_map(lambda a, b: abs(a - b) / 2, g, near)

    def _stalled(self, last: Carry) -> Array:
        """Whether the last two steps changed w by less than two roundings each."""
        steps = min(2, self._steps)
        eps = max(float_info(leaf.dtype).eps for leaf in ad.leaves(last.w) if is_float_array(leaf))
        change = magnitude(_change(self._kept[self._steps - steps], last))
        return change < steps * _STEP_ROUNDINGS * eps / 2 * magnitude(last.w)

    def _late_terms_count(self, tally: Tally, first: int, size: Array, of_loss: bool) -> Array:
        carry, end = self._kept[first], self._kept[self._steps]
        g = parts.gradient(tally.task, carry.w, tally.measured.sample(first))
        factor, h = tally.term_slope(carry, first)
        early = factor * Scaled.of(magnitude(h)) * Scaled.of(magnitude(g), carry.exponent)
        factor, h = tally.term_slope(end, self._steps)
        late = factor * Scaled.of(size if of_loss else magnitude(h)) * Scaled.of(size, end.exponent)
        return late.log2abs() + np.log2(10.0 * self._steps) > early.log2abs()


def surely_kept(measure: str, h: Tree, g: Tree, near: Tree, steps: int) -> Array:
    """Return where the meta-gradient surely has digits, as `Trust.lost` finds it, (B,): a function of arrays alone.

    `measure` is its name, `h` its gradient at the end; `g` and `near` are those of the loss, where they are looked at,
    and beside that.
    """
    dg = ad.tree_map(lambda a, b: abs(a - b) / 2, g, near)
    size, level = magnitude(g), magnitude(dg)
    is_kept: Array = size >= _ROUNDINGS * level + _STEP_ROUNDINGS * steps * level
    return is_kept if measure in ("loss", "train") else is_kept & ~_orthogonal(h, g, dg)


def neighbour(leaf: Any) -> Any:
    """Return floats near those of a leaf: one or two units in the last place up or down, alike for all tasks."""
    if not is_float_array(leaf):
        return leaf
    return leaf + leaf * namespace(leaf).asarray(_units(leaf.shape[1:], leaf.dtype))


@cache
def _units(shape: tuple[int, ...], dtype: Any) -> Any:
    units = rng(0, "neighbour", *shape).choice([-2.0, -1.0, 1.0, 2.0], size=shape)
    return (float_info(dtype).eps * units).astype(dtype)


def _change(before: Carry, last: Carry) -> Tree:
    """Return the last w less an earlier one, in the digits of the last."""
    is_alike = before.exponent is last.exponent
    earlier = before.w if is_alike else shift(before.w, before.exponent - last.exponent)
    return ad.tree_map(lambda a, b: a - b if is_float_array(a) else a, last.w, earlier)


def _differ(h: Tree, g: Tree) -> Array:
    """Whether two ways to the same derivative differ by an eighth: that of the excess and that of the loss."""
    return _ROUNDINGS * magnitude(ad.tree_map(lambda a, b: a - b, h, g)) > magnitude(g)


def _orthogonal(h: Tree, g: Tree, dg: Tree) -> Array:
    """Whether h'g is within 8 times what rounding makes of it; entries relative to the largest, for the range."""
    h, g, dg = (_relative_to(tree, magnitude(top)) for tree, top in ((h, h), (g, g), (dg, g)))
    product = _sum(ad.tree_map(lambda a, b: a * b, h, g))
    rounding = _sum(ad.tree_map(lambda a, b: (a * b) ** 2, h, dg)) ** 0.5
    return abs(product) < _ROUNDINGS * rounding


def _relative_to(tree: Tree, top: Array) -> Tree:
    xp = namespace(top)
    safe = xp.where(top == 0, xp.asarray(1, dtype=top.dtype), top)
    return ad.tree_map(lambda leaf: leaf / along_tasks(safe, leaf), tree)


def _sum(tree: Tree) -> Array:
    sums = [leaf.reshape(leaf.shape[0], -1).sum(axis=1) for leaf in ad.leaves(tree) if is_float_array(leaf)]
    return sum(sums[1:], sums[0])
