"""Short-horizon bias on the noisy quadratic model: greedy step sizes against those that are best for the last loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from analysis.framework.checks import at_least, at_most, between, reported
from analysis.framework.contract import Table, Verdict
from metagrad.theory.sgd import noisy_quadratic, noisy_schedules
from metagrad.theory.sgd.noisy_quadratic import NoisyQuadratic
from metagrad.xp import rng

claim = (
    "Step sizes tuned for the loss right after each step fall too early: on a noisy quadratic with a sharp and a flat "
    "direction their last loss is worse than the best by a factor that grows with the horizon; looking further ahead "
    "lowers it, and looking half the horizon ahead closes the gap to 5 %; in one dimension there is none (Wu et al. "
    "2018, on meta-optimization over short horizons)"
)
SCHEDULES = ("greedy", "optimal", "unlimited")  # the first two with steps up to 2/max h


_ROUNDING = 1e-9
_LEVEL = 1e-3  # of a false alarm among all runs


@dataclass(frozen=True)
class Config:
    """Curvatures, noise s^2 = 1/h and start of the model; horizons, 10 and 100 among them; runs a schedule.

    `shown`: the horizon that is looked at. `looks`: how far is looked ahead there, 1 and half of it among them.
    """

    horizons: tuple[int, ...]
    shown: int
    looks: tuple[int, ...]
    runs: int
    curvatures: tuple[float, ...] = (1.0, 0.05)
    start: float = 100.0


presets = {
    "quick": Config((1, 2, 3, 5, 10, 20, 50, 100), 100, (1, 3, 8, 20, 50), runs=4000),
    "default": Config((1, 2, 3, 5, 10, 20, 50, 100, 200, 300), 100, (1, 2, 3, 5, 8, 12, 20, 30, 50), runs=40_000),
    "paper": Config((1, 2, 3, 5, 10, 20, 50, 100, 200, 300, 1000), 300, (1, 2, 5, 10, 20, 50, 100, 150), runs=100_000),
}
expected_seconds = {"quick": 9.0, "default": 25.0, "paper": 400.0}


def _problem(config: Config) -> NoisyQuadratic:
    h = np.array(config.curvatures)
    return NoisyQuadratic(h, 1 / h, np.full(h.size, config.start))


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    bias = ("bias_10", "bias_100", "rise", "limit", "unlimited_10", "unlimited_100", "alone")
    return (*bias, "early", "leads", "one_step", "further", "half", "slope", "runs", "runs_error")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return the looks ahead, the horizons, and the coordinates alone."""
    looks = [{"what": "look", "ahead": k} for k in reversed(config.looks)]
    horizons = [{"what": "horizon", "steps": t} for t in reversed(config.horizons)]
    return [*looks, *horizons, *({"what": "alone", "coordinate": i} for i in range(len(config.curvatures)))]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the part of the experiment that the shard names."""
    parts: dict[str, Callable[..., dict[str, np.ndarray]]] = {"look": _look, "horizon": _horizon, "alone": _alone}
    return parts[shard["what"]](config, shard, context)


def _look(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the last loss where every step is the first of the best `ahead` ones."""
    problem = _problem(config)
    limit = problem.largest_stable
    etas = noisy_schedules.lookahead_schedule(problem, config.shown, shard["ahead"], largest=limit)
    return {"loss": noisy_quadratic.expected_loss(problem, etas)[-1].to_float()}


