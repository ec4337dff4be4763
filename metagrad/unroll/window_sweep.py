"""The backward sweep with a kernel that keeps and reverses whole windows of steps of an optimizer.

The adjoint of every task has an exponent of its own, as in the sweep by the tape: a run that is chaotic, of which
adjoints grow by any power, is reversed at the same cost a step. All tasks begin with one exponent; the digits of a task
are moved where they leave 2**-limit to 2**limit, and meet those of the others in a sum over tasks after a product with
powers of two (`fold`). Powers of two are exact, so the bits are those of adjoints that share one exponent.

The sweep gives up where a state leaves the range of floats, and where the adjoint of a task is no number or falls out
of the range within one step: the caller takes the steps again by the tape, which says what happened. On a device
exponents are not moved, as nothing waits for it: the adjoint of every task has to stay within the range, and whether it
did is asked once, at the end. So it is with scaling="none".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import numpy as np

from metagrad import ad
from metagrad.measures import Loss
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.transforms import is_of_ours
from metagrad.unroll.carry import Carry
from metagrad.unroll.checkpoint import blocks_in_reverse, make_plan
from metagrad.unroll.gradients import Gradients
from metagrad.unroll.growth import growth_of
from metagrad.unroll.nudge import nudged
from metagrad.unroll.range_watch import OutOfRange, RangeWatch
from metagrad.unroll.rescale import task_by_task
from metagrad.unroll.tally import Pulled
from metagrad.unroll.unroll import Unroll
from metagrad.unroll.window_powers import WindowPowers
from metagrad.xp import Array, float_info


class WindowKernel(Protocol):
    """What the sweep asks of a kernel; see `metagrad.kernels.lstm_window`."""

    def load(self, state: Tree) -> None:
        """Begin with this state."""
        ...

    def state(self, k: int) -> Tree:
        """Return the state before the k-th step."""
        ...

    def forward(self, k: int, w: Tree, g: Tree) -> Tree:
        """Take the k-th step from w, where the gradient is g; return the next w."""
        ...

    def gradient(self, k: int, w: Tree) -> Tree:
        """Return the gradient that the k-th step was given, like w."""
        ...

    def backward(self, k: int, adjoint: Tree, *, full: bool, fold: Array | None) -> Tree:
        """Pull the adjoint of the next w back through the k-th step; return that of g where `full`, else None.

        What the step gives to phi is that of the adjoint times `fold` (B,), task by task, where there is one.
        """
        ...

    def adjoint_sizes(self) -> Array:
        """Return the largest entry of the adjoint of each task's state, (B,)."""
        ...

    def scale_adjoints(self, factors: Array) -> None:
        """Multiply the adjoint of each task's state by a number of its own, (B,)."""
        ...

    def take_gradient(self) -> Tree:
        """Return what the steps that were pulled gave to phi since the last time that it was taken."""
        ...


