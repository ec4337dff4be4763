"""Meta-training of an optimizer on fresh tasks: truncated unrolls, an outer optimizer, and the best that was seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad, files, parts
from metagrad.errors import Status, bad_type, bad_value
from metagrad.estimators import Reverse
from metagrad.fingerprint import check_changed, named_parts
from metagrad.optimizers import Adam
from metagrad.protocols import Objective, Rule, Task, Tree
from metagrad.system import begin
from metagrad.training import store
from metagrad.training.metrics import append_row, keep_rows
from metagrad.training.outer import clip
from metagrad.training.recipe import Recipe
from metagrad.unroll.rollout import rollout
from metagrad.views import FixedGradient
from metagrad.xp import Array, move, namespace, rng, to_host

Tasks = Callable[[int], Task]  # the task of a seed: the same whenever it is asked for
Row = dict[str, Any]
SAVE_SECONDS = 60.0  # what a killed run loses at most, beside an episode


class NonFiniteError(ArithmeticError):
    """Too many episodes in a row ended with a meta-gradient that is inf or NaN; the message says what happened."""


@dataclass(frozen=True)
class Trainer:
    """Tune the meta-parameters of `optimizer` on `tasks`, a function from a seed to a task.

    phi <- outer.step(phi, meta-gradient of `objective` over one window), window after window, task after task, by
    `recipe`. `outer`: any optimizer of the project, with its own meta-parameters `outer_phi` (Adam with step size
    0.001 by default). Everything random comes from `seed`. Source: Andrychowicz et al. 2016, as specified.
    """

    optimizer: Rule
    tasks: Tasks
    objective: Objective
    recipe: Recipe
    outer: Rule = field(default_factory=Adam)
    outer_phi: Any = field(default_factory=lambda: Adam.Phi(1e-3))
    estimator: Reverse = field(default_factory=Reverse)
    seed: int = 0

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
        each, null for inf and NaN, which `read_metrics` reads; what an interrupted run wrote after its last checkpoint
        is written again. `progress(row)` gets each of them. `config`: the nested dicts that `setup` made this run of;
        they are kept in the checkpoint, and with them `load_trained` reads the best so far from it. Raises
        `NonFiniteError`, OSError where a file cannot be written, ValueError where the loss of a task is not finite at
        its start; the last checkpoint stays.

        `changed`: names of settings that may differ from those of the checkpoint, for the episodes that are left:
        "outer_phi", "estimator", and of the recipe "recipe.horizon", "recipe.window", "recipe.curriculum",
        "recipe.outer_factors", "recipe.gradient", "recipe.clip_norm", "recipe.clip_value",
        "recipe.patience_nonfinite", "recipe.evaluate_every". Not what the best so far was selected by, nor what it is
        an optimizer of. The checkpoint keeps what was changed, and after which episode. `episodes` and `patience` may
        differ always.
        """
        if not callable(self.tasks):
            bad_type("Trainer.run", "tasks", f"a {type(self.tasks).__name__}", "a function from a seed to a task")
        phi = self._as_arrays(self._checked(phi))
        kind = parts.named_phi(self.outer)
        if not isinstance(self.outer_phi, tuple) and kind is not None:
            came = f"a {type(self.outer_phi).__name__}"
            bad_type("Trainer.run", "outer_phi", came, f"{kind.__qualname__}({', '.join(kind._fields)})")
        if self.recipe.outer_factors and not hasattr(self.outer_phi, "eta"):
            came = f"outer_factors, and outer_phi a {type(self.outer_phi).__name__} without `eta`"
            bad_value("Trainer.run", "recipe", came, "outer meta-parameters with a step size `eta`")
        path, log = (None if x is None else Path(x) for x in (checkpoint, metrics))
        with files.alone(path, "Trainer.run"):
            named = self._parts(phi)
            check_changed("Trainer.run", changed, named, store.CHANGEABLE)
            run = store.Run({} if path is None else named_parts(named), config)
            position = self._run(phi, path, log, progress, run, changed)
        return Result(position.best, position.best_value, position.phi, position.episode)

    def _run(
        self, phi: Tree, path: Path | None, log: Path | None, progress: Any, run: store.Run, changed: tuple[str, ...]
    ) -> store.Position:
        position = self._begin(phi)

        def save() -> None:
            if path is not None:
                store.save_position(path, position, run)

        if path is not None and path.exists():
            position, run = store.load_position(path, position, run, changed)
        save()  # at once: that it cannot be written is better known before hours of training
        saved = time.monotonic()
        if log is not None:
            keep_rows(log, position.episode)
        while position.episode < self.recipe.episodes and not self._has_stopped(position):
            position, row = self._episode(position)
            if log is not None:
                append_row(log, row)
            if progress is not None:
                progress(row)
            if "evaluation" in row or time.monotonic() - saved > SAVE_SECONDS:
                save()
                saved = time.monotonic()
        return position

    def _parts(self, phi: Tree) -> dict[str, Any]:
        """Identify the run: everything that its numbers depend on, but for when it ends."""
        named = {one.name: getattr(self, one.name) for one in fields(self)} | {"phi": phi}
        named |= {f"the code of {kind.__name__}": kind for kind in (type(self), Recipe)}
        recipe, outer_phi = named.pop("recipe"), named["outer_phi"]
        named |= {f"recipe.{one.name}": getattr(recipe, one.name) for one in fields(recipe)}
        del named["recipe.episodes"], named["recipe.patience"]
        if hasattr(outer_phi, "_asdict"):
            del named["outer_phi"]
            named |= {f"outer_phi.{name}": value for name, value in outer_phi._asdict().items()}
        return named

    def _checked(self, phi: Tree) -> Tree:
        return parts.check_phi(self.optimizer, phi, "Trainer.run")

    def _as_arrays(self, phi: Tree) -> Tree:
        """Return phi with Python's floats, a rule's defaults among them, as arrays of the dtype of the first task."""
        if all(hasattr(leaf, "dtype") for leaf in ad.leaves(phi)):
            return phi
        seed = self._seed_of(0)
        w = ad.leaves(self.tasks(seed).init(rng(seed, "init")))[0]
        xp = namespace(w)
        return self._checked(ad.tree_map(lambda x: x if hasattr(x, "dtype") else xp.asarray(x, dtype=w.dtype), phi))

    def _seed_of(self, episode: int) -> int:
        return int(rng(self.seed, "episode", episode).integers(2**62))

    def _has_stopped(self, at: store.Position) -> bool:
        return self.recipe.patience is not None and at.since >= self.recipe.patience

    def _outer_phi(self, episode: int) -> Any:
        factor = self.recipe.outer_factor_of(episode)
        return self.outer_phi if factor == 1.0 else self.outer_phi._replace(eta=factor * self.outer_phi.eta)

    def _begin(self, phi: Tree) -> store.Position:
        return store.Position(phi=phi, outer=self.outer.init(self.outer_phi, phi), best=phi)

    def _episode(self, at: store.Position) -> tuple[store.Position, Row]:
        """Run one episode, and evaluate where it is time to."""
        seed = self._seed_of(at.episode)
        task, losses, log2_norms, clipped, status = self.tasks(seed), [], [], 0, np.zeros(0, dtype=np.int64)
        _check_start(task, seed, at.episode)
        phi, outer, start, ended = at.phi, at.outer, begin(task, self.optimizer, at.phi, seed), False
        outer_phi = self._outer_phi(at.episode)
        estimator = replace(self.estimator, gradient=self.recipe.gradient)
        for steps in self.recipe.windows_of(at.episode):
            found = estimator(task, self.optimizer, self.objective, phi, steps=steps, seed=seed, at=start)
            step = clip(found.grad, self.recipe)
            losses.append(float(np.mean(found.value.to_float(out_of_range="ieee"))))
            log2_norms.append(step.log2_norm)
            status = np.concatenate([status, to_host(found.status)])
            if not step.finite:
                ended = True
                break
            gradient = move(step.gradient, namespace(*ad.leaves(phi)))
            with np.errstate(all="ignore"):  # what overflows is looked at below
                moved = self.outer.step(outer_phi, outer, phi, FixedGradient(gradient))
            if not _all_finite(moved):
                ended = True
                break
            clipped += step.clipped
            phi, outer = moved
            assert found.end is not None
            start = found.end
        row = _row(at.episode, losses, log2_norms, clipped, status, ended)
        at = replace(at, phi=phi, outer=outer, episode=at.episode + 1, nonfinite=at.nonfinite + 1 if ended else 0)
        if at.nonfinite >= self.recipe.patience_nonfinite:
            self._give_up(at, status)
        if at.episode % self.recipe.evaluate_every == 0 or at.episode == self.recipe.episodes:
            at, row = self._evaluated(at, row)
        return at, row

    def _evaluated(self, at: store.Position, row: Row) -> tuple[store.Position, Row]:
        value = self.evaluate(at.phi)
        better = value < at.best_value  # NaN is not
        since = 0 if better else at.since + 1
        best, best_value = (at.phi, value) if better else (at.best, at.best_value)
        at = replace(at, best=best, best_value=best_value, since=since)
        return at, row | {"evaluation": value, "best": best_value}

    def evaluate(self, phi: Tree) -> float:
        """Return what the recipe selects by, over its evaluation tasks, which training never sees."""
        curves = self.evaluation_curves(phi, self.recipe.evaluation_tasks, self.recipe.evaluation_steps)
        with np.errstate(all="ignore"):
            if self.recipe.select == "mean":
                return float(np.mean(curves[1:]))
            last = curves[-1]
            return float(np.mean(np.log10(last) if self.recipe.select == "log_final" else last))

    def evaluation_curves(self, phi: Tree, count: int, steps: int, stream: str = "evaluation") -> Array:
        """Return the losses (steps + 1, tasks of all `count` draws) of phi on fresh tasks of a named stream."""
        curves = []
        for k in range(count):
            seed = int(rng(self.seed, stream, k).integers(2**62))
            curves.append(rollout(self.tasks(seed), self.optimizer, phi, steps=steps, seed=seed))
        return np.concatenate(curves, axis=1)

    def _give_up(self, at: store.Position, status: Array) -> None:
        met = {Status.from_code(code).name for code in np.unique(status)} - {"OK"}
        raise NonFiniteError(
            f"Trainer.run: the meta-gradient, or the outer step along it, was inf or NaN in {at.nonfinite} episodes in "
            f"a row, up to episode {at.episode - 1} ({', '.join(sorted(met)) or 'no status'}); expected finite ones. "
            "Use shorter windows, a smaller outer step size, clip_norm, or an objective that is a logarithm."
        )


