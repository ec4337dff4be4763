"""The proportional limit: exact moments, adaptive quadrature, and averages of growing dimension."""

from fractions import Fraction
from math import comb

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad.theory.least_squares import Regression
from metagrad.theory.least_squares import average_case as ac
from metagrad.theory.least_squares import marchenko_pastur as law
from metagrad.theory.least_squares import proportional_limit as pl


def moment(k, gamma):
    """The k-th moment of the Marchenko-Pastur law: a sum of Narayana numbers."""
    return sum(Fraction(comb(k, j) * comb(k - 1, j), j + 1) * gamma**j for j in range(k)) if k else Fraction(1)


@pytest.mark.parametrize("gamma", [Fraction(1, 7), Fraction(1, 2), Fraction(1), Fraction(5, 2), Fraction(40)])
def test_the_rule_is_exact_up_to_its_degree_and_not_beyond(gamma):
    size = 6
    nodes, weights = law.rule(float(gamma), size)
    for degree in range(2 * size):
        exact = float(moment(degree + 1, gamma))
        np.testing.assert_allclose(np.sum(weights * nodes**degree), exact, rtol=1e-13)
    beyond = float(moment(2 * size + 1, gamma))
    missing = beyond - np.sum(weights * nodes ** (2 * size))  # the squared norm of the next orthogonal polynomial
    np.testing.assert_allclose(missing, float(gamma) ** size, atol=1e-14 * beyond)


@given(st.floats(0.01, 100.0), st.integers(1, 30))
def test_what_no_weights_can_fit(gamma, size):
    with mp.workdps(120):
        theta = [j * mp.pi / (size + 1) for j in range(1, size + 1)]
        g = mp.mpf(gamma)
        total = sum(2 * mp.sin(x) ** 2 / (size + 1) / (1 + g + 2 * mp.sqrt(g) * mp.cos(x)) for x in theta)
        targets, weights = law.unfitted(gamma, size)
        np.testing.assert_allclose(float(targets), float(1 - g * total), rtol=1e-12)
        np.testing.assert_allclose(float(weights), float(1 - total), rtol=1e-12)


def test_density_has_mass_one_with_its_atom():
    for gamma in (0.3, 1.0, 2.5):
        low, high = (float(s) for s in law.edges(gamma))
        # s = middle + radius cos(theta): the square roots at the edges become smooth
        theta = (np.arange(4000) + 0.5) * np.pi / 4000
        s = (low + high) / 2 + (high - low) / 2 * np.cos(theta)
        mass = np.sum(law.density(s, gamma) * np.sin(theta)) * (high - low) / 2 * np.pi / 4000
        np.testing.assert_allclose(mass + law.atom(gamma), 1, rtol=1e-3)
    np.testing.assert_array_equal(law.density([0.01, 9.0], 0.3), [0, 0])


def curves(gamma, eta, t, variance, signal):
    """Return R and T by exact arithmetic on the moments."""
    a2t = [Fraction(comb(2 * t, k)) * (-eta) ** k for k in range(2 * t + 1)]  # (1 - eta s)^{2t} by powers of s
    at = [Fraction(comb(t, k)) * (-eta) ** k for k in range(t + 1)]
    h = [-at[k + 1] for k in range(t)]  # (1 - (1 - eta s)^t)/s
    h2 = [sum((h[i] * h[k - i] for i in range(t) if 0 <= k - i < t), Fraction(0)) for k in range(2 * t - 1)]

    def mean(coefficients, power=0):
        return sum(c * moment(k + power, gamma) for k, c in enumerate(coefficients))

    risk = signal * mean(a2t) + variance * gamma * mean(h2, 1)
    train = (signal * mean(a2t, 1) + variance * (1 - gamma) + variance * gamma * mean(a2t)) / 2
    return risk, train


