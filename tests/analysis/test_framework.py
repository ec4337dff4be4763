"""The cache, resumption, workers, verdicts and messages of the experiment framework, on a tiny experiment."""

import json

import numpy as np
import pytest

from analysis.framework import cli, contract, runner, store
from metagrad import files


def run(out, *extra):
    return cli.main(["run", "--only", "tiny", "--out", str(out), "--jobs", "1", *extra])


def computed(tmp_path):
    log = tmp_path / "log"
    return log.read_text().split() if log.exists() else []


def result(out, preset="quick", seed=0):
    return (out / "tiny" / f"{preset}-seed{seed}.npz").read_bytes()


def test_a_second_run_comes_from_the_cache(tiny, tmp_path, capsys):
    assert run(tmp_path) == 0
    assert computed(tmp_path) == ["0", "1", "2", "3", "4"]
    assert run(tmp_path) == 0
    assert computed(tmp_path) == ["0", "1", "2", "3", "4"]
    assert "from the cache" in capsys.readouterr().out


@pytest.mark.parametrize("change", [["--seed", "1"], ["--preset", "default"], ["--force"]])
def test_what_a_result_depends_on_invalidates_it(tiny, tmp_path, change):
    run(tmp_path)
    before = len(computed(tmp_path))
    run(tmp_path, *change)
    assert len(computed(tmp_path)) >= before + 5


def test_a_changed_source_invalidates(tiny, tmp_path):
    run(tmp_path)
    tiny.write_text(tiny.read_text() + "\n# changed\n")
    run(tmp_path)
    assert len(computed(tmp_path)) == 10


def test_an_interrupted_run_goes_on_where_it_was(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINY_TROUBLE", "interrupt")
    assert run(tmp_path) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    monkeypatch.delenv("TINY_TROUBLE")
    assert run(tmp_path) == 0
    assert computed(tmp_path) == ["0", "1", "2", "3", "3", "4"]
    run(tmp_path / "unbroken")
    assert result(tmp_path) == result(tmp_path / "unbroken")


def test_a_failing_run_leaves_the_old_result(tiny, tmp_path, monkeypatch, capsys):
    run(tmp_path)
    before = result(tmp_path)
    monkeypatch.setenv("TINY_TROUBLE", "fail")
    assert run(tmp_path, "--force") == 1
    assert "tiny: ArithmeticError: shard 3 went wrong" in capsys.readouterr().err
    assert result(tmp_path) == before


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: b"", lambda data: data[:200] + b"x" + data[201:]]
)
def test_a_damaged_result_is_computed_again(tiny, tmp_path, damage):
    run(tmp_path)
    path = tmp_path / "tiny" / "quick-seed0.npz"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert cli.main(["verify", "--only", "tiny", "--out", str(tmp_path)]) == 2
    assert run(tmp_path) == 0
    assert path.read_bytes() == whole


def test_a_damaged_shard_is_computed_again(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_TROUBLE", "interrupt")
    run(tmp_path)
    first = next((tmp_path / "tiny" / "shards").rglob("00000.npz"))
    first.write_bytes(b"not an archive")
    monkeypatch.delenv("TINY_TROUBLE")
    assert run(tmp_path) == 0
    assert computed(tmp_path).count("0") == 2


def test_a_claim_that_fails_gives_exit_code_one(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINY_BOUND", "3")
    assert run(tmp_path) == 1
    assert "FAILS" in capsys.readouterr().out
    verify = ["verify", "--only", "tiny", "--out", str(tmp_path)]
    assert cli.main(verify) == 1
    monkeypatch.setenv("TINY_BOUND", "100")
    assert cli.main(verify) == 2  # another verdict of the same code is no verdict
    tiny.write_text(tiny.read_text() + "\n")  # but code that was edited may find another one
    assert cli.main(verify) == 0


def test_the_sidecar_says_where_the_numbers_are_from(tiny, tmp_path):
    run(tmp_path)
    sidecar = json.loads((tmp_path / "tiny" / "quick-seed0.json").read_text())
    assert sidecar["checks"] == [
        {
            "key": "largest",
            "what": "largest square",
            "measured": 16.0,
            "expected": "<= 1000.0",
            "holds": True,
            "interval": None,
        }
    ]
    assert {"commit", "dirty", "versions", "seed", "config", "sha256", "command", "seconds", "device"} <= set(sidecar)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--only", "tinny"], "Did you mean 'tiny'"),
        (["run", "--jobs", "0"], "--jobs is 0; expected at least 1"),
        (["run", "--seed", "-1"], "--seed is '-1', of which '-1' is no seed; expected integers of at least 0"),
        (["run", "--device", "gpu7"], "Did you mean 'gpu'"),
        (["verify", "--out", "nowhere"], "run `python -m analysis run --only tiny --preset quick --seed 0` first"),
    ],
)
def test_bad_arguments(tiny, tmp_path, capsys, arguments, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert computed(tmp_path) == []


def test_an_output_folder_that_cannot_be_written(tiny, tmp_path, capsys):
    blocker = tmp_path / "file"
    blocker.write_text("")
    assert run(blocker / "out") == 2
    assert "cannot be written to" in capsys.readouterr().err
    assert computed(tmp_path) == []


def test_an_atomic_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    files.write(path, b"old")

    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_pickled_arrays_are_refused(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    assert store.load_arrays(path) is None


@pytest.mark.slow
def test_the_number_of_workers_does_not_matter(tmp_path):
    outs = [tmp_path / "one", tmp_path / "two"]
    for jobs, out in zip(("1", "2"), outs, strict=True):
        assert cli.main(["run", "--only", "explosion", "--out", str(out), "--jobs", jobs]) == 0
    first, second = ((out / "explosion" / "quick-seed0.npz").read_bytes() for out in outs)
    assert first == second


@pytest.mark.parametrize("name", contract.names())
def test_every_experiment_keeps_the_contract(name):
    experiment = contract.load(name)
    assert set(experiment.presets) == set(experiment.expected_seconds) == set(contract.PRESETS)
    for config in experiment.presets.values():
        shards = experiment.shards(config)
        assert shards == experiment.shards(config)
        json.dumps(shards)
    assert len(experiment.claim) > 40


def test_where_there_is_nothing_nothing_is_damaged(tmp_path):
    explosion, request = contract.load("explosion"), runner.Request("quick", 0, "cpu", tmp_path)
    assert runner.saved_state(explosion, request) is runner.Saved.MISSING
    assert runner.damage(explosion, request) == ""
