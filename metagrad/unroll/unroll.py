"""The driver that owns time: it steps, keeps exponents beside digits, and adds up the meta-objective on the way.

State scaling. Where the step is homogeneous, U(phi, s w) = s U(phi, w), the true state is carry.w * 2**carry.exponent
and the exponent passes through the step unchanged: exact at any horizon. Elsewhere the exponent stays zero and a
state that leaves the range is reported by its Status.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.errors import Status, bad_value
from metagrad.measures import as_measure
from metagrad.protocols import Digits, Estimate, Joint, Position, Tree
from metagrad.scaled import Scaled, surely_finite, surely_in_range
from metagrad.system import Training
from metagrad.unroll import half, stretch
from metagrad.unroll.carry import Ask, Carry, Options
from metagrad.unroll.claims import check_rule, check_state, check_step, check_task
from metagrad.unroll.digits import LOG10_2, Known, cancellation, free_digits
from metagrad.unroll.growth import Grown
from metagrad.unroll.lost import Lost
from metagrad.unroll.monitor import Monitor
from metagrad.unroll.nudge import nudged
from metagrad.unroll.phi import Shape, bare, check_entries, first_float, prepare, restore
from metagrad.unroll.purity import refuse_kept
from metagrad.unroll.record import Recorder
from metagrad.unroll.rescale import (
    along_tasks,
    bounded,
    exponent_limit,
    is_float_array,
    magnitude,
    normalise,
    shift,
    widened,
)
from metagrad.unroll.steps import StepKernel
from metagrad.unroll.tally import Tally, Times
from metagrad.unroll.trust import Trust
from metagrad.xp import Array, namespace


class Unroll:
    """One unroll of `steps` steps of a rule on a task with the meta-parameters phi, valued by an objective."""

    def __init__(self, ask: Ask, options: Options, where: str) -> None:
        """Bind the parts; `start` and `advance` then move a `Carry`. `where` names the caller in errors."""
        self.options = options
        self._bind(ask)
        self.offset, at = ask.offset, ask.at
        phi = bare(ask.phi)
        self.joint = isinstance(phi, Joint)
        if isinstance(phi, Joint):
            phi = Joint(parts.complete_phi(ask.rule, phi.rule, where), parts.check_given(ask.task, phi.task, where))
        else:
            phi = parts.complete_phi(ask.rule, phi, where)
        self.given = Joint(phi) if isinstance(ask.phi, Joint) and not self.joint else phi
        w = self.system.like(phi) if at is None else at.w
        first = first_float(w, where)
        self.xp, self.dtype, self.batch = namespace(first), first.dtype, first.shape[0]
        if at is not None and np.shape(at.exponent) != (self.batch,):
            came, expected = f"with an exponent of shape {np.shape(at.exponent)}", f"one a task, ({self.batch},)"
            bad_value(where, "at", came, expected, "Take it from `Estimate.end`, or from `metagrad.system.begin`.")
        self.entries = self.system.entries(phi)
        check_entries(phi, self.entries, ask, where)
        self.is_half = options.scaling != "none" and half.is_half(ask, self.dtype)
        shape = Shape.of(w, self.xp, per_task=options.per_task)
        self.phi = prepare(phi, self.entries, replace(shape, dtype=half.HALF) if self.is_half else shape, where)
        if self.is_half:
            self._bind(half.widened(ask))
            self.dtype, self.phi, at = half.SINGLE, half.wide(self.phi), self.ask.at
            w = self.system.example() if at is None else at.w
        self.system.xp = self.xp
        if at is not None:
            self.begins = at.w, at.state  # before the first step
        else:
            self.begins = self.system.start(self.phi, None if self.joint else w)
            check_state(self.rule, self.begins[1], "init", self.batch)
        self.wide = options.wide or any(type(leaf) is Scaled for leaf in ad.leaves(w))
        if self.wide:
            self.begins, self.phi = widened(self.begins), widened(self.phi)
        self.w0 = self.begins[0]
        self.limit = exponent_limit(self.dtype)
        self.scale_state = options.scaling == "auto" and not self.wide and self._is_homogeneous()
        self.monitor = Monitor(self.xp, self.batch, self.dtype)
        self._trust = Trust(ask.steps)
        self.lost = Lost(self.w0, limit=self.limit, scaled=self.scale_state, precise=options.precise)
        plain = options.scaling == "none"
        self.tally = Tally(
            self.system,
            self.objective,
            self.phi,
            Times(ask.steps, self.offset),
            self.monitor,
            self.w0,
            scale_state=self.scale_state,
            plain=plain,
        )
        check_task(self.tally.task, self.w0, partial(self.system.sample, self.offset))
        self.recorder = Recorder(self.xp, ask.steps) if options.record else None
        self.grown: Grown | None = None  # what a sweep has seen grow
        self.spread: Tree | None = None  # of what steps give to the meta-gradient, the sum of magnitudes
        self.frontier = 0
        self._last: Carry | None = None
        self._unset = [leaf for leaf in ad.leaves(self.begins[1]) if _is_unset(leaf)]

    def _bind(self, ask: Ask) -> None:
        self.ask = ask
        self.task, self.rule, self.objective, self.steps = ask.task, ask.rule, ask.objective, ask.steps
        self.system = Training(ask.task, ask.rule, ask.seed, gradient=self.options.gradient, steps=ask.horizon)

    def keep(self, kept: Array) -> None:
        """Let the tasks that are not kept (B,) stay at the start of one that is, and weigh nothing."""
        first = int(kept.argmax())

        def placed(leaf: Any) -> Any:
            if not is_float_array(leaf):
                return leaf
            return namespace(leaf).where(along_tasks(kept, leaf), leaf, leaf[first])

        self.system.kept = self.tally.kept = kept
        self.begins = ad.tree_map(placed, self.begins)
        self.w0 = self.begins[0]

    def _is_homogeneous(self) -> bool:
        """Whether scaling the state scales the next one, and the measure by a power."""
        task, rule = self.system.given(self.phi), self.rule
        if parts.degree(task) != 2 or not parts.is_homogeneous(rule) or parts.answer_of(rule) is not None:
            return False
        return as_measure(type(self.objective).__name__, self.objective.measure).degree(task) is not None

    def start(self) -> Carry:
        """Return the state before the first step."""
        exponent, (w, state) = self.xp.zeros(self.batch, dtype=np.int64), self.begins
        if self.ask.at is not None and self.scale_state:
            exponent = self.ask.at.exponent
        elif self.ask.at is not None:
            w, state = shift((w, state), self.ask.at.exponent)
        return self._settle(Carry(w, state, exponent), 0)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has been run yet."""
        return self.frontier == 0

    def other_entries(self) -> tuple[int, int]:
        """Return how many entries of leaves that lead with time belong to steps before and after these."""
        if self.entries is None:
            return 0, 0
        led = [x for x, is_led in zip(ad.leaves(self.phi), ad.leaves(self.entries), strict=True) if is_led]
        return self.offset, led[0].shape[0] - self.offset - self.steps if led else 0

    def start_pullback(self) -> ad.Pullback | None:
        """Return the pullback of the start to phi, or None where the start owes nothing to phi."""
        if self.ask.at is not None or not (self.joint or ad.leaves(self.begins[1])):
            return None
        w = self.w0
        of_state = None if self.joint else (lambda phi: (w, self.system.state(phi, w)))
        _, pull = ad.vjp(self.system.start if of_state is None else of_state, self.phi)
        return pull if pull.depends else None

    def position(self, carry: Carry, t: int) -> Position:
        """Return the position of the state at t, counted from where the unroll begins."""
        return Position(carry.w, carry.state, carry.exponent, self.offset + t)

    def end(self) -> Position:
        """Return where the unroll has arrived."""
        assert self._last is not None, "the last step has not been taken"
        return self.position(self._last, self.steps)

    def phi_at(self, t: int) -> Tree:
        """Return the meta-parameters of step t, counted from where the unroll begins."""
        return self.phi if self.entries is None else self.system.phi_at(self.phi, self.offset + t)

    def advance(self, kernel: StepKernel, carry: Carry, lo: int, hi: int) -> Carry:
        """Return the state at `hi` from the state at `lo`; what is seen for the first time enters the objective."""
        t = lo
        while t < hi:
            more = stretch.ahead(self, kernel, carry, t, hi) or [self._step(kernel, carry, t)]
            t, carry = t + len(more), more[-1]
        return carry

    def _step(self, kernel: StepKernel, carry: Carry, t: int) -> Carry:
        w, state = kernel.step(t, self.phi_at(t), carry.w, carry.state)
        refuse_kept(self.rule, w)
        if self.wide:
            w, state = bounded((w, state))
        after = Carry(w, state, carry.exponent)
        if t == 0:
            self.check_first(carry, after)
        return self._settle(after, t + 1)

    def check_first(self, carry: Carry, after: Carry) -> None:
        """Check the first step, when it is taken for the first time."""
        if self.frontier <= 1:
            check_step(self.rule, carry[:2], after[:2], batch=self.batch, per_task=self.options.per_task)
        if self.frontier <= 1 and self.scale_state and not self.system.is_ours:
            check_rule(self.system, self.offset, self.phi_at(0), carry.w, carry.state)

    def record(self, kernel: StepKernel, carry: Carry, lo: int, hi: int) -> list[Carry]:
        """Return the states at lo..hi from the state at `lo`."""
        kept = [carry]
        while (t := lo + len(kept) - 1) < hi:
            kept += stretch.ahead(self, kernel, kept[-1], t, hi) or [self.advance(kernel, kept[-1], t, t + 1)]
        return kept

    def _settle(self, carry: Carry, t: int) -> Carry:
        fresh = t >= self.frontier
        if self.scale_state or fresh:
            size = magnitude((carry.w, self._watched(carry.state)))
            if t == 0 and fresh:
                self.monitor.start(size)
            if fresh:
                self.monitor.observe("STATE", t, size)
                self.lost.state(size)
                if self.options.count and not self.scale_state:
                    self.lost.count((carry.w, carry.state))
                if self.recorder is not None:
                    self.recorder.state(t, size, carry.exponent)
            if self.scale_state:
                (w, state), exponent = normalise((carry.w, carry.state), carry.exponent, size, self.limit)
                carry = Carry(w, state, exponent)
                if fresh and self.xp is np:
                    self.lost.dip(t, w)
        if self.options.copy:
            carry = carry._replace(w=nudged(carry.w, self.options.copy, self.offset + t))
        self.reach(carry, t)
        return carry

    def _watched(self, state: Tree) -> Tree:
        """Return the state with zeros where it is inf since the start: that means "none yet", and is no overflow."""
        if not self._unset:
            return state

        def seen(leaf: Any, first: Any) -> Any:
            if not is_float_array(leaf) or leaf.shape != first.shape:
                return leaf
            xp = namespace(leaf)
            return xp.where(xp.isinf(first) & (leaf == first), xp.zeros_like(leaf), leaf)

        return ad.tree_map(seen, state, self.begins[1])

    @property
    def watches_some(self) -> bool:
        """Whether the state has entries that are inf since the start, which is no overflow."""
        return bool(self._unset)

    def reach_many(
        self, carries: list[Carry], t: int, found: Array | None, sizes: stretch.Sizes, rows: Array | None
    ) -> None:
        """Let the states from t on enter the objective, which are reached for the first time.

        `found`: what is measured at the first of them, None where that is not known; `rows`, (n, B): the largest entry
        of each, None where all are in the range.
        """
        if rows is not None:
            self.monitor.flush()  # what earlier steps did came first
            self.monitor.observe_block("STATE", t, rows)
        self.lost.states(sizes)
        self.frontier, self._last = t + len(carries), carries[-1]
        weights = self.tally.weights(range(t, self.frontier))
        self._trust.see_many(carries, t, weights)
        self.tally.add_many(carries, t, found, weights)

    def observe_block(self, lo: int, sizes: Array) -> None:
        """Note the sizes (n, B) of the states at lo+1..lo+n, where they are seen for the first time."""
        fresh = max(0, self.frontier - lo - 1)
        if fresh < len(sizes):
            self.monitor.observe_block("STATE", lo + 1 + fresh, sizes[fresh:])
            self.lost.state(sizes[fresh:].max(axis=0))

    def reach(self, carry: Carry, t: int) -> None:
        """Let the state at t enter the objective, the first time it is reached."""
        if t >= self.frontier:
            self.frontier = t + 1
            self._last = carry
            weight = self.tally.weight(t)
            self._trust.see(carry, t, in_sum=weight is not None)
            if weight is not None:
                self.tally.add(carry, t, weight)

    def reach_all(self, carries: list[Carry], t: int, found: list[Array], weights: list[Scaled]) -> None:
        """Let states from t on, reached for the first time, enter the objective; what is measured at each was found."""
        self.frontier, self._last = t + len(carries), carries[-1]
        self._trust.see_many(carries, t, list(weights))
        self.tally.add_all(carries, t, found, weights)

    def estimate(self, value: Scaled, grad: Tree) -> Estimate:
        """Return the estimate, with the status of every task; `grad` as of the prepared phi, or None.

        Plain numbers are checked for their own range.
        """
        notes: list[str] = []
        rows = self.batch if self.options.per_task else 1
        cancelled = None if grad is None or self.spread is None else cancellation(grad, self.spread, rows)
        if grad is not None:
            grad = restore(grad, self.given, self.batch, per_task=self.options.per_task)
            self._note_gradient(grad)
            lost = self._lost()
            if lost is not None and self.joint:
                notes += _rounding_note(lost)
            elif lost is not None:  # the least of all troubles: where there is another, that one is said
                self.monitor.flush()
                self.monitor.note(self.steps, lost)
        elif self.tally.measure.name == "excess" and (lost := self._lost()) is not None:
            # A state that has converged to its last digits is at the floor: what is above it is rounding.
            self.monitor.flush()
            self.monitor.note(self.steps, self.xp.where(lost != 0, Status.VALUE_ROUNDING.code, 0))
        if self.joint and self.ask.at is not None:
            notes.append(
                f"The run before step {self.offset} is held constant: what the start owes to the task's "
                "meta-parameters is not in their gradient."
            )
        digits = self._digits(value, grad, cancelled)
        self._note_zero(value)
        status, step = self.monitor.finish()
        record = None if self.recorder is None or grad is None else self.recorder.result()
        growth = self.xp.zeros(self.batch) if self.scale_state else None  # homogeneous steps: nothing grows beside w
        growth = growth if self.grown is None else LOG10_2 * self.grown.chaos
        end, told = self.end(), tuple(notes)
        found = Estimate(value, grad, status, step, end=end, notes=told, record=record, digits=digits, growth=growth)
        return self.as_given(found)

    def _digits(self, value: Scaled, grad: Tree, cancelled: Array | None) -> Digits:
        """Return the digits that are known without another run; where there is none by far, note it."""
        floor = None if self.joint else self._trust.floor
        known = Known(self.grown, self._trust.of_measure(self.tally), floor, cancelled)
        digits, code = free_digits(value, known, shared=not self.options.per_task, has_gradient=grad is not None)
        if code is not None:
            self.monitor.flush()
            self.monitor.note(self.steps, code)
        return digits

    def as_given(self, estimate: Estimate) -> Estimate:
        """Return the estimate with its digits in the dtype of the task, of which it may be carried in a wider one."""
        return half.narrowed(estimate) if self.is_half else estimate

    def _note_zero(self, value: Scaled) -> None:
        """Note where w ended at exactly zero, whatever the state of the rule; in plain floats what is measured, too."""
        xp = self.xp
        if xp is np and value.mantissa.all():
            return
        assert self._last is not None, "the last step has not been taken"
        gone = (value.mantissa == 0) & (magnitude(self._last.w) == 0) & (magnitude(self.w0) > 0)
        self.monitor.flush()
        self.monitor.note(self.steps, xp.where(gone, Status.STATE_ZERO.code, 0))
        if self.options.scaling == "none":  # nothing is run again
            self.monitor.note(self.steps, xp.where(self.tally.low(), Status.OBJECTIVE_UNDERFLOW.code, 0))

    def _lost(self) -> Array | None:
        if parts.answer_of(self.rule) is not None:
            return None  # what is measured is not the w whose gradient is looked at
        return self._trust.lost(self.tally, held=self.options.gradient == "stop_gradient", done=self.offset)

    def _note_gradient(self, grad: Tree) -> None:
        """Note what is no number; and in plain floats what is out of their range."""
        plain = self.options.scaling == "none"
        if all(surely_in_range(leaf) if plain else surely_finite(leaf) for leaf in ad.leaves(grad)):
            return
        code = self.xp.zeros(self.batch, dtype=np.int64)
        led = [False] * len(ad.leaves(grad)) if self.entries is None else ad.leaves(self.entries)
        for leaf, is_led in zip(ad.leaves(grad), led, strict=True):
            status = leaf.range_status() if plain else leaf.finite_status()
            if self.options.per_task:
                rows = self.xp.moveaxis(status, int(is_led), 0).reshape(self.batch, -1)
                code = self.xp.maximum(code, rows.max(axis=1))
            else:  # a sum over tasks: the task that spoilt it has a status already, or all share this one
                code = self.xp.maximum(code, status.max())
        self.monitor.flush()
        clean = (self.monitor.status == 0).all() | self.options.per_task
        self.monitor.note(0, self.xp.where(clean, code, 0))

    def fell(self) -> list[Array]:
        """Return which entries of w that were not zero at the start have been out of the range, leaf by leaf."""
        assert self._last is not None, "the last step has not been taken"
        return self.lost.fallen(self.begins[0], self._last.w)

    def carry_bytes(self, carry: Carry) -> int:
        """Return the memory of one state."""
        return sum(int(leaf.nbytes) for leaf in ad.leaves(tuple(carry)) if hasattr(leaf, "nbytes"))


def _is_unset(leaf: Any) -> bool:
    return is_float_array(leaf) and bool(namespace(leaf).isinf(leaf).any())


def _rounding_note(lost: Array) -> list[str]:
    count = int((lost != 0).sum())
    if not count:
        return []
    return [
        f"In {count} of {len(lost)} tasks the run had converged to its last digits: the gradient in meta-parameters "
        "that multiply the loss's gradient, such as step sizes, is rounding there."
    ]
