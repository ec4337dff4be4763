"""Meta-training on a fixed task, whole runs at a time, with meta-gradients of any size: recorded and resumable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metagrad import checks, files, parts
from metagrad.api import check_phi
from metagrad.errors import bad_value
from metagrad.estimators import Reverse
from metagrad.fingerprint import check_changed, named_parts
from metagrad.protocols import Estimator, Objective, Outer, Rule, Task, Tree
from metagrad.training._leaves import flat, flat_names, shapes_of
from metagrad.training.loop import ON_NONFINITE, Episode, Loop, OnNonfinite, Saving, at_start
from metagrad.training.meta_run import MetaRun
from metagrad.training.outer.descent import Descent, check_scale
from metagrad.training.store import Run
from metagrad.xp import Array, rng

_WHERE = "MetaTrainer.run"
_STEPS = ["gradient", "sign"]
_CHANGEABLE = ("scale", "power", "step", "outer", "seed", "estimator", "on_nonfinite")


@dataclass(frozen=True)
class MetaTrainer:
    """phi <- phi - (scale / k**power) grad, k = 1, 2, ..., within the ranges of the rule: Wang et al. 2021 by default.

    `scale`, `power` and `step` ("gradient" or "sign") are those of `Descent`; `outer`: any other outer step in its
    place, such as `Through(Adam(), Adam.Phi(1e-3))`. After each step phi is brought to the nearest one that the rule
    takes, and `MetaRun.projected` says where that was needed: a step size stays above 0, a decay in [0, 1), the
    weights of a network may be any numbers. phi may be a `Joint`: then the task's part is trained too.
    A meta-gradient of any finite size is used as it is, however far outside the range of floats. Where one is inf or
    NaN, `on_nonfinite="stop"` ends that meta-parameter: it is NaN from then on, and never a number; with "skip" it
    stays where it was, and `MetaRun.skipped` says so. `step="sign"` is for objectives whose gradient vanishes with the
    horizon (a loss with a floor, see `LogExcess`).
    ValueError unless `steps` >= 1, `scale` > 0 and `power` are finite.
    """

    task: Task
    optimizer: Rule
    objective: Objective
    steps: int
    scale: Any = 0.01  # a float, or a tree like phi
    power: float = 0.5
    estimator: Estimator = field(default_factory=Reverse)
    seed: int = 0
    step: Literal["gradient", "sign"] = "gradient"
    outer: Outer | None = None
    on_nonfinite: OnNonfinite = "stop"

    def __post_init__(self) -> None:
        """Check the settings."""
        for name, kind in (("task", Task), ("optimizer", Rule), ("objective", Objective)):
            parts.check_part("MetaTrainer", name, getattr(self, name), kind)
        parts.check_estimator("MetaTrainer", "estimator", self.estimator)
        if self.outer is not None:
            parts.check_outer("MetaTrainer", "outer", self.outer)
        checks.count("MetaTrainer", "steps", self.steps)
        checks.count("MetaTrainer", "seed", self.seed, 0)
        check_scale("MetaTrainer", self.scale)
        checks.number("MetaTrainer", "power", self.power)
        for name, known in (("step", _STEPS), ("on_nonfinite", ON_NONFINITE)):
            checks.choice("MetaTrainer", name, getattr(self, name), known)
        usual = {one.name: one.default for one in fields(self)}
        for name in ("scale", "power", "step"):
            if self.outer is not None and getattr(self, name) is not usual[name] != getattr(self, name):
                came, remedy = f"{getattr(self, name)!r} beside `outer`", "Give it to the outer step."
                bad_value("MetaTrainer", name, came, "one of the two", remedy)

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
        "power", "step", "outer", "seed", "estimator", "on_nonfinite". The checkpoint keeps what was changed, and after
        which step. `progress(done, meta_steps)` is called after every meta-step.
        """
        phi = check_phi(_WHERE, self.task, self.optimizer, phi, self.steps)
        checks.count(_WHERE, "meta_steps", meta_steps)
        checks.count(_WHERE, "every", every)
        path = None if checkpoint is None else checks.file_path(_WHERE, "checkpoint", checkpoint)
        if progress is not None:
            checks.function(_WHERE, "progress", progress, 2, "a function of (done, meta_steps)")
        named = self._parts(phi)
        check_changed(_WHERE, changed, named, _CHANGEABLE)
        told = None if progress is None else lambda row: progress(row["episode"] + 1, meta_steps)
        saving = Saving(path, every=every, progress=told, changed=changed)
        with files.alone(path, _WHERE):
            run = Run(_WHERE, {} if path is None else named_parts(named), _CHANGEABLE, finite=False)
            rows = self._loop(meta_steps).run(at_start(phi, self._outer), saving, run).history
        return _collect(phi, rows[:meta_steps])

    @property
    def _outer(self) -> Outer:
        return Descent(self.scale, self.power, self.step == "sign") if self.outer is None else self.outer

    def _loop(self, meta_steps: int) -> Loop:
        those = self.optimizer, self.objective, self.estimator
        return Loop(_WHERE, *those, meta_steps, self._episode, on_nonfinite=self.on_nonfinite, history=True)

    def _episode(self, number: int) -> Episode:
        """Return one whole run on the task that is the same for every seed."""
        seed = int(rng(self.seed, "meta_step", number + 1).integers(2**31))
        return Episode(self.task, seed, [self.steps], self._outer)

    def _parts(self, phi: Tree) -> dict[str, Any]:
        """Identify the run: everything that its numbers depend on, but for the number of meta-steps."""
        settings = {one.name: getattr(self, one.name) for one in fields(self)}
        return settings | {"phi": phi} | {f"the code of {one.__name__}": one for one in (type(self), Loop, Descent)}


def _collect(phi: Tree, rows: list[dict[str, Array]]) -> MetaRun:
    first = flat(phi)
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    after = np.concatenate([first[None].astype(rows[0]["after"].dtype), stacked.pop("after")])
    return MetaRun(phi=after, names=flat_names(phi), shapes=shapes_of(phi), first=phi, **stacked)
