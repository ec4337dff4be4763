"""Five methods that learn a start, each a combination of parts, against closed forms and independent computations."""

from fractions import Fraction

import numpy as np
import pytest

import metagrad as mg
from metagrad.theory import starts
from metagrad.xp import rng

ALPHA, D, COUNT = 0.125, 3, 4
REVERSE, FIRST_ORDER = mg.Reverse(), mg.Reverse(gradient="stop_gradient")
COMBINATIONS = {"maml": REVERSE, "fomaml": FIRST_ORDER, "reptile": mg.Reptile(step_size=ALPHA)}


def quadratics(seed, d=D):
    r = np.random.default_rng(seed)

    def losses():
        A = r.standard_normal((COUNT, d, d + 1))
        return A @ A.swapaxes(1, 2) / d, r.standard_normal((COUNT, d))

    return starts.QuadraticTasks(*losses(), *losses()), r.standard_normal(d)


def of(H, g):
    return lambda w: np.einsum("bi,bij,bj->b", w, H, w) / 2 - np.einsum("bi,bi->b", g, w)


def task_of(tasks):
    w0 = np.zeros_like(tasks.g)
    return mg.LearnedStart(mg.FunctionTask(of(tasks.H, tasks.g), w0, validation=of(*tasks.query)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("method", COMBINATIONS)
def test_maml_first_order_maml_and_reptile_are_their_closed_forms(method, steps, seed):
    tasks, phi = quadratics(seed)
    ask = task_of(tasks), mg.GradientDescent(), mg.Final("validation")
    found = COMBINATIONS[method](*ask, mg.Joint(mg.GradientDescent.Phi(ALPHA), phi), steps=steps)
    each = starts.meta_gradient(tasks, phi, ALPHA, steps, method=method)
    size = np.abs(each).max()
    np.testing.assert_allclose(found.grad.task.to_float(), each.mean(axis=0), rtol=1e-11, atol=1e-13 * size)
    np.testing.assert_allclose(found.value.to_float(), starts.meta_loss(tasks, phi, ALPHA, steps), rtol=1e-10)
    assert found.ok


@pytest.mark.parametrize("method", COMBINATIONS)
def test_the_three_are_different_numbers(method):
    tasks, phi = quadratics(0)
    others = [starts.meta_gradient(tasks, phi, ALPHA, 3, method=name).mean(axis=0) for name in COMBINATIONS]
    mine = starts.meta_gradient(tasks, phi, ALPHA, 3, method=method).mean(axis=0)
    assert sum(np.allclose(mine, other, rtol=1e-3) for other in others) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [1, 3])
def test_anil_is_a_recursion_in_rationals(steps, seed):
    """Only the last coordinate adapts: w <- w - alpha e e'(Hw - g), so that phi pulls back through I - alpha e e'H."""
    tasks, phi = quadratics(seed)
    rule = mg.Masked(mg.GradientDescent(), np.array([False, False, True]))
    found = mg.meta_gradient(task_of(tasks), rule, mg.Final("validation"), mg.Joint(ALPHA, phi), steps=steps)
    exact = np.vectorize(Fraction, otypes=[object])
    H, g, Hq, gq, start = map(exact, (tasks.H, tasks.g, *tasks.query, phi))
    keep = exact(np.diag([0.0, 0.0, 1.0])) * Fraction(ALPHA)
    total = exact(np.zeros(D))
    for b in range(COUNT):
        w = start
        for _ in range(steps):
            w = w - keep.dot(H[b].dot(w) - g[b])
        slope = Hq[b].dot(w) - gq[b]
        for _ in range(steps):
            slope = slope - H[b].dot(keep.dot(slope))
        total = total + slope
    expected = (total / COUNT).astype(float)
    np.testing.assert_allclose(found.grad.task.to_float(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 4])
def test_anil_is_maml_of_the_head_where_the_body_is_a_part_of_the_task(steps):
    """A linear head on fixed features: MAML of the head alone, with the body in the loss, has ANIL's head gradient."""
    r = np.random.default_rng(1)
    x, y = r.standard_normal((COUNT, 8, 2)), r.standard_normal((COUNT, 8))
    body, head = r.standard_normal((2, 3)), r.standard_normal(3)

    def error(body, head):
        return np.mean((np.einsum("bnf,bf->bn", np.tanh(np.matmul(x, body)), head) - y) ** 2, axis=-1)

    full = mg.FunctionTask(
        lambda w: error(w["body"], w["head"]), {"body": np.zeros((COUNT, 2, 3)), "head": np.zeros((COUNT, 3))}
    )
    rule = mg.Masked(mg.GradientDescent(), {"body": False, "head": True})
    phi = mg.Joint(0.1, {"body": body, "head": head})
    found = mg.meta_gradient(mg.LearnedStart(full), rule, mg.Final(), phi, steps=steps)
    small = mg.FunctionTask(lambda w: error(body, w), np.zeros((COUNT, 3)))
    reduced = mg.meta_gradient(
        mg.LearnedStart(small), mg.GradientDescent(), mg.Final(), mg.Joint(0.1, head), steps=steps
    )
    np.testing.assert_allclose(found.grad.task["head"].to_float(), reduced.grad.task.to_float(), rtol=1e-10)
    np.testing.assert_array_equal(found.value.to_float(), reduced.value.to_float())
    assert np.abs(found.grad.task["body"].to_float()).max() > 1e-3, "the body is learned, though it does not adapt"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [1, 3])
