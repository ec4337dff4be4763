"""The harness itself; no timing is asserted."""

import json
import sys
import time
import types

import numpy as np
import pytest

from benchmarks import machine, peers, recipe, registry, report
from benchmarks.__main__ import _run
from benchmarks.correctness_map import classify
from benchmarks.harness import Contender, Timing, interleave
from benchmarks.problems import quadratics
from benchmarks.results import Result, Row, Table, relative_difference
from benchmarks.settings import Settings
from metagrad.theory import quadratic as theory


def timing(median: float) -> Timing:
    return Timing(median, median, median, 3, 0.1, 1.0)


def test_repetitions_are_interleaved():
    log: list[str] = []
    pair = [Contender(name, lambda name=name: log.append(name)) for name in "ab"]
    timings = interleave(pair, repetitions=3, least_seconds=0.0)
    assert log[:4] == ["a", "b", "a", "b"]  # the first calls, then those that set the count
    assert "".join(log[4:]) == "ab" * 3
    assert [t.repetitions for t in timings] == [3, 3]
    assert all(t.low <= t.median <= t.high for t in timings)


def test_nothing_to_time_is_an_error():
    with pytest.raises(ValueError, match="0 contenders, 3 repetitions"):
        interleave([], repetitions=3)


def test_a_target_needs_agreement():
    fast = Row("sum", "ours", timing(1.0), "theirs", timing(4.0), agreement=1e-12, target=0.5)
    assert (fast.ratio, fast.met) == (0.25, True)
    other = Row("sum", "ours", timing(1.0), "theirs", timing(4.0), agreement=1e-3, target=0.5)
    assert not other.agrees
    assert other.met is False
    assert Row("sum", "ours", 2.0, "plan", 1.0, unit="bytes").met is None


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(1e-300, 2e-300, 0.5), (0.0, 0.0, 0.0), (1.0, np.nan, np.inf), ([1.0, 2.0], [1.0, 4.0], 0.5)],
)
def test_relative_difference(a, b, expected):
    assert relative_difference(a, b) == expected


def test_a_missing_peer_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    found, missing = peers.load_all(["jax"])
    assert found == {}
    assert "jax is not installed" in missing[0]
    assert "'bench'" in missing[0]


def test_the_report_has_rows_tables_and_missing_peers(tmp_path):
    row = Row("sum", "ours", timing(2e-3), "theirs", timing(4e-3), agreement=0.0, target=1.0, note="a note")
    result = Result([row], [Table("title", ["x"], [["1|2"]], "why")], ["jax is not installed"], about={"cpu": "some"})
    paths = report.write({"trivial": result}, tmp_path / "deep" / "r.md")
    text = paths[0].read_text(encoding="utf-8")
    assert "| sum | ours | 2 ms [2, 2]" in text
    assert "| 0.5 | ≤ 1 | yes |" in text
    assert "1\\|2" in text
    assert "Missing: jax is not installed" in text
    (stored,) = json.loads(paths[1].read_text(encoding="utf-8"))["benchmarks"]["trivial"]["rows"]
    assert (stored["ratio"], stored["met"]) == (0.5, True)
    assert sorted(p.name for p in paths[0].parent.iterdir()) == ["r.json", "r.md"]


def test_a_report_is_read_back_and_one_part_replaced(tmp_path):
    out = tmp_path / "r.md"
    old = Row("sum", "ours", timing(2e-3), "theirs", timing(4e-3), agreement=0.0, target=1.0)
    allowed = Row("product", "ours", timing(2.0), "allowed", 30.0, target=1.0)
    table = Table("title", ["x"], [["1"]])
    parts = {"first": Result([old], about={"cpu": "some", "date": "Monday"}), "second": Result([allowed], [table])}
    parts["second"].about = {"cpu": "some", "date": "Tuesday"}
    report.write(parts, out)
    assert report.read(out) == parts
    text = out.read_text(encoding="utf-8")
    assert "| cpu | some |" in text
    assert "## second\n\ndate: Tuesday\n" in text
    assert "| allowed | 30 s |" in text
    assert report.read(tmp_path / "none.md") == {}


def test_an_update_keeps_the_other_parts(tmp_path, monkeypatch):
    def trivial(_name):
        return types.SimpleNamespace(SUMMARY="s", run=lambda _settings: Result([], [Table("new", ["x"], [])]))

    monkeypatch.setattr(registry, "benchmark", trivial)
    out = tmp_path / "r.md"
    report.write({"spectral": Result(about={"date": "Monday"}), "meta_descent": Result()}, out)
    assert _run(["meta_descent"], Settings(), out, update=True) == 0
    kept = report.read(out)
    assert list(kept) == ["spectral", "meta_descent"]
    assert kept["spectral"].about == {"date": "Monday"}
    assert [table.title for table in kept["meta_descent"].tables] == ["new"]
    _run(["meta_descent"], Settings(), out, update=False)
    assert list(report.read(out)) == ["meta_descent"]


def test_every_benchmark_says_what_it_is():
    for name in registry.NAMES:
        module = registry.benchmark(name)
        assert module.SUMMARY
        assert callable(module.run)
    with pytest.raises(ValueError, match="'speed'"):
        registry.benchmark("speed")


def test_provenance_has_versions_and_no_host_name():
    import platform

    about = machine.provenance(threads=2)
    assert f"numpy {np.__version__}" in about["versions"]
    assert about["threads"] == "2"
    assert platform.node() not in " ".join(about.values()).split()


@pytest.mark.parametrize("slope", [recipe.slope, recipe.binary_slope])
def test_the_recipe_is_the_closed_form(slope):
    H, w0 = (x[0] for x in quadratics(1, 6, seed=1))
    spectrum = theory.Spectrum.of(H, w0)
    for eta in (0.1, 0.4, 0.9):
        exact = float(theory.d_log_objective(spectrum, eta, 12))
        assert slope(H, w0, eta, 12) == pytest.approx(exact, rel=1e-9)


def test_values_are_classified():
    values, exact = np.array([1.0, 1.1, 0.0, np.nan, np.inf]), np.array([1.0, 1.0, 1.0, 1.0, 1.0])
    assert list(classify(values, exact, 1e-3)) == ["right", "wrong", "zero", "not finite", "not finite"]


def test_time_asleep_is_no_time_of_the_cpu():
    asleep = [Contender("asleep", lambda: time.sleep(0.01))]
    (wall,), (cpu,) = interleave(asleep, repetitions=3), interleave(asleep, repetitions=3, cpu=True)
    assert cpu.median < 0.005 < wall.median