def _horizon(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the schedules for one horizon, their losses from theory and from runs, and the slope left at the best."""
    problem, steps = _problem(config), shard["steps"]
    limit = problem.largest_stable
    etas = np.stack(
        [
            noisy_schedules.greedy_schedule(problem, steps, largest=limit),
            noisy_schedules.optimal_schedule(problem, steps, largest=limit),
            noisy_schedules.optimal_schedule(problem, steps),
        ]
    )
    losses = noisy_quadratic.expected_loss(problem, etas)
    slopes = noisy_quadratic.schedule_gradient(problem, etas) / losses[:, -1:] * etas  # d log F / d log eta
    left = np.where(etas[:2] < limit, np.abs(slopes[:2].to_float(ieee=True)), 0.0)
    found = np.array([_runs(config, one, rng(context.seed, "short_horizon", steps)) for one in etas])
    return {
        "etas": etas,
        "losses": losses.to_float(),
        "slope": max(left[1].max(), np.abs(slopes[2].to_float(ieee=True)).max()),
        "runs": found[:, 0],
        "runs_error": found[:, 1],
    }


def _runs(config: Config, etas: np.ndarray, stream: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean loss (steps + 1,) of runs with random targets and its standard error."""
    problem = _problem(config)
    w = np.sqrt(problem.start) * stream.standard_normal((config.runs, len(problem.start)))
    losses = [w**2 @ problem.curvatures / 2]
    for eta in etas:
        targets = np.sqrt(problem.noise) * stream.standard_normal(w.shape)
        w = w - eta * problem.curvatures * (w - targets)
        losses.append(w**2 @ problem.curvatures / 2)
    return np.mean(losses, axis=1), np.std(losses, axis=1, ddof=1) / np.sqrt(config.runs)


def _alone(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the bias of one coordinate alone."""
    problem, i = _problem(config), [shard["coordinate"]]
    one = NoisyQuadratic(problem.curvatures[i], problem.noise[i], problem.start[i])
    return {"bias": noisy_schedules.short_horizon_bias(one, config.shown).to_float()}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return last losses over horizons, the run that is shown, and last losses over looks ahead."""
    named = list(zip(shards(config), parts, strict=True))
    by = {shard["steps"]: part for shard, part in named if shard["what"] == "horizon"}
    looks = {shard["ahead"]: part["loss"] for shard, part in named if shard["what"] == "look"}
    arrays = {
        "horizons": np.array(config.horizons),
        **{name: np.stack([by[t][name][:, -1] for t in config.horizons]) for name in ("losses", "runs", "runs_error")},
        "slope": np.array([by[t]["slope"] for t in config.horizons]),
        **{f"shown_{name}": by[config.shown][name] for name in ("etas", "losses", "runs", "runs_error")},
        "looks": np.array(config.looks),
        "look_losses": np.array([looks[k] for k in config.looks]),
        "alone": np.array([part["bias"] for shard, part in named if shard["what"] == "alone"]),
    }
    names: dict[str, Any] = dict.fromkeys(("losses", "runs", "runs_error"), (None, SCHEDULES))
    names |= {f"shown_{name}": (SCHEDULES,) for name in ("etas", "losses", "runs", "runs_error")}
    return Table(arrays, {"losses": "units of the loss", "shown_etas": "1/curvature", "horizons": "steps"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """The bias grows, is that of the known values, and vanishes in one dimension; looking ahead removes it."""
    arrays = table.arrays
    greedy, optimal, unlimited = arrays["losses"].T
    at = {int(t): i for i, t in enumerate(arrays["horizons"])}
    bias, free = greedy / optimal, greedy / unlimited
    looked = arrays["look_losses"] / optimal[at[config.shown]]
    off = looked[config.looks.index(1)] / bias[at[config.shown]] - 1
    closed, half = looked[config.looks.index(config.shown // 2)], config.shown // 2
    fallen, leads = (
        arrays[name][SCHEDULES.index("greedy"), t] / arrays[name][SCHEDULES.index("optimal"), t]
        for name, t in (("shown_etas", half), ("shown_losses", config.shown // 10))
    )
    scatter = np.abs(arrays["runs"] - arrays["losses"]) / arrays["runs_error"]
    rounding = -_ROUNDING, _ROUNDING
    least = f"last loss on looking {half} of {config.shown} steps ahead, over the best"
    return Verdict(
        claim,
        [
            between("bias_10", "bias at T = 10, steps up to 2/max h", bias[at[10]], 2.555, 2.565),
            between("bias_100", "bias at T = 100, steps up to 2/max h", bias[at[100]], 22.82, 22.92),
            at_least("rise", "least rise of the bias from one horizon to the next", np.diff(bias), 0.0),
            at_least(
                "limit", "bias without a limit over that with it, least over horizons", free / bias, 1 - _ROUNDING
            ),
            reported("unlimited_10", "bias at T = 10, best schedule without a limit", free[at[10]]),
            reported("unlimited_100", "bias at T = 100, best schedule without a limit", free[at[100]]),
            between("alone", "bias of a coordinate alone, minus 1", arrays["alone"] - 1, *rounding),
            at_most("early", f"greedy step size after {half} of {config.shown} steps, over the best", fallen, 0.5),
            at_most(
                "leads", f"greedy loss after {config.shown // 10} of {config.shown} steps, over the best", leads, 1.0
            ),
            between("one_step", "looking 1 step ahead: off greedy, relatively", off, *rounding),
            at_most("further", "largest factor on the last loss on looking further", looked[1:] / looked[:-1], 1.0),
            between("half", least, closed, 1 - _ROUNDING, 1.05),
            at_most("slope", "largest d log F / d log eta left at the best", arrays["slope"], 1e-4),
            at_most(
                "runs", "means of runs: farthest from theory, in standard errors", scatter, _farthest(scatter.size)
            ),
            at_most(
                "runs_error", "largest standard error of runs over theory's mean", _relative(arrays), _most(config)
            ),
        ],
    )


def _farthest(count: int) -> float:
    """Return what the largest of `count` deviations, dependent or not, exceeds with a probability below the level."""
    return float(stats.norm.isf(_LEVEL / 2 / count))


def _relative(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return arrays["runs_error"] / arrays["losses"]


def _most(config: Config) -> float:
    """Return the largest standard error over the mean that there can be.

    A loss is sum h_i A_i z_i^2/2, z standard normal: its deviation is at most sqrt(2) times its mean, and that of the
    sampled deviation, relatively, at most sqrt(14/runs)/2 (kurtosis 15). Five of these are allowed.
    """
    return float(np.sqrt(2 / config.runs) * (1 + 2.5 * np.sqrt(14 / config.runs)))
