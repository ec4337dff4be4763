"""Where train-by-validation wins over train-by-train: the plane of samples per input and noise, with its boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.framework.contract import Check, Table, Verdict
from metagrad import random_least_squares
from metagrad.theory import least_squares
from metagrad.theory.least_squares import tuned_limit
from metagrad.theory.least_squares.krylov import krylov_regressions
from metagrad.xp import rng

claim = (
    "Train-by-validation wins where samples are few or noise is large: up to n/d near 2 sigma^2 if it may learn from "
    "the half that it trains on only, almost everywhere if it learns from all samples in the end; with little noise, "
    "in a band around n = d (the boundary in the proportional limit, sharpening Wang et al. 2021, section 4)."
)
BY = ("train", "validation")
LEARNS_FROM = ("half", "all")  # what train-by-validation learns from in the end, tuned as in TUNINGS
TUNINGS = (tuned_limit.Tuning(), tuned_limit.Tuning(retrain=True))


@dataclass(frozen=True)
class Config:
    """The plane: points per axis, spans; horizons (samples are at the second one); samples of finite size: d, tasks."""

    steps: tuple[int, ...] = (10, 40, 200)
    points: int = 50
    ratios: tuple[float, float] = (0.1, 100.0)
    sigmas: tuple[float, float] = (0.1, 10.0)
    crossing_sigmas: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)
    checked_ratios: tuple[float, ...] = (0.25, 1.0, 4.0, 16.0)
    checked_sigmas: tuple[float, ...] = (0.2, 0.5, 1.0, 3.0)
    d: int = 200
    tasks: int = 100
    tests: int = 100

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """The ratios n/d and the noise levels of the map."""
        return np.geomspace(*self.ratios, self.points), np.geomspace(*self.sigmas, self.points)


presets = {
    "quick": Config(steps=(10, 40), points=30, d=60, tasks=30, tests=40),
    "default": Config(),
    "paper": Config(d=1000, tasks=300, tests=100),
}
expected_seconds = {"quick": 5.0, "default": 100.0, "paper": 3000.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("samples", "decided", "boundary", "least_noise", "band", "all_samples")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return finite samples at each checked point, the crossings of each horizon, and the maps."""
    points = [{"what": "check", "ratio": r, "sigma": s} for r in config.checked_ratios for s in config.checked_sigmas]
    points.sort(key=lambda shard: -float(shard["ratio"]))  # the longest first
    planes = [{"what": "map", "steps": t, "retrain": k} for t in reversed(config.steps) for k in range(2)]
    return [*points, *planes, {"what": "crossing", "steps": config.steps[1]}]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return what one shard is about."""
    if shard["what"] == "check":
        return {"check": _finite(config, shard["ratio"], shard["sigma"], context.seed)}
    if shard["what"] == "crossing":
        found = tuned_limit.boundary(shard["steps"], sigma=config.crossing_sigmas, span=(0.05, 400.0))
        pairs = zip(config.crossing_sigmas, found, strict=True)
        return {"crossing": np.array([[sigma, ratio] for sigma, ratios in pairs for ratio in ratios])}
    ratios, sigmas = config.axes
    about = {"ratio": ratios[:, None], "sigma": sigmas}
    tbt = tuned_limit.risk_tbt(shard["steps"], **about)
    tbv = tuned_limit.risk_tbv(shard["steps"], **about, tuning=TUNINGS[shard["retrain"]])
    return {"map": np.stack([tbt, tbv])}


def _finite(config: Config, ratio: float, sigma: float, seed: int) -> np.ndarray:
    """Return R_TbT - R_TbV on fresh tasks (2, tests): run on the half trained on, and on all samples."""
    steps, n = config.steps[1], round(ratio * config.d)
    halves = np.array([np.ones(n, bool), np.arange(n) < n // 2])
    top = (1 + np.sqrt(1 / ratio)) ** 2
    etas = np.geomspace(1e-3, 1.0, 160) * 2.2 / top
    stream = rng(seed, "phase_diagram", str(ratio), str(sigma))

    def sample() -> tuple[Any, Any, Any]:
        task = random_least_squares(1, n, config.d, sigma=sigma, seed=int(stream.integers(2**62)))
        method = "gram" if n > 2 * config.d else "products"
        return task, *krylov_regressions(task.X[0], task.y[0], steps, train=halves, method=method)

    losses = []
    for _ in range(config.tasks):
        task, whole, first = sample()
        held_out = task.X[0, n // 2 :], task.y[0, n // 2 :]
        both = (
            least_squares.train_loss(whole, etas, steps),
            least_squares.validation_loss(first, *held_out, etas, steps),
        )
        losses.append([x.to_float(ieee=True) for x in both])
    by_train, by_validation = etas[np.argmin(np.mean(losses, axis=0), axis=1)]
    gains = []
    for _ in range(config.tests):
        task, whole, first = sample()
        runs = ((whole, by_train), (first, by_validation), (whole, by_validation))
        risks = [float(least_squares.risk(s, task.w_star[0], eta, steps).to_float()) for s, eta in runs]
        gains.append([risks[0] - risks[1], risks[0] - risks[2]])
    return np.transpose(gains)


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Gather the maps (TbT, TbV), the crossings, and the median gains at the checked points with their intervals."""
    from scipy.stats import binom

    pairs = list(zip(shards(config), parts, strict=True))
    ratios, sigmas = config.axes
    arrays = {"ratios": ratios, "sigmas": sigmas}
    for s, p in pairs:
        if s["what"] == "map":
            arrays[f"map_{s['retrain']}_{s['steps']}"] = p["map"]
        elif s["what"] == "crossing":
            arrays["crossing"] = p["crossing"]
    checked = [(s, p["check"]) for s, p in pairs if s["what"] == "check"]
    arrays["checked"] = np.array([[s["ratio"], s["sigma"]] for s, _ in checked])
    gains = np.stack([gain for _, gain in checked])
    # medians: near eta = 2/s_max a single unstable run outweighs all others in the mean
    rank = int(binom.ppf(0.0005, config.tests, 0.5)) - 1
    gains = np.sort(gains, axis=-1)
    arrays["gain"] = np.median(gains, axis=-1)
    arrays["gain_interval"] = gains[..., [rank, -1 - rank]]
    at = {"ratio": arrays["checked"][:, 0], "sigma": arrays["checked"][:, 1]}
    arrays["gain_limit"] = np.stack(
        [tuned_limit.advantage(config.steps[1], **at, tuning=tuning) for tuning in TUNINGS], axis=1
    )
    arrays["risk_limit"] = tuned_limit.risk_tbt(config.steps[1], **at)
    names: dict[str, Any] = {name: (BY,) for name in arrays if name.startswith("map_")}
    names |= dict.fromkeys(("gain", "gain_interval", "gain_limit"), (None, LEARNS_FROM))
    return Table(arrays, {"gain": "||w*||^2", "sigmas": "units of the targets", "ratios": "1"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Compare the sign of the gain on samples with the limit's, and the boundary with what is known of it."""
    arrays = table.arrays
    gain, limit = arrays["gain"], arrays["gain_limit"]
    decided = np.prod(np.sign(arrays["gain_interval"]), axis=-1) > 0
    against = decided & (np.sign(gain) != np.sign(limit))
    # a finite d moves a risk by a few parts in d (experiment finite_dimension), so closer risks may change places
    close = np.abs(limit) <= 4 / config.d * arrays["risk_limit"][:, None]
    wrong = int(np.sum(against & ~close))
    return Verdict(
        claim,
        [
            Check(
                "samples",
                f"samples of d = {config.d}: gains of the limit's other sign, above {4 / config.d:.2g} of the risk",
                wrong,
                "0",
                wrong == 0,
            ),
            Check(
                "decided",
                f"of {gain.size} gains, decided by their 99.9 % interval",
                decided.sum(),
                f">= {gain.size // 2}",
                decided.sum() >= gain.size // 2,
            ),
            *_boundary_checks(config, arrays),
        ],
    )


def _boundary_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return where the boundary of the limit lies, against what is known of it."""
    half, whole = (arrays[f"map_{k}_{config.steps[1]}"] for k in range(2))
    band = half[0] > half[1]
    strong = arrays["crossing"][arrays["crossing"][:, 0] == 5, 1]
    ratio = np.abs(strong / 50 - 1).max()
    noisy = arrays["sigmas"] > 0.7
    share = float(np.mean((whole[0] > whole[1])[:, noisy]))
    lowest = float(arrays["sigmas"][band.any(axis=0)].min())
    ends = arrays["ratios"][band[:, np.flatnonzero(band.any(axis=0))[0]]]
    centre = float(np.sqrt(ends.min() * ends.max()))
    at_five = "sigma = 5, half only: boundary n/d over 2 sigma^2, less 1"
    least = "least noise at which validation wins, half only"
    return [
        Check("boundary", at_five, ratio, "<= 0.05", ratio <= 0.05),
        Check("least_noise", least, lowest, "0.25 .. 0.6", 0.25 <= lowest <= 0.6),
        Check("band", "there the band lies around n/d", centre, "0.7 .. 1.4", 0.7 <= centre <= 1.4),
        Check("all_samples", "all samples in the end, sigma > 0.7: share of the plane won", share, "1", share == 1),
    ]
