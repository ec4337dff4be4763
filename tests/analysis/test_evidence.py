"""No claim without evidence: each check of each experiment is seen failing, and a NaN fails every check that reads it.

The tables are the saved results in `tests/analysis/saved`: quick preset, seed 0. After a change of what an experiment
computes they are made again by
    python -m analysis run --out tests/analysis/saved --only <experiment>
What is wrong with them, check by check, is in `tests/analysis/spoiled`.
"""

import importlib
import zlib
from pathlib import Path

import numpy as np
import pytest

from analysis.framework import contract, store
from metagrad import tables
from tests.analysis.quantiles import each_found_once

SAVED = Path(__file__).with_name("saved")
_ENTRIES = 12  # of each array are made NaN, one at a time
_SHIFTS = (lambda x: -x, lambda x: 0 * x, lambda x: x + 1e30, lambda x: x - 1e30, lambda x: 3 * x + 1, lambda x: x / 7)


def saved(name):
    """Return an experiment, its config, and the table of its saved result."""
    experiment = contract.load(name)
    stem = SAVED / name / "quick-seed0"
    about = tables.unsealed(stem.with_suffix(".json").read_bytes(), {"units": dict, "names": dict, "sha256": str})
    arrays = store.load_arrays(stem.with_suffix(".npz"), about["sha256"])
    assert arrays is not None, f"run `python -m analysis run --out tests/analysis/saved --only {name}`"
    return experiment, experiment.presets["quick"], contract.Table(arrays, about["units"], about["names"])


def decide(experiment, table, changed):
    """Return the checks of a table with some arrays changed, by key."""
    spoiled = contract.Table(table.arrays | changed, table.units, table.names)
    with np.errstate(all="ignore"):
        return {check.key: check for check in experiment.decide("quick", spoiled).checks}


def spoiled(name):
    return importlib.import_module(f"tests.analysis.spoiled.{name}")


@pytest.mark.parametrize("name", contract.names())
def test_every_check_holds_on_the_saved_table_and_fails_on_one_that_is_spoiled(name):
    experiment, config, table = saved(name)
    found = decide(experiment, table, {})
    assert [key for key, check in found.items() if check.fails] == []
    corruptions = spoiled(name).corruptions(config, {key: array.copy() for key, array in table.arrays.items()})
    assert set(corruptions) == {key for key, check in found.items() if check.holds is not None}
    for key, changed in corruptions.items():
        for array, x in changed.items():
            assert x.shape == table.arrays[array].shape
            assert _no_numbers(x) == _no_numbers(table.arrays[array]), f"{key}: a NaN is no corruption"
        assert decide(experiment, table, changed)[key].fails, f"{name}: {key} holds on {sorted(changed)} spoiled"


def _no_numbers(x):
    return int(np.isnan(x).sum()) if x.dtype.kind == "f" else 0


def _differs(one, other):
    """Tell whether anything of a check is another."""
    if one.holds is other.holds and one.measured == other.measured and one.interval == other.interval:
        return False  # most are as they were, and arrays are slow to make
    pair = [np.array([x.measured, *(x.interval or ())], dtype=float) for x in (one, other)]
    return one.holds is not other.holds or not np.array_equal(*pair, equal_nan=True)


def _read(experiment, table, before, name, entry):
    """Return the keys of the checks that read an entry of an array (entry ...: any of it): a shift changes them."""
    keys = set()
    for shift in _SHIFTS:
        x = table.arrays[name].copy()
        x[entry] = shift(x[entry])
        if x.tobytes() == table.arrays[name].tobytes():  # 0 stays 0: this is the table as it was
            continue
        try:
            after = decide(experiment, table, {name: x})
        except (ValueError, IndexError, FloatingPointError, ArithmeticError):  # a number that nothing can be made of
            continue
        keys |= {key for key, check in before.items() if _differs(check, after[key])}
    return keys


@pytest.mark.parametrize("name", contract.names())
def test_a_nan_fails_every_check_that_reads_it(name, monkeypatch):
    each_found_once(monkeypatch)
    experiment, _, table = saved(name)
    before = decide(experiment, table, {})
    left_out = getattr(spoiled(name), "NAN_IS_DATA", {})
    assert set(left_out) <= set(table.arrays)
    stream = np.random.default_rng(zlib.crc32(name.encode()))
    judged = 0
    for array, x in table.arrays.items():
        if x.dtype.kind != "f" or array in left_out or not x.size:
            continue
        some = stream.choice(x.size, min(_ENTRIES, x.size), replace=False)
        for entry in (..., *(np.unravel_index(k, x.shape) for k in some)):
            if entry is not ... and np.isnan(x[entry]):
                continue
            nan = x.copy()
            nan[entry] = np.nan
            after = decide(experiment, table, {array: nan})
            assert list(after) == list(before)
            for key in _read(experiment, table, before, array, entry):
                judged += 1
                if before[key].holds is not None:
                    assert after[key].fails, f"{name}: {key} holds with a NaN in {array}{[entry]}"
    assert judged
