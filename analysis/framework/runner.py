"""Running experiments: shards on any `concurrent.futures.Executor`, each saved as it ends, so that a run can go on.

What is run is an `Experiment`, which `contract.load` makes; a new experiment needs nothing here. A worker gets the name
of an experiment instead, and makes its own.
Results do not depend on the number of workers: a shard is a function of (config, shard, seed), and shards are put
together in their fixed order.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.framework import contract, depends, needs, sidecar, store
from metagrad import files, tables

Progress = Callable[[str, int, int], None]  # (experiment, shards done, shards in all)


@dataclass(frozen=True)
class Request:
    """What to run and where to put it."""

    preset: str
    seed: int
    device: str
    out: Path
    force: bool = False


@dataclass(frozen=True)
class Outcome:
    """A finished experiment: its verdict, its files, and whether it came from the cache."""

    name: str
    verdict: contract.Verdict
    cached: bool
    seconds: float


class ShardError(Exception):
    """A shard that could not be computed; the message says what went wrong, and in which shard."""


class RunError(Exception):
    """What no other shard can be computed or saved after either; the message says what to do."""


class Saved(Enum):
    """What there is of a result; the value is what the user is told."""

    CURRENT = "cached"
    MISSING = "to run"
    CHANGED = "to run: its source, config or device has changed, or its weights or libraries"
    DAMAGED = "to run: the saved result is damaged"


def result_paths(name: str, request: Request) -> tuple[Path, Path]:
    """Return the paths of the arrays and of the sidecar."""
    stem = request.out / name / f"{request.preset}-seed{request.seed}"
    return stem.with_suffix(".npz"), stem.with_suffix(".json")


def failure_path(name: str, request: Request) -> Path:
    """Return the path of the note that the last run did not end, beside the result of an earlier one."""
    return result_paths(name, request)[0].with_suffix(".failed")


def saved_state(experiment: contract.Experiment, request: Request) -> Saved:
    """Tell whether there is a result, whole and of this very source, config, seed and device."""
    return _look(experiment, request)[0]


def damage(experiment: contract.Experiment, request: Request) -> str:
    """Say what is wrong with a result that is damaged or was edited; an empty text for every other."""
    return _look(experiment, request)[1]


def _look(experiment: contract.Experiment, request: Request) -> tuple[Saved, str, contract.Verdict | None]:
    """Return what there is of a result, what is wrong with it, and the verdict of its arrays where nothing is."""
    arrays_path, sidecar_path = result_paths(experiment.name, request)
    if not sidecar_path.exists():
        return Saved.MISSING, "", None
    try:
        found = sidecar.read(sidecar_path, experiment.name, request.preset, request.seed)
        if found["key"] != depends.key_of(_parts_now(experiment, request, found)):
            return Saved.CHANGED, "", None
        verdict = sidecar.decided(experiment, found, arrays_path)
    except sidecar.SidecarError as error:
        return Saved.DAMAGED, f"{sidecar_path.name}: {error}", None
    return Saved.CURRENT, "", verdict


def changes(experiment: contract.Experiment, request: Request) -> str:
    """Say in what the source, the config, the device, the weights or the libraries of a saved result are others now.

    An empty text where nothing has changed, or where there is no result.
    """
    try:
        path = result_paths(experiment.name, request)[1]
        found = sidecar.read(path, experiment.name, request.preset, request.seed)
    except sidecar.SidecarError:
        return ""
    now = _parts_now(experiment, request, found)
    return depends.differences(now, found["depends"], "then", "now")


def lacking(experiment: contract.Experiment, request: Request) -> str:
    """Say which data an experiment is not run for; an empty text where it needs none, or its result is here."""
    said = needs.lacking(experiment.name, experiment.needs)
    if said and (request.force or saved_state(experiment, request) is not Saved.CURRENT):
        return said
    return ""


def run(experiment: contract.Experiment, request: Request, executor: Executor | None, progress: Progress) -> Outcome:
    """Run one experiment, or take it from the cache; `executor` None computes in this process."""
    name, started = experiment.name, time.perf_counter()
    kept = None if request.force else _look(experiment, request)[2]
    if kept is not None:
        failure_path(name, request).unlink(missing_ok=True)
        return Outcome(name, kept, True, 0.0)
    from_what = _parts(experiment, request)  # now: the source may be edited while the run goes on
    key = depends.key_of(from_what)
    config = experiment.presets[request.preset]
    folder = _shard_folder(name, request) / key
    parts = _compute_parts(name, experiment.shards(config), folder, request, executor, progress)
    with threadpool_limits(limits=1):
        table = experiment.assemble(config, parts)
        verdict = experiment.decide(request.preset, table)
    seconds = time.perf_counter() - started
    _save(experiment, request, table, verdict, {"seconds": round(seconds, 3), "key": key, "depends": from_what})
    failure_path(name, request).unlink(missing_ok=True)
    shutil.rmtree(_shard_folder(name, request), ignore_errors=True)
    return Outcome(name, verdict, False, seconds)


def _shard_folder(name: str, request: Request) -> Path:
    return request.out / name / "shards" / f"{request.preset}-seed{request.seed}-{request.device}"


def _compute_parts(
    name: str,
    shards: list[dict[str, Any]],
    folder: Path,
    request: Request,
    executor: Executor | None,
    progress: Progress,
) -> list[dict[str, np.ndarray]]:
    paths = [folder / f"{index:05d}.npz" for index in range(len(shards))]
    loaded = [] if request.force else [(index, store.load_shard(path)) for index, path in enumerate(paths)]
    parts = {index: part for index, part in loaded if part is not None}
    context = contract.Context(request.seed, request.device)
    missing = {index: shard for index, shard in enumerate(shards) if index not in parts}
    progress(name, len(parts), len(shards))
    with closing(_computed(executor, name, request.preset, context, missing)) as computed:
        for index, data in computed:
            with _saving(paths[index]):
                store.save_shard(paths[index], data)  # at once: an interrupted run keeps it
            parts[index] = files.npz_arrays(data)
            progress(name, len(parts), len(shards))
    return [parts[index] for index in range(len(shards))]


def _computed(
    executor: Executor | None, name: str, preset: str, context: contract.Context, shards: dict[int, Any]
) -> Iterator[tuple[int, bytes]]:
    if executor is None:
        for index, shard in shards.items():
            with _naming(shard):
                data = compute_shard(name, preset, shard, context)
            yield index, data
        return
    futures: dict[Future[bytes], int] = {
        executor.submit(compute_shard, name, preset, shard, context): index for index, shard in shards.items()
    }
    try:
        for future in as_completed(futures):
            with _naming(shards[futures[future]]):
                data = future.result()
            yield futures[future], data
    except (Exception, GeneratorExit):  # an interrupt is left to `workers`, which ends all of them
        for future in futures:
            future.cancel()
        raise


@contextmanager
def _naming(shard: dict[str, Any]) -> Iterator[None]:
    """Name the shard in what it raises; that the workers were lost is not the fault of one shard."""
    try:
        yield
    except (BrokenProcessPool, RunError, ShardError):
        raise
    except Exception as error:
        raise ShardError(f"{type(error).__name__}: {error} (in shard {shard})") from error


@contextmanager
def _saving(path: Path) -> Iterator[None]:
    """Say that a file could not be written: a full disk is full for every other shard too."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}), so the run stops here; finished shards are saved. "
            "Make room, and run it again."
        ) from error


