"""What programs of a step are recorded of: the step by the tape, its pullback, and what is measured beside it."""

from __future__ import annotations

from typing import Any

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.adjoints import Sums, along_tasks, is_float, sums_of, with_term
from metagrad.replay.apart import Apart
from metagrad.system import Training
from metagrad.xp import Array, like, rng

Pair = tuple[Tree, Tree]  # (w, state)


class OfStep:
    """Functions of (time, phi, w, state, sample), and of the adjoint.

    Where a task is taken `apart`, phi is (phi, data): what is constant in a program of one task alone.
    """

    def __init__(self, system: Training, terms: Any | None, apart: Apart | None = None) -> None:
        """Bind the system, and what is measured at most times (`metagrad.replay.terms`), None where nothing is."""
        self._system, self._terms, self._apart = system, terms, apart

    def _on(self, phi: Tree) -> tuple[Training, Tree]:
        """Return the system on the data beside phi, and phi alone."""
        if self._apart is None:
            return self._system, phi
        phi, data = phi
        if data is self._apart.data:
            return self._system, phi
        return self._system.on(self._apart.with_data(data)), phi

    def _of_term(self, trees: Any) -> Any:
        """Return what the measure is a function of, and the sample as it takes that."""
        _, phi, w, state, sample = trees
        phi, sample = (phi, sample) if self._apart is None else (phi[0], (sample, phi[1]))
        at = (phi, w, state) if self._terms is not None and self._terms.joint else (w,)
        return *at, sample

    def stepped(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree) -> Pair:
        """Return the next (w, state)."""
        system, phi = self._on(phi)
        return system.stepped(time, phi, w, state, sample)

    def recorded(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree) -> ad.Pullback:
        """Return the pullback of the step, with all that was recorded."""
        system, phi = self._on(phi)
        return ad.recorded(lambda p, x, s: system.stepped(time, p, x, s, sample), phi, w, state)

    def pulled(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree, made: Any) -> Any:
        """Return the cotangents of phi and of (w, state), and the gradient of what is measured, if it is at most times.

        The two have the gradient of the loss in common, which is then computed once. `made`: the adjoint, and what the
        gradient is multiplied by before it is added to that of w, (B,); the adjoint with it comes last. Where what is
        measured depends on phi, too, the first are two, of the step and of the term, and so are the factors, (2, B), of
        which the second is the cotangent that gives phi its part.
        """
        phi_bar, w_bar, state_bar = self.recorded(time, phi, w, state, sample)(made[0])
        return self.with_slope((time, phi, w, state, sample), phi_bar, (w_bar, state_bar), *made)

    def with_slope(self, trees: Any, phi_bar: Tree, pulled: Pair, given: Pair, factor: Array) -> Any:
        """Return what `pulled` does: cotangents, the gradient of what is measured, the adjoint with it, and sums."""
        w = trees[2]
        sums = sums_of(pulled[0], w), sums_of(given[0], w)
        if self._terms is None:
            return phi_bar, pulled, None, None, Sums(*sums, None)
        if self._terms.joint:
            of_phi, *slopes = self._terms.pulled(*self._of_term(trees), factor[1])
            after = ad.tree_map(
                lambda x, s: x + s * along_tasks(factor[0], s) if is_float(x) else x, pulled, tuple(slopes)
            )
            return (phi_bar, of_phi), pulled, None, after, Sums(*sums, sums_of(after[0], w))
        slope = self._terms.slope(*self._of_term(trees))
        after = with_term(pulled, slope, factor)
        return phi_bar, pulled, slope, after, Sums(*sums, sums_of(after[0], w))

    def valued(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree) -> Any:
        """Return what is measured at w, where that is at most times: the step computes most of it."""
        return None if self._terms is None else self._terms.valued(*self._of_term((time, phi, w, state, sample)))

    def pushed(
        self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree, d_phi: Tree, tangent: Pair
    ) -> tuple[Pair, Pair]:
        """Return what the tangents of (w, state) and of phi add to the next tangent."""
        system, phi = self._on(phi)

        def step(phi: Tree, w: Tree, state: Tree) -> Pair:
            return system.stepped(time, phi, w, state, sample)

        _, of_state = ad.jvp(lambda *at: step(phi, *at), (w, state), tangent)
        _, of_phi = ad.jvp(lambda p: step(p, w, state), (phi,), (d_phi,))
        return of_state, of_phi

    def along(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree, made: Any, units: Any) -> Any:
        """Return what `pushed` does, and what `with_term` finds beside it.

        `made`: the tangent of (w, state), and what that of phi is multiplied by, (B,); `units`: the leaves of the
        latter.
        """
        trees, d_phi = (time, phi, w, state, sample), self.direction(phi, units)
        return self.with_next(trees, self.pushed(*trees, d_phi, made[0]), made, d_phi)

    def direction(self, phi: Tree, units: Any) -> Tree:
        """Return the tangent of phi whose leaves are `units`; phi as programs take it."""
        return ad.unflatten(phi if self._apart is None else phi[0], list(units))

    def with_next(self, trees: Any, pushed: tuple[Pair, Pair], made: Any, d_phi: Tree) -> Any:
        """Return the two parts of the next tangent, it, and what the tangent gives to what is measured at w, if known.

        Of a measure of w alone that is its derivative along the tangent, (B,). Else it is three of (B,): what is
        measured, what the tangent of (w, state) adds to it, and what that of phi adds.
        """
        of_state, of_phi = pushed
        tangent, factor = made
        after = ad.tree_map(lambda x, y: x + y * along_tasks(factor, y) if is_float(x) else x, of_state, of_phi)
        if self._terms is None:
            return pushed, after, ()
        if self._terms.joint:
            return pushed, after, self._terms.pushed(*self._of_term(trees), d_phi, tangent)
        slope = self._terms.slope(*self._of_term(trees))
        return pushed, after, (slope_along(slope, tangent[0]),)


def slope_along(slope: Tree, tangent: Tree) -> Array:
    """Return the sum of slope times tangent over all entries, (B,)."""
    pairs = zip(ad.leaves(slope), ad.leaves(tangent), strict=True)
    products = [(a * b).reshape(a.shape[0], -1).sum(axis=1) for a, b in pairs if is_float(a)]
    return sum(products[1:], products[0])


class OfDeviceStep(OfStep):
    """The same where a step is taken by itself: adjoints may be shifted, task by task, before they are pulled to phi.

    So `made` is (adjoint, the one for phi, factor), and neither the adjoint with the term nor sums are made.
    """

    def pulled(self, time: int, phi: Tree, w: Tree, state: Tree, sample: Tree, made: Any) -> Any:
        """Return the cotangents of phi and of (w, state), and the gradient of what is measured, where it is wanted."""
        adjoint, of_phi, factor = made
        pull = self.recorded(time, phi, w, state, sample)
        phi_bar, _, _ = pull(of_phi, wrt=(0,))
        _, *pulled = pull(adjoint, wrt=(1, 2))
        return phi_bar, tuple(pulled), self._slope((time, phi, w, state, sample), factor)

    def _slope(self, trees: Any, factor: Array) -> Any:
        if self._terms is None or self._terms.joint:
            return None
        return self._terms.slope(*self._of_term(trees))


def adjoint_like(pair: Pair, seed: int) -> Pair:
    """Return an adjoint of (w, state) to record with: normal numbers, None for counters."""
    draw = rng(seed, "adjoint")

    def drawn(x: Any) -> Any:
        return like(x, draw.standard_normal(x.shape).astype(x.dtype)) if is_float(x) else None

    found: Pair = ad.tree_map(drawn, pair)
    return found
