"""Many steps at once, where a kernel takes them without being looked at in between: what is noted of a step, for all.

Of a stretch of steps the same is known afterwards as of each of them: that all states and adjoints were within the
range, so that nothing had to be said or shifted, and what was measured. Where that is not so, the stretch ends before;
the step that it ends at is taken by itself. So every number is the same either way, and every Status.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay import ReplayStep
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Carry
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import Array, float_info

MOST = 64  # steps
_LEAST = 4


def is_plain(unroll: Any) -> bool:
    """Whether nothing but sizes is noted of a state on the way."""
    options = unroll.options
    is_looked_at = unroll.recorder is not None or options.copy or options.count or unroll.watches_some
    return unroll.xp is np and not (is_looked_at or unroll.wide or unroll.scale_state or options.precise)


def ahead(unroll: Any, kernel: Any, carry: Carry, lo: int, hi: int) -> list[Carry]:
    """Return the states at lo + 1, ..., as far as a kernel takes them at once; what is new enters the objective."""
    if type(kernel) is not ReplayStep or not is_plain(unroll):
        return []
    hi = min(hi, lo + MOST)
    pairs, values = kernel.ahead(lo, hi, unroll.phi_at, carry.w, carry.state)
    if not pairs:
        return []
    carries = [Carry(w, state, carry.exponent) for w, state in pairs]
    fresh = max(0, unroll.frontier - lo - 1)
    if fresh < len(carries):
        new = carries[fresh:]
        sizes = Sizes([(c.w, c.state) for c in new])
        tiny = 2.0 ** float_info(unroll.dtype).min_exponent
        rows = None if sizes.are_within(tiny, np.inf) else sizes.rows()
        unroll.reach_many(new, lo + 1 + fresh, [*values[fresh + 1 :], None], sizes.most, rows)
    return carries


class Sizes:
    """The largest entries of trees whose arrays lead with B, (n, B): bounds first, which cost less."""

    def __init__(self, trees: list[Tree]) -> None:
        """Look at n trees of one structure."""
        flat = [[x for x in ad.leaves(tree) if is_float_array(x)] for tree in trees]
        self._stacks = [np.abs(np.array(leaves)) for leaves in zip(*flat, strict=True)]
        self.most = _largest([_over_entries(x.max(axis=0)) for x in self._stacks])  # (B,), NaN wins
        # Some entry is at least that large at every time.
        self._least = _largest([_over_entries(x.min(axis=0)) for x in self._stacks])

    def are_within(self, low: float, high: float) -> bool:
        """Whether all sizes are surely in [low, high), or in it but for what the bounds do not tell."""
        if bool(self._least.min() >= low) and bool(self.most.max() < high):
            return True
        rows = self.rows()
        return bool(rows.min() >= low) and bool(rows.max() < high)

    def first_outside(self, low: float, high: float) -> int:
        """Return the first tree with a size outside of (low, high), or how many there are."""
        if bool(self._least.min() > low) and bool(self.most.max() < high):
            return len(self._stacks[0])
        rows = self.rows()
        outside = ~((rows > low) & (rows < high)).all(axis=1)
        return int(outside.argmax()) if outside.any() else len(rows)

    def rows(self) -> Array:
        """Return the sizes, (n, B)."""
        return _largest([x.reshape((*x.shape[:2], -1)).max(axis=2) for x in self._stacks])


def _over_entries(x: Array) -> Array:
    found: Array = x if x.ndim == 1 else x.reshape((len(x), -1)).max(axis=1)
    return found


def _largest(sizes: list[Array]) -> Array:
    total = sizes[0]
    for size in sizes[1:]:
        total = np.maximum(total, size)
    return total


class Backwards:
    """Stretches of a backward sweep; they get shorter where the adjoint leaves its band, and longer where it stays."""

    def __init__(self, sweep: Any) -> None:
        """Bind the sweep (`metagrad.unroll.tape_sweep`)."""
        self._sweep, self._length = sweep, MOST
        unroll, kernel = sweep.unroll, sweep.kernel
        self._is_on = type(kernel) is ReplayStep and is_plain(unroll) and not sweep.plain and not unroll.tally.joint

    def take(self, t: int, lo: int, states: list[Carry], slope: Scaled) -> int:
        """Pull the adjoint back over steps t, t - 1, ... down to lo at the least; return over how many, maybe none."""
        if not self._is_on:
            return 0
        sweep, unroll = self._sweep, self._sweep.unroll
        fold, top = sweep.fold(sweep.exponent + states[-1].exponent)
        if fold is not None:
            return 0
        times = range(t, max(lo - 1, t - self._length), -1)
        at = states[: -len(times) - 1 : -1]  # the states at these times
        factors = None
        weighed = {unroll.tally.weight(time) is not None for time in times}
        if True in weighed:
            found = None if False in weighed else unroll.tally.factors(at, times, slope)
            if found is None or not (found.exponent == sweep.exponent).all():
                return 0
            factors = found.mantissa
        results = sweep.kernel.back(times, unroll.phi_at, at, sweep.adjoint, factors)
        count = self._within(results, factors is not None)
        if count:
            sweep.pulled_many(times[:count], at[:count], results[:count], top, with_terms=factors is not None)
        self._length = min(MOST, 2 * self._length) if count == len(times) else max(_LEAST, min(2 * count, MOST))
        return count

    def _within(self, results: list[Any], with_terms: bool) -> int:
        """Return over how many steps the adjoint stays where nothing is shifted, before and after its term."""
        if not results:
            return 0
        limit = self._sweep.unroll.limit
        count = Sizes([pulled for _, pulled, _ in results]).first_outside(2.0**-limit, 2.0**limit)
        if count and with_terms:
            after = [adjoint for _, _, adjoint in results[:count]]
            count = Sizes(after).first_outside(2.0**-limit, 2.0**limit)
        return count
