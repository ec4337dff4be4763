"""Gradients of a task, and their products with its Hessian, for sweeps in which a kernel takes the step of the rule.

The gradient is a step of its own, w -> grad f(w), and its pullback is u -> H u: so they are taken as any step is, by
the tape (`steps`) or by programs (`metagrad.replay.ReplayStep`). Formulas of ours that are known for both need neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.kernels import hessian_product
from metagrad.protocols import Tree, View
from metagrad.replay import ReplayStep
from metagrad.system import Training
from metagrad.unroll.on_data import is_users
from metagrad.unroll.purity import difference, refuse
from metagrad.unroll.replay_sweep import replay_step
from metagrad.unroll.steps import TapeStep
from metagrad.unroll.unroll import Unroll

_MUCH = 1e3  # of what `difference` counts in: far beyond rounding


@dataclass(frozen=True)
class _OfTheLoss:
    """w_{t+1} = grad f(w_t): no rule to train with."""

    def init(self, phi: Tree, w: Tree) -> Tree:
        """Return the empty state."""
        return ()

    def step(self, phi: Tree, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Return the gradient."""
        return f.gradient(w), ()


class Gradients:
    """The gradient at the w of each step of an unroll, and what a direction becomes by the Hessian there."""

    def __init__(self, unroll: Unroll, *, room: int, may_replay: bool = True) -> None:
        """Bind the unroll; programs may keep `room` bytes of steps for their products."""
        self._task, self._xp = unroll.task, unroll.xp
        self.known_product = hessian_product(unroll.task)
        self.system = Training(unroll.task, _OfTheLoss(), unroll.ask.seed, steps=unroll.ask.horizon, xp=unroll.xp)
        self._offset = unroll.offset
        is_worth = unroll.xp is np or is_users(unroll.task)  # on a device those of ours wait for nothing
        may_replay = may_replay and is_worth and self.known_product is None
        self.replayed = replay_step(unroll, system=self.system, room=room) if may_replay else None
        self._kernel: ReplayStep | TapeStep = self.replayed or TapeStep(self.system, unroll.offset)
        self._latest: tuple[int, Tree] = -1, None  # the last step taken, and its gradient

    def at(self, t: int, w: Tree) -> Tree:
        """Return the gradient of step t, which is taken from w."""
        known = None if self.replayed else parts.known_gradient(self._task, w, self._sample(t))
        g = self._kernel.step(t, (), w, ())[0] if known is None else known
        self._latest = t, g
        return g

    def product(self, t: int, w: Tree, direction: Tree) -> Tree:
        """Return the Hessian of step t at w times a direction; ValueError where the gradient there is another now."""
        if self.known_product is not None:
            return self.known_product(w, direction, self._sample(t))
        kernel: Any = self._kernel
        kernel.taken, direction = None, ad.tree_map(self._xp.ascontiguousarray, direction)  # a kernel's may have gaps
        _, (found, _) = kernel.pullback(t, (), (w, ()), (direction, ()), None)
        (at, g), again = self._latest, kernel.taken
        if at == t and again is not None and self._xp is np and difference(again[0], g, g) > _MUCH:
            refuse(f"{type(self._task).__name__}.loss", f"another gradient for step {t} when it was taken again")
        return found

    def _sample(self, t: int) -> Any:
        return self.system.sample(self._offset + t)
