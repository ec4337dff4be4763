"""The paper's experiment on least squares: one step size, tuned on the training loss or on held-out samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.framework.checks import at_least, at_most, between, reported
from analysis.framework.contract import Check, Table, Verdict
from metagrad import random_least_squares
from metagrad.theory import least_squares
from metagrad.theory.least_squares import proportional_limit
from metagrad.theory.least_squares.krylov import krylov_regressions
from metagrad.xp import rng

claim = (
    "With no more samples than inputs, a step size tuned on the training loss does worse on fresh samples than no "
    "training at all, one tuned on held-out samples does better; with four samples an input the test errors of both "
    "are within 5 % (Wang et al. 2021, section 4 and the experiment on least squares)."
)
BY = ("train", "validation")
SAMPLES = ("seen", "fresh")  # those trained on, and others
ALIKE = 0.05  # of the test RMSE
FIRST_ORDER = {"seen": 20.0, "fresh": 2.0}  # what is granted to a finite d, times d, of the limit


@dataclass(frozen=True)
class Config:
    """Inputs d, samples n, horizon t, noise sigma; tasks to tune on, tasks to test on; step sizes from 1e-6 to 1."""

    d: int = 1000
    samples: tuple[int, ...] = (500, 1000, 4000)
    steps: int = 40
    sigma: float = 1.0
    tasks: int = 300
    tests: int = 10
    step_sizes: int = 25
    block: int = 25

    @property
    def etas(self) -> np.ndarray:
        """The grid of step sizes."""
        return np.logspace(-6, 0, self.step_sizes)


presets = {
    "quick": Config(d=200, samples=(100, 200, 800), tasks=100, tests=30, block=50),
    "default": Config(),
    "paper": Config(),
}
expected_seconds = {"quick": 3.0, "default": 80.0, "paper": 80.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    found = []
    for n in config.samples:
        told = [f"rmse_train_{n}", f"rmse_validation_{n}"]
        found += [f"train_{n}", f"validation_{n}", *told, f"nothing_{n}"] if n <= config.d else [f"same_{n}", *told]
    return (*found, "step_sizes", "limit_seen", "limit")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return blocks of tasks for each number of samples: to tune on, and to test on."""
    return [
        {"n": n, "what": what, "first": first, "count": min(config.block, total - first)}
        for n in reversed(config.samples)  # the longest first
        for what, total in (("tune", config.tasks), ("test", config.tests))
        for first in range(0, total, config.block)
    ]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return both meta-objectives, or the errors along the trajectories, for each task and step size."""
    one = {"tune": _objectives, "test": _errors}[shard["what"]]
    tasks = range(shard["first"], shard["first"] + shard["count"])
    return {shard["what"]: np.stack([one(config, shard["n"], task, context.seed) for task in tasks])}


def _draw(config: Config, n: int, seed: int, *path: Any) -> tuple[Any, np.random.Generator]:
    stream = rng(seed, "train_by_validation", *path)
    return random_least_squares(1, n, config.d, sigma=config.sigma, seed=int(stream.integers(2**62))), stream


def _objectives(config: Config, n: int, task: int, seed: int) -> np.ndarray:
    """Return the losses (2, step sizes) after the last step: on all n samples, and on one half after the other."""
    data, stream = _draw(config, n, seed, "tune", n, task)
    X, y, half = data.X[0], data.y[0], n // 2
    sets = np.array([np.ones(n, bool), np.arange(n) < half])
    method = "gram" if n > 2 * config.d else "products"
    whole, first = krylov_regressions(X, y, config.steps, train=sets, method=method)
    by_train = least_squares.train_loss(whole, config.etas, config.steps)
    by_validation = least_squares.validation_loss(first, X[half:], y[half:], config.etas, config.steps)
    losses = np.stack([x.to_float(ieee=True) for x in (by_train, by_validation)])
    # the paper ends a run at ||w|| >= 40 sigma, at a random point of that norm
    radius = 40 * config.sigma
    direction = stream.standard_normal(config.d)
    squares = (X @ (direction * radius / np.linalg.norm(direction)) - y) ** 2 / 2
    ended = [np.isfinite(least_squares.first_exit(r, config.etas, config.steps, radius)) for r in (whole, first)]
    return np.where(ended, [[squares.mean()], [squares[half:].mean()]], losses)


def _errors(config: Config, n: int, task: int, seed: int) -> np.ndarray:
    """Return the root mean square errors (2, step sizes, steps + 1) on the n samples trained on, and on n others."""
    data, _ = _draw(config, 2 * n, seed, "test", n, task)
    X, y = data.X[0], data.y[0]
    (sample,) = krylov_regressions(X[:n], y[:n], config.steps)
    etas, steps = config.etas[:, None], np.arange(1, config.steps + 1)
    seen = least_squares.train_loss(sample, etas, steps)
    fresh = least_squares.validation_loss(sample, X[n:], y[n:], etas, steps)
    after = np.stack([np.sqrt(2 * x.to_float(ieee=True)) for x in (seen, fresh)])
    before = np.sqrt([np.mean(y[:n] ** 2), np.mean(y[n:] ** 2)])
    return np.concatenate([np.broadcast_to(before[:, None, None], (*after.shape[:2], 1)), after], axis=2)


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Choose the step sizes, and follow them on the test tasks, beside the proportional limit."""
    found = {(s["n"], s["what"], s["first"]): p[s["what"]] for s, p in zip(shards(config), parts, strict=True)}

    def gather(n: int, what: str) -> np.ndarray:
        return np.concatenate([found[key] for key in sorted(found) if key[:2] == (n, what)])

    arrays: dict[str, list[Any]] = {}
    for n in config.samples:
        losses, errors = gather(n, "tune"), gather(n, "test")
        choice = np.argmin(losses.mean(axis=0), axis=1)
        followed = errors[:, :, choice]  # (tests, seen or fresh, tuned by, steps + 1)
        row = {
            "objective": losses.mean(axis=0),
            "objective_error": losses.std(axis=0, ddof=1) / np.sqrt(len(losses)),
            "chosen": config.etas[choice],
            "rmse": followed.mean(axis=0),
            "rmse_error": followed.std(axis=0, ddof=1) / np.sqrt(len(followed)),
            "excess": _interval(followed[:, 1, :, -1] - errors[:, 1, :1, 0]),
            "difference": _interval(followed[:, 1, 0, -1] - followed[:, 1, 1, -1]),
            **_limit(config, n, config.etas[choice]),
        }
        for name, value in row.items():
            arrays.setdefault(name, []).append(value)
    table = {name: np.stack(values) for name, values in arrays.items()}
    table |= {"samples": np.array(config.samples), "etas": config.etas}
    names: dict[str, Any] = dict.fromkeys(("objective", "objective_error", "chosen", "limit_chosen"), (None, BY))
    names |= dict.fromkeys(("rmse", "rmse_error", "limit_rmse"), (None, SAMPLES, BY))
    names |= {"excess": (None, ("mean", "half width"), BY), "difference": (None, ("mean", "half width"))}
    units = {"rmse": "units of the targets", "chosen": "1", "objective": "squared units of the targets"}
    return Table(table, units, names)


