"""metrics.csv beside metrics.jsonl: one row an episode, NaN empty, the same bytes after a stop."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metagrad import files
from metagrad.training import read_metrics
from metagrad.training.metrics import Log, go_on
from metagrad.training.metrics_table import COLUMNS
from tests.training.small_run import PHI, SMALL, StopHereError, trainer, until
from tests.training.test_metrics import ROW, wild  # noqa: F401 - a fixture


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def numbers(rows, name):
    return np.array([float(row[name] or "nan") for row in rows])


def test_the_table_has_what_the_lines_have(wild):  # noqa: F811
    path, _ = wild
    found, rows = read_metrics(path), table(path.with_suffix(".csv"))
    assert [int(row["episode"]) for row in rows] == found["episode"].tolist()
    with np.errstate(invalid="ignore"):
        means = found["objective"].mean(axis=1)
    np.testing.assert_array_equal(numbers(rows, "objective_mean"), means)
    np.testing.assert_array_equal(numbers(rows, "objective_last"), found["objective"][:, -1])
    np.testing.assert_array_equal(numbers(rows, "log2_gradient_norm_last"), found["log2_gradient_norm"][:, -1])
    for name in ("evaluation", "best", "clipped", "nonfinite", "skipped"):
        np.testing.assert_array_equal(numbers(rows, name), found[name])
    np.testing.assert_array_equal(numbers(rows, "digits_value"), found["digits.value"])
    np.testing.assert_array_equal(numbers(rows, "status_ok"), found["status.OK"])
    others = sum(found[name] for name in found if name.startswith("status.")) - found["status.OK"]
    np.testing.assert_array_equal(numbers(rows, "status_other"), others)
    assert others.any()
    named = sorted(name.removeprefix("status.") for name in found if name.startswith("status.") and "OK" not in name)
    assert ";".join(named) in {row["statuses"] for row in rows}
    assert {row["measured_evaluation"] for row in rows} == {"final loss"}


def test_a_page_has_every_column():
    page = (Path(__file__).resolve().parents[2] / "docs" / "learned.md").read_text(encoding="utf-8")
    rows = page.partition("| column of `metrics.csv` |")[2].splitlines()[2:]
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])] == list(COLUMNS)


def test_what_is_no_number_is_empty_and_inf_is_inf(tmp_path):
    Log(tmp_path / "m.jsonl").append(ROW)
    (row,) = table(tmp_path / "m.csv")
    assert row["evaluation"] == ""
    assert row["digits_value"] == row["measured_objective"] == ""
    assert row["best"] == row["objective_last"] == "inf"
    assert row["log2_gradient_norm_last"] == "-inf"
    assert row["nonfinite"] == "1"
    assert (row["status_ok"], row["status_other"], row["statuses"]) == ("3", "1", "STATE_NAN")
    assert "nan" not in (tmp_path / "m.csv").read_text()


def test_several_windows_are_told_by_their_mean_and_the_last(tmp_path):
    trainer().run(PHI, metrics=tmp_path / "m.jsonl")
    found, rows = read_metrics(tmp_path / "m.jsonl"), table(tmp_path / "m.csv")
    assert len(rows) == SMALL.episodes
    np.testing.assert_array_equal(numbers(rows, "objective_mean"), [np.mean(x) for x in found["objective"]])
    np.testing.assert_array_equal(numbers(rows, "objective_last"), found["objective"][:, 2])
    assert {row["windows"] for row in rows} == {"3"}


@pytest.mark.parametrize("damage", [lambda data: data, lambda data: data[:-9], lambda data: data + b"more"])
def test_a_run_that_goes_on_has_the_same_table(tmp_path, damage):
    trainer().run(PHI, metrics=tmp_path / "whole.jsonl")
    checkpoint, metrics = tmp_path / "a.npz", tmp_path / "m.jsonl"
    with pytest.raises(StopHereError):
        trainer().run(PHI, checkpoint=checkpoint, metrics=metrics, progress=until(4))
    path = tmp_path / "m.csv"
    path.write_bytes(damage(path.read_bytes()))
    trainer().run(PHI, checkpoint=checkpoint, metrics=metrics)
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    path.unlink()
    trainer().run(PHI, checkpoint=checkpoint, metrics=metrics)  # nothing left to do
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()


KILLED = """
import os, signal, sys
from tests.training.small_run import PHI, trainer
kill = lambda row: row["episode"] == 4 and os.kill(os.getpid(), signal.SIGKILL)
trainer().run(PHI, checkpoint=sys.argv[1], metrics=sys.argv[2], progress=kill)
"""


def test_a_killed_run_loses_no_row_and_goes_on_to_the_same_table(tmp_path):
    trainer().run(PHI, metrics=tmp_path / "whole.jsonl")
    checkpoint, metrics = tmp_path / "a.npz", tmp_path / "m.jsonl"
    subprocess.run([sys.executable, "-c", KILLED, str(checkpoint), str(metrics)], check=False)
    assert [row["episode"] for row in table(tmp_path / "m.csv")] == list("01234")
    trainer().run(PHI, checkpoint=checkpoint, metrics=metrics)
    assert (tmp_path / "m.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_the_table_is_on_the_disk_when_the_lines_are(tmp_path, monkeypatch):
    log, synced, fsync = Log(tmp_path / "m.jsonl"), [], os.fsync
    log.append(ROW)

    def watched(handle):
        synced.append(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    log.mark()
    assert {path.stat().st_ino for path in (tmp_path / "m.csv", tmp_path / "m.jsonl")} == set(synced)


def test_the_mark_of_a_checkpoint_is_of_the_lines_alone(tmp_path):
    """Checkpoints of before there was a table stay what they were."""
    log = Log(tmp_path / "m.jsonl")
    log.append(ROW)
    data = (tmp_path / "m.jsonl").read_bytes()
    assert log.mark() == {"first": 0, "bytes": len(data), "sha256": files.sha256(data)}
    (tmp_path / "m.csv").unlink()
    go_on(tmp_path / "m.jsonl", "here", 1, log.mark() if (tmp_path / "m.csv").exists() else None)
    assert len(table(tmp_path / "m.csv")) == 1


def test_a_file_of_the_users_own_stays(tmp_path):
    (tmp_path / "m.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"Trainer\.run: metrics is .*m\.jsonl, beside which m\.csv, .*another file"):
        trainer().run(PHI, metrics=tmp_path / "m.jsonl")
    assert (tmp_path / "m.csv").read_text() == "x,y\n1,2\n"
    (tmp_path / "n.csv").mkdir()
    with pytest.raises(ValueError, match=r"beside which n\.csv"):
        trainer().run(PHI, metrics=tmp_path / "n.jsonl")


def test_metrics_of_another_name_have_no_table(tmp_path):
    trainer().run(PHI, metrics=tmp_path / "m.log")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".csv"] == []
    assert read_metrics(tmp_path / "m.log")["episode"].size == SMALL.episodes
