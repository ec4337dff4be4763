"""Strong zeros: what was not chosen adds nothing, backwards and forwards, to orders one and two; a real NaN stays."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.ad import table
from metagrad.ad.tape import Var, leaf
from metagrad.xp import rng

table.load_late()  # the families that import SciPy
C = np.array([1.0, -2.0, 0.5])


def guarded(singular, harmless=np.square):
    """Return where(x <= 0, harmless, singular), which is never singular where it is chosen."""
    return lambda x: np.where(x <= 0, harmless(x), singular(x))


BRANCHES = {
    "sqrt": np.sqrt,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": lambda x: np.log1p(x - 1.0),
    "divide": lambda x: (x + 1.0) / x,
    "reciprocal": np.reciprocal,
    "power": lambda x: x**0.5 + x**-1.5,
    "power of an array": lambda x: x ** (C + x),
    "exp": lambda x: np.exp(1.0 / x),
    "product with inf": lambda x: x * np.where(np.asarray(ad.stop_gradient(x)) > 0, 1.0, np.inf),
    "matmul": lambda x: ((1.0 / x)[:, None] @ np.ones((1, 1)))[:, 0] * x,
    "norm": lambda x: np.linalg.norm(x[..., None], axis=-1) * x,
    "max": lambda x: np.max(np.stack([np.sqrt(x), np.log(x)]), axis=0),
}


def inner(a, b):
    return float(np.sum(a * b))


@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_branch_that_is_not_chosen_adds_nothing(name, seed):
    singular = BRANCHES[name]
    f = lambda x: np.sum(guarded(singular)(x) * C) + np.sum((x - 1.0) ** 2)  # noqa: E731

    def doubled(x):
        inside = np.where(x <= 0, 1.5, x)
        return np.sum(np.where(x <= 0, np.square(x), singular(inside)) * C) + np.sum((x - 1.0) ** 2)

    x = np.array([0.0, 1.3, -0.4])[rng(seed, name).permutation(3)]
    u, v = rng(seed).standard_normal((2, 3))
    with np.errstate(all="ignore"):
        for g in (f, doubled):
            assert np.isfinite(g(x))
        np.testing.assert_allclose(ad.grad(f)(x), ad.grad(doubled)(x), rtol=1e-13)
        assert abs(ad.jvp(f, (x,), (v,))[1] - inner(ad.grad(doubled)(x), v)) < 1e-12
        second = ad.hvp(doubled, x, v)
        np.testing.assert_allclose(ad.hvp(f, x, v), second, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(ad.jvp(ad.grad(f), (x,), (v,))[1], second, rtol=1e-12, atol=1e-12)
        twice = ad.jvp(lambda y: ad.jvp(f, (y,), (u,))[1], (x,), (v,))[1]
        assert abs(twice - inner(second, u)) < 1e-12


SINGULAR = [np.sqrt, np.log, np.log2, np.log10, lambda x: np.log1p(x - 1.0), np.reciprocal, lambda x: x**0.5]


@pytest.mark.parametrize("f", SINGULAR)
def test_what_is_really_infinite_stays_visible(f):
    x = np.array([0.0, 0.0, 4.0])
    with np.errstate(all="ignore"):
        (found,) = ad.vjp(f, x)[1](np.array([1.0, 0.0, 1.0]))
        along = ad.jvp(f, (x,), (np.array([1.0, 0.0, 1.0]),))[1]
    for slope in (found, along):
        assert not np.isfinite(slope[0])
        assert slope[1] == 0
        assert np.isfinite(slope[2])


def test_products_of_matrices_keep_their_zeros_and_their_nan():
    A = np.array([[1.0, np.inf], [np.nan, 2.0]])
    with np.errstate(all="ignore"):
        assert np.array_equal(ad.vjp(lambda v: A @ v, np.ones(2))[1](np.array([1.0, 0.0]))[0], [1.0, np.inf])
        found = ad.jvp(lambda v: np.einsum("ij,j->i", A, v), (np.ones(2),), (np.array([0.0, 1.0]),))[1]
        assert np.array_equal(found, [np.inf, 2.0])
        both = ad.vjp(lambda v: A @ v, np.ones(2))[1](np.ones(2))[0]
        assert np.isnan(both[0])
        assert both[1] == np.inf
        assert np.isnan(ad.vjp(lambda v: A @ v, np.ones(2))[1](np.array([np.nan, 0.0]))[0]).all()


def test_a_primitive_of_ones_own_that_is_asked_for_nothing_adds_nothing():
    root = ad.primitive("root", np.sqrt, (lambda g, out, x: g * (0.5 / out),))
    f = lambda x: np.sum(x) * 1.0 + np.sum(np.where(x < 1, 0.0, root(x)))  # noqa: E731
    with np.errstate(all="ignore"):
        assert ad.grad(f)(np.zeros(2)).tolist() == [1.0, 1.0]
        assert np.isinf(ad.grad(root)(0.0))


@pytest.mark.parametrize("squared", [np.square, lambda n: n**2, lambda n: np.power(n, 2)])
def test_the_square_of_a_norm_is_as_smooth_as_it_is(squared):
    f = lambda w: np.sum(squared(np.linalg.norm(w, axis=-1)))  # noqa: E731
    v = np.array([[1.0, -2.0], [3.0, 0.5]])
    for w in (np.zeros((2, 2)), np.array([[0.0, 0.0], [3.0, 4.0]])):
        np.testing.assert_allclose(ad.grad(f)(w), 2 * w, rtol=1e-15)
        np.testing.assert_allclose(ad.hvp(f, w, v), 2 * v, rtol=1e-15)
        np.testing.assert_allclose(ad.jvp(ad.grad(f), (w,), (v,))[1], 2 * v, rtol=1e-15)
        np.testing.assert_allclose(ad.jvp(f, (w,), (v,))[1], 2 * np.sum(w * v), rtol=1e-15)
    with np.errstate(invalid="ignore"):
        assert np.isnan(ad.grad(lambda x: squared(np.sqrt(x)))(-1.0))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_constant_feature_is_standardised(seed):
    x = rng(seed).standard_normal((5, 3))
    x[:, 1] = 1.5

    def loss(w, root):
        z = x * w
        centred = z - np.mean(z, axis=0)
        return np.sum(np.sin(centred / (root(centred) + 1e-3) * C + np.arange(5.0)[:, None]))

    by_std = lambda w: loss(w, lambda c: np.std(c, axis=0))  # noqa: E731
    by_safe = lambda w: loss(w, lambda c: mg.safe_sqrt(np.mean(c**2, axis=0)))  # noqa: E731
    w, v = rng(seed, "w").standard_normal((2, 3))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(ad.grad(by_std)(w), ad.grad(by_safe)(w), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ad.hvp(by_std, w, v), ad.hvp(by_safe, w, v), rtol=1e-7, atol=1e-9)
        assert np.all(np.isfinite(ad.jvp(ad.grad(by_std), (w,), (v,))[1]))


def test_a_sweep_without_nan_is_made_once(monkeypatch):
    calls = []
    monkeypatch.setattr("metagrad.ad.strong.pull", lambda *a: calls.append(a))
    monkeypatch.setattr("metagrad.ad.strong.push", lambda *a: calls.append(a))
    f = lambda x: np.sum(np.sqrt(x) * np.log(x))  # noqa: E731
    ad.hvp(f, np.ones(3), np.ones(3))
    ad.jvp(ad.grad(f), (np.ones(3),), (np.ones(3),))
    with np.errstate(all="ignore"):
        ad.grad(np.sqrt)(0.0)  # inf is no NaN
    assert calls == []


def applied(function, x):
    """Return what a ufunc's form gives where it is traced in all arguments, or in the only one that may be."""
    last = [2] * (function.nin - 1)
    for args in ([x] * function.nin, [*last, x], [x, *last]):
        try:
            with np.errstate(invalid="ignore"):
                return table.FUNCTIONS[function](*args)
        except TypeError as error:
            assert "a traced value" in str(error)  # noqa: PT017
    raise AssertionError(function)


def test_every_primitive_that_works_entry_by_entry_has_rules_for_it():
    x = leaf(np.full(2, 1.5))
    for function in (f for f in table.FUNCTIONS if isinstance(f, np.ufunc) and f.signature is None):
        for out in ad.leaves(applied(function, x)):
            if isinstance(out, Var) and out is not x:
                assert out.op.entries is not None or out.op.linear is not None