def _interval(x: np.ndarray) -> np.ndarray:
    """Return the mean and the half width of its 95 % interval over the first axis."""
    from scipy.stats import t as student

    width = student.ppf(0.975, len(x) - 1) * x.std(axis=0, ddof=1) / np.sqrt(len(x))
    return np.stack([x.mean(axis=0), width])


def _limit(config: Config, n: int, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the proportional limit says: errors along the trajectories of the chosen step sizes, and choices."""
    about = {"gamma": config.d / n, "sigma": config.sigma}
    seen = [proportional_limit.train_loss(chosen, t, **about).to_float() * 2 for t in range(1, config.steps + 1)]
    fresh = [proportional_limit.validation_loss(chosen, t, **about).to_float() * 2 for t in range(1, config.steps + 1)]
    start = np.full(len(chosen), 1 + config.sigma**2)
    curves = np.sqrt(np.stack([np.stack([start, *seen]), np.stack([start, *fresh])]))
    half = {"gamma": config.d / (n // 2), "sigma": config.sigma}
    objectives = [
        proportional_limit.train_loss(config.etas, config.steps, **about).log,
        proportional_limit.validation_loss(config.etas, config.steps, **half).log,
    ]
    return {"limit_rmse": curves.swapaxes(1, 2), "limit_chosen": config.etas[np.argmin(objectives, axis=1)]}


def verdict(config: Config, table: Table) -> Verdict:
    """Compare the test errors at the last step with each other, with w = 0, and with the limit."""
    arrays, checks = table.arrays, []
    for row, n in enumerate(config.samples):
        at, last = f"n/d = {n / config.d:g}", arrays["rmse"][row, 1, :, -1]
        low, high = (arrays["excess"][row, 0] + sign * arrays["excess"][row, 1] for sign in (-1, 1))
        told = [
            reported(f"rmse_{by}_{n}", f"{at}: mean over tasks of the test RMSE, tuned by {by}", last[k])
            for k, by in enumerate(BY)
        ]
        if n <= config.d:
            what = "mean over tasks of the test RMSE less that of w = 0"
            ends = [(low[k], high[k]) for k in range(len(BY))]
            checks += [
                at_least(f"train_{n}", f"{at}, tuned by train: {what}", arrays["excess"][row, 0, 0], 0, ends[0]),
                at_most(
                    f"validation_{n}", f"{at}, tuned by validation: {what}", arrays["excess"][row, 0, 1], 0, ends[1]
                ),
                *told,
                reported(
                    f"nothing_{n}", f"{at}: mean over tasks of the test RMSE of w = 0", arrays["rmse"][row, 1, 0, 0]
                ),
            ]
        else:
            mean, width = arrays["difference"][row] / last[1]
            what = f"{at}: mean over tasks of the test RMSE, by train less by validation, over the latter"
            checks += [between(f"same_{n}", what, mean, -ALIKE, ALIKE, (mean - width, mean + width)), *told]
    apart = np.abs(np.log10(arrays["chosen"] / arrays["limit_chosen"])) / (6 / (config.step_sizes - 1))
    what = "chosen step sizes against those the limit chooses, grid points, largest"
    checks.append(at_most("step_sizes", what, np.round(apart, 9), 1))
    return Verdict(claim, checks + _limit_checks(config, arrays))


def _limit_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return the largest distances to the limit at the last step, in units of what chance and a finite d explain.

    Chance: the interval of all numbers of a check at once, 99 %. A finite d: what `finite_dimension` measures, 0.3 %
    of the validation loss at d = 1000 at most, 0.15 % of its root, but tens of percent of the train loss at d = 200.
    """
    from scipy.stats import t as student

    mean, limit, error = (arrays[name][..., -1] for name in ("rmse", "limit_rmse", "rmse_error"))
    chance = student.ppf(1 - 0.005 / mean[:, 0].size, config.tests - 1) * error
    checks = []
    for k, (key, name) in enumerate((("limit_seen", "training"), ("limit", "test"))):
        slack = FIRST_ORDER[SAMPLES[k]] / config.d
        apart = np.abs(mean - limit)[:, k] / (chance + slack * limit)[:, k]
        what = f"mean {name} RMSE: distance to the limit over its interval + {slack:.2g} of the limit, largest"
        checks.append(at_most(key, what, apart, 1))
    return checks
