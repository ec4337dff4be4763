"""Running experiments: shards on any `concurrent.futures.Executor`, each saved as it ends, so that a run can go on.

What is run is an `Experiment`, which `contract.load` makes; a new experiment needs nothing here. A worker gets the name
of an experiment instead, and makes its own.
Results do not depend on the number of workers: a shard is a function of (config, shard, seed), and shards are put
together in their fixed order.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.framework import contract, depends, store
from metagrad import files

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
    arrays_path, sidecar_path = result_paths(experiment.name, request)
    sidecar = store.load_sidecar(sidecar_path)
    if not _is_result(sidecar):
        return Saved.DAMAGED if sidecar_path.exists() else Saved.MISSING
    if sidecar.get("key") != depends.key_of(_parts(experiment, request)):
        return Saved.CHANGED
    whole = store.load_arrays(arrays_path, str(sidecar.get("sha256"))) is not None
    return Saved.CURRENT if whole else Saved.DAMAGED


def cached_sidecar(experiment: contract.Experiment, request: Request) -> dict[str, Any] | None:
    """Return the sidecar of a result that is whole and of this very source, config, seed and device; else None."""
    if saved_state(experiment, request) is not Saved.CURRENT:
        return None
    return store.load_sidecar(result_paths(experiment.name, request)[1])


def changes(experiment: contract.Experiment, request: Request) -> str:
    """Say in what the source, the config, the device, the weights or the libraries of a saved result are others now.

    An empty text where nothing has changed, or where there is no result.
    """
    sidecar = store.load_sidecar(result_paths(experiment.name, request)[1])
    if not _is_result(sidecar):
        return ""
    now = _parts(experiment, request)
    if sidecar.get("key") == depends.key_of(now):
        return ""
    then = sidecar.get("depends")
    if not isinstance(then, dict):
        return "what it was computed from was not recorded"
    return depends.differences(now, then, "then", "now") or "its key was edited"


def run(experiment: contract.Experiment, request: Request, executor: Executor | None, progress: Progress) -> Outcome:
    """Run one experiment, or take it from the cache; `executor` None computes in this process."""
    name, started = experiment.name, time.perf_counter()
    sidecar = None if request.force else cached_sidecar(experiment, request)
    if sidecar is not None:
        failure_path(name, request).unlink(missing_ok=True)
        return Outcome(name, _verdict_of(sidecar), True, 0.0)
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
    return depends.parts_of(experiment.source, experiment.presets[request.preset], request.seed, request.device)


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
    sidecar = {
        "experiment": name,
        "claim": verdict.claim,
        "checks": [dataclasses.asdict(check) for check in verdict.checks],
        "holds": verdict.holds,
        "preset": request.preset,
        "config": _plain_config(experiment, request.preset),
        "seed": request.seed,
        "device": request.device,
        "dtypes": {key: str(array.dtype) for key, array in sorted(table.arrays.items())},
        "units": table.units,
        "names": table.names,
        "sha256": files.sha256(data),
        "command": f"python -m analysis run --only {name} --preset {request.preset} --seed {request.seed} "
        f"--device {request.device}",
        "unix_time": int(time.time()),
        **about_run,
        **store.provenance(),
    }
    with _saving(arrays_path):
        about = json.dumps(sidecar, indent=1, default=_plain).encode()
        files.write_together({arrays_path: data, sidecar_path: about})


def _plain(x: Any) -> Any:
    return x.item() if hasattr(x, "item") else str(x)


def _plain_config(experiment: contract.Experiment, preset: str) -> Any:
    """Return a config as JSON gives it back: tuples have become lists."""
    return json.loads(json.dumps(dataclasses.asdict(experiment.presets[preset]), default=_plain))


def _is_result(sidecar: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    """Tell whether a sidecar is there and has all that a result needs."""
    kinds = {"sha256": str, "config": dict, "units": dict, "names": dict, "claim": str, "checks": list}
    if sidecar is None or not all(isinstance(sidecar.get(name), kind) for name, kind in kinds.items()):
        return False
    try:
        checks = _verdict_of(sidecar).checks
    except (TypeError, ValueError):
        return False
    return all(isinstance(check.measured, int | float) and isinstance(check.holds, bool) for check in checks)


def _verdict_of(sidecar: dict[str, Any]) -> contract.Verdict:
    return contract.Verdict(sidecar["claim"], [contract.Check(**check) for check in sidecar["checks"]])


def verify(experiment: contract.Experiment, request: Request) -> contract.Verdict:
    """Decide the claim anew from the saved arrays; StoreError if they are missing or not the ones that were hashed."""
    name = experiment.name
    arrays_path, sidecar_path = result_paths(name, request)
    sidecar = store.load_sidecar(sidecar_path)
    command = f"python -m analysis run --only {name} --preset {request.preset} --seed {request.seed}"
    if not sidecar_path.exists():
        raise store.StoreError(f"{name}: no result at {sidecar_path}; run `{command}` first.")
    if not _is_result(sidecar):
        raise store.StoreError(f"{name}: {sidecar_path} is damaged or not the sidecar of a result; run `{command}`.")
    arrays = store.load_arrays(arrays_path, sidecar["sha256"])
    if arrays is None:
        raise store.StoreError(
            f"{name}: {arrays_path} is damaged or not the file that was hashed; run it with --force."
        )
    if sidecar["config"] != _plain_config(experiment, request.preset):
        raise store.StoreError(
            f"{name}: {sidecar_path} has another config than preset {request.preset!r} has now; run it again."
        )
    try:
        table = contract.Table(arrays, sidecar["units"], sidecar["names"])
    except (TypeError, ValueError) as error:
        raise store.StoreError(f"{name}: {sidecar_path} is damaged ({error}); run it with --force.") from error
    return experiment.decide(request.preset, table)
