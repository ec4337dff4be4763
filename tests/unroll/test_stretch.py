"""Stretches of steps: taken where they can be, with the numbers, statuses and digits of steps taken one by one."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import Stack, replayed
from metagrad.unroll.stretch import Sizes
from metagrad.unroll.tape_sweep import TapeSweep
from metagrad.xp import rng
from tests.replay.runs import bits, logistic

SEEDS = (0, 1)


@pytest.fixture
def counted(monkeypatch):
    """Count the steps that are pulled back one by one, and those by stretches."""
    found = {"alone": 0, "together": 0}
    alone, together = TapeSweep._pull, TapeSweep.pulled_many

    def one(self, *args):
        found["alone"] += 1
        return alone(self, *args)

    def many(self, times, *args, **kwargs):
        found["together"] += len(times)
        return together(self, times, *args, **kwargs)

    monkeypatch.setattr(TapeSweep, "_pull", one)
    monkeypatch.setattr(TapeSweep, "pulled_many", many)
    return found


def _twice(task, rule, objective, phi, counted, steps=60, **options):
    """Return the estimate, with the bits of the tape; the second run is counted."""
    ask = (task, rule, objective, phi)
    plain = mg.Reverse(fused=False, **options)(*ask, steps=steps)
    with replayed():
        mg.Reverse(**options)(*ask, steps=steps)
        counted.update(alone=0, together=0)
        found = mg.Reverse(**options)(*ask, steps=steps)
    assert bits(found) == bits(plain)
    assert (found.notes, found.carrier) == (plain.notes, plain.carrier)
    assert np.array_equal(found.end.w, plain.end.w, equal_nan=True)
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", [mg.GradientDescent(), mg.Adam()], ids=["GD", "Adam"])
@pytest.mark.parametrize(
    ("objective", "few"),
    [(mg.WeightedSum(), 4), (mg.Mean(), 4), (mg.Final(), 4), (mg.LogFinal(), 4), (mg.WeightedSum(0.9), 20)],
    ids=["sum", "mean", "final", "log", "weights"],
)
def test_most_steps_are_taken_together(rule, objective, few, dtype, counted):
    _twice(logistic(dtype=dtype), rule, objective, rule.Phi(0.1), counted)
    assert counted["alone"] <= few
    assert counted["alone"] + counted["together"] == 60


@pytest.mark.parametrize("options", [{"record": True}, {"scaling": "none"}, {"trust": True}], ids=str)
def test_what_is_looked_at_on_the_way_is_taken_one_by_one(options, counted):
    """Sizes at every time; plain floats; what is moved to neighbouring floats (the run itself is not)."""
    _twice(logistic(), mg.GradientDescent(), mg.WeightedSum(), 0.1, counted, **options)
    assert (counted["together"] > 0) is ("trust" in options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("eta", [0.5, 2.5])
@pytest.mark.parametrize("objective", [mg.WeightedSum(), mg.LogFinal()], ids=["sum", "log"])
def test_adjoints_that_leave_their_band(eta, objective, dtype, counted):
    """A parabola whose degree is not told: states and adjoints vanish or grow, task by task at other times."""
    start = np.array([[1.0, 0.1], [1e-3, 1.0], [0.3, 1e-8]], dtype)
    task = mg.FunctionTask(lambda w: np.sum(w * w * np.array([0.5, 0.05], dtype), axis=-1), w0=start)
    _twice(task, mg.GradientDescent(), objective, eta, counted, steps=80 if dtype == "float32" else 240)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rate", [0.2, 0.4])
def test_terms_and_tasks_of_other_exponents(rate, dtype, counted):
    """Far from 1, and task by task elsewhere: each adjoint has an exponent of its own, which terms have to be given."""
    steps = 60 if dtype == "float32" else 400
    start = np.array([[1.0, 0.1], [1e-3, 1.0], [0.3, 1e-4]], dtype) * np.array(2.0**-20, dtype)
    scales = np.array([[0.7, 0.9], [0.5, 0.6], [1.0, 0.8]], dtype)
    task = mg.FunctionTask(lambda w: np.sum(w * w * scales / 2, axis=-1), w0=start)
    _twice(task, mg.GradientDescent(), mg.WeightedSum(), rate, counted, steps=steps)
    assert counted["together"] > 0.7 * steps


def test_entries_that_are_zero(counted):
    start = np.array([[1.0, 0.0], [0.0, 1.0]]) * 2.0**-200
    task = mg.FunctionTask(lambda w: np.sum(w * w, axis=-1), w0=start)
    _twice(task, mg.GradientDescent(), mg.WeightedSum(), 0.25, counted, steps=200)
    assert counted["together"] > 150


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("held_out", [-12, -16])
@pytest.mark.parametrize("power", [100, 112])
def test_terms_far_from_the_steps(power, held_out, seed, counted):
    """float32: the training loss is near the end of the range, what is measured is small: digits fall out."""
    centre = rng(seed, "far").standard_normal((2, 3)).astype("float32")

    def loss(w):
        return np.sum(np.log1p((w - centre) ** 2), axis=-1)

    one = np.float32(1.0)
    task = mg.FunctionTask(
        lambda w: loss(w) * np.ldexp(one, power),
        w0=np.zeros((2, 3), "float32"),
        validation=lambda w: loss(w) * np.ldexp(one, held_out),
    )
    eta = np.ldexp(np.float32(0.2), -power)
    _twice(task, mg.GradientDescent(), mg.WeightedSum(measure="validation"), eta, counted, steps=40)
    assert counted["together"] > 30


class Late(mg.WeightedSum):
    """A tiny weight at 5, and 1 at 10, the end."""

    tiny = mg.Scaled(np.asarray(0.7), np.asarray(0))

    def weight(self, t, steps):
        return {5: self.tiny, 10: 1.0}.get(t)


class Moving:
    """w_{t+1} = shrink w_t + phi: each step gives its adjoint to phi."""

    def __init__(self, shrink):
        self.shrink = shrink

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return w * self.shrink + phi, state


@pytest.mark.parametrize(
    ("dtype", "shrink", "large", "tiny"),
    [("float32", -3, 120, x) for x in (-135, -140, -145, -147, -150)]
    + [("float64", -24, 1000, x) for x in (-1050, -1060, -1070, -1080)],
)
def test_a_tiny_weight_of_a_huge_slope_keeps_its_digits(dtype, shrink, large, tiny):
    """Beside the exponent of the adjoint the factor would be subnormal, though the term counts."""
    f = np.dtype(dtype).type

    def loss(w, sample):
        return np.sum(np.square(w - 2) * sample, axis=-1)

    def sampler(_, t):
        return np.array([[0, np.ldexp(1.0, large)] if t == 5 else [0.5, 0]], dtype)

    objective = Late()
    objective.tiny = mg.Scaled(np.asarray(0.7), np.asarray(tiny))
    task = mg.FunctionTask(loss, w0=np.array([[0.25, 0.25]], dtype), sampler=sampler)
    found = mg.Reverse(fused=False)(task, Moving(f(2.0**shrink)), objective, np.array([0.5, 0.5], dtype), steps=10)
    shrinks = 2.0**shrink
    w, slope = 0.25, 0.0
    for _ in range(5):
        w, slope = shrinks * w + 0.5, shrinks * slope + 1.0
    assert found.grad.mantissa.dtype == dtype
    expected = mg.Scaled.of(np.asarray(2 * (w - 2) * slope * 0.7)).log2abs() + tiny + large
    assert found.grad.log2abs()[1] == pytest.approx(float(expected), abs=4e-6 if dtype == "float32" else 1e-12)
    assert not found.status.any()


@pytest.mark.parametrize("steps", [130, 2000])
@pytest.mark.parametrize("power", [1, 2, 4])
@pytest.mark.parametrize("objective", [mg.WeightedSum(), mg.Final()], ids=["sum", "final"])
def test_losses_of_which_pullbacks_keep_little(objective, power, steps, counted):
    """That of a parabola needs nothing of a step; that of a line not even the state."""
    start = np.array([[1.0, 0.1], [0.3, 2.0]])
    task = mg.FunctionTask(lambda w: np.sum(w**power, axis=-1), w0=start)
    _twice(task, mg.GradientDescent(), objective, 0.01 / power, counted, steps=steps)


class TwoRates(NamedTuple):
    """Step sizes of two groups of coordinates."""

    most: object
    third: object


class Grouped:
    """Gradient descent with the second step size for the third coordinate."""

    Phi = TwoRates

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        third = np.array([0, 0, 1, 0], w.dtype)
        return w - (phi.most * (1 - third) + phi.third * third) * f.gradient(w), ()


@pytest.mark.parametrize("rescue", ["auto", "never"])
def test_what_may_have_been_lost_is_judged_alike(rescue, counted):
    """Entries down to 2^-70 beside others: the same exponents, bound, carrier and Status, by stretches and alone."""
    at = np.array([1.0, 0.7], "float32")

    def loss(w):
        small = w[:, 2] * np.float32(2.0**-46) + w[:, 3] * np.float32(2.0**-66)
        return np.sum(np.log1p((w[:, :2] - at) ** 2), axis=-1) * np.float32(2.0**-14) + small

    start = np.array([[0.1, 0.2, 1e-3, 2.0**-70]], "float32")
    phi = TwoRates(np.float32(0.3 * 2**14), np.float32(2.0**-6))
    task = mg.FunctionTask(loss, w0=start)
    found = _twice(task, Grouped(), mg.WeightedSum(), phi, counted, steps=40, rescue=rescue)
    task = mg.FunctionTask(loss, w0=start.astype("float64"))
    exact = mg.Reverse()(task, Grouped(), mg.WeightedSum(), TwoRates(*map(float, phi)), steps=40)
    for x, y in zip(found.grad, exact.grad, strict=True):
        assert x.to_float() == pytest.approx(y.to_float(), rel=1e-5)


@pytest.mark.parametrize("eta", [0.01, 3.0])
def test_states_that_overflow(eta, counted):
    start = np.array([[1.0, 0.1], [1e-3, 1.0], [0.3, 1e-8]])
    task = mg.FunctionTask(lambda w: np.sum(w * w / 2 + w**4 / 100, axis=-1), w0=start)
    _twice(task, mg.Momentum(), mg.WeightedSum(), mg.Momentum.Phi(eta), counted, steps=40)


def test_an_adjoint_that_is_exactly_zero(counted):
    """The second task never moves: its gradient is 0 at its start."""
    task = mg.FunctionTask(lambda w: np.sum(w**4, axis=-1), w0=np.array([[0.5, 0.2], [0.0, 0.0]]))
    _twice(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, counted)


class Theta(NamedTuple):
    """A task's own meta-parameters."""

    decay: object


