"""The Krylov space against the full decomposition: equal up to its horizon, and refused beyond it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad.theory import least_squares as ls
from metagrad.theory.least_squares import average_case as ac
from metagrad.theory.least_squares.krylov import krylov_regressions


def sample(n, d, seed=0):
    rng = np.random.default_rng([seed, n, d])
    return rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)


@pytest.mark.parametrize("method", ["products", "gram"])
@pytest.mark.parametrize(("n", "d", "steps"), [(30, 60, 12), (60, 30, 12), (40, 40, 25), (5, 9, 40), (9, 5, 40)])
def test_all_of_it_equals_the_full_decomposition(n, d, steps, method):
    X, y, w_star = sample(n, d)
    X_val, y_val, _ = sample(7, d, seed=1)
    (small,) = krylov_regressions(X, y, steps, method=method)
    full = ls.Regression.of(X, y)
    etas = np.array([1e-6, 0.1, 0.9, 1.9, 2.5]) / full.eigenvalues.max()
    t = np.array([[1], [2], [steps]])
    for f, more in [
        (ls.train_loss, ()),
        (ls.d_train_loss, ()),
        (ls.validation_loss, (X_val, y_val)),
        (ls.d_validation_loss, (X_val, y_val)),
        (ls.risk, (w_star,)),
        (ls.d_risk, (w_star,)),
    ]:
        found, exact = f(small, *more, etas, t), f(full, *more, etas, t)
        np.testing.assert_array_equal(found.sign, exact.sign)
        np.testing.assert_allclose(found.log, exact.log, rtol=0, atol=2e-10)
    np.testing.assert_allclose(ls.weights(small, etas, t), ls.weights(full, etas, t), rtol=1e-9, atol=1e-13)
    np.testing.assert_array_equal(ls.first_exit(small, etas, steps, 3.0), ls.first_exit(full, etas, steps, 3.0))


@pytest.mark.parametrize("method", ["products", "gram"])
def test_several_training_sets_are_as_each_alone(method):
    X, y, _ = sample(30, 50)
    train = np.zeros((3, 30), bool)
    train[0], train[1, :15], train[2, ::3] = True, True, True
    for rows, found in zip(train, krylov_regressions(X, y, 8, train=train, method=method), strict=True):
        (alone,) = krylov_regressions(X[rows], y[rows], 8)
        np.testing.assert_allclose(found.eigenvalues, alone.eigenvalues, rtol=1e-11)
        np.testing.assert_allclose(found.residual, alone.residual, rtol=1e-10)
        assert (found.n, found.d, found.horizon) == (alone.n, 50, 8)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.integers(0, 5))
def test_an_exhausted_space_holds_at_any_horizon(n, d, rank, seed):
    rng = np.random.default_rng([seed, n, d, rank])
    X, y = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)), rng.standard_normal(n)
    (small,) = krylov_regressions(X, y, 7)
    full = ls.Regression.of(X, y)
    assert small.horizon == np.inf
    eta = 0.7 / full.eigenvalues.max()
    np.testing.assert_allclose(ls.train_loss(small, eta, 500).log, ls.train_loss(full, eta, 500).log, atol=1e-8)


def test_targets_that_cannot_be_fitted_at_all():
    for X, y in ((np.zeros((3, 2)), np.ones(3)), (np.eye(3)[:, :2], np.eye(3)[2]), (np.ones((3, 2)), np.zeros(3))):
        (small,) = krylov_regressions(X, y, 5)
        assert small.horizon == np.inf
        np.testing.assert_allclose(ls.train_loss(small, 0.3, 9).to_float(), np.mean(y**2) / 2)
        np.testing.assert_array_equal(ls.weights(small, 0.3, 9), np.zeros(2))


@pytest.mark.parametrize("size", [1e-140, 1e-3, 1e140])
def test_inputs_of_any_size(size):
    X, y, _ = sample(12, 20)
    one, other = krylov_regressions(X, y, 6)[0], krylov_regressions(X * size, y, 6)[0]
    np.testing.assert_allclose(other.eigenvalues / size**2, one.eigenvalues, rtol=1e-11)
    np.testing.assert_allclose(ls.train_loss(other, 0.1 / size**2, 6).log, ls.train_loss(one, 0.1, 6).log, rtol=1e-10)


def test_orthogonality_where_ritz_values_have_converged():
    """One eigenvalue a thousand times the others: Lanczos without reorthogonalisation finds it again and again."""
    X, y, _ = sample(40, 40)
    X[:, 0] *= 100
    (small,) = krylov_regressions(X, y, 35)
    np.testing.assert_allclose(small.basis.T @ small.basis, np.eye(35), atol=1e-12)
    full = ls.Regression.of(X, y)
    eta = 1.5 / full.eigenvalues.max()
    np.testing.assert_allclose(ls.train_loss(small, eta, 35).log, ls.train_loss(full, eta, 35).log, rtol=1e-11)


@pytest.mark.parametrize("method", ["products", "gram"])
def test_orthogonality_where_the_spectrum_is_narrow(method):
    """Many samples: what a vector has in common with the earlier ones is larger than what is new in it."""
    X, y, w_star = sample(900, 60)
    (small,) = krylov_regressions(X, y, 40, method=method)
    np.testing.assert_allclose(small.basis.T @ small.basis, np.eye(40), atol=1e-12)
    full = ls.Regression.of(X, y)
    for eta in (0.3, 0.94, 2.0):
        np.testing.assert_allclose(ls.risk(small, w_star, eta, 40).log, ls.risk(full, w_star, eta, 40).log, atol=1e-9)


def with_spectrum(n, d, s, seed=0):
    """X with the eigenvalues s of X'X/n."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((size, len(s))))[0] for size in (n, d))
    return left * np.sqrt(np.asarray(s) * n) @ right.T, left


