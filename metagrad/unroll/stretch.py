"""Many steps at once, where a kernel takes them without being looked at in between: what is noted of a step, for all.

Of a stretch of steps the same is known afterwards as of each of them: that all states and adjoints were within the
range, so that nothing had to be said or shifted, and what was measured. Where that is not so, the stretch ends before;
the step that it ends at is taken by itself. A term gets the exponent of its adjoint in a stretch and by itself where it
may (`rescale.beside`) and the sum stays in the band. So every number is the same either way, and every Status.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metagrad.replay import Pulled, ReplayStep
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Carry
from metagrad.unroll.rescale import beside, is_float_array, row_maxima, summed
from metagrad.xp import Array, float_info

MOST = 64  # steps
_LEAST, _MOST_FAILED = 4, 5
_BYTES = 1 << 19  # of the adjoints of a stretch, which are held until it has been looked at


def is_plain(unroll: Any) -> bool:
    """Whether nothing but sizes is noted of a state on the way."""
    options = unroll.options
    is_looked_at = unroll.recorder is not None or options.copy or unroll.watches_some
    return unroll.xp is np and not (is_looked_at or unroll.wide or unroll.scale_state or options.precise)


def ahead(unroll: Any, kernel: Any, carry: Carry, lo: int, hi: int) -> list[Carry]:
    """Return the states at lo + 1, ..., as far as a kernel takes them at once; what is new enters the objective."""
    if type(kernel) is not ReplayStep or hi - lo < _LEAST or not is_plain(unroll):
        return []
    hi = min(hi, lo + MOST)
    pairs, values = kernel.ahead(lo, hi, unroll.phi_at, carry.w, carry.state)
    if not pairs:
        return []
    carries = [Carry(w, state, carry.exponent) for w, state in pairs.trees]
    if lo == 0:
        unroll.check_first(carry, carries[0])
    fresh = max(0, unroll.frontier - lo - 1)
    if fresh < len(carries):
        new = carries[fresh:]
        sizes = Sizes(pairs.part(fresh, len(pairs)).leaves)
        tiny = 2.0 ** float_info(unroll.dtype).min_exponent
        rows = None if sizes.are_within(tiny, np.inf) else sizes.rows()
        if unroll.options.count:
            unroll.lost.count_many([(c.w, c.state) for c in new], sizes.smallest)
        unroll.reach_many(new, lo + 1 + fresh, None if values is None else values[fresh + 1 :], sizes, rows)
    return carries


class Sizes:
    """The largest entries of trees whose arrays lead with B, (n, B): bounds first, which cost less."""

    def __init__(self, leaves: list[Any]) -> None:
        """Look at n trees of one structure, leaf by leaf, (n, B, ...)."""
        self._stacks = [x for x in leaves if is_float_array(x) and x.ndim > 1]
        ends = [float(end) for x in self._stacks for end in (x.max(), -x.min())]
        self.top = math.nan if math.isnan(sum(ends)) else max(ends)  # NaN wins

    @property
    def smallest(self) -> float:
        """The smallest of all entries, NaN where there is one."""
        return float(np.min([np.abs(x).min() for x in self._stacks]))

    @property
    def most(self) -> Array:
        """The largest of each row at any time, (B,), NaN wins."""
        return _largest([_over_entries(np.maximum(x.max(axis=0), -x.min(axis=0))) for x in self._stacks])

    def _reaches(self, low: float, *, is_open: bool) -> bool:
        """Whether it is found at once that no row's largest is ever below."""
        for x in self._stacks:  # some entry of each row, which may do
            first = np.abs(x.reshape((*x.shape[:2], -1))[..., 0])
            if bool((first > low).all() if is_open else (first >= low).all()):
                return True
        return False

    def are_within(self, low: float, high: float) -> bool:
        """Whether all sizes are surely in [low, high), or in it but for what the bounds do not tell."""
        if self.top < high and self._reaches(low, is_open=False):
            return True
        rows = self.rows()
        return bool(rows.min() >= low) and bool(rows.max() < high)

    def first_outside(self, low: float, high: float) -> int:
        """Return the first tree with a size outside of (low, high), or how many there are."""
        if self.top < high and self._reaches(low, is_open=True):
            return len(self._stacks[0])
        rows = self.rows()
        outside = ~((rows > low) & (rows < high)).all(axis=1)
        return int(outside.argmax()) if outside.any() else len(rows)

    def rows(self) -> Array:
        """Return the sizes, (n, B)."""
        sizes = [np.abs(x) for x in self._stacks]
        return _largest([_over_entries(x.reshape((-1, *x.shape[2:]))).reshape(x.shape[:2]) for x in sizes])


