"""Every figure from saved results: the same bytes twice, a caption with numbers, and one self-contained page."""

import json
import re
import shutil

import pytest

from analysis.framework import cli as analysis_cli
from analysis.framework import contract
from metagrad import tables
from paper_figs.framework import cli, groups, results

FAST = ("horizons", "intermediates", "learned_eta", "log_bounded", "method_map", "outer_step")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    assert analysis_cli.main(["run", "--only", ",".join(FAST), "--out", str(folder), "--jobs", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def reported(out):
    """Return the bytes of the page of all, and those of the figures that were drawn for it."""
    assert cli.main(["report", "--only", ",".join(FAST), "--out", str(out)]) == 0
    return (out / "report.html").read_bytes(), {name: bytes_of(out, name) for name in FAST}


def bytes_of(out, name):
    return [(out / "figures" / f"{name}{suffix}").read_bytes() for suffix in (".png", ".pdf")]


def test_every_experiment_has_its_figure():
    assert results.names() == contract.names()


@pytest.mark.parametrize("name", contract.names())
def test_every_figure_has_a_title_and_a_text_for_those_who_cannot_see_it(name):
    module = results.load_figure(name)
    assert len(module.title) > 10
    assert len(module.alt) > 40


@pytest.mark.parametrize("name", ["horizons", "learned_eta", "method_map"])
def test_the_same_bytes_every_time(out, reported, name, capsys):
    """The page has drawn it once, and once more it is the same."""
    _, before = reported
    assert cli.main(["plot", "--only", name, "--out", str(out)]) == 0
    assert bytes_of(out, name) == before[name]
    caption = capsys.readouterr().out.partition("\n")[2]
    assert re.search(r"\d", caption), "the caption carries measured values"


def test_the_report_is_one_page_that_needs_nothing_else(out, reported):
    page = reported[0].decode("utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)
    assert page.count("data:image/png;base64,") == len(FAST)
    for name in FAST:
        assert f'id="{name}"' in page
        assert results.load_figure(name).alt in page.replace("&#39;", "'")
        for check in results.load_result(name, out, "quick", 0).sidecar["checks"]:
            assert check["what"].split("|")[0][:20].replace("'", "&#39;") in page


def test_a_missing_result_names_the_command(tmp_path, capsys):
    assert cli.main(["plot", "--only", "horizons", "--out", str(tmp_path)]) == 2
    assert "python -m analysis run --only horizons" in capsys.readouterr().err


def test_a_result_that_was_changed_is_refused(out, tmp_path, capsys):
    folder = tmp_path / "horizons"
    folder.mkdir()
    for suffix in (".npz", ".json"):
        source = out / "horizons" / f"quick-seed0{suffix}"
        (folder / source.name).write_bytes(source.read_bytes() + (b"x" if suffix == ".npz" else b""))
    assert cli.main(["plot", "--only", "horizons", "--out", str(tmp_path)]) == 2
    assert "not the file that was hashed" in capsys.readouterr().err


@pytest.fixture
def copied(out, tmp_path):
    """Return the sidecar of a copy of a result."""
    shutil.copytree(out / "horizons", tmp_path / "horizons")
    return tmp_path / "horizons" / "quick-seed0.json"


def edited(path, change, *, sealed):
    """Edit a sidecar, and its digests too where they are to fit."""
    found = json.loads(path.read_text(encoding="utf-8"))
    digests = found.pop("digests")
    change(found)
    path.write_bytes(tables.sealed(found) if sealed else json.dumps(found | {"digests": digests}).encode())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda x: x["checks"][0].update(measured=0.5), "checks"),
        (lambda x: x["checks"][0].update(holds=False), "checks"),
        (lambda x: x.update(holds=False), "holds"),
        (lambda x: x.update(checks=[]), "checks"),
        (lambda x: x.update(claim="another"), "claim"),
        (lambda x: x.update(experiment="learned_eta"), "experiment"),
    ],
)
def test_an_edited_sidecar_is_named_by_figure_and_report(copied, change, field, capsys):
    out = str(copied.parent.parent)
    edited(copied, change, sealed=False)
    for command in ("plot", "report"):
        assert cli.main([command, "--only", "horizons", "--out", out]) == 2
        assert f"quick-seed0.json is damaged ({field} was edited" in capsys.readouterr().err
    page = (copied.parent.parent / "report.html").read_text(encoding="utf-8")
    assert "0 of 1 claims hold" in page
    assert f"{field} was edited" in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x["checks"][0].update(measured=0.5), "checks[0].measured is 0.5, and the arrays say"),
        (lambda x: x.update(checks=[]), "checks is empty"),
        (lambda x: x.update(checks=[1]), "checks[0] has not the fields"),
        (lambda x: x["checks"][0].update(measured="1"), "checks[0].measured is '1'"),
        (lambda x: x.update(holds=False), "holds is False"),
        (lambda x: x.update(claim="another"), "claim is 'another'"),
        (lambda x: x.update(preset="paper"), "preset is 'paper', where 'quick' belongs"),
    ],
)
def test_a_verdict_that_was_forged_with_its_digests_is_named_by_the_report(copied, change, said, capsys):
    edited(copied, change, sealed=True)
    assert cli.main(["report", "--only", "horizons", "--out", str(copied.parent.parent)]) == 2
    assert said in capsys.readouterr().err


