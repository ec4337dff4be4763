"""What both command lines say: short by default, as wide as COLUMNS says, and the nearest word for a wrong one."""

import subprocess
import sys

import pytest

from analysis.framework import cli, commands, contract, needs, store
from metagrad import __version__
from paper_figs.framework import cli as figures
from tests.analysis.test_evidence import SAVED

PARSERS = {"analysis": cli.parser, "paper_figs": figures.parser}


def shown(capsys, *arguments):
    """Return the lines that a command of `analysis` prints."""
    cli.main(list(arguments))
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_list_is_a_line_an_experiment_that_fits(columns, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in needs.KNOWN:
        monkeypatch.setenv(needs.variable(name), "")
    head, *lines = shown(capsys, "list", "--out", str(tmp_path))
    assert [line.split()[0] for line in lines] == contract.names()
    assert max(map(len, (head, *lines))) <= columns
    for line, name in zip(lines, contract.names(), strict=True):
        assert line.endswith("no data" if contract.load(name).needs else "to run")
        assert contract.summary(name).split()[0] in line
        assert commands.duration(contract.load(name).expected_seconds["quick"]) in line


def test_list_says_more_where_more_is_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "5000")
    text = "\n".join(shown(capsys, "list", "--long", "--out", str(SAVED)))
    assert all(contract.load(name).claim in text for name in contract.names())


def test_verdicts_are_a_line_each(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(capsys, "verify", "--only", "explosion,horizons", "--out", str(SAVED))
    assert [line.split()[:2] for line in lines[:2]] == [["holds", "explosion"], ["holds", "horizons"]]
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    long = shown(capsys, "verify", "--only", "explosion,horizons", "--long", "--out", str(SAVED))
    assert len(long) > 30
    assert max(len(line.rstrip()) for line in long) <= 80
    assert any(line.rstrip().endswith("reported") for line in long)


def test_what_fails_comes_last_with_its_checks(capsys, tmp_path, tiny, troubled_too, monkeypatch):
    monkeypatch.setenv("TINY_BOUND", "3")
    lines = shown(capsys, "run", "--jobs", "1", "--out", str(tmp_path / "out"))
    verdicts = [line.split()[:2] for line in lines if line.startswith(("holds", "FAILS"))]
    assert verdicts == [["holds", "troubled"], ["FAILS", "tiny:"]]
    failing = next(k for k, line in enumerate(lines) if line.startswith("FAILS"))
    assert any("largest square" in line and "NO" in line for line in lines[failing:])
    assert not any("largest value" in line for line in lines)


@pytest.fixture
def troubled_too(tiny, monkeypatch):
    """Let the troubled experiment be found beside the tiny one."""
    (tiny.parent / "troubled.py").write_text((SAVED.parent / "troubled_experiment.py.txt").read_text())
    monkeypatch.setattr(contract, "names", lambda: ["tiny", "troubled"])
    yield
    sys.modules.pop("analysis.troubled", None)


@pytest.mark.parametrize("program", PARSERS)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "there is no command 'lst'. Did you mean 'list'?"),
        (["list", "--preset", "quik"], "there is no preset 'quik'. Did you mean 'quick'?"),
        (["list", "--preste", "quick"], "there is no argument '--preste'. Did you mean '--preset'?"),
        (["list", "explosion"], "there is no argument 'explosion'."),
    ],
)
def test_a_wrong_word_is_told_the_nearest_right_one(program, arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        PARSERS[program]().parse_args(arguments)
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("program", PARSERS)
def test_every_help_has_examples_that_are_no_errors(program):
    parser = PARSERS[program]()
    for text in (parser.format_help(), *(one.format_help() for one in parser._commands.values())):
        examples = [line.split() for line in text.partition("examples:")[2].splitlines() if line.strip()]
        assert examples
        for example in examples:
            assert example[:3] == ["python", "-m", program]
            args = parser.parse_args(example[3:])
            assert set(filter(None, args.only.split(","))) <= set(contract.names())


@pytest.mark.parametrize("program", PARSERS)
def test_the_version_is_that_of_the_package(program):
    command = [sys.executable, "-m", program, "--version"]
    run = subprocess.run(command, cwd=store.ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == f"metagrad {__version__}\n"


def test_python_is_named_as_it_is_called_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    assert commands.python() == ".venv/bin/python"
    monkeypatch.setattr(sys, "executable", "/somewhere/else/python")
    assert commands.python() == "python"
