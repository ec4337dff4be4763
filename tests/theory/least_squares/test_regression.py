"""Least squares given the sample: closed forms against gradient descent itself, in many digits."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad.theory import least_squares as ls
from metagrad.theory.least_squares import average_case as ac
from metagrad.theory.numbers.filters import spectral_filter
from metagrad.theory.quadratic.minimisers import minimiser

SHAPES = [(5, 9), (9, 5), (6, 6), (1, 1), (1, 4), (7, 1)]


def sample(n, d, seed=0, m=4):
    rng = np.random.default_rng([seed, n, d])
    return (
        rng.standard_normal((n, d)),
        rng.standard_normal(n),
        rng.standard_normal((m, d)),
        rng.standard_normal(m),
        rng.standard_normal(d),
    )


def descend(X, y, eta, steps):
    """Return w_t and dw_t/deta by the recursion, in mpmath."""
    n, d = X.shape
    X, y, eta = mp.matrix(X.tolist()), mp.matrix(y.tolist()), mp.mpf(float(eta))
    w, dw = mp.zeros(d, 1), mp.zeros(d, 1)
    for _ in range(steps):
        g, dg = X.T * (X * w - y) / n, X.T * (X * dw) / n
        w, dw = w - eta * g, dw - g - eta * dg
    return w, dw


def pairs(v, dv):
    """Return v'v and 2 v'dv."""
    return sum(x * x for x in v), 2 * sum(x * z for x, z in zip(v, dv, strict=True))


def relative(number, reference):
    found = mp.mpf(float(number.sign)) * mp.e ** mp.mpf(float(number.log))
    return float(abs(found - reference) / abs(reference))


@pytest.mark.parametrize("method", ["svd", "gram"])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_losses_and_derivatives_are_those_of_gradient_descent(n, d, method):
    X, y, X_val, y_val, w_star = sample(n, d)
    reg = ls.Regression.of(X, y, method=method)
    with mp.workdps(160):  # a residual of 1e-100 is the difference of numbers near 1
        for factor in (1e-9, 0.3, 1.1, 1.9, 3.0):
            for t in (1, 2, 7, 50):
                eta = factor / reg.eigenvalues.max()
                w, dw = descend(X, y, eta, t)
                Xm, Xv = mp.matrix(X.tolist()), mp.matrix(X_val.tolist())
                train = pairs(Xm * w - mp.matrix(y.tolist()), Xm * dw)
                validation = pairs(Xv * w - mp.matrix(y_val.tolist()), Xv * dw)
                risk = pairs(w - mp.matrix(w_star.tolist()), dw)
                assert relative(ls.train_loss(reg, eta, t), train[0] / (2 * n)) < 1e-11
                assert relative(ls.d_train_loss(reg, eta, t), train[1] / (2 * n)) < 1e-10
                assert relative(ls.validation_loss(reg, X_val, y_val, eta, t), validation[0] / 8) < 1e-11
                assert relative(ls.d_validation_loss(reg, X_val, y_val, eta, t), validation[1] / 8) < 1e-10
                assert relative(ls.risk(reg, w_star, eta, t), risk[0]) < 1e-11
                assert relative(ls.d_risk(reg, w_star, eta, t), risk[1]) < 1e-10


def test_weights_are_the_last_iterate():
    X, y, *_ = sample(8, 5)
    reg = ls.Regression.of(X, y)
    w, _ = descend(X, y, 0.2, 30)
    np.testing.assert_allclose(ls.weights(reg, 0.2, 30), np.array(w.tolist(), float).ravel(), rtol=1e-12)
    np.testing.assert_allclose(reg.solution, np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-11)
    with pytest.raises(OverflowError, match="smaller eta"):
        ls.weights(reg, 50.0, 400)


def test_far_outside_the_range_of_floats():
    X, y, X_val, y_val, w_star = sample(6, 4)
    reg = ls.Regression.of(X, y)
    eta, t = 3.0 / reg.eigenvalues.max(), 2001
    with mp.workdps(60):
        w, dw = descend(X, y, eta, t)
        value, slope = pairs(mp.matrix(X_val.tolist()) * w - mp.matrix(y_val.tolist()), mp.matrix(X_val.tolist()) * dw)
        assert ls.validation_loss(reg, X_val, y_val, eta, t).log10 > 1000
        assert relative(ls.validation_loss(reg, X_val, y_val, eta, t), value / 8) < 1e-11
        assert relative(ls.d_validation_loss(reg, X_val, y_val, eta, t), slope / 8) < 1e-11
        value, slope = pairs(w - mp.matrix(w_star.tolist()), dw)
        assert relative(ls.risk(reg, w_star, eta, t), value) < 1e-11
        assert relative(ls.d_risk(reg, w_star, eta, t), slope) < 1e-11


@given(
    st.floats(1e-12, 4.0),
    st.integers(1, 60),
    st.lists(st.floats(0.0, 3.0), min_size=1, max_size=4),
)
def test_filter_is_the_sum_of_powers(eta, t, eigenvalues):
    move = spectral_filter(np.array(eigenvalues), eta, t, "test")
    with mp.workdps(60):
        for j, s in enumerate(eigenvalues):
            a = 1 - mp.mpf(eta) * mp.mpf(s)
            exact = mp.mpf(eta) * sum(a**k for k in range(t))  # a geometric sum: no division by s
            scale = mp.mpf(eta) * sum(abs(a) ** k for k in range(t))
            value = mp.mpf(float(move.value[j])) * mp.e ** float(move.scale)
            slope = mp.mpf(float(move.slope.sign[j])) * mp.e ** float(move.slope.log[j])
            assert abs(value - exact) <= 1e-13 * scale
            assert abs(slope - t * a ** (t - 1)) <= 1e-13 * t * abs(a) ** (t - 1) * t


def test_collinear_and_constant_columns_keep_their_rank():
    X, y, *_ = sample(9, 3)
    X = np.column_stack([X, X[:, 0] * 2, np.full(9, 3.0), np.zeros(9)])
    reg = ls.Regression.of(X, y)
    assert len(reg.eigenvalues) == 4
    floor = np.linalg.lstsq(X, y, rcond=None)[0]
    np.testing.assert_allclose(reg.train_floor, np.sum((X @ floor - y) ** 2) / 18, rtol=1e-12)
    w, _ = descend(X, y, 0.05, 20)
    with mp.workdps(60):
        loss = sum(x * x for x in mp.matrix(X.tolist()) * w - mp.matrix(y.tolist())) / 18
        assert relative(ls.train_loss(reg, 0.05, 20), loss) < 1e-12


@pytest.mark.parametrize("size", [1e-150, 1e-20, 1e100])
def test_extreme_inputs_only_rescale_the_step_size(size):
    X, y, *_ = sample(5, 7)
    plain, scaled = ls.Regression.of(X, y), ls.Regression.of(X * size, y)
    np.testing.assert_allclose(scaled.eigenvalues, plain.eigenvalues * size**2, rtol=1e-12)
    one = ls.train_loss(plain, 0.1, 20).to_float()
    np.testing.assert_allclose(ls.train_loss(scaled, 0.1 / size**2, 20).to_float(), one, rtol=1e-11)


def test_inputs_of_zeros_move_nothing():
    reg = ls.Regression.of(np.zeros((3, 2)), np.ones(3))
    assert float(ls.train_loss(reg, 0.5, 10).to_float()) == 0.5
    assert float(ls.d_train_loss(reg, 0.5, 10).to_float()) == 0
    np.testing.assert_array_equal(ls.weights(reg, 0.5, 10), np.zeros(2))
    np.testing.assert_allclose(ls.risk(reg, [3.0, 4.0], 0.5, 10).to_float(), 25, rtol=1e-14)
    X_val, y_val = np.ones((2, 2)), np.ones(2)
    assert ls.validation_loss(reg, X_val, y_val, 0.5, 10).to_float() == 0.5
    assert ls.d_validation_loss(reg, X_val, y_val, 0.5, 10).sign == ls.d_risk(reg, [3.0, 4.0], 0.5, 10).sign == 0
    about = {"sigma": 2.0, "signal": 3.0}
    np.testing.assert_allclose(ac.expected_train_loss(reg, 0.5, 10, **about).to_float(), 2, rtol=1e-14)
    np.testing.assert_allclose(ac.expected_risk(reg, 0.5, 10, **about).to_float(), 3, rtol=1e-14)
    np.testing.assert_allclose(ac.expected_validation_loss(reg, X_val, 0.5, 10, **about).to_float(), 3.5, rtol=1e-14)
    assert ac.d_expected_train_loss(reg, 0.5, 10, **about).sign == ac.d_expected_risk(reg, 0.5, 10, **about).sign == 0
    assert np.isnan(minimiser(ac.train_spectrum(reg, **about), 10))


def test_first_exit_is_that_of_the_trajectory():
    X, y, *_ = sample(6, 4)
    reg = ls.Regression.of(X, y)
    etas = np.array([0.1, 2.2, 4.0]) / reg.eigenvalues.max()
    found = ls.first_exit(reg, etas, 30, 10.0)
    for eta, first in zip(etas, found, strict=True):
        norms = [float(mp.norm(descend(X, y, eta, k)[0])) for k in range(1, 31)]
        assert first == next((k for k, norm in enumerate(norms, 1) if norm >= 10), np.inf)
    assert np.isinf(found[0])
    assert found[2] < 30


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_averages_over_the_targets_are_exact(n, d):
    """The loss is quadratic in (w*, xi), so its average is a sum over the axes of both."""
    X, _, X_val, _, _ = sample(n, d)
    m, sigma, signal, eta, t = len(X_val), 0.7, 2.0, 0.3, 5
    base = ls.Regression.of(X, np.zeros(n))
    risk = train = validation = 0.0
    for axis in range(d + n + m):
        w_star = np.eye(d)[axis] * np.sqrt(signal / d) if axis < d else np.zeros(d)
        noise = np.eye(n + m)[axis - d] * sigma if axis >= d else np.zeros(n + m)
        reg = ls.Regression.of(X, X @ w_star + noise[:n])
        risk += float(ls.risk(reg, w_star, eta, t).to_float())
        train += float(ls.train_loss(reg, eta, t).to_float())
        validation += float(ls.validation_loss(reg, X_val, X_val @ w_star + noise[n:], eta, t).to_float())
    about = {"sigma": sigma, "signal": signal}
    np.testing.assert_allclose(ac.expected_risk(base, eta, t, **about).to_float(), risk, rtol=1e-12)
    np.testing.assert_allclose(ac.expected_train_loss(base, eta, t, **about).to_float(), train, rtol=1e-12)
    found = ac.expected_validation_loss(base, X_val, eta, t, **about).to_float()
    np.testing.assert_allclose(found, validation, rtol=1e-12)


@pytest.mark.parametrize("name", ["risk", "train_loss", "validation_loss"])
def test_derivatives_of_the_averages(name):
    X, _, X_val, _, _ = sample(6, 9)
    reg = ls.Regression.of(X, np.zeros(6))
    more = (X_val,) if name == "validation_loss" else ()
    f, df = getattr(ac, f"expected_{name}"), getattr(ac, f"d_expected_{name}")
    for eta in (0.05, 0.4, 3.0):
        h = 1e-5 * eta
        ends = [f(reg, *more, eta + k * h, 9, sigma=0.5).to_float() for k in (-2, -1, 1, 2)]
        slope = np.dot(ends, [1, -8, 8, -1]) / (12 * h)
        np.testing.assert_allclose(df(reg, *more, eta, 9, sigma=0.5).to_float(), slope, rtol=1e-7)


def test_log_rate():
    X, y, *_ = sample(9, 4)
    reg = ls.Regression.of(X, y)
    value, slope = ls.train_loss(reg, 0.2, 6), ls.d_train_loss(reg, 0.2, 6)
    rate, d_rate = ls.log_rate(value, slope, 6)
    np.testing.assert_allclose(rate, np.log(value.to_float()) / 6)
    np.testing.assert_allclose(d_rate, slope.to_float() / value.to_float() / 6)


X3, Y3 = np.ones((3, 2)), np.ones(3)
BAD = [
    (lambda: ls.Regression.of(np.ones((0, 2)), np.ones(0)), "X is of shape .*empty"),
    (lambda: ls.Regression.of(np.ones((2, 0)), np.ones(2)), "X is of shape .*empty"),
    (lambda: ls.Regression.of(X3, np.ones(4)), r"y is of shape \(4,\)"),
    (lambda: ls.Regression.of(np.ones(3), Y3), "one row a sample|One row a sample"),
    (lambda: ls.Regression.of(X3 * np.nan, Y3), "X is nan"),
    (lambda: ls.Regression.of(X3, Y3 * np.inf), "y is inf"),
    (lambda: ls.Regression.of(X3, Y3, method="qr"), "method is 'qr'"),
    (lambda: ls.risk(ls.Regression.of(X3, Y3), np.ones(3), 0.1, 2), r"w_star is of shape \(3,\)"),
    (lambda: ls.validation_loss(ls.Regression.of(X3, Y3), np.ones((2, 3)), np.ones(2), 0.1, 2), "2 columns"),
    (lambda: ls.validation_loss(ls.Regression.of(X3, Y3), np.ones((0, 2)), np.ones(0), 0.1, 2), "X_val .*empty"),
    (lambda: ls.first_exit(ls.Regression.of(X3, Y3), 0.1, 3, 0.0), "radius is 0.0"),
    (lambda: ls.first_exit(ls.Regression.of(X3, Y3), 0.1, 0, 1.0), "steps is 0"),
    (lambda: ls.first_exit(ls.Regression.of(X3, Y3), 0.1, [3, 4], 1.0), "steps is of shape"),
    (lambda: ls.first_exit(ls.Regression.of(X3, Y3), 0.1, 3, np.ones(2)), "radius is"),
    (lambda: ac.expected_risk(ls.Regression.of(X3, Y3), 0.1, 3, sigma=-1.0), "sigma is -1"),
    (lambda: ac.expected_risk(ls.Regression.of(X3, Y3), 0.1, 3, sigma=[1.0, 2.0]), "Call it once a level"),
    (lambda: ac.expected_validation_loss(ls.Regression.of(X3, Y3), 3.0, 0.1, 3, sigma=1.0), r"X_val is of shape \(\)"),
    (lambda: ac.expected_train_loss(ls.Regression.of(X3, Y3), 0.1, 3, sigma=1.0, signal=-2.0), "signal is -2"),
    (lambda: ls.train_loss(ls.Regression.of(X3, Y3), np.nan, 3), "eta is nan"),
    (lambda: ls.train_loss(ls.Regression.of(X3, Y3), 0.1, 0), "steps is 0"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
