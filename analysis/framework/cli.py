"""The command line of the experiments."""

from __future__ import annotations

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

from analysis.framework import cluster, commands, contract, needs, processes, runner, seeds, sidecar, store, verdicts
from analysis.framework.contract import Experiment
from analysis.framework.progress import progress_on
from metagrad import files
from metagrad.errors import nearest
from metagrad.xp import gpu_state, module_name, namespace_for

_INTERRUPTED = 130

Work = list[tuple[Experiment, runner.Request]]


_COMMANDS = {
    "list": (
        "what there is: a line an experiment, with the seconds that it takes on one core",
        ("python -m analysis list", "python -m analysis list --only explosion,horizons --preset paper --long"),
    ),
    "run": (
        "compute what is not there yet, and decide the claims",
        (
            "python -m analysis run --only meta_training",
            "python -m analysis run --preset default --seeds 0..4 --jobs 4",
            "python -m analysis run --scheduler tcp://host:8786 --preset paper",
        ),
    ),
    "verify": (
        "decide the claims again from saved results",
        ("python -m analysis verify", "python -m analysis verify --only explosion --seeds 0..2 --long"),
    ),
}


def parser() -> commands.Parser:
    """Return the parser of `python -m analysis`."""
    text = "Experiments: compute, and decide claims. `COMMAND --help` has options and examples of each."
    first = [examples[0] for _, examples in _COMMANDS.values()]
    top = commands.Parser(prog="python -m analysis", description=text, examples=first)
    top.add_version()
    added = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (about, examples) in _COMMANDS.items():
        command = top.add_command(added, name, about, examples)
        command.add_argument("--only", default="", metavar="NAMES", help="comma-separated names (default: all)")
        commands.add_preset(command, contract.PRESETS)
        seeds.add_to(command)
        command.add_argument("--device", default="auto", help="auto, cpu or gpu (default: auto)")
        command.add_argument("--out", type=Path, default=Path("results"), help="folder of results (default: results)")
        command.add_argument("--long", action="store_true", help=_LONG[name])
        needs.add_to(command)
        if name == "run":
            command.add_argument("--jobs", type=int, help="worker processes on this machine (default: its cores)")
            command.add_argument("--scheduler", help="work on the Dask cluster of this scheduler, tcp://host:port")
            command.add_argument("--force", action="store_true", help="compute even what is in the cache")
            command.add_argument("--no-table", action="store_true", help="leave the verdicts to the caller")
        if name == "verify":
            command.add_argument("--json", action="store_true", help="print verdicts, and what is wrong, as JSON")
    return top


_EVERY_CHECK = "show every check of every claim, not those alone that fail"
_LONG = {"list": "show each claim in full, and why something is to run", "run": _EVERY_CHECK, "verify": _EVERY_CHECK}


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
    console = commands.console()
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
    try:
        at = seeds.chosen(args)
        needs.take(args)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs is {jobs}; expected at least 1.")
    if jobs is not None and scheduler is not None:
        raise UsageError(
            f"--jobs is {jobs} and --scheduler {scheduler}; expected one of them: processes on this machine, or the "
            "workers of a cluster."
        )
    device, force = _device(args.device), getattr(args, "force", False)
    requests = [runner.Request(args.preset, seed, device, args.out, force) for seed in at]
    work = [(experiment, request) for experiment in map(contract.load, names) for request in requests]
    return {"list": _list, "run": _run, "verify": _verify}[args.command](work, args, console)


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


def _list(work: Work, args: Any, console: Console) -> int:
    if args.long:
        _list_in_full(work, console)
        return 0
    found: dict[str, list[str]] = {}
    for experiment, request in work:
        found.setdefault(experiment.name, []).append(_state(experiment, request))
    rows = {}
    for name, states in found.items():
        alike = len(set(states)) == 1
        state = states[0] if alike else f"{states.count('cached')} of {len(states)} cached"
        expected = commands.duration(contract.load(name).expected_seconds[args.preset] * len(states))
        rows[name] = (contract.summary(name), expected, state)
    heads = ("experiment", f"what ({args.preset} preset)", "1 core", "state")
    lines = [heads, *((name, *row) for name, row in rows.items())]
    name_, _, expected_, state_ = (max(len(line[k]) for line in lines) for k in range(4))
    wide = max(console.width - name_ - expected_ - state_ - 6, 18)
    for line in lines:
        what = commands.fitted(line[1], wide)
        text = f"{line[0]:<{name_}}  {what:<{wide}}  {line[2]:>{expected_}}  {line[3]}"
        console.print(escape(text), soft_wrap=True, style="dim" if line is heads else None)
    return 0


def _state(experiment: Experiment, request: runner.Request) -> str:
    if runner.lacking(experiment, request):
        return "no data"
    return _STATES[runner.saved_state(experiment, request)]


_STATES = {
    runner.Saved.CURRENT: "cached",
    runner.Saved.MISSING: "to run",
    runner.Saved.CHANGED: "changed",
    runner.Saved.DAMAGED: "damaged",
}


def _list_in_full(work: Work, console: Console) -> None:
    several = len({request.seed for _, request in work}) > 1
    for experiment, request in work:
        which = f"{request.preset}, seed {request.seed}" if several else request.preset
        state = runner.saved_state(experiment, request)
        why = {runner.Saved.CHANGED: runner.changes, runner.Saved.DAMAGED: runner.damage}.get(state)
        changed = f": {escape(why(experiment, request))}" if why else ""
        console.print(f"[bold]{experiment.name}[/] ({which}: {state.value}{changed})", soft_wrap=True)
        expected = commands.duration(experiment.expected_seconds[request.preset])
        console.print(f"  {contract.summary(experiment.name)} Expected: {expected} on one core.")
        if said := runner.lacking(experiment, request):
            console.print(f"  Not to be run: {escape(said)}.", soft_wrap=True)
        console.print(f"  {escape(experiment.claim)}")


