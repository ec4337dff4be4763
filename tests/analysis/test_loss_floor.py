"""The parts of loss_floor: minima downhill, walks that reach them or do not, and means that are extrapolated."""

import numpy as np
import pytest

import metagrad as mg
from analysis import _loss_floor_baselines as baselines
from analysis._loss_floor_limit import extrapolated, narrowing

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module", params=SEEDS)
def task(request):
    return mg.random_least_squares(2, 64, 16, sigma=0.3, seed=request.param, split=0.5)


@pytest.fixture(scope="module")
def group(task):
    return baselines.Group.of(task, 100)


def test_the_slope_is_that_of_the_engine(task, group):
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal("validation"), 0.3, steps=group.steps)
    assert float(group.slope(0.3)) == pytest.approx(float(found.grad.eta.to_float()), rel=1e-8)


def test_downhill_is_a_minimum_on_the_side_to_which_the_loss_falls(group):
    start = 0.5
    goal = group.downhill(start)
    assert (goal < start) == (group.slope(start) > 0)
    assert group.slope(0.999 * goal) < 0 < group.slope(1.001 * goal)


def test_sign_steps_reach_the_minimum_and_tossed_signs_seldom_do(group):
    goal, count = group.downhill(0.5), 100
    within = 2 * 0.035 / np.sqrt(count)
    assert abs(baselines.sign_walk(group, 0.5, 0.035, count) - goal) <= within
    ends = baselines.random_walks(0.5, 0.035, count, 500, np.random.default_rng(0))
    assert np.mean(np.abs(ends - goal) <= within) < 0.2


def test_a_fixed_outer_step_that_is_too_small_stays_and_one_too_large_leaves_the_minimum(group):
    ends = baselines.fixed_walks(group, 0.5, np.array([1e-6, 1e12]), 20)
    assert ends[0] == pytest.approx(0.5, abs=1e-5)
    assert abs(ends[1] - group.downhill(0.5)) > 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_the_extrapolation_finds_the_constant_and_the_scatter_its_ratio(seed):
    dims = np.array([40, 80, 160])
    gaps = np.random.default_rng(seed).standard_normal((3, 400)) / np.sqrt(dims)[:, None] + 0.2 + 8 / dims[:, None]
    value, (low, high) = extrapolated(tuple(dims), gaps, 0.999)
    assert low < 0.2 < high
    assert low < value < high < low + 0.2
    ratio, (low, high) = narrowing(gaps)
    assert ratio == pytest.approx(0.5, abs=0.08)
    assert low < ratio < high < low + 0.15


def test_a_nan_spoils_both_fits():
    gaps = np.ones((3, 10)) * np.arange(10)
    gaps[1, 2] = np.nan
    assert np.isnan(extrapolated((40, 80, 160), gaps, 0.95)[0])
    gaps[0, 0] = np.nan
    assert np.isnan(narrowing(gaps)[0])
