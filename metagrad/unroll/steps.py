"""One step of an unroll and its derivatives, by the tape: the default for any task and any update rule."""

from __future__ import annotations

from typing import Any, Protocol

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.system import Training
from metagrad.unroll.rescale import shift
from metagrad.xp import Array


class StepKernel(Protocol):
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
    """The step of the system, differentiated by the tape; times are those of the unroll, `offset` later in the run."""

    def __init__(self, system: Training, offset: int = 0) -> None:
        """Bind the system."""
        self._system, self._offset = system, offset

    def step(self, t: int, phi: Tree, w: Tree, state: Tree) -> tuple[Tree, Tree]:
        """Return the next (w, state)."""
        return self._system.step(self._offset + t, phi, w, state)

    def pullback(
        self, t: int, phi: Tree, at: tuple[Tree, Tree], adjoint: tuple[Tree, Tree], fold: Array | None
    ) -> tuple[Tree, tuple[Tree, Tree]]:
        """Return the cotangents of phi and of (w, state)."""
        pull = self.recorded(t, phi, at)
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

    def recorded(self, t: int, phi: Tree, at: tuple[Tree, Tree]) -> ad.Pullback:
        """Return the pullback of the step, with all that was recorded."""
        return ad.recorded(self._map(t), phi, *at)

    def _map(self, t: int) -> Any:
        return lambda phi, w, state: self._system.step(self._offset + t, phi, w, state)
