"""What the command says at a terminal: version, help, and the nearest right word."""

import subprocess
import sys
from pathlib import Path

import pytest

import metagrad as mg
from metagrad.cli import main
from metagrad.cli.main import parser

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["meta-train", "evaluate", "diagnose", "plot", "compare"]


def said(capsys, *arguments):
    """Return the code with which the command ended and what it said."""
    try:
        code = main(list(arguments))
    except SystemExit as end:
        code = end.code
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.mark.parametrize("module", ["metagrad", "metagrad.cli"])
def test_the_version_and_the_name_of_the_program(module):
    def run(*arguments):
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    assert run("--version").stdout == f"metagrad {mg.__version__}\n"
    nothing = run()
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("usage: metagrad [-h] [--version] COMMAND ...")


@pytest.mark.parametrize("width", ["80", "100"])
@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS]], ids=lambda x: " ".join(x) or "metagrad")
def test_every_help_has_a_description_and_examples_and_stays_within_the_width(capsys, monkeypatch, width, command):
    monkeypatch.setenv("COLUMNS", width)
    code, out, _ = said(capsys, *command, "--help")
    assert code == 0
    assert out.startswith(f"usage: {' '.join(['metagrad', *command])} ")
    assert max(map(len, out.splitlines())) <= int(width)
    _, description = out.split("\n\n")[:2]
    assert len(description) > 40
    examples = out.split("\nexamples:\n")[1].split("\n\n")[0].splitlines()
    assert len(examples) >= 2
    assert all(line.startswith("  metagrad ") for line in examples)
    assert all(line.split()[1:2] == command for line in examples[:2] if command)


def test_the_examples_are_commands_that_there_are(capsys):
    """Each is read by the parser; what it would do is looked at elsewhere."""
    for name in ["", *COMMANDS]:
        _, out, _ = said(capsys, *([name] if name else []), "--help")
        for line in out.split("\nexamples:\n")[1].split("\n\n")[0].splitlines():
            words = line.partition("#")[0].split()
            assert words[0] == "metagrad"
            assert parser().read(words[1:]).command


def test_the_first_help_lists_every_command(capsys):
    _, out, _ = said(capsys, "--help")
    listed = out.split("\ncommands:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == COMMANDS


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("metatrain", "meta-train"),
        ("evalute", "evaluate"),
        ("diagnos", "diagnose"),
        ("plt", "plot"),
        ("comp", "compare"),
    ],
)
def test_the_nearest_command(capsys, wrong, right):
    code, _, err = said(capsys, wrong)
    assert code == 2
    assert f"there is no command '{wrong}'. Did you mean '{right}'? Known: meta-train, evaluate, " in err
    _, _, err = said(capsys, "xyzzy")
    assert "there is no command 'xyzzy'. Known: meta-train" in err


def test_the_nearest_option(capsys):
    code, _, err = said(capsys, "evaluate", "lstm_quadratics", "--taks=3")
    assert code == 2
    assert "metagrad evaluate: error: unknown argument: --taks=3. Did you mean '--tasks'?" in err
    _, _, err = said(capsys, "evaluate", "lstm_quadratics", "--xyzzy")
    assert "unknown argument: --xyzzy. Known: --help, --config, --tasks, --steps, --seed." in err
    _, _, err = said(capsys, "meta-train", "a.toml", "b.toml")
    assert "unknown argument: b.toml." in err


def test_the_nearest_file(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    for name in ("mine.toml", "configs/adam_quadratics.toml"):
        (tmp_path / name).write_text("")
    assert "Did you mean 'mine.toml'?" in said(capsys, "meta-train", "mien.toml")[2]
    assert "Did you mean 'configs/adam_quadratics.toml'?" in said(capsys, "meta-train", "adam_quadratics")[2]
    assert "Did you mean 'configs/adam_quadratics.toml'?" in said(capsys, "diagnose", "configs/adam_quadratic.toml")[2]
    assert "Look at the path." in said(capsys, "meta-train", "xyzzy.toml")[2]
    (tmp_path / "optimizer.npz").write_text("")
    assert "Did you mean 'optimizer.npz'?" in said(capsys, "evaluate", "optimiser.npz")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "lstm_quadratic"], "Did you mean 'lstm_quadratics'?"),
        (["plot", "nowhere"], "plot_runs: runs is nowhere, which does not exist"),
        (["plot", "nowhere", "--what", "objectives"], "what is 'objectives'; expected a known choice. Did you mean"),
        (["plot", "nowhere", "--scale", "lin"], "scale is 'lin'; expected a known choice. Did you mean 'linear'?"),
        (["plot", "nowhere", "--out", "a.pgn"], "ending is 'pgn'; expected a known choice. Did you mean 'png'?"),
        (["plot", "nowhere", "--out", "none/a.png"], "plot: --out is none/a.png; expected a file in a folder that"),
        (["compare", "nowhere"], "compare: runs is nowhere, which does not exist"),
    ],
)
def test_errors_are_one_line_with_the_nearest_word(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_read_enough_is_no_error():
    """As `metagrad evaluate lstm_quadratics | head -1`."""
    code = (
        "import sys\nfrom metagrad.cli import compare, main\n"
        "def many(args):\n    for _ in range(100000): print('a line')\n    return 0\n"
        "compare.run = many\nsys.exit(main(['compare', 'x']))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
