"""Where train-by-validation wins with minibatch SGD: the plane of samples per input and noise, over epochs and batches.

The boundary in the limit of many inputs (`metagrad.theory.sgd.limit`), beside that of as many steps of gradient descent
(`tuned_limit`); the boundary at finite d from expected losses that are exact given the inputs and averaged over the
targets (`sgd.average`); and runs of SGD that choose their step sizes themselves. Each combination has a training time
eta T of its own, one for all tasks. Validation trains on a half, for as many epochs over it; run on all samples in the
end, it keeps its training time. Means over inputs are of logarithms; `_sgd_boundaries` says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from analysis import _sgd_boundaries as boundaries
from analysis import _tuned_curves as tuned
from analysis import _tuned_runs as runs
from analysis.framework import checks
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import sgd
from metagrad.theory.least_squares import Regression, average_case, tuned_limit
from metagrad.theory.sgd import limit as sgd_limit
from metagrad.xp import rng

claim = (
    "With SGD, too, train-by-validation wins where samples are few or noise is large. In the limit the boundary "
    "depends on the epochs and not on the batch size, which at finite d moves it by less than its share of d. It falls "
    "as epochs are added, most near n = d; it lies below that of as many steps of gradient descent where epochs and "
    "samples are few, above it where both are many, as SGD's own noise keeps train-by-train from fitting that of the "
    "targets (extends Wang et al. 2021, section 4; means over inputs at finite d are of logarithms)."
)
WAYS = ("half", "all")  # what train-by-validation learns from in the end
RISKS = ("train", *WAYS)  # of train-by-train, and of train-by-validation in either way
FULL = 0  # the batch size that stands for all samples
BEYOND = 1.3  # step sizes are looked at up to this many times the one that is stable with many inputs
APART = 1.3  # runs at noise levels this far from the limit's boundary, as a factor, are to be on its side
ALARMS = 1e-3  # at most as often is one of all intervals of runs beside what it is of, by chance


@dataclass(frozen=True)
class Config:
    """Epochs; the map: points in an octave of n/d, octaves, nodes over time, noise levels; what is at finite d.

    `inputs`: samples of inputs X; `targets`: tasks for each of them to choose with, and fresh ones, in the runs.
    """

    d: int
    inputs: int
    targets: tuple[int, int]
    epochs: tuple[int, ...] = (1, 4, 16)
    per_octave: int = 6
    nodes: int = 48
    noises: int = 60
    octaves: tuple[int, int] = (-2, 4)
    sigmas: tuple[float, float] = (0.1, 5.0)
    batches: tuple[int, ...] = (1, 4, FULL)
    exact_ratios: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    run_ratios: tuple[float, ...] = (1.0, 4.0)
    run_sigmas: tuple[float, ...] = (0.2, 0.4, 0.65, 1.2, 2.5)
    grid: int = 28
    levels: int = 40

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """The ratios n/d and the noise levels of the map."""
        low, high = self.octaves
        ratios = 2.0 ** (np.arange(low * self.per_octave, high * self.per_octave + 1) / self.per_octave)
        return ratios, np.geomspace(*self.sigmas, self.noises)

    @property
    def all_ratios(self) -> list[float]:
        """The ratios n/d at finite d, with those of the halves."""
        return sorted({ratio / half for ratio in self.exact_ratios for half in (1, 2)})


# Quick: with fewer than 16 inputs to a task one X that is nearly unstable decides, however many there are.
presets = {
    "quick": Config(
        d=16,
        inputs=16,
        targets=(12, 48),
        per_octave=2,
        noises=30,
        nodes=18,
        batches=(1, 2, FULL),
        exact_ratios=(1.0, 2.0, 4.0),
    ),
    "default": Config(d=16, inputs=32, targets=(20, 80)),
    "paper": Config(d=24, inputs=32, targets=(40, 160), per_octave=8, exact_ratios=(0.5, 1.0, 2.0, 4.0, 8.0, 16.0)),
}
expected_seconds = {"quick": 30.0, "default": 110.0, "paper": 3600.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    of_runs = ("runs", "sides", "undecided")
    of_inputs = ("batches", "dimension", "exact_epochs", "exact_few", "exact_many")
    return (*of_runs, "all_at_once", *of_inputs, "epochs", "epochs_less", "epochs_at", "few", "many", "calm")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return the finite samples, the longest first, runs of SGD at points of the plane, and the limit's maps."""
    about = sorted(config.all_ratios, reverse=True)
    given = [{"what": "given", "ratio": ratio, "batch": batch} for ratio in about for batch in config.batches]
    checked = [{"what": "runs", "ratio": r, "sigma": s} for r in config.run_ratios for s in config.run_sigmas]
    maps = [{"what": "map", "epochs": epochs} for epochs in config.epochs]
    return [*given, *maps, *checked, *({"what": "same", "ratio": ratio} for ratio in (0.5, 1.0))]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return what one shard is about."""
    if shard["what"] == "map":
        return {"sgd": _map(config, shard["epochs"]), "full": _full_batch_map(config, shard["epochs"])}
    if shard["what"] == "same":
        return {"difference": _all_samples_at_once(config, shard["ratio"], context.seed)}
    if shard["what"] == "given":
        return _given(config, shard["ratio"], shard["batch"], context.seed)
    n = round(shard["ratio"] * config.d)
    point = runs.Point(config.d, n, shard["sigma"], config.batches[0], config.epochs[1])
    stream = rng(context.seed, "sgd_phase", "runs", str(shard["ratio"]), str(shard["sigma"]))
    times, risks = runs.risks(point, _inputs(config, n, context.seed), config.targets, stream)
    return {"chosen": times, "risks": risks}


def _map(config: Config, epochs: int) -> np.ndarray:
    """Return the risks in the limit (3, ratios, sigmas) with SGD."""
    ratios, sigmas = config.axes

    @cache
    def curves(ratio: float) -> tuned.Curves:
        share = np.concatenate([np.geomspace(3e-4, 0.08, 16)[:-1], np.linspace(0.08, 0.98, config.nodes)])
        times = share * epochs * sgd_limit.stability_threshold(1 / ratio)
        train, risk = sgd_limit.parts(times, epochs, gamma=1 / ratio)
        return tuned.curves(times, np.stack([x.to_float(ieee=True) for x in (*train, *risk)], axis=1))

    return np.stack([tuned.risks(curves(ratio), curves(ratio / 2), sigmas) for ratio in ratios], axis=1)


def _full_batch_map(config: Config, steps: int) -> np.ndarray:
    """Return the same with as many steps of gradient descent."""
    ratios, sigmas = config.axes
    about = {"ratio": ratios[:, None], "sigma": sigmas}
    by_validation = [tuned_limit.Tuning(retrain=retrain) for retrain in (False, True)]
    return np.stack(
        [
            tuned_limit.risk_tbt(steps, **about),
            *(tuned_limit.risk_tbv(steps, **about, tuning=tuning) for tuning in by_validation),
        ]
    )


def _inputs(config: Config, n: int, seed: int) -> np.ndarray:
    """Return the inputs (inputs, n, d): the first n rows of those that stand behind everything at finite d."""
    most = round(max(config.all_ratios) * config.d)
    return rng(seed, "sgd_phase", "inputs").standard_normal((config.inputs, most, config.d))[:, :n]


def _given(config: Config, ratio: float, batch: int, seed: int) -> dict[str, np.ndarray]:
    """Return training times (epochs, etas), values and slopes (inputs, epochs, etas, 4) of the parts of both losses."""
    n = round(ratio * config.d)
    etas = _step_sizes(config, n, batch)
    steps = np.array([_steps(n, batch, epochs) for epochs in config.epochs])
    look = _full_batch if batch == FULL else _minibatches
    found = [look(X, batch, etas, steps) for X in _inputs(config, n, seed)]
    values, slopes = np.moveaxis(np.stack(found), 1, 0)
    return {"times": steps[:, None] * etas, "values": values, "slopes": slopes / steps[:, None, None]}


def _all_samples_at_once(config: Config, ratio: float, seed: int) -> np.ndarray:
    """Return how far SGD with all samples in a batch, without replacement, is from gradient descent, relatively."""
    n = round(ratio * config.d)
    X = _inputs(config, n, seed)[0]
    etas, steps = _step_sizes(config, n, FULL)[::8], np.array(config.epochs)
    pair = _minibatches(X, n, etas, steps, replacement=False)[0], _full_batch(X, n, etas, steps)[0]
    found, expected = (values[..., ::2] + values[..., 1::2] for values in pair)  # at sigma = 1
    return np.max(np.abs(found / expected - 1))[None]


def _step_sizes(config: Config, n: int, batch: int) -> np.ndarray:
    """Return step sizes up to beyond the one at which a typical X becomes unstable, more closely spaced at the end."""
    if batch == FULL:
        top = 2 / (1 + np.sqrt(config.d / n)) ** 2
        share = np.concatenate([np.geomspace(1e-4, 0.5, 40)[:-1], np.linspace(0.5, BEYOND, 40)])
    else:
        top = 2 * batch / (config.d + batch + 1)
        low = np.geomspace(1e-3, 0.1, config.grid // 2)[:-1]  # closely above: a single X that turns unstable is a kink
        share = np.concatenate([low, np.geomspace(0.1, BEYOND, config.grid)])
    return share * top


def _steps(n: int, batch: int, epochs: int) -> int:
    """Return the number of steps, at least one: all samples are one batch."""
    return epochs if batch == FULL else max(1, epochs * n // batch)


def _minibatches(
    X: np.ndarray, batch: int, etas: np.ndarray, steps: np.ndarray, replacement: bool = True
) -> np.ndarray:
    """Return values and slopes (2, epochs, etas, 4) given X, averaged over the targets and the batches."""
    problem = sgd.SgdProblem(X, np.zeros(len(X)), None, batch, replacement)
    found = []
    for sigma, signal in ((0.0, 1.0), (1.0, 0.0)):
        average = sgd.SgdAverage(problem, sigma, signal)
        found.append(sgd.at_steps(average, [average.train, average.risk], etas, steps))
    parts = [found[part][measure] for measure in range(2) for part in range(2)]
    return np.stack([np.stack([pair[i].to_float(ieee=True).T for pair in parts], axis=-1) for i in range(2)])


def _full_batch(X: np.ndarray, batch: int, etas: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the same for gradient descent."""
    given = Regression.of(X, np.zeros(len(X)))
    looks = (
        (average_case.expected_train_loss, average_case.expected_risk),
        (average_case.d_expected_train_loss, average_case.d_expected_risk),
    )
    levels = ({"sigma": 0.0, "signal": 1.0}, {"sigma": 1.0, "signal": 0.0})
    about = etas, steps[:, None]
    return np.stack(
        [
            np.stack([look(given, *about, **level).to_float(ieee=True) for look in both for level in levels], axis=-1)
            for both in looks
        ]
    )


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Gather the maps, the boundaries given the inputs, and the gains of the runs, with intervals."""
    pairs = list(zip(shards(config), parts, strict=True))
    given = {
        (s["ratio"], s["batch"], e): boundaries.Given.of(p["times"][e], p["values"][:, e], p["slopes"][:, e])
        for s, p in pairs
        if s["what"] == "given"
        for e in range(len(config.epochs))
    }
    ratios, sigmas = config.axes
    arrays = {"ratios": ratios, "sigmas": sigmas, "exact_ratios": np.array(config.exact_ratios)}
    arrays |= {name: np.stack([p[name] for s, p in pairs if s["what"] == "map"]) for name in ("sgd", "full")}
    arrays["batches"] = np.array(config.batches)
    arrays["epochs"] = np.array(config.epochs)
    arrays["pseudo"] = _pseudo_levels(config, given)
    arrays["boundary"] = np.exp(arrays["pseudo"].mean(axis=-1))
    arrays["boundary_interval"] = np.exp(checks.mean_interval(arrays["pseudo"]))
    arrays["all_at_once"] = np.concatenate([p["difference"] for s, p in pairs if s["what"] == "same"])
    names: dict[str, Any] = {"sgd": (None, RISKS), "full": (None, RISKS), "pseudo": (WAYS,)}
    names |= {"boundary": (WAYS,), "boundary_interval": (("low", "high"), WAYS)}
    names |= dict.fromkeys(("gain", "gain_interval", "gain_exact"), (None, WAYS))
    return Table(arrays | _compared(config, pairs, given), {"sigmas": "units of the targets", "ratios": "1"}, names)


def _pseudo_levels(config: Config, given: dict[Any, boundaries.Given]) -> np.ndarray:
    """Return pseudo-values of ln of the noise of equal risks (ways, batches, epochs, ratios, inputs)."""
    sigmas = np.geomspace(*config.sigmas, config.levels)
    found = [
        [
            [
                boundaries.pseudo_levels(given[ratio, batch, e], given[ratio / 2, batch, e], sigmas)
                for ratio in config.exact_ratios
            ]
            for e in range(len(config.epochs))
        ]
        for batch in config.batches
    ]
    return np.moveaxis(np.array(found), 3, 0)


def _compared(config: Config, pairs: Any, given: dict[Any, boundaries.Given]) -> dict[str, np.ndarray]:
    """Return the runs' gains (points, ways), their intervals, and the gains of exact moments at the same inputs."""
    drawn = [(shard, part) for shard, part in pairs if shard["what"] == "runs"]
    level = 1 - ALARMS / (len(drawn) * len(WAYS))
    found = []
    for shard, part in drawn:
        whole, half = (given[r, config.batches[0], 1] for r in (shard["ratio"], shard["ratio"] / 2))
        by_train, by_half = part["chosen"]
        looks = (whole, by_train), (half, by_half), (whole, by_half)
        exact = np.stack([of.risk_at(time, shard["sigma"]) for of, time in looks])
        found.append(boundaries.gain_of(part["risks"], exact, level))
    points = np.array([[shard["ratio"], shard["sigma"]] for shard, _ in drawn])
    return {"points": points} | {name: np.array([one[name] for one in found]) for name in found[0]}


