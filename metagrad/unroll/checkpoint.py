"""Which states to keep: the reversal of T steps with room for s states, and the fewest recomputations.

With s states in memory besides the first and every step recomputed at most r times, n(s, r) states can be visited
in reverse, where n(0, r) = r + 1, n(s, 0) = s + 1 and n(s, r) = n(s, r-1) + n(s-1, r): the left part starts from a
state we hold, the right part from one we spend a place on. Hence n(s, r) = C(s+r+1, s) + C(s+r, s+1), which grows
like s^(r+1)/(r+1)!: room for O(sqrt T) states needs one recomputation of each step.
(The binomial schedule of Griewank 1992, with all states of the last part kept.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb
from typing import TypeVar

from metagrad.errors import bad_value

State = TypeVar("State")
Record = TypeVar("Record")
_MOST_RECOMPUTATIONS = 20
_MOST_REDONE_STEPS = 10**9


def reach(places: int, recomputations: int) -> int:
    """Return n(s, r), the number of states that can be visited in reverse.

    >>> [reach(10, r) for r in range(4)]
    [11, 67, 298, 1079]
    """
    s, r = places, recomputations
    return comb(s + r + 1, s) + comb(s + r, s + 1)


@dataclass(frozen=True)
class Plan:
    """How T steps will be reversed: room for `places` states of `state_bytes`, each step redone `recomputations`."""

    steps: int
    places: int
    recomputations: int
    state_bytes: int

    @property
    def least(self) -> int:
        """The fewest places with which no step is redone more often.

        For steps that take less time than memory that is new: the parts are as short as may be, and stay in a cache.
        """
        if self.recomputations == 0:
            return self.places
        return next(s for s in range(self.places + 1) if reach(s, self.recomputations) > self.steps)

    @property
    def peak_bytes(self) -> int:
        """The memory for the kept states: those of the places and the first."""
        return (self.places + 1) * self.state_bytes


def make_plan(steps: int, state_bytes: int, memory: int, where: str = "reverse") -> Plan:
    """Return the plan with the fewest recomputations that keeps within `memory` bytes; ValueError if none does."""
    places = min(steps, max(0, memory // max(1, state_bytes) - 1))
    recomputations = next((r for r in range(_MOST_RECOMPUTATIONS + 1) if reach(places, r) >= steps + 1), None)
    if recomputations is None or (recomputations > 1 and recomputations * steps > _MOST_REDONE_STEPS):
        came = f"{memory} bytes, room for {places + 1} states of {state_bytes} bytes"
        limits = f"each redone at most {_MOST_RECOMPUTATIONS} times, {_MOST_REDONE_STEPS} in all"
        expected = f"enough to reverse {steps} steps with {limits}"
        remedy = "Give more memory, take fewer steps, or use method='forward' (few meta-parameters) or 'closed_form'."
        bad_value(where, "memory", came, expected, remedy)
    return Plan(steps, places, recomputations, state_bytes)


def left_part(count: int, places: int) -> int:
    """Return after how many of `count` states the next one is kept, for which there is a place.

    The states are cut into as few parts as may be of which each is visited with one recomputation less than all of
    them: n(s, r) = n(s, r-1) + n(s-1, r-1) + ... So the right ones, which are redone less often, are as long as their
    places reach, and the first one takes the rest.

    >>> left_part(10_000, 6_354), left_part(10_000, 1_700)
    (3646, 1510)
    """
    r = next(r for r in range(1, count) if reach(places, r) >= count)
    most, left, k = reach(places, r - 1), count, 0
    while left > most and k < places:
        k += 1
        left -= reach(places - k, r - 1)
    return min(left, most)  # n(0, r) = r + 1: a single state more, at the end


def blocks_in_reverse(
    advance: Callable[[State, int, int], State],
    record: Callable[[State, int, int], Record],
    first: State,
    steps: int,
    places: int,
) -> Iterator[tuple[int, int, Record]]:
    """Yield (lo, hi, the states at lo..hi) from the last block to the first, keeping at most `places` states besides
    the first.

    `advance(state, lo, hi)` returns the state at hi from the state at lo, `record(state, lo, hi)` all states at
    lo..hi. The states do not depend on `places`: they are the same recursion, done again.
    """
    waiting = [(first, 0, steps, places)]  # parts of time, the next one last
    while waiting:
        start, lo, hi, places = waiting.pop()
        count = hi - lo + 1  # the states at lo..hi, the first of which is `start`
        if count <= places + 1:
            yield lo, hi, record(start, lo, hi)
        elif places == 0:
            for t in range(hi, lo - 1, -1):
                yield t, t, record(advance(start, lo, t), t, t)
        else:
            left = left_part(count, places)
            waiting.append((start, lo, lo + left - 1, places))
            waiting.append((advance(start, lo, lo + left), lo + left, hi, places - 1))
