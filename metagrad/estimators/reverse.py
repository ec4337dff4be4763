"""Reverse mode: backpropagation through the unroll, with adjoints whose exponents cannot run out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.errors import bad_type
from metagrad.kernels import block_kernel, fused_step, lstm_window
from metagrad.protocols import Estimate, GradientKind, Objective, Optimizer, Start, Task, Tree
from metagrad.scaled import Scaled
from metagrad.unroll.accumulate import Accumulator
from metagrad.unroll.block import BlockBackward
from metagrad.unroll.carry import Carry, Options, Scaling
from metagrad.unroll.checkpoint import blocks_in_reverse, make_plan
from metagrad.unroll.phi import prepare, restore
from metagrad.unroll.rescale import add_aligned, is_float_array, magnitude, normalise
from metagrad.unroll.steps import StepRule, TapeStep
from metagrad.unroll.unroll import Unroll
from metagrad.unroll.window import WindowBackward
from metagrad.xp import Array, namespace

_DEFAULT_MEMORY = 1 << 30


@dataclass(frozen=True)
class Reverse:
    """d objective/d phi by lambda_t = (dU/dw)' lambda_{t+1} + d term_t/d w, grad = sum_t (dU/dphi)' lambda_{t+1}.

    `gradient`: "full" differentiates through the optimizee's gradient, "stop_gradient" holds it constant (the first
    is the derivative of the objective; the second another number, at times of another sign).
    `scaling`: "auto" carries exponents beside adjoints, and beside states where the step is homogeneous; "adjoint"
    beside adjoints only; "none" is plain floating point, as any automatic differentiation does it.
    `per_task`: phi and the meta-gradient lead with the task axis.
    `memory`: bytes for kept states; fewer means more recomputation and the same bits (`unroll.checkpoint`).
    `fused`: use a fused kernel where there is one (compiled, with the extra `fast`).
    """

    gradient: GradientKind = "full"
    scaling: Scaling = "auto"
    per_task: bool = False
    memory: int = _DEFAULT_MEMORY
    fused: bool = True

    def __call__(
        self,
        task: Task,
        optimizer: Optimizer,
        objective: Objective,
        phi: Tree,
        *,
        steps: int,
        seed: int = 0,
        start: Start | None = None,
    ) -> Estimate:
        """Return the value and the meta-gradient after `steps` steps.

        `start`: go on from there instead of from the task's own start; then `Estimate.end` is where it arrived. The
        objective counts its own time from 0, and sees both ends. Not for optimizers with meta-parameters of their own
        for every step.
        """
        if start is not None and hasattr(optimizer, "at"):
            bad_type("reverse", "start", "one for a schedule", "an optimizer with one phi for all steps")
        options = Options(self.gradient, self.scaling, self.per_task)
        begin = partial(Unroll, task, optimizer, objective, steps, seed, options, start)
        # Leaving the range is what this is about: it is reported by Status, not by NumPy's warnings.
        with np.errstate(all="ignore"):
            unroll = begin()
            found = self._by_window(unroll, prepare(phi, unroll, "reverse"))
            if found is None:
                unroll = begin()
                found = self._sweep(unroll, prepare(phi, unroll, "reverse"))
            value, grad = found
            end = None if start is None else unroll.end()
            return unroll.estimate(value, restore(grad, phi, unroll.batch, per_task=self.per_task), end)

    def _by_window(self, unroll: Unroll, phi: Tree) -> tuple[Scaled, Tree] | None:
        kernel = lstm_window(unroll.optimizer, phi, unroll.w0) if self.fused and not self.per_task else None
        return None if kernel is None else WindowBackward(unroll, *kernel, self.memory).run()

    def _sweep(self, unroll: Unroll, phi: Tree) -> tuple[Scaled, Tree]:
        task, optimizer = unroll.task, unroll.optimizer
        if self.fused and parts.looks_at_the_last_only(unroll.objective):
            scales = {"scale_state": unroll.scale_state, "scale_adjoint": self.scaling != "none"}
            kernel = block_kernel(task, optimizer, phi, self.gradient, **scales)
            if kernel is not None:
                value, eta_bar = BlockBackward(unroll, kernel).run(self.memory)
                return value, type(phi)(eta_bar)
        rule = fused_step(task, optimizer, self.gradient) if self.fused else None
        if rule is None:
            rule = TapeStep(task, optimizer, unroll.seed, self.gradient, unroll.xp, unroll.offset)
        return _Backward(unroll, rule, phi).run(self.memory)


class _Backward:
    """The backward sweep: the adjoint of the state at one time, and the meta-gradient so far."""

    def __init__(self, unroll: Unroll, rule: StepRule, phi: Tree) -> None:
        self.unroll, self.rule, self.phi = unroll, rule, phi
        self.plain = unroll.options.scaling == "none"
        self.per_task = unroll.options.per_task
        self.gradient = Accumulator(unroll.xp, scheduled=unroll.scheduled, plain=self.plain)
        self.adjoint: tuple[Tree, Tree] = (None, None)
        self.exponent = unroll.xp.zeros(unroll.batch, dtype=np.int64)

    def run(self, memory: int) -> tuple[Scaled, Tree]:
        unroll = self.unroll
        first = unroll.start()
        plan = make_plan(unroll.steps, unroll.carry_bytes(first), memory)
        advance, record = partial(unroll.advance, self.rule, self.phi), partial(unroll.record, self.rule, self.phi)
        value = slope = None
        for lo, hi, states in blocks_in_reverse(advance, record, first, unroll.steps, plan.places):
            for t in range(hi, lo - 1, -1):
                carry = states.pop()
                if value is None or slope is None:  # t = steps: only now is the objective known
                    value, slope = unroll.tally.finish()
                    self.adjoint = (ad.tree_map(_zeros, carry.w), ad.tree_map(_zeros, carry.state))
                else:
                    self._pull(t, carry)
                if t > 0:
                    self._add_term(t, carry, slope)
        assert value is not None
        return value, self.gradient.result()

    def _pull(self, t: int, carry: Carry) -> None:
        """Go from the adjoint at t + 1 to the one at t, and add what step t gives to the meta-gradient."""
        phi, at = self.unroll.phi_at(self.phi, t), (carry.w, carry.state)
        fold, top = self._fold(carry)
        phi_bar, self.adjoint = self.rule.pullback(t, phi, at, self.adjoint, fold)
        self.gradient.add(phi_bar, top)
        size = magnitude(self.adjoint)
        self.unroll.monitor.observe("ADJOINT", t, size)
        if not self.plain:
            self.adjoint, self.exponent = normalise(self.adjoint, self.exponent, size, self.unroll.limit)

    def _fold(self, carry: Carry) -> tuple[Array | None, Array | int]:
        # The true cotangent of phi is that of the digits times 2**(adjoint exponent + state exponent), task by task.
        if self.plain:
            return None, 0
        power = self.exponent + carry.exponent
        if self.per_task or self.unroll.batch == 1:
            return None, power if self.per_task else power[0]
        if self.unroll.xp is np and bool((power == power[0]).all()):
            return None, power[0]  # one sweep does for all tasks
        lowest = np.iinfo(np.int64).min // 4
        top = self.unroll.xp.where(magnitude(self.adjoint) == 0, lowest, power).max()
        return power - top, top

    def _add_term(self, t: int, carry: Carry, slope: Scaled) -> None:
        found = self.unroll.tally.adjoint(carry, t, slope)
        if found is None:
            return
        w_bar, exponent = found
        w_adjoint, state_adjoint = self.adjoint
        if self.plain:
            self.adjoint = (ad.tree_map(lambda a, b: a + b, w_adjoint, w_bar), state_adjoint)
            return
        added = (w_bar, ad.tree_map(_zeros, state_adjoint))
        self.adjoint, self.exponent = add_aligned(self.adjoint, self.exponent, added, exponent)
        size = magnitude(self.adjoint)
        self.adjoint, self.exponent = normalise(self.adjoint, self.exponent, size, self.unroll.limit)


def _zeros(leaf: Any) -> Any:
    return namespace(leaf).zeros_like(leaf) if is_float_array(leaf) else None
