"""Forward mode: one tangent of the whole unroll for every meta-parameter, and no stored states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

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
from metagrad.unroll.purity import Purity
from metagrad.unroll.replay_sweep import forwards
from metagrad.unroll.rescale import is_float_array
from metagrad.unroll.rescue import rescued, wanted_forwards
from metagrad.unroll.steps import StepKernel, TapeStep
from metagrad.unroll.tangent_stretch import TangentStretch
from metagrad.unroll.tangents import Direction, Tangent
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array

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
    tangents = [Tangent(unroll, direction, carry) for direction in directions]
    watched = tangents[:_WATCHED] if _tells(unroll, carry) else []
    for tangent in watched:
        tangent.growth = TangentGrowth(unroll.xp, unroll.batch)
    pull, purity = unroll.start_pullback(), Purity(unroll, kernel)
    for tangent in tangents:
        if pull is not None:
            tangent.begin(carry)
        if unroll.tally.measured.begins_in_phi:
            tangent.measure(carry, 0)
    ahead, t = TangentStretch(unroll, kernel, tangents, carry), 0
    while t < unroll.steps:
        passed = ahead.take(t, carry)
        if passed is not None:
            t, carry = t + passed[0], passed[1]
            continue
        for tangent in tangents:
            tangent.push(kernel, t, carry)
        before, carry = carry, unroll.advance(kernel, carry, t, t + 1)
        purity.compare(t, unroll.phi_at(t), before, carry)
        for tangent in tangents:
            tangent.measure(carry, t + 1)
        t += 1
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


def _directions(unroll: Unroll) -> list[Direction]:
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
        Direction(which, only, unit(which, k))
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


def _assemble(unroll: Unroll, directions: list[Direction], columns: list[Scaled]) -> Tree:
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
