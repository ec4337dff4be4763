"""The directive `example-files`: every script of `examples/`, with what it says of itself."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


class ExampleFiles(Directive):
    """A section a script: its docstring, and its code without it."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        self.state.document.settings.env.note_reread()  # a new script changes no file that is known already
        found: list[nodes.Node] = []
        for path in sorted(EXAMPLES.glob("*.py")):
            source = path.read_text(encoding="utf-8")
            body = ast.parse(source).body
            code = "".join(source.splitlines(keepends=True)[body[0].end_lineno :]).strip() + "\n"
            section = nodes.section(ids=[nodes.make_id(path.stem)], names=[nodes.fully_normalize_name(path.stem)])
            section += nodes.title("", "", nodes.literal(path.name, path.name))
            section += nodes.paragraph("", (ast.get_docstring(ast.parse(source)) or "").replace("`", ""))
            section += nodes.literal_block("", code, language="python")
            found.append(section)
        return found


def setup(app: Any) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("example-files", ExampleFiles)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
