"""Train-by-train against train-by-validation on real data, noise unknown: five problems from four data sets.

Of each data set a half, the same whatever the seed, is kept for tests: neither a step size nor a scale is chosen on it.
Splits draw samples to train and to validate on from the other half. Means and intervals are over splits, given the data
set: they say nothing of other patients, wines or digits. What the claim expects (up to 3/2 and from 4 samples an input
on, at most 5 %, both horizons) was set on the diabetes study; the other data sets are held to it as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis._real_problems import PROBLEMS, Problem, fresh_half, problem, scaled
from analysis.framework.checks import at_least, at_most, mean_interval, reported, share_interval
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory.least_squares import Regression, validation_loss
from metagrad.theory.quadratic import Spectrum, minimiser
from metagrad.xp import rng

claim = (
    "On four real data sets with unknown noise (five problems; means over random splits of each, tested on a half kept "
    "apart) the step size chosen on validation samples has a smaller test error than the one chosen on the training "
    "samples where these are at most 3/2 of the inputs, as Wang et al. 2021, section 4, show of Gaussian data; from 4 "
    "times the inputs on it costs at most 5 % on diabetes, wines and digits, while on breast cancer it loses at 8 "
    "times. With as many samples as inputs and 1000 steps training does worse than none on all but breast cancer. "
    "Validation has to be kept below the step size of training, else some runs diverge."
)
RUNS = ("train", "validation", "half")  # half: the choice of validation, run on its half only
CHOICES = ("train", "validation", "unlimited")  # the last: validation without the limit on its search
SPLITS = 50  # a shard
DIVERGED = 100.0  # variances of the target: training that fits noise stays far below, runs that diverge go beyond
_SELDOM = 0.005  # of the splits
_SCAN = 41  # step sizes a round
_ROUNDS = 3
_DEFAULT = {
    "diabetes": (5, 7, 10, 14, 20, 40, 80, 160),
    "products": (16, 32, 48, 64, 80, 96, 128, 192),
    "wine": (6, 9, 12, 18, 24, 48, 80),
    "cancer": (10, 15, 30, 45, 60, 120, 240),
    "digits": (16, 32, 48, 64, 96, 160, 256, 512),
}
_QUICK = {
    "diabetes": (10, 14, 40, 160),
    "products": (64, 96),
    "wine": (12, 18, 48, 80),
    "cancer": (30, 45, 120, 240),
    "digits": (64, 96, 256),
}
LOSES = "cancer"  # where validation loses with many samples, and training does no harm with few


@dataclass(frozen=True)
class Config:
    """Blocks of 50 random splits a training size, horizons, and the training sizes of each problem.

    With at most `near` samples an input validation should win; with `far` and more it may cost the fraction `cost`.
    """

    blocks: int
    sizes: dict[str, tuple[int, ...]]
    horizons: tuple[int, ...] = (40, 1000)
    near: float = 1.5
    far: float = 4.0
    cost: float = 0.05


presets = {"quick": Config(3, _QUICK), "default": Config(8, _DEFAULT), "paper": Config(80, _DEFAULT)}
expected_seconds = {"quick": 7.0, "default": 55.0, "paper": 550.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    far = []
    for name, about in PROBLEMS.items():
        many = max(config.sizes[name]) >= config.far * about.inputs
        far += [f"far_{name}"] * many + [f"most_{name}"] * (name == LOSES)
    found = [f"near_{name}" for name in PROBLEMS] + far
    return (*found, *(f"harm_{name}" for name in PROBLEMS), "unlimited", "limited", "unstable")


def shards(config: Config) -> list[dict[str, Any]]:
    """One block of splits at one training size each."""
    sizes = [(name, n) for name in PROBLEMS for n in config.sizes[name]]
    return [{"problem": name, "n": n, "block": block} for name, n in sizes for block in range(config.blocks)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return test errors (splits, methods, horizons) and that of w = 0, in variances of the target, and the choices."""
    stream = rng(context.seed, "real_data", shard["problem"], shard["n"], shard["block"])
    steps = np.asarray(config.horizons)
    data = problem(shard["problem"])
    splits = [_Split.draw(data, shard["n"], stream) for _ in range(SPLITS)]
    by_train = minimiser(_spectra([split.whole for split in splits]), steps)
    found = [_measure(split, best, steps) for split, best in zip(splits, by_train, strict=True)]
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


