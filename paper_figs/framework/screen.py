"""What the commands of the figures print: lists, captions, verdicts, and the last screen of the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.framework import commands, seeds
from paper_figs.framework import headlines, results

Items = list[dict[str, Any]]  # of `cli`: a figure each


def show_figures(names: list[str], console: Console, *, long: bool = False) -> None:
    """Print a line a figure; `long`: what it shows, too."""
    broad = max(map(len, names))
    for name in names:
        module = results.load_figure(name)
        if long:
            console.print(f"[bold]{name}[/]: {escape(module.title)}\n  {escape(module.alt)}")
        else:
            title = commands.fitted(module.title, console.width - broad - 2)
            console.print(f"{name:<{broad}}  {escape(title)}", soft_wrap=True)


def show_captions(items: Items, console: Console) -> None:
    """Print what was written of each figure, and its caption."""
    for item in items:
        if item["claims"] is not None:
            console.print(f"{item['name']}: {', '.join(map(str, item['files']))}", soft_wrap=True)
            console.print(f"  {escape(item['caption'])}")


def show_verdicts(items: Items, console: Console, *, long: bool = False) -> None:
    """Print a line a figure, those that fail last, with the checks that do; `long`: every check of all."""
    broad = max(len(item["name"]) for item in items)
    for item in sorted(items, key=lambda one: not one["holds"]):
        claims, name = item["claims"], item["name"]
        if item["holds"]:
            start = f"holds  {name:<{broad}}  "
            short = commands.fitted(headlines.measured(claims), console.width - len(start))
            console.print(escape(start + short), soft_wrap=True)
        else:
            said = item["failure"] or claims.claim
            console.print(f"[bold red]FAILS[/]  {name}: {escape(said)}")
        if claims is not None and (long or not claims.holds):
            console.print(_table(item, all_checks=long))


def _table(item: dict[str, Any], *, all_checks: bool) -> Table:
    """Return a row a check: what was measured, its value, what was expected, and whether it holds."""
    found = Table(item["name"], "measured", "expected", "holds", box=box.SIMPLE_HEAD)
    for row in item["claims"].rows:
        if all_checks or row["failing"]:
            look = {True: "[green]{}[/]", False: "[bold red]{}[/]", None: "{}"}[row["holds"]]
            cells = [escape(row[name]) for name in ("what", "measured")]
            expected = "" if row["holds"] is None else escape(row["expected"])
            found.add_row(*cells, expected, look.format("NO" if row["verdict"] == "no" else row["verdict"]))
    return found


def show_end(items: Items, page: Path, args: Any, console: Console) -> None:
    """Print the last screen: the figures and where they are, how many claims hold, the report, and what to do next."""
    drawn = [item for item in items if item["files"]]
    kinds = dict.fromkeys(path.suffix for item in drawn for path in item["files"])
    held = sum(item["holds"] for item in items)
    rows = [("claims", f"{held} of {len(items)} hold (preset {args.preset}, {seeds.said(args.at)})")]
    if drawn:
        rows.append(("figures", f"{len(drawn)} in {page.parent / 'figures'} ({', '.join(kinds)})"))
    rows += [("data", f"{page.parent}/NAME/{args.preset}-seed{args.at[0]} (.npz, .csv, .json)"), ("report", str(page))]
    console.print()
    for head, text in rows:
        console.print(f"[bold]{head + ':':<8}[/] {escape(text)}", soft_wrap=True)
    console.print("\nNext:")
    for command, why in _next(items, args):
        console.print(f"  {command}\n      {why}", soft_wrap=True, highlight=False)


def _next(items: Items, args: Any) -> list[tuple[str, str]]:
    """Return a few commands, each with what it is for."""
    python = commands.python()
    here = "" if args.out == Path("results") else f" --out {args.out}"
    asked = f"--preset {args.preset} --seeds={','.join(map(str, args.at))}{here}"
    if lost := [item["name"] for item in items if item["claims"] is None]:
        first = (f"{python} -m analysis run --only {','.join(lost)} {asked}", "compute what has no result")
    elif failing := [item["name"] for item in items if not item["holds"]]:
        verify = f"{python} -m analysis verify --only {','.join(failing)} {asked} --long"
        first = (verify, "every check of what fails, decided again")
    else:
        first = (f"{python} -m paper_figs all --seeds 0..4{here}", "every claim at five seeds: is it luck?")
    metagrad = python.removesuffix("python") + "metagrad" if "/" in python else "metagrad"
    return [
        first,
        (f"{python} -m paper_figs all --only meta_training --preset default{here}", "one figure at a larger size"),
        (f"{metagrad} meta-train configs/adam_quadratics.toml", "train one of your own: all numbers of Adam, tuned"),
    ]
