"""python -m benchmarks list | run [--only NAME ...] [--threads N] ... | paired --against PATH [--only NAME ...] ..."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import registry
from benchmarks.settings import Settings

if TYPE_CHECKING:
    from benchmarks.results import Result

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main(arguments: list[str]) -> int:
    """List or run the benchmarks; 0 if all that ran could run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios against peers, in one run.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name the benchmarks")
    run = commands.add_parser("run", help="run them and write Markdown and JSON")
    run.add_argument("--only", nargs="+", choices=registry.NAMES, default=registry.NAMES)
    run.add_argument("--threads", type=int, default=1, help="threads for every library (default 1, pinned to a core)")
    run.add_argument("--repetitions", type=int, default=Settings.repetitions)
    run.add_argument("--full", action="store_true", help="measure in full what is extrapolated otherwise (minutes)")
    run.add_argument("--seed", type=int, default=Settings.seed)
    run.add_argument("--out", type=Path, default=Path("benchmarks/results/latest.md"))
    run.add_argument("--update", action="store_true", help="keep what --out already holds of other benchmarks")
    _add_paired(commands)
    options = parser.parse_args(arguments)
    if options.command == "list":
        return _list()
    if min(options.seed + 1, options.repetitions) < 1:
        parser.error(f"--seed is {options.seed}, --repetitions {options.repetitions}; expected at least 0, and 1")
    if options.command == "paired":
        if options.rounds < 1:
            parser.error(f"--rounds is {options.rounds}; expected at least 1")
        if not (options.against / "benchmarks").is_dir():
            parser.error(f"--against is {options.against}; expected the folder of another checkout of the project")
        limit_threads(1)
        return _paired(options)
    if options.threads < 1:
        parser.error(f"--threads is {options.threads}; expected at least 1")
    limit_threads(options.threads)
    settings = Settings(options.repetitions, options.full, options.seed, options.threads)
    return _run(options.only, settings, options.out, update=options.update)


def _add_paired(commands: Any) -> None:
    paired = commands.add_parser("paired", help="time our rows here and in another checkout, in turn")
    paired.add_argument("--against", type=Path, required=True, help="the other checkout of the project")
    paired.add_argument("--only", nargs="+", help="some benchmarks, import, memory (default: all)")
    paired.add_argument("--rounds", type=int, default=3, help="pairs of processes (default 3)")
    paired.add_argument("--repetitions", type=int, default=9, help="measurements in each process (default 9)")
    paired.add_argument("--seed", type=int, default=Settings.seed)
    paired.add_argument("--title", default="against another commit", help="the section of the report")
    paired.add_argument("--out", type=Path, help="also write a report; other rows and sections of it stay")


def limit_threads(threads: int) -> None:
    """Limit every library to `threads`; works only before NumPy, JAX and PyTorch are imported.

    XLA ignores its thread flags for some operations, so that for one thread the process is pinned to one core.
    """
    if "numpy" in sys.modules:
        raise RuntimeError("benchmarks: numpy was imported before the threads were limited.")
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    eigen = "true" if threads > 1 else "false"
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(allowed[-threads:]))


def _list() -> int:
    for name in registry.NAMES:
        print(f"{name:16} {registry.benchmark(name).SUMMARY}")
    return 0


def _run(names: list[str], settings: Settings, out: Path, *, update: bool) -> int:
    from threadpoolctl import threadpool_limits

    from benchmarks import machine, report

    about = machine.provenance(settings.threads)
    kept = report.read(out) if update else {}
    results: dict[str, Result] = {}
    with threadpool_limits(settings.threads):
        for name in names:
            start = time.perf_counter()
            result = results[name] = _guarded(name, settings)
            result.about = about
            print(f"{name} ({time.perf_counter() - start:.0f} s)")
            for text in [*map(report.line, result.rows), *map(report.show, result.tables), *result.missing]:
                print(f"  {text}", flush=True)
            paths = report.write(_ordered(kept | results), out)
    print("written: " + ", ".join(str(path) for path in paths))
    return int(any(result.failed for result in results.values()))


def _ordered(results: dict[str, Result]) -> dict[str, Result]:
    """Return the benchmarks in their order, then what else a report holds."""
    return {name: results[name] for name in [*registry.NAMES, *results] if name in results}


def _paired(options: Any) -> int:
    from benchmarks import machine, paired, report
    from benchmarks.results import Result

    names = options.only or paired.NAMES
    if not set(names) <= set(paired.NAMES):
        raise SystemExit(f"benchmarks: --only is {' '.join(names)}; expected some of {', '.join(paired.NAMES)}.")
    then = options.against.resolve()
    effort = paired.Effort(rounds=options.rounds, repetitions=options.repetitions, seed=options.seed)
    about, pairs = machine.provenance(1), []
    for name in names:
        pairs += (found := paired.measure(name, then, paired.ROOT, effort))
        print(f"{name}\n{report.show(paired.table(found, ''))}", flush=True)
    if options.out:
        kept = report.read(options.out)
        fresh = paired.table(pairs, paired.NOTE)
        fresh = paired.joined(kept[options.title].tables[0], fresh) if options.title in kept else fresh
        result = Result(tables=[fresh], about={**about, "then": machine.commit(then)})
        report.write(_ordered(kept | {options.title: result}), options.out)
    return 0


def _guarded(name: str, settings: Settings) -> Result:
    # What has been measured is worth keeping when a later benchmark breaks; the report names the failure.
    from benchmarks.results import Result

    try:
        return registry.benchmark(name).run(settings)
    except Exception as error:
        traceback.print_exc()
        return Result(missing=[f"{name} failed: {type(error).__name__}: {error}"], failed=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
