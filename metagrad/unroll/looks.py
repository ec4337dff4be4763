"""All the looks that a sweep takes at a run, taken at once when the run is over: value, meta-gradient, and its digits.

A run of which nothing has to be said is made as a whole (`quiet`, `quiet_starts`). The parts that look at it are those
of the sweep (`tape_sweep`): objective, growth, sums, digits, what fell out of the range. Where anything is not as
usual, a number out of its range, a task with another exponent than the others, a Status, there is no answer from here.
The numbers are the same bits either way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from metagrad import ad
from metagrad.guard import frozen
from metagrad.protocols import Estimate, Joint, Position, Tree
from metagrad.replay import Pulled
from metagrad.scaled import Scaled, surely_finite
from metagrad.system import Training
from metagrad.unroll.accumulate import Accumulator
from metagrad.unroll.carry import Ask, Carry
from metagrad.unroll.digits import LOG10_2, Known, cancellation, free_digits
from metagrad.unroll.growth import Growth
from metagrad.unroll.lost import Lost
from metagrad.unroll.monitor import Monitor
from metagrad.unroll.phi import Shape, restore
from metagrad.unroll.rescale import (
    beside,
    exponent_limit,
    folded,
    is_float_array,
    magnitude,
    normalise,
    shift,
    within,
)
from metagrad.unroll.stretch import Sizes, reached
from metagrad.unroll.tally import Tally, Times
from metagrad.unroll.trust import Trust
from metagrad.xp import Array, float_info


class SaidError(Exception):
    """Something has to be said."""


class WasRun(Protocol):
    """A run that was taken forwards."""

    @property
    def has_values(self) -> bool:
        """Whether something is measured before each step."""
        ...

    @property
    def states(self) -> list[Any]:
        """What there is of (w, state) after each step, in arrays (T, B, ...)."""
        ...

    @property
    def values(self) -> Array | None:
        """What was measured before each step, (T, B); None where nothing is."""
        ...

    def pair(self, t: int) -> tuple[Tree, Tree]:
        """Return (w, state) at t > 0."""
        ...

    def end(self) -> tuple[Tree, Tree]:
        """Return (w, state) after the last step, in memory of their own."""
        ...

    def backwards(self, adjoint: Tree, factors: Array | None, look: Callable[[Pulled, range], bool]) -> Pulled | None:
        """Pull the adjoint of w at the end back over all steps; None where not over all of them.

        What is found of some steps is shown to `look`; adjoints are there for as long as that.
        """
        ...


class Terms(NamedTuple):
    """What is measured: what makes the programs of it, and what is known of the end already.

    `near`: what is measured beside the last w, (B,). `are_kept`: whether the meta-gradient is seen to have digits.
    """

    programs: Callable[[Any], Any]
    near: Array | None = None
    are_kept: bool = False


class Given(NamedTuple):
    """What a run is given: phi as the rule completes it and prepared, where it begins, and what is measured.

    `pull_start`: the pullback of the start to phi, a `Joint`, where it owes phi
    something.
    """

    ask: Ask
    system: Training
    phi: Tree
    prepared: Tree
    begin: Carry
    terms: Terms
    pull_start: Callable[[tuple[Tree, Tree]], Joint] | None = None


class Looks:
    """What looks at runs of one kind: of so many steps, in arrays of one shape."""

    def __init__(self, shape: Shape, steps: int, *, held: bool = False) -> None:
        """Take the shape of what is run; `held`: whether the optimizee's gradient is held constant."""
        self.shape, self.steps, self._held = shape, steps, held
        self._limit = exponent_limit(shape.dtype)
        self._tiny = 2.0 ** float_info(shape.dtype).min_exponent
        self.none = np.zeros(shape.batch, np.int64)  # exponents of states

    def estimate(self, given: Given, run: WasRun, told: str) -> Estimate:
        """Return the estimate from a run forwards; SaidError where the sweep has to find it.

        `told`: what is said of its being replayed.
        """
        steps, batch, is_joint = self.steps, self.shape.batch, given.pull_start is not None
        monitor = Monitor(np, batch, self.shape.dtype)
        lost = self._states(given.begin, run)
        end = Carry(*run.end(), self.none)
        tally = self._measured(given, run, end, monitor)
        value, slope = tally.finish()
        pulled, adjoint, exponent = self._pulled(run, tally, end, slope, lost)
        grad, spread, of_start = _summed(given, pulled, exponent)
        grown = None
        if not self._held:
            growth = Growth(np, batch, given.begin.w)
            growth.steps(pulled.sums, (adjoint, end.w), exponent)
            grown = growth.result()
        cancelled = None if spread is None else cancellation(grad, spread, 1)
        grad = restore(grad, given.phi.rule if is_joint else given.phi, batch, per_task=False)
        if of_start is not None:
            grad = Joint(grad, of_start)
        trust = self._shown(given.begin, run, end, tally)
        rounding = None if given.terms.are_kept else trust.lost(tally, held=self._held, done=0)
        known = Known(grown, trust.of_measure(tally, given.terms.near), None if is_joint else trust.floor, cancelled)
        digits, code = free_digits(value, known, shared=True, has_gradient=True)
        status, at = monitor.finish()
        if any(x is not None and x.any() for x in (rounding, code, status, tally.low())) or not value.mantissa.all():
            raise SaidError
        if not all(map(surely_finite, ad.leaves(grad))):
            raise SaidError
        if lost.matters(value, grad, given.prepared, steps, status).any():
            raise SaidError
        where = Position(frozen(end.w), frozen(end.state), self.none.copy(), steps)
        growth_of = None if grown is None else LOG10_2 * grown.chaos
        return Estimate(value, grad, status, at, end=where, digits=digits, growth=growth_of, replay=told)

    def _states(self, begin: Carry, run: WasRun) -> Lost:
        """Return what is known of the sizes of all states, which have to be in the range."""
        start, sizes = magnitude(begin[:2]), Sizes(run.states)
        is_fine = ((start >= self._tiny) | (start == 0)).all() and start.max() < np.inf
        if not is_fine or not sizes.are_within(self._tiny, np.inf):
            raise SaidError
        lost = Lost(begin.w, limit=self._limit, scaled=False, precise=False)
        lost.state(np.maximum(start, sizes.top))
        return lost

    def _measured(self, given: Given, run: WasRun, end: Carry, monitor: Monitor) -> Tally:
        """Return the objective with all that is measured on the way, which has to be of the usual size."""
        steps, values = self.steps, run.values
        times, w = Times(steps, 0), given.begin.w
        tally = Tally(
            given.system, given.ask.objective, given.prepared, times, monitor, w, scale_state=False, plain=False
        )
        tally.measured.take_the_tape()
        tally.measured.terms = given.terms.programs(tally.measured)
        found = None if values is None else values[1:]
        if found is not None and not found.min(initial=np.inf) >= self._tiny:
            raise SaidError
        states = [end] * steps  # of those before the end nothing is asked but what is `found`
        tally.add_many(states, 1, found, tally.weights(range(1, steps + 1)))
        return tally

    def _pulled(self, run: WasRun, tally: Tally, end: Carry, slope: Scaled, lost: Lost) -> tuple[Pulled, Tree, Array]:
        """Return what the way back gives, the adjoint of w at the end, and the one exponent that all adjoints have."""
        steps, limit = self.steps, self._limit
        term = tally.pulled(end, steps, slope, per_task=False)
        if term is None:
            raise SaidError
        exponent, adjoint = term.exponent, ad.tree_map(_plus_zero, term.adjoint[0])
        size = magnitude(adjoint)
        if not within(size, limit) or (exponent != exponent[0]).any():
            raise SaidError
        lost.powers(exponent)
        factors = None
        if run.has_values:
            found = tally.factors([], range(steps - 1, 0, -1), slope)
            assert found is not None
            factors, may = beside(found, exponent, limit)
            if not may.all():
                raise SaidError
        pulled = run.backwards(adjoint, factors, lambda found, times: reached(found, times, limit) == len(times))
        if pulled is None:
            raise SaidError
        return pulled, adjoint, exponent

    def _shown(self, begin: Carry, run: WasRun, end: Carry, tally: Tally) -> Trust:
        """Return what judges the last states, having seen the same ones as in a sweep."""
        trust, steps = Trust(self.steps), self.steps
        seen = {0: begin, steps: end}
        for t in {1, steps - 2, steps - 1} - {-1, 0, steps}:
            seen[t] = Carry(*run.pair(t), self.none)
        for t in sorted(seen):
            trust.see(seen[t], t, in_sum=tally.weight(t) is not None)
        return trust


