"""`metagrad plot` and `metagrad compare`, from runs of meta-train to a file and a table."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from metagrad import files
from metagrad.cli import main
from metagrad.training import read_metrics

TEXT = """
seed = SEED
[task]
kind = "quadratics"
count = 2
d = 2
[optimizer]
kind = "sgd"
eta = 0.01
[objective]
kind = "last"
[outer]
kind = "adam"
eta = ETA
[training]
episodes = 6
horizon = 4
window = 4
evaluate_every = 2
evaluation_steps = 4
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folder of four runs: three seeds of a setting, one of another."""
    root = tmp_path_factory.mktemp("command")
    for name, seed, eta in (("a-0", 0, 0.1), ("a-1", 1, 0.1), ("a-2", 2, 0.1), ("b-0", 0, 0.3)):
        config = root / f"{name}.toml"
        config.write_text(TEXT.replace("SEED", str(seed)).replace("ETA", str(eta)))
        assert main(["meta-train", str(config), "--out", str(root / name)]) == 0
    return root


@pytest.fixture(autouse=True)
def _at_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def best(runs, name):
    columns = read_metrics(runs / name / "metrics.jsonl")
    return np.nanmin(columns["evaluation"])


def cells(out):
    """Return the rows of a table."""
    rows = [line.strip("│┃").split("│") for line in out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


def test_a_plot_is_written_and_said(runs, capsys, tmp_path):
    out = tmp_path / "curves.png"
    capsys.readouterr()
    assert main(["plot", *(str(runs / name) for name in ("a-0", "a-1", "a-2", "b-0")), "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == ["outer.eta = 0.3 (seed 0)", "outer.eta = 0.1 (3 seeds), mean and 95 % interval", str(out)]
    with Image.open(out) as image:
        grey = np.asarray(image.convert("L"))
        assert image.size == (1024, 640)
    dark, light = (grey < 64).mean(), (grey > 250).mean()
    assert dark > 0.005
    assert light > 0.7


@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.SVG", b"<?xml")])
def test_kinds_of_files_and_the_same_bytes_again(runs, tmp_path, name, magic):
    found = []
    for _ in range(2):
        assert main(["plot", str(runs / "a-0"), "--what", "gradient", "--out", str(tmp_path / name)]) == 0
        found.append((tmp_path / name).read_bytes())
    assert found[0].startswith(magic)
    if not name.endswith("SVG"):  # whose names of parts are random
        assert found[0] == found[1]


def test_a_file_of_metrics_alone_and_the_default_name(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.jsonl").write_bytes((runs / "a-0" / "metrics.jsonl").read_bytes())
    capsys.readouterr()
    assert main(["plot", "mine.jsonl", "--what", "objective"]) == 0
    assert capsys.readouterr().out == "mine\ncurves.png\n"
    assert (tmp_path / "curves.png").exists()


def test_the_folder_of_a_run_is_evaluated(runs, capsys):
    capsys.readouterr()
    found = []
    for name in ("a-0", "a-0/optimizer.npz"):
        assert main(["evaluate", str(runs / name), "--tasks", "2", "--steps", "3"]) == 0
        found.append(capsys.readouterr().out)
        assert max(map(len, found[-1].splitlines())) <= 80
    assert found[0] == found[1]


def test_no_number_is_cut_in_a_narrow_terminal(runs, capsys, monkeypatch):
    def columns(width):
        monkeypatch.setenv("COLUMNS", width)
        capsys.readouterr()
        assert main(["evaluate", str(runs / "a-0"), "--tasks", "2", "--steps", "3"]) == 0
        out = capsys.readouterr().out
        assert max(map(len, (line for line in out.splitlines() if "│" in line))) <= max(60, int(width))
        return ["".join(row[k] for row in cells(out)).replace(" ", "") for k in range(5)]

    assert columns("20") == columns("44") == columns("61") == columns("100")


def test_no_column_is_lost_in_a_narrow_terminal(runs, capsys, monkeypatch):
    def columns(width):
        monkeypatch.setenv("COLUMNS", width)
        capsys.readouterr()
        assert main(["compare", str(runs / "a-0"), str(runs / "b-0")]) == 0
        out = capsys.readouterr().out
        assert max(map(len, (line for line in out.splitlines() if "│" in line))) <= max(60, int(width))
        return ["".join(row[k] for row in cells(out)).replace(" ", "") for k in range(6)]

    assert columns("20") == columns("1") == columns("100")


def test_what_differs_from_the_run_that_goes_on_is_named_as_the_config_names_it(runs, tmp_path, capsys):
    config = tmp_path / "a.toml"
    config.write_text(TEXT.replace("SEED", "0").replace("ETA", "0.1").replace("d = 2", "d = 3"))
    capsys.readouterr()
    assert main(["meta-train", str(config), "--out", str(runs / "a-0")]) == 1
    said = capsys.readouterr().err
    assert "of another run (" in said
    assert said.endswith("In the config: task.d = 2 there, 3 here.\n")


def test_a_table_of_runs(runs, capsys):
    capsys.readouterr()
    names = ["a-0", "a-1", "a-2", "b-0"]
    assert main(["compare", *(str(runs / name) for name in names)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    table = cells(out)
    rows = {row[0]: row for row in table if row[0]}
    assert list(rows) == sorted(names, key=lambda name: best(runs, name)), "the best run first"
    for name in names:
        assert rows[name][1] == f"{best(runs, name):.6g}"
        assert rows[name][3] == "6"
        assert re.fullmatch(r"\d+\.\d s|\d+:\d\d:\d\d", rows[name][4])
    settings = out.replace(" ", "")
    assert settings.count("outer.eta=0.1│") == 3
    assert settings.count("outer.eta=0.3│") == 1
    assert "horizon" not in out, "it is the same in all"
    mean = [best(runs, name) for name in names[:3]]
    low, high = stats.t.interval(0.95, 2, np.mean(mean), stats.sem(mean))
    sums = f"outer.eta = 0.1 (3 seeds): mean best {np.mean(mean):.6g}, 95 % interval {low:.6g} .. {high:.6g}"
    assert sums in " ".join(out.split())
    assert "best: the least final loss of the evaluation tasks" in out


@pytest.mark.parametrize("command", [["compare"], ["plot", "--out", "curves.png"]])
def test_folders_without_a_run_among_others_are_left_out_and_said(runs, tmp_path, monkeypatch, capsys, command):
    """As `runs/*` gives them, where one was made by diagnose."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    capsys.readouterr()
    assert main([*command, str(runs / "a-0"), "other"]) == 0
    said = capsys.readouterr()
    assert said.err == "left out: other, a folder without metrics.jsonl\n"
    assert "a-0" in said.out
    assert main([*command, "other"]) == 1
    assert "other, a folder without metrics.jsonl; expected the folder of a run" in capsys.readouterr().err


