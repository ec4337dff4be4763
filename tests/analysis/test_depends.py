"""A result is of its config, source, weights, CUDA source and libraries; one of others is stale, and says why."""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest

import analysis
from analysis.framework import cli, contract, depends, runner, sources, store, worker

SOURCE = Path(__file__).with_name("tiny_experiment.py.txt")
LOADING = ("learned_explosion", "lstm_digits", "lstm_quadratics")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a copy of the files of metagrad, which the tests may change, in place of its own."""
    copy = tmp_path / "project" / "metagrad"
    shutil.copytree(store.ROOT / "metagrad", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(depends, "_METAGRAD", copy)
    return copy


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Return the file of an experiment `tiny`, which loads weights."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    source = folder / "tiny.py"
    source.write_text(SOURCE.read_text() + "\nweights = 'load_trained'\n")
    monkeypatch.setattr(analysis, "__path__", [*analysis.__path__, str(folder)])
    monkeypatch.setattr(contract, "names", lambda: ["tiny"])
    monkeypatch.setenv("TINY_LOG", str(tmp_path / "log"))
    yield source
    sys.modules.pop("analysis.tiny", None)


def call(command, out, *extra):
    return cli.main([command, "--only", "tiny", "--device", "cpu", "--out", str(out), *extra])


def run(out):
    return call("run", out, "--jobs", "1")


def shards_computed(tmp_path):
    return len((tmp_path / "log").read_text().split())


@pytest.mark.parametrize("name", ["trained/lstm_quadratics.npz", "kernels/lstm_gates.cu", "xp.py"])
def test_a_file_of_the_package_that_changed_makes_a_result_stale(package, tiny, tmp_path, capsys, name):
    out = tmp_path / "out"
    assert run(out) == 0
    path = package / name
    path.write_bytes(path.read_bytes() + b"\n")
    capsys.readouterr()
    call("list", out, "--long")
    assert f"metagrad/{name} is another file" in " ".join(capsys.readouterr().out.split())
    assert call("verify", out) == 0
    said = capsys.readouterr().err
    assert said.startswith("note: tiny: this result is not of what is here now ")
    assert f"(metagrad/{name} is another file); run it again." in said
    assert run(out) == 0
    assert f"it has changed (metagrad/{name} is another file)" in " ".join(capsys.readouterr().out.split())
    assert shards_computed(tmp_path) == 10
    assert run(out) == 0
    assert shards_computed(tmp_path) == 10
    capsys.readouterr()
    call("verify", out)
    assert capsys.readouterr().err == ""


def test_weights_that_came_or_went_are_named(package, tiny, tmp_path, capsys):
    run(tmp_path / "out")
    weights = package / "trained"
    (weights / "lstm_digits.npz").rename(weights / "new.npz")
    capsys.readouterr()
    call("verify", tmp_path / "out")
    said = capsys.readouterr().err
    assert "metagrad/trained/lstm_digits.npz is missing now" in said
    assert "metagrad/trained/new.npz is missing then" in said


def test_an_experiment_that_loads_no_weights_does_not_depend_on_them(package, tiny, tmp_path):
    tiny.write_text(SOURCE.read_text())
    run(tmp_path / "out")
    (package / "trained" / "lstm_digits.npz").unlink()
    request = runner.Request("quick", 0, "cpu", tmp_path / "out")
    assert runner.saved_state(contract.load("tiny"), request) is runner.Saved.CURRENT


@pytest.mark.parametrize("library", ["python", "numpy", "scipy", "sympy", "numba"])
def test_another_version_makes_a_result_stale(tiny, tmp_path, capsys, monkeypatch, library):
    run(tmp_path)
    versions = depends._versions("cpu")
    monkeypatch.setattr(depends, "_versions", lambda device: versions | {library: "0.1"})
    capsys.readouterr()
    call("verify", tmp_path)
    assert f"({library} {versions[library]} then, 0.1 now)" in capsys.readouterr().err
    request = runner.Request("quick", 0, "cpu", tmp_path)
    assert runner.saved_state(contract.load("tiny"), request) is runner.Saved.CHANGED


def test_the_version_of_cupy_counts_on_a_gpu_alone(monkeypatch):
    monkeypatch.setattr(store, "versions", lambda: {"numpy": "2.1", "cupy-cuda12x": "14.0"})
    assert depends._versions("gpu")["cupy-cuda12x"] == "14.0"
    assert "cupy-cuda12x" not in depends._versions("cpu")
    assert depends._versions("cpu")["numba"] == "none"


def test_a_size_that_changed_is_told_by_its_value(tiny, tmp_path, monkeypatch):
    run(tmp_path)
    experiment = contract.load("tiny")
    monkeypatch.setitem(experiment.presets, "quick", dataclasses.replace(experiment.presets["quick"], count=4))
    assert runner.changes(experiment, runner.Request("quick", 0, "cpu", tmp_path)) == "config.count 5 then, 4 now"


def test_a_result_of_before_fields_had_digests_is_computed_again(tiny, tmp_path):
    import json

    run(tmp_path)
    path = tmp_path / "tiny" / "quick-seed0.json"
    sidecar = json.loads(path.read_text())
    del sidecar["digests"], sidecar["depends"]
    path.write_text(json.dumps(sidecar | {"key": "0"}))
    request = runner.Request("quick", 0, "cpu", tmp_path)
    experiment = contract.load("tiny")
    assert runner.changes(experiment, request) == ""
    assert runner.saved_state(experiment, request) is runner.Saved.DAMAGED
    assert "written by an older version" in runner.damage(experiment, request)


def test_nothing_has_changed_where_there_is_nothing(tmp_path):
    assert runner.changes(contract.load("explosion"), runner.Request("quick", 0, "cpu", tmp_path)) == ""


@pytest.mark.parametrize("name", contract.names())
def test_who_loads_weights_depends_on_those_that_ship(name):
    found = depends.weights_of(contract.load(name).source)
    assert len(found) == (len(list((store.ROOT / "metagrad" / "trained").glob("*.npz"))) if name in LOADING else 0)


def test_the_workers_of_a_cluster_compare_the_same_files():
    parts = depends.parts_of(contract.load("lstm_digits").source, contract.Context(0, "cpu"), 0, "cpu")
    named = {name for name in parts if name.endswith((".py", ".npz", ".cu"))}
    assert "metagrad/trained/lstm_digits.npz" in named
    assert "metagrad/kernels/lstm_gates.cu" in named
    assert named <= set(worker.fingerprint("lstm_digits"))


def test_another_preset_leaves_a_result_as_it_is(package, tiny, tmp_path, capsys):
    """Its own sizes are parts by themselves; what is computed with them is in the rest of the file."""
    out = tmp_path / "out"
    assert run(out) == 0
    before, text = sources.digest(tiny), tiny.read_text()
    assert text.count("\npresets = ") == 1
    changed = text.replace("\npresets = ", "\n# Why these: see there.\nother = None\npresets = presets_of_old = ", 1)
    tiny.write_text(text.replace("\npresets = ", "\n# Why these sizes.\npresets = ", 1))
    assert sources.digest(tiny) == before
    capsys.readouterr()
    call("list", out, "--long")
    assert "is another file" not in capsys.readouterr().out
    tiny.write_text(changed)
    assert sources.digest(tiny) != before


@pytest.mark.parametrize("rest", ["def f(:\n", "x = 1\n"])
def test_source_without_its_presets(rest, tmp_path):
    path, hashes = tmp_path / "experiment.py", []
    for sizes in ("{'quick': 1}", "{\n    # few\n    'quick': 2,\n}"):
        path.write_text(f"import math\n# sizes\npresets = {sizes}\nexpected_seconds = {sizes}\n\n\n{rest}")
        hashes.append(sources.digest(path))
    is_python = rest == "x = 1\n"
    assert (hashes[0] == hashes[1]) is is_python
    if is_python:
        path.write_text("import math\n\n\nx = 1\n")
        assert sources.digest(path) == hashes[0]
