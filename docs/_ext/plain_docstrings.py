"""Docstrings of this project are plain text: shapes, formulas and `names`; this makes reStructuredText of them.

What is indented, and what stands in a table, stays as it is written; a paragraph of several `name`: items becomes a
list; everything else is prose, in which *, _ and | are mathematics and not markup.
"""

from __future__ import annotations

import re
from typing import Any

# What the contract of a part asks for is described once, with the contract, and not again with each part.
OF_THE_CONTRACTS = {
    "metagrad.optimizers": {
        *("init", "step", "check_phi", "check_horizon", "project", "at", "answer", "gradient", "State"),
        *("homogeneous", "decays", "entries", "keeps", "value"),
    },
    "metagrad.tasks": {
        *("init", "loss", "sample", "full_batch", "fixed_start", "given", "check_given", "gradient"),
        *("gradient_rounding", "degree", "train_loss", "excess", "validation_loss", "risk"),
    },
    "metagrad.objectives": {"measure", "weight", "inner", "finish", "only_last", "logarithmic"},
}


def setup(app: Any) -> dict[str, Any]:
    """Have every docstring rewritten as it is read."""
    from sphinx.util import inspect

    app.connect("autodoc-process-docstring", _process)
    if hasattr(inspect, "TypeAliasForwardRef"):  # else a type that is told by its name is told by this class as well
        inspect.TypeAliasForwardRef.__repr__ = lambda self: self.name
    app.connect("autodoc-skip-member", _skip)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_rest("\n".join(lines)).split("\n")


def _skip(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    if str(getattr(thing, "__doc__", None)).startswith("Alias for field number"):
        return True
    where = getattr(thing, "__module__", None) or getattr(getattr(thing, "fget", None), "__module__", "") or ""
    for package, names in OF_THE_CONTRACTS.items():
        if name in names and what == "class" and str(where).startswith(package):
            return True
    return None


def as_rest(text: str) -> str:
    """Return a docstring of this project as reStructuredText."""
    blocks = re.split(r"\n[ \t]*\n", text.strip("\n"))
    return "\n\n".join(made for block in blocks for made in _block(block)) + "\n"


def _block(block: str) -> list[str]:
    """Return a block as one or more blocks of reStructuredText: an indented part of it stays as it is."""
    lines = block.split("\n")
    if lines[0].startswith(">>>"):
        return [block]
    found: list[str] = []
    while lines:
        kind = _kind(lines[0])
        end = next((k for k, line in enumerate(lines) if _kind(line) != kind), len(lines))
        part, lines = lines[:end], lines[end:]
        found += {"indented": _literal, "table": _table, "prose": _prose}[kind](part)
    return found


def _kind(line: str) -> str:
    if line.startswith("    "):
        return "indented"
    return "table" if line.startswith("|") and line.rstrip().endswith("|") else "prose"


def _literal(lines: list[str]) -> list[str]:
    return [".. code-block:: text\n\n" + "\n".join(lines)]


def _table(lines: list[str]) -> list[str]:
    rows = [_cells(line) for line in lines if not re.fullmatch(r"[|\-: ]+", line.strip())]
    made = [".. list-table::\n   :header-rows: 1\n"]
    for row in rows:
        made += [f"   {'* - ' if first else '  - '}{escaped(cell)}" for first, cell in _firsts(row)]
    return ["\n".join(made)]


def _cells(line: str) -> list[str]:
    """Return the cells of a row; a bar without spaces on both sides is part of a formula."""
    return [cell.strip() for cell in re.split(r"(?<=\s)\|(?=\s)", line.strip()[1:-1])]


def _firsts(row: list[str]) -> list[tuple[bool, str]]:
    return [(k == 0, cell) for k, cell in enumerate(row)]


def _prose(lines: list[str]) -> list[str]:
    """Return a paragraph, or, where it describes several names one after another, a list of them."""
    if all(line.startswith(("- ", "  ")) for line in lines):
        items = re.split(r"\n?^- ", "\n".join(lines), flags=re.MULTILINE)[1:]
        return ["\n".join(f"* {escaped(' '.join(item.split()))}" for item in items)]
    parts: list[list[str]] = [[]]
    for line in lines:
        before = parts[-1][-1] if parts[-1] else ""
        if re.match(r"`[^`]+`", line) and (not before or before.rstrip().endswith((".", ";", ":"))):
            parts.append([])
        parts[-1].append(line)
    sentences = [piece for part in parts if part for piece in _named(" ".join(part))]
    items = [piece for piece in sentences if piece.startswith("`")]
    if len(items) < 2:
        return [_start(escaped(" ".join(line.strip() for line in lines)))]
    found, listed = [], []
    for piece in sentences:
        if piece.startswith("`"):
            listed.append(f"* {escaped(piece)}")
        else:
            found.append(_start(escaped(piece)))
    return [*found, "\n".join(listed)]


def _named(text: str) -> list[str]:
    """Return the sentences of a text, parted where one begins with `name`: and so describes the next name."""
    return re.split(r"(?<=[.;]) (?=`[^`]+`(?:(?:,| and) `[^`]+`)*: )", text)


def _start(text: str) -> str:
    """Return a paragraph whose first word is not taken for the mark of a list."""
    return re.sub(r"^(\(?\w{1,3}[.)] |[-+*] |:)", r"\\\1", text)


def escaped(text: str) -> str:
    """Return prose in which `code` is a literal, **this** is strong, and nothing else is markup."""
    made, pieces = "", re.split(r"`([^`]*)`", text)
    for k, piece in enumerate(pieces):
        if k % 2:
            made += f"``{piece}``" if piece.strip() == piece and piece else piece
        else:
            made += _plain(piece, after=k > 0, before=k + 1 < len(pieces))
    return made


def _plain(text: str, after: bool, before: bool) -> str:
    """Return prose without code; `after`, `before`: code stands before it, or follows, and must not touch a word."""
    pieces = re.split(r"\*\*(\S(?:[^*]*\S)?)\*\*", text)
    made = ""
    for k, piece in enumerate(pieces):
        clean = re.sub(r"([\\*_|`])", r"\\\1", piece)
        made += f"**{clean}**" if k % 2 else clean
    glued = "\\ " if after and re.match(r"[\w(]", made) else ""
    opened = "\\ " if before and re.search(r"[\w)=*+]$", made) else ""
    return glued + made + opened
