"""Runs from a learned start that are held against the tape."""

from dataclasses import replace

import numpy as np

import metagrad as mg
from metagrad.replay import replayed
from tests.replay.runs import bits


def started(task, seed=0, starts=1):
    few = mg.LearnedStart(task, starts=starts)
    return few, few.first(seed)


def alike(few, rule, objective, phi, steps=1, **options):
    """Return the estimate, which has all bits of that of the tape alone."""
    found = mg.Reverse(**options)(few, rule, objective, phi, steps=steps)
    with replayed(False):
        expected = mg.Reverse(**options)(few, rule, objective, phi, steps=steps)
    assert everything(found) == everything(expected)
    return found


def everything(found):
    end = [np.asarray(x).tobytes() for x in mg.ad.leaves(found.end[:3])]
    # Without a gradient through the gradient nothing is known of growth.
    known = found if found.growth is not None else replace(found, growth=found.status)
    return bits(known), end, found.end.t, found.notes, found.carrier


def is_replayed(found):
    return found.replay is not None and "were replayed" in found.replay
