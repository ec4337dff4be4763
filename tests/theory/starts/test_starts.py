"""Learned starts on quadratics: exact rationals, the engine, and each method run to its end."""

from fractions import Fraction

import numpy as np
import pytest

import metagrad as mg
from metagrad.theory import starts
from metagrad.theory.starts import symbolic

METHODS = starts.METHODS


def draw(seed, count=4, d=3, *, own_query=False):
    r = np.random.default_rng(seed)

    def loss():
        A = r.standard_normal((count, d, d + 1))
        return A @ A.swapaxes(1, 2) / d, r.standard_normal((count, d))

    return starts.QuadraticTasks(*loss(), *(loss() if own_query else ()))


def exact(tasks, phi, alpha, steps, method):
    """Return the meta-gradient of every task by the recursion in rationals."""

    def rational(x):
        return np.vectorize(Fraction, otypes=[object])(x)

    H, g, Hq, gq = map(rational, (tasks.H, tasks.g, *tasks.query))
    a, found = Fraction(alpha), []
    for b in range(tasks.count):
        w = start = rational(phi)
        for _ in range(steps):
            w = w - a * (H[b].dot(w) - g[b])
        slope = Hq[b].dot(w) - gq[b]
        if method == "reptile":
            slope = (start - w) / a
        if method == "maml":
            for _ in range(steps):
                slope = slope - a * H[b].dot(slope)
        found.append(slope.astype(float))
    return np.array(found)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_recursion_in_exact_rationals(method, steps, seed):
    tasks = draw(seed, own_query=True)
    phi = np.random.default_rng(100 + seed).standard_normal(3)
    expected = exact(tasks, phi, 0.125, steps, method)
    found = starts.meta_gradient(tasks, phi, 0.125, steps, method=method)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("seed", range(3))
def test_small_steps_and_flat_directions_keep_their_digits(seed):
    """1 - (1 - x)^k for x = 1e-12, and H = 0, where the steps go on for ever."""
    tasks = starts.QuadraticTasks(np.array([[[1e-12]], [[0.0]]]), np.array([[1.0], [1.0]]))
    found = starts.adapted(tasks, [0.0], 1.0, 5)
    np.testing.assert_allclose(found[:, 0], [5 - 10e-12, 5.0], rtol=1e-15)
    np.testing.assert_allclose(starts.meta_gradient(tasks, [0.0], 1.0, 5, method="reptile"), -found, rtol=1e-15)
    assert np.isfinite(starts.fixed_point(draw(seed), 1e-9, 3, method="reptile")).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [1, 5])
