"""The phase diagram's finite sizes: step sizes between those of the grid, the error of the tuning, and the limit."""

import numpy as np
import pytest

from analysis import _phase_samples as samples
from metagrad.theory.least_squares import tuned_limit


@pytest.mark.parametrize("seed", [0, 1])
def test_the_least_loss_between_step_sizes_and_the_risk_there(seed):
    """Parabolas in the place on the grid are found exactly."""
    rng, place = np.random.default_rng(seed), np.arange(12.0)
    ends = rng.uniform(2, 9, size=(1, 2))
    loss = np.exp(0.3 * (place - ends[..., None]) ** 2)
    found = samples._lowest(loss)
    np.testing.assert_allclose(found.sum(axis=0), ends, rtol=1e-12)
    log_risk = rng.standard_normal((5, 2, 1)) + 0.1 * (place - 4.0) ** 2
    ratios = samples._medians(log_risk, np.arange(5)[None], found)
    at = 0.1 * (ends[0] - 4.0) ** 2
    whole, half = log_risk[:, 0, 4], log_risk[:, 1, 4]
    expected = [np.median(whole + at[0] - half - at[1]), at[0] - at[1]]
    np.testing.assert_allclose(ratios[0], expected, rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_averages_and_sampled_tasks_are_near_the_limit(seed):
    """And the sampled tasks' error is that of repetitions, within a factor 3."""
    ratio, sigma, steps = 2.0, 1.0, (10,)
    rng = np.random.default_rng(seed)
    limit = [
        np.log(
            tuned_limit.risk_tbt(10, ratio=ratio, sigma=sigma)
            / tuned_limit.risk_tbv(10, ratio=ratio, sigma=sigma, tuning=tuning)
        )
        for tuning in (tuned_limit.Tuning(), tuned_limit.Tuning(retrain=True))
    ]
    value, error = samples.average_ratios((80, 40), (sigma,), steps, 10, rng)[:, 0, :, 0]
    assert np.all(np.abs(value - limit) < 5 * error + 4 / 40)
    runs = np.array([samples.log_ratios((40, 20), sigma, steps, (10, 12), rng)[..., 0] for _ in range(12)])
    spread, told = runs[:, 0].std(axis=0, ddof=1), runs[:, 1].mean(axis=0)
    assert np.all((spread / 3 < told) & (told < 3 * spread))
    assert np.all(np.abs(runs[:, 0].mean(axis=0) - limit) < 5 * spread / np.sqrt(12) + 8 / 20)
