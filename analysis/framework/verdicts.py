"""The verdicts of several experiments, at one seed or at several: a line each, or a row for every check."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.framework.commands import fitted
from analysis.framework.contract import Check, Verdict

Verdicts = dict[str, dict[int, Verdict]]  # experiment, seed


def hold(found: Verdicts) -> bool:
    """Tell whether every claim holds at every seed."""
    return all(verdict.holds for by_seed in found.values() for verdict in by_seed.values())


def show(found: Verdicts, console: Console, *, long: bool = False) -> None:
    """Print a line an experiment, those that fail last, with the checks that do; `long`: every check of all.

    Of several seeds: the range of the values over them, and at which the check fails.
    """
    failing = {name: by_seed for name, by_seed in found.items() if not hold({name: by_seed})}
    holding = {name: by_seed for name, by_seed in found.items() if name not in failing}
    broad = max(map(len, holding), default=0)
    for name, by_seed in holding.items():
        start = f"holds{_several(by_seed)}  {name}"
        if long:
            console.print(f"{start}: {escape(_claim(by_seed))}")
            console.print(_table(name, by_seed))
        else:
            start += f"{'':{broad - len(name)}}  {_counted(by_seed)}  "
            console.print(start + escape(fitted(_claim(by_seed), console.width - len(start))), soft_wrap=True)
    for name, by_seed in failing.items():
        at = f" at {_seeds(_failing(by_seed))}" if len(by_seed) > 1 else ""
        console.print(f"[bold red]FAILS[/]{at}  {name}: {escape(_claim(by_seed))}")
        console.print(_table(name, by_seed, all_checks=long))
    if not long:
        console.print("Every check with its numbers: add --long.", style="dim")


def _claim(by_seed: dict[int, Verdict]) -> str:
    return next(iter(by_seed.values())).claim


def _several(by_seed: dict[int, Verdict]) -> str:
    return f" at {len(by_seed)} seeds" if len(by_seed) > 1 else ""


def _failing(by_seed: dict[int, Verdict]) -> list[str]:
    return [str(seed) for seed, verdict in by_seed.items() if not verdict.holds]


def _counted(by_seed: dict[int, Verdict]) -> str:
    decided = sum(check.holds is not None for check in next(iter(by_seed.values())).checks)
    return f"{decided:>2} check{'s' if decided > 1 else ' '}"


def _table(name: str, by_seed: dict[int, Verdict], *, all_checks: bool = True) -> Table:
    """Return a row a check: what was measured, its value, what was expected, and whether it holds."""
    table = Table(name, "measured", "expected", "holds", box=box.SIMPLE_HEAD)
    for checks in zip(*(verdict.checks for verdict in by_seed.values()), strict=True):
        failing = [str(seed) for seed, check in zip(by_seed, checks, strict=True) if check.fails]
        first = checks[0]
        if failing or all_checks:
            expected = "" if first.holds is None else escape(first.expected)
            held = _held(first, failing, len(checks))
            table.add_row(escape(first.what), escape(_measured(checks)), expected, held)
    return table


def _measured(checks: tuple[Check, ...]) -> str:
    values = [check.measured for check in checks]
    if len(values) > 1:
        if any(map(math.isnan, values)):
            return f"not a number at {sum(map(math.isnan, values))} of {len(values)} seeds"
        return f"{min(values):.4g} to {max(values):.4g}"
    interval = checks[0].interval
    beside = f" ({interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
    return f"{values[0]:.6g}{beside}"


def _held(check: Check, failing: list[str], seeds: int) -> str:
    if check.holds is None:
        return "reported"
    if not failing:
        return "[green]yes[/]"
    return f"[bold red]NO{f' at {_seeds(failing)}' if seeds > 1 else ''}[/]"


def _seeds(failing: list[str]) -> str:
    return f"seed{'s' * (len(failing) > 1)} {', '.join(failing)}"
