"""The backward sweep step by step: lambda_t = (dU/dw)' lambda_{t+1} + d term_t/d w, with exponents beside its digits.

d/d phi = sum_t (dU/dphi)' lambda_{t+1}, and (d start/d phi)' lambda_0 and sum_t d term_t/d phi where they owe it
something.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay import Pulled
from metagrad.scaled import Scaled
from metagrad.unroll.accumulate import Accumulator
from metagrad.unroll.carry import Carry
from metagrad.unroll.checkpoint import blocks_in_reverse, make_plan
from metagrad.unroll.growth import growth_of
from metagrad.unroll.purity import Purity
from metagrad.unroll.rescale import add_aligned, folded, is_float_array, magnitude, normalise, shift, within
from metagrad.unroll.steps import StepKernel
from metagrad.unroll.stretch import Backwards
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, namespace


class TapeSweep:
    """The backward sweep: the adjoint of the state at one time, and the meta-gradient so far."""

    def __init__(self, unroll: Unroll, kernel: StepKernel, *, fused: bool = False) -> None:
        """Bind the unroll, and what takes a step and pulls it back; a `fused` one has a start that owes phi nothing."""
        self.unroll, self._fused = unroll, fused
        self.kernel: Any = kernel
        self._purity = Purity(unroll, kernel)
        self._after: Carry | None = None  # what was kept of the time that was passed last
        self.plain = unroll.options.scaling == "none"
        self.per_task = unroll.options.per_task
        self.gradient = Accumulator(unroll.xp, entries=unroll.entries, plain=self.plain)
        self.adjoint: tuple[Tree, Tree] = (None, None)
        self.exponent = unroll.xp.zeros(unroll.batch, dtype=np.int64)
        self._size: Any = None  # of the adjoint
        self._growth = growth_of(unroll)
        self.later: Carry | None = None
        self._stretch = Backwards(self)

    def run(self, memory: int) -> tuple[Scaled, Tree]:
        """Return the value (B,) and the gradient of phi, keeping states within `memory` bytes."""
        unroll = self.unroll
        if not self._fused:
            unroll.tally.measured.take_the_tape()
        first = unroll.start()
        plan = make_plan(unroll.steps, unroll.carry_bytes(first), memory)
        advance, record = partial(unroll.advance, self.kernel), partial(unroll.record, self.kernel)
        value = slope = None
        for lo, hi, states in blocks_in_reverse(advance, record, first, unroll.steps, plan.places):
            t = hi + 1
            while t > lo:
                passed = 0 if slope is None else self._stretch.take(t - 1, lo, states, slope)
                if passed:
                    t -= passed
                    del states[-passed:]
                    continue
                t, carry = t - 1, states.pop()
                if value is None or slope is None:  # t = steps: only now is the objective known
                    value, slope = unroll.tally.finish()
                    self.adjoint = (ad.tree_map(_zeros, carry.w), ad.tree_map(_zeros, carry.state))
                    self._size = magnitude(self.adjoint)
                else:
                    self._pull(t, carry)
                self._after = carry
                if t > 0 or unroll.tally.measured.begins_in_phi:
                    self._add_term(t, carry, slope)
                if not unroll.wide:
                    unroll.lost.adjoint(carry, self.adjoint, self._size, self.exponent, last=t == unroll.steps)
                self.later = carry
                if unroll.recorder is not None:
                    unroll.recorder.adjoint(t, magnitude(self.adjoint), self.exponent)
        assert value is not None
        if not self._fused:
            self._pull_start()
        if self._growth is not None:
            unroll.grown = self._growth.result()
        unroll.spread = self.gradient.spread()
        return value, self.gradient.result(*unroll.other_entries())

    def _pull(self, t: int, carry: Carry) -> None:
        """Go from the adjoint at t + 1 to the one at t, and add what step t gives to the meta-gradient."""
        phi, at = self.unroll.phi_at(t), (carry.w, carry.state)
        # The true cotangent of phi is that of the digits times 2**(adjoint exponent + state exponent), task by task.
        fold, top = (None, 0) if self.plain else self.fold(self.exponent + carry.exponent)
        known = self.adjoint[0]
        phi_bar, self.adjoint = self.kernel.pullback(t, phi, at, self.adjoint, fold)
        if self._after is not None:
            self._purity.compare(t, phi, carry, self._after)
        self.gradient.add(phi_bar, top)
        if self._growth is not None and self.later is not None:
            powers = self.exponent, self.later.exponent, carry.exponent
            self._growth.step((known, self.later.w), (self.adjoint[0], carry.w), powers)
        self._size = magnitude(self.adjoint)
        self.unroll.monitor.observe("ADJOINT", t, self._size)
        if not self.plain:
            self.adjoint, self.exponent = normalise(self.adjoint, self.exponent, self._size, self.unroll.limit)

    def pulled_many(
        self, times: range, states: list[Carry], found: Pulled, top: Array | int, tops: Array | None = None
    ) -> None:
        """Note what `ReplayStep.back` returned of some steps: what `_pull` and `_add_term` do.

        `tops`: the exponents of what each term gives to phi, where it does.
        """
        if not found.is_joint:
            self.gradient.add_many(found.phi_bars, top)
        elif tops is None:
            self.gradient.add_many(found.phi_bars.pairs()[0], top)
        else:
            self.gradient.add_in_turn(*found.phi_bars.pairs(), top, tops)
        if self._growth is not None and self.later is not None:
            self._growth.steps(found.sums, (self.adjoint[0], self.later.w), self.exponent)
        end = found.pulled if times[-1] == 0 else found.after  # no term is added at 0
        self.adjoint, self.later = ad.tree_map(_copied, end.last), states[-1]
        self._after, self._size = states[-1], magnitude(self.adjoint)
        self.unroll.lost.adjoint(states[0], self.adjoint, self._size, self.exponent, last=False)
        self.kernel.passed(times, found)

    def _pull_start(self) -> None:
        """Add what the start gives to the meta-gradient: its adjoint is that of the true state, not of the digits."""
        pull = self.unroll.start_pullback()
        if pull is None:
            return
        if (
            not self.plain
        ):  # the start is pulled back as it is, of any size: the digits of its adjoint have to be near 1
            size = magnitude(self.adjoint)
            self.adjoint, self.exponent = normalise(self.adjoint, self.exponent, size, 0)
        fold, top = (None, 0) if self.plain else self.fold(self.exponent)
        (phi_bar,) = pull(self.adjoint if fold is None else shift(self.adjoint, fold))
        self.gradient.add_whole(phi_bar, top)

    def fold(self, power: Array) -> tuple[Array | None, Array | int]:
        """Return by how much each task is shifted before tasks are summed, and the exponent that all have then."""
        return (None, power) if self.per_task else folded(self.adjoint, power)

    def _add_term(self, t: int, carry: Carry, slope: Scaled) -> None:
        shared = self._shared()
        found = self.unroll.tally.pulled(carry, t, slope, per_task=self.per_task, exponent=shared)
        if found is None:
            return
        if self._growth is not None:
            self._growth.term_added()
        if found.phi is not None:
            self.gradient.add_term(found.phi, found.top)
        if self.plain:
            of_w = ad.tree_map(_plus, self.adjoint[0], found.adjoint[0])
            of_state = self.adjoint[1]
            if self.unroll.tally.joint:
                of_state = ad.tree_map(_plus, of_state, found.adjoint[1])
            self.adjoint = of_w, of_state
            return
        both, exponent, size = self._added(found)
        if found.exponent is shared and not within(size, self.unroll.limit):  # its own exponent, then
            found = self.unroll.tally.pulled(carry, t, slope, per_task=self.per_task)
            both, exponent, size = self._added(found)
        self._size = size
        self.adjoint, self.exponent = normalise(both, exponent, size, self.unroll.limit)

    def _added(self, term: Any) -> tuple[tuple[Tree, Tree], Array, Any]:
        """Return the adjoint with a term, its exponent and its size."""
        both, exponent = add_aligned(self.adjoint, self.exponent, term.adjoint, term.exponent, self._size)
        return both, exponent, magnitude(both)

    def _shared(self) -> Array | None:
        """Return the exponent of the adjoint where a term is to have it, too, as in a stretch of steps; else None."""
        is_asked = type(self._size) is np.ndarray and not self.plain  # only on the host, where looking costs nothing
        return self.exponent if is_asked and self._size.all() else None


def _copied(leaf: Any) -> Any:
    return leaf.copy("K") if is_float_array(leaf) else leaf


def _plus(a: Any, b: Any) -> Any:
    return a + b if is_float_array(a) else a


def _zeros(leaf: Any) -> Any:
    return namespace(leaf).zeros_like(leaf) if is_float_array(leaf) else None
