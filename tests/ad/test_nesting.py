"""Derivatives of derivatives: any order, closures over traced values, and no confusion between them."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad import ad
from metagrad.xp import GRADIENT_TOLERANCE, rng

TOLERANCE = GRADIENT_TOLERANCE["float64"]


def close(x, y, condition=1.0):
    return np.max(np.abs(np.asarray(x) - y), initial=0.0) <= condition * TOLERANCE * np.max(np.abs(y), initial=0.0)


@given(x=st.floats(-2, 2), order=st.integers(1, 6))
def test_any_order(x, order):
    f, expected = np.sin, [np.sin, np.cos, lambda z: -np.sin(z), lambda z: -np.cos(z)][order % 4](x)
    for _ in range(order):
        f = ad.grad(f)
    assert abs(f(x) - expected) <= TOLERANCE


def test_third_derivative_of_a_composition():
    f = lambda x: np.exp(x**2) * np.tanh(x)  # noqa: E731
    x, h = 0.4, 2.0**-10
    second = ad.grad(ad.grad(f))
    slope = (8 * (second(x + h) - second(x - h)) - (second(x + 2 * h) - second(x - 2 * h))) / (12 * h)
    assert abs(ad.grad(second)(x) - slope) <= 1e-8 * abs(slope)


def test_perturbations_are_not_confused():
    assert ad.grad(lambda x: x * ad.grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert ad.grad(lambda x: x * ad.grad(lambda y: x * y)(2.0))(3.0) == 6.0
    # the same variable inside and outside: d/dx [x d/dy (x y^2) at y = x] = d/dx 2 x^3
    assert ad.grad(lambda x: x * ad.grad(lambda y: x * y**2)(x))(3.0) == 54.0


def test_an_inner_function_may_return_the_outer_variable():
    assert ad.grad(lambda x: ad.grad(lambda y: x * x)(2.0) + x)(3.0) == 1.0
    assert ad.grad(lambda x: x * ad.vjp(lambda y: x, 2.0)[0])(3.0) == 6.0
    assert ad.grad(lambda x: x * ad.vjp(lambda: x * x)[0])(3.0) == 27.0


def test_a_pullback_made_outside_may_be_used_inside():
    _, pullback = ad.vjp(lambda x: x**3, 2.0)
    assert ad.grad(lambda u: pullback(u)[0] ** 2)(1.0) == 2 * 12.0**2
    assert ad.grad(lambda x: ad.vjp(lambda y: y**3, x)[1](x)[0])(2.0) == 3 * 3 * 2.0**2


def test_the_gradient_through_a_gradient_step_is_that_of_maml():
    H, eta = np.diag([1.0, 4.0]), 0.1
    loss = lambda w: 0.5 * np.sum(w * (H @ w))  # noqa: E731
    outer = lambda w: loss(w - eta * ad.grad(loss)(w))  # noqa: E731
    w, step = np.array([1.0, -2.0]), np.eye(2) - eta * H
    assert close(ad.grad(outer)(w), step @ H @ step @ w)
    held = lambda w: loss(w - eta * ad.stop_gradient(ad.grad(loss)(w)))  # noqa: E731
    assert close(ad.grad(held)(w), H @ step @ w)


def test_the_gradient_in_the_step_size_through_an_unroll():
    H, w0, steps = np.array([0.5, 2.0]), np.array([1.0, 1.0]), 5

    def final(eta):
        w = w0
        for _ in range(steps):
            w = w - eta * ad.grad(lambda u: 0.5 * np.sum(H * u * u))(w)
        return 0.5 * np.sum(H * w * w)

    rate = 1 - 0.3 * H
    assert close(ad.grad(final)(0.3), np.sum(-steps * H**2 * rate ** (2 * steps - 1)))
    expected = np.sum(steps * (2 * steps - 1) * H**3 * rate ** (2 * steps - 2))
    assert close(ad.grad(ad.grad(final))(0.3), expected)


class Weights(NamedTuple):
    inner: np.ndarray
    bias: np.ndarray
    outer: np.ndarray


def mlp_loss(seed):
    stream = rng(seed, "mlp")
    X, y = stream.standard_normal((5, 3)), stream.standard_normal(5)
    weights = Weights(stream.standard_normal((3, 4)), stream.standard_normal(4), stream.standard_normal(4))

    def loss(w):
        hidden = np.tanh(X @ w.inner + w.bias)
        return np.mean((np.matmul(hidden, w.outer) - y) ** 2)

    return loss, weights


def test_an_mlp_passes_the_checks():
    loss, weights = mlp_loss(0)
    assert ad.check_gradients(loss, (weights,)).finite_difference < 1e-9


def test_hvp_is_the_dense_hessian_times_a_vector():
    loss, weights = mlp_loss(1)
    sizes = [leaf.size for leaf in ad.leaves(weights)]

    def flat_gradient(flat):
        parts = np.split(flat, np.cumsum(sizes)[:-1].tolist())
        shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, ad.leaves(weights), strict=True)]
        return np.concatenate([np.ravel(x) for x in ad.leaves(ad.grad(loss)(ad.unflatten(weights, shaped)))])

    flat = np.concatenate([np.ravel(x) for x in ad.leaves(weights)])
    _, pullback = ad.vjp(flat_gradient, flat)
    dense = np.stack([pullback(row)[0] for row in np.eye(flat.size)])
    assert close(dense, dense.T)
    v = ad.tree_map(lambda x: rng(2).standard_normal(x.shape), weights)
    product = np.concatenate([np.ravel(x) for x in ad.leaves(ad.hvp(loss, weights, v))])
    assert close(product, dense @ np.concatenate([np.ravel(x) for x in ad.leaves(v)]), condition=10)


@given(seed=st.integers(0, 2**16))
def test_forward_is_adjoint_to_reverse(seed):
    loss, weights = mlp_loss(seed)
    f = ad.grad(loss)
    u, v = (ad.tree_map(lambda x, n=n: rng(seed, n).standard_normal(x.shape), weights) for n in "uv")
    out, Jv = ad.jvp(f, (weights,), (v,))
    (Ju,) = ad.vjp(f, weights)[1](u)
    inner = lambda a, b: sum(np.sum(x * y) for x, y in zip(ad.leaves(a), ad.leaves(b), strict=True))  # noqa: E731
    size = inner(ad.tree_map(np.abs, u), ad.tree_map(np.abs, Jv))
    assert abs(inner(u, Jv) - inner(Ju, v)) <= TOLERANCE * size
    assert all(np.array_equal(x, y) for x, y in zip(out, f(weights), strict=True))


class Pair(NamedTuple):
    w: np.ndarray
    count: int


def test_jvp_and_vjp_of_trees_with_constants():
    f = lambda pair, x: (Pair(pair.w * pair.count, pair.count), None, np.sin(x))  # noqa: E731
    pair, x = Pair(np.array([1.0, 2.0]), 3), np.array([0.5])
    out, pullback = ad.vjp(f, pair, x)
    assert out[0].count == 3
    assert out[1] is None
    g, x_bar = pullback((Pair(np.ones(2), None), None, np.zeros(1)))
    assert (g.w.tolist(), g.count, x_bar.tolist()) == ([3.0, 3.0], None, [0.0])
    _, tangent = ad.jvp(f, (pair, x), (Pair(np.ones(2), None), np.ones(1)))
    assert (tangent[0].w.tolist(), tangent[0].count, tangent[1]) == ([3.0, 3.0], None, None)
    assert close(tangent[2], np.cos(x))


def test_jvp_nests_with_itself_and_with_grad():
    cube = lambda x: x**3  # noqa: E731
    assert ad.jvp(lambda x: ad.jvp(cube, (x,), (1.0,))[1], (2.0,), (1.0,))[1] == 12.0
    assert ad.grad(lambda x: ad.jvp(cube, (x,), (1.0,))[1])(2.0) == 12.0
    assert ad.jvp(ad.grad(cube), (2.0,), (1.0,))[1] == 12.0


def test_jvp_of_a_constant_is_zero():
    assert ad.jvp(lambda x: np.ones(2), (1.0,), (1.0,))[1].tolist() == [0.0, 0.0]


def test_per_task_losses_have_per_task_gradients():
    w = rng(0).standard_normal((4, 3))
    assert close(ad.grad(lambda u: np.sum(u**2, axis=-1))(w), 2 * w)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_python_floats_are_weak(dtype):
    w = np.array([1.0, 2.0], dtype=dtype)
    f = lambda w, eta: np.sum((w - 2 * eta * w) ** 2)  # noqa: E731
    value, (w_bar, eta_bar) = ad.value_and_grad(f, argnums=(0, 1))(w, 0.25)
    assert {value.dtype, w_bar.dtype, eta_bar.dtype} == {np.dtype(dtype)}
    assert ad.hvp(lambda u: f(u, 0.25), w, w).dtype == dtype


@given(x=st.sampled_from([-3.0, -1.0, 0.0, 2.0]), p=st.integers(0, 4), order=st.integers(0, 4))
def test_powers_of_zero_and_of_negative_bases(x, p, order):
    f = lambda z: z**p  # noqa: E731
    expected = math.perm(p, order) * (x ** (p - order) if p >= order else 0.0)
    for _ in range(order):
        f = ad.grad(f)
    assert f(x) == expected


def test_an_array_of_exponents_has_the_derivatives_of_the_numbers():
    x, p = np.array([0.0, 0.0, 0.0, 2.0, -2.0]), np.array([0.0, 1.0, 2.0, 0.0, 3.0])
    assert ad.grad(np.power)(x, p).tolist() == [0.0, 1.0, 0.0, 0.0, 12.0]
    assert ad.hvp(lambda z: z**p, x, np.ones(5)).tolist() == [0.0, 0.0, 2.0, 0.0, -12.0]
    # d2/(dx dp) x^p = x^(p-1) (1 + p log x), at p = 0 too
    mixed = ad.grad(lambda q: ad.grad(np.power)(np.array([2.0]), q))(np.array([0.0]))
    assert mixed.tolist() == [0.5]
