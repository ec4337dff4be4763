"""The SGD experiment: its choices are those of a fine grid, its runs follow the theory, its verdict can fail."""

import numpy as np
import pytest

from analysis import sgd_tuning
from analysis.framework.contract import Context
from metagrad.theory import sgd

TINY = sgd_tuning.Config(d=4, tasks=5, runs=40, batches=(1, 2, 0), epochs=(1, 16, 32))
SHARD = {"ratio": 4, "by": "validation", "batch": 2}


@pytest.fixture(scope="module")
def table():
    parts = [sgd_tuning.compute(TINY, shard, Context(0, "cpu")) for shard in sgd_tuning.shards(TINY)]
    return sgd_tuning.assemble(TINY, parts)


def test_the_choice_is_the_minimum_of_the_mean_objective(table):
    tasks = [sgd_tuning._task(TINY, SHARD, 0, index) for index in range(TINY.tasks)]
    steps = 16 * 8 // 2
    chosen = table.arrays["eta"][1, 1, 1, 1]
    near = chosen * np.array([0.97, 1.0, 1.03])
    losses = sum(sgd.expected(task.problem, task.objective, near, steps)[:, -1].to_float() for task in tasks)
    assert np.argmin(losses) == 1


def test_risks_are_means_over_targets_at_the_same_inputs(table):
    stream = np.random.default_rng(3)
    eta, risks = table.arrays["eta"][1, 1, 1, 0], table.arrays["risks"][1, 1, 1, 0]
    X = sgd_tuning._task(TINY, SHARD, 0, 2).problem.X
    found = []
    for _ in range(400):
        w_star = stream.standard_normal(4)
        w_star /= np.linalg.norm(w_star)
        problem = sgd.SgdProblem(X, X @ w_star + stream.standard_normal(len(X)), None, 2, replacement=False)
        found.append(float(sgd.risk(problem, w_star, eta, 4)[-1].to_float()))
    assert abs(np.mean(found) - risks[2]) < 4.5 * np.std(found) / 20
    assert abs(np.mean(found) - 1.3 * risks[2]) > 4.5 * np.std(found) / 20


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_runs_agree_with_the_theory_and_not_with_another_risk(seed):
    tasks = [sgd_tuning._task(TINY, SHARD, seed, index) for index in range(TINY.tasks)]
    steps = np.array([4])
    risks = np.array([sgd_tuning._risks(TINY, task, np.array([0.2]), steps)[0] for task in tasks])
    relative = sgd_tuning._runs(TINY, tasks, 0.2, 4, seed) / risks[:, None]
    assert abs(np.divide(*sgd_tuning._mean_and_error(relative, 1.0))) < 4.5
    assert abs(np.divide(*sgd_tuning._mean_and_error(relative, 1.5))) > 4.5


def test_full_batches_are_gradient_descent(table):
    assert table.arrays["full_batch"][~sgd_tuning._scatter(TINY)].max() < 1e-10
    assert not table.arrays["full_batch"][sgd_tuning._scatter(TINY)].any()
    task = sgd_tuning._task(TINY, SHARD | {"batch": 0}, 0, 0)
    assert sgd_tuning._full_batch(task, np.array([0.3, 0.5]), np.array([2, 7])).max() < 1e-10


@pytest.mark.parametrize("seed", range(3))
def test_intervals_of_ratios_cover_them(seed):
    stream = np.random.default_rng(seed)
    shared = stream.chisquare(6, (400, 20))
    above, below = (shared * stream.chisquare(20, (400, 20)) * mean for mean in (3.0, 2.0))
    ratio, (low, high) = sgd_tuning._ratios(above, below)
    assert 0.9 < np.mean((low <= 1.5) & (high >= 1.5)) < 0.98
    assert np.median(ratio) == pytest.approx(1.5, rel=0.02)


def test_the_verdict_fails_where_both_ways_of_tuning_are_exchanged(table):
    swapped = {name: x[:, ::-1] if name in ("risks", "time") else x for name, x in table.arrays.items()}
    verdict = sgd_tuning.verdict(TINY, sgd_tuning.Table(swapped, {}))
    assert {check.key for check in verdict.checks if check.fails} >= {"train_risk", "held_out_time"}
