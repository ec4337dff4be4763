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
    losses = sum(sgd.expected(task.problem, task.measures[0], near, steps)[:, -1].to_float() for task in tasks)
    assert np.argmin(losses) == 1


def test_risks_are_those_of_the_recursion(table):
    task = [sgd_tuning._task(TINY, SHARD, 0, index) for index in range(TINY.tasks)]
    eta = table.arrays["eta"][1, 1, 1, 0]
    risks = [sgd.risk(one.problem, one.w_star, eta, 4)[-1].to_float() for one in task]
    assert table.arrays["risk"][1, 1, 1, 0] == pytest.approx(np.mean(risks), rel=1e-11)


def test_runs_agree_with_the_theory_and_not_with_another_risk(table):
    scatter, exact = sgd_tuning._agreement(table)
    assert scatter < 4.5
    assert exact < 1e-6
    other = sgd_tuning.Table(table.arrays | {"risk": 1.2 * table.arrays["risk"]}, {})
    assert sgd_tuning._agreement(other)[0] > 4.5


def test_the_verdict_fails_where_both_ways_of_tuning_are_exchanged(table):
    swapped = {
        name: x[:, ::-1] if name in ("risk", "time", "runs", "runs_error") else x for name, x in table.arrays.items()
    }
    verdict = sgd_tuning.verdict(TINY, sgd_tuning.Table(swapped, {}))
    failed = {check.key for check in verdict.checks if not check.holds}
    assert failed >= {"train_risk", "held_out_time"}
