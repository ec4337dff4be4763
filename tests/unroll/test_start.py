"""An unroll that goes on from where another one ended: the same trajectory, and truncated gradients that add up."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.system import begin

BATCHES = mg.random_least_squares(2, 12, 5, sigma=0.5, seed=3)
TASKS = {
    "quadratics": mg.random_quadratics(3, 4, seed=1),
    "minibatches": mg.LeastSquares(BATCHES.X, BATCHES.y, batch_size=3),
    "function": mg.FunctionTask(lambda w: np.sum(np.cosh(w), axis=-1), w0=np.ones((2, 3))),
}
RULE = mg.GradientDescent()
PHI = mg.GradientDescent.Phi(np.asarray(0.01))


@pytest.mark.parametrize("name", TASKS)
def test_two_halves_are_one_trajectory(name):
    task, objective = TASKS[name], mg.Final()
    whole = mg.Reverse()(task, RULE, objective, PHI, steps=9, seed=5, at=begin(task, RULE, PHI, 5))
    first = mg.Reverse()(task, RULE, objective, PHI, steps=4, seed=5, at=begin(task, RULE, PHI, 5))
    second = mg.Reverse()(task, RULE, objective, PHI, steps=5, seed=5, at=first.end)
    assert (first.end.t, second.end.t) == (4, 9)
    np.testing.assert_allclose(second.end.w, whole.end.w, rtol=1e-14)
    np.testing.assert_allclose(second.value.to_float(), whole.value.to_float(), rtol=1e-14)
    plain = mg.Reverse()(task, RULE, objective, PHI, steps=9, seed=5)
    np.testing.assert_allclose(plain.value.to_float(), whole.value.to_float(), rtol=1e-14)
    np.testing.assert_allclose(plain.grad.eta.to_float(), whole.grad.eta.to_float(), rtol=1e-12)
    np.testing.assert_array_equal(plain.end.w, whole.end.w)


def test_on_a_quadratic_truncation_rescales_the_gradient_of_the_last_iterate():
    """Every step contributes the same to F', so the last K of t steps give K/t of it (truncation is exactly that)."""
    task = TASKS["quadratics"]
    whole = mg.Reverse(per_task=True)(task, RULE, mg.Final(), mg.GradientDescent.Phi(np.full(3, 0.01)), steps=9)
    first = mg.Reverse()(task, RULE, mg.Final(), PHI, steps=6, at=begin(task, RULE, PHI))
    phi = mg.GradientDescent.Phi(np.full(3, 0.01))
    last = mg.Reverse(per_task=True)(task, RULE, mg.Final(), phi, steps=3, at=first.end)
    np.testing.assert_allclose(last.grad.eta.to_float(), whole.grad.eta.to_float() * 3 / 9, rtol=1e-12)


def test_minibatches_of_later_steps_differ_from_the_first_ones():
    task = TASKS["minibatches"]
    at_0 = begin(task, RULE, PHI, 5)
    again = mg.Reverse()(task, RULE, mg.Final(), PHI, steps=3, seed=5, at=at_0)
    shifted = mg.Reverse()(task, RULE, mg.Final(), PHI, steps=3, seed=5, at=at_0._replace(t=3))
    assert not np.allclose(again.end.w, shifted.end.w)


def test_far_out_of_range_the_exponents_survive():
    """The state leaves the range of floats; gone on from there, it is that of the unbroken run."""
    task = TASKS["quadratics"]
    phi = mg.GradientDescent.Phi(np.asarray(1e3))
    found = mg.Reverse()(task, RULE, mg.LogFinal(), phi, steps=400)
    assert (found.end.exponent > 1024).all()
    follow = mg.Reverse()(task, RULE, mg.Final(), phi, steps=4, at=found.end)
    whole = mg.Reverse()(task, RULE, mg.Final(), phi, steps=404)
    assert follow.ok
    assert (follow.value.relative_difference(whole.value) < 1e-12).all()
    plain = mg.Reverse(scaling="none")(task, RULE, mg.Final(), phi, steps=4, at=found.end)
    assert not plain.ok, "plain floats cannot go on from there, and say so"


@pytest.mark.parametrize("estimator", [mg.Reverse(), mg.Reverse(fused=False), mg.Forward()], ids=repr)
def test_a_schedule_goes_on_with_its_own_entries(estimator):
    """The entries of other steps have no gradient: what came before is held constant, what comes after is not run."""
    task, rule = TASKS["minibatches"], mg.Scheduled(mg.Momentum(), ("eta",))
    phi = mg.Momentum.Phi(np.linspace(0.01, 0.03, 9), np.asarray(0.5))
    first = estimator(task, rule, mg.Final(), phi, steps=4, seed=5, at=begin(task, rule, phi, 5), run=9)
    second = estimator(task, rule, mg.Final(), phi, steps=5, seed=5, at=first.end)
    whole = estimator(task, rule, mg.Final(), phi, steps=9, seed=5)
    assert (second.value.relative_difference(whole.value) < 1e-12).all()
    np.testing.assert_allclose(second.grad.eta.to_float()[4:], whole.grad.eta.to_float()[4:], rtol=1e-12)
    assert not second.grad.eta.to_float()[:4].any()
    assert not first.grad.eta.to_float()[4:].any()
    assert first.grad.eta.to_float()[:4].all()