def test_the_engine_agrees(steps, seed):
    tasks = draw(seed, own_query=True)
    phi = np.random.default_rng(seed).standard_normal(3)

    def of(H, g):
        return lambda w: np.einsum("bi,bij,bj->b", w, H, w) / 2 - np.einsum("bi,bi->b", g, w)

    task = mg.LearnedStart(mg.FunctionTask(of(tasks.H, tasks.g), np.zeros((4, 3)), validation=of(*tasks.query)))
    ask = (task, mg.GradientDescent(), mg.Final("validation"), mg.Joint(rule=0.1, task=phi))
    found = mg.meta_gradient(*ask, steps=steps)
    expected = starts.meta_gradient(tasks, phi, 0.1, steps).mean(axis=0)
    np.testing.assert_allclose(found.grad.task.to_float(), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.value.to_float(), starts.meta_loss(tasks, phi, 0.1, steps), rtol=1e-11)
    held = mg.meta_gradient(*ask, steps=steps, gradient="stop_gradient")
    first_order = starts.meta_gradient(tasks, phi, 0.1, steps, method="fomaml").mean(axis=0)
    np.testing.assert_allclose(held.grad.task.to_float(), first_order, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", METHODS)
def test_each_method_ends_at_its_fixed_point(method, seed):
    tasks = draw(seed, count=6)
    largest = np.linalg.eigvalsh(tasks.H).max()
    alpha, phi, seen = 0.5 / largest, np.zeros(3), set()
    for _ in range(20_000):
        if phi.tobytes() in seen:  # where it has been before it goes round for ever, in its last bits
            break
        seen.add(phi.tobytes())
        phi = phi - 0.5 / largest * starts.meta_gradient(tasks, phi, alpha, 2, method=method).mean(axis=0) / 2
    np.testing.assert_allclose(phi, starts.fixed_point(tasks, alpha, 2, method=method), rtol=1e-6, atol=1e-6)


def test_the_three_points_differ_and_small_steps_bring_them_together():
    tasks = draw(0)
    apart = [starts.fixed_point(tasks, 0.1, 3, method=name) for name in METHODS]
    assert min(np.abs(apart[0] - apart[1]).max(), np.abs(apart[1] - apart[2]).max()) > 1e-3
    near = [starts.fixed_point(tasks, 1e-7, 3, method=name) for name in METHODS]
    np.testing.assert_allclose(near[0], near[1], rtol=1e-4)
    np.testing.assert_allclose(near[0], near[2], rtol=1e-4)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_expansions(k):
    assert symbolic.averaged("maml", k) == (1, -2 * (k - 1))
    assert symbolic.averaged("fomaml", k) == (1, -(k - 1))
    two, three = symbolic.averaged("reptile", k)
    assert (two, 2 * three) == (k, -k * (k - 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", [1, 2])
def test_the_expansion_leaves_what_it_should(method, order):
    """On cubic losses in one dimension the rest falls like alpha^(order + 1)."""
    k, r = 3, np.random.default_rng(order)
    at = symbolic.symbols(k)
    numbers = {letter: r.standard_normal(k) for letter in "gHT"}
    known = {at[x][j]: numbers[x][j] for x in "gHT" for j in range(k)}
    formula = symbolic.expansion(method, k, order=order).subs(known)

    def true(alpha):
        x, way, transport = 0.0, 0.0, 1.0
        for j in range(k):
            slope = numbers["g"][j] + numbers["H"][j] * x + numbers["T"][j] * x**2 / 2
            way += slope
            if j < k - 1:
                transport *= 1 - alpha * (numbers["H"][j] + numbers["T"][j] * x)
                x -= alpha * slope
        return {"maml": transport * slope, "fomaml": slope, "reptile": way}[method]

    off = [abs(true(alpha) - float(formula.subs(at["alpha"], alpha))) for alpha in (1e-2, 1e-3)]
    assert np.log10(off[0] / off[1]) == pytest.approx(order + 1, abs=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: starts.QuadraticTasks(np.eye(2), np.ones(2)), r"H is of shape \(2, 2\); expected shape \(B, d, d\)"),
        (lambda: starts.QuadraticTasks([[[1.0, 2.0], [0.0, 1.0]]], [[1.0, 1.0]]), "not symmetric, by 2"),
        (lambda: starts.QuadraticTasks([[[1.0]]], [[1.0]], [[[1.0]]]), "g_query is None"),
        (lambda: starts.QuadraticTasks([[[1.0]]], [[1.0]], np.eye(2)[None], np.ones((1, 2))), "the shape of H"),
        (lambda: starts.adapted(draw(0), np.zeros(2), 0.1, 1), r"phi is of shape \(2,\)"),
        (lambda: starts.adapted(draw(0), np.zeros(3), 0.1, 0), "steps is 0"),
        (lambda: starts.adapted(draw(0), np.zeros(3), 1e3, 500), "within the range of floats"),
        (lambda: starts.meta_gradient(draw(0), np.zeros(3), 0.1, 1, method="imaml"), "method is 'imaml'"),
        (lambda: starts.meta_gradient(draw(0), np.zeros(3), 0.0, 1, method="reptile"), "divides the way"),
        (lambda: starts.fixed_point(starts.QuadraticTasks([[[0.0]]], [[1.0]]), 0.1, 1), "one fixed point"),
        (lambda: symbolic.expansion("maml", 1), "losses is 1"),
        (lambda: symbolic.expansion("maml", 3, order=3), "order is 3; expected 1 or 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("steps", [1, 100, 130, 400])
@pytest.mark.parametrize("method", ["maml", "fomaml"])
def test_fixed_points_of_many_steps(method, steps):
    """Minima at 1 and -1, the first twice as sharp: after many steps the flat one decides."""
    tasks = starts.QuadraticTasks([[[2.0]], [[1.0]]], [[2.0], [-1.0]])
    P, H = np.array([Fraction(1, 2) ** steps, Fraction(3, 4) ** steps]), np.array([Fraction(2), Fraction(1)])
    weights = P * P * H if method == "maml" else P * H
    exact = float((weights[0] - weights[1]) / (weights[0] + weights[1]))
    np.testing.assert_allclose(starts.fixed_point(tasks, 0.25, steps, method=method), [exact], rtol=1e-12)


def test_a_query_gradient_that_is_rounding_is_refused():
    eye = np.eye(1)[None]
    tasks = starts.QuadraticTasks(2 * eye, np.array([[2.0]]), eye, np.array([[1.0]]))
    with pytest.raises(ValueError, match="the query gradient is rounding"):
        starts.fixed_point(tasks, 0.25, 200)


@pytest.mark.parametrize("alpha", [1e-18, 1e-12, 1e-3])
def test_reptile_of_small_steps(alpha):
    tasks = starts.QuadraticTasks([[[2.0]], [[1.0]]], [[2.0], [-1.0]])
    found = starts.meta_gradient(tasks, [3.0], alpha, 1, method="reptile")
    np.testing.assert_allclose(found, [[4.0], [4.0]], rtol=1e-14)


def test_symmetry_is_looked_at_task_by_task():
    with pytest.raises(ValueError, match="not symmetric, by 1"):
        starts.QuadraticTasks([np.diag([1e15, 1.0]), [[1.0, 1.0], [0.0, 1.0]]], np.ones((2, 2)))
    huge = np.full((1, 2, 2), 1e308)
    assert (starts.QuadraticTasks(huge, [[1.0, 1.0]]).H == 1e308).all()
