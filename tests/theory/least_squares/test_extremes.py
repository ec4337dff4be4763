"""Least squares at the ends of every range: horizons, step sizes, sizes of X and y, modes that y does not excite."""

import mpmath as mp
import numpy as np
import pytest

from metagrad.theory import least_squares as ls
from metagrad.theory.least_squares import average_case as ac
from metagrad.theory.least_squares import proportional_limit as pl
from metagrad.theory.least_squares import regression
from metagrad.theory.least_squares.krylov import krylov_regressions

RNG = np.random.default_rng(0)
X, Y, W = RNG.standard_normal((6, 4)), RNG.standard_normal(6), RNG.standard_normal(4)
X_VAL, Y_VAL = RNG.standard_normal((3, 4)), RNG.standard_normal(3)
METHODS = {
    "svd": ls.Regression.of,
    "gram": lambda X, y: ls.Regression.of(X, y, method="gram"),
    "krylov": lambda X, y: krylov_regressions(X, y, 4)[0],
    "krylov of X'X": lambda X, y: krylov_regressions(X, y, 4, method="gram")[0],
}


def diagonal(x, y, eta, t):
    """Every loss and slope for X = diag(x), as mpmath numbers."""
    n, m = len(x), len(X_VAL)
    x, y, eta = [mp.mpf(float(v)) for v in x], [mp.mpf(float(v)) for v in y], mp.mpf(float(eta))
    s = [v * v / n for v in x]
    a = [1 - eta * v for v in s]
    w = [(1 - a[j] ** t) * y[j] / x[j] for j in range(n)]
    dw = [t * a[j] ** (t - 1) * s[j] * y[j] / x[j] for j in range(n)]
    error = [mp.fdot(X_VAL[i, :n].tolist(), w) - Y_VAL[i] for i in range(m)]
    slope = [mp.fdot(X_VAL[i, :n].tolist(), dw) for i in range(m)]
    away = [w[j] - W[j] for j in range(n)]
    return {
        "T": mp.fsum((a[j] ** t * y[j]) ** 2 for j in range(n)) / (2 * n),
        "dT": -t * mp.fsum(a[j] ** (2 * t - 1) * s[j] * y[j] ** 2 for j in range(n)) / n,
        "V": mp.fdot(error, error) / (2 * m),
        "dV": mp.fdot(error, slope) / m,
        "R": mp.fdot(away, away),
        "dR": 2 * mp.fdot(away, dw),
    }


def found(reg, eta, t, d=3):
    validation, star = (X_VAL[:, :d], Y_VAL), W[:d]
    return {
        "T": ls.train_loss(reg, eta, t),
        "dT": ls.d_train_loss(reg, eta, t),
        "V": ls.validation_loss(reg, *validation, eta, t),
        "dV": ls.d_validation_loss(reg, *validation, eta, t),
        "R": ls.risk(reg, star, eta, t),
        "dR": ls.d_risk(reg, star, eta, t),
    }


def error(number, exact):
    if exact == 0 or number.sign != mp.sign(exact):
        return 0.0 if exact == 0 == number.sign else np.inf
    size = mp.log(abs(exact))
    return float(abs(mp.mpf(float(number.log)) - size) / max(1, abs(size)))


@pytest.mark.parametrize("y", [(1.0, 0, 0), (0, 0, 1.0), (1.0, 1e-140, 0), (1.0, 2.0, -1.0)])
@pytest.mark.parametrize("eta", [-0.1, 1e-300, 0.1, 0.6, 1.6, 5.0])
def test_slopes_far_below_and_above_the_floats(y, eta):
    """Where w_t has settled, slopes of validation loss and risk are numbers like exp(-1000), not 0."""
    x = np.array([1.0, 2.0, 3.0])
    reg = ls.Regression.of(np.diag(x), np.array(y))
    for t in (1, 2001, 30000):
        with mp.workdps(2000):  # 1 - a^t down to 0.4^2001
            exact = diagonal(x, y, eta, t) if t < 30000 or eta == 0.1 else {}
        for name, value in exact.items():
            assert error(found(reg, eta, t)[name], value) < 1e-12, (name, t)


