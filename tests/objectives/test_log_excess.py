"""The log of the excess: its value, its digits beside those of f - floor, its remedy for the floor, bad input."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.xp import move
from tests.cupy_double import double

RULE = mg.GradientDescent()
TASK = mg.random_least_squares(2, 40, 20, sigma=1.0, seed=3)


def solve(objective, steps, task=TASK, eta=0.5, **options):
    return mg.meta_gradient(task, RULE, objective, eta, steps=steps, per_task=True, **options)


def per_task(task=TASK, eta=0.5):
    return np.full(task.y.shape[0], eta)


def exact_excess(task, eta, steps):
    """Return log of the excess and its slope in eta, divided by t, from the modes of one task: no subtraction."""
    values = []
    for X, y in zip(task.X, task.y, strict=True):
        U, S, _ = np.linalg.svd(X, full_matrices=False)
        lam, g2 = S**2 / len(y), (U.T @ y) ** 2 / len(y)
        a = 1 - eta * lam
        total = np.sum(g2 * a ** (2 * steps)) / 2
        values.append([np.log(total) / steps, -np.sum(g2 * lam * a ** (2 * steps - 1)) / total])
    return np.array(values).T


@pytest.mark.parametrize(("steps", "subtracted"), [(5, 1e-12), (40, 1e-10), (100, 1e-5)])
def test_its_own_floor_loses_no_digits_and_a_given_one_does(steps, subtracted):
    value, slope = exact_excess(TASK, 0.5, steps)
    own = solve(mg.LogExcess(), steps, eta=per_task())
    given = solve(mg.LogExcess(TASK.train_floor()), steps, eta=per_task())
    np.testing.assert_allclose(own.value.to_float(), value, rtol=1e-12)
    np.testing.assert_allclose(own.grad.eta.to_float(), slope, rtol=1e-10)
    np.testing.assert_allclose(given.value.to_float(), value, rtol=subtracted)
    np.testing.assert_allclose(given.grad.eta.to_float(), slope, rtol=100 * subtracted)


def test_what_subtraction_loses_is_there():
    """At t = 250 the excess is near eps of the loss: undefined with the given floor, right with the own one."""
    steps = 250
    _, slope = exact_excess(TASK, 0.5, steps)
    own = solve(mg.LogExcess(), steps, eta=per_task()).grad.eta.to_float()
    given = solve(mg.LogExcess(TASK.train_floor()), steps, eta=per_task())
    np.testing.assert_allclose(own, slope, rtol=1e-6)
    assert "LOG_OF_ZERO" in given.report()
    wrong = np.abs(given.grad.eta.to_float() / slope - 1)
    assert ((wrong > 1e-4) | (given.status != 0)).all()


def test_it_does_not_vanish_where_the_log_of_the_loss_does():
    steps = 300
    plain, excess = (solve(o, steps, eta=per_task()).grad.eta for o in (mg.LogFinal("train"), mg.LogExcess()))
    assert (plain.log10abs() < -8).all()
    assert (excess.log10abs() > -1).all()


def test_an_excess_below_zero_is_reported():
    found = solve(mg.LogExcess(1e3), 5, eta=per_task())
    assert "LOG_OF_NEGATIVE" in found.report()
    assert np.isnan(found.value.mantissa).all()


@pytest.mark.parametrize("measure", ["train", "validation", "risk", "loss"])
def test_a_given_floor_of_every_measure(measure):
    task = mg.random_least_squares(2, 12, 3, sigma=1.0, seed=1, split=0.5)
    objective = mg.LogExcess(np.array([-0.5, 0.01]), measure)
    reverse = solve(objective, 6, task, per_task(task, 0.1))
    forward = solve(objective, 6, task, per_task(task, 0.1), method="forward")
    plain = solve(mg.Final(measure), 6, task, per_task(task, 0.1))
    expected = np.log(plain.value.to_float() - objective.floor) / 6
    np.testing.assert_allclose(reverse.value.to_float(), expected, rtol=1e-13)
    slope = plain.grad.eta.to_float() / (plain.value.to_float() - objective.floor) / 6
    np.testing.assert_allclose(reverse.grad.eta.to_float(), slope, rtol=1e-12)
    np.testing.assert_allclose(forward.grad.eta.to_float(), slope, rtol=1e-11)


def test_a_floor_goes_to_the_device_with_the_task():
    objective = mg.LogExcess(0.5 * TASK.train_floor())
    phi = mg.GradientDescent.Phi(np.asarray(0.5))
    here = mg.Reverse()(TASK, RULE, objective, phi, steps=9)
    there = mg.Reverse()(*(move(x, double.NAMESPACE) for x in (TASK, RULE, objective, phi)), steps=9)
    assert there.grad.eta.to_float().get() == pytest.approx(here.grad.eta.to_float(), rel=1e-12)


@pytest.mark.parametrize(
    ("floor", "measure", "kind", "message"),
    [
        (None, "validation", ValueError, "'validation' without a floor.*Give the floor"),
        (None, "trian", ValueError, "Did you mean 'train'"),
        (1, "train", TypeError, "floor is 1; expected a float"),
        (np.nan, "train", ValueError, "floor is nan; expected finite"),
        (np.array([1.0, np.inf]), "train", ValueError, "expected finite"),
        (np.array([1, 2]), "train", TypeError, "float array"),
    ],
)
def test_bad_floors(floor, measure, kind, message):
    with pytest.raises(kind, match=message):
        mg.LogExcess(floor, measure)


def test_floors_that_do_not_fit_the_task():
    with pytest.raises(ValueError, match=r"floor is of shape \(3,\); expected one number a task, shape \(2,\)"):
        solve(mg.LogExcess(np.zeros(3)), 2, eta=per_task())
    with pytest.raises(TypeError, match="floor is of float32 while the task is float64"):
        solve(mg.LogExcess(np.zeros(2, dtype=np.float32)), 2, eta=per_task())
