"""Files that are damaged, of another config, or of another source are found out; results can be read by others."""

import dataclasses
import json
import os
import stat
import sys
from concurrent.futures import Future

import numpy as np
import pytest

from analysis.framework import cli, contract, runner, store
from metagrad import files

ARRAYS = {"x": np.arange(4.0), "name": np.array(["float16", "b"]), "count": np.ones((2, 3), np.int64)}


def call(command, out, *extra):
    return cli.main([command, "--only", "troubled", "--device", "cpu", "--out", str(out), *extra])


def run(out, *extra):
    return call("run", out, "--jobs", "1", *extra)


def test_no_flipped_bit_of_a_shard_goes_unnoticed(tmp_path):
    path = tmp_path / "shards" / "00000.npz"
    data = files.npz_bytes(ARRAYS)
    store.save_shard(path, data)
    loaded = store.load_shard(path)
    assert all(np.array_equal(loaded[name], array) for name, array in ARRAYS.items())
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x10
        path.write_bytes(flipped)
        assert store.load_shard(path) is None, position


def test_a_shard_without_its_hash_counts_as_missing(tmp_path):
    path = tmp_path / "00000.npz"
    store.save_shard(path, files.npz_bytes(ARRAYS))
    path.with_suffix(".sha256").unlink()
    assert store.load_shard(path) is None


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_others_may_read_what_the_umask_lets_them(tmp_path):
    path = tmp_path / "x"
    before = os.umask(0o022)
    try:
        files.write(path, b"data")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_claim_without_evidence_is_no_verdict():
    with pytest.raises(ValueError, match="at least one Check"):
        contract.Verdict("everything is fine", [])


def test_a_damaged_result_is_said_to_be_computed_again(troubled, tmp_path, capsys):
    run(tmp_path)
    (tmp_path / "troubled" / "quick-seed0.npz").write_bytes(b"")
    assert call("list", tmp_path, "--long") == 0
    assert "the saved result is damaged" in capsys.readouterr().out
    assert run(tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the saved result is damaged (quick-seed0.json: sha256 is not that of quick-seed0.npz" in said
    assert "its hash does not fit); computing it again" in said


def test_list_tells_what_there_is(troubled, tmp_path, capsys, monkeypatch):
    call("list", tmp_path, "--long")
    assert "(quick: to run)" in capsys.readouterr().out
    run(tmp_path)
    call("list", tmp_path, "--long")
    assert "(quick: cached)" in capsys.readouterr().out
    monkeypatch.setitem(troubled.presets, "quick", dataclasses.replace(troubled.presets["quick"], count=5))
    call("list", tmp_path, "--long")
    assert "its source, config or device has changed" in capsys.readouterr().out


def test_a_result_of_another_config_is_not_verified(troubled, tmp_path, capsys, monkeypatch):
    run(tmp_path)
    assert call("verify", tmp_path) == 0
    monkeypatch.setitem(troubled.presets, "quick", dataclasses.replace(troubled.presets["quick"], count=5))
    assert call("verify", tmp_path) == 2
    assert "another config" in capsys.readouterr().err


def test_a_source_edited_during_the_run_does_not_pass_for_the_one_that_ran(troubled, tmp_path, monkeypatch):
    def edit_and_compute(*arguments):
        path = troubled.source
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        return troubled.compute(*arguments)

    monkeypatch.setattr(sys.modules["analysis.troubled"], "compute", edit_and_compute)
    run(tmp_path)
    state = runner.saved_state(troubled, runner.Request("quick", 0, "cpu", tmp_path))
    assert state is runner.Saved.CHANGED


def test_a_failed_run_leaves_its_trace_until_one_ends(troubled, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TROUBLE", "fail")
    assert run(tmp_path) == 1
    note = tmp_path / "troubled" / "quick-seed0.failed"
    assert "RuntimeError: shard 1 went wrong" in note.read_text(encoding="utf-8")
    assert str(note) in capsys.readouterr().err
    monkeypatch.delenv("TROUBLE")
    assert run(tmp_path) == 0
    assert not note.exists()


def test_brackets_in_a_check_are_text(troubled, tmp_path, capsys):
    run(tmp_path, "--long")
    assert "largest value [of x]" in capsys.readouterr().out


def test_the_signal_handlers_are_given_back(troubled, tmp_path):
    import signal

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    run(tmp_path)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_sidecar_repeats_the_device_in_its_command(troubled, tmp_path):
    run(tmp_path)
    sidecar = json.loads((tmp_path / "troubled" / "quick-seed0.json").read_text(encoding="utf-8"))
    assert sidecar["command"].endswith("--seed 0 --device cpu")


def fail_on_the_disk(monkeypatch, after):
    """Let the disk be full after so many files."""
    fsync, left = os.fsync, after

    def sync(handle):
        nonlocal left
        left -= stat.S_ISREG(os.fstat(handle).st_mode)  # a folder takes no room
        if left < 0:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", sync)


@pytest.mark.parametrize(
    ("files", "finished", "what"),
    [
        (4, ["00000", "00001"], "00002.npz"),  # a shard is two files
        (8, ["00000", "00001", "00002", "00003"], "quick-seed0.npz"),
        (9, ["00000", "00001", "00002", "00003"], "quick-seed0.npz"),  # the arrays are written, their sidecar is not
    ],
)
def test_a_full_disk_ends_the_run_with_one_line(troubled, tmp_path, monkeypatch, capsys, files, finished, what):
    with monkeypatch.context() as patch:
        fail_on_the_disk(patch, files)
        assert run(tmp_path) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: troubled: {tmp_path}")
    assert f"{what} cannot be written (No space left on device)" in error
    assert "finished shards are saved. Make room, and run it again." in error
    assert error.count("\n") == 1
    assert sorted(path.stem for path in tmp_path.rglob("0*.npz")) == finished
    assert not list(tmp_path.rglob("*.part"))
    assert run(tmp_path) == 0


def test_a_full_disk_leaves_the_old_result_whole(troubled, tmp_path, monkeypatch):
    run(tmp_path)
    folder = tmp_path / "troubled"
    before = {path.name: path.read_bytes() for path in folder.glob("quick*")}
    fail_on_the_disk(monkeypatch, 9)
    assert run(tmp_path, "--force") == 1
    assert {path.name: path.read_bytes() for path in folder.glob("quick*")} == before


def test_a_full_disk_ends_the_run_of_every_experiment(troubled, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contract, "names", lambda: ["troubled", "horizons"])
    fail_on_the_disk(monkeypatch, 0)
    assert cli.main(["run", "--device", "cpu", "--jobs", "1", "--out", str(tmp_path)]) == 1
    assert "horizons" not in capsys.readouterr().err


class LazyExecutor:
    """An executor whose first shard is done at once and whose others never begin."""

    def __init__(self):
        self.futures = []

    def submit(self, work, *arguments):
        future = Future()
        if not self.futures:
            future.set_result(work(*arguments))
        self.futures.append(future)
        return future


def test_a_full_disk_cancels_the_shards_that_have_not_begun(troubled, tmp_path, monkeypatch):
    fail_on_the_disk(monkeypatch, 0)
    executor = LazyExecutor()
    with pytest.raises(runner.RunError, match="No space left"):
        runner.run(troubled, runner.Request("quick", 0, "cpu", tmp_path), executor, lambda *state: None)
    assert [future.cancelled() for future in executor.futures] == [False, True, True, True]
