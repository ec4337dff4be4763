"""Truncation: inside of the ball nothing changes, outside the run has ended and its derivative is zero."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.xp import move
from tests.cupy_double import double

TASK = mg.random_least_squares(3, 10, 20, sigma=1.0, seed=1)
UNIT = np.full(20, 20**-0.5)
ETA = np.array([0.1, 0.6, 0.6])  # the second and third task leave the ball, the first does not


def solve(rule, method=mg.Reverse, task=TASK, phi=ETA, objective=None, steps=10):
    objective = mg.Final("risk") if objective is None else objective
    return method(per_task=True, fused=False)(task, rule, objective, mg.GradientDescent.Phi(phi), steps=steps)


@pytest.mark.parametrize("method", [mg.Reverse, mg.Forward])
def test_truncated_runs_have_ended_and_the_others_go_on(method):
    plain = solve(mg.GradientDescent(), method)
    found = solve(mg.Stopped(mg.GradientDescent(), 5.0, UNIT), method)
    assert found.ok
    end = ((5.0 * UNIT - TASK.w_star) ** 2).sum(axis=1)
    np.testing.assert_allclose(found.value.to_float()[1:], end[1:], rtol=1e-13)
    assert (found.grad.eta.to_float()[1:] == 0).all()
    assert found.value.to_float()[0] == plain.value.to_float()[0]
    assert found.grad.eta.to_float()[0] == plain.grad.eta.to_float()[0]
    assert (plain.value.to_float()[1:] > 10 * end[1:]).all()


def test_a_run_that_has_ended_does_not_come_back():
    """A step size that would contract leaves w where it is, on the rim, though rounding may put it just inside."""
    rule = mg.Stopped(mg.GradientDescent(), 5.0, UNIT)
    w = 6.0 * np.eye(20)[:3]
    state = rule.init(mg.GradientDescent.Phi(0.5), w)
    for _ in range(50):
        w, state = rule.step(mg.GradientDescent.Phi(0.5), state, w, mg.FixedGradient(w))
    assert not np.array_equal(w, np.tile(5.0 * UNIT, (3, 1))), "0.5 * 6 was inside of the ball: never truncated"
    w, state = rule.step(mg.GradientDescent.Phi(-100.0), state, np.ones_like(w), mg.FixedGradient(np.ones_like(w)))
    for _ in range(50):
        assert np.array_equal(w, np.tile(5.0 * UNIT, (3, 1)))
        w, state = rule.step(mg.GradientDescent.Phi(0.5), state, w, mg.FixedGradient(w))


def test_a_schedule_is_cut_at_the_step_of_truncation():
    rule = mg.Scheduled(mg.Stopped(mg.GradientDescent(), 5.0, UNIT))
    eta = np.full((10, 3), 0.05)
    found = solve(rule, phi=eta).grad.eta.to_float()
    assert (np.abs(found) > 0).all()
    eta[4, 1] = 50.0
    found = solve(rule, phi=eta).grad.eta.to_float()
    assert (found[:, 1] == 0).all()
    assert (np.abs(found[:, [0, 2]]) > 0).all()


def test_the_radius_beside_the_range_of_the_dtype():
    w = np.full((1, 20), 100.0, dtype=np.float16)
    rule = mg.Stopped(mg.GradientDescent(), 1e4, UNIT.astype(np.float16))
    phi = mg.GradientDescent.Phi(np.float16(0.0))
    moved, _ = rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(w))
    assert np.array_equal(moved, w), "||w||^2 = 2e5 overflows float16, ||w / radius||^2 does not"


def test_the_papers_radius_and_no_noise():
    assert mg.Stopped.at_noise(mg.GradientDescent(), 0.5, UNIT).radius == 20.0
    never = mg.Stopped.at_noise(mg.GradientDescent(), 0.0, UNIT)
    assert never.radius == np.inf
    assert never.homogeneous
    assert not mg.Stopped(mg.GradientDescent(), 5.0, UNIT).homogeneous
    a, b = solve(never), solve(mg.GradientDescent())
    assert np.array_equal(a.grad.eta.mantissa, b.grad.eta.mantissa)


def test_on_the_double():
    rule = mg.Stopped(mg.GradientDescent(), 5.0, np.tile(UNIT, (3, 1)))
    task, there = (move(x, double.NAMESPACE) for x in (TASK, rule))
    here = solve(rule)
    found = solve(there, task=task, phi=move(ETA, double.NAMESPACE))
    np.testing.assert_allclose(found.grad.eta.to_float().get(), here.grad.eta.to_float(), rtol=1e-12)


def test_training_through_it():
    """From a step size at which every run ends there is no gradient; from one at which none does it is learned."""
    rule = mg.Stopped.at_noise(mg.GradientDescent(), 1.0, UNIT)
    trainer = mg.MetaTrainer(TASK, rule, mg.Final("risk"), steps=10, scale=0.02)
    stuck, learned = trainer.run(3.0, 5), trainer.run(0.02, 60)
    assert (stuck.phi == 3.0).all()
    risk = learned.value_sign * 2.0**learned.value_log2
    assert risk[-1].mean() < risk[0].mean()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ((mg.GradientDescent(), 0.0, UNIT), ValueError, "radius is 0.0; expected a float above 0.*math.inf"),
        ((mg.GradientDescent(), np.nan, UNIT), ValueError, "radius is nan"),
        ((mg.GradientDescent(), 40, UNIT), ValueError, "radius is 40; expected a float"),
        ((mg.GradientDescent(), 1.0), TypeError, "direction is a NoneType"),
        ((mg.GradientDescent(), 1.0, np.ones(2)), ValueError, "direction is of length 1.414; expected unit vectors"),
        ((mg.Scheduled(mg.GradientDescent()), 1.0, UNIT), TypeError, r"Write Scheduled\(Stopped\(rule"),
    ],
)
def test_bad_truncations(options, kind, message):
    with pytest.raises(kind, match=message):
        mg.Stopped(*options)


def test_bad_noise():
    with pytest.raises(ValueError, match=r"sigma is -1\.0"):
        mg.Stopped.at_noise(mg.GradientDescent(), -1.0, UNIT)


def steep(*w0):
    with np.errstate(over="ignore"):  # the loss of the first task of two is infinite
        return mg.FunctionTask(lambda w: np.sum(w**4, -1), np.array(w0))


STEEP, GENTLE = steep([1e120, 0.0], [0.5, 0.2]), steep([0.5, 0.2])
CHAIN = mg.Chain(mg.WeightDecay(), rule=mg.Momentum())
RULES = {
    "gradient descent": (mg.GradientDescent(), mg.GradientDescent.Phi(0.1)),
    "momentum": (mg.Momentum(), mg.Momentum.Phi(0.1, 0.5)),
    "decay of weights": (CHAIN, CHAIN.Phi(0.01, 0.1, 0.5)),
}


@pytest.mark.parametrize("method", ["reverse", "forward"])
@pytest.mark.parametrize("name", RULES)
def test_what_leaves_at_an_infinite_gradient_has_the_derivative_zero(name, method):
    """The gradient of the first task is infinite; that of the mean is half of the second task's."""
    rule, phi = RULES[name]
    stopped = mg.Stopped(rule, 5.0, np.array([1.0, 0.0]))
    found = mg.meta_gradient(STEEP, stopped, mg.Final(), phi, steps=3, method=method)
    alone = mg.meta_gradient(GENTLE, stopped, mg.Final(), phi, steps=3, method=method)
    assert found.ok, found.report()
    assert found.value.to_float()[0] == 625.0
    for x, y in zip(found.grad, alone.grad, strict=True):
        assert float(x.to_float()) == pytest.approx(float(y.to_float()) / 2, rel=1e-13)


