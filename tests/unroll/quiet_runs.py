"""Quiet runs that are held against the sweep."""

from typing import NamedTuple

import numpy as np

import metagrad as mg
from metagrad.replay import replayed
from metagrad.scaled import Scaled
from metagrad.unroll import backward
from tests.replay.runs import bits


class Phi(NamedTuple):
    """The meta-parameters of the rule below."""

    eta: object
    beta: object


def by_sweep(monkeypatch, *ask, **options):
    with monkeypatch.context() as patch:
        patch.setattr(backward, "quiet", lambda *_: None)
        return mg.meta_gradient(*ask, **options)


def alike(monkeypatch, task, rule, objective, phis, **options):
    """Return the last estimate of a series, each of which has the bits of the sweep and is found twice."""
    with replayed(compiled="at once"):
        for phi in phis:
            found = mg.meta_gradient(task, rule, objective, phi, **options)
            expected = by_sweep(monkeypatch, task, rule, objective, phi, **options)
            assert bits(found) == bits(expected)
            assert (found.notes, found.carrier) == (expected.notes, expected.carrier)
            for ours, theirs in zip(found.end[:3], expected.end[:3], strict=True):
                assert mg.ad.tree_map(same, ours, theirs) is not False
            assert found.end.t == expected.end.t
    return found


def same(x, y):
    for ours, theirs in ((x.mantissa, y.mantissa), (x.exponent, y.exponent)) if type(x) is Scaled else ((x, y),):
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()
