"""Sentences and numbers that several subcommands print."""

from __future__ import annotations

import math
import sys
import textwrap
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from metagrad.cli.words import width
from metagrad.optimizers import Unconstrained
from metagrad.training.runs.read import METRICS

_LEAST_TABLE, _LEAST_COLUMN = 60, 5  # in fewer characters columns would be left out


def print_table(table: Table) -> None:
    """Print a table at the width of the terminal, or wider: at 60 at least, and so that what is not folded has room.

    A narrower terminal folds the lines itself.
    """
    console = Console()
    texts = [[str(column.header), *map(str, column.cells)] for column in table.columns]
    pairs = zip(table.columns, texts, strict=True)
    widths = [max(map(len, found)) if column.no_wrap else column.min_width or _LEAST_COLUMN for column, found in pairs]
    console.width = max(_LEAST_TABLE, console.width, sum(widths) + 3 * len(widths) + 1)
    console.print(table)


def say_hyper_parameters(rule: Any, phi: Any) -> None:
    """Print the hyper-parameters of a hand-designed rule; a learned one has none."""
    if not isinstance(rule, Unconstrained):
        return
    try:
        found = rule.phi(rule.Phi(*map(float, phi)))
    except ValueError as error:  # float64 rounds one to its bound; the coordinate is as good as any
        print(error)
    else:
        print(", ".join(f"{name} = {x:.6g}" for name, x in found._asdict().items()))


def say(text: str) -> None:
    """Print lines, each folded between words at the width of the terminal, what is folded indented below its line."""
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip(" !->")) + 2)
        print(textwrap.fill(line, width(), subsequent_indent=indent, break_on_hyphens=False, break_long_words=False))


def among(paths: list[str]) -> list[str]:
    """Return the runs among several paths, such as those of `runs/*`; what is left out is said."""
    others = [path for path in paths if Path(path).is_dir() and not (Path(path) / METRICS).exists()]
    if len(others) == len(paths):
        return paths
    for path in others:
        print(f"left out: {path}, a folder without {METRICS}", file=sys.stderr)
    return [path for path in paths if path not in others]


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds; a short one with its tenths.

    >>> clock(75.2), clock(3700), clock(2.34), clock(math.nan)
    ('0:01:15', '1:01:40', '2.3 s', '-')
    """
    if not math.isfinite(seconds):
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
