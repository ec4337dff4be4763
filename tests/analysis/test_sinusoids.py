"""Learned starts for sine waves: what each method trains, and the numbers that are made of errors."""

from dataclasses import replace

import numpy as np
import pytest

import metagrad as mg
from analysis import _sinusoid_by_hand as hand
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
        end = {"MAML, step 0.001": (0.8, 0.3), "Reptile": (0.11, 0.12), "first-order MAML": (1.5, 0.9)}.get(
            name, (0.9, 0.5)
        )
        level[1:] = np.linspace(*end, steps)
        if name == "Reptile":
            level[8] = 0.108
        each = level[None, :, None] * (1 + spread * draw.standard_normal((starts, 1, 1)))
        shape = (starts, steps + 1, config.tested)
        found.append({"before": 4 + 0 * draw.random(shape), "after": each * draw.uniform(0.9, 1.1, shape)})
    for level in (0.9, 0.8):  # by hand
        found.append({"after": level * draw.uniform(0.9, 1.1, (1, 11, config.tested))})
    return found


def test_the_verdict_of_the_published_settings():
    table = sinusoids.assemble(WHOLE, parts(WHOLE))
    verdict = sinusoids.verdict(WHOLE, table)
    assert tuple(check.key for check in verdict.checks) == sinusoids.keys(WHOLE)
    assert "reptile_8" in sinusoids.keys(WHOLE)
    assert verdict.holds, [check for check in verdict.checks if check.fails]


@pytest.mark.parametrize(
    ("name", "factor", "key"),
    [
        ("MAML, step 0.01", 2.4, "by_hand"),
        ("MAML, step 0.001", 0.4, "by_hand_smaller"),
        ("Reptile", 1.5, "reptile_8"),
        ("first-order MAML", 0.6, "first_order"),
    ],
)
def test_numbers_far_from_what_is_expected_fail(name, factor, key):
    found = parts(WHOLE, spread=0.01)
    found[[*runs.METHODS, *sinusoids.BY_HAND].index(name)]["after"] *= factor
    failed = {check.key for check in sinusoids.verdict(WHOLE, sinusoids.assemble(WHOLE, found)).checks if check.fails}
    assert key in failed


def test_the_interval_of_another_run():
    """The spread between starts by Student's t, with one more start to come, the other run's tasks, and ours."""
    table = sinusoids.assemble(WHOLE, parts(WHOLE))
    value, expected, (low, high) = sinusoids._beside(table, 8, 0.108, 0.018)
    means = table.arrays["reptile_runs"][:, 8]
    ours = table.arrays["reptile"][0][8]
    far = np.sqrt((4.302652730 * means.std(ddof=1)) ** 2 * 4 / 3 + 0.018**2 + ((ours[2] - ours[1]) / 2) ** 2)
    np.testing.assert_allclose([value, expected, high - value, value - low], [ours[0], 0.108, far, far], rtol=1e-8)


def test_ratios_and_their_intervals():
    draw = np.random.default_rng(0)
    other = draw.uniform(1, 9, 200)
    np.testing.assert_allclose(sinusoids._ratio(0.25 * other, other, is_paired=True), 0.25, rtol=1e-12)
    noisy = sinusoids._ratio(0.25 * other * draw.uniform(0.5, 1.5, 200), other, is_paired=True)
    assert noisy[1] < 0.25 < noisy[2]
    assert noisy[2] - noisy[1] < 0.06
    covered = 0
    for _ in range(300):
        a, b = draw.uniform(0, 1, 100), draw.uniform(0, 2, 100)
        _, low, high = sinusoids._ratio(a, b, is_paired=False)
        covered += low <= 0.5 <= high
    assert 0.9 < covered / 300 < 0.99


@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_the_meta_gradient_by_hand_is_that_of_the_engine(alpha):
    """In float64, on the same weights and points: to rounding."""
    draw = np.random.default_rng(3)
    support, query = ([a.astype(np.float64) for a in pair] for pair in hand.tasks(draw, 5))
    start = [0.4 * draw.standard_normal(shape) for shape in mg.Sinusoids.maml().net.shapes]
    task = mg.LearnedStart(mg.MLPRegressor(mg.Sinusoids.maml().net, *support, tuple(query)))
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final("validation"), mg.Joint(alpha, tuple(start)), steps=1)
    mine = hand.meta_gradient(start, support, query, alpha)
    for ours, other in zip(found.grad.task, mine, strict=True):
        np.testing.assert_allclose(ours.to_float(), other, rtol=1e-9, atol=1e-11 * np.abs(other).max())


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
