"""The parser: help for a terminal of any width, and errors that say the nearest right word."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

_LEAST_WIDTH = 40


def examples(text: str) -> str:
    """Return the examples at the end of a help."""
    return "examples:\n" + textwrap.indent(text.strip("\n"), "  ")


def width() -> int:
    """Return how wide the lines of a help may be: those of the terminal, or what COLUMNS says."""
    return max(_LEAST_WIDTH, shutil.get_terminal_size().columns)


class Help(argparse.RawDescriptionHelpFormatter):
    """Lines as they were written, and as wide as the terminal; two columns where there is room."""

    def __init__(self, prog: str) -> None:
        """Take the width of the terminal."""
        super().__init__(prog, max_help_position=22, width=width() - 1)


class Parser(argparse.ArgumentParser):
    """A parser that says, for a wrong command or option, which one was probably meant."""

    def __init__(self, **settings: Any) -> None:
        """Take the help of this command."""
        super().__init__(**{"formatter_class": Help} | settings)
        if self.description:
            self.description = textwrap.fill(self.description, width() - 1)

    def read(self, args: Sequence[str] | None) -> Any:
        """Return the arguments; one that is unknown ends the command, with the nearest one that is known."""
        found, unknown = self.parse_known_args(args)
        if unknown:
            asked: Parser = getattr(found, "parser", self)
            asked.refuse(unknown)
        return found

    def refuse(self, unknown: list[str]) -> NoReturn:
        """End the command for arguments that it does not know."""
        options = [text for action in self._actions for text in action.option_strings if text.startswith("--")]
        first = unknown[0].partition("=")[0]
        close = get_close_matches(first, options, n=1) if first.startswith("-") else []
        hint = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(options)}."
        self.error(f"unknown argument: {' '.join(unknown)}.{hint}")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, with the nearest right word for a wrong command, and end with 2."""
        given, known = self._commands(message)
        if given is not None:
            close = get_close_matches(given, known, n=1, cutoff=0.4)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            message = f"there is no command {given!r}. {hint}Known: {', '.join(known)}."
        super().error(message)

    def _commands(self, message: str) -> tuple[str | None, list[str]]:
        """Return the command that was given and those that there are, where the message is of a wrong one."""
        known = [name for action in self._actions if isinstance(action.choices, dict) for name in action.choices]
        _, wrong, rest = message.partition("invalid choice: ")
        return (rest.split("'")[1], known) if known and wrong and "'" in rest else (None, known)


def whole(least: int) -> Callable[[str], int]:
    """Return what reads an integer of at least `least`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}; expected an integer of at least {least}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value}; expected an integer of at least {least}")
        return value

    return read
