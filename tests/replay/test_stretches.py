"""Stretches of steps by one call of machine code: values, meta-gradients, statuses, digits and growth of the tape."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed, shared, stretches
from metagrad.replay.many_steps import ManySteps
from metagrad.unroll import backward
from metagrad.xp import rng
from tests.replay.runs import bits, data

pytest.importorskip("numba")


class Phi(NamedTuple):
    """The meta-parameters of the rule below."""

    eta: object
    beta: object


class Counting:
    """Averages that are divided by a count of Python's, in a dictionary."""

    Phi = Phi

    def init(self, phi, w):
        return {"mean": 0.0 * w, "steps": 0, "past": (0.0 * w, 3)}

    def step(self, phi, state, w, f):
        n = state["steps"] + 1
        mean = phi.beta * state["mean"] + f.gradient(w)
        after = w - phi.eta * mean / (n + 1)
        if n == 20:
            after = after * 0.5
        return after, {"mean": mean, "steps": n, "past": (w - after, 2 * n - state["past"][1])}


def task_of(dtype="float64", B=3, d=4, sampled=False, widths=(8,)):
    """Return a logistic regression by matrix products, at random rows where it is `sampled`."""
    x, y = data(B, 24, d, dtype)

    def loss_at(w, x, y):
        z = (x @ w[..., None])[..., 0]
        return np.sum(np.maximum(z, 0.0) - y * z + np.log1p(np.exp(-np.abs(z))), axis=-1) / 24

    def loss(w, sample):
        return loss_at(w, *sample)

    def rows(draw, t):
        k = draw.integers(0, 12)
        width = widths[t % len(widths)]
        return x[:, k : k + width], y[:, k : k + width]

    def picked(draw, t):
        k = draw.integers(0, 24, 8)
        return x[:, k], y[:, k]

    w0 = rng(1, "start").standard_normal((B, d)).astype(dtype) * dtype_of(dtype)(0.3)
    if not sampled:
        return mg.FunctionTask(lambda w: loss_at(w, x, y), w0=w0)
    return mg.FunctionTask(loss, w0=w0, sampler=rows if sampled == "rows" else picked)


def dtype_of(dtype):
    return np.dtype(dtype).type


@pytest.fixture
def taken(monkeypatch):
    """Count the steps of sweeps that were taken by one call, and pulled back by one; no run is laid out whole."""
    found = {"ahead": 0, "back": 0}
    ahead, back = stretches.ahead, stretches.back

    def counted_ahead(*args):
        got = ahead(*args)
        found["ahead"] += 0 if got is None else len(got[1])
        return got

    def counted_back(*args, **kwargs):
        got = back(*args, **kwargs)
        found["back"] += 0 if got is None else len(got.pulled)
        return got

    monkeypatch.setattr(stretches, "ahead", counted_ahead)
    monkeypatch.setattr(stretches, "back", counted_back)
    monkeypatch.setattr(backward, "quiet", lambda *_: None)
    return found


def alike(taken, task, rule, phi, objective=None, *, steps=65, runs=7, estimator=mg.Reverse, at_once=True, **options):
    """Assert that all runs of a task have the tape's bits; `at_once`: most steps of the last are by one call."""
    ask = (task, rule, objective or mg.WeightedSum(), phi)
    plain = {"fused": False} if estimator is mg.Reverse else {}
    with replayed(False):
        expected = estimator(**plain, **options)(*ask, steps=steps)
    with replayed(compiled="at once"):
        for _ in range(runs):
            taken.update(ahead=0, back=0)
            found = estimator(**options)(*ask, steps=steps)
            assert bits(found) == bits(expected)
            assert (found.notes, found.carrier) == (expected.notes, expected.carrier)
            assert np.array_equal(np.asarray(found.end.w), np.asarray(expected.end.w), equal_nan=True)
    if at_once:
        assert taken["ahead"] >= 0.7 * steps
        assert taken["back"] >= 0.7 * steps or estimator is not mg.Reverse
    return found


