"""The command line of the figures."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from analysis.framework import commands, needs, seeds
from paper_figs.framework import groups, results, screen, style, table
from paper_figs.framework.claims import nearest
from paper_figs.framework.report import write_report

_INTERRUPTED = 130
_PRESETS = ("quick", "default", "paper")
_COMMANDS = {
    "all": (
        "compute what is missing, draw, write the report page",
        (
            "python -m paper_figs all",
            "python -m paper_figs all --only meta_training,explosion --preset default",
            "python -m paper_figs all --seeds 0..4 --jobs 4",
        ),
    ),
    "list": ("names and titles", ("python -m paper_figs list", "python -m paper_figs list --only tuners --long")),
    "plot": (
        "draw from saved results (no engine, no GPU)",
        (
            "python -m paper_figs plot --only method_map",
            "python -m paper_figs plot --only method_map --width 5 --format pdf,svg",
        ),
    ),
    "report": (
        "draw from saved results, and write the report page",
        ("python -m paper_figs report", "python -m paper_figs report --preset default --seeds 0,1 --long"),
    ),
    "claims": (
        "take saved results into claims.json, and write the README's table and docs/claims.md",
        ("python -m paper_figs claims --preset default --seeds 0,1", "python -m paper_figs claims --kept"),
    ),
}


def parser() -> commands.Parser:
    """Return the parser of `python -m paper_figs`."""
    text = "Figures, drawn from saved results. `COMMAND --help` has options and examples of each."
    first = [examples[0] for _, examples in _COMMANDS.values()]
    top = commands.Parser(prog="python -m paper_figs", description=text, examples=first)
    top.add_version()
    added = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (about, examples) in _COMMANDS.items():
        command = top.add_command(added, name, about, examples)
        command.add_argument("--only", default="", metavar="NAMES", help="comma-separated names (default: all)")
        commands.add_preset(command, _PRESETS)
        seeds.add_to(command)
        command.add_argument("--out", type=Path, default=Path("results"), help="folder of results (default: results)")
        if name in ("plot", "report", "all"):
            command.add_argument("--width", type=_width, default=style.WIDTH, metavar="INCHES", help=_WIDTH)
            command.add_argument("--format", type=_formats, default=("png", "pdf"), metavar="FORMATS", help=_FORMAT)
        if name in ("list", "report", "all"):
            command.add_argument("--long", action="store_true", help=_LONG[name])
        if name == "claims":
            text = "take no results: write the tables anew from what claims.json has"
            command.add_argument("--kept", action="store_true", help=text)
        if name == "all":
            command.add_argument("--device", default="auto", help="auto, cpu or gpu")
            command.add_argument("--jobs", type=int, help="worker processes on this machine (default: its cores)")
            command.add_argument("--scheduler", help="work on the Dask cluster of this scheduler, tcp://host:port")
            command.add_argument("--force", action="store_true", help="compute even what is in the cache")
            needs.add_to(command)
    return top


_WIDTH = f"width of the figures, {style.NARROWEST:g} to {style.WIDEST:g} inches (default: {style.WIDTH:g})"
_FORMAT = f"of {', '.join(style.FORMATS)}, with commas between them (default: png,pdf); the page needs png, and has it"
_EVERY_CHECK = "show every check of every claim, not those alone that fail"
_LONG = {"list": "tell what each figure shows", "report": _EVERY_CHECK, "all": _EVERY_CHECK}


def _width(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not style.NARROWEST <= found <= style.WIDEST:
        expected = f"a number of inches from {style.NARROWEST:g} to {style.WIDEST:g}"
        raise argparse.ArgumentTypeError(f"it is {text!r}; expected {expected}")
    return found


def _formats(text: str) -> tuple[str, ...]:
    chosen = commands.one_of("format", style.FORMATS)
    return tuple(dict.fromkeys(chosen(word.strip()) for word in text.split(",")))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 a claim or a run fails, 2 bad input, 130 interrupted."""
    args = parser().parse_args(arguments)
    known = groups.ordered(results.names())
    named = dict.fromkeys(name.strip() for name in args.only.split(",") if name.strip())
    names = list(named) or ([args.only] if args.only else known)
    for name in names:
        if name not in known:
            first, *others = nearest(name, known).split(", ")
            text = f"error: --only: there is no figure {name!r}. Did you mean {first!r}? Known, nearest first: "
            print(text + ", ".join((first, *others)) + ".", file=sys.stderr)
            return 2
    try:
        args.at = seeds.chosen(args)
        needs.take(args)
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
    console = commands.console()
    if args.command == "list":
        screen.show_figures(names, console, long=args.long)
        return 0
    if args.command == "claims":
        names = [] if args.kept else _with_results(names, args)
        table.write([_whole(name, args) for name in names], args.preset)
        print(f"claims: {table.SAVED.name}, {table.README.name}, {table.PAGE.parent.name}/{table.PAGE.name}")
        return 0
    code = _compute(args) if args.command == "all" else 0
    if code not in (0, 1):
        return code
    every, names = names, _with_results(names, args, said=args.command != "all")  # the run has said what it left out
    if not names:
        return code
    if args.command == "plot":
        items = [_draw(name, args, {}) for name in names]
        screen.show_captions(items, console)
    else:
        args.format = tuple(dict.fromkeys(("png", *args.format)))
        print(f"deciding and drawing {len(names)} figure{'s' * (len(names) > 1)}")
        verified = _verified(names, args)
        items = [_draw(name, args, verified.get(name, {})) for name in names]
        page = args.out / "report.html"
        write_report(items, page, args.preset, args.at, tuple(name for name in every if name not in names))
        screen.show_verdicts(items, console, long=args.long)
        screen.show_end(items, page, args, console)
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


def _with_results(names: list[str], args: Any, *, said: bool = True) -> list[str]:
    """Return the names without those that were not run because their data are not here; `said`: print which."""
    lost = [name for name in names if not all(results.is_there(name, args.out, args.preset, seed) for seed in args.at)]
    found = _verified(lost, args) if lost else {}
    needed = {name: one["needs"] for name in lost for one in found.get(name, {}).values() if "needs" in one}
    for text in needed.values() if said else ():
        print(f"not run: {text}")
    return [name for name in names if name not in needed]


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
    try:
        result = results.load_result(name, args.out, args.preset, args.at)
        _decided(result, verified)
        caption, written = _drawn(module, result, args)
    except results.ResultError as error:
        print(f"error: {error}", file=sys.stderr)
        nothing = {"caption": "", "details": "", "files": (), "result": None, "claims": None, "holds": False}
        return about | nothing | {"failure": failure or str(error)}
    if failure:
        print(f"error: {name}: the last run did not end ({failure}); this is an earlier result", file=sys.stderr)
    claims = result.claims
    drawn = {"files": written, "result": result, "claims": claims, "holds": claims.holds and not failure}
    return about | caption | drawn


def _drawn(module: Any, result: results.Result, args: Any) -> tuple[dict[str, str], tuple[Path, ...]]:
    """Draw the figure; return its caption with details, and what was written. ResultError where the result lacks
    what they ask for."""
    try:
        about = results.about(result, module, _over(result))
        with style.styled(width=args.width):
            drawn = module.draw(result)
            written = style.save(drawn, args.out / "figures" / result.name, formats=args.format, about=about)
        return {name: about[name] for name in ("caption", "details")}, written
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
