"""The outer loop: gradient descent on the meta-parameters, recorded, resumable, and honest about bad gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metagrad import ad, files, parts
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.estimators import Reverse
from metagrad.fingerprint import check_changed, differing_parts, named_parts, refuse_other_run
from metagrad.optimizers import Unconstrained
from metagrad.protocols import Estimator, Objective, Rule, Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array, rng, to_host

_WHERE = "MetaTrainer.run"
_REMEDY = "Remove the file to start anew, or give another one."
_STEPS = ["gradient", "sign"]
_CHANGEABLE = ("scale", "power", "floor", "step", "seed", "estimator")


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
    is inf or NaN ends the run of that meta-parameter: it is NaN from then on, and never a number. ValueError unless
    `steps` >= 1, `scale` > 0 and `power` are finite, and `floor` is a number.
    `step="sign"` moves every meta-parameter by scale / k**power against the sign of its gradient, however small that
    is: for objectives whose gradient vanishes with the horizon (a loss with a floor, see `LogExcess`).
    """

    task: Task
    optimizer: Rule
    objective: Objective
    steps: int
    scale: float = 0.01
    power: float = 0.5
    floor: float = 0.0
    estimator: Estimator = field(default_factory=Reverse)
    seed: int = 0
    step: Literal["gradient", "sign"] = "gradient"

    def __post_init__(self) -> None:
        """Check the settings."""
        _check_count("MetaTrainer", "steps", self.steps)
        if not 0 < self.scale < math.inf:
            bad_value("MetaTrainer", "scale", self.scale, "a finite number above 0")
        if not math.isfinite(self.power):
            bad_value("MetaTrainer", "power", self.power, "a finite number")
        if math.isnan(self.floor):
            bad_value("MetaTrainer", "floor", self.floor, "a number", "Use -math.inf for none.")
        if self.step not in _STEPS:
            bad_value("MetaTrainer", "step", repr(self.step), "a known step", nearest(str(self.step), _STEPS))

    def run(
        self,
        phi: Tree,
        meta_steps: int,
        *,
        checkpoint: str | Path | None = None,
        every: int = 100,
        progress: Callable[[int, int], None] | None = None,
        changed: tuple[str, ...] = (),
    ) -> MetaRun:
        """Return the run of `meta_steps` steps from `phi`, a tree of float arrays or floats.

        `checkpoint`: a file that is replaced in one step every `every` meta-steps; if it exists, the run goes on from
        it and gives the same bits as an unbroken one (ValueError if it is damaged, of a run that is under way, or of
        another run: another task, rule, objective, estimator or setting, by their data and their code; what their code
        reads from global variables is not compared. The message names the parts that differ).
        `changed`: names of settings that may differ from those of the checkpoint, for the steps that are left: "scale",
        "power", "floor", "step", "seed", "estimator". The checkpoint keeps what was changed, and after which step.
        `progress(done, meta_steps)` is called after every meta-step.
        """
        phi = parts.check_phi(self.optimizer, phi, "MetaTrainer.run")
        _check_floor(self.floor, self.optimizer)
        _check_count("MetaTrainer.run", "meta_steps", meta_steps)
        _check_count("MetaTrainer.run", "every", every)
        path = None if checkpoint is None else Path(checkpoint)
        with files.alone(path, _WHERE):
            rows = self._rows(phi, meta_steps, path, every, progress, changed)
        return _collect(phi, rows[:meta_steps])

    def _rows(
        self,
        phi: Tree,
        meta_steps: int,
        path: Path | None,
        every: int,
        progress: Callable[[int, int], None] | None,
        changed: tuple[str, ...],
    ) -> list[dict[str, Array]]:
        rows: list[dict[str, Array]] = []
        named = self._parts(phi)
        check_changed(_WHERE, changed, named, _CHANGEABLE)
        about: dict[str, Any] = {"format": 2, "parts": {} if path is None else named_parts(named), "changes": []}
        if path is not None and path.exists():
            rows, about["changes"] = _load(path, about["parts"], changed)
        if path is not None and len(rows) < meta_steps:
            _save(path, rows, about)  # at once: that it cannot be written is better known before hours of training
        for k in range(len(rows) + 1, meta_steps + 1):
            current = _with_leaves(phi, rows[-1]["after"]) if rows else phi
            rows.append(self._meta_step(k, current))
            if progress is not None:
                progress(k, meta_steps)
            if path is not None and (k % every == 0 or k == meta_steps):
                _save(path, rows, about)
        return rows

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
        digits, power = to_host(grad.mantissa), to_host(grad.exponent)
        direction = Scaled.of(np.sign(digits)) if self.step == "sign" else Scaled(digits, power)
        mantissa, exponent = math.frexp(rate)
        # The rate first: a step may fit where its gradient does not. One that is too large for a float still has its
        # sign: the projection onto [floor, inf) is exact.
        step = direction * Scaled(digits.dtype.type(mantissa), np.int64(exponent))
        moved = np.maximum(self.floor, leaf - np.asarray(step.to_float(out_of_range="ieee")))
        return np.where(np.isfinite(digits), moved, np.nan).astype(np.asarray(leaf).dtype)

    def _parts(self, phi: Tree) -> dict[str, Any]:
        """Identify the run: everything that its numbers depend on, but for the number of meta-steps."""
        settings = {one.name: getattr(self, one.name) for one in fields(self)}
        return settings | {"phi": phi, f"the code of {type(self).__name__}": type(self)}


def _check_floor(floor: float, rule: Any) -> None:
    """Raise ValueError for a floor under coordinates that have none; the rule may be inside of another."""
    while rule is not None and floor > -math.inf:
        if isinstance(rule, Unconstrained):
            remedy = "The coordinates of Unconstrained may be any numbers."
            bad_value("MetaTrainer.run", "floor", floor, "-math.inf", remedy)
        rule = parts.inner_rule(rule)


def _check_count(where: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        bad_type(where, name, f"{value!r}, a {type(value).__name__}", "an integer", f"Use int({name}).")
    if value < 1:
        bad_value(where, name, value, "an integer of at least 1")


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


def _save(path: Path, rows: list[dict[str, Array]], about: dict[str, Any]) -> None:
    arrays = {name: np.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    files.write_npz(path, arrays, about | {"meta_steps": len(rows)})


def _load(
    path: Path, named: dict[str, dict[str, str]], changed: tuple[str, ...]
) -> tuple[list[dict[str, Array]], list[dict[str, Any]]]:
    """Return the rows of this very run, but for what was changed, and all changes up to now."""
    arrays, about = files.read_npz(path, _WHERE, formats=(2,))
    differing = differing_parts(about.get("parts"), named)
    refuse_other_run(_WHERE, path, differing, changed, _CHANGEABLE)
    count, changes = about.get("meta_steps"), about.get("changes")
    if not isinstance(changes, list) or {len(array) for array in arrays.values()} != ({count} if count else set()):
        came = f"{path}, which was edited (its arrays are not those of {count} meta-steps)"
        bad_value(_WHERE, "checkpoint", came, "a checkpoint as it was written", _REMEDY)
    changes = [*changes, {"after": count, "parts": differing}] if differing else changes
    return [{name: array[k] for name, array in arrays.items()} for k in range(count or 0)], changes
