"""Two checkouts in turn, at tiny sizes; no ratio is asserted but of numbers that are given."""

import argparse
import contextlib
import types
from pathlib import Path

import numpy as np
import pytest

from benchmarks import harness, memory, meta_parameters, paired, paired_child, paired_fresh, peers, registry, report
from benchmarks.__main__ import _ordered, _paired
from benchmarks.paired import Effort, Pair
from benchmarks.results import Result, Row
from benchmarks.reverse_mode import Case, engine_calls
from benchmarks.settings import Settings

TINY = Effort(rounds=1, repetitions=2, seconds=1e-3, again=0)


def test_ratios_are_those_of_minima_and_of_medians():
    pair = Pair("a | b", then=[2.0, 4.0, 9.0], now=[3.0, 8.0, 50.0])
    assert (pair.ratio, pair.middle) == (1.5, 2.0)
    cells = paired.table([pair, Pair("import metagrad | bytes", "bytes", [2.0**20], [2.0**21])], "a note").rows
    assert cells[0] == ["a", "b", "2 s (4)", "3 s (8)", "1.500", "2.000", "3"]
    assert cells[1][2:5] == ["1.00 MiB (1.00)", "2.00 MiB (2.00)", "2.000"]


def test_a_checkout_is_timed_against_itself():
    (pair,) = paired.measure("meta_parameters", paired.ROOT, paired.ROOT, TINY)
    assert pair.what.endswith("| engine, bare phi")
    assert len(pair.then) == len(pair.now) == 2
    assert min(*pair.then, *pair.now) > 0


def test_rows_on_two_threads_are_named_so_and_chosen(monkeypatch):
    def worker(_name, checkout, _effort):
        return contextlib.nullcontext((checkout.name, ["a | b", f"only in {checkout.name} | b", "c | d"]))

    monkeypatch.setattr(paired, "_worker", worker)
    monkeypatch.setattr(
        paired, "_ask", lambda process, index, _seconds: (index + 1) * {"then": 1.0, "now": 3.0}[process]
    )
    pairs = {}
    paired._round("lstm_two_threads", (Path("then"), Path("now")), TINY, pairs, {"two threads: c | d"})
    assert [(pair.what, pair.then, pair.now) for pair in pairs.values()] == [
        ("two threads: c | d", [3.0, 3.0], [9.0, 9.0])
    ]
    paired._round("lstm", (Path("then"), Path("now")), TINY, pairs, None)
    assert list(pairs) == ["two threads: c | d", "a | b", "c | d"]


def test_only_slower_rows_are_measured_again(monkeypatch):
    asked = []

    def take(_name, _checkouts, _effort, pairs, only):
        asked.append(only)
        for what, now in {"same": 1.0, "slower": 2.0 if len(asked) < 3 else 1.02}.items():
            if only is None or what in only:
                pair = pairs.setdefault(what, Pair(what))
                pair.then.append(1.0)
                pair.now.append(now)

    monkeypatch.setattr(paired, "_round", take)
    same, slower = paired.measure("spectral", paired.ROOT, paired.ROOT, Effort(rounds=1, again=4))
    assert asked == [None, {"slower"}, {"slower"}]
    assert (same.ratio, slower.ratio, len(slower.now)) == (1.0, 1.02, 3)


def test_a_folder_without_the_project_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match=r"benchmarks: .*(came from|ended early)"):
        paired.measure("meta_parameters", tmp_path, paired.ROOT, TINY)


def test_rows_give_the_calls_that_are_ours(monkeypatch):
    for module, name in ((harness, "interleave"), (harness, "once"), (memory, "rows"), (peers, "load_all")):
        monkeypatch.setattr(module, name, getattr(module, name))  # to be put back

    def run(settings):
        found, _ = peers.load_all(["jax", "torch"])
        names = ["engine, quick", "engine, slow", *found]
        costs = harness.interleave([harness.Contender(name, lambda name=name: name) for name in names], 3)
        alone = harness.once(harness.Contender("alone", lambda: "alone"))
        rows = [Row("w", names[0], costs[0], peer, cost) for peer, cost in zip(names[1:], costs[1:], strict=True)]
        return Result([*rows, Row("w", "alone", alone, "allowed", 3.0), *memory.rows("b", "w", "o", [], 0)])

    monkeypatch.setattr(registry, "benchmark", lambda _: types.SimpleNamespace(run=run))
    calls = paired_child.collect("any", 0)
    assert {what: call() for what, call in calls.items()} == {
        "w | engine, quick": "engine, quick",
        "w | engine, slow": "engine, slow",
        "w | alone": "alone",
    }


