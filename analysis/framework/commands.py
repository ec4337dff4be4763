"""How both command lines speak: the nearest right word for a wrong one, examples, the version, lines that fit."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from metagrad import __version__
from metagrad.errors import nearest


class Parser(argparse.ArgumentParser):
    """A parser of commands: its help ends with examples, and its errors name the nearest command or option."""

    def __init__(self, *args: Any, examples: Iterable[str] = (), **options: Any) -> None:
        """Take what argparse does, and the `examples` that the help ends with, a line each."""
        listed = "\n".join(f"  {line}" for line in examples)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, epilog=f"examples:\n{listed}" if listed else None, **options)
        self._commands: dict[str, argparse.ArgumentParser] = {}

    def add_version(self) -> None:
        """Add --version, which prints that of the package."""
        self.add_argument("--version", action="version", version=f"metagrad {__version__}")

    def add_command(self, commands: Any, name: str, text: str, examples: Iterable[str]) -> Parser:
        """Add a command to what `add_subparsers` returned."""
        made: Parser = commands.add_parser(name, help=text, description=text, examples=examples)
        self._commands[name] = made
        return made

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Return the arguments; a wrong one ends the process with the code 2, and names the nearest right word."""
        given = list(sys.argv[1:] if args is None else args)
        first = next((word for word in given if not word.startswith("-")), None)
        if self._commands and first is not None and first not in self._commands:
            self.error(f"there is no command {first!r}. {nearest(first, list(self._commands))}")
        found, unknown = self.parse_known_args(given, namespace)
        if unknown:
            command = self._commands[found.command] if self._commands else self
            command.error(f"there is no argument {unknown[0]!r}. {_nearest_option(unknown[0], command)}")
        return found


def _nearest_option(word: str, command: argparse.ArgumentParser) -> str:
    known = [option for action in command._actions for option in action.option_strings if option.startswith("--")]
    return nearest(word.partition("=")[0], known)


def one_of(what: str, known: Sequence[str]) -> Callable[[str], str]:
    """Return a type for argparse that takes one of the known words.

    >>> one_of("preset", ("quick", "default"))("quik")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: there is no preset 'quik'. Did you mean 'quick'? Known: 'quick', 'default'.
    """

    def chosen(word: str) -> str:
        if word not in known:
            raise argparse.ArgumentTypeError(f"there is no {what} {word!r}. {nearest(word, list(known))}")
        return word

    return chosen


def add_preset(command: argparse.ArgumentParser, presets: Sequence[str]) -> None:
    """Add --preset, the first one being the default."""
    known, first = "{" + ",".join(presets) + "}", presets[0]
    text = f"size of the experiments (default: {first})"
    command.add_argument("--preset", default=first, type=one_of("preset", presets), metavar=known, help=text)


def console() -> Console:
    """Return the console of standard output: as wide as COLUMNS says, else as the terminal is, else 80 columns."""
    return Console(highlight=False)


def fitted(text: str, width: int) -> str:
    """Return a text on one line of at most so many columns, which ends in "..." where something was left out.

    >>> fitted("the horizon at which backpropagation breaks", 24)
    'the horizon at which...'
    """
    return textwrap.shorten(text, max(width, 4), placeholder="...", break_on_hyphens=False)


def python() -> str:
    """Return how this Python is called from here, for commands that are shown: a path where it lies below here.

    The path is not resolved: that of a virtual environment is a link to another Python.
    """
    path, here = Path(sys.executable), Path(os.path.abspath("."))  # noqa: PTH100
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else "python"


def duration(seconds: float) -> str:
    """Return a time as people say it.

    >>> duration(75), duration(150), duration(9000)
    ('75 s', '2.5 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
