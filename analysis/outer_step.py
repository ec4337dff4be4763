"""The step size of the outer loop: for which scales c does eta <- eta - c/sqrt(k) gradient find the minimiser?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework import checks
from analysis.framework.contract import Table, Verdict
from metagrad.theory import quadratic
from metagrad.theory.quadratic.meta_descent import meta_descent_batch

claim = (
    "With exact gradients and outer steps c/sqrt(k), the log objective learns the step size of most tasks from every "
    "start, with one c and with any c over a decade or more; for the naive objective no c does so for more than a "
    "fifth of the tasks (Wang et al. 2021, section 3)"
)


@dataclass(frozen=True)
class Config:
    """How many tasks of the paper (d = 20, t = 80, eta0 = 0.1 and others) and outer scales."""

    tasks: int
    meta_steps: int
    per_decade: int
    starts: tuple[float, ...] = (0.1, 0.01, 0.001)
    d: int = 20
    steps: int = 80
    close: float = 0.05


presets = {
    "quick": Config(tasks=20, meta_steps=1000, per_decade=4),
    "default": Config(tasks=50, meta_steps=1000, per_decade=8),
    "paper": Config(tasks=400, meta_steps=1000, per_decade=16),
}
expected_seconds = {"quick": 8.0, "default": 60.0, "paper": 900.0}
RANGE = {"log": (-8.0, 2.0), "naive": (-14.0, 2.0)}  # log10 of the outer scales


def scales_of(config: Config, objective: str) -> np.ndarray:
    """Return log10 of the outer scales that are tried."""
    low, high = RANGE[objective]
    return np.linspace(low, high, round((high - low) * config.per_decade) + 1)


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("log_share", "log_decades", "naive_share")


def shards(config: Config) -> list[dict[str, Any]]:
    """One objective at one outer scale each."""
    return [{"objective": name, "scale": float(c)} for name in RANGE for c in scales_of(config, name)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return, for each start and task, |eta/eta* - 1| at the end."""
    draw = mg.random_quadratics(config.tasks, config.d, seed=context.seed)
    spectrum = quadratic.Spectrum.of(draw.H, draw.w0)
    best = quadratic.minimiser(spectrum, config.steps)
    run = meta_descent_batch(
        spectrum,
        np.asarray(config.starts)[:, None],
        steps=config.steps,
        meta_steps=config.meta_steps,
        scale=10.0 ** shard["scale"],
        objective="log" if shard["objective"] == "log" else "plain",
    )
    return {"error": np.abs(run.eta[..., -1] / best - 1)}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return, for each objective, the share that converged (scales, starts), and from all starts (scales,)."""
    error = np.stack([part["error"] for part in parts])
    close = np.where(np.isnan(error), np.inf, error) <= config.close
    cut = len(scales_of(config, "log"))
    arrays = {"starts": np.asarray(config.starts)}
    for name, rows in (("log", close[:cut]), ("naive", close[cut:])):
        arrays[f"{name}_share"] = rows.mean(axis=-1)
        arrays[f"{name}_all_starts"] = rows.all(axis=1).mean(axis=-1)
        arrays[f"{name}_scales"] = scales_of(config, name)
    return Table(arrays, {"log_scales": "log10 of the outer scale c", "naive_scales": "log10 of the outer scale c"})


def verdict(config: Config, table: Table) -> Verdict:
    """There is more than a decade of c where the log objective serves most tasks from every start, and no naive c."""
    share, naive = (table.arrays[f"{name}_all_starts"] for name in ("log", "naive"))
    log_ends, naive_ends = (_intervals(x, config.tasks) for x in (share, naive))
    at = int(np.argmax(share))  # the first NaN, where there is one
    decades = _longest_run(log_ends[0] >= 0.5) / config.per_decade if np.isfinite(share).all() else np.nan
    served = "share of the tasks served from every start by one c"
    return Verdict(
        claim,
        [
            checks.at_least("log_share", f"log: largest {served}", share[at], 0.6, tuple(log_ends[:, at])),
            checks.at_least(
                "log_decades",
                "log: decades of c, without a gap, at which the 95 % interval of the share of the tasks served from "
                "every start is above a half",
                decades,
                1.0,
            ),
            checks.at_most("naive_share", f"naive: largest {served}", naive, 0.2, tuple(naive_ends)),
        ],
    )


def _longest_run(mask: np.ndarray) -> int:
    """Return over how many steps of a grid the longest run of True goes, from its first point to its last.

    >>> _longest_run(np.array([True, False, True, True, True]))
    2
    """
    ends = np.flatnonzero(np.diff([0, *mask.astype(int), 0]))
    return int(max(np.diff(ends)[::2], default=1)) - 1


def _intervals(shares: np.ndarray, tasks: int) -> np.ndarray:
    """Return the intervals (2, scales) of shares of so many tasks; of NaN, NaN."""
    counts, where = np.unique(np.rint(shares * tasks), return_inverse=True)
    ends = [checks.share_interval(np.arange(tasks) < count) for count in counts]
    return np.where(np.isnan(shares), np.nan, np.array(ends)[where].T)