def _run(work: Work, args: Any, console: Console) -> int:
    work = _without(work, {(one.name, request.seed): runner.lacking(one, request) for one, request in work}, console)
    if not work:
        return 0
    for experiment, request in work:
        store.prepare_folder(request.out / experiment.name)
    started, found = time.perf_counter(), verdicts.Verdicts()
    several = len({request.seed for _, request in work}) > 1
    with _workers(args, console) as (executor, workers):
        _announce(work, workers, console)
        with progress_on(console) as progress:
            for experiment, request in work:
                name = experiment.name
                try:
                    outcome = runner.run(experiment, request, executor, progress)
                except Exception as error:  # the others go on; what was finished of this one is saved
                    _note_failure(name, request, error)
                    if isinstance(error, BrokenProcessPool | runner.RunError):
                        break
                    continue
                found.setdefault(name, {})[request.seed] = outcome.verdict
                label = f"{name}, seed {request.seed}" if several else name
                console.print(f"{label}: done, {'from the cache' if outcome.cached else f'{outcome.seconds:.1f} s'}")
    whole = sum(map(len, found.values())) == len(work)
    console.print(f"{'all done' if whole else 'ended'} in {commands.duration(time.perf_counter() - started)}")
    if not args.no_table:
        verdicts.show(found, console, long=args.long)
    return 0 if whole and verdicts.hold(found) else 1


def _without(work: Work, lacking: dict[tuple[str, int], str], console: Console) -> Work:
    """Return what has its data; say once of each other experiment what it needs."""
    for said in dict.fromkeys(filter(None, lacking.values())):
        console.print(f"not run: {escape(said)}", soft_wrap=True)
    return [(one, request) for one, request in work if not lacking.get((one.name, request.seed))]


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


def _announce(work: Work, workers: int, console: Console) -> None:
    """Say what will be computed, and how long it should take, before any of it starts."""
    first, at = work[0][1], tuple(dict.fromkeys(request.seed for _, request in work))
    states = [(experiment, request, runner.saved_state(experiment, request)) for experiment, request in work]
    todo = [one for one in states if first.force or one[2] is not runner.Saved.CURRENT]
    expected = sum(one.expected_seconds[first.preset] for one, _, _ in todo) / min(max(workers, 1), 4)
    runs = f" at {len(at)} seeds" if len(at) > 1 else ""
    console.print(
        f"{len(work) // len(at)} experiments{runs}, {len(work) - len(todo)} from the cache, preset {first.preset}, "
        f"{workers} workers, device {first.device} ({gpu_state()[1]}). "
        f"Expected duration: {commands.duration(expected)}."
    )
    for one, request, state in todo:
        if state is runner.Saved.DAMAGED:
            why = escape(runner.damage(one, request))
            console.print(f"{one.name}: the saved result is damaged ({why}); computing it again", soft_wrap=True)
        if state is runner.Saved.CHANGED:
            why = escape(runner.changes(one, request))
            console.print(f"{one.name}: computing it again, since it has changed ({why})", soft_wrap=True)


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


def _verify(work: Work, args: Any, console: Console) -> int:
    found, wrong = verdicts.Verdicts(), {}
    lacking = {(one.name, request.seed): _not_run(one, request) for one, request in work}
    every, work = work, [(one, request) for one, request in work if not lacking[one.name, request.seed]]
    for experiment, request in work:
        try:
            found.setdefault(experiment.name, {})[request.seed] = runner.verify(experiment, request)
        except store.StoreError as error:  # the others are verified all the same
            wrong[experiment.name, request.seed] = str(error)
    code = 2 if wrong else 0 if verdicts.hold(found) else 1
    if args.json:
        told: dict[str, dict[str, Any]] = {}
        for one, request in every:
            at, verdict = (one.name, request.seed), found.get(one.name, {}).get(request.seed)
            said = {"needs": lacking[at]} if lacking[at] else _told(wrong.get(at, ""), verdict)
            told.setdefault(one.name, {})[str(request.seed)] = said
        print(json.dumps(told))
        return code
    _without(every, lacking, console)
    for text in wrong.values():
        print(f"error: {text}", file=sys.stderr)
    for experiment, request in work:
        changed = runner.changes(experiment, request)
        if changed:
            print(
                f"note: {experiment.name}: this result is not of what is here now ({changed}); run it again.",
                file=sys.stderr,
            )
    verdicts.show(found, console, long=args.long)
    return code


def _not_run(experiment: Experiment, request: runner.Request) -> str:
    """Say which data an experiment was not run for; an empty text where there is a result, or it needs none."""
    there = runner.saved_state(experiment, request) is not runner.Saved.MISSING
    return "" if there else runner.lacking(experiment, request)


def _told(wrong: str, verdict: contract.Verdict | None) -> dict[str, Any]:
    """Return what is wrong with a result, an empty text for nothing, and the verdict that its arrays lead to."""
    if verdict is None:
        return {"wrong": wrong}
    return {"wrong": "", "claim": verdict.claim, "checks": sidecar.checks_of(verdict), "holds": verdict.holds}