def test_slopes_of_the_averages_and_of_the_limit():
    reg, t, eta = ls.Regression.of(X, Y), 40000, 0.3
    s, n, d = [mp.mpf(float(v)) for v in reg.eigenvalues], 6, 4
    with mp.workdps(4000):
        slope = mp.mpf(0)
        for v in s:
            a = 1 - mp.mpf(eta) * v
            slope += -2 * t * v * a ** (2 * t - 1) / d + 2 * v * (1 - a**t) / v * t * a ** (t - 1) / n
    assert mp.log10(abs(slope)) < -400
    assert error(ac.d_expected_risk(reg, eta, t, sigma=1.0), slope) < 1e-12

    t, gamma, eta = 1500, mp.mpf("0.0625"), mp.mpf("0.9375")
    with mp.workdps(700):
        slope = mp.mpf(0)
        for j in range(1, t + 2):
            theta = j * mp.pi / (t + 2)
            v, weight = 1 + gamma + 2 * mp.sqrt(gamma) * mp.cos(theta), 2 * mp.sin(theta) ** 2 / (t + 2)
            a = 1 - eta * v
            slope += weight * (-2 * t * a ** (2 * t - 1) + 2 * t * gamma * (1 - a**t) / v * a ** (t - 1))
    assert mp.log10(abs(slope)) < -330
    assert error(pl.d_risk(0.9375, t, gamma=0.0625, sigma=1.0), slope) < 1e-11


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1e-149, 1e-100, 1e-30, 1e60, 1e144])
@pytest.mark.parametrize("height", [1e-149, 1e-60, 1.0, 1e100])
def test_sizes_of_the_sample_only_change_the_units(size, height, method):
    if not 1e-290 < height / size < 1e290:
        return
    plain, scaled = METHODS[method](X, Y), METHODS[method](X * size, Y * height)
    eta = 0.3 / ls.Regression.of(X, Y).eigenvalues.max()
    units = {"T": (0, 2), "dT": (2, 2), "V": (0, 2), "dV": (2, 2), "R": (-2, 2), "dR": (0, 2)}
    one = found(plain, eta, 4, d=4)
    validation, star = (X_VAL * size, Y_VAL * height), W * (height / size)
    at = (eta / size / size, 4)
    other = {
        "T": ls.train_loss(scaled, *at),
        "dT": ls.d_train_loss(scaled, *at),
        "V": ls.validation_loss(scaled, *validation, *at),
        "dV": ls.d_validation_loss(scaled, *validation, *at),
        "R": ls.risk(scaled, star, *at),
        "dR": ls.d_risk(scaled, star, *at),
    }
    for name, (of_x, of_y) in units.items():
        expected = one[name].log + of_x * np.log(size) + of_y * np.log(height)
        np.testing.assert_allclose(other[name].log, expected, rtol=1e-14, atol=1e-12)


@pytest.mark.parametrize("size", [1e-149, 1e-80, 1e80, 1e144])
@pytest.mark.parametrize("level", [1e-70, 1.0, 1e70])
def test_sizes_in_the_averages(size, level):
    """E V and E T do not change when X and X_val grow by a factor, w* by its inverse; all grow with both levels."""
    eta, t, v = 0.3 / ls.Regression.of(X, Y).eigenvalues.max(), 5, 2 * np.log(level)
    plain, scaled = ls.Regression.of(X, Y), ls.Regression.of(X * size, Y)
    for name, of_x in (("train_loss", 0), ("d_train_loss", 2), ("validation_loss", 0), ("d_validation_loss", 2)):
        f = getattr(ac, f"d_expected_{name[2:]}" if name[:2] == "d_" else f"expected_{name}")
        more = ((X_VAL,), (X_VAL * size,)) if "validation" in name else ((), ())
        one = f(plain, *more[0], eta, t, sigma=1.0, signal=0.0)
        other = f(scaled, *more[1], eta / size / size, t, sigma=level, signal=0.0)
        np.testing.assert_allclose(other.log, one.log + v + of_x * np.log(size), rtol=1e-14, atol=1e-12)