def test_the_number_of_calls_grows_with_the_time():
    log = []
    assert paired_child.calls_for(lambda: log.append(0), 1e-3) > 1
    assert paired_child.calls_for(lambda: log.append(sum(range(200_000))), 1e-6) == 1
    assert paired_child.cpu_seconds(lambda: sum(range(1000)), 3) > 0


def test_the_cost_of_an_import(tmp_path):
    found = paired_fresh.import_cost(paired.ROOT, str(tmp_path))
    assert any(tmp_path.rglob("parts.*.pyc"))
    assert found["modules"] > found["modules after NumPy's"] > 10
    assert found["seconds"] > 0
    assert found["bytes"] > 2**20


def test_a_peak_is_told_by_a_process_of_its_own():
    key, (module, *_) = paired_fresh.peaks()["peak memory, T = 10000, d = 1000, diagonal H, 8 MiB allowed | traced"]
    assert paired_fresh.peak(paired.ROOT, key, (module, "diagonal", str(2**20), "20", "4", "traced")) > 0


def test_pairs_are_written_beside_other_results(tmp_path, monkeypatch):
    monkeypatch.setattr(paired, "measure", lambda *_: [Pair("w | o", then=[1.0], now=[1.5])])
    out = tmp_path / "r.md"
    report.write({"spectral": Result(missing=["x"])}, out)
    options = {"against": paired.ROOT, "only": ["lstm"], "rounds": 1, "repetitions": 1, "seed": 0, "out": out}
    assert _paired(argparse.Namespace(**options, title="before and after")) == 0
    kept = report.read(out)
    assert list(kept) == ["spectral", "before and after"]
    assert kept["before and after"].tables[0].rows[0][4] == "1.500"
    assert list(_ordered(kept | {"lstm": Result()})) == ["spectral", "lstm", "before and after"]
    monkeypatch.setattr(paired, "measure", lambda *_: [Pair(w, then=[1.0], now=[2.0]) for w in ("v | o", "w | o")])
    assert _paired(argparse.Namespace(**options, title="before and after")) == 0
    rows = report.read(out)["before and after"].tables[0].rows
    assert [(row[0], row[4]) for row in rows] == [("v", "2.000"), ("w", "2.000")]
    monkeypatch.setattr(paired, "measure", lambda *_: [Pair("w | o", then=[1.0], now=[3.0])])
    _paired(argparse.Namespace(**options, title="before and after"))
    rows = report.read(out)["before and after"].tables[0].rows
    assert [(row[0], row[4]) for row in rows] == [("v", "2.000"), ("w", "3.000")]
    options["only"] = ["speed"]
    with pytest.raises(SystemExit, match="speed"):
        _paired(argparse.Namespace(**options, title=""))


def test_a_joint_of_the_rule_gives_the_bits_of_a_bare_phi():
    rows = meta_parameters.run(Settings(repetitions=1)).rows
    assert [row.agreement for row in rows if row.ours == meta_parameters.JOINT] == [0.0] * 4
    assert len(rows) == 2 + 4 * len(meta_parameters.METHODS)


@pytest.mark.parametrize("name", meta_parameters.METHODS)
def test_the_gradient_of_the_rule_is_the_same_beside_that_of_the_decay(name):
    found = {way: call() for way, call in meta_parameters.logistic_calls(name, seed=1).items()}
    fixed, tuned = found[meta_parameters.DECAYED], found[meta_parameters.TUNED]
    assert float(tuned.grad.rule.eta.to_float()) == float(fixed.grad.eta.to_float())
    assert float(tuned.grad.task.to_float()) != 0
    assert float(fixed.value.to_float()[0]) != float(found[meta_parameters.BARE].value.to_float()[0])


def test_every_engine_of_the_reverse_rows_computes_the_same():
    values = [call() for call in engine_calls(Case(3, 4, 6, "float64")).values()]
    assert len(values) == 4
    np.testing.assert_allclose(values, [values[0]] * 4, rtol=1e-12)
