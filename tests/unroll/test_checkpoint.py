"""The reversal of an unroll: right order, within its memory, with the recomputations promised."""

from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad.unroll.checkpoint import blocks_in_reverse, make_plan, reach


class CountingSteps:
    """Steps whose state is (t, a token that lives as long as the state is kept)."""

    def __init__(self):
        self.alive, self.most_alive, self.done = 0, 0, 0

    def state(self, t):
        counter = self

        class Token:
            def __init__(self):
                counter.alive += 1
                counter.most_alive = max(counter.most_alive, counter.alive)

            def __del__(self):
                counter.alive -= 1

        return t, Token()

    def in_reverse(self, steps, places):
        for lo, hi, kept in blocks_in_reverse(self.advance, self.record, self.state(0), steps, places):
            for t in range(hi, lo - 1, -1):
                yield t, kept.pop()

    def record(self, state, lo, hi):
        kept = [state]
        for t in range(lo, hi):
            kept.append(self.advance(kept[-1], t, t + 1))
        return kept

    def advance(self, state, lo, hi):
        assert state[0] == lo
        for t in range(lo, hi):
            self.done += 1
            state = self.state(t + 1)
        return state


@given(st.integers(1, 120), st.integers(1, 30))
def test_every_state_comes_once_in_reverse_and_memory_is_kept(steps, places):
    run = CountingSteps()
    times = []
    for t, state in run.in_reverse(steps, places):
        assert state[0] == t
        times.append(t)
        del state
    assert times == list(range(steps, -1, -1))
    # the first state, the places, and the two of a step in progress
    assert run.most_alive <= places + 3


@given(st.integers(1, 200), st.integers(1, 40))
def test_recomputations_are_what_the_plan_says(steps, places):
    run = CountingSteps()
    for _ in run.in_reverse(steps, places):
        pass
    plan = make_plan(steps, 8, 8 * (places + 1))
    assert run.done <= (plan.recomputations + 1) * steps


@given(st.integers(2, 10**6))
def test_room_for_the_square_root_needs_two_sweeps(steps):
    places = isqrt(2 * steps) + 1
    assert make_plan(steps, 8, 8 * (places + 1)).recomputations <= 1


def test_reach_is_its_recursion():
    for s in range(1, 12):
        for r in range(1, 12):
            assert reach(s, r) == reach(s, r - 1) + reach(s - 1, r)
    assert [reach(0, r) for r in range(4)] == [1, 2, 3, 4]
    assert [reach(s, 0) for s in range(4)] == [1, 2, 3, 4]


def test_a_plan_that_does_not_fit_says_so():
    with pytest.raises(
        ValueError, match=r"room for 1 states of 8000 bytes.*reverse 1000000000 steps.*Give more memory"
    ):
        make_plan(10**9, 8000, 8000)
    with pytest.raises(ValueError, match="Give more memory"):
        make_plan(10**9, 24, 1000)


@pytest.mark.parametrize("places", [0, 1, 2, 5, 17, 60, 141, 200, 399])
@pytest.mark.parametrize("steps", [1, 2, 18, 100, 400])
def test_parts_are_few_and_no_step_is_redone_more_often_than_planned(steps, places):
    if reach(places, 20) < steps + 1:
        pytest.skip("too many recomputations")
    times, seen, parts = [0] * steps, [], []

    def advance(state, lo, hi):
        assert state == lo
        for t in range(lo, hi):
            times[t] += 1
        return hi

    def record(state, lo, hi):
        parts.append(hi - lo + 1)
        return advance(state, lo, hi)

    for lo, hi, _ in blocks_in_reverse(advance, record, 0, steps, places):
        seen += range(hi, lo - 1, -1)
    assert seen == [*range(steps, -1, -1)]
    most = next(r for r in range(21) if reach(places, r) >= steps + 1)
    assert max(times) <= most + 1
    assert max(parts) <= places + 1
    if most == 1 and places > 1:  # all parts but one are as long as their places reach
        capacity = [places + 1, *range(places, 0, -1)]
        assert len(parts) <= 1 + next(k for k in range(len(capacity)) if sum(capacity[: k + 1]) >= steps + 1)


def test_the_fewest_places_with_which_no_step_is_redone_more_often():
    plan = make_plan(10_000, 1, 6_355)
    assert (plan.places, plan.recomputations, plan.least) == (6_354, 1, 140)
    assert reach(140, 1) > 10_000 >= reach(139, 1)
    assert make_plan(100, 1, 1_000).least == 100
