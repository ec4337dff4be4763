"""The landscape experiment: its statistics of tasks, its first order, and step sizes that stay stable."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import meta_landscape as experiment
from analysis.finite_dimension import _eigenvalues

CONFIG = replace(experiment.presets["quick"], ratios=(0.5, 4.0), d=60, steps=10, points=3, tasks=30)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_slope_of_the_log_of_the_mean_loss(seed):
    logs, slopes = np.random.default_rng(seed).standard_normal((2, 2, 5, 30)) / 10
    found = experiment._samples(CONFIG, 4.0, np.stack([logs, slopes], axis=2))
    step = 1e-6
    moved = [np.log(np.mean(np.exp(10 * (logs + sign * step * slopes)), axis=-1)) for sign in (1, -1)]
    np.testing.assert_allclose(found["mean"][..., 1], (moved[0] - moved[1]) / (20 * step), rtol=1e-7)


@pytest.mark.parametrize("ratio", CONFIG.ratios)
def test_the_first_order_is_that_of_averages_over_inputs(ratio):
    """The mean train loss over X is the limit with its first order, and not the limit."""
    etas, n = np.array([0.4, 0.7]) * CONFIG.stable(ratio), round(ratio * CONFIG.d)
    expected = experiment._expected(CONFIG, ratio, etas)
    rng, found = np.random.default_rng(0), []
    for _ in range(4000):
        s = _eigenvalues(n, CONFIG.d, rng)[:, None]
        floor = max(0, 1 - CONFIG.d / n)
        found.append((np.sum((s / CONFIG.d + 1 / n) * (1 - etas * s) ** 20, axis=0) + floor) / 2)
    error = np.std(found, axis=0) / np.sqrt(len(found))
    limit, finite = (np.abs(np.mean(found, axis=0) - expected[name][0, :, 0]) for name in ("limit", "finite"))
    assert np.all(finite < 4 * error + expected["second"][0, :, 0])
    assert np.any(limit > 4 * error)


@pytest.mark.parametrize("seed", [0, 1])
def test_samples_below_the_stable_step_size_are_stable(seed):
    rng = np.random.default_rng(seed)
    for ratio in CONFIG.ratios:
        largest = [_eigenvalues(round(ratio * CONFIG.d), CONFIG.d, rng)[-1] for _ in range(1000)]
        unstable = np.mean(CONFIG.stable(ratio) * np.array(largest) > 2)
        assert unstable < 0.006
        assert np.mean(1.25 * CONFIG.stable(ratio) * np.array(largest) > 2) > 0.2