@dataclass(frozen=True)
class _Split:
    """Least squares on the whole training part and on half of it; the samples of the other half, and those to test."""

    whole: Regression
    part: Regression
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @classmethod
    def draw(cls, data: Problem, n: int, stream: np.random.Generator) -> _Split:
        """Draw n samples of the half for choices to train on, the first half of these for train-by-validation."""
        half, fresh = n // 2, fresh_half(data)
        order = np.concatenate([stream.permutation(np.flatnonzero(~fresh))[:n], np.flatnonzero(fresh)])
        X, y = scaled(data, data.inputs_of[order], n), data.target[order] / np.std(data.target[~fresh])
        y = y - np.mean(y[:n])
        fits = Regression.of(X[:n], y[:n]), Regression.of(X[:half], y[:half])
        return cls(*fits, (X[half:n], y[half:n]), (X[n:], y[n:]))


def _spectra(regressions: list[Regression]) -> Spectrum:
    """Return the spectra of many train losses as one; modes of weight 0 fill those of lower rank."""
    rank = max(len(each.eigenvalues) for each in regressions)
    values, weights = np.zeros((2, len(regressions), 1, rank))
    for row, each in enumerate(regressions):
        values[row, 0, : len(each.eigenvalues)] = each.spectrum.eigenvalues
        weights[row, 0, : len(each.eigenvalues)] = each.spectrum.weights
    return Spectrum(values, weights)


def _measure(split: _Split, by_train: np.ndarray, steps: np.ndarray) -> dict[str, np.ndarray]:
    """Return test errors of train-by-train, of train-by-validation, and of the latter trained on its half only.

    Validation searches up to the step size of train-by-train; `free` is what it would choose without that limit.
    """
    free = _best_on(split.part, split.validation, steps, np.full(len(steps), 2.5 / split.part.eigenvalues[0]))
    by_validation = _best_on(split.part, split.validation, steps, by_train)
    runs = ((split.whole, by_train), (split.whole, by_validation), (split.part, by_validation))
    errors = [2 * validation_loss(reg, *split.test, eta, steps).to_float() for reg, eta in runs]
    return {
        "errors": np.stack(errors),
        "nothing": np.mean(split.test[1] ** 2),
        "etas": np.stack([by_train, by_validation, free]) * split.whole.eigenvalues[0],
        "free_log10": np.log10(2) + validation_loss(split.whole, *split.test, free, steps).log10,
    }