def _summed(given: Given, pulled: Pulled, exponent: Array) -> tuple[Tree, Tree | None, Tree]:
    """Return the sum over tasks and steps, that of magnitudes, None where the start gives some, and a start's gradient.

    The last is None where none is learned; it is of the mean over tasks.
    """
    gradient = Accumulator(np, entries=None, plain=False)
    gradient.add_many(pulled.phi_bars, exponent[0])
    if given.pull_start is None:
        return gradient.result(), gradient.spread(), None
    adjoint = pulled.pulled.last
    adjoint, power = normalise(adjoint, exponent, magnitude(adjoint), 0)
    fold, top = folded(adjoint, power)
    of_start = given.pull_start(adjoint if fold is None else shift(adjoint, fold))
    gradient.add_whole(of_start.rule, top)
    return gradient.result(), None, _mean_over_tasks(of_start.task, top, len(exponent))


def _mean_over_tasks(tree: Tree, top: Array | int, batch: int) -> Tree:
    """Return sums over tasks, times 2**top, as the gradient of the mean: all leaves at once, which are small."""
    leaves = ad.leaves(tree)
    # Steps give nothing to a start: what a sweep adds is zero.
    found = Scaled.of(np.concatenate([leaf.reshape(-1) for leaf in leaves]) + 0.0, top)
    if batch > 1:
        found = Scaled.of(found.mantissa / batch, found.exponent)
    ends = np.cumsum([leaf.size for leaf in leaves]).tolist()
    parts = iter([found[end - leaf.size : end].reshape(leaf.shape) for leaf, end in zip(leaves, ends, strict=True)])
    return ad.tree_map(lambda _: next(parts), tree)


def _plus_zero(leaf: Any) -> Any:
    return leaf + 0.0 if is_float_array(leaf) else leaf
