"""Learned starts for sine waves: what each method trains, and the numbers that are made of errors."""

from dataclasses import replace

import numpy as np
import pytest

import metagrad as mg
from analysis import _sinusoid_runs as runs
from analysis import sinusoids
from analysis.framework.contract import Context

WHOLE = replace(sinusoids.presets["default"], tested=40, reptile_tested=40)


def parts(config, seed=0, spread=0.05):
    """Errors like those that were measured before, without any training."""
    draw, found = np.random.default_rng(seed), []
    for name in runs.METHODS:
        starts = sinusoids._starts(config, name)
        steps = runs.METHODS[name].test_steps
        level = 4.0 * np.ones(steps + 1)
        end = {"MAML, step 0.001": (0.809, 0.321), "Reptile": (0.108, 0.121)}.get(name, (0.953, 0.576))
        level[1:] = np.linspace(*end, steps)
        if name == "Reptile":
            level[8] = 0.108
        each = level[None, :, None] * (1 + spread * draw.standard_normal((starts, 1, 1)))
        shape = (starts, steps + 1, config.tested)
        found.append({"before": 4 + 0 * draw.random(shape), "after": each * draw.uniform(0.9, 1.1, shape)})
    return found


def test_the_verdict_of_the_published_settings_has_the_known_numbers():
    table = sinusoids.assemble(WHOLE, parts(WHOLE))
    verdict = sinusoids.verdict(WHOLE, table)
    assert tuple(check.key for check in verdict.checks) == sinusoids.keys(WHOLE)
    assert {"maml_1", "maml_10", "smaller_1", "smaller_10", "reptile_8"} <= set(sinusoids.keys(WHOLE))
    assert verdict.holds, [check for check in verdict.checks if check.fails]


@pytest.mark.parametrize("name", ["MAML, step 0.01", "MAML, step 0.001", "Reptile"])
def test_numbers_far_from_the_known_ones_fail(name):
    found = parts(WHOLE, spread=0.01)
    found[list(runs.METHODS).index(name)]["after"] *= 1.5
    failed = {check.key for check in sinusoids.verdict(WHOLE, sinusoids.assemble(WHOLE, found)).checks if check.fails}
    assert failed & {"MAML, step 0.01": {"maml_1"}, "MAML, step 0.001": {"smaller_1"}, "Reptile": {"reptile_8"}}[name]


def test_the_interval_of_another_run():
    """The spread between starts by Student's t, with one more start to come, the other run's tasks, and ours."""
    table = sinusoids.assemble(WHOLE, parts(WHOLE))
    value, expected, (low, high) = sinusoids._beside(table, "MAML, step 0.01", 1, 0.953, 0.08)
    means = table.arrays["runs"][0][:, 1]
    ours = table.arrays["error"][0][1]
    far = np.sqrt((4.302652729696 * means.std(ddof=1)) ** 2 * 4 / 3 + 0.08**2 + ((ours[2] - ours[1]) / 2) ** 2)
    np.testing.assert_allclose([value, expected, high - value, value - low], [ours[0], 0.953, far, far], rtol=1e-10)


def test_a_ratio_is_paired():
    other = np.random.default_rng(0).uniform(1, 9, 200)
    ratio, low, high = sinusoids._ratio(0.25 * other, other)
    np.testing.assert_allclose([ratio, low, high], 0.25, rtol=1e-12)
    noisy = sinusoids._ratio(0.25 * other * np.random.default_rng(1).uniform(0.5, 1.5, 200), other)
    assert noisy[1] < 0.25 < noisy[2]
    assert noisy[2] - noisy[1] < 0.06


@pytest.mark.parametrize("name", runs.METHODS)
def test_what_a_method_trains(name):
    starts = 1 if runs.METHODS[name].per_coordinate else 2
    first, last = runs.trained(name, 2, starts, seed=0)
    moved = [not np.array_equal(a, b) for a, b in zip(first.task, last.task, strict=True)]
    # weights near 0 make the gradient of the first layers vanish in float32 at times, never that of the last
    assert moved[-1]
    of_rule = zip(mg.ad.leaves(first.rule), mg.ad.leaves(last.rule), strict=True)
    assert all(np.array_equal(a, b) for a, b in of_rule) is not (name == "Meta-SGD")
    assert all(leaf.dtype == np.float32 for leaf in mg.ad.leaves(last))
    curves = runs.tested(name, last, starts, 7, seed=5)
    assert curves.shape == (starts, runs.METHODS[name].test_steps + 1, 7)
    if starts == 2:
        assert not np.array_equal(curves[0], curves[1]), "tasks of their own, so starts of their own"


def test_shards_are_functions_of_the_seed():
    tiny = replace(sinusoids.presets["quick"], iterations=1, reptile_iterations=1, tested=3, reptile_tested=3)
    shard = {"method": "Reptile"}
    one, again, other = (sinusoids.compute(tiny, shard, Context(seed, "cpu")) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one["after"], again["after"])
    assert not np.array_equal(one["after"], other["after"])