def _over_entries(x: Array) -> Array:
    return x if x.ndim == 1 else row_maxima(x.reshape((len(x), -1)))


def _largest(sizes: list[Array]) -> Array:
    total = sizes[0]
    for size in sizes[1:]:
        total = np.maximum(total, size)
    return total


class Backwards:
    """Stretches of a backward sweep; they get shorter where the adjoint leaves its band, and longer where it stays."""

    def __init__(self, sweep: Any) -> None:
        """Bind the sweep (`metagrad.unroll.tape_sweep`)."""
        self._sweep, self._most, self._length = sweep, 0, MOST
        self._failed = self._pause = 0
        unroll, kernel = sweep.unroll, sweep.kernel
        self._is_on = type(kernel) is ReplayStep and is_plain(unroll) and not sweep.plain

    def take(self, t: int, lo: int, states: list[Carry], slope: Scaled) -> int:
        """Pull the adjoint back over steps t, t - 1, ... down to lo at the least; return over how many, maybe none."""
        if not self._is_on:
            return 0
        if self._pause:
            self._pause -= 1
            return 0
        count, asked = self._taken(t, lo, states, slope)
        if count == 0 < asked:  # steps of this kind, one after the other: try less and less often
            self._failed = min(self._failed + 1, _MOST_FAILED)
            self._pause = (1 << self._failed) - 2
        elif count:
            self._failed = 0
            longer = 2 * (self._length if count == asked else count)
            self._length = max(_LEAST, min(self._most, longer))
        return count

    def _taken(self, t: int, lo: int, states: list[Carry], slope: Scaled) -> tuple[int, int]:
        """Return over how many steps the adjoint was pulled back, and over how many it might have been."""
        sweep, unroll = self._sweep, self._sweep.unroll
        if not self._most:
            self._most = self._length = max(_LEAST, min(MOST, _BYTES // unroll.carry_bytes(states[-1])))
        first = max(lo, t - self._length + 1)
        weights = unroll.tally.weights(range(t, first - 1, -1))
        is_weighed = t > 0 and weights[0] is not None
        # A step to be looked at is taken by itself, and one whose term is of another kind. At 0 none is added.
        end, looked_at = t, sweep.kernel.looked_at
        while end >= max(first, 1) and end not in looked_at and (weights[t - end] is not None) is is_weighed:
            end -= 1
        if end == first == 0 and 0 not in looked_at and not unroll.tally.measured.begins_in_phi:
            end = -1
        times = range(t, end, -1)
        if not times:
            return 0, 0
        at = states[: -len(times) - 1 : -1]  # the states at these times
        factors, tops, room = None, None, len(times)
        if is_weighed and not sweep.kernel.adds_terms:
            return 0, len(times)
        if is_weighed:
            weighed = times if times[-1] else times[:-1]
            found = unroll.tally.factors(at, weighed, slope)
            if found is None:
                return 0, len(times)
            factors, may = beside(found, sweep.exponent, unroll.limit)
            if unroll.tally.joint:
                of_phi, tops = summed(found, per_task=sweep.per_task)
                may = may & factors.all(axis=-1)  # by the tape zeros are strong
                factors = np.stack([factors, of_phi], axis=1)
            room = len(times) if may.all() else int(may.argmin())
            if not room:
                return 0, len(times)
            if weighed is not times:  # at 0 any factor will do
                factors = np.concatenate([factors, factors[-1:]])
        fold, top = sweep.fold(sweep.exponent + at[0].exponent)
        found = sweep.kernel.back(
            times[:room], unroll.phi_at, at[:room], sweep.later, sweep.adjoint, fold=fold, factors=factors
        )
        if found is None:
            return 0, len(times)
        count = reached(found, times, unroll.limit)
        if count:
            tops = None if tops is None else tops[:count]
            sweep.pulled_many(times[:count], at[:count], found.first(count), top, tops)
        return count, len(found.pulled)


def reached(found: Pulled, times: range, limit: int) -> int:
    """Return over how many steps the adjoint stays where nothing is shifted, before and after its term."""
    low, high = 2.0**-limit, 2.0**limit
    count = Sizes(found.pulled.leaves).first_outside(low, high)
    with_terms = min(count, len(times) - (times[-1] == 0)) if found.has_terms else 0
    if with_terms:
        # A term that depends on w alone gives nothing to the adjoint of the rule's state.
        after = found.after.part(0, with_terms).leaves
        changed = after if found.is_joint else after[: found.of_w]
        if Sizes(changed).first_outside(low, high) < with_terms:
            within = Sizes(after).first_outside(low, high)
            count = count if within == with_terms else within
    return count
