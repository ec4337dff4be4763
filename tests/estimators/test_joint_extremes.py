"""Starts, states and tasks at the ends of the range, and at every door: right, or told."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.errors import Status
from metagrad.system import begin

RULE = mg.GradientDescent()


@pytest.mark.parametrize("method", ["reverse", "forward"])
@pytest.mark.parametrize(
    ("dtype", "theta", "eta", "steps"),
    [
        ("float64", 690.0, 3.0, 20),
        ("float64", -690.0, 0.5, 60),
        ("float64", -690.0, 0.2, 150),
        ("float64", -705.0, 0.5, 20),
        ("float32", 85.0, 3.0, 9),
        ("float16", 10.0, 3.0, 3),
    ],
)
def test_a_start_near_the_ends_of_the_range(method, dtype, theta, eta, steps):
    """w_0 = e^theta: G = (2 theta + ...)/T, so that dG/d theta = 2/T, whatever the size of w_0."""
    task = mg.FunctionTask(
        lambda w: np.sum(w * w, axis=-1) / 2,
        lambda theta: np.exp(theta) * np.ones((1, 1), dtype),
        theta=np.asarray(0.0, dtype),
        degree=2,
    )
    phi = mg.Joint(eta, np.asarray(theta, dtype))
    found = mg.meta_gradient(task, RULE, mg.LogFinal(), phi, steps=steps, method=method)
    assert found.ok, found.report()
    accuracy = {"float64": 1e-13, "float32": 1e-5, "float16": 1e-2}[dtype]
    assert float(found.grad.task) == pytest.approx(2 / steps, rel=accuracy)


class FirstVelocity:
    """Momentum whose velocity at the start is a meta-parameter, in units of the start."""

    class Phi(NamedTuple):
        eta: np.ndarray
        first: np.ndarray

    homogeneous = True

    def init(self, phi, w):
        return phi.first * w

    def step(self, phi, state, w, f):
        state = 0.5 * state - phi.eta * f.gradient(w)
        return w + state, state


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_a_state_that_starts_from_meta_parameters_at_any_size(size):
    """On a quadratic the log objective does not depend on the size of the start; nor do its derivatives."""
    H, w0 = np.diag([0.5, 2.0]), np.array([[1.0, 2.0], [3.0, -1.0]])
    phi = FirstVelocity.Phi(0.3, 0.4)
    kinds = [{}, {"method": "forward"}]
    found = [
        mg.meta_gradient(mg.Quadratic(H, size * w0), FirstVelocity(), mg.LogFinal(), phi, steps=40, **k) for k in kinds
    ]
    one = mg.meta_gradient(mg.Quadratic(H, w0), FirstVelocity(), mg.LogFinal(), phi, steps=40)
    for estimate in found:
        assert estimate.ok, estimate.report()
        for a, b in zip(ad.leaves(estimate.grad), ad.leaves(one.grad), strict=True):
            assert float(a) == pytest.approx(float(b), rel=1e-11)


@pytest.mark.parametrize("tasks", [2, 3])
@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_phi_a_task_reaches_the_start_as_it_reaches_the_steps(tasks, method):
    """With as many tasks as coordinates, and with more."""
    w0 = np.random.default_rng(0).standard_normal((tasks, 2))
    phi = FirstVelocity.Phi(np.linspace(0.1, 0.3, tasks), np.linspace(0.2, 0.9, tasks))
    H, options = np.diag([0.5, 2.0]), {"steps": 4, "method": method}
    found = mg.meta_gradient(mg.Quadratic(H, w0), FirstVelocity(), mg.Final(), phi, per_task=True, **options)
    curve = mg.rollout(mg.Quadratic(H, w0), FirstVelocity(), phi, steps=4, per_task=True)
    np.testing.assert_allclose(found.value.to_float(), curve[-1], rtol=1e-13)
    for b in range(tasks):
        one = FirstVelocity.Phi(float(phi.eta[b]), float(phi.first[b]))
        alone = mg.meta_gradient(mg.Quadratic(H, w0[b : b + 1]), FirstVelocity(), mg.Final(), one, **options)
        assert found.value.to_float()[b] == pytest.approx(alone.value.to_float()[0], rel=1e-13)
        for x, y in zip(ad.leaves(found.grad), ad.leaves(alone.grad), strict=True):
            assert x.to_float()[b] == pytest.approx(float(y), rel=1e-12)


@pytest.mark.parametrize("steps", [2, 3])
def test_a_schedule_a_task_whose_first_entry_reaches_the_start(steps):
    """The exponents of the tasks belong to the task axis, not to that of time."""
    scale = np.array([1e60, 1.0])
    task = mg.FunctionTask(lambda w: scale * np.sum(w * w, axis=-1) / 2, np.array([[1.0, 2.0], [3.0, -1.0]]))
    first = np.random.default_rng(1).uniform(0.1, 0.4, (steps, 2, 1))
    phi, rule = FirstVelocity.Phi(np.full((2, 1), 0.1), first), mg.Scheduled(FirstVelocity(), ("first",))
    reverse, forward = (
        mg.meta_gradient(task, rule, mg.Final(), phi, steps=steps, per_task=True, method=m)
        for m in ("reverse", "forward")
    )
    for a, b in zip(ad.leaves(reverse.grad), ad.leaves(forward.grad), strict=True):
        assert (a.relative_difference(b) < 1e-12).all()


class Number:
    """A state with a float that belongs to no task: a running product of mu."""

    Phi = mg.Momentum.Phi

    def __init__(self, first):
        self.first = first

    def init(self, phi, w):
        return np.zeros_like(w), self.first

    def step(self, phi, state, w, f):
        m, product = phi.mu * state[0] + (1 - phi.mu) * f.gradient(w), state[1] * phi.mu
        return w - phi.eta * m / (1 - product), (m, product)


@pytest.mark.parametrize("first", [1.0, np.float64(1), np.asarray(1.0), 1], ids=repr)
def test_a_float_without_a_task_axis_is_refused(first):
    task = mg.Quadratic(np.diag([0.5, 2.0]), np.array([[1.0, 2.0], [3.0, -1.0]]))
    member = "step" if isinstance(first, int) and not isinstance(first, float) else "init"
    with pytest.raises(ValueError, match=rf"Number\.{member}: the state\[1\] is of shape \(\)"):
        mg.meta_gradient(task, Number(first), mg.LogFinal(), mg.Momentum.Phi(20.0, 0.9), steps=4)
    given = mg.meta_gradient(task, Number(np.ones((2, 1))), mg.LogFinal(), mg.Momentum.Phi(0.1, 0.9), steps=4)
    adam = mg.meta_gradient(
        task, Number(np.ones((2, 1))), mg.LogFinal(), mg.Momentum.Phi(0.1, 0.9), steps=4, method="forward"
    )
    assert float(given.grad.mu) == pytest.approx(float(adam.grad.mu), rel=1e-12)


class Looks:
    """What is measured is scaled by a meta-parameter."""

    class Phi(NamedTuple):
        eta: np.ndarray
        look: np.ndarray

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return w - phi.eta * f.gradient(w), ()

    def answer(self, phi, state, w):
        return w * phi.look


def test_an_answer_that_changes_with_time_is_that_of_the_step_that_made_it():
    task, rule = mg.Quadratic(np.eye(1), np.ones((1, 1))), mg.Scheduled(Looks(), ("look",))
    phi = Looks.Phi(0.1, np.array([1.0, 2.0, 3.0, 4.0]))
    value = mg.value(task, rule, mg.Mean(), phi, steps=4).value
    assert float(value) == pytest.approx(mg.rollout(task, rule, phi, steps=4)[1:].mean(), rel=1e-14)
    byhand = np.mean([(0.9**t * phi.look[t - 1]) ** 2 / 2 for t in range(1, 5)])
    assert float(value) == pytest.approx(byhand, rel=1e-14)
    reverse, forward = (mg.meta_gradient(task, rule, mg.Mean(), phi, steps=4, method=m) for m in ("reverse", "forward"))
    np.testing.assert_allclose(reverse.grad.look.to_float(), forward.grad.look.to_float(), rtol=1e-13)
    exact = [0.9 ** (2 * t) * phi.look[t - 1] / 4 for t in range(1, 5)]
    np.testing.assert_allclose(reverse.grad.look.to_float(), exact, rtol=1e-13)


def test_a_meta_gradient_that_is_no_number_has_a_status():
    class Kink:
        class Phi(NamedTuple):
            eta: np.ndarray

        def init(self, phi, w):
            return ()

        def step(self, phi, state, w, f):
            return w - np.sqrt(phi.eta) * f.gradient(w), ()

    task = mg.Quadratic(np.eye(2), np.ones((1, 2)))
    found = mg.Reverse()(task, Kink(), mg.Final(), Kink.Phi(0.0), steps=2)
    assert not np.isfinite(found.grad.eta.mantissa)
    assert Status.from_code(found.status[0]) in (Status.GRADIENT_NAN, Status.GRADIENT_OVERFLOW)


def test_data_that_are_no_numbers_cannot_be_left_out_in_silence():
    x = np.array([1.0, np.nan, 2.0])
    task = mg.FunctionTask(lambda w: np.sum((w - x[:, None]) ** 2, axis=-1), np.zeros((3, 2)))
    found = mg.meta_gradient(task, RULE, mg.Final(), 0.1, steps=3, diverged="skip")
    others = mg.FunctionTask(lambda w: np.sum((w - x[::2, None]) ** 2, axis=-1), np.zeros((2, 2)))
    alone = mg.meta_gradient(others, RULE, mg.Final(), 0.1, steps=3)
    assert float(found.grad.eta.to_float()) == pytest.approx(float(alone.grad.eta.to_float()), rel=1e-13)
    assert np.isnan(found.value.mantissa[1])
    assert found.status.tolist() == [0, Status.STATE_NAN.code, 0]
    assert "1 of 3 tasks diverged" in found.report()
    assert "Task 1: numpy.subtract was given NaN" in found.report()


FEW = mg.LearnedStart(mg.Quadratic(np.eye(2), np.ones((2, 2))))


def test_a_start_for_all_is_not_taken_for_one_a_task():
    phi = mg.Joint(np.array([0.1, 0.1]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"LearnedStart: phi.task is of shape \(2, 1\)"):
        mg.meta_gradient(FEW, RULE, mg.Final(), phi, steps=3, per_task=True)


def test_starts_of_one_number_a_task():
    few = mg.LearnedStart(
        mg.FunctionTask(lambda w: np.sum(w["w"] ** 2, -1) + w["s"] ** 2, {"w": np.ones((2, 3)), "s": np.ones(2)})
    )
    phi = mg.Joint(np.full(2, 0.1), {"w": np.ones((2, 3)), "s": np.ones(2)})
    found = mg.meta_gradient(few, RULE, mg.Final(), phi, steps=3, per_task=True)
    np.testing.assert_allclose(found.grad.task["s"].to_float(), 2 * 0.8**6, rtol=1e-13)


def test_a_position_at_the_start_holds_the_start():
    phi = mg.Joint(RULE.Phi(0.1), np.ones(2))
    found = mg.Reverse()(FEW, RULE, mg.Final(), phi, steps=3, at=begin(FEW, RULE, phi))
    assert not found.grad.task.to_float().any()
    assert "held constant" in found.report()


def test_a_run_goes_on_through_the_call_of_a_user():
    task, rule, phi = mg.Quadratic(np.eye(2), np.ones((2, 2))), mg.Momentum(), mg.Momentum.Phi(0.1, 0.5)
    first = mg.meta_gradient(task, rule, mg.Final(), phi, steps=3, run=6)
    second = mg.meta_gradient(task, rule, mg.Final(), phi, steps=3, at=first.end)
    np.testing.assert_allclose(
        second.value.to_float(), mg.value(task, rule, mg.Final(), phi, steps=6).value.to_float(), rtol=1e-14
    )
    _, half = mg.rollout(task, rule, phi, steps=3, run=6, with_end=True)
    np.testing.assert_array_equal(half.w, first.end.w)


BAD = {
    "a number as a position": (lambda t: mg.rollout(t, RULE, 0.1, steps=3, at=3), TypeError, "at is a int"),
    "an estimate as a position": (
        lambda t: mg.meta_gradient(t, RULE, mg.Final(), 0.1, steps=3, at=mg.value(t, RULE, mg.Final(), 0.1, steps=2)),
        TypeError,
        "at is a Estimate.*Pass the `end`",
    ),
    "a text as a horizon": (
        lambda t: mg.meta_gradient(t, RULE, mg.Final(), 0.1, steps=3, run="a"),
        TypeError,
        "run is 'a'",
    ),
    "a horizon that is too short": (
        lambda t: mg.meta_gradient(t, RULE, mg.Final(), 0.1, steps=3, run=2),
        ValueError,
        "run is 2; expected an integer of at least 3",
    ),
    "windows of no length": (
        lambda t: mg.meta_gradient(t, RULE, mg.Final(), 0.1, steps=3, method="windows"),
        TypeError,
        "options is no `window`",
    ),
    "a misspelt choice": (
        lambda t: mg.Reverse(diverged="skp")(t, RULE, mg.Final(), RULE.Phi(0.1), steps=3),
        ValueError,
        "Did you mean 'skip'",
    ),
    "a start of another shape": (lambda t: mg.LearnedStart(t, np.ones(3)), ValueError, r"w0 is of shape \(3,\)"),
    "a class": (lambda t: mg.LearnedStart(mg.Quadratic), TypeError, r"Write LearnedStart\(Quadratic\(...\)\)"),
    "a measure that is none": (lambda t: mg.rollout(t, RULE, 0.1, steps=3, measure=3), TypeError, "measure is 3"),
    "a Joint in a Joint": (
        lambda t: mg.Reverse()(t, RULE, mg.Final(), mg.Joint(mg.Joint(0.1)), steps=3),
        TypeError,
        "a Joint within a Joint",
    ),
    "no task": (lambda t: mg.FunctionTask(lambda w: np.sum(w, -1), np.ones((0, 2))), ValueError, "at least one task"),
    "a degree that is a text": (
        lambda t: mg.FunctionTask(lambda w: np.sum(w, -1), np.ones((1, 2)), degree="2"),
        TypeError,
        "degree is '2'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call(mg.Quadratic(np.eye(2), np.ones((2, 2))))
