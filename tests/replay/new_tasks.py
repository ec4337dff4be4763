"""Tasks that are new at every call, held against the tape."""

import numpy as np

import metagrad as mg
from metagrad.replay import replayed
from metagrad.xp import rng
from tests.replay.runs import bits

GD, ADAM = mg.GradientDescent(), mg.Adam()
RULES = {"GD": (GD, GD.Phi(0.05)), "Adam": (ADAM, ADAM.Phi(0.05))}


def numbers(seed, *shape):
    return rng(seed, "numbers", *shape).standard_normal(shape)


def alike(task, rule=GD, phi=None, objective=None, steps=12, **options):
    """Return the estimate, which has all bits of that of the tape alone."""
    ask = task, rule, objective or mg.WeightedSum(), RULES["GD"][1] if phi is None else phi
    found = mg.Reverse()(*ask, steps=steps, **options)
    with replayed(False):
        expected = mg.Reverse()(*ask, steps=steps, **options)
    assert bits(found) == bits(expected)
    assert (found.notes, found.carrier) == (expected.notes, expected.carrier)
    for x, y in zip(*(mg.ad.leaves(one.end[:3]) for one in (found, expected)), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    return found
