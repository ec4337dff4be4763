"""The finite-dimension experiment: the law of its spectra, its first order in 1/d, and a verdict that can fail."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis import _first_order
from analysis import finite_dimension as experiment
from analysis.framework.contract import Context
from metagrad.theory.least_squares import Regression, average_case

CONFIG = replace(
    experiment.presets["quick"], dimensions=(50, 200, 1000), spectra=60, descents=(30, 60), targets=40, matrices=12
)


@pytest.fixture(scope="module")
def table():
    parts = [experiment.compute(CONFIG, shard, Context(0, "cpu")) for shard in experiment.shards(CONFIG)]
    return experiment.assemble(CONFIG, parts)


@pytest.mark.parametrize(("n", "d"), [(12, 5), (5, 12), (7, 7)])
def test_eigenvalues_have_the_law_of_gaussian_matrices(n, d):
    rng = np.random.default_rng(0)
    drawn = np.array([experiment._eigenvalues(n, d, rng) for _ in range(4000)])
    X = rng.standard_normal((4000, n, d))
    direct = np.linalg.svd(X, compute_uv=False) ** 2 / n
    assert drawn.shape == direct.shape
    for one, other in ((drawn.max(1), direct.max(1)), (drawn.min(1), direct.min(1)), (drawn.var(1), direct.var(1))):
        assert stats.ks_2samp(one, other).pvalue > 1e-3
    assert stats.ks_2samp(drawn.max(1) * 1.1, direct.max(1)).pvalue < 1e-3


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.5])
def test_the_first_order_of_moments_is_the_known_one(gamma):
    # E tr S = d, Var tr S = 2 gamma; E tr S^2 = d (1 + gamma) + gamma, for S = X'X/n
    assert _first_order.first_order(lambda s: s, gamma) == pytest.approx((0, 2 * gamma), abs=1e-12)
    mean, _ = _first_order.first_order(lambda s: s**2, gamma)
    assert mean == pytest.approx(gamma, rel=1e-12)


@pytest.mark.parametrize(("gamma", "d"), [(0.5, 8), (2.0, 8)])
def test_averages_need_the_spectrum_alone(gamma, d):
    config, n = replace(CONFIG, steps=5), round(d / gamma)
    shard, etas, rng = {"gamma": gamma, "d": d}, np.array([0.3, 0.1]), np.random.default_rng(0)
    drawn = np.array([experiment._given_spectrum(config, shard, etas, rng) for _ in range(600)])
    direct = []
    for _ in range(600):
        sample = Regression.of(rng.standard_normal((n, d)), np.zeros(n))
        found = (
            average_case.expected_train_loss(sample, etas, 5, sigma=1.0),
            average_case.expected_risk(sample, etas, 5, sigma=1.0),
            average_case.expected_validation_loss(sample, rng.standard_normal((n, d)), etas, 5, sigma=1.0),
        )
        direct.append(np.stack([value.to_float() for value in found], axis=-1))
    for index in np.ndindex(2, 3):
        assert stats.ks_2samp(drawn[:, *index], np.array(direct)[:, *index]).pvalue > 1e-4


@pytest.mark.parametrize("term", ["train", "risk"])
def test_slopes_of_the_terms_are_their_derivatives(term):
    s, eta, about, step = np.array([0.3, 1.1, 2.7]), 0.4, (7, 1.5, 0.8), 1e-6
    f, slope = getattr(_first_order, f"{term}_term"), getattr(_first_order, f"d_{term}_term")
    difference = (f(eta + step, *about)(s) - f(eta - step, *about)(s)) / (2 * step)
    np.testing.assert_allclose(slope(eta, *about)(s), difference, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_interval_of_a_quantile_covers_it(seed):
    x = np.abs(np.random.default_rng(seed).standard_normal((2000, 200)))
    for part, exact in ((0.5, 0.6745), (0.95, 1.95996)):
        _, low, high = experiment.quantile_interval(x, part, axis=1)
        assert 0.93 < np.mean((low <= exact) & (exact <= high)) < 0.99


@pytest.mark.parametrize("changed", ["law", "spread"])
def test_another_law_is_seen(table, changed):
    assert experiment.verdict(CONFIG, table).holds
    law = 2 * table.arrays["law"] if changed == "law" else table.arrays["law"] * [[[[1.0]]], [[[0.5]]]]
    checks = experiment.verdict(CONFIG, replace(table, arrays=table.arrays | {"law": law})).checks
    assert any(check.fails for check in checks if check.key in ("median", "quantile"))
