"""The short-horizon experiment: its verdict holds, and can fail; its runs follow the theory."""

import numpy as np
import pytest

from analysis import short_horizon
from analysis.framework.contract import Context, Table

TINY = short_horizon.Config((1, 10, 100), 10, (1, 2, 5), runs=2000)


@pytest.fixture(scope="module", params=[0, 1])
def table(request):
    seen = Context(request.param, "cpu")
    parts = [short_horizon.compute(TINY, shard, seen) for shard in short_horizon.shards(TINY)]
    return short_horizon.assemble(TINY, parts)


def failing(config, table) -> list[str]:
    return [check.key for check in short_horizon.verdict(config, table).checks if check.fails]


def test_the_verdict_holds_on_a_small_experiment(table):
    assert failing(TINY, table) == []


def test_the_verdict_fails_where_greedy_and_optimal_are_exchanged(table):
    swapped = table.arrays | {"losses": table.arrays["losses"][:, [1, 0, 2]]}
    failed = failing(TINY, Table(swapped, {}))
    assert set(failed) >= {"bias_10", "runs"}


def test_runs_scatter_around_the_theory_all_along(table):
    arrays = table.arrays
    deviation = (arrays["shown_runs"] - arrays["shown_losses"]) / arrays["shown_runs_error"]
    assert np.abs(deviation).max() < 4.5
    assert np.abs(deviation).mean() > 0.2  # the error bars are not too wide either
