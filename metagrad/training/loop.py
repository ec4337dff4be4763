"""The one outer loop: episodes, outer steps, projections, evaluations, checkpoints, and the same bits after a stop.

    for each episode            a task, and the lengths of the windows that its run is cut into
      for each window           found = estimator(task, rule, objective, phi, ...)       from where the last one ended
                                phi, state = outer.step(phi, state, found, k)
                                phi = the nearest one within the ranges of the rule
      where it is time          evaluate phi, keep the best, save

`MetaTrainer` and `Trainer` say what the episodes are; nothing else differs between them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metagrad import ad, checks, parts
from metagrad.errors import Status, bad_type, bad_value
from metagrad.protocols import Estimate, Estimator, Joint, Objective, Outer, Rule, Task, Tree
from metagrad.reads import remembered
from metagrad.training import metrics, store
from metagrad.training._leaves import all_finite, flat, like
from metagrad.training.store import Progress, Run
from metagrad.xp import Array, namespace, rng, to_host

Row = dict[str, Any]
# What becomes of an outer step that is no number: "stop" ends the meta-parameters (NaN) or the episode, "skip" leaves
# it out and goes on.
OnNonfinite = Literal["stop", "skip"]
ON_NONFINITE = ["stop", "skip"]


class NonFiniteError(ArithmeticError):
    """Too many episodes in a row ended with a meta-gradient that is inf or NaN; the message says what happened."""


@dataclass(frozen=True)
class Episode:
    """A task with its seed, the lengths of its windows, and the outer step of this episode."""

    task: Task
    seed: int
    windows: list[int]
    outer: Outer


@dataclass(frozen=True)
class Saving:
    """Where a run is saved, and when: every so many episodes or seconds, and after every evaluation."""

    checkpoint: Path | None = None
    metrics: Path | None = None
    every: float = math.inf
    seconds: float = math.inf
    progress: Callable[[Row], None] | None = None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loop:
    """An outer loop over `episodes` episodes, each made by `episode_of` from its number, counted from 0.

    `patience_nonfinite`: after how many episodes in a row without a step the run ends with an error; None: never, and
    a meta-parameter without a next value is NaN from then on. `evaluate`: what is measured of phi, the less the
    better, after every `evaluate_every` episodes and the last; `patience`: evaluations without a better one after
    which the run ends. `history`: keep what every outer step found. `labels` are a part of every row.
    """

    where: str
    rule: Rule
    objective: Objective
    estimator: Estimator
    episodes: int
    episode_of: Callable[[int], Episode]
    on_nonfinite: OnNonfinite = "stop"
    patience_nonfinite: int | None = None
    evaluate: Callable[[Tree], float] | None = None
    evaluate_every: int = 1
    patience: int | None = None
    history: bool = False
    labels: Row | None = None

    def run(self, start: Progress, saving: Saving, run: Run) -> Progress:
        """Return where the run ends, from `start`, or from the checkpoint where there is one."""
        at, path, log = start, saving.checkpoint, None
        if path is not None and path.exists():
            at, run = store.load(path, at, run, saving.changed)
        if saving.metrics is not None:
            log = metrics.go_on(saving.metrics, self.where, at.episode, at.metrics)
        spent, began = at.seconds, time.monotonic()
        if path is not None:  # at once: that it cannot be written is better known before hours of training
            _save(path, at, run, log)
        saved = time.monotonic()
        known = None if path is None else remembered(self.estimator)
        while at.episode < self.episodes and (self.patience is None or at.since < self.patience):
            at, row = self.episode(at)
            if known is not None:
                self._refuse_memory(known)
                known = None
            if log is not None:
                log.append(row)
            if saving.progress is not None:
                saving.progress(row)
            is_time = at.episode % saving.every == 0 or time.monotonic() - saved > saving.seconds
            if path is not None and (is_time or "evaluation" in row or at.episode == self.episodes):
                saved = time.monotonic()
                at = replace(at, seconds=spent + saved - began)
                _save(path, at, run, log)
        return at

    def episode(self, at: Progress) -> tuple[Progress, Row]:
        """Return where the run stands after one more episode, and what was measured in it."""
        episode, position, took = self.episode_of(at.episode), None, _Taken()
        phi, outer, k, horizon = at.phi, at.outer, at.steps, sum(episode.windows)
        if self.patience_nonfinite is not None:
            _check_start(self.where, episode, phi, at.episode)
        if len(episode.windows) > 1 and not parts.goes_on(self.estimator):
            self._refuse_windows("cannot go on from where a window ended (`at`)")
        estimator = parts.with_trust(self.estimator) if self._is_evaluated(at.episode + 1) else self.estimator
        for steps in episode.windows:
            if took.count and position is None:
                self._refuse_windows("does not tell where a window ended (`Estimate.end`)")
            k += 1
            # An estimator that knows of whole runs only is as good where there are no windows.
            when = {"at": position, "run": horizon} if len(episode.windows) > 1 else {}
            with np.errstate(invalid="ignore"):  # meta-parameters that ended go on as NaN
                found = estimator(episode.task, self.rule, self.objective, phi, steps=steps, seed=episode.seed, **when)
            checks.instance(self.where, "what the estimator returns", found, Estimate)
            moved, after, report = episode.outer.step(phi, outer, found, k)
            moved, projected = _projected(self.rule, phi, moved)
            finite = report.finite and all_finite(moved)
            took.see(found, report.log2_norm, clipped=report.clipped, projected=bool(projected.any()), finite=finite)
            if not finite and self.on_nonfinite == "stop" and self.patience_nonfinite is not None:
                break
            moved, skipped = _kept(phi, moved) if self.on_nonfinite == "skip" else (moved, np.zeros_like(projected))
            phi, outer, position = moved, after, found.end
            if self.history:
                at.history.append(_record(phi, found, projected, skipped))
        return self._ended(replace(at, phi=phi, outer=outer, steps=k, episode=at.episode + 1), took)

    def _ended(self, at: Progress, took: _Taken) -> tuple[Progress, Row]:
        lost = took.nonfinite == took.count if self.on_nonfinite == "skip" else took.nonfinite > 0
        at = replace(at, nonfinite=at.nonfinite + 1 if lost else 0)
        if self.patience_nonfinite is not None and at.nonfinite >= self.patience_nonfinite:
            self._give_up(at, took.status)
        row = took.row(at.episode - 1, skips=self.on_nonfinite == "skip") | (self.labels or {})
        if self.evaluate is None or not self._is_evaluated(at.episode):
            return at, row
        value = self.evaluate(at.phi)
        better = value < at.best_value  # NaN is not
        best, best_value = (at.phi, value) if better else (at.best, at.best_value)
        at = replace(at, best=best, best_value=best_value, since=0 if better else at.since + 1)
        return at, row | {"evaluation": value, "best": best_value} | took.digits()

    def _is_evaluated(self, count: int) -> bool:
        """Whether phi is evaluated after so many episodes; the windows of the last one are then looked at closely."""
        return self.evaluate is not None and (count % self.evaluate_every == 0 or count == self.episodes)

    def _refuse_memory(self, known: dict[str, Any]) -> None:
        """Raise TypeError where the estimator keeps something that a checkpoint has not; looked at once a run."""
        now = remembered(self.estimator)
        changed = sorted(name for name in known.keys() | now.keys() if known.get(name) != now.get(name))
        if changed:
            came = f"a {type(self.estimator).__name__} whose `{'`, `'.join(changed)}` changed in a call"
            remedy = (
                "A run that is resumed would not have it, and give other numbers. Keep it in `Estimate.end`, make it "
                "a setting and run twice with `changed=`, or take no checkpoint."
            )
            bad_type(self.where, "estimator", came, "one that keeps nothing on itself, beside a checkpoint", remedy)

    def _refuse_windows(self, lacks: str) -> None:
        came = f"a {type(self.estimator).__name__}, which {lacks}"
        remedy = "Take one window for the whole horizon, or another estimator."
        bad_type(self.where, "estimator", came, "one that does, for several windows", remedy)

    def _give_up(self, at: Progress, status: Array) -> None:
        met = {Status.from_code(code).name for code in np.unique(status)} - {"OK"}
        raise NonFiniteError(
            f"{self.where}: the meta-gradient, or the outer step along it, was inf or NaN in {at.nonfinite} episodes "
            f"in a row, up to episode {at.episode - 1} ({', '.join(sorted(met)) or 'no status'}); expected finite "
            "ones. Use shorter windows, a smaller outer step size, clip_norm, or an objective that is a logarithm."
        )


class _Taken:
    """What the windows of an episode have measured so far."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.norms: list[float] = []
        self.clipped = self.projected = self.nonfinite = 0
        self.status: Array = np.zeros(0, dtype=np.int64)
        self._digits: list[tuple[float, float]] = []

    @property
    def count(self) -> int:
        return len(self.values)

    def see(self, found: Estimate, norm: float, *, clipped: bool, projected: bool, finite: bool) -> None:
        """Note a window, and what its outer step did: one that was not finite was neither clipped nor projected."""
        self.values.append(float(np.mean(found.value.to_float(out_of_range="ieee"))))
        self.norms.append(float(norm))
        self.status = np.concatenate([self.status, to_host(found.status)])
        if found.digits is not None and found.digits.gradient is not None:
            value, gradient = (float(to_host(x).min()) for x in found.digits)
            self._digits.append((value, gradient))
        self.nonfinite += not finite
        self.clipped += clipped and finite
        self.projected += projected and finite

    def digits(self) -> Row:
        """Return how many digits all tasks and windows had; nothing where the estimator does not tell."""
        if not self._digits:
            return {}
        value, gradient = (min(row) for row in zip(*self._digits, strict=True))
        return {"digits": {"value": value, "gradient": gradient}}

    def row(self, episode: int, *, skips: bool) -> Row:
        codes, counts = np.unique(self.status, return_counts=True)
        return {
            "episode": episode,
            "objective": self.values,
            "log2_gradient_norm": self.norms,
            "clipped": int(self.clipped),
            "projected": int(self.projected),
            "skipped": int(self.nonfinite) if skips else 0,
            "nonfinite": self.nonfinite > 0,
            "status": {Status.from_code(c).name: int(n) for c, n in zip(codes, counts, strict=True)},
        }