def verdict(config: Config, table: Table) -> Verdict:
    """Runs against exact moments, those against the limit; how the boundary moves with batch size and epochs."""
    limit, full = np.log(_limit_boundary(config, table, "sgd")), np.log(_limit_boundary(config, table, "full"))
    runs_of_it = _run_checks(config, table, limit[1])
    differences = table.arrays["all_at_once"]
    same = checks.at_most("all_at_once", "a batch of all samples: largest relative error", differences, 1e-8)
    return Verdict(
        claim, [*runs_of_it, same, *_input_checks(config, table, limit), *_limit_checks(config, table, limit, full)]
    )


def _run_checks(config: Config, table: Table, limit: np.ndarray) -> list[Check]:
    """Return whether runs agree with exact moments and are on the limit's side, and how many say nothing."""
    arrays = table.arrays
    low, high = np.moveaxis(arrays["gain_interval"], -1, 0)
    agree = (low <= arrays["gain_exact"]) & (arrays["gain_exact"] <= high) & np.isfinite(arrays["gain"])
    ratio, sigma = np.log(arrays["points"]).T
    above = sigma - np.interp(ratio, np.log(config.axes[0]), limit)
    away = ~(np.abs(above) < np.log(APART))
    right = np.isfinite(above) & (np.where(above > 0, low[:, 0], -high[:, 0]) > 0)
    what = f"runs of SGD, d = {config.d}"
    return [
        checks.none_of("runs", f"{what}: gains whose interval misses the exact moments given the same X", agree),
        checks.none_of(
            "sides", f"{what}, {APART:g} times above or below the limit's boundary: gains not on its side", right[away]
        ),
        checks.reported("undecided", f"gains, of {low.size}, whose interval has 0", np.sum((low <= 0) & (high >= 0))),
    ]