@pytest.mark.parametrize("gamma", [Fraction(1, 3), Fraction(1), Fraction(3)])
@pytest.mark.parametrize("t", [1, 2, 9])
def test_curves_and_slopes_are_exact(gamma, t):
    about = {"gamma": float(gamma), "sigma": np.sqrt(0.75), "signal": 2.0}
    for eta in (Fraction(1, 64), Fraction(1, 4), Fraction(5, 8), Fraction(3)):
        step = eta / 2**40
        (risk, train), above, below = (curves(gamma, x, t, Fraction(3, 4), 2) for x in (eta, eta + step, eta - step))
        at = float(eta), t
        np.testing.assert_allclose(pl.risk(*at, **about).to_float(), float(risk), rtol=1e-13)
        np.testing.assert_allclose(pl.train_loss(*at, **about).to_float(), float(train), rtol=1e-13)
        np.testing.assert_allclose(pl.validation_loss(*at, **about).to_float(), float(risk) / 2 + 0.375, rtol=1e-13)
        slopes = [float((x - y) / (2 * step)) for x, y in zip(above, below, strict=True)]
        np.testing.assert_allclose(pl.d_risk(*at, **about).to_float(), slopes[0], rtol=1e-10)
        np.testing.assert_allclose(pl.d_validation_loss(*at, **about).to_float(), slopes[0] / 2, rtol=1e-10)
        np.testing.assert_allclose(pl.d_train_loss(*at, **about).to_float(), slopes[1], rtol=1e-10)


def test_long_horizons_end_where_they_must():
    for gamma in (0.5, 2.0):
        risk = pl.risk(1 / (1 + gamma), 20000, gamma=gamma, sigma=1.0).to_float()
        exact = gamma / (1 - gamma) if gamma < 1 else 1 - 1 / gamma + 1 / (gamma - 1)
        np.testing.assert_allclose(risk, exact, rtol=1e-12)
        train = pl.train_loss(1 / (1 + gamma), 20000, gamma=gamma, sigma=1.0)
        if gamma < 1:
            np.testing.assert_allclose(train.to_float(), (1 - gamma) / 2, rtol=1e-12)
        else:  # every target is fitted: the loss falls like the slowest mode, at any size
            rate = np.log(1 - (1 - np.sqrt(gamma)) ** 2 / (1 + gamma)) * 2
            np.testing.assert_allclose(train.log / 20000, rate, rtol=1e-2)


def test_beyond_stability_the_values_leave_the_floats_and_stay_right():
    found = pl.risk(3.0, 1000, gamma=1.0, sigma=1.0)
    with mp.workdps(60):
        # the largest node dominates; the whole sum, in many digits
        size = 1001
        nodes = [2 + 2 * mp.cos(j * mp.pi / (size + 1)) for j in range(1, size + 1)]
        ws = [2 * mp.sin(j * mp.pi / (size + 1)) ** 2 / (size + 1) for j in range(1, size + 1)]
        bias = sum(w / s * (1 - 3 * s) ** 2000 for s, w in zip(nodes, ws, strict=True)) + mp.mpf(1) / (size + 1)
        noise = sum(w * ((1 - (1 - 3 * s) ** 1000) / s) ** 2 for s, w in zip(nodes, ws, strict=True))
        np.testing.assert_allclose(float(found.log), float(mp.log(bias + noise)), rtol=1e-13)
    assert found.log10 > 2000


def test_averages_given_the_inputs_approach_the_limit():
    """The distance falls with d: at gamma = 1/2 by a factor of 3 and more from d = 20 to d = 320."""
    eta, t = np.array([0.05, 0.3, 0.55]), 12
    distance = []
    for d in (20, 320):
        rng = np.random.default_rng([d])
        found = []
        for _ in range(4):
            reg = Regression.of(rng.standard_normal((2 * d, d)), np.zeros(2 * d), method="gram")
            found.append([f(reg, eta, t, sigma=1.0).to_float() for f in (ac.expected_risk, ac.expected_train_loss)])
        limit = [f(eta, t, gamma=0.5, sigma=1.0).to_float() for f in (pl.risk, pl.train_loss)]
        distance.append(np.max(np.abs(np.mean(found, axis=0) / limit - 1)))
    assert distance[1] < distance[0] / 3
    assert distance[1] < 0.01


