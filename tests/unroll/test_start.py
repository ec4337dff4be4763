"""An unroll that goes on from where another one ended: the same trajectory, and truncated gradients that add up."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.protocols import Start

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
    whole = mg.Reverse()(task, RULE, objective, PHI, steps=9, seed=5, start=Start.of(task, RULE, 5))
    first = mg.Reverse()(task, RULE, objective, PHI, steps=4, seed=5, start=Start.of(task, RULE, 5))
    second = mg.Reverse()(task, RULE, objective, PHI, steps=5, seed=5, start=first.end)
    assert (first.end.t, second.end.t) == (4, 9)
    np.testing.assert_allclose(second.end.w, whole.end.w, rtol=1e-14)
    np.testing.assert_allclose(second.value.to_float(), whole.value.to_float(), rtol=1e-14)
    plain = mg.Reverse()(task, RULE, objective, PHI, steps=9, seed=5)
    np.testing.assert_allclose(plain.value.to_float(), whole.value.to_float(), rtol=1e-14)
    np.testing.assert_allclose(plain.grad.eta.to_float(), whole.grad.eta.to_float(), rtol=1e-12)
    assert plain.end is None


def test_on_a_quadratic_truncation_rescales_the_gradient_of_the_last_iterate():
    """Every step contributes the same to F', so the last K of t steps give K/t of it (truncation is exactly that)."""
    task = TASKS["quadratics"]
    whole = mg.Reverse(per_task=True)(task, RULE, mg.Final(), mg.GradientDescent.Phi(np.full(3, 0.01)), steps=9)
    first = mg.Reverse()(task, RULE, mg.Final(), PHI, steps=6, start=Start.of(task, RULE))
    phi = mg.GradientDescent.Phi(np.full(3, 0.01))
    last = mg.Reverse(per_task=True)(task, RULE, mg.Final(), phi, steps=3, start=first.end)
    np.testing.assert_allclose(last.grad.eta.to_float(), whole.grad.eta.to_float() * 3 / 9, rtol=1e-12)


def test_minibatches_of_later_steps_differ_from_the_first_ones():
    task = TASKS["minibatches"]
    at_0 = Start.of(task, RULE, 5)
    again = mg.Reverse()(task, RULE, mg.Final(), PHI, steps=3, seed=5, start=at_0)
    shifted = mg.Reverse()(task, RULE, mg.Final(), PHI, steps=3, seed=5, start=at_0._replace(t=3))
    assert not np.allclose(again.end.w, shifted.end.w)


def test_far_out_of_range_the_end_is_said():
    task = TASKS["quadratics"]
    phi = mg.GradientDescent.Phi(np.asarray(1e3))
    found = mg.Reverse()(task, RULE, mg.LogFinal(), phi, steps=400, start=Start.of(task, RULE))
    assert not np.isfinite(found.end.w).any()
    follow = mg.Reverse()(task, RULE, mg.LogFinal(), phi, steps=4, start=found.end)
    assert not follow.ok


def test_a_schedule_has_no_start():
    task, rule = TASKS["quadratics"], mg.Scheduled(RULE)
    phi = mg.GradientDescent.Phi(np.full(3, 0.01))
    with pytest.raises(TypeError, match="one phi for all steps"):
        mg.Reverse()(task, rule, mg.Final(), phi, steps=3, start=Start.of(task, rule))