def test_meta_sgd_is_a_recursion_in_rationals(steps, seed):
    """w_k = w_{k-1} - eta (Hw - g), eta one for each coordinate: adjoints of the start and of eta, in rationals."""
    tasks, phi = quadratics(seed)
    etas = np.random.default_rng(50 + seed).uniform(0.05, 0.2, D)
    ask = task_of(tasks), mg.GradientDescent(), mg.Final("validation")
    found = mg.meta_gradient(*ask, mg.Joint(mg.GradientDescent.Phi(etas), phi), steps=steps)
    exact = np.vectorize(Fraction, otypes=[object])
    H, g, Hq, gq, eta, start = map(exact, (tasks.H, tasks.g, *tasks.query, etas, phi))
    of_start, of_eta = exact(np.zeros(D)), exact(np.zeros(D))
    for b in range(COUNT):
        w, gradients = start, []
        for _ in range(steps):
            gradients.append(H[b].dot(w) - g[b])
            w = w - eta * gradients[-1]
        slope = Hq[b].dot(w) - gq[b]
        for gradient in reversed(gradients):
            of_eta = of_eta - slope * gradient
            slope = slope - H[b].dot(eta * slope)
        of_start = of_start + slope
    for mine, expected in ((found.grad.task, of_start), (found.grad.rule.eta, of_eta)):
        np.testing.assert_allclose(mine.to_float(), (expected / COUNT).astype(float), rtol=1e-10, atol=1e-12)


def test_meta_sgd_with_equal_step_sizes_is_maml():
    family = mg.Sinusoids.maml(count=3)
    task = mg.LearnedStart(family(0))
    start = mg.ad.tree_map(lambda leaf: leaf + 0.1, task.first())
    etas = mg.ad.tree_map(lambda leaf: np.full(leaf.shape, 0.01), start)
    ask = task, mg.GradientDescent(), mg.Final("validation")
    one = mg.meta_gradient(*ask, mg.Joint(mg.GradientDescent.Phi(0.01), start), steps=2)
    each = mg.meta_gradient(*ask, mg.Joint(mg.GradientDescent.Phi(etas), start), steps=2)
    for a, b in zip(mg.ad.leaves(one.grad.task), mg.ad.leaves(each.grad.task), strict=True):
        np.testing.assert_allclose(a.to_float(), b.to_float(), rtol=1e-12, atol=1e-15)
    whole = sum(leaf.to_float().sum() for leaf in mg.ad.leaves(each.grad.rule))
    np.testing.assert_allclose(whole, one.grad.rule.eta.to_float(), rtol=1e-11)


@pytest.mark.parametrize("method", ["reverse", "reptile"])
def test_starts_side_by_side_are_starts_apart(method):
    """Two groups of three tasks: each start has half of its own meta-gradient, the mean being over all six."""
    both, starts_of = mg.Sinusoids.maml(count=6)(3), 2
    few = mg.LearnedStart(both, starts=starts_of)
    first = few.first()
    ask = mg.GradientDescent(), mg.Final("validation")
    found = mg.meta_gradient(few, *ask, mg.Joint(0.05, first), steps=2, method=method).grad.task
    for k in range(starts_of):
        rows = slice(3 * k, 3 * k + 3)
        held = tuple(part[rows] for part in both.validation)
        one = mg.LearnedStart(mg.MLPRegressor(both.net, both.x[rows], both.y[rows], held))
        phi = mg.Joint(0.05, mg.ad.tree_map(lambda leaf, k=k: leaf[k], first))
        alone = mg.meta_gradient(one, *ask, phi, steps=2, method=method).grad.task
        for side, apart in zip(mg.ad.leaves(found), mg.ad.leaves(alone), strict=True):
            np.testing.assert_allclose(2 * side.to_float()[k], apart.to_float(), rtol=1e-10, atol=1e-14)


