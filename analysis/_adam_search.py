"""Random search over step size and betas of Adam, at the cost of a meta-training (Bergstra and Bengio 2012).

Cost is counted in runs: one run of Adam on one task, a gradient a step. So it is the cost where gradients take the
time; on tasks as small as those here a sweep in Python takes longer than its operations. Half of the cost goes to many
candidates on few tasks, half to the best of them for each measure on more tasks: in one stage the search gains less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from metagrad.unroll.rollout import rollout
from metagrad.xp import rng

BOX = {"eta": (0.001, 1.0), "1 - beta1": (0.01, 0.5), "1 - beta2": (0.001, 0.5)}  # uniform in the logarithm
META_GRADIENT = 5  # runs: value and gradient take at most 5 times the operations of the value (Baur and Strassen 1983)
FIRST = 8  # tasks of every candidate in the first stage
KEPT = 8  # candidates of the second stage, for each measure
_CHUNK = 64  # candidates that are run at once

Tasks = Callable[[int, int], Any]  # the tasks of a count and a seed
Measures = Callable[[np.ndarray], np.ndarray]  # (measures, tasks) of curves (steps + 1, tasks)


@dataclass(frozen=True)
class Search:
    """A search of `cost` runs over `steps` steps, the lowest of `measures` on average."""

    cost: int
    steps: int
    tasks: Tasks
    measures: Measures

    @property
    def count(self) -> int:
        """How many candidates there are in the first stage."""
        return self.cost // 2 // FIRST

    def run(self, seed: int) -> np.ndarray:
        """Return the (eta, beta1, beta2) that is found for each measure, shape (measures, 3)."""
        given = candidates(self.count, seed)
        first = scores(self.tasks(FIRST, _seed(seed, "first")), given, self.steps, self.measures)
        size = self.cost // 2 // (len(first) * KEPT)
        task, found = self.tasks(size, _seed(seed, "second")), []
        for m, of_measure in enumerate(first):
            kept = given[np.argsort(of_measure)[:KEPT]]
            found.append(kept[scores(task, kept, self.steps, self.measures)[m].argmin()])
        return np.array(found)


def cost_of(episodes: int, batch: int, evaluations: int, evaluation_runs: int, start_runs: int) -> int:
    """Return the cost of a meta-training in runs, with the search for its start and with its evaluations.

    >>> cost_of(100, 32, 20, 256, 128)
    21248
    """
    return start_runs + META_GRADIENT * batch * episodes + evaluations * evaluation_runs


def candidates(count: int, seed: int) -> np.ndarray:
    """Return random (eta, beta1, beta2), shape (count, 3)."""
    low, high = np.log(np.array(list(BOX.values()))).T
    found: np.ndarray = np.exp(rng(seed, "candidates").uniform(low, high, (count, 3)))
    found[:, 1:] = 1 - found[:, 1:]
    return found


def scores(task: mg.LeastSquares, given: np.ndarray, steps: int, measures: Measures) -> np.ndarray:
    """Return the mean over the tasks of each measure, shape (measures, candidates); a lost run counts as inf."""
    found = []
    for part in np.split(given, range(_CHUNK, len(given), _CHUNK)):
        X, y, w0 = (np.tile(x, (len(part), *[1] * (x.ndim - 1))) for x in (task.X, task.y, task.w0))
        phi = mg.Adam.Phi(*(np.repeat(x, len(task.y))[:, None] for x in part.T), 1e-8)
        of_each = measures(rollout(mg.LeastSquares(X, y, w0=w0), mg.Adam(), phi, steps=steps, per_task=True))
        found.append(of_each.reshape(len(of_each), len(part), -1).mean(axis=-1))
    return np.concatenate(found, axis=-1)


def _seed(seed: int, name: str) -> int:
    return int(rng(seed, name).integers(2**32))
