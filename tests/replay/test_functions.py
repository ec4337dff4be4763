"""Every function of the tape, recorded and replayed: the bits of value and pullback, or a refusal with its reason."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.ad.domains import DOMAINS, Draw, draw
from metagrad.replay.bits import same_bits
from metagrad.replay.program import NotReplayable
from metagrad.replay.record import recorded
from metagrad.xp import rng

CASES = [(function, i) for function, examples in DOMAINS.items() for i in range(len(examples))]
IDS = [f"{function.__name__}-{i}" for function, i in CASES]
NOT_REPLAYED: set[str] = set()  # by name: what looks at numbers, or is not recorded


def is_drawn(item):
    return isinstance(item, Draw) or (isinstance(item, tuple) and any(isinstance(x, Draw) for x in item))


def arguments(function, index, seed, dtype):
    """Return an example's arrays, and the function of them alone."""
    example = DOMAINS[function][index]
    full = draw(example, rng(seed, function.__name__, index))
    where = [i for i, item in enumerate(example) if is_drawn(item)]

    def of_arrays(*values):
        args = list(full)
        for i, value in zip(where, values, strict=True):
            args[i] = value
        out = function(*args)
        return tuple(out) if isinstance(out, list) else out

    return of_arrays, tuple(ad.tree_map(lambda x: np.asarray(x).astype(dtype), full[i]) for i in where)


def random_like(tree, stream):
    return ad.tree_map(lambda x: np.asarray(stream.standard_normal(np.shape(x))).astype(x.dtype), tree)


def replays(f, trees, others):
    """Record f at trees; assert that its program gives the bits of f there and at others."""
    program = recorded(f, trees)
    for given in (trees, others, trees):
        flat = [x for tree in given for x in ad.leaves(tree)]
        found = program(flat)
        assert found is not None
        assert same_bits(found, f(*given)), program.source


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("function", "index"), CASES, ids=IDS)
def test_the_bits_are_those_of_the_tape(function, index, dtype):
    f, args = arguments(function, index, 0, dtype)
    _, others = arguments(function, index, 1, dtype)
    out = f(*args)
    if not all(getattr(getattr(x, "dtype", None), "kind", "") == "f" for x in ad.leaves(out)):
        pytest.skip("no derivative")
    cotangents = [random_like(out, rng(seed, "cotangent")) for seed in (0, 1)]

    def value(*given):
        return ad.tree_map(lambda x: 2.0 * x, f(*given))

    def both(*given):
        pullback = ad.recorded(value, *given[:-1])
        return pullback.out, pullback(given[-1])

    for what, more in ((value, [(), ()]), (both, [(c,) for c in cotangents])):
        try:
            replays(what, (*args, *more[0]), (*others, *more[1]))
        except NotReplayable as why:
            if function.__name__ not in NOT_REPLAYED or not str(why):
                raise
