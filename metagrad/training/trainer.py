"""Meta-training of an optimizer on fresh tasks: truncated unrolls, an outer optimizer, and the best that was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from itertools import count as count_up
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad, checks, files, parts
from metagrad.errors import bad_type, bad_value
from metagrad.estimators import Reverse, Value
from metagrad.fingerprint import check_changed, named_parts
from metagrad.measures import AboveFloor, Loss, as_measure
from metagrad.objectives import Final
from metagrad.optimizers import Adam
from metagrad.protocols import Estimator, Joint, Objective, Outer, Rule, Task, Tree
from metagrad.training.loop import Episode, Loop, Row, Saving, at_start
from metagrad.training.outer.through import Through
from metagrad.training.recipe import Recipe
from metagrad.training.store import Run
from metagrad.unroll.phi import first_float
from metagrad.unroll.rollout import rollout
from metagrad.xp import Array, namespace, rng

Tasks = Callable[[int], Task]  # the task of a seed: the same whenever it is asked for
SAVE_SECONDS = 60.0  # what a killed run loses at most, beside an episode
_WHERE = "Trainer.run"
CHANGEABLE = (
    "outer_phi",
    "estimator",
    "recipe.horizon",
    "recipe.window",
    "recipe.curriculum",
    "recipe.outer_factors",
    "recipe.gradient",
    "recipe.clip_norm",
    "recipe.clip_value",
    "recipe.on_nonfinite",
    "recipe.patience_nonfinite",
    "recipe.evaluate_every",
)


@dataclass(frozen=True)
class Trainer:
    """Tune the meta-parameters of `optimizer` on `tasks`, a function from a seed to a task.

    phi <- outer.step(phi, meta-gradient of `objective` over one window), window after window, task after task, by
    `recipe`, and within the ranges of the optimizer. `outer`: any optimizer of the project, with its own
    meta-parameters `outer_phi` (Adam with step size 0.001 by default); or, with `outer_phi=None`, an outer step
    (`metagrad.protocols.Outer`), which then does its own clipping. `estimator`: any, used as it is; None for
    `Reverse` with the gradient of the recipe, "stop_gradient" if it names none. One that does not tell where a window
    ended takes one window for the whole horizon. phi may be a `Joint`: then the tasks' part is trained too.
    Everything random comes from `seed`. ValueError where the recipe names another gradient than the estimator takes.
    Source: Andrychowicz et al. 2016, as specified.
    """

    optimizer: Rule
    tasks: Tasks
    objective: Objective
    recipe: Recipe
    outer: Any = field(default_factory=Adam)  # a Rule, or an Outer without `outer_phi`
    outer_phi: Any = field(default_factory=lambda: Adam.Phi(1e-3))
    estimator: Estimator | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the parts, and that the recipe and the estimator take one gradient."""
        parts.check_part("Trainer", "optimizer", self.optimizer, Rule)
        checks.function("Trainer", "tasks", self.tasks, 1, "a function from a seed to a task")
        parts.check_part("Trainer", "objective", self.objective, Objective)
        checks.instance("Trainer", "recipe", self.recipe, Recipe, "Write Recipe(episodes=1000), say.")
        if self.estimator is not None:
            parts.check_estimator("Trainer", "estimator", self.estimator)
        checks.count("Trainer", "seed", self.seed, 0)
        self._check_outer()
        wanted = self.recipe.gradient
        if self.estimator is not None and wanted is not None and parts.gradient_kind(self.estimator) != wanted:
            came = f"{wanted!r}, and the estimator is {self.estimator!r}"
            bad_value("Trainer", "recipe.gradient", came, "one of the two", "Leave it out of the recipe.")

    @property
    def measured(self) -> dict[str, str]:
        """What the numbers of the run are: of its objective, and of its evaluations."""
        return {
            "objective": f"{type(self.objective).__name__} of {_name_of(self.objective.measure)}",
            "evaluation": f"{self.recipe.select} {_name_of(self._measure)}",
            "measure": _name_of(self._measure),
        }

    @property
    def _measure(self) -> Any:
        name = self.recipe.measure
        return self.objective.measure if name is None else as_measure("Recipe", name)

    def run(
        self,
        phi: Tree,
        *,
        checkpoint: str | Path | None = None,
        metrics: str | Path | None = None,
        progress: Callable[[Row], None] | None = None,
        config: dict[str, Any] | None = None,
        changed: tuple[str, ...] = (),
    ) -> Result:
        """Return the result of all episodes, started from `phi`.

        `checkpoint`: a file that is replaced atomically after every evaluation, and every minute; where it exists, the
        run goes on from it, to the same numbers bit for bit (ValueError if it is damaged, of a run that is under way,
        or of another run, whose parts that differ it names). `metrics`: a file of one JSON object a line, an episode
        each, null for inf and NaN, which `read_metrics` reads. Its rows are on the disk before the checkpoint that
        counts them; a run that goes on cuts off what was written after it, writes it again, and raises ValueError
        where a row before it is missing, damaged or edited. `progress(row)` gets each of them. `config`: the nested
        dicts that `setup` made this run of; they are kept in the checkpoint, and with them `load_trained` reads the
        best so far from it. Raises `NonFiniteError`, OSError where a file cannot be written, ValueError where the loss
        of a task is not finite at its start; the last checkpoint stays.

        `changed`: names of settings that may differ from those of the checkpoint, for the episodes that are left:
        "outer_phi", "estimator", and of the recipe "recipe.horizon", "recipe.window", "recipe.curriculum",
        "recipe.outer_factors", "recipe.gradient", "recipe.clip_norm", "recipe.clip_value", "recipe.on_nonfinite",
        "recipe.patience_nonfinite", "recipe.evaluate_every". Not what the best so far was selected by, nor what it is
        an optimizer of. The checkpoint keeps what was changed, and after which episode. `episodes` and `patience` may
        differ always.
        """
        given = {"checkpoint": checkpoint, "metrics": metrics}
        path, log = (None if x is None else checks.file_path(_WHERE, name, x) for name, x in given.items())
        if progress is not None:
            checks.function(_WHERE, "progress", progress, 1, "a function of a row")
        if config is not None:
            checks.instance(_WHERE, "config", config, dict)
        phi = self._as_arrays(self._checked(phi))
        named = self._parts(phi)
        check_changed(_WHERE, changed, named, CHANGEABLE)
        saving = Saving(path, log, seconds=SAVE_SECONDS, progress=progress, changed=changed)
        with files.alone(path, _WHERE), files.alone(log, _WHERE, "metrics"):
            whose = Run(_WHERE, {} if path is None else named_parts(named), CHANGEABLE, finite=True, config=config)
            end = self._loop().run(at_start(phi, self._outer(0)), saving, whose)
        return Result(end.best, end.best_value, end.phi, end.episode, self.measured["evaluation"])

    def _loop(self) -> Loop:
        recipe, estimator = self.recipe, self.estimator
        return Loop(
            _WHERE,
            self.optimizer,
            self.objective,
            Reverse(gradient=recipe.gradient or "stop_gradient") if estimator is None else estimator,
            recipe.episodes,
            self._episode,
            on_nonfinite=recipe.on_nonfinite,
            patience_nonfinite=recipe.patience_nonfinite,
            evaluate=self.evaluate,
            evaluate_every=recipe.evaluate_every,
            patience=recipe.patience,
            labels={"measured": {name: self.measured[name] for name in ("objective", "evaluation")}},
        )

    def _episode(self, number: int) -> Episode:
        seed = self._seed_of(number)
        return Episode(self._task(seed), seed, self.recipe.windows_of(number), self._outer(number))

    def _outer(self, episode: int) -> Outer:
        """Return the outer step of an episode."""
        if self.outer_phi is None:
            step: Outer = self.outer
            return step
        factor, phi = self.recipe.outer_factor_of(episode), self.outer_phi
        phi = phi if factor == 1.0 else phi._replace(eta=factor * phi.eta)
        return Through(self.outer, phi, self.recipe.clip_norm, self.recipe.clip_value)

    def _check_outer(self) -> None:
        recipe = self.recipe
        if self.outer_phi is None:
            for name in ("clip_norm", "clip_value", "outer_factors"):
                if getattr(recipe, name):
                    came = f"{getattr(recipe, name)} beside an outer step of one's own (outer_phi is None)"
                    bad_value("Trainer", f"recipe.{name}", came, "one of the two", "Give it to the outer step.")
            parts.check_outer("Trainer", "outer", self.outer)
            return
        parts.check_part("Trainer", "outer", self.outer, Rule)
        kind = parts.named_phi(self.outer)
        if not isinstance(self.outer_phi, tuple) and kind is not None:
            came = f"a {type(self.outer_phi).__name__}"
            bad_type("Trainer", "outer_phi", came, f"{kind.__qualname__}({', '.join(kind._fields)})")
        if recipe.outer_factors and not hasattr(self.outer_phi, "eta"):
            came = f"outer_factors, and outer_phi a {type(self.outer_phi).__name__} without `eta`"
            bad_value("Trainer", "recipe", came, "outer meta-parameters with a step size `eta`")
        parts.check_phi(self.outer, self.outer_phi, "Trainer: outer_phi")

    def _parts(self, phi: Tree) -> dict[str, Any]:
        """Identify the run: everything that its numbers depend on, but for when it ends."""
        named = {one.name: getattr(self, one.name) for one in fields(self)} | {"phi": phi}
        named |= {f"the code of {kind.__name__}": kind for kind in (type(self), Loop, Through, Recipe)}
        recipe, outer_phi = named.pop("recipe"), named["outer_phi"]
        named |= {f"recipe.{one.name}": getattr(recipe, one.name) for one in fields(recipe)}
        del named["recipe.episodes"], named["recipe.patience"]
        if hasattr(outer_phi, "_asdict"):
            del named["outer_phi"]
            named |= {f"outer_phi.{name}": value for name, value in outer_phi._asdict().items()}
        return named

    def _checked(self, phi: Tree) -> Tree:
        if not isinstance(phi, Joint):
            return parts.check_phi(self.optimizer, phi, _WHERE)
        task = self._task(self._seed_of(0))
        return Joint(parts.check_phi(self.optimizer, phi.rule, _WHERE), parts.check_given(task, phi.task, _WHERE))

    def _as_arrays(self, phi: Tree) -> Tree:
        """Return phi with Python's floats, a rule's defaults among them, as arrays of the dtype of the first task."""
        if all(hasattr(leaf, "dtype") for leaf in ad.leaves(phi)):
            return phi
        seed = self._seed_of(0)
        task = self._task(seed)
        if isinstance(phi, Joint):
            task = parts.given(task, phi.task)
        w = first_float(task.init(rng(seed, "init")), "Trainer")
        xp = namespace(w)
        return self._checked(ad.tree_map(lambda x: x if hasattr(x, "dtype") else xp.asarray(x, dtype=w.dtype), phi))

    def _task(self, seed: int) -> Task:
        task = self.tasks(seed)
        parts.check_part("Trainer", f"tasks({seed})", task, Task)
        return task

    def _seed_of(self, episode: int) -> int:
        return int(rng(self.seed, "episode", episode).integers(2**62))

    def evaluate(self, phi: Tree) -> float:
        """Return what the recipe selects by, over its evaluation tasks, which training never sees."""
        curves = self.evaluation_curves(phi, self.recipe.evaluation_tasks, self.recipe.evaluation_steps)
        select = self.recipe.select
        seen = curves[1:] if select.startswith("mean") else curves[-1]
        with np.errstate(all="ignore"):
            return float(np.mean(np.log10(seen) if "log" in select else seen))

    def evaluation_curves(self, phi: Tree, count: int, steps: int, stream: str = "evaluation") -> Array:
        """Return what the recipe measures (steps + 1, tasks of all `count` draws) on fresh tasks of a named stream."""
        where = "Trainer.evaluation_curves"
        checks.count(where, "count", count)
        checks.count(where, "steps", steps, 0)
        checks.instance(where, "stream", stream, str)
        curves = []
        for k in range(count):
            seed = int(rng(self.seed, stream, k).integers(2**62))
            task = self._task(seed)
            look = self._look(task, phi, seed)
            curves.append(rollout(task, self.optimizer, phi, steps=steps, seed=seed, measure=look))
        return np.concatenate(curves, axis=1)

    def evaluation_digits(self, phi: Tree, steps: int, stream: str = "evaluation") -> Array:
        """Return how many digits of what the recipe measures at the end can be trusted, on the tasks of one draw."""
        seed = int(rng(self.seed, stream, 0).integers(2**62))
        value = Value(trust=True)
        found = value(self.tasks(seed), self.optimizer, Final(self._measure), phi, steps=steps, seed=seed)
        return found.digits.value if found.digits is not None else np.full(found.status.shape, np.nan)

    def _look(self, task: Task, phi: Tree, seed: int) -> Callable[[Tree], Array] | None:
        """Return the measure of the evaluations at w_0, w_1, ... in this order; None for the loss."""
        measure, times = self._measure, count_up()
        if isinstance(measure, Loss):
            return None
        given = parts.given(task, phi.task) if isinstance(phi, Joint) else task

        def look(w: Tree) -> Array:
            return measure.of(given, w, parts.sample(task, seed, next(times), namespace(*ad.leaves(w))))

        return look


@dataclass(frozen=True, repr=False)
class Result:
    """The best meta-parameters on the evaluation tasks, their value, the last ones, and how many episodes were run.

    `measured`: what the value is, such as "final validation".
    """

    phi: Tree
    value: float
    last: Tree
    episodes: int
    measured: str

    def __repr__(self) -> str:
        """Say in a few words what came of the run; the meta-parameters are too many to show."""
        count = sum(int(np.size(leaf)) for leaf in ad.leaves(self.phi))
        parameters = f"{count} meta-parameter{'s' * (count != 1)}"
        return f"Result(best {self.measured} {self.value:.6g} in {self.episodes} episodes; {parameters})"


def _name_of(measure: Any) -> str:
    return f"{measure.name} above its floor" if isinstance(measure, AboveFloor) else str(measure.name)