def _best_on(
    regression: Regression, samples: tuple[np.ndarray, np.ndarray], steps: np.ndarray, top: np.ndarray
) -> np.ndarray:
    """Return, for each horizon, the step size in [0, top] of the smallest validation loss.

    It may have several minima, so it is scanned, and the scan refined around its best; being flat at a minimum, it
    does not ask for more digits.
    """
    grids = [
        np.concatenate([[0.0], np.geomspace(1e-2 / t, 1, _SCAN - 1) * end]) for t, end in zip(steps, top, strict=True)
    ]
    for _ in range(_ROUNDS):
        losses = validation_loss(regression, *samples, np.stack(grids), steps[:, None]).log
        best = np.argmin(losses, axis=1)
        chosen = np.array([grid[i] for grid, i in zip(grids, best, strict=True)])
        ends = [(grid[max(i - 1, 0)], grid[min(i + 1, _SCAN - 1)]) for grid, i in zip(grids, best, strict=True)]
        grids = [np.linspace(low, high, _SCAN) for low, high in ends]
    return chosen


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by training size, those of the first problem first, and split; in float32."""
    sizes = [(list(PROBLEMS).index(shard["problem"]), shard["n"]) for shard in shards(config)[:: config.blocks]]

    def gathered(name: str) -> np.ndarray:
        stacked = np.stack([part[name] for part in parts])
        return stacked.reshape(len(sizes), -1, *parts[0][name].shape[1:]).astype(np.float32)

    arrays = {name: gathered(name) for name in ("errors", "nothing", "free_log10")}
    arrays |= {"free": gathered("etas")[:, :, CHOICES.index("unlimited")], "steps": np.asarray(config.horizons)}
    arrays |= {"n": np.array([n for _, n in sizes]), "problem": np.array([which for which, _ in sizes])}
    arrays["inputs"] = np.array([about.inputs for about in PROBLEMS.values()])
    units = {"errors": "variances of the target", "nothing": "variances of the target", "free": "1/s_max"}
    return Table(arrays, units, {"errors": (None, None, RUNS), "inputs": (tuple(PROBLEMS),)})


def verdict(config: Config, table: Table) -> Verdict:
    """Validation wins where samples are few, costs little where they are many; each with its interval over splits."""
    near, far, harm = [], [], []
    for which, name in enumerate(PROBLEMS):
        mine = table.arrays["problem"] == which
        n, errors, nothing = (table.arrays[key][mine] for key in ("n", "errors", "nothing"))
        near.append(_few(config, name, n, errors))
        far += _many(config, name, n, errors)
        harm.append(_harm(config, name, n, errors, nothing))
    return Verdict(claim, [*near, *far, *harm, *_limit_checks(table.arrays)])


def _few(config: Config, name: str, n: np.ndarray, errors: np.ndarray) -> Check:
    """Return the check that validation wins at every horizon where samples are few."""
    about = PROBLEMS[name]
    gain, (low, high) = relative_difference(errors[:, :, 1], errors[:, :, 0])
    few = n <= config.near * about.inputs
    what = f"{about.title}, n <= {config.near:g} inputs: (TbV - TbT)/TbT of mean test errors, largest of all"
    return at_most(f"near_{name}", what, gain[few], 0, (low[few], high[few]))


def _many(config: Config, name: str, n: np.ndarray, errors: np.ndarray) -> list[Check]:
    """Return the check that validation costs little where samples are many, or that it loses at the most; of a problem
    without so many samples none."""
    about = PROBLEMS[name]
    gain, (low, high) = relative_difference(errors[:, :, 1], errors[:, :, 0])
    many, most = n >= config.far * about.inputs, n == n.max()
    what = f"{about.title}, n >= {config.far:g} inputs: (TbV - TbT)/TbT of mean test errors, largest of all"
    if name == LOSES:
        said = (
            f"{about.title}, n = {n.max() / about.inputs:g} inputs: (TbV - TbT)/TbT of mean test errors, least of all"
        )
        largest = np.unravel_index(np.argmax(np.where(many[:, None], high, -np.inf)), high.shape)
        ends = (low[largest], high[largest])
        loses = at_least(f"most_{name}", said, gain[most], 0, (low[most], high[most]))
        return [reported(f"far_{name}", what, gain[largest], ends), loses]
    return [at_most(f"far_{name}", what, gain[many], config.cost, (low[many], high[many]))] if many.any() else []


def _harm(config: Config, name: str, n: np.ndarray, errors: np.ndarray, nothing: np.ndarray) -> Check:
    """Return the check that training is worse than w = 0 where samples are as many as inputs, at the last horizon."""
    about = PROBLEMS[name]
    at = n == about.inputs
    excess, (low, high) = relative_difference(errors[at][:, :, 0, -1], nothing[at])
    what = f"{about.title}, n = inputs, t = {config.horizons[-1]}: mean test error of TbT over that of w = 0, less 1"
    if name == LOSES:
        return reported(f"harm_{name}", what, excess[0], (low[0], high[0]))
    return at_least(f"harm_{name}", what, excess, 0, (low, high))


def _limit_checks(arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return how often validation goes wrong that searches beyond the step size of train-by-train."""
    largest = arrays["free_log10"].max(axis=-1)  # of a split
    diverged, known = largest > np.log10(DIVERGED), ~np.isnan(largest).any()
    share = diverged.mean() if known else np.nan
    above = f"share of splits with a test error above {DIVERGED:g} variances of the target"
    kept = arrays["errors"][:, :, :2].max(axis=(2, 3))
    beyond = kept > DIVERGED
    within, ends = (beyond.mean(), share_interval(beyond)) if np.isfinite(kept).all() else (np.nan, (np.nan, np.nan))
    free = arrays["free"]
    unstable = np.mean(free > 2) if np.isfinite(free).all() else np.nan
    return [
        at_least("unlimited", f"TbV without its limit: {above}", share, _SELDOM, share_interval(diverged)),
        at_most("limited", f"TbT, and TbV with its limit: {above}", within, _SELDOM, ends),
        reported("unstable", "TbV without its limit: share of choices unstable on all n samples", unstable),
    ]


def relative_difference(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return mean(x - y)/mean(y) over splits, the second axis, and the ends of its 95 % interval given mean(y)."""
    x, y = (np.asarray(part, dtype=np.float64) for part in (x, y))
    scale = y.mean(axis=1)
    low, high = mean_interval(x - y, axis=1)
    return (x - y).mean(axis=1) / scale, (low / scale, high / scale)