def descend(X, y, eta, steps):
    """w_t by gradient descent itself, in extended precision."""
    X, y, eta = X.astype(np.longdouble), y.astype(np.longdouble), np.longdouble(eta)
    w = np.zeros(X.shape[1], np.longdouble)
    for _ in range(steps):
        w -= eta * (X.T @ (X @ w - y)) / len(X)
    return w


RNG = np.random.default_rng(3)
HARD = {
    "condition 1e16": with_spectrum(60, 40, np.geomspace(1e-16, 1, 40))[0],
    "one column 1e8 times the others": np.hstack([RNG.standard_normal((60, 39)), 1e8 * RNG.standard_normal((60, 1))]),
    "clusters": with_spectrum(60, 40, np.r_[1 + 1e-12 * np.arange(20), 0.5 + 1e-6 * np.arange(20)])[0],
    "duplicated rows": np.repeat(RNG.standard_normal((6, 40)), 10, axis=0),
    "outliers": with_spectrum(60, 40, np.r_[1e6, 1e3, np.geomspace(1e-3, 1, 38)])[0],
    "more inputs than samples": with_spectrum(20, 60, RNG.uniform(0.1, 2, 20))[0],
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("steps", [3, 15, 25, 100])
def test_hard_spectra_are_followed_as_by_the_recursion(name, steps):
    """Small singular values are not squared away, and what no step reaches is not amplified."""
    X = HARD[name]
    y = np.random.default_rng(4).standard_normal(len(X))
    (small,) = krylov_regressions(X, y, steps)
    for factor in (0.3, 1.0, 1.9, 2.2):
        eta = factor / np.linalg.norm(X, 2) ** 2 * len(X)
        w = descend(X, y, eta, steps)
        np.testing.assert_allclose(ls.weights(small, eta, steps), w.astype(float), atol=1e-11 * np.linalg.norm(w))


@pytest.mark.parametrize("method", ["products", "gram"])
@pytest.mark.parametrize("count", [1, 3])
def test_targets_along_a_few_singular_vectors_exhaust_the_space(method, count):
    X, left = with_spectrum(60, 40, np.linspace(0.1, 2, 40))
    y = left[:, 5 : 5 + count] @ np.ones(count)
    (small,) = krylov_regressions(X, y, 12, method=method)
    w = descend(X, y, 0.8, 12)
    np.testing.assert_allclose(ls.weights(small, 0.8, 12), w.astype(float), atol=1e-13)
    big = np.sort(np.abs(small.coefficients))[::-1]
    assert np.all(big[count:] < 1e-9 * big[0])  # whatever was found beside them is rounding


def test_inputs_are_neither_kept_nor_changed():
    X, y, w_star = sample(12, 20)
    before = X.copy(), y.copy()
    X.setflags(write=False)
    y.setflags(write=False)
    for make in (lambda: krylov_regressions(X, y, 4)[0], lambda: ls.Regression.of(X, y)):
        regression = make()
        one = ls.risk(regression, w_star, 0.1, 4).log
        for array, old in zip((X, y), before, strict=True):
            np.testing.assert_array_equal(array, old)
            array.setflags(write=True)
            array[:] = 7 * old
        assert ls.risk(regression, w_star, 0.1, 4).log == one
        for array, old in zip((X, y), before, strict=True):
            array[:] = old


@pytest.mark.parametrize("method", ["products", "gram"])
def test_views_and_other_types(method):
    X, y, _ = sample(24, 40)
    views = {"reversed": (X[::-1], y[::-1]), "columns": (np.asfortranarray(X), y), "lists": (X.tolist(), y.tolist())}
    (plain,) = krylov_regressions(X, y, 5, method=method)
    for name, (inputs, targets) in views.items():
        (other,) = krylov_regressions(inputs, targets, 5, method=method)
        np.testing.assert_allclose(other.eigenvalues, plain.eigenvalues, rtol=1e-12, err_msg=name)
    X, y = np.round(4 * X), np.round(4 * y)
    (plain,) = krylov_regressions(X, y, 5, method=method)
    for dtype in (np.int8, np.float32, np.float16):
        (other,) = krylov_regressions(X.astype(dtype), y.astype(dtype), 5, method=method)
        np.testing.assert_array_equal(other.eigenvalues, plain.eigenvalues)


X3, Y3 = np.ones((3, 2)), np.ones(3)


def small_space():
    X, y, _ = sample(9, 8)
    return krylov_regressions(X, y, 3)[0]


BAD = [
    (lambda: ls.train_loss(small_space(), 0.1, 4), "at most 3"),
    (lambda: ls.d_train_loss(small_space(), 0.1, [1, 4]), "at most 3"),
    (lambda: ls.risk(small_space(), np.ones(8), 0.1, 4), "more steps"),
    (lambda: ls.weights(small_space(), 0.1, 4), "at most 3"),
    (lambda: ls.first_exit(small_space(), 50.0, 4, 1.0), "at most 3"),
    (lambda: ac.expected_risk(small_space(), 0.1, 2, sigma=1.0), "Use Regression.of"),
    (lambda: krylov_regressions(X3, Y3, 0), "steps is 0"),
    (lambda: krylov_regressions(X3, Y3, [1, 2]), "steps is of shape"),
    (lambda: krylov_regressions(X3, Y3, 2, method="qr"), "method is 'qr'"),
    (lambda: krylov_regressions(X3, np.ones(2), 3), "y is of shape"),
    (lambda: krylov_regressions(X3, Y3, 3, train=np.ones(3, bool)), "train is bool of shape"),
    (lambda: krylov_regressions(X3, Y3, 3, train=np.ones((1, 3))), "train is float64"),
    (lambda: krylov_regressions(X3, Y3, 3, train=np.zeros((1, 3), bool)), "at least one sample"),
    (lambda: krylov_regressions(X3 * np.nan, Y3, 3), "X is nan"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
