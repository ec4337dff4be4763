"""The meta-objective along a run: what is measured, weighed and summed, and its derivative at each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad, parts
from metagrad.errors import Status
from metagrad.protocols import Objective, Task, Tree
from metagrad.scaled import Scaled, surely_in_range, surely_positive
from metagrad.transforms import UNIT_WEIGHT
from metagrad.unroll.carry import Carry
from metagrad.unroll.monitor import Monitor, range_code
from metagrad.unroll.rescale import along_tasks, is_float_array
from metagrad.xp import Array, float_info, namespace


class _Term(NamedTuple):
    """What the objective measures, what it makes of it, and the derivative of that; each (B,)."""

    term: Scaled
    inner: Scaled
    slope: Scaled


_MOST_KNOWN = 256


class Tally:
    """finish(sum over t of weight(t) inner(term(w_t))), added up as the times come by."""

    def __init__(
        self,
        task: Task,
        objective: Objective,
        steps: int,
        sample: Callable[[int], Any],
        monitor: Monitor,
        w: Tree,
        *,
        scale_state: bool,
        plain: bool,
    ) -> None:
        """Bind the parts; `w` is any state, for its device, dtype and number of tasks."""
        first = next(leaf for leaf in ad.leaves(w) if is_float_array(leaf))
        self.xp, self.dtype, self.batch = namespace(first), first.dtype, first.shape[0]
        self.task, self.objective, self.steps, self.sample = task, objective, steps, sample
        self.monitor, self.scale_state, self.plain = monitor, scale_state, plain
        self._terms: list[Scaled] = []
        self._known: dict[int, _Term] = {}  # the latest ones: the backward sweep asks for them once more
        self._total: Scaled | None = None

    def add(self, carry: Carry, t: int, weight: Scaled) -> None:
        """Let the state at t, which has a weight and is reached for the first time, enter the sum."""
        term, inner, _ = self._term_at(carry, t)
        if parts.takes_a_logarithm(self.objective) and not surely_positive(term):
            sign = self.xp.where(term.mantissa == 0, Status.LOG_OF_ZERO.code, 0)
            self.monitor.note(t, self.xp.where(term.mantissa < 0, Status.LOG_OF_NEGATIVE.code, sign))
        self._terms.append(self._weighted(inner, weight))
        if len(self._terms) >= 256:
            self._fold_terms()

    def finish(self) -> tuple[Scaled, Scaled]:
        """Return the meta-objective (B,) and its derivative in the sum of terms, once time `steps` was reached."""
        self._fold_terms()
        assert self._total is not None, "the objective weighs no time at all"
        value, slope = self.objective.finish(self._total, self.steps)
        if self.plain:
            self._note_value(value, slope)
        self._note_no_number()
        return value, slope

    def adjoint(self, carry: Carry, t: int, slope: Scaled) -> tuple[Tree, Array] | None:
        """Return the derivative of the meta-objective in w at time t as (tree, exponent), or None if there is none."""
        if self.objective.weight(t, self.steps) is None:
            return None
        factor, pull = self._linearised(carry, t)
        factor = slope * factor
        if self.plain:
            (w_bar,) = pull(factor.to_float(out_of_range="ieee"))
            return w_bar, self.xp.zeros(self.batch, dtype=np.int64)
        (w_bar,) = pull(self.xp.ones(self.batch, dtype=self.dtype))
        return ad.tree_map(lambda leaf: leaf * along_tasks(factor.mantissa, leaf), w_bar), factor.exponent

    def tangent(self, carry: Carry, t: int, d_w: Tree, exponent: Array) -> Scaled | None:
        """Return weight * inner'(term) * (d term/d w) (d_w 2**exponent) at time t, or None if it has no weight."""
        if self.objective.weight(t, self.steps) is None:
            return None
        factor, w_bar = self.term_slope(carry, t)
        products = [_inner(a, b) for a, b in zip(ad.leaves(w_bar), ad.leaves(d_w), strict=True) if is_float_array(a)]
        return factor * Scaled.of(sum(products[1:], products[0]), exponent)

    def term_slope(self, carry: Carry, t: int) -> tuple[Scaled, Tree]:
        """Return weight * inner'(term) * 2**((degree - 1) exponent) and d term/d w at time t, which has a weight."""
        factor, pull = self._linearised(carry, t)
        (w_bar,) = pull(self.xp.ones(self.batch, dtype=self.dtype))
        return factor, w_bar

    def _linearised(self, carry: Carry, t: int) -> tuple[Scaled, Any]:
        """Return weight * inner'(term) * 2**((degree - 1) exponent), not normalised, and the pullback of the term."""
        degree, weight = self.objective.measure.degree(self.task), self.objective.weight(t, self.steps)
        found, pull = self._term_and_pullback(carry, t)
        assert weight is not None
        factor = self._weighted(self._term_at(carry, t, found).slope, weight)
        power = self._power(carry, None if degree is None else degree - 1)
        return Scaled(factor.mantissa, factor.exponent + power), pull

    def _term_and_pullback(self, carry: Carry, t: int) -> tuple[Array | None, Any]:
        """Return the term, unless it need not be computed, and its pullback."""
        sample, measure = self.sample(t), self.objective.measure
        slope = measure.gradient(self.task, carry.w, sample)
        if slope is None:
            return ad.vjp(lambda w: measure.of(self.task, w, sample), carry.w)
        return None, lambda cotangent: (ad.tree_map(lambda leaf: leaf * along_tasks(cotangent, leaf), slope),)

    def _term_at(self, carry: Carry, t: int, found: Array | None = None) -> _Term:
        """Return what the objective measures at time t; `found`, (B,), where that has been computed."""
        if t not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self.objective.measure.of(self.task, carry.w, self.sample(t)) if found is None else found
            term = Scaled.of(found, self._power(carry, self.objective.measure.degree(self.task)))
            self._known[t] = _Term(term, *self.objective.inner(term))
        return self._known[t]

    def _fold_terms(self) -> None:
        xp = self.xp
        kept = self._terms if self._total is None else [self._total, *self._terms]
        if len(kept) == 1:
            self._total = kept[0]
        elif kept:
            mantissas, exponents = (xp.stack([getattr(s, part) for s in kept]) for part in ("mantissa", "exponent"))
            self._total = Scaled(mantissas, exponents).sum(axis=0)
        self._terms = []

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
        self.monitor.note(self.steps, code)

    def _power(self, carry: Carry, degree: int | None) -> Array | int:
        return degree * carry.exponent if self.scale_state and degree is not None else 0

    def _weighted(self, x: Scaled, weight: Scaled) -> Scaled:
        if weight is UNIT_WEIGHT:
            return x
        # weights are host scalars in float64: their digits are rounded to the dtype of the task
        xp = self.xp
        return x * Scaled(xp.asarray(weight.mantissa, dtype=self.dtype), xp.asarray(weight.exponent))


def _inner(a: Array, b: Array) -> Array:
    return (a * b).reshape(a.shape[0], -1).sum(axis=1)