class WindowSweep:
    """Backpropagation of one phi for all tasks and steps."""

    def __init__(
        self,
        unroll: Unroll,
        gradients: Gradients,
        make: Callable[[int], WindowKernel],
        step_bytes: int,
        memory: int,
    ) -> None:
        """Bind the unroll and its gradients, and make the kernel for as many steps at a time as `memory` allows."""
        self.unroll = unroll
        self._places = make_plan(unroll.steps, step_bytes, memory).least
        self._room = min(unroll.steps, self._places + 1)
        self._kernel = make(self._room)
        self._full = unroll.options.gradient == "full"
        self._gradients = gradients
        # Beside a w within the range every state is: h is below 1, c grows by less than 1 a step, and NaN spreads.
        self._states = RangeWatch(2.0 ** float_info(unroll.dtype).min_exponent, np.inf, zero=False)
        self._zeros = unroll.xp.zeros(unroll.batch, dtype=np.int64)
        self._powers = WindowPowers(unroll, self._kernel)
        # Where the loss is measured, and the task has a formula for it, its slope is what the step was given.
        is_loss = type(unroll.tally.measure) is Loss and is_of_ours(unroll.objective)
        self._is_slope_known = is_loss and unroll.xp is np
        self._factors: tuple[range, Scaled | None] = range(0), None  # of terms, and their times

    def run(self) -> tuple[Scaled, Tree] | None:
        """Return the value (B,) and the gradient of phi, summed over tasks; None if a number left the range."""
        unroll, xp, value = self.unroll, self.unroll.xp, None
        unroll.tally.measured.take_the_tape()
        blocks = blocks_in_reverse(self._advance, self._record, unroll.start(), unroll.steps, self._places)
        adjoint: Tree = None
        growth, later, powers = growth_of(unroll), None, self._powers
        try:
            for lo, hi, states in blocks:
                for t in range(hi, lo - 1, -1):
                    w = states[t - lo]
                    if value is None:  # t = steps: only now is the objective known
                        value, slope = unroll.tally.finish()
                        if xp is np and not np.isfinite(value.mantissa).all():
                            return None  # the tape says which function made it
                        adjoint = ad.tree_map(xp.zeros_like, w)
                    else:
                        known, adjoint = adjoint, self._pull(t, t - lo, w, adjoint)
                        if growth is not None:
                            growth.step((known, later), (adjoint, w), (powers.exponents, self._zeros, self._zeros))
                            if t and unroll.tally.weight(t) is not None:
                                growth.term_added()
                    later = w
                    adjoint = adjoint if t == 0 else self._with_term(t, lo, states, slope, adjoint)
                    adjoint = powers.settled(t, adjoint)
        except OutOfRange:
            return None
        assert value is not None
        grad = powers.gradient()
        fine = [xp.isfinite(leaf.mantissa).all() for leaf in ad.leaves(grad)]
        if not bool(xp.stack([*fine, *self._states.verdicts(), *powers.verdicts()]).all()):
            return None
        if self._states.low or powers.low:
            unroll.lost.state(xp.full(unroll.batch, self._states.largest, dtype=unroll.dtype))
            unroll.lost.powers(powers.largest())
        if growth is not None:
            unroll.grown = growth.result()
        return value, grad

    def _advance(self, carry: Carry, lo: int, hi: int) -> Carry:
        for start in range(lo, hi, self._room):
            stop = min(hi, start + self._room)
            w = self._walk(carry, start, stop)[-1]
            carry = Carry(w, self._kernel.state(stop - start), self._zeros)
        return carry

    def _record(self, carry: Carry, lo: int, hi: int) -> list[Tree]:
        # Beside the states at lo..hi the kernel keeps the step from hi on, which is to be pulled back with them.
        return self._walk(carry, lo, min(hi + 1, self.unroll.steps))

    def _walk(self, carry: Carry, lo: int, hi: int) -> list[Tree]:
        """Take the steps from lo to hi; return w at lo..hi."""
        kernel, unroll, ws, copy = self._kernel, self.unroll, [carry.w], self.unroll.options.copy
        kernel.load(carry.state)
        weights, carries, found = self._weights(lo, hi), list[Carry](), list[Array]()
        for t in range(lo, hi):
            w = ws[-1]
            g = self._gradients.at(t, w)
            w = kernel.forward(t - lo, w, g)
            ws.append(nudged(w, copy, unroll.offset + t + 1) if copy else w)
            self._states.see(ws[-1])
            state = kernel.state(hi - lo) if t + 1 == unroll.steps else ()
            carry = Carry(ws[-1], state, self._zeros)
            if weights is None:
                unroll.reach(carry, t + 1)
            else:
                carries.append(carry)
                found.append(unroll.tally.measured.at(carry, t + 1))
        if weights is not None:
            unroll.reach_all(carries, lo + 1, found, weights)
        return ws

    def _weights(self, lo: int, hi: int) -> list[Scaled] | None:
        """Return the weights at lo+1..hi if all of these states are new and have one: then they are added at once."""
        unroll = self.unroll
        if lo == hi or unroll.frontier > lo + 1 or unroll.xp is not np or unroll.tally.plain:
            return None
        weights = unroll.tally.weights(range(lo + 1, hi + 1))
        return None if any(weight is None for weight in weights) else cast(list[Scaled], weights)

    def _pull(self, t: int, k: int, w: Tree, adjoint: Tree) -> Tree:
        of_gradient = self._kernel.backward(k, adjoint, full=self._full, fold=self._powers.fold)
        if self._full:
            return ad.add(adjoint, self._gradients.product(t, w, of_gradient))
        return adjoint

    def _with_term(self, t: int, lo: int, states: list[Tree], slope: Scaled, adjoint: Tree) -> Tree:
        found, w = self._known_term(t, lo, states, slope), states[t - lo]
        if found is None:
            found = self.unroll.tally.pulled(Carry(w, (), self._zeros), t, slope, per_task=False)
        return adjoint if found is None else self._powers.with_term(adjoint, found)

    def _known_term(self, t: int, lo: int, states: list[Tree], slope: Scaled) -> Pulled | None:
        """Return what the term at t gives to the adjoint, where its slope is the gradient of step t; `states`: lo..hi.

        The factors of all terms of the block are found at once.
        """
        tally = self.unroll.tally
        if t == self.unroll.steps or not self._is_slope_known:
            return None
        if t not in self._factors[0]:
            times = range(t, max(lo, 1) - 1, -1)
            carries = [Carry(states[s - lo], (), self._zeros) for s in times]
            are_weighed = all(weight is not None for weight in tally.weights(times))
            self._factors = times, tally.factors(carries, times, slope) if are_weighed else None
        times, factors = self._factors
        if factors is None:
            return None
        digits, power = factors.mantissa[times[0] - t], factors.exponent[times[0] - t]
        g = self._kernel.gradient(t - lo, states[t - lo])
        return Pulled((task_by_task(g, digits), ()), power)
