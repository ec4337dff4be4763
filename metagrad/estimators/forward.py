"""Forward mode: one tangent of the whole unroll for every meta-parameter, and no stored states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import bad_value
from metagrad.kernels import fused_step
from metagrad.protocols import Estimate, GradientKind, Objective, Optimizer, Task, Tree
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Carry, Options, Scaling
from metagrad.unroll.phi import prepare, restore
from metagrad.unroll.rescale import add_aligned, is_float_array, magnitude, normalise
from metagrad.unroll.steps import StepRule, TapeStep
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, namespace

_MOST_DIRECTIONS = 4096


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

    def __call__(
        self, task: Task, optimizer: Optimizer, objective: Objective, phi: Tree, *, steps: int, seed: int = 0
    ) -> Estimate:
        """Return the value and the meta-gradient after `steps` steps."""
        options = Options(self.gradient, self.scaling, self.per_task)
        unroll = Unroll(task, optimizer, objective, steps, seed, options)
        rule = fused_step(task, optimizer, self.gradient) if self.fused else None
        if rule is None:
            rule = TapeStep(task, optimizer, seed, self.gradient, unroll.xp)
        # Leaving the range is what this is about: it is reported by Status, not by NumPy's warnings.
        with np.errstate(all="ignore"):
            return _forward(unroll, rule, prepare(phi, unroll, "forward"), phi)


def _forward(unroll: Unroll, rule: StepRule, phi: Tree, given_phi: Tree) -> Estimate:
    carry = unroll.start()
    tangents = [_Tangent(unroll, direction, carry) for direction in _directions(unroll, phi)]
    for t in range(unroll.steps):
        for tangent in tangents:
            tangent.push(rule, t, unroll.phi_at(phi, t), carry)
        carry = unroll.advance(rule, phi, carry, t, t + 1)
        for tangent in tangents:
            tangent.measure(carry, t + 1)
    value, slope = unroll.tally.finish()
    columns = [slope * tangent.derivative for tangent in tangents]
    grad = restore(_assemble(unroll, phi, columns), given_phi, unroll.batch, per_task=unroll.options.per_task)
    return unroll.estimate(value, grad)


class _Tangent:
    """The derivative of the state in one direction of phi, (tree) * 2**exponent, and what it gave so far."""

    def __init__(self, unroll: Unroll, direction: _Direction, carry: Carry) -> None:
        self.unroll, self.direction = unroll, direction
        self.plain = unroll.options.scaling == "none"
        self.tree = (ad.tree_map(_zeros, carry.w), ad.tree_map(_zeros, carry.state))
        self.exponent = unroll.xp.zeros(unroll.batch, dtype=np.int64)
        zero = unroll.xp.zeros(unroll.batch, dtype=unroll.dtype)
        self.derivative = Scaled.of(zero)

    def push(self, rule: StepRule, t: int, phi: Tree, carry: Carry) -> None:
        d_phi, reached = self.direction.at(t)
        if not reached:
            return
        of_state, of_phi = rule.pushforward(t, phi, (carry.w, carry.state), d_phi, self.tree)
        if self.plain:
            self.tree = ad.tree_map(_plus, of_state, of_phi)
        else:
            self.tree, self.exponent = add_aligned(of_state, self.exponent, of_phi, carry.exponent)
        size = magnitude(self.tree)
        if t:  # the tangent of the first step may be zero by right
            self.unroll.monitor.observe("ADJOINT", t, size)
        if not self.plain:
            self.tree, self.exponent = normalise(self.tree, self.exponent, size, self.unroll.limit)

    def measure(self, carry: Carry, t: int) -> None:
        """Add weight * inner'(term) * (d term/d w) dw at time t."""
        found = self.unroll.tally.tangent(carry, t, self.tree[0], self.exponent)
        if found is not None:
            self.derivative = self.derivative + found


@dataclass(frozen=True)
class _Direction:
    """A unit vector in the space of phi: `tree` at every step, or only at step `only` of a schedule."""

    tree: Tree
    only: int | None

    def at(self, t: int) -> tuple[Tree, bool]:
        """Return the direction of the meta-parameters of step t, and whether it has been reached."""
        if self.only is None or t == self.only:
            return self.tree, True
        return ad.tree_map(_zeros, self.tree), t > self.only


def _directions(unroll: Unroll, phi: Tree) -> list[_Direction]:
    times: list[int | None] = list(range(unroll.steps)) if unroll.scheduled else [None]
    count = len(times) * sum(_width(unroll, leaf) for leaf in ad.leaves(unroll.phi_at(phi, 0)))
    if count > _MOST_DIRECTIONS:
        remedy = "Use method='reverse'."
        bad_value("forward", "phi", f"{count} meta-parameters", f"at most {_MOST_DIRECTIONS}", remedy)
    return [_Direction(tree, only) for only in times for tree in _units(unroll, unroll.phi_at(phi, 0))]


def _width(unroll: Unroll, leaf: Array) -> int:
    size = int(np.prod(leaf.shape))
    return size // unroll.batch if unroll.options.per_task else size


def _units(unroll: Unroll, phi: Tree) -> Iterator[Tree]:
    flat = ad.leaves(phi)
    for which, leaf in enumerate(flat):
        for entry in range(_width(unroll, leaf)):
            yield ad.unflatten(phi, [_unit(unroll, x, entry if i == which else None) for i, x in enumerate(flat)])


def _unit(unroll: Unroll, leaf: Array, entry: int | None) -> Array:
    # Task by task, one direction serves all tasks at once: they do not see each other.
    columns = np.zeros((unroll.batch if unroll.options.per_task else 1, _width(unroll, leaf)))
    if entry is not None:
        columns[:, entry] = 1.0
    return unroll.xp.asarray(columns.reshape(leaf.shape).astype(unroll.dtype))


def _assemble(unroll: Unroll, phi: Tree, columns: list[Scaled]) -> Tree:
    """Return the meta-gradient as a tree like phi: columns (B,) summed over tasks, or kept task by task."""
    flat, position = ad.leaves(unroll.phi_at(phi, 0)), 0
    repeats = unroll.steps if unroll.scheduled else 1
    widths = [_width(unroll, leaf) for leaf in flat]
    gathered = []
    for which, width in enumerate(widths):
        position = sum(widths[:which])
        mine = [columns[k * sum(widths) + position + j] for k in range(repeats) for j in range(width)]
        entries = Scaled(*(unroll.xp.stack([getattr(c, part) for c in mine]) for part in ("mantissa", "exponent")))
        if not unroll.options.per_task:
            gathered.append(entries.sum(axis=1))
            continue
        by_task = (repeats, width, unroll.batch)
        gathered.append(Scaled(*(x.reshape(by_task).swapaxes(1, 2) for x in (entries.mantissa, entries.exponent))))
    return ad.unflatten(phi, gathered)


def _zeros(leaf: Any) -> Any:
    return namespace(leaf).zeros_like(leaf) if getattr(getattr(leaf, "dtype", None), "kind", "") == "f" else None


def _plus(a: Any, b: Any) -> Any:
    return a + b if is_float_array(a) else a
