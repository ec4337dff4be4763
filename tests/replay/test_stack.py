"""Trees of several steps: one by one, or leaf by leaf, and the one from the other; what programs are given and give."""

import numpy as np
import pytest

from metagrad.replay.bits import same_bits
from metagrad.replay.stack import Stack
from metagrad.replay.stretches import Spare
from metagrad.replay.whole_program import Place, built
from metagrad.xp import rng

KINDS = {
    "an array": np.ones((3, 2)),
    "float32": np.ones((2, 3, 2), np.float32),
    "F-ordered": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "turned": np.ones((4, 2, 3)).transpose(1, 2, 0),
    "no axes": np.array(2.0),
    "a number of NumPy's": np.float32(3.0),
    "a count": 7,
    "a float": 0.1,
    "a truth": True,
}


def tree_of(draw):
    return {
        "w": draw.standard_normal((2, 3)),
        "s": (draw.standard_normal(2).astype(np.float32), int(draw.integers(99))),
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_both_ways(seed):
    draw = rng(seed, "stack")
    trees = [tree_of(draw) for _ in range(5)]
    by_tree = Stack(trees)
    assert by_tree.is_apart
    assert len(by_tree) == 5
    leaves = by_tree.leaves
    assert [x for x in leaves if type(x) is list] == [[tree["s"][1] for tree in trees]]
    make = built(trees[0])

    def apart(columns):
        return [make(*row) for row in zip(*columns, strict=True)]

    by_leaf = Stack(leaves=leaves, apart=apart)
    assert not by_leaf.is_apart
    assert len(by_leaf) == 5
    assert same_bits(by_leaf.last, trees[-1])
    assert not by_leaf.is_apart  # the last alone
    assert same_bits(by_leaf.part(1, 3).trees, trees[1:3])
    assert same_bits(by_leaf.trees, trees)
    assert by_leaf.is_apart
    for first, end in ((0, 5), (0, 9), (2, 5), (4, 5), (3, 3)):
        for stack in (Stack(trees), Stack(leaves=leaves, apart=apart), by_leaf):
            part = stack.part(first, end)
            assert same_bits(part.trees, trees[first:end])
            assert len(part) == len(trees[first:end])
            assert part is stack or (first, end) not in ((0, 5), (0, 9))
    assert not len(Stack([]))
    assert not Stack(leaves=[], apart=apart).leaves


@pytest.mark.parametrize("x", KINDS.values(), ids=KINDS)
def test_places(x):
    """What lies in a row of rooms is what was written there, of the kind and layout that it had."""
    place = Place.of(x)
    assert Place.of(x) == place
    assert place != Place.of(np.ones((3, 3)))
    room = place.room(4)
    assert room.strides[1:] == place.strides
    made = [x * 2 if type(x) is not bool else k % 2 == 0 for k in range(4)]
    for k, one in enumerate(made):
        room[k] = one
    column = place.column(room)
    assert [type(one) for one in column] == [type(x)] * 4
    assert same_bits(column, made)
    if place.kind is np.ndarray:
        assert [Place.of(one) for one in column] == [place] * 4
        assert room.strides[0] == place.nbytes == x.nbytes


def test_spare_memory(monkeypatch):
    place, spare = Place.of(np.ones((3, 2))), Spare()
    room = spare.room(place, 8)
    assert room.shape == (8, 3, 2)
    spare.give(place, room)
    assert spare.nbytes == room.nbytes
    assert spare.room(place, 1).shape == (1, 3, 2)  # of its own: all steps may write there
    assert spare.room(Place.of(np.ones((2, 3))), 8) is not room
    assert spare.room(place, 6) is room  # some more than were asked for
    assert spare.nbytes == 0
    assert spare.room(place, 8) is not room
    spare.give(place, room)
    longer = spare.room(place, 9)  # the shorter one makes way
    assert longer.shape == (12, 3, 2)
    assert spare.nbytes == 0
    spare.give(place, longer)
    spare.give(place, one := spare.room(place, 1))
    assert spare.room(place, 1) is one
    assert spare.room(place, 2) is longer
    monkeypatch.setattr("metagrad.replay.stretches._MOST_SPARE", room.nbytes)
    for _ in range(3):
        spare.give(place, place.room(8))
    assert spare.nbytes == room.nbytes
