"""Where train-by-validation wins over train-by-train: the plane of samples per input and noise, with its boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from analysis import _phase_samples
from analysis.framework import checks
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory.least_squares import tuned_limit
from metagrad.xp import rng

claim = (
    "Train-by-validation wins where samples are few or noise is large: if it may learn from the half that it trains on "
    "only, up to n/d near 2 sigma^2 with much noise and in a band around n = d with little; if it learns from all "
    "samples in the end, everywhere above sigma = 0.7 (the boundary in the proportional limit, sharpening Wang et al. "
    "2021, section 4). At finite size the ratio of both risks, averaged over the targets, is the limit's within a "
    "tenth at every point and horizon, the nearer the more inputs; and sampled tasks reach it."
)
BY = ("train", "validation")
LEARNS_FROM = ("half", "all")  # what train-by-validation learns from in the end, tuned as in TUNINGS
TUNINGS = (tuned_limit.Tuning(), tuned_limit.Tuning(retrain=True))
_LEVEL = 0.001  # at which all points together give a false alarm
_SAME = 0.02  # of the logarithm: differences that are none, where the tasks make both ways choose one step size
_FACTOR = 1.1  # what the ratio of risks at finite d may be off the limit's


@dataclass(frozen=True)
class Config:
    """The plane: horizons, points per axis, spans. Tasks: inputs, how many to tune on, and fresh ones.

    Averages over the targets: `matrices` Gaussian X each, at d and at `larger` inputs. The limit is judged at the
    larger: around n = d the average itself is off it by some percent at 120 inputs and much noise, however many X.
    """

    steps: tuple[int, ...] = (10, 40, 200)
    points: int = 50
    ratios: tuple[float, float] = (0.1, 100.0)
    sigmas: tuple[float, float] = (0.1, 10.0)
    crossing_sigmas: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)
    checked_ratios: tuple[float, ...] = (0.25, 1.0, 4.0, 16.0)
    checked_sigmas: tuple[float, ...] = (0.2, 0.5, 1.0, 3.0)
    d: int = 200
    larger: int = 400
    tasks: int = 100
    tests: int = 100
    matrices: int = 20

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """The ratios n/d and the noise levels of the map."""
        return np.geomspace(*self.ratios, self.points), np.geomspace(*self.sigmas, self.points)

    @property
    def dimensions(self) -> tuple[int, int]:
        """The inputs at which there are averages over the targets."""
        return self.d, self.larger


# Quick: with fewer tasks to tune on the bootstrap's error is too small at some seeds.
presets = {
    "quick": Config(steps=(10, 40), points=30, d=60, larger=200, tasks=60, tests=60),
    "default": Config(),
    "paper": Config(d=1000, larger=2000, tasks=300, tests=100),
}
expected_seconds = {"quick": 16.0, "default": 150.0, "paper": 4500.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    samples = ("sizes", "falls", "size_low", "size_high", "samples", "width", "sample_low", "sample_high")
    return (*samples, "boundary", "least_noise", "band", "all_samples")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return finite samples at each checked point, the crossings of each horizon, and the maps."""
    points = [{"what": "check", "ratio": r, "sigma": s} for r in config.checked_ratios for s in config.checked_sigmas]
    averages = [{"what": "average", "d": d, "ratio": r} for d in config.dimensions for r in config.checked_ratios]
    points.sort(key=lambda shard: -float(shard["ratio"]))  # the longest first
    averages.sort(key=lambda shard: -shard["ratio"] * shard["d"])
    planes = [{"what": "map", "steps": t, "retrain": k} for t in reversed(config.steps) for k in range(2)]
    return [*averages, *points, *planes, {"what": "crossing", "steps": config.steps[1]}]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return what one shard is about."""
    if shard["what"] == "check":
        ratio, sigma = shard["ratio"], shard["sigma"]
        stream = rng(context.seed, "phase_diagram", str(ratio), str(sigma))
        size, counts = (round(ratio * config.d), config.d), (config.tasks, config.tests)
        return {"check": _phase_samples.log_ratios(size, sigma, config.steps, counts, stream)}
    if shard["what"] == "average":
        ratio, d = shard["ratio"], shard["d"]
        stream = rng(context.seed, "phase_diagram averages", str(ratio), d)
        size, sigmas = (round(ratio * d), d), config.checked_sigmas
        return {"average": _phase_samples.average_ratios(size, sigmas, config.steps, config.matrices, stream)}
    if shard["what"] == "crossing":
        found = tuned_limit.boundary(shard["steps"], sigma=config.crossing_sigmas, span=(0.05, 400.0))
        pairs = zip(config.crossing_sigmas, found, strict=True)
        return {"crossing": np.array([[sigma, ratio] for sigma, ratios in pairs for ratio in ratios])}
    ratios, sigmas = config.axes
    about = {"ratio": ratios[:, None], "sigma": sigmas}
    tbt = tuned_limit.risk_tbt(shard["steps"], **about)
    tbv = tuned_limit.risk_tbv(shard["steps"], **about, tuning=TUNINGS[shard["retrain"]])
    return {"map": np.stack([tbt, tbv])}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Gather the maps (TbT, TbV), the crossings, and log(R_TbT/R_TbV) at the checked points, samples and limit."""
    pairs = list(zip(shards(config), parts, strict=True))
    ratios, sigmas = config.axes
    arrays = {"ratios": ratios, "sigmas": sigmas}
    for s, p in pairs:
        if s["what"] == "map":
            arrays[f"map_{s['retrain']}_{s['steps']}"] = p["map"]
        elif s["what"] == "crossing":
            arrays["crossing"] = p["crossing"]
    checked = [(ratio, sigma) for ratio in config.checked_ratios for sigma in config.checked_sigmas]
    where = {(s["ratio"], s["sigma"]): p["check"] for s, p in pairs if s["what"] == "check"}
    arrays["checked"] = np.array(checked)
    # (points, ways, steps), and (d, points, ways, steps)
    arrays["sample"], arrays["sample_error"] = np.moveaxis(np.array([where[one] for one in checked]), 1, 0)
    means = {(s["d"], s["ratio"]): p["average"] for s, p in pairs if s["what"] == "average"}
    each = [np.concatenate([means[d, ratio] for ratio in config.checked_ratios], axis=1) for d in config.dimensions]
    arrays["average"], arrays["average_error"] = np.moveaxis(np.array(each), 1, 0)
    ratio, sigma = np.transpose(checked)
    limit = []
    for t in config.steps:
        tbt = tuned_limit.risk_tbt(t, ratio=ratio, sigma=sigma)
        tbv = [tuned_limit.risk_tbv(t, ratio=ratio, sigma=sigma, tuning=tuning) for tuning in TUNINGS]
        limit.append(np.log(tbt / tbv).T)
    arrays["limit"] = np.stack(limit, axis=-1)
    names: dict[str, Any] = {name: (BY,) for name in arrays if name.startswith("map_")}
    steps = tuple(str(t) for t in config.steps)
    names |= dict.fromkeys(("average", "average_error"), (None, None, LEARNS_FROM, steps))
    names |= dict.fromkeys(("sample", "sample_error", "limit"), (None, LEARNS_FROM, steps))
    return Table(arrays, {"sigmas": "units of the targets", "ratios": "1"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Compare the ratio of risks on samples with the limit's, and the boundary with what is known of it."""
    return Verdict(claim, [*_sample_checks(config, table.arrays), *_boundary_checks(config, table.arrays)])


def _sample_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return how far ratios of risks are from the limit's: averages given X, and sampled tasks from these averages."""
    off, error, limit = arrays["average"] - arrays["limit"], arrays["average_error"], arrays["limit"]
    half = stats.t.ppf(0.975, config.matrices - 1) * error[1]
    size, low, high = (np.exp(off[1] + sign * half) for sign in (0, -1, 1))
    count, (small, large) = limit.size, config.dimensions
    medians = np.median(np.abs(off).reshape(2, -1), axis=1)
    apart = np.abs(arrays["sample"] - arrays["average"][0])
    wide = stats.t.ppf(1 - _LEVEL / (2 * count), config.tests - 1) * arrays["sample_error"]
    wide = wide + stats.t.ppf(0.975, config.matrices - 1) * error[0]
    ends, sampled = (np.quantile(x, [0.1, 0.9]) for x in (size, np.exp(arrays["sample"] - limit)))
    each = f"{count} points, ways and horizons"
    words = "ratio of both risks over the limit's"
    # Where one task of the sample outweighs all others, both ways choose its step size, and so does every draw of the
    # bootstrap: the ratio is 1 and its interval nothing (at n/d = 1/4 and little noise, where averages say 0.987).
    beyond = np.maximum(apart - _SAME, 0) / wide
    return [
        checks.between(
            "sizes",
            f"d = {large}, averages over targets: {words}, median of X, the farthest off of {each}",
            size,
            1 / _FACTOR,
            _FACTOR,
            (low, high),
        ),
        checks.at_most(
            "falls",
            f"median over them of the distance of the logarithms at d = {large}, over that at d = {small}",
            medians[1] / medians[0],
            1.0,
        ),
        checks.reported("size_low", f"d = {large}, averages: {words}, 10 % quantile of them", ends[0]),
        checks.reported("size_high", f"d = {large}, averages: {words}, 90 % quantile of them", ends[1]),
        checks.at_most(
            "samples",
            f"d = {small}, sampled tasks: log ratio of both risks less that of the averages, beyond {_SAME:g}, largest "
            "over half its interval (99.9 % for all)",
            beyond,
            1.0,
        ),
        checks.reported("width", "median of these half intervals", np.median(wide)),
        checks.reported("sample_low", f"d = {small}, sampled tasks: {words}, 10 % quantile of them", sampled[0]),
        checks.reported("sample_high", f"d = {small}, sampled tasks: {words}, 90 % quantile of them", sampled[1]),
    ]


def _boundary_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return where the boundary of the limit lies, against what is known of it."""
    ratios, sigmas = config.axes
    half, whole = (_won(arrays[f"map_{k}_{config.steps[1]}"]) for k in range(2))
    strong = arrays["crossing"][arrays["crossing"][:, 0] == 5, 1]
    begins = np.flatnonzero(half.any(axis=0))  # of the levels of noise at which validation wins somewhere
    lowest, centre = np.nan, np.nan
    if begins.size and not np.isnan(half).any():
        ends = ratios[half[:, begins[0]] > 0]
        lowest, centre = float(sigmas[begins[0]]), float(np.sqrt(ends.min() * ends.max()))
    share = whole[:, sigmas > 0.7].mean()
    at_five = "sigma = 5, half only: boundary n/d over 2 sigma^2, less 1"
    least = "least noise at which validation wins, half only"
    return [
        checks.at_most("boundary", at_five, np.abs(strong / 50 - 1), 0.05),
        checks.between("least_noise", least, lowest, 0.25, 0.6),
        checks.between("band", "there the band lies around n/d", centre, 0.7, 1.4),
        checks.at_least("all_samples", "all samples in the end, sigma > 0.7: share of the plane won", share, 1.0),
    ]


def _won(risks: np.ndarray) -> np.ndarray:
    """Return 1 where the second risk is the smaller one, else 0; NaN where one is NaN."""
    return np.where(np.isnan(risks).any(axis=0), np.nan, risks[0] > risks[1])
