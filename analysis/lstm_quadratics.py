"""The trained coordinate-wise LSTM against tuned hand-designed optimizers, on fresh quadratics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import _baselines
from analysis.framework.contract import Check, Table, Verdict
from metagrad.errors import bad_value
from metagrad.training.config import setup
from metagrad.training.trained import load_trained
from metagrad.unroll.rollout import rollout
from metagrad.xp import rng

claim = (
    "On fresh quadratics a coordinate-wise LSTM, meta-trained for 100 steps, has a smaller mean loss after them than "
    "every hand-designed optimizer with a step size tuned on the same family (Andrychowicz et al. 2016, section 3.1)."
)
TRAINED = "lstm_quadratics"


@dataclass(frozen=True)
class Config:
    """Draws of tasks (128 each) to tune step sizes on, and fresh ones to compare on; the last step of the curves."""

    tuning: int = 12
    fresh: int = 40
    trained_steps: int = 100
    steps: int = 400

    def __post_init__(self) -> None:
        """Check that the curves are long enough."""
        if not 1 <= self.trained_steps <= self.steps:
            bad_value("lstm_quadratics", "trained_steps", self.trained_steps, f"1 to steps = {self.steps}")


presets = {"quick": Config(6, 8, 100, 200), "default": Config(), "paper": Config(24, 200, 100, 1000)}
expected_seconds = {"quick": 5.0, "default": 70.0, "paper": 900.0}


def shards(config: Config) -> list[dict[str, Any]]:
    """Return the LSTM and each baseline."""
    return [{"rule": name} for name in ("LSTM", *_baselines.NAMES)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the losses (steps + 1, tasks) on fresh tasks, with the tuned step size where there is one."""
    trained = load_trained(TRAINED)
    tasks = setup(trained.config).trainer.tasks

    def draws(stream: str, count: int) -> list[Any]:
        seeds = [int(rng(context.seed, TRAINED, stream, k).integers(2**62)) for k in range(count)]
        return [tasks(seed) for seed in seeds]

    name = shard["rule"]
    eta, rule = np.nan, (trained.optimizer, trained.phi)
    if name != "LSTM":
        searched = [
            _baselines.search(name, task, config.trained_steps, 0)[:, -1] for task in draws("tuning", config.tuning)
        ]
        eta = float(_baselines.STEP_SIZES[_baselines.best(np.concatenate(searched, axis=-1))])
        rule = _baselines.baseline(name, eta)
    curves = [rollout(task, *rule, steps=config.steps) for task in draws("fresh", config.fresh)]
    return {"curves": np.concatenate(curves, axis=-1), "eta": np.array(eta)}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return mean losses and mean logarithms over the fresh tasks, with 95 % intervals at a few times.

    The intervals are those of a bootstrap over tasks: where a step size is unstable on a few of them, the mean is far
    from normal.
    """
    curves = np.stack([part["curves"] for part in parts]).astype(np.float64)
    times = np.unique([*np.linspace(min(10, config.steps), config.steps, 10).astype(int), config.trained_steps])
    stream = rng(0, TRAINED, "bootstrap")
    weights = stream.multinomial(curves.shape[-1], np.full(curves.shape[-1], 1 / curves.shape[-1]), size=1000)
    with np.errstate(all="ignore"):
        logs = np.log10(curves)
        spread = [x[:, times] @ weights.T / curves.shape[-1] for x in (curves, logs)]
        arrays = {
            "mean": curves.mean(axis=-1),
            "log_mean": logs.mean(axis=-1),
            "times": times,
            "interval": np.quantile(spread[0], [0.025, 0.975], axis=-1),
            "log_interval": np.quantile(spread[1], [0.025, 0.975], axis=-1),
            "eta": np.array([float(part["eta"]) for part in parts]),
            "tasks": np.array(curves.shape[-1]),
        }
    return Table(arrays, {"mean": "loss", "log_mean": "log10 of loss", "eta": "1"})


def verdict(config: Config, table: Table) -> Verdict:
    """Compare the intervals at the trained horizon."""
    arrays, t = table.arrays, config.trained_steps
    at = int(np.flatnonzero(arrays["times"] == t)[0])
    low, high = arrays["interval"][0, 1:, at], float(arrays["interval"][1, 0, at])
    inside = (arrays["eta"][1:] > _baselines.STEP_SIZES[0]) & (arrays["eta"][1:] < _baselines.STEP_SIZES[-1])
    checks = [
        Check(
            f"mean loss at t = {t}: lower end of {name}, over the LSTM's upper end", end / high, "> 1", bool(end > high)
        )
        for name, end in zip(_baselines.NAMES, low, strict=True)
    ]
    count = int(inside.sum())
    what = "baselines whose tuned step size is inside of the grid"
    return Verdict(claim, [*checks, Check(what, count, f"{len(inside)}", count == len(inside))])
