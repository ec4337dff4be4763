"""How a run of meta-train goes on: a line that stays within the width of the terminal, or plain lines elsewhere."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live as Redrawn
from rich.text import Text

from metagrad.cli.said import clock

_SHORTEST_BAR, _LONGEST_BAR = 8, 40
_LOOKED_AT = 50  # episodes that the time of the next ones is told from


class Live:
    """The episode, a bar, the time that is left, the objective, and what else there is room for.

    On a terminal it is one line that is drawn anew; elsewhere, such as in a pipe or a file, there is a line an
    evaluation, without control characters.
    """

    def __init__(self, episodes: int, console: Console | None = None) -> None:
        """Begin before the first episode of `episodes`."""
        self._episodes, self._done, self._fields = episodes, 0, list[list[str]]()
        self._seen: deque[float] = deque([time.monotonic()], maxlen=_LOOKED_AT)
        self._evaluated: tuple[str, str] | None = None
        self._console = Console(stderr=True) if console is None else console
        on_terminal = sys.stderr.isatty() if console is None else console.is_terminal
        self._drawn: Redrawn | None = None
        if on_terminal and not self._console.is_dumb_terminal:
            self._drawn = Redrawn(self, console=self._console, refresh_per_second=4)

    def __enter__(self) -> Live:
        """Begin to draw."""
        if self._drawn is not None:
            self._drawn.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the last line where it is; none where no episode was left to do."""
        if self._drawn is not None:
            self._drawn.transient = self._done == 0
            self._drawn.stop()

    def show(self, row: dict[str, Any]) -> None:
        """Show an episode."""
        self._done = row["episode"] + 1
        self._seen.append(time.monotonic())
        if "evaluation" in row:
            name, value, best = row["measured"]["evaluation"], f"{row['evaluation']:.5g}", f"{row['best']:.5g}"
            self._evaluated = f"{name} {value}, best {best}", f"best {best}"
        self._fields = self._described(row)
        if self._drawn is not None:
            if self._done == self._episodes:  # it ends before it would be drawn again
                self._drawn.refresh()
        elif "evaluation" in row:
            head = f"episode {self._done}/{self._episodes}  left {clock(self.left)}  "
            said = os.environ.get("COLUMNS", "")
            room = int(said) - len(head) if said.isdecimal() else sys.maxsize
            print(head + fitted(self._fields, room), file=sys.stderr, flush=True)

    @property
    def left(self) -> float:
        """How many seconds the episodes that are left will take, by those before; NaN before there is one."""
        count = len(self._seen) - 1
        if not count:
            return math.nan
        return (self._seen[-1] - self._seen[0]) / count * (self._episodes - self._done)

    def _described(self, row: dict[str, Any]) -> list[list[str]]:
        """Return what there is to say, the most important first, each in its forms from the longest on."""
        trouble = sum(row["status"].values()) - row["status"].get("OK", 0)
        value = f"{row['objective'][-1]:.4g}"
        fields = [[f"{row['measured']['objective']} {value}", f"objective {value}", value]]
        if self._evaluated is not None:
            fields.append(list(self._evaluated))
        with np.errstate(invalid="ignore"):
            fields.append([f"log10|grad| {row['log2_gradient_norm'][-1] * np.log10(2):.2f}"])
        fields += [[f"status {trouble}"], [f"clipped {row['clipped']}"]]
        return fields if not trouble else [fields[0], fields[-2], *fields[1:-2], fields[-1]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the line, within the width that there is now."""
        yield Text(self.line(options.max_width, plain=options.ascii_only), no_wrap=True, overflow="crop")

    def line(self, width: int, *, plain: bool = False) -> str:
        """Return the line: the count, the bar and the time have their place first, and what fits of the rest."""
        head = f"{self._done:>{len(str(self._episodes))}}/{self._episodes} "
        head = f"episode {head}" if width >= 60 else head
        left = f" {clock(self.left) if self._done else '-:--:--':>7} left"
        room = width - len(head) - len(left)
        bar = max(min(_SHORTEST_BAR, room), min(_LONGEST_BAR, room // 4))
        text = fitted(self._fields, room - bar - 2)
        return f"{head}{_bar(self._done / self._episodes, bar, plain)}{left}{f'  {text}' if text else ''}"


def fitted(fields: Sequence[Sequence[str]], room: int) -> str:
    """Return the fields, two blanks apart, that fit: each in its longest form that leaves room for the next one.

    >>> fitted([["mean loss 0.123", "0.123"], ["best 0.1"], ["clipped 0"]], 26)
    'mean loss 0.123  best 0.1'
    >>> fitted([["mean loss 0.123", "0.123"], ["best 0.1"], ["clipped 0"]], 24)
    '0.123  best 0.1'
    """
    found: list[str] = []
    for k, forms in enumerate(fields):
        free = room - sum(len(text) + 2 for text in found)
        fits = [form for form in forms if len(form) <= free]
        if not fits:
            break
        after = min(map(len, fields[k + 1])) + 2 if k + 1 < len(fields) else 0
        found.append(next((form for form in fits if len(form) + after <= free), fits[0]))
    return "  ".join(found)


def _bar(part: float, length: int, plain: bool) -> str:
    full = round(part * length)
    return "#" * full + "." * (length - full) if plain else "━" * full + "╌" * (length - full)
