"""What is left when processes of a run are ended: no orphans, nothing lost, nothing old shown as new.

A copy of the two frameworks with one experiment, so that spawned processes find it; a shard sends the signals.
Output goes through pipes that every worker holds: a run is over for the test only when the last process is.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FIGURE = """
from paper_figs.framework.style import measured, new_figure
title, alt = "a troubled figure", "three points"
def draw(result):
    figure, axes = new_figure()
    measured(axes, [0, 1, 2], result.arrays["x"][0], 0)
    return figure
def details(result):
    return "More."


def caption(result):
    return f"largest value {result.measured('largest'):.2f}"
"""


@pytest.fixture
def tree(tmp_path):
    for package in ("analysis", "paper_figs"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package / "framework", tmp_path / package / "framework", ignore=ignore)
        for name in ("__init__.py", "__main__.py"):
            shutil.copy(ROOT / package / name, tmp_path / package / name)
    (tmp_path / "metagrad").symlink_to(ROOT / "metagrad")
    shutil.copy(Path(__file__).with_name("troubled_experiment.py.txt"), tmp_path / "analysis" / "troubled.py")
    (tmp_path / "paper_figs" / "troubled.py").write_text(FIGURE)
    return tmp_path


def call(tree, *arguments, trouble=""):
    environment = os.environ | {"TROUBLE": trouble, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def saved(tree):
    return (tree / "results" / "troubled" / "quick-seed0.npz").read_bytes()


def test_the_number_of_workers_changes_no_byte(tree):
    one = call(tree, "analysis", "run", "--jobs", "1", "--out", "one")
    two = call(tree, "analysis", "run", "--jobs", "2", "--out", "two")
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    first, second = ((tree / out / "troubled" / "quick-seed0.npz").read_bytes() for out in ("one", "two"))
    assert first == second


def test_workers_end_with_a_parent_that_was_killed_and_the_run_goes_on_later(tree):
    assert call(tree, "analysis", "run", "--jobs", "2", trouble="parent killed").returncode == -9
    assert call(tree, "analysis", "run", "--jobs", "2").returncode == 0
    assert not list((tree / "results" / "troubled").rglob("*.part"))
    assert not list((tree / "results" / "troubled" / "shards").iterdir())


def test_a_run_told_to_end_ends_its_workers(tree):
    run = call(tree, "analysis", "run", "--jobs", "2", trouble="parent told to end")
    assert run.returncode == 130
    assert "the same command goes on from there" in run.stderr
    assert "Traceback" not in run.stderr


def test_all_hands_the_interrupt_on_and_saves_what_was_finished(tree):
    run = call(tree, "paper_figs", "all", "--jobs", "1", trouble="parent told to end")
    assert run.returncode == 130, run.stderr
    assert "the same command goes on from there" in run.stderr
    shards = sorted(path.name for path in (tree / "results").rglob("0*.npz"))
    assert shards == ["00000.npz"]


def test_a_worker_that_dies_is_explained(tree):
    run = call(tree, "analysis", "run", "--jobs", "2", trouble="worker killed")
    assert run.returncode == 1
    assert "a worker process was ended from outside" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_old_result_is_never_shown_as_new(tree):
    assert call(tree, "paper_figs", "all", "--jobs", "1").returncode == 0
    before = saved(tree)
    failing = call(tree, "paper_figs", "all", "--jobs", "1", "--force", trouble="fail")
    assert failing.returncode == 1
    assert "this is an earlier result" in failing.stderr
    assert "FAILS  troubled" in failing.stdout
    assert saved(tree) == before
    page = (tree / "results" / "report.html").read_text(encoding="utf-8")
    assert "RuntimeError: shard 1 went wrong" in page
    assert "0 of 1 claims hold" in page
    again = call(tree, "paper_figs", "all", "--jobs", "1")
    assert again.returncode == 0
    assert "1 of 1 claims hold" in (tree / "results" / "report.html").read_text(encoding="utf-8")


def test_all_reports_an_experiment_that_has_no_result(tree):
    run = call(tree, "paper_figs", "all", "--jobs", "1", trouble="fail")
    assert run.returncode == 1
    assert "RuntimeError: shard 1 went wrong" in " ".join(run.stdout.split())
    assert "RuntimeError: shard 1 went wrong" in (tree / "results" / "report.html").read_text(encoding="utf-8")


def test_all_ends_with_its_verdicts_once_and_with_what_is_next(tree):
    run = call(tree, "paper_figs", "all", "--jobs", "1")
    lines = run.stdout.splitlines()
    (verdict,) = (k for k, line in enumerate(lines) if line.startswith("holds  troubled"))
    (report,) = (k for k, line in enumerate(lines) if line.startswith("report:"))
    (following,) = (k for k, line in enumerate(lines) if line == "Next:")
    assert verdict < report < following
    assert "largest value [of x]" not in run.stdout
    long = call(tree, "paper_figs", "all", "--jobs", "1", "--long")
    assert sum("largest value [of x]" in line for line in long.stdout.splitlines()) == 1


def test_all_passes_bad_input_on(tree):
    assert call(tree, "paper_figs", "all", "--jobs", "0").returncode == 2
    missing = call(tree, "paper_figs", "plot")
    assert missing.returncode == 2
    assert "python -m analysis run --only troubled" in missing.stderr


@pytest.mark.parametrize("damage", ["", "[1]", '{"claim": "x"}'])
def test_a_damaged_sidecar_is_named_and_then_replaced(tree, damage):
    call(tree, "analysis", "run", "--jobs", "1")
    path = tree / "results" / "troubled" / "quick-seed0.json"
    path.write_text(damage)
    plot = call(tree, "paper_figs", "plot")
    assert plot.returncode == 2
    assert "quick-seed0.json" in plot.stderr
    assert "Traceback" not in plot.stderr
    assert call(tree, "analysis", "run", "--jobs", "1").returncode == 0
    assert json.loads(path.read_text())["holds"] is True