def _input_checks(config: Config, table: Table, limit: np.ndarray) -> list[Check]:
    """Return how the boundaries at finite d lie to each other and to the limit, with intervals over the inputs."""
    exact = table.arrays["pseudo"][0]  # learning from the half
    at = np.array([np.interp(np.log(config.exact_ratios), np.log(config.axes[0]), row) for row in limit])
    small, large = config.batches[:2]
    d, ratios = config.d, np.array(config.exact_ratios)
    (first, last), gradient = (config.epochs[0], config.epochs[-1]), config.batches.index(FULL)
    few, many = ratios <= 1, ratios >= 4
    over = exact[0] - exact[gradient]  # (epochs, ratios, inputs)

    def asked(key: str, what: str, differences: np.ndarray, low: float, high: float, said: str = "") -> Check:
        means, interval = differences.mean(axis=-1), checks.mean_interval(differences)
        return checks.between(key, f"exact boundary, ln sigma {what}", means, low, high, interval, said)

    moved, off = (large - small) / d, 2 / d
    less, more = (-np.inf, 0.0, "below 0"), (0.0, np.inf, "above 0")
    return [
        asked("batches", f"of batch {large} less that of {small}: farthest from 0", exact[1] - exact[0], -moved, moved),
        asked("dimension", f"of d = {d} less the limit's: farthest from 0", exact[0] - at[..., None], -off, off),
        asked(
            "exact_epochs", f"after {last} epochs less that after {first}: largest", exact[0, -1] - exact[0, 0], *less
        ),
        asked("exact_few", f"at n <= d, {first} epoch, less gradient descent's: largest", over[0, few], *less),
        asked("exact_many", f"at n >= 4 d, {last} epochs, less gradient descent's: least", over[-1, many], *more),
    ]