def compute_shard(name: str, preset: str, shard: dict[str, Any], context: contract.Context) -> bytes:
    """Return the arrays of one shard as an npz file; one BLAS thread, so that workers do not fight."""
    experiment = contract.load(name)  # a worker gets the name, and makes its own from its own source
    with threadpool_limits(limits=1):
        return files.npz_bytes(experiment.compute(experiment.presets[preset], shard, context))


def _parts(experiment: contract.Experiment, request: Request) -> dict[str, str]:
    found = depends.parts_of(experiment.source, experiment.presets[request.preset], request.seed, request.device)
    return found | needs.parts_of(experiment.needs)


def _parts_now(experiment: contract.Experiment, request: Request, saved: dict[str, Any]) -> dict[str, str]:
    """Return what a result would depend on now; data that are not here are taken to be those of the saved one."""
    label = needs.label(experiment.needs)
    return {name: x for name, x in saved["depends"].items() if name == label} | _parts(experiment, request)


def _save(
    experiment: contract.Experiment,
    request: Request,
    table: contract.Table,
    verdict: contract.Verdict,
    about_run: dict[str, Any],
) -> None:
    name = experiment.name
    arrays_path, sidecar_path = result_paths(name, request)
    data = files.npz_bytes(table.arrays)
    content = {
        "experiment": name,
        "claim": verdict.claim,
        "checks": sidecar.checks_of(verdict),
        "holds": verdict.holds,
        "preset": request.preset,
        "config": sidecar.plain_config(experiment.presets[request.preset]),
        "seed": request.seed,
        "device": request.device,
        "dtypes": {key: str(array.dtype) for key, array in sorted(table.arrays.items())},
        "units": table.units,
        "names": table.names,
        "sha256": files.sha256(data),
        "command": sidecar.command(name, request.preset, request.seed, request.device),
        "unix_time": int(time.time()),
        **about_run,
        **store.provenance(),
    }
    with _saving(arrays_path):
        files.write_together({arrays_path: data, sidecar_path: tables.sealed(sidecar.plain(content))})


def verify(experiment: contract.Experiment, request: Request) -> contract.Verdict:
    """Decide the claim anew from the saved arrays; StoreError if they are missing, damaged or were edited."""
    name = experiment.name
    arrays_path, sidecar_path = result_paths(name, request)
    command = sidecar.command(name, request.preset, request.seed)
    if not sidecar_path.exists():
        raise store.StoreError(f"{name}: no result at {sidecar_path}; run `{command}` first.")
    try:
        found = sidecar.read(sidecar_path, name, request.preset, request.seed)
        if found["config"] != sidecar.plain_config(experiment.presets[request.preset]):
            raise store.StoreError(
                f"{name}: {sidecar_path} has another config than preset {request.preset!r} has now; run it again."
            )
        return sidecar.decided(experiment, found, arrays_path)
    except sidecar.SidecarError as error:
        raise store.StoreError(f"{name}: {sidecar_path} is damaged ({error}); run `{command}`.") from error
