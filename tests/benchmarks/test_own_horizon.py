"""The benchmark of a user's own loss at long horizons: its rows, at tiny sizes; no timing is asserted."""

import pytest

from benchmarks import own_horizon, registry
from benchmarks.settings import Settings

pytest.importorskip("numba")


def test_a_row_a_problem_and_horizon(monkeypatch):
    monkeypatch.setattr(own_horizon, "BASE", 60)
    monkeypatch.setattr(own_horizon, "LONG", (80, 100))
    rows = own_horizon.run(Settings(repetitions=1)).rows
    assert [row.ours for row in rows] == ["T = 80", "T = 100"] * 4
    assert {row.peer for row in rows} == {"T = 60"}
    assert all(row.target == 1.5 and row.ratio > 0 and "were replayed" in row.note for row in rows)
    assert "own_horizon" in registry.NAMES


def test_states_vanish_and_digits_do_not():
    found = own_horizon._vanishing(0)(400)()
    assert not found.status.any()
    assert 0 < abs(found.end.w).max() < 1e-15
