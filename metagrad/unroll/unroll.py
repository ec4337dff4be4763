"""The driver that owns time: it steps, keeps exponents beside digits, and adds up the meta-objective on the way.

State scaling. Where the step is homogeneous, U(phi, s w) = s U(phi, w), the true state is carry.w * 2**carry.exponent
and the exponent passes through the step unchanged: exact at any horizon. Elsewhere the exponent stays zero and a
state that leaves the range is reported by its Status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Estimate, Objective, Optimizer, Start, Task, Tree
from metagrad.scaled import Scaled, surely_in_range
from metagrad.unroll.carry import Carry, Options
from metagrad.unroll.digits import Digits
from metagrad.unroll.monitor import Monitor
from metagrad.unroll.rescale import exponent_limit, is_float_array, magnitude, normalise, shift
from metagrad.unroll.steps import StepRule, sample_of
from metagrad.unroll.tally import Tally
from metagrad.xp import Array, namespace, rng


class Unroll:
    """One unroll of `steps` steps of `optimizer` on `task`, valued by `objective`."""

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        objective: Objective,
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
        self.scale_state = options.scaling == "auto" and homogeneous and objective.measure.degree(task) is not None
        self.monitor = Monitor(self.xp, self.batch, self.dtype)
        self._digits = Digits(steps)
        self.tally = Tally(
            task,
            objective,
            steps,
            self.sample,
            self.monitor,
            w,
            scale_state=self.scale_state,
            plain=options.scaling == "none",
        )
        self.w0 = w
        self._frontier = 0
        self._last: Carry | None = None

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
                self.tally.add(carry, t, weight)

    def estimate(self, value: Scaled, grad: Tree, end: Start | None = None) -> Estimate:
        """Return the estimate, with the status of every task; plain numbers are checked for their own range."""
        if self.options.scaling == "none":
            self._note_gradient(grad)
        lost = self._digits.lost(self.tally, held=self.options.gradient == "stop_gradient", done=self.offset)
        if lost is not None:  # the least of all troubles: where there is another, that one is said
            self.monitor.flush()
            self.monitor.note(self.steps, lost)
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

    def carry_bytes(self, carry: Carry) -> int:
        """Return the memory of one state."""
        return sum(int(leaf.nbytes) for leaf in ad.leaves(tuple(carry)) if hasattr(leaf, "nbytes"))
