"""Train-by-train against train-by-validation on real data: the diabetes study, noise unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory.least_squares import Regression, validation_loss
from metagrad.theory.quadratic import Spectrum, minimiser

claim = (
    "On real data with unknown noise, the step size chosen on validation samples has a smaller test error than the one "
    "chosen on the training samples where these are at most 3/2 of the inputs, and costs at most 5 % where they are 4 "
    "times the inputs and more, as Wang et al. 2021, section 4, show of Gaussian data; but it has to be kept below the "
    "latter, else a few runs diverge"
)
RUNS = ("train", "validation", "half")  # half: the choice of validation, run on its half only
CHOICES = ("train", "validation", "unlimited")  # the last: validation without the limit on its search
SPLITS = 50  # a shard
_SCAN = 41  # step sizes a round
_ROUNDS = 3


@dataclass(frozen=True)
class Config:
    """Blocks of 50 random splits a training size, horizons, and training sizes for the 10 inputs and for 64.

    With at most `near` samples an input validation should win; with `far` and more it may cost the fraction `cost`.
    """

    blocks: int
    horizons: tuple[int, ...] = (40, 1000)
    linear: tuple[int, ...] = (5, 7, 10, 14, 20, 40, 80, 160, 320)
    products: tuple[int, ...] = (16, 32, 48, 64, 80, 96, 128, 192, 256, 352)
    near: float = 1.5
    far: float = 4.0
    cost: float = 0.05


presets = {
    "quick": Config(blocks=1, linear=(7, 10, 14, 20, 40, 80, 160, 320), products=(16, 32, 64, 96, 160, 256, 352)),
    "default": Config(blocks=8),
    "paper": Config(blocks=80),
}
expected_seconds = {"quick": 5.0, "default": 45.0, "paper": 420.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("near", "far", "harm", "unlimited")


def shards(config: Config) -> list[dict[str, Any]]:
    """One block of splits at one training size each."""
    sizes = [(name, n) for name in ("linear", "products") for n in getattr(config, name)]
    return [{"inputs": name, "n": n, "block": block} for name, n in sizes for block in range(config.blocks)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return test errors (splits, methods, horizons) and that of w = 0, in variances of the target, and the choices."""
    rng = np.random.default_rng([context.seed, shard["n"], shard["inputs"] == "products", shard["block"]])
    steps = np.asarray(config.horizons)
    inputs, target = _diabetes()
    splits = [_Split.draw(shard, inputs, target, rng) for _ in range(SPLITS)]
    by_train = minimiser(_spectra([split.whole for split in splits]), steps)
    found = [_measure(split, best, steps) for split, best in zip(splits, by_train, strict=True)]
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def _diabetes() -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs (442, 10) and the target (442,) of the diabetes study, as they were measured."""
    try:
        from sklearn.datasets import load_diabetes
    except ImportError as error:
        raise ImportError(
            "real_data takes its data from scikit-learn, which is not installed; "
            "install the extra: pip install -e '.[data]'."
        ) from error
    return load_diabetes(return_X_y=True, scaled=False)


@dataclass(frozen=True)
class _Split:
    """Least squares on the whole training part and on half of it; the samples of the other half, and those to test."""

    whole: Regression
    part: Regression
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @classmethod
    def draw(cls, shard: dict[str, Any], inputs: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> _Split:
        """Order the samples at random: the first n to train on, the first half of these for train-by-validation."""
        n, order = shard["n"], rng.permutation(len(target))
        half = n // 2
        X, y = _standardised(inputs[order], n), target[order] / np.std(target)
        if shard["inputs"] == "products":
            X = _standardised(_with_products(X), n)
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


def _standardised(X: np.ndarray, n: int) -> np.ndarray:
    """Return X with the means and spreads of its first n rows removed; a column that is constant there becomes 0."""
    centred = X - X[:n].mean(axis=0)
    spread = centred[:n].std(axis=0)
    constant = spread <= 1e-12 * np.abs(X[:n]).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))


def _with_products(X: np.ndarray) -> np.ndarray:
    """Return the columns of X and all products of two of them but the square of sex, which has only two values."""
    sex = 1
    first, second = np.triu_indices(X.shape[1])
    kept = (first != sex) | (second != sex)
    return np.hstack([X, X[:, first[kept]] * X[:, second[kept]]])


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
    """Return everything by training size, those of the 10 inputs first, and split."""
    sizes = [(shard["n"], 64 if shard["inputs"] == "products" else 10) for shard in shards(config)[:: config.blocks]]
    arrays = {
        name: np.stack([part[name] for part in parts]).reshape(len(sizes), -1, *parts[0][name].shape[1:])
        for name in parts[0]
    }
    arrays |= {"n": np.array([n for n, _ in sizes]), "inputs": np.array([d for _, d in sizes])}
    arrays["steps"] = np.asarray(config.horizons)
    units = {"errors": "variances of the target", "nothing": "variances of the target", "etas": "1/s_max"}
    return Table(arrays, units, {"errors": (None, None, RUNS), "etas": (None, None, CHOICES)})


def verdict(config: Config, table: Table) -> Verdict:
    """Validation wins where samples are few, costs little where they are many; each with its interval over splits."""
    arrays = table.arrays
    per_input = arrays["n"] / arrays["inputs"]
    near, far = per_input <= config.near, per_input >= config.far
    high = _relative_difference(arrays["errors"])[1]
    undecided, cost = float(np.sum(high[near] >= 0)), float(high[far].max())
    worst = arrays["errors"][:, :, 0, -1].mean(axis=1) / arrays["nothing"].mean(axis=1)
    harm, free = float(worst[per_input == 1].min()), float(arrays["free_log10"].max())
    few, many = f"n <= {config.near:g} inputs", f"n >= {config.far:g} inputs"
    return Verdict(
        claim,
        [
            Check(
                "near",
                f"{few}: cases of {high[near].size} where the interval of TbV - TbT reaches 0",
                undecided,
                "0",
                undecided == 0,
            ),
            Check("far", f"{many}: (TbV - TbT)/TbT, largest upper end", cost, f"<= {config.cost}", cost <= config.cost),
            Check("harm", f"n = inputs: TbT over w = 0, t = {config.horizons[-1]}, the lesser", harm, "> 1", harm > 1),
            Check("unlimited", "TbV without its limit: log10 of the largest test error", free, "> 1", free > 1),
        ],
    )


def _relative_difference(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends (sizes, horizons) of the 95 % interval of mean(TbV - TbT) over splits, divided by mean(TbT)."""
    difference, scale = errors[:, :, 1] - errors[:, :, 0], errors[:, :, 0].mean(axis=1)
    middle = difference.mean(axis=1) / scale
    spread = 1.96 * difference.std(axis=1, ddof=1) / np.sqrt(errors.shape[1]) / scale
    return middle - spread, middle + spread
