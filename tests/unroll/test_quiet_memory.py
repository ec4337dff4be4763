"""Memory of adjoints: of a run that is laid out there are those of some steps, written over by those of later ones."""

import gc
import weakref
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import cache, replayed, whole_run
from metagrad.replay.stretches import PULLED, SUMS
from metagrad.unroll import quiet, stretch
from metagrad.xp import rng
from tests.replay.runs import bits, logistic
from tests.unroll.quiet_runs import alike

pytest.importorskip("numba")


class Phi(NamedTuple):
    """The meta-parameters of the rule below."""

    eta: object


class Heavy:
    """Heavy-ball steps: a term gives nothing to the adjoint of the velocity."""

    Phi = Phi

    def init(self, phi, w):
        return np.zeros_like(w), np.zeros((*w.shape, 3), w.dtype)

    def step(self, phi, state, w, f):
        velocity, wide = state
        velocity = 0.5 * velocity - phi.eta * f.gradient(w)
        return w + velocity, (velocity, 0.5 * wide + velocity[..., None])


def laid_out(task):
    return [run._run for _, routines in cache._KEPT[id(task)][1] for run in routines.runs]


@pytest.mark.parametrize("objective", [mg.WeightedSum(), mg.Final(), mg.Mean()], ids=str)
@pytest.mark.parametrize(("steps", "at_once"), [(8, 2), (9, 3), (41, 11), (100, 25), (101, 26)])
def test_the_bits_are_the_same_in_parts(steps, at_once, objective, counted, monkeypatch):
    monkeypatch.setattr(whole_run, "_BYTES", 1)
    task = logistic(3, 10, 4)
    phis = [mg.Adam.Phi(0.01 * k) for k in range(1, 13)]
    alike(monkeypatch, task, mg.Adam(), objective, phis, steps=steps)
    assert counted["quiet"] >= 4
    (run,) = laid_out(task)
    assert run._at_once == at_once
    adjoints = run._pulled[run._ends[PULLED] : run._ends[SUMS]]
    assert {len(x) for x in adjoints} <= {1, at_once}


def test_adjoints_take_so_much_and_no_more():
    """All of them where they are small, else a quarter."""
    sizes = {}
    for batch in (2, 150):
        task = logistic(batch, 5, 20)
        with replayed(compiled="at once"):
            for k in range(12):
                mg.meta_gradient(task, mg.Adam(), mg.WeightedSum(), mg.Adam.Phi(0.01 + 0.01 * k), steps=40)
        runs = [one._run for _, pairs in cache._KEPT.values() for _, routines in pairs for one in routines.runs]
        (run,) = [run for run in runs if run.nbytes and run.states[0].shape == (40, batch, 20)]
        held = {
            id(x.base if x.base is not None else x): x.nbytes for x in run._pulled[run._ends[PULLED] : run._ends[SUMS]]
        }
        sizes[batch] = run._at_once, sum(held.values())
        assert run.nbytes >= sizes[batch][1]
    assert sizes[2][0] == 40
    assert sizes[150][0] == 10
    assert sizes[150][1] <= 6 * 8 * 150 * 20 * 10 + 8 * 150 * 20


def test_what_a_term_gives_nothing_to_is_there_once(counted, monkeypatch):
    """The adjoint of the rule's state before and after a term is one array, which is lent once."""
    task = logistic(3, 10, 4)
    alike(monkeypatch, task, Heavy(), mg.WeightedSum(), [Phi(0.02 * k) for k in range(1, 13)], steps=20)
    assert counted["quiet"] >= 4
    (run,) = laid_out(task)
    pulled, after = (run._pulled[run._ends[part] : run._ends[part + 1]] for part in (PULLED, PULLED + 2))
    shared = [np.shares_memory(x, y) for x, y in zip(pulled, after, strict=True)]
    assert shared == [False, True, True]
    rooms = [room for _, room in run._lent]
    assert len({id(room) for room in rooms}) == len(rooms)


@pytest.mark.parametrize("most", [1, 1 << 12])
def test_stretches_of_few_steps_have_the_same_bits(most, monkeypatch):
    monkeypatch.setattr(stretch, "_BYTES", most)
    task = logistic(64, 10, 20)
    for rule, phi in ((Heavy(), Phi(0.1)), (mg.Adam(), mg.Adam.Phi(0.1))):
        plain = bits(mg.Reverse(fused=False)(task, rule, mg.WeightedSum(), phi, steps=50))
        with replayed(compiled="at once"):
            for _ in range(3):
                assert bits(mg.Reverse()(task, rule, mg.WeightedSum(), phi, steps=50)) == plain


@pytest.mark.parametrize("little", [0, 1 << 12])
def test_data_that_are_new_at_every_call_are_not_copied(little, monkeypatch):
    """A run points to them while it lasts, forwards and backwards, and holds none of them afterwards."""
    monkeypatch.setattr(whole_run, "_LITTLE", little)
    refs, taken, tried = [], [], quiet._Quiet.found_of_kind

    def noted(self, *args):
        taken.append(tried(self, *args))
        return taken[-1]

    monkeypatch.setattr(quiet._Quiet, "found_of_kind", noted)

    def new(seed):
        x = rng(seed, "new").standard_normal((3, 70, 5))
        y = (x[..., 1] > 0.1) * 1.0
        refs.append(weakref.ref(x))

        def loss(w):
            z = np.einsum("bni,bi->bn", x, w)
            return np.mean(np.maximum(z, 0.0) - y * z + np.log1p(np.exp(-np.abs(z))), axis=-1)

        return mg.FunctionTask(loss, w0=np.zeros((3, 5)))

    for seed in range(14):
        task, phi = new(seed), mg.GradientDescent.Phi(0.1 + 0.01 * seed)
        with replayed(compiled="at once"):
            found = mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), phi, steps=20)
        with replayed(False):
            plain = mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), phi, steps=20)
        assert bits(found) == bits(plain)
    assert sum(one is not None for one in taken) >= 4
    runs = [one._run for _, pairs in cache._KEPT.values() for _, routines in pairs for one in routines.runs]
    (run,) = [run for run in runs if (3, 70, 5) in [place.shape for place in run._wholes[0].inputs]]
    copied = [x.nbytes for x in run._inputs if x is not None]
    assert max(copied) <= max(little, 3 * 5 * 8)
    taken.clear()
    del task, found, plain, run, runs
    gc.collect()
    assert sum(ref() is not None for ref in refs) <= 1  # of which it was recorded
