"""The meta-objective along a run: what is measured, weighed and summed, and its derivative at each time."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad, parts
from metagrad.errors import Status, bad_value
from metagrad.measures import Loss, as_measure
from metagrad.protocols import Objective, Tree
from metagrad.replay import slope_along
from metagrad.scaled import Scaled, surely_in_range, surely_positive
from metagrad.system import Training
from metagrad.transforms import UNIT_WEIGHT, is_of_ours
from metagrad.unroll.carry import Carry
from metagrad.unroll.measured import Measured
from metagrad.unroll.monitor import Monitor, range_code
from metagrad.unroll.purity import same
from metagrad.unroll.rescale import (
    beside_or_alone,
    cleared,
    is_float_array,
    log2_of,
    magnitude,
    nothing_like,
    summed,
    task_by_task,
)
from metagrad.unroll.term import Block, Known, Term
from metagrad.unroll.weights import Weights
from metagrad.xp import Array, filled, float_info, namespace


class Pulled(NamedTuple):
    """What a term gives to the adjoint, (w, state) * 2**exponent, and to the meta-parameters, phi * 2**top."""

    adjoint: tuple[Tree, Tree]
    exponent: Array
    phi: Tree = None
    top: Array | int = 0


class Times(NamedTuple):
    """How many steps there are, and how many the run has done before."""

    steps: int
    offset: int


_MOST_KNOWN = 1 << 26  # bytes
_AT_ONCE = 256  # terms that are summed at once


class Tally:
    """finish(sum over t of weight(t) inner(measure of w_t)), added up as the times come by.

    A term that is `joint` (`metagrad.unroll.measured`) is differentiated in phi and in the state of the rule too.
    """

    def __init__(
        self,
        system: Training,
        objective: Objective,
        phi: Tree,
        times: Times,
        monitor: Monitor,
        w: Tree,
        *,
        scale_state: bool,
        plain: bool,
    ) -> None:
        """Bind the parts; `w` is any state, for its device, dtype and number of tasks."""
        first = next(leaf for leaf in ad.leaves(w) if is_float_array(leaf))
        self.xp, self.dtype, self.batch = namespace(first), first.dtype, first.shape[0]
        self.objective = objective
        self.measure = as_measure(type(objective).__name__, objective.measure)
        self.steps, offset = times
        self.measured = Measured(system, self.measure, phi, offset)
        self.task, self.joint = self.measured.task, self.measured.joint
        self.monitor, self.scale_state, self.plain = monitor, scale_state, plain
        self.kept: Array | None = None  # (B,) bools, where some tasks weigh nothing
        self._degree: int | None = self.measure.degree(self.task)
        self._is_checked = False
        self._terms: list[Scaled] = []  # (n, B): of one time, or of several
        self._count = 0  # of times in them
        # The latest ones: the backward sweep asks for them once more.
        self._known = Known(max(256, _MOST_KNOWN // (64 * self.batch)))
        weights = Weights(objective, self.steps)
        self.weight, self.weights, self._are_plain = weights.at, weights.of, weights.are_plain
        self._total: Scaled | None = None
        self._low = filled(self.xp, self.batch, -np.inf, np.float64)  # log2 of the largest term that may have been lost
        self._slope: Scaled | None = None  # of the objective in the sum, once it is finished
        self.slope_at: tuple[Tree, Tree] | None = None  # the last w, and the gradient of the loss there, where known
        self._pulled_at: tuple[Tree, Tree] | None = None  # w, and what was pulled back to it of a joint term

    def add(self, carry: Carry, t: int, weight: Scaled) -> None:
        """Let the state at t, which has a weight and is reached for the first time, enter the sum."""
        self._add(self._term_at(carry, t), t, weight)

    def add_many(self, carries: list[Carry], t: int, found: Array | None, weights: list[Scaled | None]) -> None:
        """Let the states from t on, which are reached for the first time, enter the sum where they have a weight.

        `found`: what the measure is at the first of them, (n, B), None where it is not known.
        """
        block, first = None, 0
        if found is not None and len(found) and not self.scale_state:
            self._check(found[0])
            known = [k for k, weight in enumerate(weights[: len(found)]) if weight is not None]
            if known and len(known) == known[-1] - known[0] + 1:
                first = known[0]
                block = self._know(t + first, found[first : known[-1] + 1])
        for k, weight in enumerate(weights[:first] if block else weights):
            if weight is not None:
                self._add(self._term_at(carries[k], t + k), t + k, weight)
        if block is not None:
            first += self._add_block(block, weights[first : first + len(block.found)])
            for k, weight in enumerate(weights[first:], start=first):
                if weight is not None:
                    self._add(self._term_at(carries[k], t + k), t + k, weight)

    def add_all(self, carries: list[Carry], t: int, found: list[Array], weights: list[Scaled]) -> None:
        """Let the states from t on, which all have a weight, enter the sum; what is measured at each was `found`."""
        self._check(found[0])
        are_alike = all(type(x) is np.ndarray and (x.shape, x.dtype) == (found[0].shape, self.dtype) for x in found)
        block = self._know(t, np.array(found)) if are_alike else None
        first = 0 if block is None else self._add_block(block, weights)
        for k in range(first, len(found)):
            self._add(self._term_at(carries[k], t + k, found[k]), t + k, weights[k])

    def _add_block(self, block: Block, weights: Any) -> int:
        """Let terms enter the sum at once, where they are to be added as they are; return how many did."""
        count = len(block.found)
        is_plain = self._are_plain or all(weight is UNIT_WEIGHT for weight in weights)
        if not is_plain or self._count + count >= _AT_ONCE or parts.takes_a_logarithm(self.objective):
            return 0
        self._terms.append(block.inner)
        self._count += count
        return count

    def _check(self, found: Array) -> None:
        """Check what is measured, the first time."""
        if not self._is_checked:
            self._is_checked = True
            self.measured.check(found, self.batch, self.dtype)

    def _know(self, t: int, found: Array) -> Block | None:
        """Keep and return what the objective makes of what was measured, (n, B), from t on: all of it at once.

        Only where that is the same as one by one: for objectives of ours, and numbers that have all their digits.
        """
        if not is_of_ours(self.objective) or not found.min() >= 2.0 ** float_info(self.dtype).min_exponent:
            return None
        term = Scaled.of(found)
        block = Block(t, term, *self.objective.inner(term), found)
        self._known.keep_block(block)
        return block

    def factors(self, carries: list[Carry], times: range, slope: Scaled) -> Scaled | None:
        """Return the derivative of the meta-objective in what is measured at some times, (n, B); all have a weight."""
        return None if self.plain or self.scale_state else slope * self.slopes(carries, times)

    def slopes(self, carries: list[Carry], times: range) -> Scaled:
        """Return weight * inner'(term) at some times, the last one first, (n, B); all have a weight."""
        pieces: list[tuple[Array, Array]] = []
        k = 0
        while k < len(times):
            block = self._known.block(times[k])
            if block is None:
                one = self._term_at(carries[k], times[k]).slope
                pieces.append((one.mantissa[None], one.exponent[None]))
                k += 1
            else:
                lo, hi = max(times[-1], block.start) - block.start, times[k] - block.start + 1
                pieces.append((block.slope.mantissa[lo:hi][::-1], block.slope.exponent[lo:hi][::-1]))
                k += hi - lo
        rows = Scaled(*(np.concatenate(columns) for columns in zip(*pieces, strict=True)))
        weights: Any = () if self._are_plain else self.weights(times)
        if any(weight is not UNIT_WEIGHT for weight in weights):
            mantissas = np.array([w.mantissa for w in weights], dtype=self.dtype)[:, None]
            rows = rows * Scaled(mantissas, np.array([w.exponent for w in weights])[:, None])
        return rows

    def _add(self, known: Term, t: int, weight: Scaled) -> None:
        term, inner, *_ = known
        if parts.takes_a_logarithm(self.objective) and not surely_positive(term):
            if self.xp is np:
                self.monitor.flush()  # what the state did came first
            sign = self.xp.where(term.mantissa == 0, Status.LOG_OF_ZERO.code, 0)
            self.monitor.note(t, self.xp.where(term.mantissa < 0, Status.LOG_OF_NEGATIVE.code, sign))
        found = self._weighted(inner, weight)
        self._terms.append(Scaled(found.mantissa[None], found.exponent[None]))
        self._count += 1
        if self._count >= _AT_ONCE:
            self._fold_terms()

    def finish(self) -> tuple[Scaled, Scaled]:
        """Return the meta-objective (B,) and its derivative in the sum of terms, once time `steps` was reached."""
        self._fold_terms()
        if self._total is None:
            came = f"one that weighs no time at all in {self.steps} steps"
            bad_value(type(self.objective).__name__, "weight", came, "a number for at least one time t = 0..T")
        value, slope = self.objective.finish(self._total, self.steps)
        self._slope = slope
        if self.plain:
            self._note_value(value, slope)
        self._note_no_number()
        if self.kept is not None:
            nothing = self.xp.zeros_like(slope.mantissa)
            slope = Scaled(self.xp.where(self.kept, slope.mantissa, nothing), slope.exponent)
        return value, slope

    def pulled(
        self, carry: Carry, t: int, slope: Scaled, *, per_task: bool, exponent: Array | None = None
    ) -> Pulled | None:
        """Return the derivative of the meta-objective in what stands at time t, or None if it has no weight.

        It has the `exponent`, (B,), where it may (`metagrad.unroll.rescale.beside`) and another is not given by itself.
        """
        if self.weight(t) is None:
            return None
        if self.joint:
            return self._pulled_jointly(carry, t, slope, per_task=per_task, exponent=exponent)
        factor, pull = self._linearised(carry, t)
        factor = slope * factor
        if self.plain:
            (w_bar,) = pull(factor.to_float(out_of_range="ieee"))
            return Pulled((w_bar, nothing_like(carry.state)), self.xp.zeros(self.batch, dtype=np.int64))
        (w_bar,) = pull(filled(self.xp, self.batch, 1, self.dtype))
        self._note_slope(carry, t, w_bar)
        digits, power = beside_or_alone(factor, exponent)
        return Pulled((task_by_task(w_bar, digits), nothing_like(carry.state)), power)

    def _note_slope(self, carry: Carry, t: int, slope: Tree) -> None:
        """Note the gradient of the measure at the last w, which is that of the loss where it is ours of the loss."""
        if t == self.steps:
            self._pulled_at = carry.w, slope
            self.slope_at = self._pulled_at if type(self.measure) is Loss else None

    def _pulled_jointly(self, carry: Carry, t: int, slope: Scaled, *, per_task: bool, exponent: Array | None) -> Pulled:
        found, pull = self.measured.pulled_jointly(carry, t, filled(self.xp, self.batch, 1, self.dtype))
        weight, degree = self.weight(t), self._degree
        assert weight is not None
        factor = slope * self._weighted(self._term_at(carry, t, found).slope, weight)
        digits, power, top = factor.mantissa, factor.exponent, 0
        if self.plain:
            digits = of_phi = factor.to_float(out_of_range="ieee")
            power = self.xp.zeros(self.batch, dtype=np.int64)
        else:  # phi stands beside the true w, not beside its digits
            of_phi, top = summed(Scaled(digits, power + self._power(carry, degree)), per_task=per_task)
            power = power + self._power(carry, None if degree is None else degree - 1)
            digits, power = beside_or_alone(Scaled(digits, power), exponent)
        phi_bar, *slopes = pull(of_phi)
        adjoint = task_by_task(tuple(slopes), digits)
        if self.xp is np and digits.all():
            self._pulled_at = carry.w, slopes[0]
        else:  # zeros are strong
            adjoint = cleared(adjoint, digits == 0)
        return Pulled(adjoint, power, phi_bar, top)

    def tangent(self, carry: Carry, t: int, d_phi: Tree, tangent: tuple[Tree, Tree], exponent: Array) -> Scaled | None:
        """Return the derivative of weight * inner(term) along d_phi and along tangent * 2**exponent, or None."""
        weight = self.weight(t)
        if weight is None:
            return None
        if not self.joint:
            factor, w_bar = self.term_slope(carry, t)
            return factor * Scaled.of(slope_along(w_bar, tangent[0]), exponent)
        degree, (found, along, beside) = self._degree, self.measured.tangents(carry, t, d_phi, tangent)
        factor = self._weighted(self._term_at(carry, t, found).slope, weight)
        moved = Scaled.of(along, exponent + self._power(carry, None if degree is None else degree - 1))
        return factor * (moved + Scaled.of(beside, self._power(carry, degree)))

    def moved(self, carry: Carry, near: Array, t: int) -> Array | None:
        """Return log2 of what the objective, which is finished, changes from a state to where `near` is measured."""
        weight = self.weight(t)
        if weight is None or self._slope is None:
            return None
        known, power = self._term_at(carry, t), self._power(carry, self._degree)
        change = abs(near - known.found)  # beside its exponent
        slope = self._slope * self._weighted(known.slope, weight)
        return slope.log2abs() + log2_of(change) + power

    def term_slope(self, carry: Carry, t: int) -> tuple[Scaled, Tree]:
        """Return weight * inner'(term) * 2**((degree - 1) exponent) and d term/d w at time t, which has a weight."""
        factor, pull = self._linearised(carry, t)
        (w_bar,) = pull(filled(self.xp, self.batch, 1, self.dtype))
        return factor, w_bar

    def direction(self, carry: Carry, t: int) -> Tree:
        """Return d term/d w at time t, which has a weight, times some number for each task that is not zero."""
        known = self._pulled_at
        return known[1] if known is not None and known[0] is carry.w else self.term_slope(carry, t)[1]

    def _linearised(self, carry: Carry, t: int) -> tuple[Scaled, Any]:
        """Return weight * inner'(term) * 2**((degree - 1) exponent), not normalised, and the pullback of the term."""
        degree, weight = self._degree, self.weight(t)
        found, pull = self._term_and_pullback(carry, t)
        assert weight is not None
        factor = self._weighted(self._term_at(carry, t, found).slope, weight)
        power = self._power(carry, None if degree is None else degree - 1)
        return Scaled(factor.mantissa, factor.exponent + power), pull

    def _term_and_pullback(self, carry: Carry, t: int) -> tuple[Array | None, Any]:
        """Return the term, unless it need not be computed, and its pullback to w."""
        sample, measure, terms = self.measured.sample(t), self.measure, self.measured.terms
        slope = None if self.joint else measure.gradient(self.task, carry.w, sample)
        if slope is None:
            known = None if terms is None else terms.pullback(t, carry.w)
            if known is not None:
                return None, known
            pullback = self.measured.recorded(carry, t)
            return pullback.out, pullback
        return None, lambda cotangent: (task_by_task(slope, cotangent),)

    def _term_at(self, carry: Carry, t: int, found: Array | None = None) -> Term:
        """Return what the objective measures at time t; `found`, (B,), where that has been computed."""
        known = self._known.get(t)
        if known is None:
            found = self.measured.at(carry, t) if found is None else found
            self._check(found)
            term = Scaled.of(found, self._power(carry, self._degree))
            self._note_low(found, carry)
            known = Term(term, *self.objective.inner(term), found)
            self._known.keep(t, known)
        elif found is not None and self.xp is np and not same(found, known.found):
            self.measured.look_again(carry, t, known.found)
        return known

    def _note_low(self, found: Array, carry: Carry) -> None:
        """Note where what is measured has lost its digits, or all of it, though the state is not zero."""
        xp, tiny = self.xp, 2.0 ** float_info(self.dtype).min_exponent
        if type(found) is Scaled or (xp is np and found.min() >= tiny):
            return
        low = (abs(found) < tiny) & (magnitude(carry.w) > 0)
        power = math.log2(tiny) + self._power(carry, self._degree)
        self._low = xp.maximum(self._low, xp.where(low, power, -np.inf))

    def low(self) -> Array:
        """Return whether a term that fell out of the range of floats may count, (B,)."""
        if self.xp is np and self._low.max() == -np.inf:
            return np.zeros(self.batch, dtype=bool)
        if parts.takes_a_logarithm(self.objective):
            return self._low > -np.inf
        assert self._total is not None
        heaviest = max(w.log2abs() for t in range(self.steps + 1) if (w := self.weight(t)) is not None)
        most = self._low + heaviest + math.log2(self.steps + 1.0)
        return most > self._total.log2abs() + 2 * math.log2(float_info(self.dtype).eps)

    def _fold_terms(self) -> None:
        xp = self.xp
        kept = [(x.mantissa, x.exponent) for x in self._terms]
        if self._total is not None:
            kept = [(self._total.mantissa[None], self._total.exponent[None]), *kept]
        if kept:
            rows = Scaled(*(xp.concatenate(columns) for columns in zip(*kept, strict=True)))
            self._total = Scaled(rows.mantissa[0], rows.exponent[0]) if len(rows.mantissa) == 1 else rows.sum(axis=0)
        self._terms, self._count = [], 0

    def _note_no_number(self) -> None:
        """Say so where what is measured left the range: the measure is a plain float, though the state is in range."""
        assert self._total is not None
        if self.xp is np and np.isfinite(self._total.mantissa).all():
            return
        self.monitor.flush()  # what the state did came first
        self.monitor.note(self.steps, range_code("OBJECTIVE", abs(self._total.mantissa), tiny=0.0))

    def _note_value(self, value: Scaled, slope: Scaled) -> None:
        xp = self.xp
        tiny = 2.0 ** float_info(self.dtype).min_exponent
        assert self._total is not None
        if all(surely_in_range(number) for number in (self._total, value, slope)):
            return
        code = range_code("OBJECTIVE", abs(self._total.to_float(out_of_range="ieee")), tiny)
        for number in (value, slope):
            later = range_code("OBJECTIVE", abs(number.to_float(out_of_range="ieee")), tiny)
            code = xp.where(code == 0, later, code)
        self.monitor.flush()  # what the state did came first
        self.monitor.note(self.steps, code)

    def _power(self, carry: Carry, degree: int | None) -> Array | int:
        return degree * carry.exponent if self.scale_state and degree is not None else 0

    def _weighted(self, x: Scaled, weight: Scaled) -> Scaled:
        if weight is UNIT_WEIGHT:
            return x
        # weights are host scalars in float64: their digits are rounded to the dtype of the task
        xp = self.xp
        return x * Scaled(xp.asarray(weight.mantissa, dtype=self.dtype), xp.asarray(weight.exponent))
