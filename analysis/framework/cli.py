"""The command line of the experiments."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from analysis.framework import cluster, contract, processes, runner, sidecar, store
from analysis.framework.contract import Experiment
from analysis.framework.progress import progress_on
from metagrad import files
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
            command.add_argument("--jobs", type=int, help="worker processes on this machine (default: its cores)")
            command.add_argument("--scheduler", help="work on the Dask cluster of this scheduler, tcp://host:port")
            command.add_argument("--force", action="store_true", help="compute even what is in the cache")
            command.add_argument("--no-table", action="store_true", help="leave the table of claims to the caller")
        if name == "verify":
            command.add_argument("--json", action="store_true", help="print verdicts, and what is wrong, as JSON")
    return top


class UsageError(Exception):
    """A wrong argument; the message says which, what came, and what is known."""


def chosen(only: str, known: list[str]) -> list[str]:
    """Return the names asked for; UsageError names the nearest known one."""
    named = dict.fromkeys(name.strip() for name in only.split(",") if name.strip())
    asked = list(named) or ([only] if only else known)
    for name in asked:
        if name not in known:
            raise UsageError(f"--only: there is no experiment {name!r}. {nearest(name, known)}")
    return asked


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 a claim or a run fails, 2 bad input, 130 interrupted."""
    args = parser().parse_args(arguments)
    console = Console(stderr=False, highlight=False, width=None if sys.stdout.isatty() else 160)
    try:
        with _one_interrupt():
            return _obey(args, console)
    except (UsageError, store.StoreError, cluster.ClusterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        forced = getattr(args, "force", False)
        then = "with --force it starts anew." if forced else "the same command goes on from there."
        print(f"\ninterrupted: finished shards are saved; {then}", file=sys.stderr)
        return _INTERRUPTED


def _obey(args: Any, console: Console) -> int:
    names = chosen(args.only, contract.names())
    jobs, scheduler = getattr(args, "jobs", None), getattr(args, "scheduler", None)
    if args.seed < 0 or (jobs is not None and jobs < 1):
        raise UsageError(f"--seed is {args.seed}, --jobs {jobs}; expected seed >= 0, jobs >= 1.")
    if jobs is not None and scheduler is not None:
        raise UsageError(
            f"--jobs is {jobs} and --scheduler {scheduler}; expected one of them: processes on this machine, or the "
            "workers of a cluster."
        )
    request = runner.Request(args.preset, args.seed, _device(args.device), args.out, getattr(args, "force", False))
    experiments = [contract.load(name) for name in names]
    return {"list": _list, "run": _run, "verify": _verify}[args.command](experiments, request, args, console)


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM interrupt, once: a second one would break off the end of the workers."""
    signals = (signal.SIGINT, signal.SIGTERM)

    def interrupt(number: int, frame: Any) -> None:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(one, interrupt) for one in signals]
    try:
        yield
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


def _device(asked: str) -> str:
    try:
        return "cpu" if module_name(namespace_for(asked, "--device")) == "numpy" else "gpu"
    except ValueError as error:
        raise UsageError(str(error)) from error


def _list(experiments: list[Experiment], request: runner.Request, args: Any, console: Console) -> int:
    for experiment in experiments:
        state = runner.saved_state(experiment, request)
        why = {runner.Saved.CHANGED: runner.changes, runner.Saved.DAMAGED: runner.damage}.get(state)
        changed = f": {escape(why(experiment, request))}" if why else ""
        console.print(
            f"[bold]{experiment.name}[/] ({request.preset}: {state.value}{changed})\n  {escape(experiment.claim)}"
        )
    return 0


def _run(experiments: list[Experiment], request: runner.Request, args: Any, console: Console) -> int:
    for experiment in experiments:
        store.prepare_folder(request.out / experiment.name)
    started, verdicts = time.perf_counter(), {}
    with _workers(args, console) as (executor, workers):
        _announce(experiments, request, workers, console)
        with progress_on(console) as progress:
            for experiment in experiments:
                name = experiment.name
                try:
                    outcome = runner.run(experiment, request, executor, progress)
                except Exception as error:  # the others go on; what was finished of this one is saved
                    _note_failure(name, request, error)
                    if isinstance(error, BrokenProcessPool | runner.RunError):
                        break
                    continue
                verdicts[name] = outcome.verdict
                console.print(f"{name}: done, {'from the cache' if outcome.cached else f'{outcome.seconds:.1f} s'}")
    ended = "all done" if len(verdicts) == len(experiments) else "ended"
    console.print(f"{ended} in {_duration(time.perf_counter() - started)}")
    if not args.no_table:
        print_verdicts(verdicts, console)
    return 0 if len(verdicts) == len(experiments) and all(verdict.holds for verdict in verdicts.values()) else 1


@contextmanager
def _workers(args: Any, console: Console) -> Iterator[tuple[Executor | None, int]]:
    """Yield what computes the shards, and how many workers it has."""
    if args.scheduler is None:
        jobs = args.jobs or os.cpu_count() or 1
        with processes.workers(jobs) as executor:
            yield executor, jobs
    else:
        with cluster.workers(args.scheduler, console.print) as remote:
            yield remote, remote.count()


def _announce(experiments: list[Experiment], request: runner.Request, workers: int, console: Console) -> None:
    """Say what will be computed, and how long it should take, before any of it starts."""
    states = [(experiment, runner.saved_state(experiment, request)) for experiment in experiments]
    todo = [(one, state) for one, state in states if request.force or state is not runner.Saved.CURRENT]
    expected = sum(one.expected_seconds[request.preset] for one, _ in todo) / min(max(workers, 1), 4)
    console.print(
        f"{len(experiments)} experiments, {len(experiments) - len(todo)} from the cache, preset {request.preset}, "
        f"{workers} workers, device {request.device} ({gpu_state()[1]}). Expected duration: {_duration(expected)}."
    )
    for one, state in todo:
        if state is runner.Saved.DAMAGED:
            why = escape(runner.damage(one, request))
            console.print(f"{one.name}: the saved result is damaged ({why}); computing it again")
        if state is runner.Saved.CHANGED:
            why = escape(runner.changes(one, request))
            console.print(f"{one.name}: computing it again, since it has changed ({why})")


def _note_failure(name: str, request: runner.Request, error: Exception) -> None:
    """Say what went wrong, and leave the whole trace beside the earlier result, which stays."""
    path = runner.failure_path(name, request)
    trace = f"trace in {path}"
    try:
        files.write(path, "".join(traceback.format_exception(error)).encode())
    except OSError as trouble:  # a full disk, say: then the result could not be saved either
        trace = f"no trace in {path}: {trouble.strerror}"
    if isinstance(error, BrokenProcessPool):
        print(
            f"error: {name}: a worker process was ended from outside (out of memory?), so the run stops here; "
            "finished shards are saved. Run it again, with a smaller --jobs.",
            file=sys.stderr,
        )
    elif isinstance(error, runner.RunError):
        print(f"error: {name}: {error}", file=sys.stderr)
    else:
        kind = "" if isinstance(error, runner.ShardError) else f"{type(error).__name__}: "
        print(f"error: {name}: {kind}{error} ({trace})", file=sys.stderr)


def _verify(experiments: list[Experiment], request: runner.Request, args: Any, console: Console) -> int:
    verdicts, wrong = {}, {}
    for experiment in experiments:
        try:
            verdicts[experiment.name] = runner.verify(experiment, request)
        except store.StoreError as error:  # the others are verified all the same
            wrong[experiment.name] = str(error)
    code = 2 if wrong else 0 if all(verdict.holds for verdict in verdicts.values()) else 1
    if args.json:
        print(json.dumps({one.name: _told(wrong.get(one.name, ""), verdicts.get(one.name)) for one in experiments}))
        return code
    for text in wrong.values():
        print(f"error: {text}", file=sys.stderr)
    for experiment in experiments:
        changed = runner.changes(experiment, request)
        if changed:
            print(
                f"note: {experiment.name}: this result is not of what is here now ({changed}); run it again.",
                file=sys.stderr,
            )
    print_verdicts(verdicts, console)
    return code


def _told(wrong: str, verdict: contract.Verdict | None) -> dict[str, Any]:
    """Return what is wrong with a result, an empty text for nothing, and the verdict that its arrays lead to."""
    if verdict is None:
        return {"wrong": wrong}
    return {"wrong": "", "claim": verdict.claim, "checks": sidecar.checks_of(verdict), "holds": verdict.holds}


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def print_verdicts(verdicts: dict[str, contract.Verdict], console: Console) -> None:
    """Print a row a check: figure, what was measured, its value, what was expected, and whether it holds."""
    table = RichTable("figure", "what", "measured", "expected", "holds", show_lines=False)
    for name, verdict in verdicts.items():
        for check in verdict.checks:
            holds = {True: "[green]yes[/]", False: "[bold red]NO[/]", None: "-"}[check.holds]
            table.add_row(name, escape(check.what), f"{check.measured:.6g}", escape(check.expected), holds)
    console.print(table)
    for name, verdict in verdicts.items():
        console.print(f"{'holds' if verdict.holds else '[bold red]FAILS[/]'}  {name}: {escape(verdict.claim)}")
