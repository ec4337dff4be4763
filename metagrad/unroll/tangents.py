"""The tangent of the state of an unroll in one direction of phi, step by step: what forward mode carries along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Carry
from metagrad.unroll.growth import TangentGrowth
from metagrad.unroll.purity import refuse_kept
from metagrad.unroll.rescale import add_aligned, is_float_array, magnitude, normalise
from metagrad.unroll.steps import StepKernel
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, namespace


class Tangent:
    """The derivative of the state in one direction of phi, (tree) * 2**exponent, and what it gave so far."""

    def __init__(self, unroll: Unroll, direction: Direction, carry: Carry) -> None:
        """Start with nothing; `carry` is the first state."""
        self.unroll, self.direction = unroll, direction
        self.plain = unroll.options.scaling == "none"
        self.tree = (ad.tree_map(_zeros, carry.w), ad.tree_map(_zeros, carry.state))
        self.exponent = unroll.xp.zeros(unroll.batch, dtype=np.int64)
        self.derivative = Scaled.of(unroll.xp.zeros(unroll.batch, dtype=unroll.dtype))
        self.growth: TangentGrowth | None = None
        self._step: tuple[tuple[Array, Array], Array, Array] | None = None

    def begin(self, carry: Carry) -> None:
        """Set the derivative of the start, which owes something to phi."""
        whole = self.direction.whole(self.unroll.phi, self.unroll.entries)
        _, moved = ad.jvp(self.unroll.system.start, (self.unroll.phi,), (whole,))
        self.tree = ad.tree_map(lambda zero, d: zero if d is None else d, self.tree, moved)
        if not self.plain:
            size = magnitude(self.tree)
            self.tree, self.exponent = normalise(self.tree, self.exponent, size, self.unroll.limit)

    def push(self, kernel: StepKernel, t: int, carry: Carry) -> None:
        """Take the derivative from t to t + 1."""
        d_phi, reached = self.direction.at(t)
        if not reached:
            return
        of_state, of_phi = kernel.pushforward(t, self.unroll.phi_at(t), (carry.w, carry.state), d_phi, self.tree)
        if self.growth is not None:
            self._grow(self.growth, self.tree[0], of_state[0], carry)
        refuse_kept(self.unroll.rule, of_state[0], of_phi[0])
        if self.plain:
            self.tree = ad.tree_map(_plus, of_state, of_phi)
        else:
            self.tree, self.exponent = add_aligned(of_state, self.exponent, of_phi, carry.exponent)
        size = magnitude(self.tree)
        if t:  # the tangent of the first step may be zero: the start owes nothing to phi
            self.unroll.monitor.observe("ADJOINT", t, size)
        if not self.plain:
            self.tree, self.exponent = normalise(self.tree, self.exponent, size, self.unroll.limit)

    def _grow(self, growth: TangentGrowth, was: Tree, now: Tree, carry: Carry) -> None:
        """Note what step t makes of the tangent of w, and what the step before made of w."""
        here = magnitude(carry.w)
        if self._step is not None:
            sizes, w, power = self._step
            growth.step(sizes, (w, here), (power, carry.exponent))
        self._step = (magnitude(was), magnitude(now)), here, carry.exponent

    def grew(self, sizes: tuple[Array, Array], w: Array, power: Array) -> None:
        """Note what `_grow` does of several steps, whose states have one exponent.

        `sizes` of the tangents of w before and after each, and of `w` before each, (n, B).
        """
        assert self.growth is not None
        rows = [*sizes, w, np.broadcast_to(power, w.shape)]
        if self._step is not None:
            (was, now), before, last = self._step
            rows = [np.concatenate([x[None], of]) for x, of in zip((was, now, before, last), rows, strict=True)]
        was, now, w, powers = rows
        self.growth.steps(was[:-1], now[:-1], w[:-1], w[1:], powers[:-1], powers[1:])
        self._step = (was[-1], now[-1]), w[-1], power

    def measure(self, carry: Carry, t: int) -> None:
        """Add the derivative of weight * inner(term) at time t."""
        d_phi, _ = self.direction.at(max(0, t - 1))
        found = self.unroll.tally.tangent(carry, t, d_phi, self.tree, self.exponent)
        if found is not None:
            self.derivative = self.derivative + found


@dataclass(frozen=True)
class Direction:
    """A unit vector in the space of phi: an entry of a leaf, and of one step `only` where the leaf leads with time."""

    leaf: int
    only: int | None
    tree: Tree  # like the meta-parameters of one step

    def at(self, t: int) -> tuple[Tree, bool]:
        """Return the direction of the meta-parameters of step t, and whether it has been reached."""
        if self.only is None or t == self.only:
            return self.tree, True
        return ad.tree_map(_zeros, self.tree), t > self.only

    def whole(self, phi: Tree, entries: Tree | None) -> Tree:
        """Return the direction in all of phi, with every step."""
        if entries is None:
            return self.tree

        def spread(unit: Any, leaf: Any, is_led: bool) -> Any:
            if not is_led:
                return unit
            rows = namespace(leaf).zeros_like(leaf)
            if self.only is not None:
                rows[self.only] = unit
            return rows

        return ad.tree_map(spread, self.tree, phi, entries)


def _zeros(leaf: Any) -> Any:
    return namespace(leaf).zeros_like(leaf) if getattr(getattr(leaf, "dtype", None), "kind", "") == "f" else None


def _plus(a: Any, b: Any) -> Any:
    return a + b if is_float_array(a) else a
