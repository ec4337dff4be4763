"""An exponent for every coordinate, where a diagonal quadratic and an elementwise rule do not mix coordinates.

    f_b(w) = sum_i lambda_bi w_i^2 / 2,    w_i <- a function of w_i, lambda_bi w_i and phi_i alone

is B d tasks of one coordinate, each with an exponent of its own: the engine as it is, in about the same time. What is
measured is the sum over the coordinates of a task, taken before anything that is not linear (`_Grouped`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.errors import Status
from metagrad.measures import as_measure
from metagrad.optimizers import GradientDescent, Momentum, Nesterov, Scheduled
from metagrad.protocols import Digits, Estimate, Objective, Position, Tree
from metagrad.scaled import Scaled
from metagrad.tasks import DiagonalQuadratic
from metagrad.unroll.carry import Ask
from metagrad.unroll.digits import log2_length, most_digits, status_of
from metagrad.unroll.phi import restore
from metagrad.unroll.rescale import widened
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, float_info

_STEPS_AT_ONCE = 256
_ADDITIVE = ("loss", "squared_norm")  # a sum over coordinates
# Of a task only where all of its parts are so, and where what all of them add up to has no digit.
_PART_ALONE = (Status.STATE_ZERO.code,)
_ROUNDING = (Status.GRADIENT_ROUNDING.code, Status.VALUE_ROUNDING.code, Status.CHAOTIC.code)
_NO_DIGIT = 0.5


@dataclass(frozen=True)
class _Grouped:
    """An objective of tasks that are each split into `d`: a term is the sum of its parts, known to all of them."""

    base: Objective
    d: int

    @property
    def measure(self) -> Any:
        """That of the whole."""
        return self.base.measure

    @property
    def only_last(self) -> bool:
        """Whether no iterate but the last has a weight."""
        return parts.looks_at_the_last_only(self.base)

    def weight(self, t: int, steps: int) -> Any:
        """Return that of the whole."""
        return self.base.weight(t, steps)

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return inner(sum of the parts), and its derivative, for each of them."""
        value, slope = self.base.inner(term.reshape((-1, self.d)).sum(axis=-1))
        return self._each(value), self._each(slope)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return that of the whole."""
        return self.base.finish(total, steps)

    def _each(self, x: Scaled) -> Scaled:
        return Scaled(np.repeat(x.mantissa, self.d), np.repeat(x.exponent, self.d))


@dataclass(frozen=True)
class Parts:
    """The tasks of one coordinate each, and the way back to the tasks that they are parts of."""

    unroll: Unroll
    ask: Ask

    def joined(self, found: Estimate) -> Estimate:
        """Return the estimate of the tasks from that of their coordinates."""
        batch, d = self.unroll.w0.shape
        value = found.value.reshape((batch, d))[:, 0]
        grad = None if found.grad is None else self._gradient(found.grad)
        digits = self._digits(found)
        status, step = self._status(found, value, digits)
        end = self._end(found.end)
        joined = replace(found, value=value, grad=grad, status=status, status_step=step, end=end, carrier="entry")
        return replace(joined, digits=digits, growth=np.zeros(batch))

    def _digits(self, found: Estimate) -> Digits:
        """Return the digits of sums over coordinates: each adds its own error, of the size of what it adds."""
        assert found.digits is not None
        batch, d = self.unroll.w0.shape
        most = most_digits(self.unroll.dtype)
        of_value = -np.log10((10.0**-found.digits.value).reshape((batch, d)).sum(axis=1))
        of_gradient = found.digits.gradient
        if found.grad is not None and of_gradient is not None:
            rows: list[Any] = [
                np.moveaxis(g, int(led), 0) for g, led in zip(ad.leaves(found.grad), _led(self.unroll), strict=True)
            ]
            size = log2_length([g.reshape((batch * d, -1)) for g in rows])
            whole = np.broadcast_to(self._length(found.grad), (batch,))
            errors = np.exp2(size - np.repeat(whole, d)) * 10.0**-of_gradient  # beside the whole, of any size
            lost = errors.reshape((batch, d)).sum(axis=1)
            of_gradient = -np.log10(lost if self.unroll.options.per_task else np.full(batch, lost.sum()))
        # NaN is no digit
        cut = [x if x is None else np.clip(np.nan_to_num(x, nan=0.0), 0.0, most) for x in (of_value, of_gradient)]
        return Digits(cut[0], cut[1])

    def _length(self, grad: Tree) -> Any:
        """Return log2 of the length of the meta-gradient that the parts add up to, (B,) or one."""
        unroll, (batch, d) = self.unroll, self.unroll.w0.shape
        found = []
        for numbers, leaf, led in zip(ad.leaves(grad), ad.leaves(unroll.phi), _led(unroll), strict=True):
            total: Any = _summed_to(numbers.reshape((*numbers.shape[: int(led)], batch, d)), leaf.shape, int(led))
            per_task = unroll.options.per_task
            found.append(np.moveaxis(total, int(led), 0).reshape((batch, -1)) if per_task else total.reshape((1, -1)))
        length = log2_length(found)
        return length if unroll.options.per_task else length[0]

    def _gradient(self, grad: Tree) -> Tree:
        unroll, (batch, d) = self.unroll, self.unroll.w0.shape
        leaves = []
        for numbers, leaf, led in zip(ad.leaves(grad), ad.leaves(unroll.phi), _led(unroll), strict=True):
            by_task = numbers.reshape((*numbers.shape[: int(led)], batch, d))
            leaves.append(_summed_to(by_task, leaf.shape, int(led)))
        options = unroll.options
        return restore(ad.unflatten(unroll.phi, leaves), unroll.given, batch, per_task=options.per_task)

    def _status(self, found: Estimate, value: Scaled, digits: Digits) -> tuple[Array, Array]:
        batch, d = self.unroll.w0.shape
        codes, steps = (x.reshape((batch, d)) for x in (found.status, found.status_step))
        codes = np.where(np.isin(codes, _ROUNDING), 0, codes)
        alone = np.isin(codes, _PART_ALONE)
        counts = (codes != 0) & (~alone | (alone.all(axis=1) & (self.unroll.w0 != 0).any(axis=1))[:, None])
        first = np.where(counts, steps, np.iinfo(np.int64).max).argmin(axis=1)
        pick = (np.arange(batch), first)
        status, step = np.where(counts[pick], codes[pick], 0), np.where(counts[pick], steps[pick], -1)
        lost = None if digits.gradient is None else digits.gradient < _NO_DIGIT
        shared = not self.unroll.options.per_task
        rounding = status_of(digits.value < _NO_DIGIT, lost, np.zeros(batch, dtype=bool), shared=shared)
        step = np.where((status == 0) & (rounding != 0), self.unroll.steps, step)
        status = np.where(status == 0, rounding, status)
        of_zero = np.isneginf(value.mantissa) & (status == 0)
        return np.where(of_zero, Status.LOG_OF_ZERO.code, status), np.where(of_zero, self.unroll.steps, step)

    def _end(self, end: Position) -> Position:
        """Return where the tasks are: with one exponent a task where it does for all coordinates, else wide."""
        shape = self.unroll.w0.shape
        powers = end.exponent[:, None]

        def joined(leaf: Array) -> Any:
            return Scaled.of(leaf.reshape((-1, 1)), powers).reshape(shape)

        w, state = ad.tree_map(joined, (end.w, end.state))
        return Position(w, state, np.zeros(shape[0], dtype=np.int64), end.t)


def split(unroll: Unroll) -> Parts | None:
    """Return the coordinates of an unroll as tasks of their own; None where they are not independent of each other."""
    task, objective = unroll.task, unroll.objective
    if type(task) is not DiagonalQuadratic or type(task.w0) is not np.ndarray or not _is_elementwise(unroll.rule):
        return None
    if as_measure(type(objective).__name__, objective.measure).name not in _ADDITIVE or unroll.joint:
        return None
    batch, d = unroll.w0.shape
    coordinates = DiagonalQuadratic(task.eigenvalues.reshape(-1, 1), task.w0.reshape(-1, 1))
    each = [_tiled(leaf, int(led), (batch, d)) for leaf, led in zip(ad.leaves(unroll.phi), _led(unroll), strict=True)]
    at = unroll.ask.at
    if at is not None:
        at = _apart(at, batch * d)
    ask = unroll.ask
    return Parts(
        unroll,
        replace(ask, task=coordinates, objective=_Grouped(objective, d), phi=ad.unflatten(unroll.phi, each), at=at),
    )


def negligible(unroll: Unroll, fell: Array) -> Array:
    """Return whether the coordinates that `fell` out of the range, (B, d), do not count, (B,), as far as theory knows.

    w_i = w_0i prod_t (1 - eta_t lambda_i), and what a coordinate adds to the loss and to its derivatives in eta tells
    whether it counts at the end. With one step size for all steps coordinates part company for good; a schedule may
    bring them together in between, which only objectives of the last iterate do not see.
    """
    task: Any = unroll.task
    xp, rates = unroll.xp, _rates(unroll)
    if rates is None:
        return xp.zeros(unroll.batch, dtype=bool)
    curvature, w0 = task.eigenvalues.astype(np.float64), task.w0.astype(np.float64)
    log, least = xp.zeros(w0.shape), xp.ones(w0.shape)
    for first in range(0, len(rates), _STEPS_AT_ONCE):
        shrink = abs(1 - rates[first : first + _STEPS_AT_ONCE] * curvature)
        log, least = log + xp.log2(shrink).sum(axis=0), xp.minimum(least, shrink.min(axis=0))
    steps = unroll.steps if len(rates) == 1 else 1
    adds_to_loss = 2 * (xp.log2(abs(w0)) + steps * log)
    if as_measure(type(unroll.objective).__name__, unroll.objective.measure).name != "squared_norm":
        adds_to_loss = adds_to_loss + xp.log2(curvature)
    adds = adds_to_loss + xp.maximum(0.0, xp.log2(unroll.steps * abs(rates).max() * curvature / least))
    adds = xp.where(xp.isnan(adds), -np.inf, adds)
    most_kept = xp.where(fell, -np.inf, adds_to_loss).max(axis=1)
    known: Array = xp.where(fell, adds, -np.inf).max(axis=1) < most_kept + 3 * math.log2(float_info(task.w0.dtype).eps)
    return known


def _rates(unroll: Unroll) -> Any:
    """Return the step sizes (1 or T, 1 or B, 1) of gradient descent on a diagonal quadratic; None for anything else."""
    rule: Any = unroll.rule
    scheduled = type(rule) is Scheduled
    is_known = type(unroll.task) is DiagonalQuadratic and type(rule.rule if scheduled else rule) is GradientDescent
    if not is_known or unroll.ask.at is not None:
        return None
    if scheduled and not parts.looks_at_the_last_only(unroll.objective):
        return None
    eta = unroll.phi.eta.astype(np.float64)
    own = eta.shape[1:] if scheduled else eta.shape
    shape = {(): (-1, 1, 1), (unroll.batch, 1): (-1, unroll.batch, 1)}.get(own)
    return None if shape is None else eta.reshape(shape)


def _is_elementwise(rule: Any) -> bool:
    inner = rule.rule if type(rule) is Scheduled else rule
    return type(inner) in (GradientDescent, Momentum, Nesterov)


def _led(unroll: Unroll) -> list[bool]:
    """Return which leaves of phi lead with time."""
    return [False] * len(ad.leaves(unroll.phi)) if unroll.entries is None else ad.leaves(unroll.entries)


def _tiled(leaf: Array, led: int, shape: tuple[int, int]) -> Array:
    """Return a leaf of phi with an entry for every coordinate of every task, (B d,), after the axis of time."""
    lead, own = leaf.shape[:led], leaf.shape[led:]
    full = np.broadcast_to(leaf.reshape((*lead, *(1,) * (2 - len(own)), *own)), (*lead, *shape))
    return np.ascontiguousarray(full).reshape((*lead, -1))


def _summed_to(numbers: Scaled, shape: tuple[int, ...], led: int) -> Scaled:
    """Return derivatives (T, B, d) or (B, d), summed over all that a leaf of `shape` is shared by."""
    own = (1,) * (2 - len(shape[led:])) + shape[led:]
    for axis, n in enumerate(own):
        if n == 1 and numbers.shape[led + axis] != 1:
            numbers = numbers.sum(axis=led + axis, keepdims=True)
    return numbers.reshape(shape)


def _apart(at: Position, count: int) -> Position:
    """Return a position of tasks as that of their coordinates, each with its exponent."""
    wide = ad.tree_map(
        lambda leaf: Scaled.of(leaf, at.exponent[:, None]).reshape((count, 1)), widened((at.w, at.state))
    )
    leaves = ad.leaves(wide)
    powers = np.max([np.where(leaf.mantissa == 0, -(2**40), leaf.exponent) for leaf in leaves], axis=0)[:, 0]
    powers = np.where(powers == -(2**40), 0, powers)
    w, state = ad.tree_map(
        lambda leaf: Scaled.of(leaf.mantissa, leaf.exponent - powers[:, None]).to_float(out_of_range="ieee"), wide
    )
    return Position(w, state, powers, at.t)
