"""Terms by time: those that are known are found, those of no known time are not, and there is room for so many."""

import numpy as np
import pytest

from metagrad.scaled import Scaled
from metagrad.unroll.term import Block, Known, Term
from metagrad.xp import rng

SEEDS = (0, 1, 2)


def block(start, count):
    """Return terms of two tasks: that of time t is t, its inner value 2 t, its slope 3 t."""
    found = np.repeat(np.arange(start, start + count, dtype=float)[:, None], 2, axis=1)
    return Block(start, *(Scaled.of(factor * found) for factor in (1.0, 2.0, 3.0)), found)


def term(t):
    return block(t, 1).at(t)


@pytest.mark.parametrize("seed", SEEDS)
def test_terms_are_found_by_time(seed):
    """Blocks and single times in turn, with gaps between them."""
    draw, known, expected, t = rng(seed, "known"), Known(10_000), set(), 1
    for _ in range(60):
        count = int(draw.integers(1, 9))
        if draw.random() < 0.5:
            known.keep_block(block(t, count))
        else:
            for k in range(count):
                known.keep(t + k, term(t + k))
        expected.update(range(t, t + count))
        t += count + int(draw.integers(0, 4))
    for k in range(t + 5):
        found = known.get(k)
        assert (found is not None) is (k in expected)
        if found is not None:
            assert isinstance(found, Term)
            assert [float(x.to_float()[1]) for x in found[:3]] == [k, 2.0 * k, 3.0 * k]
            assert found.found.tolist() == [k, k]


def test_what_is_looked_up_takes_no_room():
    known = Known(8)
    known.keep_block(block(1, 4))
    for _ in range(3):
        assert [float(known.get(t).term.to_float()[0]) for t in range(1, 5)] == [1, 2, 3, 4]
    known.keep_block(block(5, 4))
    assert known.block(1) is not None


def test_the_oldest_go_where_there_is_no_room():
    known = Known(10)
    known.keep_block(block(0, 6))
    known.keep(6, term(6))
    assert known.block(5) is not None
    known.keep_block(block(7, 4))
    assert [known.get(t) is not None for t in (0, 5, 6, 7, 10, 11)] == [False, False, True, True, True, False]
    assert known.block(5) is None
    for t in range(20, 31):  # more single ones than there is room for
        known.keep(t, term(t))
        assert known.get(t) is not None
    assert known.block(7) is None
    assert known.get(20) is None
