"""The verdicts of several experiments, at one seed or at several, as a table for people."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.framework.contract import Check, Verdict

Verdicts = dict[str, dict[int, Verdict]]  # experiment, seed


def hold(found: Verdicts) -> bool:
    """Tell whether every claim holds at every seed."""
    return all(verdict.holds for by_seed in found.values() for verdict in by_seed.values())


def show(found: Verdicts, console: Console) -> None:
    """Print a row a check: figure, what was measured, its value, what was expected, and whether it holds.

    Of several seeds: the range of the values over them, and at which the check fails.
    """
    table = Table("figure", "what", "measured", "expected", "holds", show_lines=False)
    for name, by_seed in found.items():
        for checks in zip(*(verdict.checks for verdict in by_seed.values()), strict=True):
            failing = [str(seed) for seed, check in zip(by_seed, checks, strict=True) if check.fails]
            first = checks[0]
            table.add_row(
                name,
                escape(first.what),
                escape(_measured(checks)),
                escape(first.expected),
                _held(first, failing, len(checks)),
            )
    console.print(table)
    for name, by_seed in found.items():
        claim = next(iter(by_seed.values())).claim
        failing = [str(seed) for seed, verdict in by_seed.items() if not verdict.holds]
        several = f" at {len(by_seed)} seeds" if len(by_seed) > 1 else ""
        said = f"[bold red]FAILS[/]{several and f' at {_seeds(failing)}'}" if failing else f"holds{several}"
        console.print(f"{said}  {name}: {escape(claim)}")


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
        return "-"
    if not failing:
        return "[green]yes[/]"
    return f"[bold red]NO{f' at {_seeds(failing)}' if seeds > 1 else ''}[/]"


def _seeds(failing: list[str]) -> str:
    return f"seed{'s' * (len(failing) > 1)} {', '.join(failing)}"