def test_verify_goes_on_with_the_others(copied, out, capsys):
    shutil.copytree(out / "learned_eta", copied.parent.parent / "learned_eta")
    edited(copied, lambda x: x.update(holds=False), sealed=False)
    command = ["verify", "--only", "horizons,learned_eta", "--out", str(copied.parent.parent)]
    assert analysis_cli.main(command) == 2
    shown = capsys.readouterr()
    assert "horizons" in shown.err
    assert "holds  learned_eta" in shown.out


def test_a_figure_that_was_exchanged_is_drawn_again(copied):
    """The page shows what was drawn just now, whatever lies in the folder of figures."""
    out = copied.parent.parent
    assert cli.main(["report", "--only", "horizons", "--out", str(out)]) == 0
    image, page = out / "figures" / "horizons.png", out / "report.html"
    before = image.read_bytes(), page.read_bytes()
    image.write_bytes(b"another figure")
    assert cli.main(["report", "--only", "horizons", "--out", str(out)]) == 0
    assert (image.read_bytes(), page.read_bytes()) == before


def test_a_result_that_lacks_what_its_figure_asks_for_is_named(copied, capsys):
    edited(copied, lambda x: x["checks"].pop(), sealed=True)
    assert cli.main(["plot", "--only", "horizons", "--out", str(copied.parent.parent)]) == 2
    assert "the result does not fit its figure" in capsys.readouterr().err


def test_an_unknown_figure_names_the_nearest(capsys):
    assert cli.main(["plot", "--only", "horizon"]) == 2
    assert "Did you mean 'horizons'? Known, nearest first: horizons, " in capsys.readouterr().err


def test_list_is_a_line_a_figure(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == groups.ordered(results.names())
    assert max(map(len, lines)) <= 80
    monkeypatch.setenv("COLUMNS", "2000")
    assert cli.main(["list", "--long"]) == 0
    shown = capsys.readouterr().out
    assert all(results.load_figure(name).title in shown for name in results.names())
    assert all(results.load_figure(name).alt in shown for name in results.names())


def test_figures_as_wide_and_in_the_formats_that_are_asked_for(copied, capsys):
    out = copied.parent.parent
    command = ["plot", "--only", "horizons", "--out", str(out)]
    assert cli.main([*command, "--width", "5", "--format", "png,svg"]) == 0
    drawn = out / "figures" / "horizons.png"
    assert int.from_bytes(drawn.read_bytes()[16:20]) == 5 * 200
    assert sorted(path.suffix for path in drawn.parent.iterdir()) == [".json", ".png", ".svg"]
    capsys.readouterr()
    for wrong, said in (
        (["--width", "30"], "--width: it is '30'; expected a number of inches from 5 to 20"),
        (["--width", "wide"], "--width: it is 'wide'; expected"),
        (["--format", "png,pfd"], "there is no format 'pfd'. Did you mean 'pdf'?"),
    ):
        with pytest.raises(SystemExit):
            cli.main([*command, *wrong])
        assert said in capsys.readouterr().err


def test_the_last_screen_says_what_holds_where_it_is_and_what_is_next(copied, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = copied.parent.parent
    assert cli.main(["report", "--only", "horizons", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "holds  horizons  0, 0, 0 steps off (float16, 32, 64)" in lines
    screen = "\n".join(lines[lines.index("") :])
    assert "claims:  1 of 1 hold (preset quick, seed 0)" in screen
    assert f"figures: 1 in {out / 'figures'} (.png, .pdf, .json)" in screen
    assert f"report:  {out / 'report.html'}" in screen
    assert screen.partition("Next:")[2].count("\n  ") == 6
