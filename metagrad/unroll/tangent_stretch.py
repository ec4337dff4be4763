"""Many steps of forward mode at once: states first, then each tangent beside them, then all that is noted of them.

A stretch ends before a step of which anything has to be said or shifted: before a state or a tangent that leaves its
range, before a term that no logarithm is taken of, and before a time to be looked at. That step is taken by itself. So
every number is the same either way, and every Status.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad, parts
from metagrad.replay import Passed, Pushed, ReplayStep
from metagrad.scaled import Scaled, ldexp
from metagrad.unroll.carry import Carry
from metagrad.unroll.rescale import is_float_array
from metagrad.unroll.stretch import MOST, Sizes, is_plain
from metagrad.unroll.tangents import Tangent
from metagrad.xp import Array, float_info

_LEAST, _FAILED_OFTEN, _MOST_FAILED = 4, 3, 5
_BYTES, _MOST_BYTES = 1 << 20, 1 << 25  # of the states of a stretch, and of all its tangents
_HELD = 3  # of a tangent at each step: what it gives to the next one, what that of phi gives, and the next one
_MOST_SHIFTED = 4  # times the limit of a tangent: an exponent up to which what phi gives is multiplied, not shifted


class _Moved(NamedTuple):
    """What became of one tangent over some steps."""

    tangent: Tangent
    found: Pushed
    of_w: int  # how many leaves of a tangent are w's


class TangentStretch:
    """Stretches of forward mode; they get shorter where something has to be said or shifted, and longer elsewhere."""

    def __init__(self, unroll: Any, kernel: Any, tangents: list[Tangent], carry: Carry) -> None:
        """Bind the unroll, what takes its steps, and the tangents; `carry` is the first state."""
        self._unroll, self._kernel, self._tangents = unroll, kernel, tangents
        self._failed = self._pause = 0
        self._tiny = 2.0 ** float_info(unroll.dtype).min_exponent
        size = max(1, unroll.carry_bytes(carry))
        room = min(_BYTES // size, _MOST_BYTES // (size * _HELD * max(1, len(tangents))))
        self._most = self._length = min(MOST, room)
        # Where there is room for few steps only, the engine takes little time beside them.
        is_usual = is_plain(unroll) and unroll.options.scaling != "none" and room >= _LEAST
        self._is_on = bool(tangents) and type(kernel) is ReplayStep and is_usual and unroll.entries is None
        if self._is_on:
            kernel.is_along = True

    def take(self, t: int, carry: Carry) -> tuple[int, Carry] | None:
        """Take steps from t on and note them; return how many, and the state after them; None where there is none."""
        if not self._is_on:
            return None
        if self._pause:
            self._pause -= 1
            return None
        end = self._kernel.end_along(t, self._end(t))
        if end - t < _LEAST:
            return None
        self._kernel.is_along = True
        taken = self._kernel.passed_ahead(range(t, end), self._unroll.phi_at, carry.w, carry.state)
        asked = 0 if taken is None else len(taken.pairs)
        found = None if taken is None else self._taken(t, carry, taken)
        if found is None:  # steps of this kind, one after the other: try less and less often
            self._failed, self._length = min(self._failed + 1, _MOST_FAILED), _LEAST
            self._pause = (1 << self._failed) - 1
            self._kernel.is_along = self._failed < _FAILED_OFTEN
            return None
        self._failed = 0
        longer = 2 * (self._length if found[0] == asked else found[0])
        self._length = max(_LEAST, min(self._most, longer))
        return found

    def _end(self, lo: int) -> int:
        """Return up to where steps may be taken: what stands at the end is measured by itself."""
        tally, kernel = self._unroll.tally, self._kernel
        hi: int = min(lo + self._length, self._unroll.steps)
        looked_at = () if tally.measured.terms is None else tally.measured.terms.looked_at
        for k, weight in enumerate(tally.weights(range(lo + 1, hi)), start=lo + 1):
            if weight is not None and (k in looked_at or not kernel.adds_terms):
                return k
        return hi

    def _taken(self, t: int, carry: Carry, taken: Passed) -> tuple[int, Carry] | None:
        """Return how many of the steps are as they may be, and the state after them, all noted; None where none is."""
        unroll = self._unroll
        states = Sizes(taken.pairs.leaves).rows()
        count = _first((states >= self._tiny) & (states < np.inf))
        if taken.values is not None and parts.takes_a_logarithm(unroll.objective):
            count = min(count, 1 + _first(taken.values[1:] > 0))
        moved: list[_Moved] = []
        for tangent in self._tangents:
            one = self._moved(t, taken, tangent) if count else None
            if one is None:
                return None
            moved.append(one)
            count = min(count, self._reached(one, taken.values))
        if not count:
            return None
        carries = [Carry(w, state, carry.exponent) for w, state in taken.pairs.part(0, count).trees]
        self._note(t, [carry, *carries], taken, moved)
        return count, carries[-1]

    def _moved(self, t: int, taken: Passed, tangent: Tangent) -> _Moved | None:
        exponent = tangent.exponent
        if exponent.any() and not (exponent.min() >= 0 and exponent.max() <= _MOST_SHIFTED * self._unroll.limit):
            return None
        unit = np.ones(self._unroll.batch, self._unroll.dtype)
        factor = ldexp(unit, -exponent) if exponent.any() else unit
        found = self._kernel.pushed(taken, tangent.tree, tangent.direction.at(t)[0], factor)
        return None if found is None else _Moved(tangent, found, len(ad.leaves(tangent.tree[0])))

    def _reached(self, moved: _Moved, values: Array | None) -> int:
        """Return over how many steps a tangent's exponent is what it is, with nothing to be said."""
        (tangent, found, _), limit = moved, self._unroll.limit
        sizes = Sizes(found.after.leaves).rows()
        count = _first((sizes == 0) | ((sizes > 2.0**-limit) & (sizes < 2.0**limit)))
        if tangent.exponent.any():  # one of nothing has no exponent, so that the next has that of what phi gives
            of_state = Sizes(found.of_state.leaves).rows()
            count = min(count, _first((of_state != 0) | (tangent.exponent == 0)))
        if self._unroll.tally.joint and found.terms and values is not None and count > 1:
            measured = found.terms[0][1:count]  # where it is not what the state's was, that is looked at
            expected = values[1 : len(measured) + 1]
            alike = (measured == expected) | (np.isnan(measured) & np.isnan(expected))
            count = min(count, 1 + _first(alike))
        return count

    def _note(self, t: int, carries: list[Carry], taken: Passed, moved: list[_Moved]) -> None:
        """Note steps as they are by themselves: what tangents did, then the states, what is measured, and its slope."""
        unroll, count = self._unroll, len(carries) - 1
        sizes = Sizes(taken.pairs.part(0, count).leaves)
        for one in moved:
            if one.tangent.growth is not None:
                self._grow(one, carries, sizes)
        unroll.monitor.passed(range(t, t + count), len(moved))
        if t == 0:
            unroll.check_first(carries[0], carries[1])
        unroll.lost.count_many([(c.w, c.state) for c in carries[1:]], sizes.smallest)
        values = None if taken.values is None else taken.values[1 : count + 1]
        unroll.reach_many(carries[1:], t + 1, values, sizes, None)
        for tangent, found, _ in moved:
            tree = found.after.part(count - 1, count).trees[0]
            tangent.tree = ad.tree_map(lambda x: x.copy("K") if is_float_array(x) else x, tree)
            self._measure(t, carries, tangent, found)
            tangent.measure(carries[-1], t + count)
        self._kernel.went(count, len(moved))

    def _grow(self, moved: _Moved, carries: list[Carry], states: Sizes) -> None:
        """Note the growth of a tangent, of a rule without a state: what is noted of states is noted of w."""
        (tangent, found, of_w), count = moved, len(carries) - 1
        after = Sizes([x[:count] for x in found.after.leaves[:of_w]]).rows()
        now = Sizes([x[:count] for x in found.of_state.leaves[:of_w]]).rows()
        first, w = (Sizes([x[None] for x in ad.leaves(tree)]).rows() for tree in (tangent.tree[0], carries[0].w))
        was, before = np.concatenate([first, after[:-1]]), np.concatenate([w, states.rows()[:-1]])
        tangent.grew((was, now), before, carries[0].exponent)

    def _measure(self, t: int, carries: list[Carry], tangent: Tangent, found: Pushed) -> None:
        """Add what a tangent gives to what is measured between the first state and the last."""
        tally = self._unroll.tally
        weights = tally.weights(range(t + 1, t + len(carries) - 1))
        weighed = [k for k, weight in enumerate(weights, start=1) if weight is not None]
        breaks = [0, *(i for i, (a, b) in enumerate(pairwise(weighed), start=1) if b - a > 1), len(weighed)]
        for i, j in pairwise(breaks) if weighed else ():
            first, last = weighed[i], weighed[j - 1]
            times = range(t + last, t + first - 1, -1)
            slopes = tally.slopes(carries[first : last + 1][::-1], times)
            factors = Scaled(slopes.mantissa[::-1], slopes.exponent[::-1])
            *_, along = terms = [x[first : last + 1] for x in found.terms]
            if tally.joint:
                _, along, beside = terms
                moved = Scaled.of(along, tangent.exponent) + Scaled.of(beside)
            else:
                moved = Scaled.of(along, tangent.exponent)
            tangent.derivative = _added(tangent.derivative, factors * moved)


def _first(are_fine: Array) -> int:
    """Return the first of rows (n, B) that is not all true, or how many there are."""
    rows = are_fine.all(axis=1)
    return len(rows) if rows.all() else int(rows.argmin())


def _added(total: Scaled, rows: Scaled) -> Scaled:
    """Return a sum (B,), with rows (n, B) added to it one after the other."""
    bound = float_info(rows.dtype).max_exponent // 2 - 12
    mantissas, exponents = (
        np.concatenate([getattr(total, part)[None], getattr(rows, part)]) for part in ("mantissa", "exponent")
    )
    if abs(exponents).max() <= bound and np.isfinite(mantissas).all():
        # No sum of floats leaves the range, so that each is rounded as it is where an exponent stands beside it.
        return Scaled.of(np.add.accumulate(ldexp(mantissas, exponents), axis=0)[-1])
    for k in range(len(rows)):
        total = total + Scaled(rows.mantissa[k], rows.exponent[k])
    return total
