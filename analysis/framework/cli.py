"""The command line of the experiments."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from analysis.framework import contract, runner, store
from metagrad.errors import nearest
from metagrad.xp import gpu_state, module_name, namespace_for

_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m analysis`."""
    top = argparse.ArgumentParser(prog="python -m analysis", description="Experiments: compute and decide claims.")
    commands = top.add_subparsers(dest="command", required=True)
    for name, text in (
        ("list", "names and claims"),
        ("run", "compute"),
        ("verify", "decide again from saved results"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--only", default="", help="comma-separated names (default: all)")
        command.add_argument("--preset", default="quick", choices=contract.PRESETS, help="size (default: quick)")
        command.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
        command.add_argument("--device", default="auto", help="auto, cpu or gpu (default: auto)")
        command.add_argument("--out", type=Path, default=Path("results"), help="folder of results (default: results)")
        if name == "run":
            command.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
            command.add_argument("--force", action="store_true", help="compute even what is in the cache")
    return top


class UsageError(Exception):
    """A wrong argument; the message says which, what came, and what is known."""


def chosen(only: str, known: list[str]) -> list[str]:
    """Return the names asked for; UsageError names the nearest known one."""
    asked = [name for name in only.split(",") if name] or known
    for name in asked:
        if name not in known:
            raise UsageError(f"--only: there is no experiment {name!r}. {nearest(name, known)}")
    return asked


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 a claim fails, 2 bad input, 130 interrupted."""
    args = parser().parse_args(arguments)
    console = Console(stderr=False, highlight=False, width=None if sys.stdout.isatty() else 160)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        names = chosen(args.only, contract.names())
        if args.seed < 0 or getattr(args, "jobs", 1) < 1:
            raise UsageError(
                f"--seed is {args.seed}, --jobs {getattr(args, 'jobs', 1)}; expected seed >= 0, jobs >= 1."
            )
        request = runner.Request(args.preset, args.seed, _device(args.device), args.out, getattr(args, "force", False))
        return {"list": _list, "run": _run, "verify": _verify}[args.command](names, request, args, console)
    except (UsageError, store.StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        message = "interrupted: finished shards are saved; the same command goes on from there."
        print(f"\n{message}", file=sys.stderr)
        return _INTERRUPTED


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _device(asked: str) -> str:
    try:
        return "cpu" if module_name(namespace_for(asked, "--device")) == "numpy" else "gpu"
    except ValueError as error:
        raise UsageError(str(error)) from error


def _list(names: list[str], request: runner.Request, args: Any, console: Console) -> int:
    for name in names:
        state = "cached" if runner.cached_sidecar(name, request) else "to run"
        console.print(f"[bold]{name}[/] ({request.preset}: {state})\n  {contract.load(name).claim}")
    return 0


def _run(names: list[str], request: runner.Request, args: Any, console: Console) -> int:
    for name in names:
        store.prepare_folder(request.out / name)
    todo = [name for name in names if request.force or runner.cached_sidecar(name, request) is None]
    expected = sum(contract.load(name).expected_seconds[request.preset] for name in todo) / min(args.jobs, 4)
    console.print(
        f"{len(names)} experiments, {len(names) - len(todo)} from the cache, preset {request.preset}, "
        f"{args.jobs} workers, device {request.device} ({gpu_state()[1]}). Expected duration: {_duration(expected)}."
    )
    started, verdicts, failed = time.perf_counter(), {}, False
    with runner.workers(args.jobs) as executor:
        for name in names:
            try:
                outcome = runner.run(name, request, executor, _Lines(console))
            except (ArithmeticError, ValueError, TypeError, OSError, LookupError) as error:
                failed = True  # the others go on; what was finished of this one is saved
                print(f"error: {name}: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            verdicts[name] = outcome.verdict
            console.print(f"{name}: done, {'from the cache' if outcome.cached else f'{outcome.seconds:.1f} s'}")
    console.print(f"all done in {_duration(time.perf_counter() - started)}")
    print_verdicts(verdicts, console)
    return 0 if not failed and all(verdict.holds for verdict in verdicts.values()) else 1


def _verify(names: list[str], request: runner.Request, args: Any, console: Console) -> int:
    verdicts = {name: runner.verify(name, request) for name in names}
    print_verdicts(verdicts, console)
    return 0 if all(verdict.holds for verdict in verdicts.values()) else 1


class _Lines:
    """Progress as lines, at most one every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console, self._last = console, 0.0

    def __call__(self, name: str, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._last >= 2:
            self._console.print(f"{name}: {done}/{count}")
            self._last = now


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def print_verdicts(verdicts: dict[str, contract.Verdict], console: Console) -> None:
    """Print a row a check: figure, what was measured, its value, what was expected, and whether it holds."""
    table = RichTable("figure", "what", "measured", "expected", "holds", show_lines=False)
    for name, verdict in verdicts.items():
        for check in verdict.checks:
            holds = "[green]yes[/]" if check.holds else "[bold red]NO[/]"
            table.add_row(name, check.what, f"{check.measured:.6g}", check.expected, holds)
    console.print(table)
    for name, verdict in verdicts.items():
        console.print(f"{'holds' if verdict.holds else '[bold red]FAILS[/]'}  {name}: {verdict.claim}")
