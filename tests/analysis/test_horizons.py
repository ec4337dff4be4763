"""What rounding may shift the horizon of breakdown by: a bound that holds, and that a wrong prediction misses."""

import numpy as np
import pytest

from analysis import horizons
from metagrad.theory.quadratic.horizons import RANGES

CONFIG = horizons.Config(etas=12, longest=6_000)


@pytest.fixture(scope="module")
def table():
    return horizons.assemble(CONFIG, [horizons.compute(CONFIG, shard, None) for shard in horizons.shards(CONFIG)])


@pytest.mark.parametrize("name", horizons.DTYPES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_power_that_is_rounded_step_by_step_drifts_no_farther_than_its_bound(name, seed):
    dtype = horizons._dtype(name)
    number = RANGES[name]
    a = np.random.default_rng(seed).uniform(1.01, 1.9, 30).astype(dtype)
    exact = np.log2(a.astype(np.float64))
    count = np.floor(0.8 * np.log2(number.max) / exact).astype(int).clip(max=3000)
    drift = np.log2(horizons._power(np.ones_like(a), a, count, dtype).astype(np.float64)) - count * exact
    assert np.all(np.abs(drift) <= count * np.log2(1 + number.eps / 2) + 1e-9)


@pytest.mark.parametrize("name", horizons.DTYPES)
@pytest.mark.parametrize("wrong", ["without the factor t", "half the range"])
def test_a_wrong_prediction_is_out_of_what_rounding_allows(table, name, wrong):
    """In each dtype alone, bfloat16 too, whose roundings allow the most."""
    row, expanding = horizons.DTYPES.index(name), table.arrays["etas"] > 2
    found = table.arrays["plain_measured"].copy()
    log_a = np.log(np.abs(1 - table.arrays["etas"]))
    other = found[row] + np.log(found[row]) / (2 * log_a) if wrong == "without the factor t" else found[row] / 2
    found[row] = np.where(expanding, np.round(other), found[row])
    spoiled = horizons.Table(table.arrays | {"plain_measured": found}, table.units, table.names)
    before, after = (horizons.verdict(CONFIG, each).checks[0] for each in (table, spoiled))
    assert (before.key, before.holds, after.holds) == ("plain_overflow", True, False)


def test_only_bfloat16_is_allowed_more_than_a_step_or_two(table):
    checks = {check.key: check.measured for check in horizons.verdict(CONFIG, table).checks}
    assert max(checks[f"allowed_{name}"] for name in ("float16", "float32", "float64")) <= 2
    assert 2 < checks["allowed_bfloat16"] <= 0.06 * table.arrays["log_latest"][1][table.arrays["etas"] > 2].max()
    assert all(checks[f"gap_{name}"] <= checks[f"allowed_{name}"] for name in horizons.DTYPES)
