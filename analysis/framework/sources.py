"""The digest of a source file: of an experiment without its presets, as a result has its own sizes among its parts."""

from __future__ import annotations

import ast
from pathlib import Path

from metagrad import files

_OF_SIZES = {"presets", "expected_seconds"}


def digest(path: Path) -> str:
    """Return the hash of a file; of an experiment without the statements that give presets and their durations."""
    return files.sha256(_without_presets(path.read_bytes()))


def _without_presets(source: bytes) -> bytes:
    """Return Python source without those statements, and without the comments above them."""
    if b"\npresets = " not in source:
        return source
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):  # whoever imports it is told
        return source
    lines = source.splitlines(keepends=True)
    for node in reversed(body):
        if isinstance(node, ast.Assign) and {ast.unparse(target) for target in node.targets} & _OF_SIZES:
            first = node.lineno - 1
            while first and lines[first - 1].startswith(b"#"):
                first -= 1
            del lines[first : node.end_lineno]
    return b"".join(lines)
