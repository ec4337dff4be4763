"""Forward mode: one tangent of the whole unroll for every meta-parameter, and no stored states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import bad_value
from metagrad.kernels import fused_step
from metagrad.protocols import Estimate, GradientKind, Objective, Position, Rule, Task, Tree
from metagrad.replay import ReplayStep
from metagrad.scaled import Scaled
from metagrad.unroll.accumulate import padded
from metagrad.unroll.backward import looked
from metagrad.unroll.blame import explained
from metagrad.unroll.carry import Ask, Carry, Options, Rescue, Scaling, check_options
from metagrad.unroll.growth import Grown, TangentGrowth
from metagrad.unroll.neighbours import with_trust
from metagrad.unroll.purity import Purity, refuse_kept
from metagrad.unroll.replay_sweep import forwards
from metagrad.unroll.rescale import add_aligned, is_float_array, magnitude, normalise
from metagrad.unroll.rescue import rescued, wanted_forwards
from metagrad.unroll.steps import StepKernel, TapeStep
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, namespace

_MOST_DIRECTIONS = 4096
_WATCHED = 4  # of the tangents: in a chaotic run they all grow alike


@dataclass(frozen=True)
class Forward:
    """d objective/d phi by P_{t+1} = (dU/dw) P_t + dU/dphi, grad = sum_t (d term_t/d w)' P_t, column by column.

    The options are those of `Reverse`. Memory does not grow with the horizon; time grows with the number of
    meta-parameters (at most 4096 of them, those of a schedule counted step by step).
    """

    gradient: GradientKind = "full"
    scaling: Scaling = "auto"
    per_task: bool = False
    fused: bool = True
    rescue: Rescue = "auto"
    trust: bool | int = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_options("Forward", self)

    def __call__(
        self,
        task: Task,
        rule: Rule,
        objective: Objective,
        phi: Tree,
        *,
        steps: int,
        seed: int = 0,
        at: Position | None = None,
        run: int | None = None,
    ) -> Estimate:
        """Return the value and the meta-gradient after `steps` steps; `at` and `run` as in `Reverse`."""
        options = Options(self.gradient, self.scaling, self.per_task, rescue=self.rescue, count=True)
        ask = Ask(task, rule, objective, phi, steps, seed, at, run)
        return with_trust(partial(self._run, ask), ask, options, self.trust)

    def _run(self, ask: Ask, options: Options) -> Estimate:
        # Leaving the range is what this is about: it is reported by Status, not by NumPy's warnings.
        with np.errstate(all="ignore"):
            unroll, estimate = self._once(ask, options)
            return rescued(
                unroll, estimate, again=self._once, looked=looked, need=wanted_forwards(unroll, estimate.value)
            )

    def _once(self, ask: Ask, options: Options) -> tuple[Unroll, Estimate]:
        """Return the estimate of one run, and its unroll."""
        unroll = Unroll(ask, options, "forward")
        by_tape = not self.fused or unroll.joint or unroll.wide
        fused = None if by_tape else fused_step(unroll.task, unroll.rule, self.gradient)
        if fused is not None:
            return unroll, explained(unroll, _forward(unroll, fused), on_tape=False)
        again = partial(Unroll, ask, options, "forward")
        return forwards(unroll, _forward, again=again, may_replay=self.fused)


def _forward(unroll: Unroll, kernel: StepKernel) -> Estimate:
    if isinstance(kernel, TapeStep | ReplayStep):
        unroll.tally.measured.take_the_tape()
    carry = unroll.start()
    directions = _directions(unroll)
    tangents = [_Tangent(unroll, direction, carry) for direction in directions]
    watched = tangents[:_WATCHED] if _tells(unroll, carry) else []
    for tangent in watched:
        tangent.growth = TangentGrowth(unroll.xp, unroll.batch)
    pull, purity = unroll.start_pullback(), Purity(unroll, kernel)
    for tangent in tangents:
        if pull is not None:
            tangent.begin(carry)
        if unroll.tally.measured.begins_in_phi:
            tangent.measure(carry, 0)
    for t in range(unroll.steps):
        for tangent in tangents:
            tangent.push(kernel, t, carry)
        before, carry = carry, unroll.advance(kernel, carry, t, t + 1)
        purity.compare(t, unroll.phi_at(t), before, carry)
        for tangent in tangents:
            tangent.measure(carry, t + 1)
    value, slope = unroll.tally.finish()
    growths = [tangent.growth.result() for tangent in watched if tangent.growth is not None]
    if growths:
        growth = unroll.xp.stack(growths).max(axis=0)
        unroll.grown = Grown(growth, growth, None, unroll.xp.zeros(unroll.batch))
    columns = [slope * tangent.derivative for tangent in tangents]
    return unroll.estimate(value, _assemble(unroll, directions, columns))


def _tells(unroll: Unroll, carry: Carry) -> bool:
    """Whether the tangent of w alone goes through the steps; on the host, where looking costs little."""
    has_state = any(is_float_array(leaf) for leaf in ad.leaves(carry.state))
    is_known = unroll.scale_state  # homogeneous steps: nothing grows beside w
    return unroll.options.gradient == "full" and unroll.xp is np and not has_state and not is_known


class _Tangent:
    """The derivative of the state in one direction of phi, (tree) * 2**exponent, and what it gave so far."""

    def __init__(self, unroll: Unroll, direction: _Direction, carry: Carry) -> None:
        self.unroll, self.direction = unroll, direction
        self.plain = unroll.options.scaling == "none"
        self.tree = (ad.tree_map(_zeros, carry.w), ad.tree_map(_zeros, carry.state))
        self.exponent = unroll.xp.zeros(unroll.batch, dtype=np.int64)
        zero = unroll.xp.zeros(unroll.batch, dtype=unroll.dtype)
        self.derivative = Scaled.of(zero)
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

    def measure(self, carry: Carry, t: int) -> None:
        """Add the derivative of weight * inner(term) at time t."""
        d_phi, _ = self.direction.at(max(0, t - 1))
        found = self.unroll.tally.tangent(carry, t, d_phi, self.tree, self.exponent)
        if found is not None:
            self.derivative = self.derivative + found


@dataclass(frozen=True)
class _Direction:
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


def _directions(unroll: Unroll) -> list[_Direction]:
    phi = unroll.phi_at(0)
    flat = ad.leaves(phi)
    led = [False] * len(flat) if unroll.entries is None else ad.leaves(unroll.entries)
    widths = [_width(unroll, leaf) * (unroll.steps if is_led else 1) for leaf, is_led in zip(flat, led, strict=True)]
    if sum(widths) > _MOST_DIRECTIONS:
        remedy = "Use method='reverse'."
        bad_value("forward", "phi", f"{sum(widths)} meta-parameters", f"at most {_MOST_DIRECTIONS}", remedy)

    def unit(which: int, k: int) -> Tree:
        return ad.unflatten(phi, [_unit(unroll, x, k if i == which else None) for i, x in enumerate(flat)])

    return [
        _Direction(which, only, unit(which, k))
        for which, leaf in enumerate(flat)
        for only in (range(unroll.steps) if led[which] else [None])
        for k in range(_width(unroll, leaf))
    ]


def _width(unroll: Unroll, leaf: Array) -> int:
    size = int(np.prod(leaf.shape))
    return size // unroll.batch if unroll.options.per_task else size


def _unit(unroll: Unroll, leaf: Array, entry: int | None) -> Array:
    # Task by task, one direction serves all tasks at once: they do not see each other.
    columns = np.zeros((unroll.batch if unroll.options.per_task else 1, _width(unroll, leaf)))
    if entry is not None:
        columns[:, entry] = 1.0
    return unroll.xp.asarray(columns.reshape(leaf.shape).astype(unroll.dtype))


def _assemble(unroll: Unroll, directions: list[_Direction], columns: list[Scaled]) -> Tree:
    """Return the meta-gradient as a tree like phi: columns (B,) summed over tasks, or kept task by task."""
    phi = unroll.phi_at(0)
    gathered = []
    for which, leaf in enumerate(ad.leaves(phi)):
        mine = [column for column, d in zip(columns, directions, strict=True) if d.leaf == which]
        led = any(d.only is not None for d in directions if d.leaf == which)
        numbers = Scaled(*(unroll.xp.stack([getattr(c, part) for c in mine]) for part in ("mantissa", "exponent")))
        repeats = unroll.steps if led else 1
        by_task = (repeats, _width(unroll, leaf), unroll.batch)
        if unroll.options.per_task:
            numbers = Scaled(*(x.reshape(by_task).swapaxes(1, 2) for x in (numbers.mantissa, numbers.exponent)))
        else:
            numbers = numbers.sum(axis=1).reshape(by_task[:2])
        gathered.append(padded(numbers, *unroll.other_entries()) if led else numbers)
    return ad.unflatten(phi, gathered)


def _zeros(leaf: Any) -> Any:
    return namespace(leaf).zeros_like(leaf) if getattr(getattr(leaf, "dtype", None), "kind", "") == "f" else None


def _plus(a: Any, b: Any) -> Any:
    return a + b if is_float_array(a) else a
