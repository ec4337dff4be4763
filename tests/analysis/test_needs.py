"""An experiment whose data the project does not carry: run where they are, else said not to be run."""

import json
import shutil

import pytest

from analysis.framework import cli, contract, needs, runner, store
from analysis.framework.runner import Saved
from paper_figs.framework import cli as figures
from tests.analysis.test_evidence import SAVED

SAID = "tiny needs the data set omniglot, which is not carried here: --data omniglot=FOLDER or METAGRAD_OMNIGLOT, see"


@pytest.fixture
def needy(tiny, monkeypatch):
    """Make the tiny experiment need data, and name no folder of them."""
    monkeypatch.setenv("METAGRAD_OMNIGLOT", "")
    tiny.write_text(tiny.read_text() + "\nneeds = 'omniglot'\n")
    return tiny


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    (place / "images.zip").write_bytes(b"some data")
    return place


def run(out, *extra):
    return cli.main(["run", "--only", "tiny", "--out", str(out), "--jobs", "1", *extra])


def depends(out):
    return json.loads((out / "tiny" / "quick-seed0.json").read_text())["depends"]


def test_without_its_data_it_is_not_run_and_does_not_fail(needy, tmp_path, capsys):
    assert run(tmp_path / "out", "--seeds", "0,1") == 0
    assert capsys.readouterr().out.count(SAID) == 1
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / "out").exists()


def test_the_others_are_run(needy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contract, "names", lambda: ["intermediates", "tiny"])
    command = ["run", "--only", "tiny,intermediates", "--out", str(tmp_path), "--jobs", "1"]
    assert cli.main(command) == 0
    told = capsys.readouterr().out
    assert told.count("not run: ") == 1
    assert "intermediates: done" in told
    assert "FAILS" not in told
    assert cli.main(["verify", *command[1:-2]]) == 0
    assert capsys.readouterr().out.count("not run: ") == 1


def test_with_its_data_it_is_run_and_is_of_them(needy, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(out, "--data", f"omniglot={folder}") == 0
    digest = depends(out)["data.omniglot"]
    assert run(out) == 0  # the option has named the folder for the rest of this process
    assert "from the cache" in capsys.readouterr().out
    (folder / "images.zip").write_bytes(b"other data")
    needs._digest.cache_clear()
    assert run(out) == 0
    assert "data.omniglot" in capsys.readouterr().out
    assert depends(out)["data.omniglot"] != digest


def test_a_saved_result_stands_without_the_data(needy, folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert run(out, "--data", f"omniglot={folder}") == 0
    monkeypatch.setenv("METAGRAD_OMNIGLOT", "")
    assert run(out) == 0
    assert cli.main(["verify", "--only", "tiny", "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "not run" not in told.out
    assert "note" not in told.err
    needy.write_text(needy.read_text() + "\n# changed\n")
    assert run(out) == 0
    assert SAID in capsys.readouterr().out
    assert cli.main(["verify", "--only", "tiny", "--out", str(out)]) == 0
    assert "is not of what is here now" in capsys.readouterr().err


def test_a_wrong_folder_is_an_error_of_the_shard(needy, tmp_path, monkeypatch):
    """Who names a folder is not told that there is none: the loader says what is wrong with it."""
    monkeypatch.setenv("METAGRAD_OMNIGLOT", str(tmp_path / "nowhere"))
    request = runner.Request("quick", 0, "cpu", tmp_path)
    assert runner.lacking(contract.load("tiny"), request) == ""


def test_lists_and_json_say_what_is_needed(needy, tmp_path, capsys):
    assert cli.main(["list", "--only", "tiny", "--out", str(tmp_path)]) == 0
    assert "no data" in capsys.readouterr().out
    assert cli.main(["list", "--only", "tiny", "--out", str(tmp_path), "--long"]) == 0
    assert SAID in capsys.readouterr().out
    assert cli.main(["verify", "--json", "--only", "tiny", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["tiny"]["0"]["needs"].startswith(SAID)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("omniglot", "--data is 'omniglot'; expected NAME=FOLDER"),
        ("omniglott=.", "--data: there is no data set 'omniglott'. Did you mean 'omniglot'"),
        ("omniglot=nowhere", "--data: nowhere is no folder; expected the one with the files of omniglot"),
    ],
)
def test_options_that_name_no_folder(given, message, needy, tmp_path, capsys):
    assert run(tmp_path, "--data", given) == 2
    assert message in capsys.readouterr().err


def test_what_experiments_need_is_known_and_told():
    needed = {name: contract.load(name).needs for name in contract.names()}
    assert needed["few_shot"] == "omniglot"
    assert set(needed.values()) <= {"", *needs.KNOWN}
    page = (store.ROOT / needs.PAGE).read_text(encoding="utf-8")
    assert all(needs.variable(name) in page for name in needs.KNOWN)


def test_the_report_counts_what_was_run(tmp_path, monkeypatch):
    monkeypatch.setenv("METAGRAD_OMNIGLOT", "")
    shutil.copytree(SAVED / "method_map", tmp_path / "method_map")
    assert figures.main(["report", "--only", "few_shot,method_map", "--out", str(tmp_path), "--format", "png"]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "1 of 1 claims hold" in page
    assert "Not run, and not counted, as the data are not here: few_shot." in page


@pytest.mark.parametrize("command", ["plot", "report", "claims"])
def test_figures_leave_it_out_and_do_not_fail(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("METAGRAD_OMNIGLOT", "")
    if command == "claims":  # it would write the tables of the project
        monkeypatch.setattr(
            "paper_figs.framework.table.write", lambda results, preset: print(f"{len(results)} results")
        )
    assert figures.main([command, "--only", "few_shot", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert told.out.count("not run: few_shot needs the data set omniglot") == 1
    assert told.err == ""
    assert Saved.MISSING is runner.saved_state(contract.load("few_shot"), runner.Request("quick", 0, "cpu", tmp_path))
