"""The directive `command-help`: what a command prints with `--help`, asked of the command itself."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

ROOT = Path(__file__).resolve().parent.parent.parent
_SAID_IN = ("metagrad/cli", "metagrad/training", "analysis/framework", "paper_figs/framework")


class CommandHelp(Directive):
    """`{command-help} metagrad evaluate`: a heading with the command, and its help of 80 columns."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return a section."""
        said = self.arguments[0]
        words = shlex.split(said)
        python = words[1:] if words[0] == "python" else ["-m", *words]
        for path in [path for folder in _SAID_IN for path in sorted((ROOT / folder).rglob("*.py"))]:
            self.state.document.settings.env.note_dependency(str(path))
        section = nodes.section(ids=[nodes.make_id(said)], names=[nodes.fully_normalize_name(said)])
        section += nodes.title("", "", nodes.literal(said, said))
        section += nodes.literal_block("", _help(python), language="text")
        return [section]


def _help(arguments: list[str]) -> str:
    environment = os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    asked = [sys.executable, *arguments, "--help"]
    answer = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, env=environment, check=True)
    return answer.stdout


def setup(app: Any) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
