"""Programs as one function of machine code, held against NumPy."""

import numpy as np

from metagrad import ad
from metagrad.replay.bits import same_bits
from metagrad.replay.record import recorded
from metagrad.replay.whole_program import WholeProgram, address


def whole_of(f, inputs):
    """Return f as one function, and its program as NumPy's calls; NotWhole where it cannot be one."""
    program = recorded(f, inputs)
    recipe = program._later._recipe
    return WholeProgram(recipe.whole(), recipe.tree), program


def whole_alike(f, *points):
    """Assert that f, recorded at the first of some points, has its own bits as a whole, at all of them."""
    whole, program = whole_of(f, points[0])
    with np.errstate(all="ignore"):
        for point in points:
            flat = [x for tree in point for x in ad.leaves(tree)]
            expected = program._run(*flat)
            found = whole(*flat)
            assert same_bits(found, expected, any_nan=True)
            if expected is not None:
                assert lies(found) == lies(expected)
                assert same_bits(expected, f(*point), any_nan=True)
    return whole


def lies(tree):
    """Return how the arrays of a tree lie in memory, as later sums depend on it."""
    return [getattr(x, "strides", None) for x in ad.leaves(tree)]


def whole_steps(f, *points):
    """Assert that f has its own bits where it is taken at several points by one call; return how many it took."""
    whole, program = whole_of(f, points[0])
    held, rows = [], np.empty((len(points), whole.width), np.int64)
    rooms = [place.room(len(points)) for place in whole.outputs]
    for k, point in enumerate(points):
        flat = [x for tree in point for x in ad.leaves(tree)]
        held.append(
            [x if type(x) is np.ndarray else np.array(x, p.dtype) for x, p in zip(flat, whole.inputs, strict=True)]
        )
        rows[k] = [address(x) for x in (*held[-1], *[room[k : k + 1] for room in rooms])]
    count = whole.run(rows, len(rows))
    for k, point in enumerate(points[: count + 1]):
        expected = program._run(*[x for tree in point for x in ad.leaves(tree)])
        if k == count:
            assert expected is None
            continue
        found = [place.column(room)[k] for place, room in zip(whole.outputs, rooms, strict=True)]
        assert same_bits(found, ad.leaves(expected), any_nan=True)
    return count