def test_arguments_broadcast():
    eta, gamma, sigma = np.full((4, 1, 1), 0.2), np.array([[0.5], [2.0], [1.0]]), np.array([0.0, 1.0])
    for f in (pl.risk, pl.d_risk, pl.train_loss, pl.d_train_loss):
        grid = f(eta, 5, gamma=gamma, sigma=sigma)
        assert grid.shape == (4, 3, 2)
        np.testing.assert_allclose(grid.log[0, 1, 1], f(0.2, 5, gamma=2.0, sigma=1.0).log, rtol=1e-15)


def test_points_in_blocks(monkeypatch):
    """Where the nodes of all points would fill the memory, a few points at a time: the same numbers."""
    eta, about = np.full((4, 1, 1), 0.2), {"gamma": np.array([[0.5], [2.0], [1.0]]), "sigma": np.array([0.0, 1.0])}
    curves = (pl.risk, pl.d_risk, pl.train_loss, pl.d_train_loss, pl.risk_gain)
    whole = [f(eta, 5, **about) for f in curves]
    monkeypatch.setattr(pl, "_NODES_AT_ONCE", 20)
    for f, expected in zip(curves, whole, strict=True):
        found = f(eta, 5, **about)
        np.testing.assert_array_equal(found.sign, expected.sign)
        np.testing.assert_allclose(found.log, expected.log, rtol=1e-14)


def test_the_gain_is_what_the_risk_lacks_to_the_signal():
    for eta, t in ((0.2, 3), (0.7, 30), (1.3, 4), (-0.1, 5)):
        about = {"gamma": 0.4, "sigma": 0.6, "signal": 2.0}
        gain = pl.risk_gain(eta, t, **about).to_float()
        np.testing.assert_allclose(gain, 2.0 - pl.risk(eta, t, **about).to_float(), rtol=1e-12)
    small = pl.risk_gain(1e-30, 3, gamma=0.4, sigma=0.6).to_float()
    np.testing.assert_allclose(small, 6e-30, rtol=1e-12)  # 2t eta


def test_the_lower_edge_next_to_equal_numbers():
    gap = 2.0**-40
    with mp.workdps(60):
        exact = (1 - mp.sqrt(1 + mp.mpf(gap))) ** 2
    np.testing.assert_allclose(float(law.edges(1 + gap)[0]), float(exact), rtol=1e-14)


BAD = [
    (lambda: pl.risk(0.1, 3, gamma=0.0, sigma=1.0), "gamma is 0"),
    (lambda: pl.risk(0.1, 3, gamma=1.0, sigma=-1.0), "sigma is -1"),
    (lambda: pl.train_loss(0.1, 3, gamma=1.0, sigma=1.0, signal=-1.0), "signal is -1"),
    (lambda: pl.train_loss(np.inf, 3, gamma=1.0, sigma=1.0), "eta is inf"),
    (lambda: pl.risk(0.1, 0, gamma=1.0, sigma=1.0), "steps is 0"),
    (lambda: pl.risk(0.1, [1, 2], gamma=1.0, sigma=1.0), "one horizon"),
    (lambda: law.rule(1.0, 0), "size is 0"),
    (lambda: law.unfitted(1.0, 0), "size is 0"),
    (lambda: pl.risk(0.1, 3, gamma=1e-80, sigma=1.0), "gamma is 1e-80"),
    (lambda: pl.risk(0.1, 3, gamma=1.0, sigma=[1e80, 0.0]), r"sigma is 1e\+80"),
    (lambda: pl.risk(0.1, 3, gamma=1.0, sigma=1.0, signal=1e-80), "signal is 1e-80"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
