"""The paper's experiment on least squares from data to result: one true run, and the recipe's time extrapolated."""

from __future__ import annotations

import os
import resource

import numpy as np

from benchmarks import grid_recipe
from benchmarks.harness import Contender, Timing, interleave
from benchmarks.memory import child
from benchmarks.results import Result, Row
from benchmarks.settings import Settings

SUMMARY = "the paper's whole least-squares experiment, 300 tasks and data generation included, on all cores"
TASKS, ALLOWED = 300, 60.0
_DRAWS = 3


def run(settings: Settings) -> Result:
    """Run the experiment at n = 500 as often as `_DRAWS`; with `full` also once at n = 500, 1000 and 4000."""
    jobs = os.cpu_count() or 1
    ours = _true_runs(jobs, [500], _DRAWS)
    one = interleave([Contender("recipe", lambda: _task(settings.seed))], min(_DRAWS, settings.repetitions))[0]
    recipe = one.times(TASKS / jobs)
    what = f"paper's experiment, n = 500, {TASKS} tasks, data included, {jobs} processes"
    name, note = "analysis, train_by_validation", "started afresh, ten test tasks included"
    rows = [
        Row(what, name, ours, "allowed", ALLOWED, target=1.0, note=note),
        Row(what, name, ours, "paper's recipe, extrapolated from one task", recipe, note="recipe without test tasks"),
    ]
    if settings.full:
        what = f"the same at n = 500, 1000 and 4000, {jobs} processes"
        rows.append(Row(what, name, _true_runs(jobs, [500, 1000, 4000], 1), "three times the allowed", 3 * ALLOWED))
    return Result(rows)


def _true_runs(jobs: int, samples: list[int], count: int) -> Timing:
    arguments = [str(x) for x in (jobs, TASKS, *samples)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = [child("benchmarks.experiment_child", *arguments)["seconds"] for _ in range(count)]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return Timing(float(middle), float(low), float(high), count, seconds[0], used / sum(seconds))


def _task(seed: int) -> object:
    return grid_recipe.losses(grid_recipe.random_grid(n=500, d=1000, steps=40, count=25, seed=seed))