def test_starts_that_do_not_fit():
    task = mg.Sinusoids.maml(count=5)(0)
    with pytest.raises(ValueError, match="starts is 2; expected a divisor of the number of tasks, 5"):
        mg.LearnedStart(task, starts=2).first()
    few = mg.LearnedStart(mg.Sinusoids.maml(count=4)(0), starts=2)
    phi = mg.Joint(0.1, mg.LearnedStart(mg.Sinusoids.maml(count=4)(0)).first())
    with pytest.raises(ValueError, match=r"expected shape \(2, 1, 40\), one for every group"):
        mg.meta_gradient(few, mg.GradientDescent(), mg.Final(), phi, steps=1)


@pytest.mark.parametrize("method", ["reverse", "reptile"])
def test_a_task_without_query_data(method):
    few = mg.LearnedStart(mg.Sinusoids.maml(count=2, query=None)(0))
    phi = mg.Joint(0.1, few.first())
    with pytest.raises(ValueError, match="a task without query data"):
        mg.meta_gradient(few, mg.GradientDescent(), mg.Final("validation"), phi, steps=1, method=method)
    assert mg.meta_gradient(few, mg.GradientDescent(), mg.Final(), phi, steps=1, method="reptile").ok


@pytest.mark.parametrize("method", ["reverse", "reptile"])
def test_zero_inner_steps(method):
    few = mg.LearnedStart(mg.Sinusoids.maml(count=2)(0))
    with pytest.raises(ValueError, match="steps is 0; expected"):
        mg.meta_gradient(
            few, mg.GradientDescent(), mg.Final("validation"), mg.Joint(0.1, few.first()), steps=0, method=method
        )


DRAWN = []


class Network(mg.MLP):
    """A network whose starts are counted as they are drawn."""

    def draw(self, *args, **kwargs):
        DRAWN.append(True)
        return super().draw(*args, **kwargs)


@pytest.mark.parametrize("method", ["reverse", "forward"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_a_start_is_given_none_is_drawn(method, dtype):
    """But once, for its shapes, of a task of ours; what is drawn without one stays what it was."""
    sines = mg.Sinusoids.maml(count=3, dtype=dtype)(1)
    inner = mg.MLPRegressor(Network((1, 3, 1)), sines.x, sines.y, sines.validation)
    task, start = mg.LearnedStart(inner), mg.LearnedStart(inner).first(7)
    ask, phi = (mg.GradientDescent(), mg.Final()), mg.Joint(rule=0.125, task=start)
    found = mg.meta_gradient(task, *ask, phi, steps=2, method=method)
    DRAWN.clear()
    again = mg.meta_gradient(task, *ask, phi, steps=2, method=method)
    mg.rollout(task, ask[0], phi, steps=2)
    assert not DRAWN
    for x, y in zip(mg.ad.leaves(found.grad), mg.ad.leaves(again.grad), strict=True):
        np.testing.assert_array_equal(x.to_float(), y.to_float())
    by_itself = mg.meta_gradient(task, *ask, 0.125, steps=2, method=method, seed=5)
    without = mg.meta_gradient(inner, *ask, 0.125, steps=2, method=method, seed=5)
    assert DRAWN
    np.testing.assert_array_equal(by_itself.value.to_float(), without.value.to_float())


class Seeded:
    """As many tasks as the seed says, with data that it draws as it starts."""

    full_batch = True

    def init(self, rng):
        count = 2 + int(rng.integers(0, 5))
        self.scale = rng.random((count, 3)) + 0.5
        return rng.standard_normal((count, 3))

    def loss(self, w, sample):
        return np.sum(np.cosh(w) * self.scale, axis=-1)


@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_a_start_in_a_task_that_the_seed_makes(method):
    """A class of the user's is asked at every seed, though the start that it gives is not taken."""
    task, phi = mg.LearnedStart(Seeded()), mg.Joint(rule=0.05, task=np.full(3, 0.3))
    for seed in (0, 1, 2, 3, 1):
        found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), phi, steps=3, seed=seed, method=method)
        alone = Seeded()
        w = np.broadcast_to(phi.task, alone.init(rng(seed, "init")).shape)
        for _ in range(3):
            w = w - 0.05 * np.sinh(w) * alone.scale
        np.testing.assert_allclose(found.value.to_float(), alone.loss(w, None), rtol=1e-13)


@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_a_start_in_float16_is_asked_for_again(method):
    """The run is carried in float32, of which the task itself must not learn."""
    task = mg.LearnedStart(mg.Quadratic(np.diag([1.0, 4.0]).astype(np.float16), np.ones((3, 2), np.float16)))
    phi = mg.Joint(rule=0.125, task=np.array([0.5, -0.25], np.float16))
    ask = task, mg.GradientDescent(), mg.Final()
    found = [mg.meta_gradient(*ask, phi, steps=2, method=method).grad.task for _ in range(3)]
    assert all(x.dtype == np.float16 and (x == found[0]).all() for x in found)