@dataclass(frozen=True)
class Result:
    """The best meta-parameters on the evaluation tasks, their value, the last ones, and how many episodes were run."""

    phi: Tree
    value: float
    last: Tree
    episodes: int


def _row(episode: int, losses: list[float], norms: list[float], clipped: int, status: Array, ended: bool) -> Row:
    codes, counts = np.unique(status, return_counts=True)
    return {
        "episode": episode,
        "objective": [float(x) for x in losses],
        "log2_gradient_norm": [float(x) for x in norms],
        "clipped": int(clipped),
        "nonfinite": bool(ended),
        "status": {Status.from_code(c).name: int(n) for c, n in zip(codes, counts, strict=True)},
    }


def _all_finite(tree: Tree) -> bool:
    return all(bool(namespace(leaf).isfinite(leaf).all()) for leaf in ad.leaves(tree))


def _check_start(task: Task, seed: int, episode: int) -> None:
    """Raise ValueError where the loss of an episode's task is not finite at its start, which training cannot mend."""
    w = task.init(rng(seed, "init"))
    with np.errstate(all="ignore"):
        loss = to_host(task.loss(w, parts.sample(task, seed, 0, namespace(*ad.leaves(w)))))
    if not np.isfinite(loss).all():
        came = f"one whose loss is {loss[~np.isfinite(loss)][0]} at the start of episode {episode} (seed {seed})"
        bad_value("Trainer.run", "tasks", came, "a finite loss", "Look at `tasks(seed)`: its data, and its `init`.")
