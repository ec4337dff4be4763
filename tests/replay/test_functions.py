"""Every function of the tape, recorded and replayed: the bits of value and pullback, or a refusal with its reason."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.ad.domains import DOMAINS, Draw, draw
from metagrad.replay.bits import same_bits
from metagrad.replay.program import NotReplayable
from metagrad.replay.routine import Routine
from metagrad.xp import rng
from tests.ad.examples import every_case

# By name: some of their examples are not replayed. Their shapes depend on entries, they call code of Python's, or the
# tape computes them on the host in another way than where nothing is looked at, with other roundings.
NOT_REPLAYED = {
    *("apply_along_axis", "apply_over_axes", "bincount", "cholesky", "compress", "det", "eigh", "eigvalsh", "extract"),
    *("interp", "inv", "nanpercentile", "nanquantile", "piecewise", "pinv", "qr", "sliding_window_view", "solve"),
    *("solve_triangular", "svd", "svdvals"),
}


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


def random_cotangents(out):
    return [random_like(out, rng(seed, "cotangent")) for seed in range(3)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_case
def test_the_bits_are_those_of_the_tape(function, index, dtype):
    f, _ = arguments(function, index, 0, dtype)
    points = [arguments(function, index, seed, dtype)[1] for seed in range(3)]
    out = f(*points[0])
    if not all(getattr(getattr(x, "dtype", None), "kind", "") == "f" for x in ad.leaves(out)):
        pytest.skip("no derivative")

    def value(*given):
        return ad.tree_map(lambda x: 2.0 * x, f(*given))

    def both(*given):
        pullback = ad.recorded(value, *given[:-1])
        return pullback.out, pullback(given[-1])

    whole = [(*point, c) for point, c in zip(points, random_cotangents(value(*points[0])), strict=True)]
    for what, (at, beside, third) in ((value, points), (both, whole)):
        routine = Routine("f")
        try:
            routine.learn(what, at, beside)
        except NotReplayable as why:
            if function.__name__ not in NOT_REPLAYED or not str(why):
                raise
        else:
            for given in (third, at):
                found, expected = routine.run(given), what(*given)
                if function.__name__ in NOT_REPLAYED:  # two points may have agreed by luck
                    for x, y in zip(ad.leaves(found), ad.leaves(expected), strict=True):
                        np.testing.assert_allclose(x, y, rtol=1e-3 if dtype == "float32" else 1e-10)
                else:
                    assert same_bits(found, expected)
