"""One step of an unroll and its derivatives, by the tape: the default for any task and any update rule."""

from __future__ import annotations

from typing import Any, Protocol

from metagrad import ad
from metagrad.protocols import GradientKind, Optimizer, Task, Tree
from metagrad.unroll.rescale import shift
from metagrad.xp import Array, Namespace, move, rng


class StepRule(Protocol):
    """What the driver asks of a step: (w, state) at t -> (w, state) at t + 1, and its two derivatives."""

    def step(self, t: int, phi: Tree, w: Tree, state: Tree) -> tuple[Tree, Tree]:
        """Return the next (w, state)."""
        ...

    def pullback(
        self, t: int, phi: Tree, at: tuple[Tree, Tree], adjoint: tuple[Tree, Tree], fold: Array | None
    ) -> tuple[Tree, tuple[Tree, Tree]]:
        """Return (cotangent of phi, adjoint of (w, state)) at step t from the adjoint of step t + 1.

        Where `fold` (B,) is given, the cotangent of phi is that of the adjoint times 2**fold, task by task: so that
        tasks with different exponents can be summed.
        """
        ...

    def pushforward(
        self, t: int, phi: Tree, at: tuple[Tree, Tree], d_phi: Tree, tangent: tuple[Tree, Tree]
    ) -> tuple[tuple[Tree, Tree], tuple[Tree, Tree]]:
        """Return what the tangent of (w, state) adds to the next tangent, and what that of phi adds, apart."""
        ...


class TapeStep:
    """The step g = grad f(w), (w, state) <- rule.step(phi, state, w, g), differentiated by the tape."""

    def __init__(
        self, task: Task, optimizer: Optimizer, seed: int, gradient: GradientKind, xp: Namespace, offset: int = 0
    ) -> None:
        """Bind the task and the rule; `gradient="stop_gradient"` holds g constant when differentiating.

        Step t has the randomness of time offset + t.
        """
        self._task, self._optimizer, self._seed, self._xp = task, optimizer, seed, xp
        self._offset = offset
        self._held = gradient == "stop_gradient"

    def step(self, t: int, phi: Tree, w: Tree, state: Tree) -> tuple[Tree, Tree]:
        """Return the next (w, state)."""
        return self._optimizer.step(phi, state, w, gradient_of(self._task, w, self.sample(t)))

    def sample(self, t: int) -> Any:
        """Return the randomness of step t: the same whenever it is asked for."""
        return sample_of(self._task, self._seed, self._offset + t, self._xp)

    def pullback(
        self, t: int, phi: Tree, at: tuple[Tree, Tree], adjoint: tuple[Tree, Tree], fold: Array | None
    ) -> tuple[Tree, tuple[Tree, Tree]]:
        """Return the cotangents of phi and of (w, state)."""
        _, pull = ad.vjp(self._map(t), phi, *at)
        if fold is None:
            phi_bar, w_bar, state_bar = pull(adjoint)
        else:
            phi_bar, _, _ = pull(shift(adjoint, fold), wrt=(0,))
            _, w_bar, state_bar = pull(adjoint, wrt=(1, 2))
        return phi_bar, (w_bar, state_bar)

    def pushforward(
        self, t: int, phi: Tree, at: tuple[Tree, Tree], d_phi: Tree, tangent: tuple[Tree, Tree]
    ) -> tuple[tuple[Tree, Tree], tuple[Tree, Tree]]:
        """Return the two parts of the next tangent."""
        step = self._map(t)
        _, of_state = ad.jvp(lambda w, state: step(phi, w, state), at, tangent)
        _, of_phi = ad.jvp(lambda p: step(p, *at), (phi,), (d_phi,))
        return of_state, of_phi

    def _map(self, t: int) -> Any:
        sample = self.sample(t)

        def step(phi: Tree, w: Tree, state: Tree) -> tuple[Tree, Tree]:
            g = gradient_of(self._task, w, sample)
            if self._held:
                g = ad.tree_map(ad.stop_gradient, g)
            return self._optimizer.step(phi, state, w, g)

        return step


def gradient_of(task: Task, w: Tree, sample: Any) -> Tree:
    """Return d loss/d w: the task's own where it has one, else the tape's."""
    own = getattr(task, "gradient", None)
    return own(w, sample) if own is not None else ad.grad(lambda u: task.loss(u, sample))(w)


def sample_of(task: Task, seed: int, t: int, xp: Namespace) -> Any:
    """Return the randomness of step t of a task, on its device; None for a task that has none."""
    draw = None if getattr(task, "full_batch", False) else getattr(task, "sample", None)
    return None if draw is None else move(draw(rng(seed, "sample", t), t), xp)
