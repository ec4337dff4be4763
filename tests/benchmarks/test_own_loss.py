"""The user's own loss and rule at tiny sizes: every way and every peer computes the same numbers; nothing is timed."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import own_floor, own_loss, own_loss_child, peers, registry
from benchmarks.own_tasks import ADAM, LSTM, Case, given
from benchmarks.results import Row

TINY = [
    Case("logistic", (2, 6, 3), 9),
    Case("logistic", (2, 6, 3), 9, ADAM),
    Case("network", (5, 4, 3, 6), 8),
    Case("lstm_rule", (2, 6, 3, 4), 8, LSTM),
    Case("decayed", (2, 6, 3), 9),
    Case("classes", (2, 6, 3, 4), 9),
]


def tolerance(case):
    # peers take 1 - beta2^t as it is written: of float32's seven digits few are left at t = 1, 2, ...
    return 1e-9 if case.dtype == "float64" else 5e-2 if case.rule == ADAM else 1e-4


@pytest.mark.parametrize(("dtype", "seed"), [("float64", 0), ("float64", 1), ("float32", 2)])
@pytest.mark.parametrize("case", TINY, ids=lambda case: f"{case.kind}-{case.rule}")
def test_every_call_is_the_same_meta_gradient(case, dtype, seed):
    case = replace(case, dtype=dtype, seed=seed)
    found, _ = peers.load_all(list(own_loss.PEERS), own_loss.PEERS)
    values = {name: call() for name, call in own_loss.calls(case, found, own_loss.BESIDE).items()}
    expected = values.pop(own_loss.TAPE)
    assert set(own_loss.ways()) <= {own_loss.TAPE, *values}
    assert all(value.dtype == dtype for value in expected)
    for name, value in values.items():
        for a, b in zip(value, expected, strict=name != own_loss.JAX_ETA):
            np.testing.assert_allclose(a, b, rtol=tolerance(case), atol=1e-5 * np.abs(b).max(), err_msg=name)


@pytest.mark.parametrize("case", TINY[::3], ids=lambda case: case.kind)
def test_rows_hold_the_replay_against_every_peer_that_has_the_problem(case):
    found, _ = peers.load_all(list(own_loss.PEERS), own_loss.PEERS)
    rows, every = own_loss.compare(case, found, repetitions=1), own_loss.calls(case, found)
    assert {row.peer for row in rows} == set(every) - {*own_loss.ways(), own_loss.ANEW}
    assert all(row.agrees for row in rows), [(row.ours, row.peer, row.agreement) for row in rows]
    assert all(row.note for row in rows if row.ours not in (own_loss.TAPE, own_loss.ANEW))
    assert all(row.target is None for row in rows if row.ours == own_loss.TAPE)


def test_numbers_that_differ_are_seen():
    case = TINY[0]

    class Wrong:
        @staticmethod
        def logistic(numbers, rule, steps, wanted, *, at_once):
            return lambda: [1.01 * x for x in own_loss.calls(case, {}, own_loss.BESIDE)[own_loss.TAPE]()]

    assert not any(row.agrees for row in own_loss.compare(case, {"jax": Wrong}, repetitions=1))


def test_the_cases_are_those_of_the_goal():
    logistic = [(case.sizes, case.steps, case.rule) for case in own_loss.CASES if case.kind == "logistic"]
    goal = [
        ((2, 50, 3), 40, "GD"),
        ((64, 50, 20), 40, "GD"),
        ((64, 50, 20), 40, "Adam"),
        ((1, 2000, 100), 40, "GD"),
        ((16, 200, 50), 100, "Adam"),
    ]
    assert logistic == [*goal, *goal]  # in both dtypes
    assert {case.dtype for case in own_loss.CASES} == {"float64", "float32"}
    assert "own_loss" in registry.NAMES
    first, second = own_loss.CASES[:2]
    compiled, alone = own_loss.COMPILED, own_loss.NUMPY
    assert [own_loss.target(first, way, own_loss.JAX) for way in (compiled, alone)] == [3.0, 6.0]
    assert [own_loss.target(second, way, own_loss.JAX_AT_ONCE) for way in (compiled, alone)] == [1.0, 1.8]
    assert own_loss.target(second, compiled, own_loss.TORCH) == 0.1


def test_the_table_of_ties_says_that_ours_is_right():
    found, _ = peers.load_all(list(own_loss.PEERS), own_loss.PEERS)
    table = own_loss.ties(found, seed=3)
    far = {row[0]: float(row[3]) for row in table.rows}
    assert all(far[name] < 1e-9 for name in own_loss.ways())
    assert set(far) == set(own_loss.calls(own_loss.CASES[0], found))


def test_the_network_sees_another_minibatch_at_every_step():
    numbers = given(TINY[2])
    assert numbers.samples
    assert len(numbers.data[0]) == TINY[2].steps + 1
    assert not np.array_equal(numbers.data[0][0], numbers.data[0][1])


@pytest.mark.parametrize("way", [own_loss.NUMPY, own_loss.JAX_AT_ONCE])
def test_first_calls_and_memory_of_a_call(way, monkeypatch):
    if way == own_loss.JAX_AT_ONCE:
        pytest.importorskip("jax")
    monkeypatch.setattr(own_loss, "CASES", TINY)
    first, held = (own_loss_child.main("1", way, 0, how) for how in ("first", "held"))
    assert first["first"] > 0
    assert first["resident"] >= 0 or np.isnan(first["resident"])
    assert held["held"] >= 0


def test_rows_of_children_hold_what_is_kept_against_jax(monkeypatch):
    measured = {"first": 0.5, "resident": 3.0 * 2**20, "held": 1.0 * 2**20}
    monkeypatch.setattr(
        own_loss, "child", lambda *arguments: {arguments[-1]: measured[arguments[-1]], "resident": 3.0 * 2**20}
    )
    rows = own_loss.children(own_loss.CASES[0], {"jax": None})
    assert {row.ours for row in rows} == set(own_loss.ways()) - {own_loss.TAPE}
    memory = [row for row in rows if row.unit == "bytes"]
    assert [row.ratio for row in memory] == [pytest.approx(4 / 3)] * len(memory)
    assert [row.ratio for row in rows if row.peer == "allowed"] == [0.25] * len(memory)


def test_the_work_is_counted():
    batch, n, d = 2, 50, 3
    tiny = own_floor.work(own_loss.CASES[0])
    assert tiny.operations == 8 * batch * n * d
    assert tiny.read == 2 * batch * n * d
    assert tiny.functions == {"exp": batch * n, "log1p": batch * n}
    network, rule, decayed, classes = map(own_floor.work, TINY[2:])
    assert network.operations == 8 * 6 * 5 * 4
    assert rule.operations == 8 * 2 * 6 * 3 + 3 * 2 * (2 * 3) * (1 + 4) * 16
    assert decayed == own_floor.work(TINY[0])
    assert classes.operations == 8 * 2 * 6 * 3 * 4


def test_floors_stand_beside_what_was_measured(monkeypatch):
    monkeypatch.setattr(own_floor, "floor", lambda case: own_floor.Floor(0.5, 1.0, 2e9, 3e9))
    found = [Row("w", own_loss.TAPE, 4.0, own_loss.JAX, 1.0), Row("w", own_loss.NUMPY, 2.0, own_loss.JAX, 1.0)]
    table = own_floor.table({TINY[0]: found, TINY[2]: found[:1]}, [own_loss.TAPE, own_loss.NUMPY])
    header = len(table.header)
    assert [row[0] for row in table.rows] == [TINY[0].what, TINY[2].what]
    assert [row[-2:] for row in table.rows] == [["4", "JAX, jit, scan: 2"], ["8", "JAX, jit, scan: 2"]]
    assert all(len(row) == header for row in table.rows)


@pytest.mark.parametrize("case", TINY, ids=lambda case: f"{case.kind}-{case.rule}")
def test_a_floor_is_probed(case, monkeypatch):
    monkeypatch.setattr(own_floor, "_LEAST_SECONDS", 1e-5)
    found = own_floor.floor(case)
    assert 0 < found.least < 1
    assert 0 < found.by_routines < 1
