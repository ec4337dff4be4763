"""The backward sweep in whole blocks, for kernels that do many steps at once and objectives of the last iterate."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from metagrad.scaled import Scaled, ldexp
from metagrad.unroll.carry import Carry
from metagrad.unroll.checkpoint import blocks_in_reverse, make_plan
from metagrad.unroll.growth import Grown
from metagrad.unroll.nudge import salt_of
from metagrad.unroll.rescale import magnitude, normalise
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array

_FIRST = 64  # steps
_NO_FALL = 10.0  # a size that falls by less over a step costs no digit


class BlockKernel(Protocol):
    """What the sweep asks of a kernel; see `metagrad.kernels.block_descent`."""

    chunk: int

    def descend(
        self, lo: int, hi: int, w: Array, exponent: Array, salts: list[int] | None
    ) -> tuple[Array, Array, Array]:
        """Return states, exponents and sizes at lo..hi; nudged by hashes that begin with `salts`, where given."""
        ...

    def ascend(
        self, lo: int, hi: int, kept: tuple[Array, int], adjoint: Array, exponent: Array
    ) -> tuple[Array, Array, Array]:
        """Return contributions, their exponents and the adjoints' sizes of lo..hi-1; the adjoint is updated in place.

        `kept`: states, and the entry at which these begin.
        """
        ...


class Block(NamedTuple):
    """The states (B, n, d) of consecutive times and their exponents (n, B)."""

    states: Array
    exponents: Array

    def carry(self, k: int) -> Carry:
        """Return the state of the k-th time, in memory of its own."""
        return Carry(np.ascontiguousarray(self.states[:, k]), (), self.exponents[k].copy())


class BlockSweep:
    """Backpropagation of one shared or per-task step size (or a schedule) through blocks of steps."""

    def __init__(self, unroll: Unroll, kernel: BlockKernel) -> None:
        """Bind the unroll and its kernel."""
        self.unroll, self.kernel = unroll, kernel
        self.plain = unroll.options.scaling == "none"
        self._scheduled = unroll.entries is not None
        self._pending: list[tuple[Array, Array]] = []
        self._parts: list[Any] = []
        self._fall = np.ones(unroll.batch, dtype=unroll.dtype)
        self._last: Carry | None = None

    def run(self, memory: int) -> tuple[Scaled, Scaled]:
        """Return the value (B,) and the gradient: (), (B,), (T,) or (T, B), summed over tasks where shared."""
        unroll = self.unroll
        first = unroll.start()
        plan = make_plan(unroll.steps, unroll.carry_bytes(first), memory)
        blocks = blocks_in_reverse(self._advance, self._record, first, unroll.steps, plan.places)
        value = adjoint = exponent = None
        for lo, hi, block in blocks:
            if value is not None:
                self._pull(lo, hi, block, adjoint, exponent)
                continue
            value, slope = unroll.tally.finish()  # hi is the last time: only now is the objective known
            assert self._last is not None
            adjoint, exponent = self._seed(self._last, slope)
            self._pull(lo, hi - 1, block, adjoint, exponent)
        assert value is not None
        unroll.grown = self._grown()
        return value, self._gradient()

    def _grown(self) -> Grown:
        """Return what has grown: the steps are linear, so that it is what their own roundings make."""
        # T roundings of signs at random add up to sqrt(T) of them
        rounding = np.maximum(np.log2(self._fall.astype(np.float64)), 0.5 * np.log2(self.unroll.steps))
        value = self._size + rounding
        return Grown(np.zeros(self.unroll.batch), rounding, value, self._size)

    def _advance(self, carry: Carry, lo: int, hi: int) -> Carry:
        for start in range(lo, hi, self.kernel.chunk):
            stop = min(hi, start + self.kernel.chunk)
            carry = self._descend(carry, start, stop).carry(-1)
        return carry

    def _record(self, carry: Carry, lo: int, hi: int) -> Block:
        return self._descend(carry, lo, hi)

    def _descend(self, carry: Carry, lo: int, hi: int) -> Block:
        states, exponents, sizes = self.kernel.descend(lo, hi, carry.w, carry.exponent, self._salts(lo, hi))
        self.unroll.observe_block(lo, sizes)
        if self._scheduled:
            self.unroll.lost.dips(np.moveaxis(states, 0, 1))
        if self._scheduled:
            self._look_for_falls(sizes, exponents)
        elif lo == 0:  # the steps are all alike, and what falls falls in the first ones
            self._look_for_falls(sizes[:_FIRST], exponents[: _FIRST + 1])
        block = Block(states, exponents)
        for t in range(max(lo, self.unroll.steps - 2), hi + 1):  # the last ones, by which its digits are judged
            self._last = block.carry(t - lo)
            self.unroll.reach(self._last, t)
        return block

    def _look_for_falls(self, sizes: Array, exponents: Array) -> None:
        """Note the largest fall of a size over a step: there the terms of a step cancel."""
        ratio = sizes[:-1] / sizes[1:]
        if ratio.size and ratio.max() < _NO_FALL and (exponents[0] == exponents[-1]).all():
            return  # the usual case, found cheaply; NaN fails the comparison
        moved = exponents[:-2] - exponents[1:-1]
        ratio = ldexp(ratio, moved) if moved.any() else ratio
        if len(ratio):
            self._fall = np.maximum(self._fall, ratio.max(axis=0))

    def _salts(self, lo: int, hi: int) -> list[int] | None:
        copy = self.unroll.options.copy
        return [salt_of(copy, t) for t in range(lo + 1, hi + 1)] if copy else None

    def _seed(self, last: Carry, slope: Scaled) -> tuple[Array, Array]:
        found = self.unroll.tally.pulled(last, self.unroll.steps, slope, per_task=self.unroll.options.per_task)
        assert found is not None, "the objective weighs the last iterate"
        adjoint, exponent = found.adjoint[0], found.exponent
        self._size = np.log2(abs(adjoint * last.w).sum(axis=1).astype(np.float64)) + exponent + last.exponent
        if not self.plain:
            adjoint, exponent = normalise(adjoint, exponent, magnitude(adjoint), self.unroll.limit)
        return np.array(adjoint), np.array(exponent, dtype=np.int64)

    def _pull(self, lo: int, hi: int, block: Block, adjoint: Any, exponent: Any) -> None:
        for stop in range(hi + 1, lo, -self.kernel.chunk):
            start = max(lo, stop - self.kernel.chunk)
            kept = block.states, start - lo
            contributions, powers, sizes = self.kernel.ascend(start, stop, kept, adjoint, exponent)
            self.unroll.monitor.observe_block("ADJOINT", start, sizes, backwards=True)
            powers = powers + block.exponents[start - lo : stop - lo]
            self.unroll.lost.powers(powers.max(axis=0))
            self._pending.append((contributions[::-1], powers[::-1]))
            self._fold(at_least=self.kernel.chunk)

    def _fold(self, at_least: int) -> None:
        """Reduce the contributions, from the last step to the first, in chunks of one size, whatever the blocks."""
        while self._pending and sum(len(rows) for rows, _ in self._pending) >= at_least:
            # in memory of their own, in this order: NumPy adds up a reversed view from its other end
            rows, powers = (np.concatenate(side) for side in zip(*self._pending, strict=True))
            cut = self.kernel.chunk
            self._parts.append(self._reduced(rows[:cut], powers[:cut]))
            self._pending = [(rows[cut:], powers[cut:])] if len(rows) > cut else []

    def _reduced(self, rows: Array, powers: Array) -> Any:
        # contributions (n, B): summed over time unless there is a schedule, over tasks unless phi is given task by task
        numbers = rows if self.plain else Scaled.of(rows, powers)
        if not self.unroll.options.per_task:
            numbers = numbers.sum(axis=1)
        return numbers if self._scheduled else numbers.sum(axis=0)

    def _gradient(self) -> Scaled:
        self._fold(at_least=1)
        if len(self._parts) == 1 and not self._scheduled:
            return Scaled.of(self._parts[0]) if self.plain else self._parts[0]
        if self.plain and not self._scheduled:
            return Scaled.of(np.add.reduce(np.stack(self._parts), axis=0))
        parts = [Scaled.of(part) if self.plain else part for part in self._parts]
        join = np.concatenate if self._scheduled else np.stack
        joined = Scaled(join([p.mantissa for p in parts]), join([p.exponent for p in parts]))
        return joined[::-1] if self._scheduled else joined.sum(axis=0)
