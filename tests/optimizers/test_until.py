"""Tasks that stop where their gradient, or their loss, is small: each at its own step, and the others go on."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.xp import rng
from tests.strategies import random_quadratic

TASK = random_quadratic(4, 3, seed=1)
RULES = {
    "gradient descent": (mg.GradientDescent(), mg.GradientDescent.Phi(0.3)),
    "momentum": (mg.Momentum(), mg.Momentum.Phi(0.2, 0.5)),
    "adam": (mg.Adam(), mg.Adam.Phi(0.1, 0.8, 0.9, 0.01)),
}


def one(b):
    return mg.Quadratic(TASK.H[b : b + 1], TASK.w0[b : b + 1])


def stopping_time(b, rule, phi, tolerance, of, steps):
    """Return after how many steps the task b is done, by steps of the rule alone."""
    task, w = one(b), TASK.w0[b : b + 1]
    state = rule.init(phi, w)
    for t in range(steps):
        g = task.gradient(w, None)
        if (np.sqrt((g**2).sum()) if of == "gradient" else task.loss(w, None)[0]) <= tolerance:
            return t
        w, state = rule.step(phi, state, w, mg.FixedGradient(g))
    return steps


@pytest.mark.parametrize("of", ["gradient", "loss"])
@pytest.mark.parametrize("method", ["reverse", "forward"])
@pytest.mark.parametrize("name", RULES)
def test_each_task_is_one_that_ran_so_many_steps(name, of, method):
    rule, phi = RULES[name]
    tolerance, steps = 0.3, 30
    until = mg.Until(rule, tolerance, of)
    found = mg.meta_gradient(
        TASK, until, mg.Final(), type(phi)(*[np.full(4, x) for x in phi]), steps=steps, per_task=True, method=method
    )
    times = [stopping_time(b, rule, phi, tolerance, of, steps) for b in range(4)]
    assert len(set(times)) > 1
    assert min(times) < steps
    assert found.ok, found.report()
    for b, count in enumerate(times):
        alone = mg.meta_gradient(one(b), rule, mg.Final(), phi, steps=count, method=method)
        assert found.value.to_float()[b] == pytest.approx(alone.value.to_float()[0], rel=1e-13)
        for x, y in zip(found.grad, alone.grad, strict=True):
            assert float(x[b].to_float()) == pytest.approx(float(y.to_float()), rel=1e-11)


@pytest.mark.parametrize("name", RULES)
def test_against_differences(name):
    rule, phi = RULES[name]
    until, h = mg.Until(rule, 0.3), 1e-6
    found = mg.meta_gradient(TASK, until, mg.MeanLog(), phi, steps=25)
    ahead, behind = (
        mg.value(TASK, until, mg.MeanLog(), phi._replace(eta=phi.eta + s * h), steps=25).value.to_float().mean()
        for s in (1, -1)
    )
    assert float(found.grad.eta.to_float()) == pytest.approx((ahead - behind) / (2 * h), rel=1e-6)


def test_a_stopped_task_keeps_its_state():
    rule, phi = mg.Until(mg.Momentum(), 1.0), mg.Momentum.Phi(0.1, 0.5)
    w = {"a": np.array([[2.0, 0.0], [2.0, 0.0]]), "b": np.array([1.0, 1.0])}
    state = rule.init(phi, w)
    large = {"a": np.ones((2, 2)), "b": np.ones(2)}
    w, state = rule.step(phi, state, w, mg.FixedGradient(large))
    assert not state.done.any()
    kept = (w["a"][1], state.inner["b"][1])
    small = {"a": np.array([[1.0, 1.0], [0.6, 0.0]]), "b": np.array([1.0, 0.8])}
    w, state = rule.step(phi, state, w, mg.FixedGradient(small))
    assert state.done.tolist() == [False, True], "at the tolerance, 0.36 + 0.64 = 1, it has stopped"
    w, state = rule.step(phi, state, w, mg.FixedGradient(large))
    assert state.done.tolist() == [False, True], "it does not start again"
    assert np.array_equal(w["a"][1], kept[0])
    assert state.inner["b"][1] == kept[1]
    assert state.inner["b"][0] != kept[1]


def test_nan_is_not_small():
    rule, w = mg.Until(mg.GradientDescent(), 1.0), np.ones((2, 2))
    phi = mg.GradientDescent.Phi(0.1)
    moved, state = rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(np.array([[np.nan, 0.0], [0.1, 0.1]])))
    assert state.done.tolist() == [False, True]
    assert np.isnan(moved[0, 0])


def test_the_gradient_is_computed_once():
    count = []

    class Counting(mg.Quadratic):
        def gradient(self, w, sample):
            count.append(1)
            return super().gradient(w, sample)

    mg.rollout(Counting(TASK.H, TASK.w0), mg.Until(mg.GradientDescent(), 0.1), 0.1, steps=5, measure=lambda w: w[:, 0])
    assert len(count) == 5


def test_with_samples_and_whatever_the_memory():
    X, y = rng(2, "until").standard_normal((2, 3, 12, 2))[..., 0], rng(3, "until").standard_normal((2, 3))
    task = mg.LeastSquares(X.swapaxes(1, 2), np.repeat(y, 4, axis=1), batch_size=4)
    rule = mg.Until(mg.GradientDescent(), 0.5)
    a, b = (mg.meta_gradient(task, rule, mg.MeanLog(), 0.1, steps=20, memory=m, seed=3) for m in (300, 1 << 30))
    assert np.array_equal(a.grad.eta.mantissa, b.grad.eta.mantissa)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ((1,), TypeError, "tolerance is 1, a int; expected a Python float"),
        ((np.asarray(1.0),), TypeError, "It is no meta-parameter"),
        ((-1.0,), ValueError, "tolerance is -1.0"),
        ((np.inf,), ValueError, "tolerance is inf"),
        ((float("nan"),), ValueError, "tolerance is nan"),
        ((1.0, "gradeint"), ValueError, "Did you mean 'gradient'"),
    ],
)
def test_bad_tolerances(options, kind, message):
    with pytest.raises(kind, match=message):
        mg.Until(mg.GradientDescent(), *options)


class Looking:
    """Gradient descent whose answer is scaled by a meta-parameter."""

    class Phi(NamedTuple):
        eta: float
        look: float

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return w - phi.eta * f.gradient(w), ()

    def answer(self, phi, state, w):
        return w * phi.look


def test_a_stopped_task_keeps_its_answer():
    """The first task stops at once, the second goes on; the time that the answer depends on goes on for both."""
    task, following = mg.Quadratic(np.eye(1), np.array([[1.0], [20.0]])), mg.Following(Looking(), look=mg.Exponential())
    phi = following.Phi(eta=0.1, look_start=1.0, look_factor=0.5)
    plain, until = (
        mg.rollout(task, rule, phi, steps=4, measure=lambda w: w[:, 0])
        for rule in (following, mg.Until(following, 10.0))
    )
    assert until[:, 0].tolist() == [1.0] * 5
    assert np.array_equal(until[:, 1], plain[:, 1])


@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_the_derivative_of_an_answer_that_is_kept(method):
    """The answer of the task that stops after two steps is that of a run of two steps."""
    task = mg.Quadratic(np.eye(1), np.array([[1.0], [20.0]]))
    following = mg.Following(Looking(), look=mg.Exponential())
    phi = following.Phi(*[np.full(2, x) for x in (0.1, 1.5, 0.5)])
    rule = mg.Until(following, 0.85)
    found = mg.meta_gradient(task, rule, mg.Final(), phi, steps=5, per_task=True, method=method)
    for b, count in enumerate((2, 5)):
        one, own = mg.Quadratic(np.eye(1), task.w0[b : b + 1]), following.Phi(0.1, 1.5, 0.5)
        alone = mg.meta_gradient(one, following, mg.Final(), own, steps=count, method=method)
        assert found.value.to_float()[b] == alone.value.to_float()[0]
        for x, y in zip(found.grad, alone.grad, strict=True):
            assert float(x[b].to_float()) == pytest.approx(float(y.to_float()), rel=1e-13)


@pytest.mark.parametrize("method", ["reverse", "forward"])
@pytest.mark.parametrize("tolerance", [0.85, 5.0])
def test_an_answer_that_is_kept_has_the_entry_of_its_last_step(tolerance, method):
    """The first task stops after two steps, or at once."""
    task = mg.Quadratic(np.eye(1), np.array([[1.0], [20.0]]))
    phi, count = Looking.Phi(0.1, np.array([1.5, 0.7, 0.2, 0.1, 0.3])), 2 if tolerance < 1 else 0
    rules = [
        mg.Until(mg.Scheduled(Looking(), ("look",)), tolerance),
        mg.Scheduled(mg.Until(Looking(), tolerance), ("look",)),
    ]
    for rule in rules:
        found = mg.meta_gradient(task, rule, mg.Final(), phi, steps=5, method=method)
        kept = 0.9**count * phi.look[max(0, count - 1)]
        last = 20 * 0.9**5 * phi.look[4]
        np.testing.assert_allclose(found.value.to_float(), [kept**2 / 2, last**2 / 2], rtol=1e-13)
        slopes = np.zeros(5)
        slopes[max(0, count - 1)] = kept * 0.9**count / 2
        slopes[4] = last * 20 * 0.9**5 / 2
        np.testing.assert_allclose(found.grad.look.to_float(), slopes, rtol=1e-13)
