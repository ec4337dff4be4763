"""Programs that are kept: for how long, how many, and what of them is shared."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import cache, replayed
from metagrad.replay.program import Graph
from metagrad.xp import rng
from tests.replay.runs import bits, both, logistic


def test_programs_live_as_long_as_their_task():
    task, phi = logistic(), mg.GradientDescent.Phi(0.1)
    mg.Reverse()(task, mg.GradientDescent(), mg.Final(), phi, steps=20)
    number = id(task)
    assert number in cache._KEPT
    del task
    gc.collect()
    assert number not in cache._KEPT


def test_programs_hold_so_much_and_no_more(monkeypatch):
    """Tasks that live on, each of a kind of its own: those that were asked for last keep their programs."""
    monkeypatch.setattr(cache, "_MOST_BYTES", 1 << 20)
    tasks = [logistic(64, 50 + k, 20) for k in range(6)]
    for task in tasks:
        mg.Reverse()(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, steps=40)
    held = [sum(routines.nbytes for _, routines in pairs) for _, pairs in cache._KEPT.values()]
    assert 0 < sum(held[:-1]) <= 1 << 20
    assert id(tasks[-1]) in cache._KEPT
    assert id(tasks[0]) not in cache._KEPT


def test_a_program_holds_nothing_of_its_recording():
    task = logistic(64, 50, 20)
    mg.Reverse()(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, steps=40)
    kept = [routines for _, pairs in cache._KEPT.values() for _, routines in pairs]
    gc.collect()
    graphs = [x for x in gc.get_objects() if type(x) is Graph]
    assert kept
    assert not [graph for graph in graphs if graph.nbytes > 1 << 16]


def test_the_second_call_records_nothing(monkeypatch):
    task, phi = logistic(), mg.Adam.Phi(0.1)
    first = mg.Reverse()(task, mg.Adam(), mg.WeightedSum(), phi, steps=40)
    monkeypatch.setattr("metagrad.replay.routine.recorded", None)
    assert bits(mg.Reverse()(task, mg.Adam(), mg.WeightedSum(), phi, steps=40)) == bits(first)


def test_threads_share_programs():
    task, rule = logistic(8, 40, 10), mg.Adam()
    plain = bits(mg.Reverse(fused=False)(task, rule, mg.WeightedSum(), rule.Phi(0.1), steps=40))
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(mg.Reverse(), task, rule, mg.WeightedSum(), rule.Phi(0.1), steps=40) for _ in range(8)]
        for run in runs:
            assert bits(run.result()) == plain


def test_tasks_in_a_loop_are_recorded_anew():
    """The data of one task are never those of another."""
    for seed in range(3):
        x = rng(seed, "loop").standard_normal((2, 6, 3))
        task = mg.FunctionTask(
            lambda w, x=x: np.mean(np.tanh(np.einsum("bnd,bd->bn", x, w)) ** 2, axis=-1), np.ones((2, 3))
        )
        both(task, mg.GradientDescent(), mg.GradientDescent.Phi(0.1), steps=40, calls=1)


def test_options_are_checked():
    with pytest.raises(TypeError, match="replayed: asked is 'no'"), replayed("no"):
        pass
    with pytest.raises(ValueError, match="Did you mean 'at once'"), replayed(compiled="atonce"):
        pass


def test_a_task_that_dies_while_room_is_made(monkeypatch):
    """Its entry goes at any time: here while the sizes of the others are added up."""
    tasks = [logistic(2, 5, 3) for _ in range(4)]
    for task in tasks:
        mg.Reverse()(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, steps=40)
    whole = type(next(iter(cache._KEPT.values()))[1][0][1]).nbytes

    def dies(self):
        tasks.clear()
        gc.collect()
        return whole.fget(self)

    monkeypatch.setattr("metagrad.replay.routine.Routines.nbytes", property(dies))
    del task
    cache._make_room()
    assert not tasks
