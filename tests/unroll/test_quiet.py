"""Runs that are laid out: the bits of the sweep, and the sweep itself where anything is to be said."""

from threading import Thread

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import WholeRun, cache, replayed
from metagrad.unroll import quiet
from metagrad.xp import rng
from tests.replay.runs import bits, logistic
from tests.unroll.quiet_runs import Phi, alike, by_sweep

pytest.importorskip("numba")

BEFORE = 5  # calls of a task object that is seen for the first time, until a run is laid out


class Counting:
    """Averages, with a count of Python's, in a dictionary."""

    Phi = Phi

    def init(self, phi, w):
        return {"mean": 0.0 * w, "steps": 0, "past": (0.0 * w, None)}

    def step(self, phi, state, w, f):
        n = state["steps"] + 1
        mean = phi.beta * state["mean"] + f.gradient(w)
        return w - phi.eta * mean / (n + 1), {"mean": mean, "steps": n, "past": (w, None)}


RULES = {
    "GD": (mg.GradientDescent(), mg.GradientDescent.Phi),
    "Momentum": (mg.Momentum(), mg.Momentum.Phi),
    "Adam": (mg.Adam(), mg.Adam.Phi),
    "counting": (Counting(), lambda eta: Phi(eta, 0.8)),
}
OBJECTIVES = (mg.WeightedSum(), mg.Final(), mg.Mean())


def told(estimate):
    return bits(estimate), [np.asarray(x).tobytes() for x in mg.ad.leaves(estimate.end[:3])]


def etas(seed, count=12):
    return [float(x) for x in rng(seed, "etas").uniform(0.01, 0.2, count)]


@pytest.mark.parametrize(("objective", "seed"), list(zip(OBJECTIVES, range(3), strict=True)), ids=str)
@pytest.mark.parametrize("name", RULES)
def test_the_bits_of_the_sweep(name, objective, seed, counted, monkeypatch):
    rule, phi = RULES[name]
    task = logistic(3, 10 + seed, 4, dtype=("float64", "float32")[seed % 2])
    steps = (8, 40, 100)[seed]
    alike(monkeypatch, task, rule, objective, [phi(eta) for eta in etas(seed)], steps=steps)
    assert counted["quiet"] >= 4 or seed == 1  # in float32 an adjoint may leave its band


@pytest.mark.parametrize("objective", [mg.LogFinal(), mg.MeanLog(), mg.WeightedSum(rho=0.9)], ids=repr)
def test_of_one_task_and_of_weights_that_differ(objective, counted, monkeypatch):
    """Logarithms give tasks exponents of their own; one task has one. Weights that are not all one are the sweep's."""
    phis = [mg.GradientDescent.Phi(eta) for eta in etas(3)]
    alike(monkeypatch, logistic(1), mg.GradientDescent(), objective, phis, steps=24)
    assert (counted["quiet"] > 0) == (objective != mg.WeightedSum(rho=0.9))


def test_trees(counted, monkeypatch):
    x = rng(4, "x").standard_normal((3, 12, 4))
    y = np.sin(x.sum(axis=-1))
    w0 = {"W": rng(4, "W").standard_normal((3, 4, 5)), "b": np.zeros((3, 5)), "v": rng(4, "v").standard_normal((3, 5))}

    def loss(p):
        hidden = np.tanh(x @ p["W"] + p["b"][:, None, :])
        return np.mean(((hidden @ p["v"][..., None])[..., 0] - y) ** 2, axis=-1)

    phis = [mg.Momentum.Phi(eta / 4) for eta in etas(4)]
    alike(monkeypatch, mg.FunctionTask(loss, w0=w0), mg.Momentum(), mg.WeightedSum(), phis, steps=24)
    assert counted["quiet"] >= 4


def wild(w):
    """A loss that overflows, vanishes, and loses its digits, as step sizes have it."""
    return np.sum(w**4 + 0.25 * w * w, axis=-1)


