"""What steps leave for their pullbacks: found by time and state, within its room, and its memory given back."""

import numpy as np
import pytest

from metagrad.replay.kept_steps import KeptSteps
from metagrad.replay.stretches import Spare, Taken
from metagrad.replay.whole_program import Place

W, STATE = np.ones((2, 3)), ()
PLACE = Place.of(W)


class At:
    """A state of a run."""

    def __init__(self, w=None, state=STATE):
        self.w, self.state = np.array(W) if w is None else w, state


def stretch(spare, count):
    """Return steps that were taken at once, and their (w, state): step k left k in every entry."""
    room = spare.room(PLACE, count)
    room[:count] = np.arange(count)[:, None, None]
    taken = Taken(None, np.zeros((count, 1), np.int64), 0, [(PLACE, room)])
    taken.samples, taken.left = [None] * count, count
    return taken, [(np.array(W), STATE) for _ in range(count)]


def test_a_step_is_known_by_its_time_and_its_very_state():
    kept, at = KeptSteps(1000, Spare()), At()
    kept.keep(4, at.w, at.state, None, (W,))
    assert kept.get(4, at.w, at.state).arrays[0] is W
    assert kept.get(4, at.w.copy(), at.state) is None
    assert kept.get(3, at.w, at.state) is None
    kept.drop(4)
    kept.drop(4)  # what is gone is gone
    assert kept.get(4, at.w, at.state) is None


def test_the_oldest_goes_where_there_is_no_room():
    states = [At() for _ in range(4)]
    kept = KeptSteps(2 * W.nbytes, Spare())
    for t, at in enumerate(states):
        kept.keep(t, at.w, at.state, None, (W.copy(),))
    assert [kept.get(t, at.w, at.state) is not None for t, at in enumerate(states)] == [False, False, True, True]


def test_a_step_that_is_larger_than_the_room_ends_it():
    kept, at = KeptSteps(W.nbytes - 1, Spare()), At()
    kept.keep(0, at.w, at.state, None, (W,))
    assert kept.room == 0
    kept = KeptSteps(W.nbytes - 1, spare := Spare())
    kept.keep_many(range(3), *stretch(spare, 3))
    assert kept.room == 0


def test_a_stretch_is_found_step_by_step_and_gives_its_memory_back():
    spare = Spare()
    kept, (taken, pairs) = KeptSteps(10_000, spare), stretch(spare, 5)
    kept.keep_many(range(7, 12), taken, pairs)
    times, states = range(11, 6, -1), [At(*pair) for pair in pairs[::-1]]
    found = kept.known(times, states, set())
    assert [step.arrays[0][0, 0] for step in found] == [4, 3, 2, 1, 0]
    assert len(kept.known(times, states, {9})) == 2  # one that is to be looked at ends them
    other = [*states[:3], At(), states[4]]
    assert len(kept.known(times, other, set())) == 3  # so does another state
    for t in times:
        assert spare.nbytes == 0
        kept.drop(t)
    assert spare.nbytes == 8 * W.nbytes  # as many as were lent: a few more than there are steps


@pytest.mark.parametrize("many", [False, True])
def test_samples_are_held_where_they_take_no_memory(many):
    """Views of one array are held by stretches; what is drawn anew, or kept step by step, is to be drawn again."""
    data, spare = np.ones((6, 50)), Spare()
    for samples, are_drawn in (([data[t] for t in range(4)], not many), ([data[t].copy() for t in range(4)], True)):
        kept = KeptSteps(10_000, spare)
        states = [At() for _ in range(4)]
        if many:
            taken, _ = stretch(spare, 4)
            taken.samples = list(samples)
            kept.keep_many(range(4), taken, [(at.w, at.state) for at in states])
        else:
            for t, at in enumerate(states):
                kept.keep(t, at.w, at.state, samples[t], (W,))
        later = [kept.get(t, at.w, at.state) for t, at in enumerate(states)][1:]  # the first has nothing before it
        assert [step.is_drawn_again for step in later] == [are_drawn] * 3
        assert [step.sample is None for step in later] == [are_drawn] * 3