def _projected(rule: Rule, before: Tree, moved: Tree) -> tuple[Tree, Array]:
    """Return the nearest meta-parameters within the rule's ranges, built like those before, and which were moved."""
    of_rule = moved.rule if isinstance(moved, Joint) else moved
    nearest = parts.project(rule, of_rule)
    if nearest is of_rule:  # it has no ranges
        return ad.tree_map(like, before, moved), np.zeros(sum(np.size(x) for x in ad.leaves(moved)), dtype=bool)
    nearest = ad.tree_map(like, before, Joint(nearest, moved.task) if isinstance(moved, Joint) else nearest)
    was, now = flat(moved), flat(nearest)
    return nearest, (was != now) & ~np.isnan(was)


def _kept(before: Tree, moved: Tree) -> tuple[Tree, Array]:
    """Return the meta-parameters with the old ones where there is no finite new one, and where that is."""

    def chosen(old: Any, new: Any) -> Any:
        return like(old, np.where(namespace(new).isfinite(new), new, old))

    return ad.tree_map(chosen, before, moved), ~np.isfinite(flat(moved))


def _record(phi: Tree, found: Estimate, projected: Array, skipped: Array) -> dict[str, Array]:
    """Return what an outer step found, in arrays on the host."""
    grads = [leaf for leaf in ad.leaves(found.grad) if leaf is not None]
    return {
        "after": flat(phi),
        "value_log2": to_host(found.value.log2abs()),
        "value_sign": to_host(found.value.sign()),
        "grad_log2": np.concatenate([np.ravel(to_host(g.log2abs())) for g in grads]),
        "grad_sign": np.concatenate([np.ravel(to_host(g.sign())) for g in grads]),
        "status": to_host(found.status),
        "projected": projected,
        "skipped": skipped,
    }


def _check_start(where: str, episode: Episode, phi: Tree, number: int) -> None:
    """Raise ValueError where the loss of an episode's task is not finite at its start, which training cannot mend."""
    seed, task = episode.seed, episode.task
    if isinstance(phi, Joint):
        task = parts.given(task, phi.task)
    w = parts.start(task, rng(seed, "init"))
    with np.errstate(all="ignore"):
        loss = to_host(parts.loss(task, w, parts.sample(task, seed, 0, namespace(*ad.leaves(w)))))
    if not np.isfinite(loss).all():
        came = f"one whose loss is {loss[~np.isfinite(loss)][0]} at the start of episode {number} (seed {seed})"
        bad_value(where, "tasks", came, "a finite loss", "Look at `tasks(seed)`: its data, and its `init`.")


def _save(path: Path, at: Progress, run: Run, log: metrics.Log | None) -> None:
    """Save where the run stands, once the rows of metrics up to here are on the disk."""
    store.save(path, replace(at, metrics=None if log is None else log.mark()), run)


def at_start(phi: Tree, outer: Outer) -> Progress:
    """Return where a run stands before its first episode."""
    return Progress(phi=phi, outer=outer.init(phi), best=phi)
