"""How a run goes on: one line within the width of a terminal, plain lines elsewhere."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from metagrad.cli.live import Live, fitted
from tests.training.test_config import TEXT

ROOT = Path(__file__).resolve().parents[2]
ROW = {
    "episode": 136,
    "objective": [3.0, -2.629],
    "log2_gradient_norm": [1.0, 10.0],
    "clipped": 2,
    "status": {"OK": 32},
    "measured": {"objective": "MeanLog of validation above its floor", "evaluation": "mean_log loss"},
}
EVALUATED = ROW | {"evaluation": -1.2537, "best": -1.2592}


def terminal(width):
    return Console(file=io.StringIO(), force_terminal=True, width=width, _environ={"TERM": "xterm"})


def live(*rows, width=80, episodes=300):
    found = Live(episodes, console=terminal(width))
    for row in rows:
        found.show(row)
    return found


@pytest.mark.parametrize("width", range(40, 200, 7))
@pytest.mark.parametrize("trouble", [{}, {"STATE_NAN": 32}])
def test_the_line_has_its_width_and_never_loses_episode_bar_time_and_value(width, trouble):
    line = live(EVALUATED | {"status": trouble or {"OK": 32}}, width=width).line(width)
    assert len(line) <= width
    assert "137/300 ━" in line
    assert re.search(r"╌ +(\d:\d\d:\d\d|\d\.\d s) left  ", line)
    assert "-2.629" in line


def test_what_there_is_room_for_comes_by_its_weight():
    found = live(EVALUATED)
    assert found.line(80).endswith("objective -2.629  best -1.2592")
    wide = found.line(200)
    said = (
        "MeanLog of validation above its floor -2.629  mean_log loss -1.2537, best -1.2592  log10|grad| 3.01  status 0"
    )
    assert f"{said}  clipped 2" in wide
    assert "status 5" in live(EVALUATED | {"status": {"OK": 3, "STATE_NAN": 5}}).line(80), (
        "trouble comes before the rest"
    )


def test_before_the_first_episode_and_at_the_end():
    found = live()
    assert found.line(80).startswith("episode   0/300 ╌")
    assert found.line(80).endswith(" -:--:-- left")
    assert " 0.0 s left" in live(EVALUATED | {"episode": 299}).line(80)
    assert "╌" not in live(EVALUATED | {"episode": 299}).line(80)


def test_an_evaluation_stays_in_view_and_the_time_is_told_from_the_last_episodes(monkeypatch):
    clock = iter([0.0, 2.0, 4.0, 6.0])
    monkeypatch.setattr("metagrad.cli.live.time", SimpleNamespace(monotonic=lambda: next(clock)))
    found = live(EVALUATED | {"episode": 0}, ROW | {"episode": 1}, ROW | {"episode": 2})
    assert "best -1.2592" in found.line(100)
    assert found.left == 2.0 * 297
    assert "0:09:54 left" in found.line(80)


def test_a_terminal_without_these_characters_has_plain_ones():
    assert "╌" not in live(EVALUATED).line(80, plain=True)
    assert "###" in live(EVALUATED).line(80, plain=True)


def test_what_fits():
    assert fitted([["long", "s"], ["second"]], 3) == "s"
    assert fitted([["long", "s"], ["second"]], 9) == "s  second"
    assert fitted([["long", "s"], ["second"]], 8) == "long", "the second has no room in any case"
    assert fitted([["first"], ["second"], ["x"]], 9) == "first", (
        "nothing of less weight takes the place of what is lost"
    )
    assert fitted([], 10) == ""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    return path


def command(config, out):
    return [sys.executable, "-m", "metagrad", "meta-train", str(config), "--out", str(out)]


@pytest.mark.parametrize("columns", [None, "60"])
def test_in_a_pipe_there_are_plain_lines(config, tmp_path, columns):
    environment = {name: x for name, x in os.environ.items() if name != "COLUMNS"} | {"FORCE_COLOR": "1"}
    environment |= {} if columns is None else {"COLUMNS": columns}
    found = subprocess.run(
        command(config, tmp_path / "run"), capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", found.stderr + found.stdout)
    lines = found.stderr.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["episode 2/4", "episode 4/4"]
    assert all("Mean of loss" in line and " left " in line for line in lines)
    if columns is None:
        assert all("clipped" in line and "best" in line for line in lines)
    else:
        assert max(map(len, lines)) <= 60


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals of this kind on this system")
@pytest.mark.parametrize("width", [80, 50])
def test_on_a_terminal_every_line_that_is_drawn_stays_within_it(config, tmp_path, width):
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {name: x for name, x in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "TERM")}
    run = subprocess.Popen(
        command(config, tmp_path / "run"), stdout=theirs, stderr=theirs, cwd=ROOT, env=environment | {"TERM": "xterm"}
    )
    os.close(theirs)
    data = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        data += piece
    os.close(ours)
    assert run.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode())
    drawn = [line for line in re.split(r"[\r\n]+", plain) if "━" in line or "╌" in line]
    assert drawn
    assert max(map(len, drawn)) <= width
    assert re.search(r"4/4 ━+ +0\.0 s left  (Mean of loss )?\d", drawn[-1])


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals of this kind on this system")
def test_a_run_with_nothing_left_to_do_leaves_no_line():
    console = terminal(80)
    with Live(4, console=console):
        pass
    written = console.file.getvalue()
    assert written.endswith("\x1b[2K") or "\x1b[1A\x1b[2K" in written
