"""The driver that owns time: it steps, keeps exponents beside digits, and adds up the meta-objective on the way.

State scaling. Where the step is homogeneous, U(phi, s w) = s U(phi, w), the true state is carry.w * 2**carry.exponent
and the exponent passes through the step unchanged: exact at any horizon. Elsewhere the exponent stays zero and a
state that leaves the range is reported by its Status.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.errors import Status
from metagrad.measures import UNIT_WEIGHT
from metagrad.protocols import Estimate, GradientKind, MetaObjective, Optimizer, Start, Task, Tree
from metagrad.scaled import Scaled, surely_in_range, surely_positive
from metagrad.unroll.digits import Digits
from metagrad.unroll.monitor import Monitor, range_code
from metagrad.unroll.rescale import along_tasks, exponent_limit, is_float_array, magnitude, normalise, shift
from metagrad.unroll.steps import StepRule, sample_of
from metagrad.xp import Array, float_info, namespace, rng

Scaling = Literal["auto", "adjoint", "none"]


class Carry(NamedTuple):
    """The state at one time: the true parameters are w * 2**exponent, the true optimizer state likewise."""

    w: Tree
    state: Tree
    exponent: Array  # (B,) int64


class _Term(NamedTuple):
    """What the objective measures, what it makes of it, and the derivative of that; each (B,)."""

    term: Scaled
    inner: Scaled
    slope: Scaled


_MOST_KNOWN = 256


@dataclass(frozen=True)
class Options:
    """How to differentiate: which gradient, and what is carried beside the digits.

    `gradient`: "full", or "stop_gradient" to hold the optimizee's gradient constant (another number, at times of
    another sign). `scaling`: "auto" scales adjoints always and states where that is exact, "adjoint" only adjoints,
    "none" is plain floating point. `per_task`: phi leads with B and so does the meta-gradient.
    """

    gradient: GradientKind = "full"
    scaling: Scaling = "auto"
    per_task: bool = False


class Unroll:
    """One unroll of `steps` steps of `optimizer` on `task`, valued by `objective`."""

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        objective: MetaObjective,
        steps: int,
        seed: int,
        options: Options,
        start: Start | None = None,
    ) -> None:
        """Bind the parts; `start` and `advance` then move a `Carry` through time."""
        self.task, self.optimizer, self.objective = task, optimizer, objective
        self.steps, self.seed, self.options = steps, seed, options
        w: Tree = task.init(rng(seed, "init")) if start is None else start.w
        self._state0: Tree = None if start is None else start.state
        self.offset = 0 if start is None else start.t
        first = next(leaf for leaf in ad.leaves(w) if is_float_array(leaf))
        self.xp, self.dtype, self.batch = namespace(first), first.dtype, first.shape[0]
        self.limit = exponent_limit(self.dtype)
        self.scheduled = hasattr(optimizer, "at")
        self._at: Callable[[Tree, int], Tree] = getattr(optimizer, "at", lambda phi, t: phi)
        homogeneous = getattr(task, "degree", None) == 2 and getattr(optimizer, "homogeneous", False)
        self.scale_state = options.scaling == "auto" and homogeneous and objective.degree(task) is not None
        self.monitor = Monitor(self.xp, self.batch, self.dtype)
        self._digits = Digits(steps)
        self._lost: Array | None = None
        self.w0 = w
        self._frontier = 0
        self._last: Carry | None = None
        self._terms: list[Scaled] = []
        self._known: dict[int, _Term] = {}  # the latest ones: the backward sweep asks for them once more
        self._total: Scaled | None = None

    def start(self) -> Carry:
        """Return the state before the first step."""
        state = self.optimizer.init(self.w0) if self._state0 is None else self._state0
        return self._settle(Carry(self.w0, state, self.xp.zeros(self.batch, dtype=np.int64)), 0)

    def end(self) -> Start:
        """Return where the unroll has arrived."""
        assert self._last is not None, "the last step has not been taken"
        w, state = shift((self._last.w, self._last.state), self._last.exponent)
        return Start(w, state, self.offset + self.steps)

    def phi_at(self, phi: Tree, t: int) -> Tree:
        """Return the meta-parameters of step t."""
        return self._at(phi, t)

    def advance(self, rule: StepRule, phi: Tree, carry: Carry, lo: int, hi: int) -> Carry:
        """Return the state at `hi` from the state at `lo`; what is seen for the first time enters the objective."""
        for t in range(lo, hi):
            w, state = rule.step(t, self.phi_at(phi, t), carry.w, carry.state)
            carry = self._settle(Carry(w, state, carry.exponent), t + 1)
        return carry

    def record(self, rule: StepRule, phi: Tree, carry: Carry, lo: int, hi: int) -> list[Carry]:
        """Return the states at lo..hi from the state at `lo`."""
        kept = [carry]
        for t in range(lo, hi):
            kept.append(self.advance(rule, phi, kept[-1], t, t + 1))
        return kept

    def _settle(self, carry: Carry, t: int) -> Carry:
        fresh = t >= self._frontier
        if self.scale_state or fresh:
            size = magnitude((carry.w, carry.state))
            if t == 0 and fresh:
                self.monitor.start(size)
            if fresh:
                self.monitor.observe("STATE", t, size)
            if self.scale_state:
                (w, state), exponent = normalise((carry.w, carry.state), carry.exponent, size, self.limit)
                carry = Carry(w, state, exponent)
        self.reach(carry, t)
        return carry

    def observe_block(self, lo: int, sizes: Array) -> None:
        """Note the sizes (n, B) of the states at lo+1..lo+n, where they are seen for the first time."""
        fresh = max(0, self._frontier - lo - 1)
        if fresh < len(sizes):
            self.monitor.observe_block("STATE", lo + 1 + fresh, sizes[fresh:])

    def reach(self, carry: Carry, t: int) -> None:
        """Let the state at t enter the objective, the first time it is reached."""
        if t >= self._frontier:
            self._frontier = t + 1
            self._last = carry
            weight = self.objective.weight(t, self.steps)
            self._digits.see(carry, t, in_sum=weight is not None)
            if weight is not None:
                self._collect(carry, t, weight)

    def _term_at(self, carry: Carry, t: int, found: Array | None = None) -> _Term:
        """Return what the objective measures at time t; `found`, (B,), where that has been computed."""
        if t not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self.objective.term(self.task, carry.w, self.sample(t)) if found is None else found
            term = Scaled.of(found, self._power(carry, self.objective.degree(self.task)))
            self._known[t] = _Term(term, *self.objective.inner(term))
        return self._known[t]

    def _collect(self, carry: Carry, t: int, weight: Scaled) -> None:
        term, inner, _ = self._term_at(carry, t)
        if self.objective.logarithmic and not surely_positive(term):
            sign = self.xp.where(term.mantissa == 0, Status.LOG_OF_ZERO.code, 0)
            self.monitor.note(t, self.xp.where(term.mantissa < 0, Status.LOG_OF_NEGATIVE.code, sign))
        self._terms.append(self._weighted(inner, weight))
        if len(self._terms) >= 256:
            self._fold_terms()

    def _fold_terms(self) -> None:
        xp = self.xp
        kept = self._terms if self._total is None else [self._total, *self._terms]
        if len(kept) == 1:
            self._total = kept[0]
        elif kept:
            mantissas, exponents = (xp.stack([getattr(s, part) for s in kept]) for part in ("mantissa", "exponent"))
            self._total = Scaled(mantissas, exponents).sum(axis=0)
        self._terms = []

    def finish(self) -> tuple[Scaled, Scaled]:
        """Return the meta-objective (B,) and its derivative in the sum of terms, once time `steps` was reached."""
        self._fold_terms()
        assert self._total is not None, "the objective weighs no time at all"
        value, slope = self.objective.finish(self._total, self.steps)
        if self.options.scaling == "none":
            self._note_value(value, slope)
        self._note_no_number()
        self._lost = self._digits.lost(self)
        return value, slope

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

    def objective_adjoint(self, carry: Carry, t: int, slope: Scaled) -> tuple[Tree, Array] | None:
        """Return the derivative of the meta-objective in w at time t as (tree, exponent), or None if there is none."""
        if self.objective.weight(t, self.steps) is None:
            return None
        factor, pull = self._linearised(carry, t)
        factor = slope * factor
        if self.options.scaling == "none":
            (w_bar,) = pull(factor.to_float(out_of_range="ieee"))
            return w_bar, self.xp.zeros(self.batch, dtype=np.int64)
        (w_bar,) = pull(self.xp.ones(self.batch, dtype=self.dtype))
        return ad.tree_map(lambda leaf: leaf * along_tasks(factor.mantissa, leaf), w_bar), factor.exponent

    def objective_tangent(self, carry: Carry, t: int, d_w: Tree, exponent: Array) -> Scaled | None:
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
        degree, weight = self.objective.degree(self.task), self.objective.weight(t, self.steps)
        found, pull = self._term_and_pullback(carry, t)
        assert weight is not None
        factor = self._weighted(self._term_at(carry, t, found).slope, weight)
        power = self._power(carry, None if degree is None else degree - 1)
        return Scaled(factor.mantissa, factor.exponent + power), pull

    def _term_and_pullback(self, carry: Carry, t: int) -> tuple[Array | None, Any]:
        """Return the term, unless it need not be computed, and its pullback."""
        sample, known = self.sample(t), getattr(self.objective, "term_gradient", None)
        slope = None if known is None else known(self.task, carry.w, sample)
        if slope is None:
            return ad.vjp(lambda w: self.objective.term(self.task, w, sample), carry.w)
        return None, lambda cotangent: (ad.tree_map(lambda leaf: leaf * along_tasks(cotangent, leaf), slope),)

    def estimate(self, value: Scaled, grad: Tree, end: Start | None = None) -> Estimate:
        """Return the estimate, with the status of every task; plain numbers are checked for their own range."""
        if self.options.scaling == "none":
            self._note_gradient(grad)
        if self._lost is not None:  # the least of all troubles: where there is another, that one is said
            self.monitor.flush()
            self.monitor.note(self.steps, self._lost)
        status, step = self.monitor.finish()
        return Estimate(value, grad, status, step, end=end)

    def _note_gradient(self, grad: Tree) -> None:
        if all(surely_in_range(leaf) for leaf in ad.leaves(grad)):
            return
        code = self.xp.zeros(self.batch, dtype=np.int64)
        axis = 1 if self.scheduled else 0
        for leaf in ad.leaves(grad):
            status = leaf.range_status()
            if self.options.per_task:
                rows = self.xp.moveaxis(status, axis, 0).reshape(self.batch, -1)
                code = self.xp.maximum(code, rows.max(axis=1))
            else:  # a sum over tasks: whoever spoilt it has a status already, or all share it
                code = self.xp.maximum(code, status.max())
        self.monitor.flush()
        clean = (self.monitor.status == 0).all() | self.options.per_task
        self.monitor.note(0, self.xp.where(clean, code, 0))

    def sample(self, t: int) -> Any:
        """Return the randomness of time t."""
        return sample_of(self.task, self.seed, self.offset + t, self.xp)

    def _power(self, carry: Carry, degree: int | None) -> Array | int:
        return degree * carry.exponent if self.scale_state and degree is not None else 0

    def _weighted(self, x: Scaled, weight: Scaled) -> Scaled:
        if weight is UNIT_WEIGHT:
            return x
        # weights are host scalars in float64: their digits are rounded to the dtype of the task
        xp = self.xp
        return x * Scaled(xp.asarray(weight.mantissa, dtype=self.dtype), xp.asarray(weight.exponent))

    def carry_bytes(self, carry: Carry) -> int:
        """Return the memory of one state."""
        return sum(int(leaf.nbytes) for leaf in ad.leaves(tuple(carry)) if hasattr(leaf, "nbytes"))

    def true_w(self, carry: Carry) -> Tree:
        """Return the parameters as floats, for callbacks and tests; they may overflow."""
        return shift(carry.w, carry.exponent)


def _inner(a: Array, b: Array) -> Array:
    return (a * b).reshape(a.shape[0], -1).sum(axis=1)
