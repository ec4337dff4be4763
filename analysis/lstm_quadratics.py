"""The trained coordinate-wise LSTM against tuned hand-designed optimizers, on fresh quadratics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from analysis import _baselines
from analysis.framework.contract import Check, Names, Table, Verdict
from metagrad.errors import bad_value
from metagrad.training.config import setup
from metagrad.training.trained import load_trained
from metagrad.unroll.rollout import rollout
from metagrad.xp import rng

claim = (
    "On fresh quadratics a coordinate-wise LSTM, meta-trained for 100 steps, has a smaller mean loss after them than "
    "every hand-designed optimizer with a step size tuned on the same family (Andrychowicz et al. 2016, section 3.1), "
    "and than every one with the step size that is best on those very quadratics."
)
TRAINED = "lstm_quadratics"
RULES = ("LSTM", *_baselines.NAMES)
_ENDS = ("low", "high")


@dataclass(frozen=True)
class Config:
    """Draws of tasks (128 each) to tune step sizes on, and fresh ones to compare on; the last step of the curves."""

    tuning: int = 40
    fresh: int = 40
    trained_steps: int = 100
    steps: int = 400

    def __post_init__(self) -> None:
        """Check that the curves are long enough."""
        if not 1 <= self.trained_steps <= self.steps:
            bad_value("lstm_quadratics", "trained_steps", self.trained_steps, f"1 to steps = {self.steps}")


presets = {"quick": Config(6, 6, 100, 200), "default": Config(), "paper": Config(100, 200, 100, 1000)}
expected_seconds = {"quick": 15.0, "default": 150.0, "paper": 1500.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    rules = [f"{how}_{name.lower()}" for how in ("tuned", "best") for name in _baselines.NAMES]
    return (*rules, "inside_grid")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return the LSTM and each baseline."""
    return [{"rule": name} for name in RULES]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the losses (steps + 1, tasks) on fresh tasks, with the tuned step size where there is one.

    `ends`: those after the trained horizon at every step size of the grid, (step sizes, tasks), for baselines.
    """
    trained = load_trained(TRAINED)
    tasks = setup(trained.config).trainer.tasks

    def draws(stream: str, count: int) -> list[Any]:
        seeds = [int(rng(context.seed, TRAINED, stream, k).integers(2**62)) for k in range(count)]
        return [tasks(seed) for seed in seeds]

    def ends(name: str, stream: str, count: int) -> np.ndarray:
        found = [_baselines.search(name, task, config.trained_steps, 0)[:, -1] for task in draws(stream, count)]
        return np.concatenate(found, axis=-1)

    name, result = shard["rule"], {"eta": np.array(np.nan)}
    rule = (trained.optimizer, trained.phi)
    if name != "LSTM":
        eta = float(_baselines.STEP_SIZES[_baselines.best(ends(name, "tuning", config.tuning))])
        rule = _baselines.baseline(name, eta)
        result = {"eta": np.array(eta), "ends": ends(name, "fresh", config.fresh)}
    curves = [rollout(task, *rule, steps=config.steps) for task in draws("fresh", config.fresh)]
    return result | {"curves": np.concatenate(curves, axis=-1)}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return mean and median losses over the fresh tasks, with 95 % intervals at a few times.

    A run that left the range of floats has the loss inf. Intervals of means are those of a bootstrap over tasks: where
    a step size is unstable on a few of them, the mean is far from normal. Those of medians are exact.
    """
    curves = np.stack([_inf_where_lost(part["curves"]) for part in parts])  # (rules, steps + 1, tasks)
    times = np.unique([*np.linspace(min(10, config.steps), config.steps, 10).astype(int), config.trained_steps])
    count = curves.shape[-1]
    weights = rng(0, TRAINED, "bootstrap").multinomial(count, np.full(count, 1 / count), size=1000).T
    hindsight = [_inf_where_lost(part["ends"]) for part in parts[1:]]
    hindsight = np.stack([ends[_baselines.best(ends)] for ends in hindsight])  # (baselines, tasks)
    below = int(binom.ppf(0.025, count, 0.5))  # as many tasks as this may lie below the median, or above it
    ranks = np.array([max(below - 1, 0), min(count - below, count - 1)])
    arrays = {
        "mean": curves.mean(axis=-1),
        "median": np.median(curves, axis=-1),
        "times": times,
        "interval": _bootstrap(curves[:, times], weights),
        "median_interval": np.moveaxis(np.sort(curves[:, times], axis=-1)[..., ranks], -1, 0),
        "lost": np.isinf(curves[:, -1]).sum(axis=-1),
        "hindsight": hindsight.mean(axis=-1),
        "hindsight_interval": _bootstrap(hindsight, weights),
        "eta": np.array([float(part["eta"]) for part in parts]),
        "tasks": np.array(count),
    }
    names: dict[str, Names] = dict.fromkeys(("mean", "median", "lost", "eta"), (RULES,))
    names |= {"interval": (_ENDS, RULES), "median_interval": (_ENDS, RULES)}
    names |= {"hindsight": (_baselines.NAMES,), "hindsight_interval": (_ENDS, _baselines.NAMES)}
    return Table(arrays, {"mean": "loss", "median": "loss", "eta": "1"}, names)


def _inf_where_lost(losses: np.ndarray) -> np.ndarray:
    losses = losses.astype(np.float64)
    return np.where(np.isnan(losses), np.inf, losses)


def _bootstrap(losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the 95 % interval (2, ...) of the mean over the last axis; weights (tasks, resamples)."""
    lost = np.isinf(losses)
    means = np.where(lost, 0.0, losses) @ weights / len(weights)
    means[lost.astype(float) @ weights > 0] = np.inf
    return np.quantile(means, [0.025, 0.975], axis=-1, method="lower")  # inf takes no part in an interpolation


def verdict(config: Config, table: Table) -> Verdict:
    """Compare the intervals at the trained horizon."""
    arrays, t = table.arrays, config.trained_steps
    at = int(np.flatnonzero(arrays["times"] == t)[0])
    low, high = arrays["interval"][0, 1:, at], float(arrays["interval"][1, 0, at])
    checks = [
        Check(
            f"{how}_{name.lower()}",
            f"mean loss at t = {t}, over the LSTM's (nearest ends): {name}, {said}",
            end / high,
            "> 1",
            end > high,
        )
        for how, said, ends in (
            ("tuned", "tuned", low),
            ("best", "best step size here", arrays["hindsight_interval"][0]),
        )
        for name, end in zip(_baselines.NAMES, ends.tolist(), strict=True)
    ]
    inside = (arrays["eta"][1:] > _baselines.STEP_SIZES[0]) & (arrays["eta"][1:] < _baselines.STEP_SIZES[-1])
    count = int(inside.sum())
    what = "baselines whose tuned step size is inside of the grid"
    return Verdict(claim, [*checks, Check("inside_grid", what, count, f"{len(inside)}", count == len(inside))])
