"""The benchmark of long horizons: its rows, at tiny sizes; no timing is asserted."""

import numpy as np

from benchmarks import lstm_horizon, registry
from benchmarks.settings import Settings


def test_a_row_a_horizon_and_the_longest_one_only_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(lstm_horizon, "TASKS", 2)
    for name, value in {"BASE": 3, "SHORT": (2, 5), "LONG": (7,), "LONGEST": (9,)}.items():
        monkeypatch.setattr(lstm_horizon, name, value)
    for full, horizons in ((False, [2, 5, 7]), (True, [2, 5, 7, 9])):
        rows = lstm_horizon.run(Settings(repetitions=1, full=full)).rows
        assert [row.ours for row in rows] == [f"T = {steps}" for steps in horizons]
        assert {row.peer for row in rows} == {"T = 3"}
        assert all(row.target == 1.5 and row.ratio > 0 and "carrier task" in row.note for row in rows)


def test_a_chaotic_run_is_not_made_again():
    """The cliff that was there: 60 times the cost of a step at T = 1000, for digits that roundings have taken."""
    for seed in (0, 1):
        found = lstm_horizon.calls(seed)(400)
        assert found.carrier == "task"
        assert np.isfinite(found.value.mantissa).all()
    assert "lstm_horizon" in registry.NAMES