@pytest.mark.parametrize(
    ("objective", "dtype"),
    [(mg.WeightedSum(), "float64"), (mg.Final(), "float32"), (mg.LogFinal(), "float64")],
    ids=str,
)
def test_what_is_to_be_said_is_said(objective, dtype, counted, monkeypatch):
    """Runs that explode, that end at zero or at NaN, in the middle of a series of usual ones."""
    w0 = np.array([[1.0, 0.5], [0.25, -1.0]], dtype)
    usual, others = etas(5, 8), [0.6, 4.0, 1e-300, 30.0, 1.9, 2.0]
    # Where something was said, the sweep takes the next runs, too: so the usual ones come in numbers.
    phis = usual + [eta for other in others for eta in [other, *[0.1] * 9]]
    if dtype == "float32":
        phis = [max(eta, 1e-30) for eta in phis]
    task = mg.FunctionTask(wild, w0=w0)
    alike(monkeypatch, task, mg.GradientDescent(), objective, [mg.GradientDescent.Phi(x) for x in phis], steps=30)
    assert counted["quiet"] > 4 or type(objective) is mg.LogFinal


def test_starts_of_every_size(counted, monkeypatch):
    """What `init` draws differs from seed to seed: zeros, huge and tiny numbers among it."""

    class Drawn:
        def init(self, draw):
            return draw.standard_normal((3, 2)) * 10.0 ** draw.choice([-320.0, -200.0, 0.0, 0.0, 0.0, 3.0], (3, 1))

        def loss(self, w, sample):
            return np.sum(np.log1p(w * w), axis=-1)

    task = Drawn()
    with replayed(compiled="at once"):
        for seed in range(24):
            ask = task, mg.GradientDescent(), mg.WeightedSum(), 0.1
            found = mg.meta_gradient(*ask, steps=20, seed=seed)
            assert bits(found) == bits(by_sweep(monkeypatch, *ask, steps=20, seed=seed))
    assert counted["sweep"] > BEFORE


def test_answers_stay_what_they_are():
    """The next run writes over the memory of the one before: nothing of an answer lies there."""
    task, ask = logistic(2), (mg.Momentum(), mg.WeightedSum())
    with replayed(compiled="at once"):
        found = [mg.meta_gradient(task, *ask, mg.Momentum.Phi(eta), steps=20) for eta in etas(6, 16)]
        known = [told(x) for x in found]
        for eta in etas(7, 8):
            mg.meta_gradient(task, *ask, mg.Momentum.Phi(eta), steps=20)
        gone_on = mg.meta_gradient(task, *ask, mg.Momentum.Phi(0.1), steps=20, at=found[-1].end)
    assert [told(x) for x in found] == known
    assert gone_on.end.t == 40


def test_data_that_change_are_seen(counted, monkeypatch):
    x = rng(8, "x").standard_normal((2, 6, 3))
    task = mg.FunctionTask(lambda w: np.mean((x @ w[..., None])[..., 0] ** 2 + 1.0, axis=-1), w0=np.ones((2, 3)))
    ask = task, mg.GradientDescent(), mg.WeightedSum(), 0.1
    with replayed(compiled="at once"):
        for k in range(24):
            if k % 8 == 7:
                x *= 1.5
            found = mg.meta_gradient(*ask, steps=16)
            with replayed(False):
                assert bits(found) == bits(mg.meta_gradient(*ask, steps=16))
    assert counted["quiet"] >= 4


class Late(mg.WeightedSum):
    """Weights of a class of a user's, which inherits from one of ours."""

    def weight(self, t, steps):
        return 1.0 if t > steps // 2 else None


@pytest.mark.parametrize("steps", [12, 64])
def test_weights_of_a_class_that_inherits(steps):
    """Only objectives of ours tell the one weight of all times."""
    ask = logistic(2), mg.GradientDescent(), Late(), 0.2
    with replayed(False):
        expected = mg.meta_gradient(*ask, steps=steps)
        whole = mg.meta_gradient(ask[0], ask[1], mg.WeightedSum(), 0.2, steps=steps)
    assert float(expected.value.to_float()[0]) < 0.7 * float(whole.value.to_float()[0])
    with replayed(compiled="at once"):
        for _ in range(8):
            assert bits(mg.meta_gradient(*ask, steps=steps)) == bits(expected)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient": "stop_gradient"},
        {"scaling": "adjoint"},
        {"scaling": "none"},
        {"per_task": True},
        {"memory": "8 KiB"},
        {"record": True},
        {"trust": True},
        {"diverged": "skip"},
        {"run": 40},
    ],
    ids=str,
)
def test_other_options_are_the_sweeps(options, counted):
    """They stand between usual calls of the same task."""
    task, ask = logistic(2), (mg.GradientDescent(), mg.WeightedSum())
    phi = np.array([0.1, 0.2]) if "per_task" in options else 0.1
    with replayed(False):
        usual = mg.meta_gradient(task, *ask, 0.1, steps=20)
        expected = mg.meta_gradient(task, *ask, phi, steps=20, **options)
    with replayed(compiled="at once"):
        for _ in range(9):
            assert bits(mg.meta_gradient(task, *ask, 0.1, steps=20)) == bits(usual)
            before = counted["quiet"]
            found = mg.meta_gradient(task, *ask, phi, steps=20, **options)
            assert bits(found) == bits(expected)
            assert counted["quiet"] == before or "trust" in options  # of which the run itself is a usual one
    assert counted["quiet"] >= 2


