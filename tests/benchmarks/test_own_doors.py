"""The benchmark of a user's own loss by every door: its rows, at tiny sizes; no timing is asserted."""

import pytest

from benchmarks import own_doors, registry
from benchmarks.settings import Settings

pytest.importorskip("numba")


def test_a_row_a_door(monkeypatch):
    monkeypatch.setattr(own_doors, "SIZES", (2, 12, 3))
    monkeypatch.setattr(own_doors, "STEPS", 12)
    monkeypatch.setattr(own_doors, "_BEFORE", 4)
    every = own_doors.doors()
    assert len(every) == 18
    some = {name: every[name] for name in ("rollout", "windows of 10 steps", "minibatches picked by an index")}
    monkeypatch.setattr(own_doors, "doors", lambda: some)
    rows = own_doors.run(Settings(repetitions=1)).rows
    assert [row.what.split(":")[0] for row in rows] == [*some]
    assert {(row.ours, row.peer) for row in rows} == {("replay, compiled", "tape")}
    assert all(row.agrees and row.ratio > 0 and row.note.endswith("the same bits") for row in rows)
    assert "own_doors" in registry.NAMES
