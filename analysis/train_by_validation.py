"""The paper's experiment on least squares: one step size, tuned on the training loss or on held-out samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.framework.contract import Check, Table, Verdict
from metagrad import random_least_squares
from metagrad.theory import least_squares
from metagrad.theory.least_squares import proportional_limit
from metagrad.theory.least_squares.krylov import krylov_regressions
from metagrad.xp import rng

claim = (
    "With no more samples than inputs, a step size tuned on the training loss does worse than no training at all, one "
    "tuned on held-out samples does better; with many samples both are alike (Wang et al. 2021, section 4 and the "
    "experiment on least squares)."
)
BY = ("train", "validation")
SAMPLES = ("seen", "fresh")  # those trained on, and others


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
        found += [f"train_{n}", f"validation_{n}"] if n <= config.d else [f"same_{n}"]
    return (*found, "step_sizes", "limit")


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
        excess, difference = arrays["excess"][row], arrays["difference"][row]
        if n <= config.d:
            low, high = excess[0, 0] - excess[1, 0], excess[0, 1] + excess[1, 1]
            checks += [
                Check(
                    f"train_{n}",
                    f"n/d = {n / config.d:g}, by train: test RMSE less that of w = 0, from",
                    low,
                    "> 0",
                    low > 0,
                ),
                Check(
                    f"validation_{n}",
                    f"n/d = {n / config.d:g}, by validation: the same, to at most",
                    high,
                    "< 0",
                    high < 0,
                ),
            ]
        else:
            gap = (abs(difference[0]) + difference[1]) / arrays["rmse"][row, 1, 1, -1]
            what = f"n/d = {n / config.d:g}: test RMSE by train over that by validation, less 1, to at most"
            checks.append(Check(f"same_{n}", what, gap, "<= 0.05", gap <= 0.05))
    spacing = np.abs(np.log10(arrays["chosen"] / arrays["limit_chosen"])).max()
    checks.append(
        Check(
            "step_sizes",
            "chosen step sizes against the limit's, decades",
            spacing,
            "<= 0.25 (one grid point)",
            spacing < 0.26,
        )
    )
    far, allowed = _far_from_limit(config, arrays)
    what = f"RMSE at the last step: distance to the limit over interval (of all 12 at once, 99 %) + {allowed:g} of it"
    checks.append(Check("limit", what, far, "<= 1", far <= 1))
    return Verdict(claim, checks)


def _far_from_limit(config: Config, arrays: dict[str, np.ndarray]) -> tuple[float, float]:
    """Return the largest distance in units of what chance and a finite d explain, and what is granted to d: 20/d."""
    from scipy.stats import t as student

    mean, limit = (arrays[name][..., -1] for name in ("rmse", "limit_rmse"))
    chance = student.ppf(1 - 0.005 / mean.size, config.tests - 1) * arrays["rmse_error"][..., -1]
    return float(np.max(np.abs(mean - limit) / (chance + 20 / config.d * limit))), 20 / config.d
