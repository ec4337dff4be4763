"""The implicit gradient at the edges: no curvature, a start that does not matter, sums that a task spoils, no check."""

import numpy as np
import pytest

import metagrad as mg

GD, HELD = mg.GradientDescent(), mg.Final("validation")


def square(w):
    return np.sum(w * w, axis=-1)


def names(found):
    return [mg.Status.from_code(code).name for code in found.status]


@pytest.mark.parametrize("solver", ["cg", "dense"])
@pytest.mark.parametrize("count", [1, 3])
def test_what_enters_the_start_alone_has_no_gradient_at_all(solver, count):
    def start(theta):
        return np.broadcast_to(theta, (count, 2)) * 1.0

    task = mg.FunctionTask(
        lambda w, theta: np.sum((w - 1) ** 2, axis=-1), start, validation=square, theta=np.array([0.5, 0.2])
    )
    learned = mg.LearnedStart(
        mg.FunctionTask(lambda w: np.sum((w - 1) ** 2, axis=-1), np.zeros((count, 2)), validation=square)
    )
    for one in (task, learned):
        found = mg.Implicit(solver)(one, GD, HELD, mg.Joint(0.3, np.array([0.5, 0.2])), steps=100)
        assert found.ok, found.report()
        assert (found.grad.task.to_float() == 0).all()
        np.testing.assert_allclose(found.value.to_float(), 2.0)


def test_what_enters_the_objective_alone_has_its_own_derivative():
    task = mg.FunctionTask(
        lambda w: np.sum((w - 1) ** 2, axis=-1), np.zeros((2, 2)),
        validation=lambda w, theta: theta * square(w), theta=np.array(2.0),
    )  # fmt: skip
    found = mg.Implicit()(task, GD, HELD, mg.Joint(0.3, np.array(2.0)), steps=100)
    assert found.ok
    np.testing.assert_allclose(found.grad.task.to_float(), 2.0)


@pytest.mark.parametrize("solver", ["cg", "dense"])
def test_a_loss_without_curvature_has_no_solution(solver):
    task = mg.FunctionTask(
        lambda w, theta: np.sum(w * theta, axis=-1), np.ones((2, 2)), validation=square, theta=np.array(0.1)
    )
    found = mg.Implicit(solver)(task, GD, HELD, mg.Joint(0.1, np.array(0.1)), steps=10)
    assert names(found) == ["INNER_INDEFINITE"] * 2
    assert np.isnan(found.grad.task.to_float())
    assert "an objective would change by no number" in found.report()


@pytest.mark.parametrize("validation", [lambda w: 0 * w[:, 0], lambda w: w[:, 0] ** 2])
def test_a_point_that_newton_cannot_judge_is_no_optimum(validation):
    """Descent along w_2 never ends; objectives that do not see it are not told that all is well."""
    task = mg.FunctionTask(
        lambda w, theta: (w[:, 0] - theta) ** 2 + w[:, 1], np.ones((1, 2)), validation=validation, theta=np.array(0.5)
    )
    found = mg.Implicit()(task, GD, HELD, mg.Joint(0.1, np.array(0.5)), steps=200)
    assert names(found) == ["INNER_NOT_STATIONARY"]


def test_a_flat_valley_at_its_floor_is_an_optimum_for_what_does_not_see_it():
    """More weights than samples: H is singular, and an objective of predictions does not mind."""
    draw = np.random.default_rng(0)
    X, y = draw.standard_normal((1, 3, 6)), draw.standard_normal((1, 3))

    def loss(w, theta):
        return np.mean((np.einsum("bnd,bd->bn", X, w) - y * theta) ** 2, axis=-1)

    def of_predictions(w):
        return np.mean(np.einsum("bnd,bd->bn", X, w) ** 2, axis=-1)

    task = mg.FunctionTask(loss, np.zeros((1, 6)), validation=of_predictions, theta=np.array(1.0))
    found = mg.Implicit()(task, GD, HELD, mg.Joint(0.1, np.array(1.0)), steps=3000)
    assert found.ok, found.report()
    np.testing.assert_allclose(found.grad.task.to_float(), 2 * np.mean(y**2), rtol=1e-6)


def two(curvature):
    h = np.array([[1.0, 1.0], [1.0, curvature]])
    return mg.FunctionTask(
        lambda w, theta: np.sum(h * (w - theta) ** 2, axis=-1) / 2, np.full((2, 2), 3.0),
        validation=square, theta=np.array(1.0),
    )  # fmt: skip


@pytest.mark.parametrize("solver", ["cg", "dense"])
def test_a_sum_that_a_task_spoils_is_no_number(solver):
    found = mg.Implicit(solver)(two(-1e-3), GD, HELD, mg.Joint(0.5, np.array(1.0)), steps=100)
    assert names(found) == ["GRADIENT_NAN", "INNER_INDEFINITE"]
    each = mg.Implicit(solver, per_task=True)(
        two(-1e-3), GD, HELD, mg.Joint(np.full(2, 0.5), np.full(2, 1.0)), steps=100
    )
    assert names(each) == ["OK", "INNER_INDEFINITE"]
    grad = each.grad.task.to_float()
    np.testing.assert_allclose(grad[0], 4.0)
    assert np.isnan(grad[1])


def test_without_the_check_the_gradient_is_the_same():
    ask = two(0.3), GD, HELD, mg.Joint(0.5, np.array(1.0))
    for steps in (3, 200):
        whole, bare = mg.Implicit()(*ask, steps=steps), mg.Implicit(checked=False)(*ask, steps=steps)
        assert bare.grad.task.mantissa == whole.grad.task.mantissa
        assert bare.ok
        assert whole.ok is (steps == 200)
        assert "was not looked at" in bare.report()
    with pytest.raises(TypeError, match="checked is"):
        mg.Implicit(checked="no")


def test_without_the_check_the_linear_systems_are_still_judged():
    bare = mg.Implicit(checked=False)
    found = bare(two(-1e-3), GD, HELD, mg.Joint(0.5, np.array(1.0)), steps=100)
    assert names(found) == ["GRADIENT_NAN", "INNER_INDEFINITE"]
    few = mg.Implicit(checked=False, limit=1)(two(0.3), GD, HELD, mg.Joint(0.5, np.array(1.0)), steps=100)
    assert "INNER_UNSOLVED" in names(few)


class Mine(mg.Stopped):
    """A rule of one's own that stops too."""


def test_rules_that_stop_are_known_by_their_class():
    ask = HELD, mg.Joint(0.5, np.array(1.0))
    with pytest.raises(ValueError, match="a Mine, which ends at a ball"):
        mg.Implicit()(two(0.3), Mine(GD, 1.0, np.array([1.0, 0.0])), *ask, steps=3)
    never = mg.Implicit()(two(0.3), mg.Stopped(GD, np.inf), *ask, steps=200)
    assert never.ok
    np.testing.assert_allclose(never.grad.task.to_float(), 4.0)


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 1e30])
def test_inner_losses_of_any_size_in_float32(size):
    z = np.float32(size)

    def loss(w, theta):
        return z * np.sum((w - theta) ** 2 * np.float32([1, 3]), axis=-1)

    task = mg.FunctionTask(loss, np.zeros((2, 2), np.float32), validation=square, theta=np.array(1.0, np.float32))
    phi = mg.Joint(np.float32(0.1) / z, np.array(1.0, np.float32))
    found = mg.Implicit()(task, GD, HELD, phi, steps=100)
    assert found.ok, found.report()
    np.testing.assert_allclose(found.grad.task.to_float(), 4.0, rtol=1e-5)