def test_a_run_that_says_something_is_followed_by_a_pause(counted):
    """What is laid out is asked less often where it has no answer: each time costs as much as half a run."""
    task = mg.FunctionTask(wild, w0=np.ones((2, 2)))
    with replayed(compiled="at once"):
        for eta in [0.05] * 12 + [1.5] * 40:
            mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), eta, steps=20)
        before = counted["quiet"]
        assert before >= 5
        for _ in range(80):
            mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.05, steps=20)
        assert counted["quiet"] > before


def test_two_threads(counted):
    """The memory is that of one run at a time: another one is the sweep's."""
    task, phis = logistic(4, 40, 6), [mg.GradientDescent.Phi(eta) for eta in etas(9, 30)]
    ask = task, mg.GradientDescent(), mg.WeightedSum()
    expected = [bits(mg.meta_gradient(*ask, phi, steps=24)) for phi in phis]
    found = [[], []]

    def runs(mine):
        with replayed(compiled="at once"):
            for phi in phis:
                mine.append(bits(mg.meta_gradient(*ask, phi, steps=24)))

    threads = [Thread(target=runs, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected, expected]
    assert counted["quiet"] > 0


def test_what_cannot_be_laid_out():
    """Random tasks, long runs, and rules whose start depends on phi are the sweep's."""

    class Warm:
        def init(self, phi, w):
            return phi * np.ones_like(w)

        def step(self, phi, state, w, f):
            return w - phi * state * f.gradient(w), state

    x = rng(10, "x").standard_normal((2, 30, 3))
    drawn = mg.FunctionTask(
        lambda w, sample: np.mean((sample @ w[..., None])[..., 0] ** 2, axis=-1),
        w0=np.ones((2, 3)),
        sampler=lambda draw, t: x[:, draw.integers(0, 30, 5)],
    )
    cases = [(drawn, mg.GradientDescent(), 20), (logistic(2), mg.GradientDescent(), 129), (logistic(2), Warm(), 20)]
    for task, rule, steps in cases:
        with replayed(False):
            expected = mg.meta_gradient(task, rule, mg.WeightedSum(), 0.1, steps=steps)
        with replayed(compiled="at once"):
            for _ in range(8):
                assert bits(mg.meta_gradient(task, rule, mg.WeightedSum(), 0.1, steps=steps)) == bits(expected)
        assert not quiet.are_laid_out(task)


class Warm:
    """Momentum whose first state depends on phi where phi is large."""

    def init(self, phi, w):
        return phi * w if phi > 0.1 else np.zeros_like(w)

    def step(self, phi, state, w, f):
        state = 0.5 * state + f.gradient(w)
        return w - phi * state, state


def test_a_start_that_depends_on_some_meta_parameters(monkeypatch):
    """What was seen of the start at one phi is asked again at each other one."""
    task = mg.FunctionTask(lambda w: np.sum(np.cosh(w), axis=-1), w0=np.full((2, 3), 0.7))
    alike(monkeypatch, task, Warm(), mg.WeightedSum(), [0.05] * 8 + [0.2, 0.05, 0.3, 0.3], steps=16)


def test_a_start_that_changes_the_data(monkeypatch):
    """`init` may write into what the loss reads: it is looked at after that."""
    x = np.ones((2, 5, 3))

    class Filling:
        def init(self, draw):
            x[...] = draw.standard_normal(x.shape)
            return np.zeros((2, 3))

        def loss(self, w, sample):
            return np.mean((np.sum(x * w[:, None, :], axis=-1) - 1.0) ** 2, axis=-1)

    task = Filling()
    with replayed(compiled="at once"):
        for seed in [1] * 8 + [2, 1, 3, 3, 3]:
            found = mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, steps=16, seed=seed)
            with replayed(False):
                expected = mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, steps=16, seed=seed)
            assert bits(found) == bits(expected)


