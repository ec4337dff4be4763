"""`metagrad compare`: a table of runs: the best evaluation, episodes, time, and the settings that differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from metagrad.cli.said import among, clock, print_table, say
from metagrad.cli.words import examples
from metagrad.training.runs.gather import differing, gather, half_width, twice
from metagrad.training.runs.read import RunOnDisk, read_runs

_MOST_SETTINGS = 4
HELP = "a table of runs: best evaluation, settings, time"
_EXAMPLES = """
metagrad compare runs/*
metagrad compare runs/seed0 runs/seed1 runs/seed2
"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "compare",
        description="Compare runs: the best evaluation of each and after how many episodes it was, the episodes, the "
        "time, and the settings that differ; the best run first, those without an evaluation last. Seeds of one "
        "setting are summed up below.",
        epilog=examples(_EXAMPLES),
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a folder of meta-train, or a file of metrics (.jsonl)")
    parser.set_defaults(command=run, parser=parser)


def run(args: Any) -> int:
    """Print the table."""
    runs = read_runs("compare", among(args.runs))
    differ = differing(runs)
    measures = sorted({one.measured("evaluation") for one in runs} - {""})
    one_measure = len(measures) < 2
    table = Table()
    table.add_column("run", overflow="fold")
    for name in ("best", "at", "episodes", "time"):
        table.add_column(name, no_wrap=True)
    beside = any(differ) and max(map(len, differ)) <= _MOST_SETTINGS  # more are easier to read below
    if beside:
        table.add_column("settings that differ", overflow="fold", min_width=12)
    order = sorted(range(len(runs)), key=lambda k: _rank(runs[k]))
    for k in order:
        table.add_row(*_cells(runs[k], one_measure), *(["\n".join(_named(runs[k], differ[k]))] if beside else []))
    print_table(table)
    if any(differ) and not beside:
        print("settings that differ:")
        for k in order:
            say(f"  {runs[k].name}: {', '.join(_named(runs[k], differ[k]))}")
    if measures and one_measure:
        say(f"best: the least {measures[0]} of the evaluation tasks; at: after how many episodes it was.")
    elif measures:
        say(f"The runs measured different things ({', '.join(measures)}): these numbers do not compare.")
    _say_seeds(runs)
    return 0


def _rank(one: RunOnDisk) -> tuple[bool, str, float]:
    """Return what the table is sorted by: runs of one measure together, the best first, those without any last."""
    return one.best is None, one.measured("evaluation"), _least(one)


def _least(one: RunOnDisk) -> float:
    return math.inf if one.best is None else one.best[0]


def _cells(one: RunOnDisk, one_measure: bool) -> list[str]:
    best, at = ("none", "-") if one.best is None else (f"{one.best[0]:.6g}", str(one.best[1]))
    if not one_measure:
        best = f"{best} ({one.measured('evaluation')})"
    asked = "" if one.asked is None or one.asked == one.episodes else f" of {one.asked}"
    return [one.name, best, at, f"{one.episodes}{asked}", _time(one)]


def _time(one: RunOnDisk) -> str:
    """Return how long a run took; of one that is under way at least that."""
    if one.saved >= one.episodes:
        return clock(one.seconds)
    return f"> {clock(one.seconds)}" if one.saved and np.isfinite(one.seconds) else "-"


def _named(one: RunOnDisk, differ: dict[str, str]) -> list[str]:
    if one.config is None:
        return ["(no config)"]
    changes = [f"changed after {x.get('after')}: {', '.join(x.get('parts', {}))}" for x in one.changes]
    return [*(f"{name} = {text}" for name, text in differ.items()), *changes]


def _say_seeds(runs: Sequence[RunOnDisk]) -> None:
    """Print mean and interval of the best evaluations where there are several seeds of one setting."""
    for group in gather(runs):
        if len(group.runs) == 1:
            continue
        if pair := twice(group):
            same = f"{pair[0].name} and {pair[1].name} have the same settings and the same seed"
            say(f"{group.label}: {same}, and are not summed up.")
            continue
        best = np.array([_least(one) for one in group.runs])
        mean, half = (float(x) for x in (best.mean(), half_width(best)))
        said = f"mean best {mean:.6g}, 95 % interval {mean - half:.6g} .. {mean + half:.6g}"
        say(f"{group.label}: {said if np.isfinite(half) else 'not all have a finite evaluation'}")