class Averaged:
    """Gradient descent whose answer is a mean of iterates, with a meta-parameter in it."""

    class Phi(NamedTuple):
        eta: float
        mu: float

    def init(self, phi, w):
        return w

    def step(self, phi, state, w, f):
        return w - phi.eta * f.gradient(w), phi.mu * state + (1 - phi.mu) * w

    def answer(self, phi, state, w):
        return phi.mu * state + (1 - phi.mu) * w


@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_the_answer_of_a_run_that_has_ended_is_where_it_is_put(method):
    stopped, phi = mg.Stopped(Averaged(), 5.0, np.array([1.0, 0.0])), Averaged.Phi(np.full(2, 0.1), np.full(2, 0.5))
    found = mg.meta_gradient(STEEP, stopped, mg.Final(), phi, steps=3, method=method, per_task=True)
    assert found.ok, found.report()
    assert found.value.to_float()[0] == 625.0
    for x in found.grad:
        assert x.to_float()[0] == 0
        assert x.to_float()[1] != 0


def test_wrappers_around_it_know_the_meta_parameters():
    stopped = mg.Stopped(mg.Momentum(), 5.0, UNIT)
    plain = mg.meta_gradient(TASK, stopped, mg.Final("risk"), mg.Momentum.Phi(0.1, 0.5), steps=4)
    step_by_step = mg.Scheduled(stopped, ("eta",))
    found = mg.meta_gradient(TASK, step_by_step, mg.Final("risk"), mg.Momentum.Phi(np.full(4, 0.1), 0.5), steps=4)
    assert found.grad.eta.to_float().sum() == pytest.approx(float(plain.grad.eta.to_float()), rel=1e-12)
    following = mg.Following(stopped, eta=mg.Exponential())
    found = mg.meta_gradient(TASK, following, mg.Final("risk"), following.Phi(0.1, 1.0, 0.5), steps=4)
    assert float(found.grad.eta_start.to_float()) == pytest.approx(float(plain.grad.eta.to_float()), rel=1e-12)
    free = mg.Unconstrained(stopped)
    found = mg.meta_gradient(TASK, free, mg.Final("risk"), free.free(mg.Momentum.Phi(0.1, 0.5)), steps=4)
    assert float(found.grad.log_eta.to_float()) == pytest.approx(0.1 * float(plain.grad.eta.to_float()), rel=1e-12)
    with pytest.raises(TypeError, match="Did you mean 'eta'"):
        mg.Scheduled(stopped, ("eat",))
