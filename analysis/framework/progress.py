"""Progress of a run: a bar on a terminal, lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_SECONDS_BETWEEN_LINES = 2.0


@contextmanager
def progress_on(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of (experiment, shards done, shards in all) that shows how far a run is."""
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        yield _bars(bars)


def _lines(console: Console) -> Callable[[str, int, int], None]:
    last = {"": 0.0}

    def show(name: str, done: int, count: int) -> None:
        now = time.monotonic()
        if now - last.get(name, 0.0) >= _SECONDS_BETWEEN_LINES:
            console.print(f"{name}: {done}/{count}")
            last[name] = now

    return show


def _bars(bars: Progress) -> Callable[[str, int, int], None]:
    tasks = {}

    def show(name: str, done: int, count: int) -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=count)
        bars.update(tasks[name], completed=done, visible=done < count)

    return show