def test_one_run_has_no_settings_that_differ(runs, capsys):
    capsys.readouterr()
    assert main(["compare", str(runs / "a-0")]) == 0
    out = capsys.readouterr().out
    assert "settings" not in out
    assert len(cells(out)) == 1


def test_long_names_and_many_settings_stay_within_80_columns(runs, tmp_path, capsys):
    name = "a-very-long-name-of-a-folder-as-sweeps-make-them-lr0.1-seed3-take2"
    folder = tmp_path / name
    folder.mkdir()
    arrays, about = files.read_npz(runs / "b-0" / "checkpoint.npz", "here", formats=(3,))
    about["config"]["task"] = {"kind": "my_module_with_a_long_name:make_the_tasks", "count": 1234567}
    files.write_npz(folder / "checkpoint.npz", arrays, about)
    (folder / "metrics.jsonl").write_bytes((runs / "b-0" / "metrics.jsonl").read_bytes())
    capsys.readouterr()
    assert main(["compare", str(runs / "a-0"), str(folder)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert name in "".join(row[0] for row in cells(out)), "folded, not cut"
    assert f"{best(runs, 'b-0'):.6g}" in out


def test_many_settings_are_listed_below_and_a_run_under_way_took_longer(runs, tmp_path, capsys):
    folder = tmp_path / "other"
    folder.mkdir()
    arrays, about = files.read_npz(runs / "b-0" / "checkpoint.npz", "here", formats=(3,))
    about["config"]["training"] |= {"horizon": 8, "window": 8, "episodes": 60, "evaluation_steps": 8}
    about |= {"episode": 2, "seconds": 100.0}
    about["changes"] = [{"after": 2, "parts": {"outer_phi.eta": {}}}]
    files.write_npz(folder / "checkpoint.npz", arrays, about)
    (folder / "metrics.jsonl").write_bytes((runs / "b-0" / "metrics.jsonl").read_bytes())
    capsys.readouterr()
    assert main(["compare", str(runs / "a-0"), str(folder)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    said = " ".join(out.split())
    assert "│ 6 of 60 │ > 0:01:40 │" in said
    assert "a-0: outer.eta = 0.1, training.episodes = 6, training.horizon = 4, training.window = 4" in said
    assert "training.evaluation_steps = 8, changed after 2: outer_phi.eta" in said
    about["episode"] = 0
    files.write_npz(folder / "checkpoint.npz", arrays, about)
    assert main(["compare", str(folder)]) == 0
    assert "│ 6 of 60 │ - │" in " ".join(capsys.readouterr().out.split())


def test_long_numbers_are_not_cut_in_a_narrow_terminal(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    folder = tmp_path / "other-run"
    folder.mkdir()
    arrays, about = files.read_npz(runs / "b-0" / "checkpoint.npz", "here", formats=(3,))
    about["config"]["training"] |= {"episodes": 60_000_000_000_000}
    files.write_npz(folder / "checkpoint.npz", arrays, about | {"episode": 2, "seconds": 1e9})
    (folder / "metrics.jsonl").write_bytes((runs / "b-0" / "metrics.jsonl").read_bytes())
    capsys.readouterr()
    assert main(["compare", str(runs / "a-0"), str(folder)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "│ 6 of 60000000000000 │ > 277777:46:40 │" in out
    assert "…" not in out


def test_runs_without_an_evaluation_come_last(runs, tmp_path, capsys):
    """What they measure may be unknown too, and an empty name is the first of all."""
    for name, old in (("early", "final loss"), ("unknown", None)):
        row = json.loads((runs / "a-0" / "metrics.jsonl").read_text().splitlines()[0])
        row = {key: x for key, x in row.items() if old or not key.startswith("measured")}
        (tmp_path / f"{name}.jsonl").write_text(f"{json.dumps(row)}\n")
    capsys.readouterr()
    paths = (tmp_path / "unknown.jsonl", tmp_path / "early.jsonl", runs / "a-0", runs / "b-0")
    assert main(["compare", *map(str, paths)]) == 0
    rows = [row for row in cells(capsys.readouterr().out) if row[0]]
    ranked = sorted(("a-0", "b-0"), key=lambda name: best(runs, name))
    assert [row[0] for row in rows] == [*ranked, "unknown", "early"]
    assert [row[1] for row in rows[2:]] == ["none", "none"]


def test_runs_that_do_not_compare_are_said(runs, tmp_path, capsys):
    folder = tmp_path / "other"
    folder.mkdir()
    lines = (runs / "a-0" / "metrics.jsonl").read_text().replace("final loss", "mean train")
    (folder / "metrics.jsonl").write_text(lines)
    none = tmp_path / "none.jsonl"
    rows = [json.loads(line) for line in lines.splitlines()[:1]]
    none.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    capsys.readouterr()
    assert main(["compare", *map(str, (runs / "a-0", folder, none, runs / "a-0", runs / "b-0"))]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "The runs measured different things (final loss, mean train): these numbers do not compare." in out
    assert "│ none │ none (mean train) │ - │ 1 │ - │ (no config)" in out
    assert "a-0 and a-0 have the same settings and the same seed, and are not summed up." in out
