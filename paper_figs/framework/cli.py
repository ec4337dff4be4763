"""The command line of the figures."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.framework import seeds
from paper_figs.framework import results, table
from paper_figs.framework.claims import nearest
from paper_figs.framework.report import write_report
from paper_figs.framework.style import save, styled

_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m paper_figs`."""
    top = argparse.ArgumentParser(prog="python -m paper_figs", description="Figures, drawn from saved results.")
    commands = top.add_subparsers(dest="command", required=True)
    texts = {
        "list": "names and captions",
        "plot": "draw from saved results (no engine, no GPU)",
        "report": "draw, and write one self-contained page",
        "all": "compute what is missing, draw, write the page",
        "claims": "take saved results into claims.json, and write the table of claims in the README",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--only", default="", help="comma-separated names (default: all)")
        command.add_argument("--preset", default="quick", choices=("quick", "default", "paper"), help="size")
        seeds.add_to(command)
        command.add_argument("--out", type=Path, default=Path("results"), help="folder of results (default: results)")
        if name == "all":
            command.add_argument("--device", default="auto", help="auto, cpu or gpu")
            command.add_argument("--jobs", type=int, help="worker processes on this machine (default: its cores)")
            command.add_argument("--scheduler", help="work on the Dask cluster of this scheduler, tcp://host:port")
            command.add_argument("--force", action="store_true", help="compute even what is in the cache")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 a claim or a run fails, 2 bad input, 130 interrupted."""
    args = parser().parse_args(arguments)
    known = results.names()
    named = dict.fromkeys(name.strip() for name in args.only.split(",") if name.strip())
    names = list(named) or ([args.only] if args.only else known)
    for name in names:
        if name not in known:
            listed = nearest(name, known)
            print(f"error: --only: there is no figure {name!r}. Known, nearest first: {listed}.", file=sys.stderr)
            return 2
    try:
        args.at = seeds.chosen(args)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        return _obey(names, args)
    except results.ResultError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: --out {args.out} cannot be written to ({error.strerror}); choose another folder.", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED


def _obey(names: list[str], args: Any) -> int:
    if args.command == "list":
        for name in names:
            print(f"{name}\n  {results.load_figure(name).title}")
        return 0
    if args.command == "claims":
        table.write([_whole(name, args) for name in names], args.preset)
        print(f"claims: {table.SAVED.name}, {table.README.name}")
        return 0
    code = _compute(args) if args.command == "all" else 0
    if code not in (0, 1):
        return code
    verified = {} if args.command == "plot" else _verified(names, args)
    items = [_draw(name, args, verified.get(name, {})) for name in names]
    if args.command != "plot":
        page = args.out / "report.html"
        write_report(items, page, args.preset, args.at)
        print(f"report: {page}")
    if args.command == "all":
        _print_table(items)
    if code == 0 and any(item["claims"] is None for item in items):
        return 2
    return code or (0 if all(item["holds"] for item in items) else 1)


def _compute(args: Any) -> int:
    """Run the experiments in a process of their own, and hand every interrupt on to it: it knows what to save."""
    command = [sys.executable, "-m", "analysis", "run", "--only", args.only, "--preset", args.preset]
    command += [_seeds(args), "--out", str(args.out), "--device", args.device]
    for option in ("jobs", "scheduler"):
        value = getattr(args, option)
        command += [] if value is None else [f"--{option}={value}"]
    child = subprocess.Popen([*command, "--no-table"] + ["--force"] * args.force)
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda number, frame: child.send_signal(number)) for one in signals]
    try:
        return child.wait()
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


def _whole(name: str, args: Any) -> results.Result:
    """Return a result whose claims were decided again from its arrays."""
    result = results.load_result(name, args.out, args.preset, args.at)
    _decided(result, _verified([name], args).get(name, {}))
    return result


def _decided(result: results.Result, verified: dict[str, Any]) -> None:
    """Put what the analysis found, by seed, in the place of what the sidecars say; ResultError where it is wrong."""
    for one in (result.sidecar, *result.others):
        found = verified.get(str(one["seed"]), {})
        if found.get("wrong"):
            raise results.ResultError(found["wrong"])
        one.update(found)


def _seeds(args: Any) -> str:
    return f"--seeds={','.join(map(str, args.at))}"


def _verified(names: list[str], args: Any) -> dict[str, Any]:
    """Return what the analysis finds in each result: it decides every claim again, which no figure does."""
    command = [sys.executable, "-m", "analysis", "verify", "--json", "--only", ",".join(names)]
    command += ["--preset", args.preset, _seeds(args), "--out", str(args.out)]
    child = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    try:
        found: dict[str, Any] = json.loads(child.stdout)
    except ValueError as error:
        raise results.ResultError(
            f"`{' '.join(command[1:])}` gave no answer (exit code {child.returncode})."
        ) from error
    return found


def _draw(name: str, args: Any, verified: dict[str, Any]) -> dict[str, Any]:
    """Draw one figure; where its result is missing or damaged, say so and go on with the others.

    `verified`: what the analysis found in it by seed, which takes the place of what the sidecar says; empty where it
    was not asked.
    """
    module = results.load_figure(name)
    failures = [results.last_failure(name, args.out, args.preset, seed) for seed in args.at]
    failure = next(filter(None, failures), "")
    about = {"name": name, "title": module.title, "alt": module.alt, "failure": failure}
    stem = args.out / "figures" / name
    try:
        result = results.load_result(name, args.out, args.preset, args.at)
        _decided(result, verified)
        caption = _drawn(module, result, stem)
    except results.ResultError as error:
        print(f"error: {error}", file=sys.stderr)
        nothing = {"caption": "", "image": None, "sidecar": None, "claims": None, "holds": False}
        return about | nothing | {"failure": failure or str(error)}
    print(f"{name}: {stem}.png, {stem}.pdf\n  {caption}")
    if failure:
        print(f"error: {name}: the last run did not end ({failure}); this is an earlier result", file=sys.stderr)
    claims = result.claims
    drawn = {"caption": caption, "image": stem.with_suffix(".png"), "sidecar": result.sidecar, "claims": claims}
    return about | drawn | {"holds": claims.holds and not failure}


def _drawn(module: Any, result: results.Result, stem: Path) -> str:
    """Draw the figure, and return its caption; ResultError where the result lacks what they ask for."""
    try:
        about = results.about(result, module, _over(result))
        with styled():
            save(module.draw(result), stem, about=about)
        return about["caption"]
    except KeyError as error:
        raise results.ResultError(
            f"{result.name}: the result does not fit its figure ({error}); run it again."
        ) from error


def _over(result: results.Result) -> str:
    """Return the sentence that a caption ends with where there are several seeds."""
    at = result.claims.seeds
    if len(at) == 1:
        return ""
    return f" Drawn: seed {at[0]}; in brackets: the range of a number over the {seeds.said(at)}."


def _print_table(items: list[dict[str, Any]]) -> None:
    """Print a row a check: figure, what was measured, its value, what was expected, and whether it holds."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    rows = Table("figure", "what", "measured", "expected", "holds")
    for item in items:
        for row in item["claims"].rows if item["claims"] else []:
            holds = {True: "[green]yes[/]", False: "[bold red]NO[/]", None: "-"}[row["holds"]]
            rows.add_row(item["name"], *(escape(row[name]) for name in ("what", "measured", "expected")), holds)
    console.print(rows)
    for item in items:
        claim = item["claims"].claim if item["claims"] else item["failure"]
        console.print(f"{'holds' if item['holds'] else '[bold red]FAILS[/]'}  {item['name']}: {escape(claim)}")
