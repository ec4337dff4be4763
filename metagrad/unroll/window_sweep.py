"""The backward sweep with a kernel that keeps and reverses whole windows of steps of an optimizer, in plain floats.

All adjoints share one exponent. So that this is never seen in a result, the sweep gives up where a state leaves the
range of floats, and its result counts only if the adjoint of every task was zero or well within the range at every
step, and the meta-gradient is finite. Otherwise the caller takes the steps again by the tape. On the host it gives
up at once; a device is asked once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from metagrad import ad, parts
from metagrad.kernels import hessian_product
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Carry
from metagrad.unroll.checkpoint import blocks_in_reverse, make_plan
from metagrad.unroll.growth import growth_of
from metagrad.unroll.nudge import nudged
from metagrad.unroll.purity import difference, refuse
from metagrad.unroll.rescale import magnitude, normalise, shift
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, float_info, namespace

_MOST_SIZES = 256  # kept before they are looked at together
_MUCH = 1e3  # of what `difference` counts in: far beyond rounding


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

    def backward(self, k: int, adjoint: Tree, *, full: bool) -> Tree:
        """Pull the adjoint of the next w back through the k-th step; return that of g where `full`, else None."""
        ...

    def gradient(self) -> Tree:
        """Return what all steps pulled so far gave to phi."""
        ...


class _OutOfRange(Exception):  # noqa: N818 - not an error: another way is taken
    pass


class _Watch:
    """Whether the size of every task lies in [least, most), or is zero where that is allowed."""

    def __init__(self, least: float, most: float, *, zero: bool) -> None:
        self._least, self._most, self._zero = least, most, zero
        self.largest, self.low = 0.0, False  # the largest entry, and whether one was below `least`; of the host
        self._sizes: list[Array] = []  # of arrays on a device, (B,), not looked at yet
        self._verdicts: list[Array] = []

    def see(self, tree: Tree) -> None:
        """Raise _OutOfRange if an array of the host is outside; of a device only take note."""
        leaves = ad.leaves(tree)
        if namespace(leaves[0]) is not np:
            self._sizes.append(magnitude(tree))
            if len(self._sizes) >= _MOST_SIZES:
                self.verdicts()
            return
        entries = [abs(leaf) for leaf in leaves]
        largest = max(x.max() for x in entries)
        self.largest = max(self.largest, largest)
        if largest < self._most and all(x.min() >= self._least for x in entries):
            return  # the usual case, found cheaply
        self.low = True
        if not self._within(magnitude(tree)).all():
            raise _OutOfRange

    def verdicts(self) -> list[Array]:
        """Return what is known of arrays on a device: true all of them if none was outside."""
        if self._sizes:
            sizes, self._sizes = namespace(self._sizes[0]).stack(self._sizes), []
            self._verdicts.append(self._within(sizes).all())
        return self._verdicts

    def _within(self, size: Array) -> Array:
        return ((size >= self._least) & (size < self._most)) | (self._zero & (size == 0))


class WindowSweep:
    """Backpropagation of one phi for all tasks and steps."""

    def __init__(self, unroll: Unroll, make: Callable[[int], WindowKernel], step_bytes: int, memory: int) -> None:
        """Bind the unroll, and make the kernel for as many steps at a time as `memory` allows."""
        self.unroll = unroll
        self._places = make_plan(unroll.steps, step_bytes, memory).places
        self._room = min(unroll.steps, self._places + 1)
        self._kernel = make(self._room)
        self._full = unroll.options.gradient == "full"
        self._known_product = hessian_product(unroll.task)
        most = float_info(unroll.dtype).max_exponent
        # Beside a w within the range every state is: h is below 1, c grows by less than 1 a step, and NaN spreads.
        self._states = _Watch(2.0 ** float_info(unroll.dtype).min_exponent, np.inf, zero=False)
        self._adjoints = _Watch(2.0 ** (-3 * most // 4), 2.0 ** (most // 2), zero=True)
        self._kept: tuple[int, Tree] = -1, None  # the last step taken, and its gradient
        self._exponents = unroll.xp.zeros(unroll.batch, dtype=np.int64)
        self._top: Array | int | None = 0 if unroll.options.scaling == "none" else None  # the exponent of all adjoints

    def run(self) -> tuple[Scaled, Tree] | None:
        """Return the value (B,) and the gradient of phi, summed over tasks; None if a number left the range."""
        unroll, xp, value = self.unroll, self.unroll.xp, None
        blocks = blocks_in_reverse(self._advance, self._record, unroll.start(), unroll.steps, self._places)
        adjoint: Tree = None
        growth, later = growth_of(unroll), None
        try:
            for lo, hi, states in blocks:
                for t in range(hi, lo - 1, -1):
                    w = states[t - lo]
                    if value is None:  # t = steps: only now is the objective known
                        value, slope = unroll.tally.finish()
                        adjoint = ad.tree_map(xp.zeros_like, w)
                    else:
                        known, adjoint = adjoint, self._pull(t, t - lo, w, adjoint)
                        if growth is not None:
                            growth.step((known, later), (adjoint, w), (self._exponents,) * 3)
                            if t and unroll.tally.weight(t) is not None:
                                growth.term_added()
                    later = w
                    adjoint = adjoint if t == 0 else self._with_term(t, w, slope, adjoint)
                    self._adjoints.see(adjoint)
        except _OutOfRange:
            return None
        assert value is not None
        grad = self._kernel.gradient()
        fine = [xp.isfinite(leaf).all() for leaf in ad.leaves(grad)]
        if not bool(xp.stack([*fine, *self._states.verdicts(), *self._adjoints.verdicts()]).all()):
            return None
        top = 0 if self._top is None else self._top
        if self._states.low or self._adjoints.low:
            unroll.lost.state(xp.full(unroll.batch, self._states.largest, dtype=unroll.dtype))
            unroll.lost.powers(np.log2(self._adjoints.largest) + top)
        if growth is not None:
            unroll.grown = growth.result(top)
        return value, ad.tree_map(lambda leaf: Scaled.of(leaf, top), grad)

    def _advance(self, carry: Carry, lo: int, hi: int) -> Carry:
        for start in range(lo, hi, self._room):
            stop = min(hi, start + self._room)
            w = self._walk(carry, start, stop)[-1]
            carry = Carry(w, self._kernel.state(stop - start), self._exponents)
        return carry

    def _record(self, carry: Carry, lo: int, hi: int) -> list[Tree]:
        # Beside the states at lo..hi the kernel keeps the step from hi on, which is to be pulled back with them.
        return self._walk(carry, lo, min(hi + 1, self.unroll.steps))

    def _walk(self, carry: Carry, lo: int, hi: int) -> list[Tree]:
        """Take the steps from lo to hi; return w at lo..hi."""
        kernel, unroll, ws, copy = self._kernel, self.unroll, [carry.w], self.unroll.options.copy
        kernel.load(carry.state)
        for t in range(lo, hi):
            w = ws[-1]
            g = parts.gradient(unroll.task, w, self._sample(t))
            self._kept = t, g
            w = kernel.forward(t - lo, w, g)
            ws.append(nudged(w, copy, unroll.offset + t + 1) if copy else w)
            self._states.see(ws[-1])
            state = kernel.state(hi - lo) if t + 1 == unroll.steps else ()
            unroll.reach(Carry(ws[-1], state, self._exponents), t + 1)
        return ws

    def _pull(self, t: int, k: int, w: Tree, adjoint: Tree) -> Tree:
        of_gradient = self._kernel.backward(k, adjoint, full=self._full)
        if self._full:
            return ad.add(adjoint, self._hessian_product(t, w, of_gradient))
        return adjoint

    def _with_term(self, t: int, w: Tree, slope: Scaled, adjoint: Tree) -> Tree:
        found = self.unroll.tally.pulled(Carry(w, (), self._exponents), t, slope, per_task=False)
        if found is None:
            return adjoint
        w_bar, exponent = found.adjoint[0], found.exponent
        if self._top is None:
            xp, size, lowest = self.unroll.xp, magnitude(w_bar), np.iinfo(np.int64).min // 4
            powers = normalise(w_bar, exponent, size, self.unroll.limit)[1]
            top = xp.where(size > 0, powers, lowest).max()
            self._top = xp.where(top == lowest, 0, top)
        return ad.add(adjoint, shift(w_bar, exponent - self._top))

    def _hessian_product(self, t: int, w: Tree, direction: Tree) -> Tree:
        task, sample = self.unroll.task, self._sample(t)
        if self._known_product is not None:
            return self._known_product(w, direction, sample)
        again, pull = ad.vjp(lambda u: parts.gradient(task, u, sample), w)
        at, g = self._kept
        if at == t and self.unroll.xp is np and difference(again, g, g) > _MUCH:
            refuse(f"{type(task).__name__}.loss", f"another gradient for step {t} when it was taken again")
        return pull(direction)[0]

    def _sample(self, t: int) -> Any:
        return self.unroll.system.sample(self.unroll.offset + t)