@pytest.mark.parametrize("at", [np.s_[:, 0], np.s_[::2, 1], np.s_[::-1, 1]], ids=str)
def test_meta_parameters_with_gaps_in_memory(at, monkeypatch):
    phi = np.linspace(0.05, 0.2, 12).reshape(6, 2)[at][:3]
    assert not phi.flags.c_contiguous
    alike(monkeypatch, logistic(2, d=3), mg.GradientDescent(), mg.Mean(), [phi] * 8, steps=16)


class Flags:
    """A state of truths, and of a whole number without axes."""

    def init(self, phi, w):
        return {"up": np.zeros(w.shape, bool), "count": np.zeros((), np.int64), "mean": 0.0 * w}

    def step(self, phi, state, w, f):
        g = f.gradient(w)
        mean = np.where(state["up"], 0.5 * state["mean"], 0.25 * state["mean"]) + g
        return w - phi * mean, {"up": g > 0, "count": state["count"], "mean": mean}


def test_states_that_are_no_floats_are_answers_own(counted):
    """Every array of an answer is its own, the exponents of its end among them."""
    ask = logistic(2), Flags(), mg.WeightedSum()
    with replayed(compiled="at once"):
        found = [mg.meta_gradient(*ask, eta, steps=20) for eta in etas(12, 7)]
        known = [told(x) for x in found]
        for x in found:
            x.end.exponent[:] += 3
        for eta in etas(13, 8):
            assert not mg.meta_gradient(*ask, eta, steps=20).end.exponent.any()
        for x in found:
            x.end.exponent[:] -= 3
    assert [told(x) for x in found] == known
    assert counted["quiet"] >= 6


def test_a_lock_that_an_interruption_left(counted):
    """Ctrl-C may come between taking the lock and what gives it back: the next call of the thread goes on."""
    ask = logistic(2), mg.GradientDescent(), mg.WeightedSum()
    with replayed(compiled="at once"):
        for eta in etas(15, 6):
            mg.meta_gradient(*ask, eta, steps=16)
        (run,) = (run for _, routines in cache._KEPT[id(ask[0])][1] for run in routines.runs)
        assert run._run.lock.acquire(blocking=False)
        before = counted["quiet"]
        for eta in etas(16, 8):
            mg.meta_gradient(*ask, eta, steps=16)
    assert counted["quiet"] > before


def test_memory_that_an_interruption_left_half_taken(counted, monkeypatch):
    """Rows of addresses are those of the memory that is taken, or there are none."""
    ask = logistic(2), mg.Momentum(), mg.WeightedSum()
    phis = [mg.Momentum.Phi(eta) for eta in etas(17, 16)]
    expected = [bits(mg.meta_gradient(*ask, phi, steps=16)) for phi in phis]
    interrupted, rows_back = [], WholeRun._rows_back

    def broken_off(*args):
        if len(interrupted) in (1, 3):
            interrupted.append(True)
            raise KeyboardInterrupt
        interrupted.append(False)
        return rows_back(*args)

    monkeypatch.setattr(WholeRun, "_rows_back", broken_off)
    found = []
    with replayed(compiled="at once"):
        for _ in range(5):  # the sweep takes the memory for runs that are compared, the 32nd and the 64th among them
            for phi in phis:
                try:
                    found.append(bits(mg.meta_gradient(*ask, phi, steps=16)))
                except KeyboardInterrupt:
                    found.append(None)
    assert all(x in (None, y) for x, y in zip(found, expected * 5, strict=True))
    assert found.count(None) == 2
    assert counted["quiet"] >= 8


def test_threads_with_meta_parameters_of_different_shapes():
    """Each run is laid out for its own inputs, whatever another thread has asked for last."""
    task = logistic(2)
    phis = [mg.GradientDescent.Phi(0.05), mg.GradientDescent.Phi(np.full(3, 0.1))]
    ask = task, mg.GradientDescent(), mg.WeightedSum()
    expected = [bits(mg.meta_gradient(*ask, phi, steps=16)) for phi in phis]
    wrong = []

    def runs(k):
        with replayed(compiled="at once"):
            for _ in range(40):
                if bits(mg.meta_gradient(*ask, phis[k], steps=16)) != expected[k]:
                    wrong.append(k)

    threads = [Thread(target=runs, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
