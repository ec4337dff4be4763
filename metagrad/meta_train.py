"""The outer loop: gradient descent on the meta-parameters, recorded, resumable, and honest about bad gradients."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from metagrad import ad
from metagrad.errors import Status, bad_value
from metagrad.estimators import Reverse
from metagrad.protocols import Estimator, MetaObjective, Optimizer, Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array, rng, to_host


@dataclass(frozen=True)
class MetaRun:
    """What a meta-training run did, for K meta-steps on B tasks and P meta-parameters (the leaves of phi, flat).

    `phi` (K+1, P): the meta-parameters before each meta-step and after the last. `value_log2`, `value_sign` (K, B) and
    `grad_log2`, `grad_sign` (K, P): objective and meta-gradient, of any size. `status` (K, B): codes of `Status`.
    """

    phi: Array
    value_log2: Array
    value_sign: Array
    grad_log2: Array
    grad_sign: Array
    status: Array

    @property
    def meta_steps(self) -> int:
        """How many meta-steps were done."""
        return int(self.status.shape[0])


@dataclass(frozen=True)
class MetaTrainer:
    """phi <- max(floor, phi - (scale / k**power) grad), k = 1, 2, ...: the recipe of Wang et al. 2021 by default.

    With `power=1/2` the steps are proportional to 1/sqrt(k), for which the paper proves convergence on the log
    objective. A meta-gradient of any finite size is used as it is, however far outside the range of floats; one that
    is inf or NaN ends the run of that meta-parameter: it is NaN from then on, and never a number.
    """

    task: Task
    optimizer: Optimizer
    objective: MetaObjective
    steps: int
    scale: float = 0.01
    power: float = 0.5
    floor: float = 0.0
    estimator: Estimator = field(default_factory=Reverse)
    seed: int = 0

    def run(
        self,
        phi: Tree,
        meta_steps: int,
        *,
        checkpoint: str | Path | None = None,
        every: int = 100,
        progress: Callable[[int, int], None] | None = None,
    ) -> MetaRun:
        """Return the run of `meta_steps` steps from `phi`, a tree of float arrays or floats.

        `checkpoint`: a file that is written atomically every `every` meta-steps; if it exists, the run goes on from it
        and gives the same bits as an unbroken one (ValueError if it belongs to another run).
        `progress(done, meta_steps)` is called after every meta-step.
        """
        check = getattr(self.optimizer, "check_phi", None)
        phi = phi if check is None else check(phi, "MetaTrainer.run")
        if meta_steps < 1:
            bad_value("MetaTrainer.run", "meta_steps", meta_steps, "an integer of at least 1")
        path = None if checkpoint is None else Path(checkpoint)
        rows = [] if path is None or not path.exists() else _load(path, self._fingerprint(phi))
        for k in range(len(rows) + 1, meta_steps + 1):
            current = _with_leaves(phi, rows[-1]["after"]) if rows else phi
            rows.append(self._meta_step(k, current))
            if progress is not None:
                progress(k, meta_steps)
            if path is not None and (k % every == 0 or k == meta_steps):
                _save(path, rows, self._fingerprint(phi))
        return _collect(phi, rows[:meta_steps])

    def _meta_step(self, k: int, phi: Tree) -> dict[str, Array]:
        seed = int(rng(self.seed, "meta_step", k).integers(2**31))
        with np.errstate(invalid="ignore"):  # a run that ended goes on as NaN
            found = self.estimator(self.task, self.optimizer, self.objective, phi, steps=self.steps, seed=seed)
        grads = [leaf for leaf in ad.leaves(found.grad) if leaf is not None]
        moved = [
            self._moved(to_host(leaf), grad, self.scale / k**self.power)
            for leaf, grad in zip(ad.leaves(phi), grads, strict=True)
        ]
        return {
            "after": np.concatenate([np.ravel(leaf) for leaf in moved]),
            "value_log2": to_host(found.value.log2abs()),
            "value_sign": to_host(found.value.sign()),
            "grad_log2": np.concatenate([np.ravel(to_host(g.log2abs())) for g in grads]),
            "grad_sign": np.concatenate([np.ravel(to_host(g.sign())) for g in grads]),
            "status": to_host(found.status),
        }

    def _moved(self, leaf: Array, grad: Scaled, rate: float) -> Array:
        # A finite step too large for a float still has its sign: the projection onto [floor, inf) is exact.
        step = np.asarray(to_host(grad.to_float(out_of_range="ieee"))) * rate
        ended = ~np.isfinite(to_host(grad.mantissa))
        dtype = np.asarray(leaf).dtype
        return np.where(ended, np.nan, np.maximum(self.floor, leaf - step)).astype(dtype)

    def _fingerprint(self, phi: Tree) -> str:
        """Identify the run: everything that its numbers depend on, but for the number of meta-steps."""
        digest = hashlib.sha256()
        parts = (self.task, self.optimizer, self.objective, self.steps, self.scale, self.power, self.floor)
        for part in (*parts, self.estimator, self.seed, phi):
            _feed(digest, part)
        return digest.hexdigest()


def _feed(digest: Any, part: Any) -> None:
    digest.update(type(part).__name__.encode())
    if hasattr(part, "dtype"):
        digest.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(to_host(part)).tobytes())
    elif isinstance(part, tuple):
        for item in part:
            _feed(digest, item)
    elif hasattr(part, "__dataclass_fields__"):
        for name in part.__dataclass_fields__:
            _feed(digest, getattr(part, name))
    elif callable(part):
        digest.update(getattr(part, "__qualname__", type(part).__name__).encode())
    else:
        digest.update(repr(part).encode())


def _with_leaves(phi: Tree, flat: Array) -> Tree:
    """Return phi with the numbers of `flat`, in the dtypes, shapes and on the device of its leaves."""
    position, leaves = 0, []
    for leaf in ad.leaves(phi):
        if isinstance(leaf, float):
            leaves.append(float(flat[position]))
            position += 1
            continue
        numbers = flat[position : position + leaf.size].reshape(leaf.shape).astype(leaf.dtype)
        position += leaf.size
        leaves.append(numbers if isinstance(leaf, np.ndarray) else type(leaf)(numbers))
    return ad.unflatten(phi, leaves)


def _collect(phi: Tree, rows: list[dict[str, Array]]) -> MetaRun:
    first = np.concatenate([np.ravel(to_host(leaf)) for leaf in ad.leaves(phi)])
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    after = stacked.pop("after")
    return MetaRun(phi=np.concatenate([first[None].astype(after.dtype), after]), **stacked)


def _save(path: Path, rows: list[dict[str, Array]], fingerprint: str) -> None:
    arrays: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    arrays["about"] = np.frombuffer(json.dumps({"fingerprint": fingerprint, "format": 1}).encode(), dtype=np.uint8)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _load(path: Path, fingerprint: str) -> list[dict[str, Array]]:
    where, remedy = "MetaTrainer.run", "Remove the file to start anew, or give another one."
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(bytes(arrays.pop("about")))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        bad_value(where, "checkpoint", f"{path}, which cannot be read ({error})", "a checkpoint", remedy)
    if about.get("fingerprint") != fingerprint:
        bad_value(where, "checkpoint", f"{path}, of another run", "one of this task, phi and settings", remedy)
    count = len(arrays["status"])
    return [{name: array[k] for name, array in arrays.items()} for k in range(count)]


def statuses(run: MetaRun) -> dict[str, int]:
    """Count how often each Status was met, by name."""
    codes, counts = np.unique(run.status, return_counts=True)
    return {Status.from_code(code).name: int(n) for code, n in zip(codes, counts, strict=True)}