def test_meta_parameters_of_the_task(counted):
    """With one term at the end they go by stretches, too."""
    x = rng(0, "stretch").standard_normal((3, 12, 4))
    y = x[..., 0] ** 2

    def loss(w, theta):
        fit = np.mean((np.einsum("bnd,bd->bn", x[:, :8], w) - y[:, :8]) ** 2, axis=-1)
        return fit + np.exp(theta.decay) * np.sum(w * w, axis=-1)

    def held_out(w, theta):
        return np.mean((np.einsum("bnd,bd->bn", x[:, 8:], w) - y[:, 8:]) ** 2, axis=-1)

    task = mg.FunctionTask(loss, w0=np.zeros((3, 4)), validation=held_out, theta=Theta(-2.0))
    _twice(task, mg.GradientDescent(), mg.Final("validation"), mg.Joint(0.05, Theta(-2.0)), counted)
    assert counted["together"] > 50
    _twice(task, mg.GradientDescent(), mg.WeightedSum(), mg.Joint(0.05, Theta(-2.0)), counted)


def test_schedules(counted):
    phi = mg.GradientDescent.Phi(np.linspace(0.3, 0.1, 60))
    _twice(logistic(), mg.Scheduled(mg.GradientDescent()), mg.WeightedSum(), phi, counted)
    assert counted["together"] > 50


