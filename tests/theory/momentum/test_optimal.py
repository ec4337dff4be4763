"""The best step size and momentum: as t grows, at a finite horizon, and on average with one pair per step."""

import numpy as np
import pytest

from metagrad.theory import Spectrum
from metagrad.theory.least_squares.marchenko_pastur import rule as nodes_of
from metagrad.theory.least_squares.marchenko_pastur import unfitted
from metagrad.theory.momentum import log_objective
from metagrad.theory.momentum.marchenko_pastur import (
    best_constant,
    coefficients,
    constant_risk,
    limit_coefficients,
    risk,
)
from metagrad.theory.momentum.optimal import best, nesterov, polyak
from metagrad.theory.momentum.roots import roots, stability_limit

EIGENVALUES = np.linspace(1.0, 100.0, 60)


@pytest.mark.parametrize(("rule", "tuned"), [("heavy_ball", polyak), ("nesterov", nesterov)])
def test_the_asymptotic_parameters_have_the_least_radius(rule, tuned):
    eta, beta, rate = (float(x) for x in tuned(1.0, 100.0))

    def radius(eta, beta):
        return roots(rule, eta * EIGENVALUES, beta).radius.max()

    assert radius(eta, beta) == pytest.approx(rate, abs=1e-7)
    for by in (1e-3, -1e-3):
        assert radius(eta * (1 + by), beta) > rate
        assert radius(eta, beta * (1 + by)) > rate


@pytest.mark.parametrize("rule", ["heavy_ball", "nesterov"])
def test_the_stability_limit_is_where_the_radius_is_one(rule):
    beta = np.linspace(0.0, 0.99, 12)
    h = stability_limit(rule, beta)
    assert roots(rule, h, beta).radius == pytest.approx(1.0, abs=1e-12)
    assert np.all(roots(rule, 0.99 * h, beta).radius < 1)


@pytest.mark.parametrize(("rule", "tuned"), [("heavy_ball", polyak), ("nesterov", nesterov)])
@pytest.mark.parametrize("t", [5, 30])
def test_the_best_pair_of_a_horizon_is_better_than_any_of_a_fine_grid(rule, tuned, t):
    spectrum = Spectrum.diagonal(EIGENVALUES, np.ones(60))
    found = best(rule, spectrum, t, grid=40)
    assert found.left < 1e-5
    draw = np.random.default_rng(t)
    beta = draw.uniform(0, 1, 3000)
    eta = draw.uniform(0, 1, 3000) * stability_limit(rule, beta) / 100
    assert log_objective(rule, spectrum, eta, beta, t).min() >= found.G
    eta, beta, _ = tuned(1.0, 100.0)
    assert float(log_objective(rule, spectrum, eta, beta, t)) - 0.02 > found.G


@pytest.mark.parametrize("gamma", [0.25, 1.0, 2.0])
def test_the_method_of_marchenko_and_pastur_has_the_risk_that_is_told(gamma):
    t = 6
    s, w = nodes_of(gamma, t + 1)
    etas, betas = coefficients(gamma, t)
    r, before = np.ones_like(s), np.ones_like(s)
    for eta, beta in zip(etas, betas, strict=True):
        r, before = r - eta * s * r + beta * (r - before), r
    found = (w / s * r**2).sum() + unfitted(gamma, t + 1)[1]
    assert found == pytest.approx(risk(gamma, t), rel=1e-12)
    schedule = 1 / (1 + gamma + 2 * np.sqrt(gamma) * np.cos(np.arange(1, t + 1) * np.pi / (t + 1)))
    assert r == pytest.approx(np.prod(1 - schedule[:, None] * s, axis=0), abs=1e-12)


@pytest.mark.parametrize("gamma", [0.25, 1.0, 4.0])
def test_its_parameters_tend_to_polyaks(gamma):
    etas, betas = coefficients(gamma, 4000)
    eta, beta = limit_coefficients(gamma)
    assert etas[-1] == pytest.approx(eta, rel=1e-3)
    assert betas[-1] == pytest.approx(beta, rel=1e-3)
    if gamma != 1.0:
        edges = (1 - np.sqrt(gamma)) ** 2, (1 + np.sqrt(gamma)) ** 2
        assert polyak(*edges)[0] == pytest.approx(float(eta), rel=1e-12)
        assert polyak(*edges)[1] == pytest.approx(float(beta), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_no_constant_pair_is_as_good_and_the_best_one_beats_the_limit(gamma):
    eta, beta, found = best_constant(gamma, 6)
    assert risk(gamma, 6) < found < constant_risk(gamma, *limit_coefficients(gamma), 6)
    assert constant_risk(gamma, eta * 1.01, beta, 6) > found
    assert constant_risk(gamma, eta, beta * 0.99, 6) > found


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="expected at most 1"):
        best_constant(2.0, 3)
    with pytest.raises(ValueError, match="expected numbers above 0"):
        polyak(0.0, 1.0)