def _limit_checks(config: Config, table: Table, limit: np.ndarray, full: np.ndarray) -> list[Check]:
    """Return how the limit's boundary moves with the epochs, and how it lies to gradient descent's."""
    ratios, _ = config.axes
    few, equal, many = ratios <= 1 + 1e-9, np.abs(ratios - 1) < 1e-9, ratios >= 2 - 1e-9
    first, last = config.epochs[0], config.epochs[-1]
    fall, over = np.exp(limit[-1] - limit[0]), np.exp(limit - full)
    lowest = ratios[np.argmin(fall)] if np.isfinite(fall).all() else np.nan
    name, theirs = f"boundary after {last} epochs over that after {first}", "gradient descent's"
    return [
        checks.at_most("epochs", f"limit, n = d: {name}", fall[equal], 0.75),
        checks.at_most("epochs_less", f"limit: {name}, largest of all n/d", fall, 1.0),
        checks.between("epochs_at", "limit: n/d at which it is least", lowest, 0.5, 2.0),
        checks.at_most("few", f"limit, n <= d, {first} epoch: largest boundary over {theirs}", over[0, few], 1.0),
        checks.at_least("many", f"limit, n >= 2 d, {last} epochs: least boundary over {theirs}", over[-1, many], 1.0),
        checks.at_most("calm", f"there: largest risk by train over {theirs}", _calm(config, table, many), 1.0),
    ]


def _calm(config: Config, table: Table, which: np.ndarray) -> np.ndarray:
    """Return the risk by train over gradient descent's, at gradient descent's boundary, after the most epochs."""
    arrays, noise = table.arrays, _limit_boundary(config, table, "full")[-1]
    ratio = np.log(arrays["sgd"][-1, 0] / arrays["full"][-1, 0])
    x = np.log(config.axes[1])
    return np.exp([np.interp(np.log(noise[i]), x, ratio[i]) for i in np.flatnonzero(which)])


def _limit_boundary(config: Config, table: Table, name: str) -> np.ndarray:
    """Return the noise (epochs, ratios) above which validation wins in the limit, learning from its half."""
    risks, (_, sigmas) = table.arrays[name], config.axes
    gains = np.log(risks[:, 0] / risks[:, 1])
    found = np.array([[tuned.above(gain, sigmas) for gain in one] for one in gains])
    return np.where(np.isnan(gains).any(axis=-1), np.nan, found)