@pytest.mark.parametrize("memory", [1 << 30, 1 << 12])
def test_states_that_are_computed_again(memory, counted):
    _twice(logistic(), mg.Adam(), mg.WeightedSum(), mg.Adam.Phi(0.1), counted, steps=120, memory=memory)


def test_a_long_run_forgets_what_was_measured(counted, monkeypatch):
    monkeypatch.setattr("metagrad.unroll.tally._MOST_KNOWN", 1)  # 256 terms, then
    _twice(logistic(), mg.GradientDescent(), mg.WeightedSum(), 0.1, counted, steps=300)


@pytest.mark.parametrize("seed", SEEDS)
def test_sizes_are_those_of_the_trees(seed):
    """Bounds decide nothing that the sizes themselves do not."""
    draw = rng(seed, "sizes")
    for _ in range(40):
        trees = [tuple(_wild(draw, shape) for shape in ((3,), (3, 4), (3, 2, 2))) for _ in range(6)]
        sizes = Sizes(Stack(trees).leaves)
        expected = np.array([[max(np.abs(leaf[b]).max() for leaf in tree) for b in range(3)] for tree in trees])
        expected = np.where(
            [[any(np.isnan(leaf[b]).any() for leaf in t) for b in range(3)] for t in trees], np.nan, expected
        )
        assert np.array_equal(sizes.rows(), expected, equal_nan=True)
        assert np.array_equal(sizes.most, expected.max(axis=0), equal_nan=True)
        low, high = 1e-3, 1e3
        outside = ~((expected > low) & (expected < high)).all(axis=1)
        assert sizes.first_outside(low, high) == (int(outside.argmax()) if outside.any() else 6)
        assert sizes.are_within(low, high) == bool((expected >= low).all() and (expected < high).all())


def _wild(draw, shape):
    x = draw.standard_normal(shape) * 10.0 ** draw.integers(-1, 2, shape)
    x[draw.random(shape) < 0.2] = 0.0
    if draw.random() < 0.2:
        x[draw.random(shape) < 0.1] = draw.choice([np.nan, np.inf, 1e9, 0.0])
    return x


@pytest.mark.parametrize("per_task", [False, True])
def test_a_state_that_vanishes_before_its_logarithm_is_taken(per_task):
    """The tape and the replay say the same: what came first, the state."""
    w0 = rng(0, "vanishes").standard_normal((2, 1))
    task = mg.FunctionTask(lambda w: np.sum(0.5 * w * w + 1e-3 * w**4, axis=-1), w0=w0)
    rule, phi = mg.GradientDescent(), mg.GradientDescent.Phi(np.ones(2) if per_task else 1.0)
    ask = (task, rule, mg.LogFinal(), phi)
    options = {"steps": 64, "per_task": per_task, "rescue": "never"}
    with replayed(False):
        plain = mg.meta_gradient(*ask, **options)
    assert (plain.status == mg.Status.STATE_ZERO.code).any()
    for _ in range(3):
        with replayed():
            found = mg.meta_gradient(*ask, **options)
        assert np.array_equal(found.status, plain.status)
        assert np.array_equal(found.status_step, plain.status_step)