@pytest.mark.parametrize("make", METHODS.values())
@pytest.mark.parametrize(("x", "y", "message"), [(1e-200, 1, "X is of"), (1e200, 1, "X is of"), (1, 1e200, "y is of")])
def test_sizes_beyond_are_refused(make, x, y, message):
    with pytest.raises(ValueError, match=message):
        make(X * x, Y * y)


@pytest.mark.parametrize("make", METHODS.values())
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("name", ["X", "y"])
def test_one_entry_beyond_is_refused_whatever_its_sign(make, sign, name):
    """The rest is of ordinary size, and of the other sign."""
    inputs, targets = -sign * abs(X), -sign * abs(Y)
    {"X": inputs, "y": targets}[name].flat[2] = sign * 1e200
    with pytest.raises(ValueError, match=f"{name} is of size 1e\\+200"):
        make(inputs, targets)


def test_products_beyond_are_refused():
    reg = ls.Regression.of(X * 1e-149, Y * 1e144)
    with pytest.raises(OverflowError, match="rescale"):
        ls.validation_loss(reg, X_VAL, Y_VAL, 0.1, 3)
    with pytest.raises(ValueError, match="ill-conditioned"):
        ls.Regression.of(np.diag([1e-150, 1e-160]), [1.0, 1.0])


def test_first_exit_of_long_runs_in_pieces(monkeypatch):
    reg = ls.Regression.of(X, Y)
    etas = np.array([1.9, 2.01, -0.001]) / reg.eigenvalues.max()
    whole = ls.first_exit(reg, etas, 3000, 5.0)
    far = ls.first_exit(reg, etas[1], 80000, 1e300)  # the square of the radius is beyond the floats
    np.testing.assert_allclose(far, 300 * np.log(10) / np.log(1.01), rtol=1e-2)
    monkeypatch.setattr(regression, "_BLOCK", 50)
    np.testing.assert_array_equal(ls.first_exit(reg, etas, 3000, 5.0), whole)
    assert np.isfinite(whole[1:]).all()


def test_no_step_sizes_and_no_horizons():
    reg = ls.Regression.of(X, Y)
    assert ls.risk(reg, W, [], 3).shape == (0,)
    assert ls.train_loss(reg, 0.1, np.array([], int)).shape == (0,)


def test_a_coefficient_of_1e_200_is_all_that_is_left_in_the_end():
    x, y, eta = np.array([1.0, 0.1]), np.array([1.0, 1e-200]), 1.0
    reg = ls.Regression.of(np.diag(x), y)
    for t in (10, 1000, 4000):
        with mp.workdps(60):
            exact = diagonal_excess(x, y, eta, t)
        for number, right in zip((ls.excess_train_loss(reg, eta, t), ls.d_train_loss(reg, eta, t)), exact, strict=True):
            assert error(number, right) < 1e-11
        found = ls.risk(reg, y / x, eta, t)
        with mp.workdps(60):
            a = [1 - mp.mpf(float(v)) ** 2 / 2 for v in x]
            right = mp.fsum((b**t * mp.mpf(float(v)) / mp.mpf(float(u))) ** 2 for b, u, v in zip(a, x, y, strict=True))
        assert error(found, right) < 1e-11


def diagonal_excess(x, y, eta, t):
    """The excess train loss of X = diag(x) and its slope, as mpmath numbers."""
    n, x, y = len(x), [mp.mpf(float(v)) for v in x], [mp.mpf(float(v)) for v in y]
    s = [v * v / n for v in x]
    a = [1 - eta * v for v in s]
    value = mp.fsum((b**t * v) ** 2 for b, v in zip(a, y, strict=True)) / (2 * n)
    return value, -t * mp.fsum(b ** (2 * t - 1) * u * v**2 for b, u, v in zip(a, s, y, strict=True)) / n