SCHEDULE = mg.Scheduled(mg.GradientDescent())
RULES = {
    "GD": (mg.GradientDescent(), lambda T: mg.GradientDescent.Phi(0.3)),
    "Momentum": (mg.Momentum(), lambda T: mg.Momentum.Phi(0.2)),
    "Adam": (mg.Adam(), lambda T: mg.Adam.Phi(0.05)),
    "schedule": (SCHEDULE, lambda T, dtype="float64": mg.GradientDescent.Phi(np.linspace(0.4, 0.1, T).astype(dtype))),
    "counting": (Counting(), lambda T: Phi(0.3, 0.8)),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", RULES)
def test_rules(rule, dtype, taken):
    made, phi = RULES[rule]
    alike(taken, task_of(dtype), made, phi(65, dtype) if rule == "schedule" else phi(65), runs=9)


@pytest.mark.parametrize(
    ("rule", "steps"),
    [("counting", 9), ("GD", 40), ("counting", 63), ("GD", 64), ("counting", 65), ("GD", 130), ("counting", 130)],
)
def test_lengths(rule, steps, taken):
    made, phi = RULES[rule]
    alike(taken, task_of(), made, phi(steps), steps=steps, at_once=steps > 9)


@pytest.mark.parametrize(
    "objective",
    [mg.Final(), mg.Mean(), mg.LogFinal(), mg.MeanLog(), mg.WeightedSum(0.9)],
    ids=lambda x: type(x).__name__,
)
def test_objectives(objective, taken):
    made, phi = RULES["Momentum"]
    alike(taken, task_of(), made, phi(70), objective, steps=70, runs=6, at_once=False)
    assert taken["ahead"] > 40


@pytest.mark.parametrize("sampled", ["rows", "picked"])
@pytest.mark.parametrize("rule", ["GD", "counting"])
def test_samples(rule, sampled, taken):
    made, phi = RULES[rule]
    alike(taken, task_of(sampled=sampled), made, phi(65))


def test_samples_of_several_widths(taken):
    alike(taken, task_of(sampled="rows", widths=(8, 8, 8, 8, 8, 8, 5)), *_gd(65), at_once=False)


def test_a_sampler_that_fills_one_array(taken):
    """All samples of a stretch are drawn before it: they must not be one array, filled anew."""
    x, _ = data(3, 24, 4)
    room = np.empty((3, 8, 4))

    def sampler(draw, t):
        k = draw.integers(0, 16)
        room[...] = x[:, k : k + 8]
        return room

    def loss(w, sample):
        return np.sum(np.log1p(np.square((sample @ w[..., None])[..., 0] - 0.5)), axis=-1)

    alike(taken, mg.FunctionTask(loss, w0=np.zeros((3, 4)), sampler=sampler), *_gd(65), at_once=False)


def _gd(steps):
    rule, phi = RULES["GD"]
    return rule, phi(steps)


@pytest.mark.parametrize("memory", [1 << 12, 1 << 16])
@pytest.mark.parametrize("rule", ["GD", "counting"])
def test_little_memory(rule, memory, taken):
    made, phi = RULES[rule]
    alike(taken, task_of(), made, phi(130), steps=130, runs=5, at_once=False, memory=memory)


@pytest.mark.parametrize("options", [{"record": True}, {"scaling": "none"}, {"trust": True}], ids=str)
def test_options(options, taken):
    alike(taken, task_of(), *_gd(65), at_once=False, **options)


def test_meta_parameters_task_by_task(taken):
    phi = Phi(np.array([0.3, 0.1, 0.5]), np.array([0.8, 0.5, 0.9]))
    alike(taken, task_of(), Counting(), phi, per_task=True)


@pytest.mark.parametrize("rule", ["GD", "Adam"])
@pytest.mark.parametrize(("B", "d"), [(1, 1), (1, 3), (2, 1)])
def test_small_shapes(B, d, rule, taken):
    """Where an array is one number, a step is a few instructions: none of a later step may come early."""
    made, phi = RULES[rule]
    start = rng(2, "start").standard_normal((B, d))
    task = mg.FunctionTask(lambda w: np.sum(np.square(np.square(w) - 0.5) * 0.3 + np.abs(w), axis=-1), w0=start)
    alike(taken, task, made, phi(100), steps=100, at_once=False)


def test_trees(taken):
    x, y = data(3, 10, 4)
    draw = rng(3, "start")
    w0 = {"a": draw.standard_normal((3, 4, 5)) * 0.4, "b": (draw.standard_normal((3, 1, 5)), np.zeros((3, 5, 1)))}

    def loss(w):
        hidden = np.tanh(x @ w["a"] + w["b"][0])
        return np.sum(np.square(hidden @ w["b"][1] - y[..., None]), axis=(1, 2)) / 10

    ask = mg.FunctionTask(loss, w0=w0), mg.Momentum(), mg.WeightedSum(), mg.Momentum.Phi(0.1)
    with replayed(False):
        expected = mg.Reverse()(*ask, steps=70)
    with replayed(compiled="at once"):
        for _ in range(7):
            assert bits(mg.Reverse()(*ask, steps=70)) == bits(expected)
    assert taken["ahead"] > 100
    assert taken["back"] > 100


@pytest.mark.parametrize("rule", ["GD", "counting"])
@pytest.mark.parametrize("estimator", [mg.Value, mg.Forward], ids=["Value", "Forward"])
def test_forwards(estimator, rule, taken):
    made, phi = RULES[rule]
    alike(taken, task_of(), made, phi(65), estimator=estimator, at_once=estimator is mg.Value)


@pytest.mark.parametrize("rule", ["GD", "counting"])
def test_windows(rule, taken):
    made, phi = RULES[rule]
    ask = task_of(), made, mg.WeightedSum(), phi(130)
    with replayed(False):
        expected = mg.meta_gradient(*ask, steps=130, method="windows", window=50, fused=False)
    with replayed(compiled="at once"):
        for _ in range(4):
            found = mg.meta_gradient(*ask, steps=130, method="windows", window=50)
            assert bits(found) == bits(expected)


@pytest.mark.parametrize("eta", [3.0, 1e3])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_states_and_adjoints_that_grow(eta, dtype, taken):
    """A curved loss and steps that are too long: overflow, exponents that shift, NaN."""
    start = np.array([[1.0, 0.1], [1e-3, 1.0], [0.3, 1e-8]], dtype)
    task = mg.FunctionTask(lambda w: np.sum(np.square(w) * 0.05 + np.square(np.square(w)) * 1e-3, axis=-1), w0=start)
    for objective in (mg.WeightedSum(), mg.LogFinal()):
        alike(taken, task, mg.GradientDescent(), eta, objective, steps=90, runs=4, at_once=False)


def test_a_count_that_grows_beyond_a_word(taken):
    """Python's integers go on where a word of machine code does not."""

    class Tripled(Counting):
        def init(self, phi, w):
            return {"n": 1}

        def step(self, phi, state, w, f):
            rate = phi.eta if state["n"] > 0 else 9.0 * phi.eta  # what overflows would be below zero
            return w - rate * f.gradient(w), {"n": 3 * state["n"] + 1}

    alike(taken, task_of(), Tripled(), Phi(0.3, 0.8), steps=90, at_once=False)


@pytest.mark.parametrize("sampled", [False, "rows"])
def test_steps_that_had_to_go_are_taken_again(sampled, taken, monkeypatch):
    """There is room for a few; stretches of the others are taken once more, not pulled back one by one."""
    made, phi = RULES["Adam"]
    monkeypatch.setattr("metagrad.unroll.replay_sweep._MOST_KEPT", 1 << 15)
    alike(taken, task_of(sampled=sampled), made, phi(300), steps=300)
    assert 500 < taken["ahead"] <= 600


@pytest.mark.parametrize("kept", [1 << 12, 1 << 14, 1 << 16])
@pytest.mark.parametrize("gamma", [1e3, 1e-4])
def test_steps_taken_again_where_weights_change_much(gamma, kept, taken, monkeypatch):
    """Stretches end early there; no step is taken more than once more, and where few have room none is."""
    made, phi = RULES["GD"]
    monkeypatch.setattr("metagrad.unroll.replay_sweep._MOST_KEPT", kept)
    task = task_of(sampled="rows")
    found = alike(taken, task, made, phi(200), mg.WeightedSum(gamma), steps=200, at_once=False)
    assert "400 of 400 steps" in found.replay
    assert 180 <= taken["ahead"] <= 400


def test_the_last_step_taken_again_is_compared_too(taken, monkeypatch):
    made, phi = RULES["GD"]
    monkeypatch.setattr("metagrad.unroll.replay_sweep._MOST_KEPT", 1 << 14)
    ask = task_of(), made, mg.WeightedSum(), phi(200)
    again, seen = ManySteps.again, []

    def another_end(self, course, states):
        seen.append(len(states) - len(course.times))
        return again(self, course, [*states[:-1], (states[-1][0] + 1.0, states[-1][1])])

    with replayed(compiled="at once"):
        for _ in range(4):
            expected = mg.meta_gradient(*ask, steps=200)
        monkeypatch.setattr(ManySteps, "again", another_end)
        found = mg.meta_gradient(*ask, steps=200)
    assert seen
    assert set(seen) == {1}
    assert bits(found) == bits(expected)
    assert "taken twice gave two results" in found.replay


def test_a_step_that_gives_two_results_is_the_tapes(taken, monkeypatch):
    """As of a processor, or of code, that does not do the same twice: nothing of it is used."""
    made, phi = RULES["GD"]
    monkeypatch.setattr("metagrad.unroll.replay_sweep._MOST_KEPT", 1 << 14)
    ask = task_of(), made, mg.WeightedSum(), phi(300)
    again = ManySteps.again
    with replayed(compiled="at once"):
        for _ in range(4):
            expected = mg.meta_gradient(*ask, steps=300)
        monkeypatch.setattr(
            ManySteps, "again", lambda self, course, states: again(self, course, [states[0], *states[:-1]])
        )
        found = mg.meta_gradient(*ask, steps=300)
    assert bits(found) == bits(expected)
    assert "taken twice gave two results" in found.replay


def test_it_is_by_one_call_or_one_by_one(monkeypatch, taken):
    """What machine code takes at once, programs take step by step, with the same bits."""
    made, phi = RULES["counting"]
    with monkeypatch.context() as patched:
        patched.setattr(ManySteps, "_taken", lambda self, *args: None)
        patched.setattr(ManySteps, "_back_at_once", lambda self, *args: None)
        alike(taken, task_of(), made, phi(65), runs=4, at_once=False)
        assert taken == {"ahead": 0, "back": 0}
    shared._KINDS.clear()
    alike(taken, task_of(), made, phi(65), runs=4)
