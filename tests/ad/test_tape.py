"""Nesting, pruning, memory, and what a user sees when something cannot be differentiated."""

import gc
import weakref
from typing import NamedTuple

import numpy as np
import pytest

from metagrad import ad
from metagrad.ad import tape


def test_nested_gradients_do_not_confuse_their_variables():
    # d/dx [x * d/dy (x + y)] = 1: the classic perturbation confusion gives 2
    x = np.array(3.0)
    assert float(ad.grad(lambda x: x * ad.grad(lambda y: x + y)(np.array(1.0)))(x)) == 1.0
    assert float(ad.grad(lambda x: x * ad.grad(lambda y: x * y)(np.array(2.0)))(x)) == 6.0


def test_third_derivative():
    cube = ad.grad(ad.grad(ad.grad(lambda x: np.sin(x) * x**2)))
    x = 0.7
    exact = 6 * np.cos(x) - 6 * x * np.sin(x) - x**2 * np.cos(x)
    assert float(cube(np.array(x))) == pytest.approx(exact, rel=1e-13)


def test_vjp_through_an_inner_gradient_is_a_hessian_vector_product():
    rng = np.random.default_rng(0)
    A, w, v = rng.standard_normal((4, 4)), rng.standard_normal(4), rng.standard_normal(4)

    def loss(w):
        return np.sum(np.tanh(A @ w) ** 2)

    hessian = np.stack([ad.hvp(loss, w, e) for e in np.eye(4)])
    assert hessian == pytest.approx(hessian.T, rel=1e-12)
    assert ad.hvp(loss, w, v) == pytest.approx(hessian @ v, rel=1e-12)
    h = 1e-6
    difference = (ad.grad(loss)(w + h * v) - ad.grad(loss)(w - h * v)) / (2 * h)
    assert ad.hvp(loss, w, v) == pytest.approx(difference, rel=1e-6)


def test_jvp_is_the_adjoint_of_the_pullback():
    rng = np.random.default_rng(1)
    a, b, u = rng.standard_normal((3, 4)), rng.standard_normal(4), rng.standard_normal(3)

    def f(a, b):
        return np.exp(a @ b), (np.sin(a), None)

    args, tangents = (a, b), (rng.standard_normal((3, 4)), rng.standard_normal(4))
    cotangent = (u, (rng.standard_normal((3, 4)), None))
    _, pullback = ad.vjp(f, *args)
    _, tangent = ad.jvp(f, args, tangents)
    left = sum(np.sum(x * y) for x, y in zip(ad.leaves(cotangent), ad.leaves(tangent), strict=True))
    right = sum(np.sum(x * y) for x, y in zip(pullback(cotangent), tangents, strict=True))
    assert left == pytest.approx(right, rel=1e-13)


def test_trees_and_constants():
    class Pair(NamedTuple):
        w: np.ndarray
        count: int

    def f(pair, unused):
        return Pair(pair.w * pair.count, pair.count)

    out, pullback = ad.vjp(f, Pair(np.ones(2), 3), np.ones(1))
    assert isinstance(out, Pair)
    assert out.count == 3
    (g, unused) = pullback(Pair(np.ones(2), None))
    assert g.w.tolist() == [3.0, 3.0]
    assert g.count is None
    assert unused.tolist() == [0.0]
    assert pullback(Pair(np.ones(2), None), wrt=(1,))[0] is None


def test_an_inner_gradient_does_not_walk_the_outer_history():
    def cost(length):
        def outer(x):
            for _ in range(length):
                x = np.sin(x)
            before = tape.visited[0]
            ad.grad(lambda y: np.sum(y * y * x))(x)
            counts.append(tape.visited[0] - before)
            return x

        counts: list[int] = []
        ad.vjp(outer, np.ones(2))
        return counts[0]

    assert cost(1) == cost(1000)


def test_a_history_of_a_hundred_thousand_nodes():
    def long(x):
        for _ in range(100_000):
            x = x + 1.0
        return x

    assert float(ad.grad(long)(np.array(0.0))) == 1.0


def test_nothing_is_kept_alive():
    gc.collect()
    gc.disable()
    try:
        out, pullback = ad.vjp(lambda x: np.sin(x) * x, np.ones(3))
        nodes = [weakref.ref(x) for x in gc.get_objects() if type(x) is ad.Var]
        pullback(np.ones(3))
        del out, pullback
        assert not [ref for ref in nodes if ref() is not None], "a node outlives its pullback without any collection"
    finally:
        gc.enable()


def test_first_order_results_are_bare_arrays():
    out, pullback = ad.vjp(np.sin, np.ones(3))
    assert type(out) is np.ndarray
    assert type(pullback(np.ones(3))[0]) is np.ndarray
    assert type(ad.jvp(np.sin, (np.ones(3),), (np.ones(3),))[1]) is np.ndarray


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (float, "float.. of a traced array.*stop_gradient"),
        (bool, "bool.. of a traced array"),
        (np.asarray, "np.asarray.. of a traced array"),
        (np.fft.fft, "has no rule on the tape"),
        (np.arctanh, "np.arctanh has no rule on the tape"),
        (lambda x: np.add(x, x, out=np.ones(2)), "takes no out"),
        (lambda x: x + "a", "a str"),
        (lambda x: np.einsum("ii->i", x), "once in each operand"),
        (lambda x: np.linalg.norm(x, 1), "norm of order 1"),
    ],
)
def test_what_cannot_be_differentiated_says_so(f, message):
    with pytest.raises(TypeError, match=message):
        ad.grad(f)(np.ones(2))


def test_assignment_is_refused():
    def f(x):
        x[0] = 1.0
        return x

    with pytest.raises(TypeError, match=r"np\.where"):
        ad.grad(f)(np.ones(2))


def test_a_wrong_cotangent_is_refused():
    _, pullback = ad.vjp(np.sin, np.ones(3))
    with pytest.raises(ValueError, match="the output's shape"):
        pullback(np.ones(4))


def test_numpy_arrays_on_the_left():
    x = np.array([1.0, 2.0])
    for f in (lambda y: x + y, lambda y: x - y, lambda y: x * y, lambda y: x / y, lambda y: x**y, lambda y: x @ y):
        ad.check_gradients(f, (np.array([1.5, 0.5]),), order=2)


def test_an_mlp_in_plain_numpy():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((8, 3)), rng.standard_normal((8, 2))
    params = (rng.standard_normal((3, 5)), np.zeros(5), rng.standard_normal((5, 2)), np.zeros(2))

    def loss(W1, b1, W2, b2):
        hidden = np.tanh(x @ W1 + b1)
        return np.mean((hidden @ W2 + b2 - y) ** 2)

    ad.check_gradients(loss, params, order=2)


def test_check_gradients_finds_a_wrong_rule():
    from metagrad.ad.ops import _apply

    def wrong(x):
        return _apply(np.sin, (x,), (lambda g, y, x: g * np.cos(x) * 1.001,))

    with pytest.raises(AssertionError, match="finite difference"):
        ad.check_gradients(wrong, (np.ones(3),), order=1)
