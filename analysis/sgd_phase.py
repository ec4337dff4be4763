"""Where train-by-validation wins with minibatch SGD: the plane of samples per input and noise, over epochs and batches.

The boundary in the limit of many inputs (`metagrad.theory.sgd.limit`), beside that of as many steps of gradient descent
(`tuned_limit`); the boundary at finite d from expected losses that are exact given the inputs and averaged over the
targets (`sgd.average`); and runs of SGD that choose their step sizes themselves. Each combination has a training time
eta T of its own, one for all tasks. Validation trains on a half, for as many epochs over it; run on all samples in the
end, it keeps its training time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from analysis import _tuned_curves as tuned
from analysis import _tuned_runs as runs
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import sgd
from metagrad.theory.least_squares import Regression, average_case, tuned_limit
from metagrad.theory.sgd import limit as sgd_limit
from metagrad.xp import rng

claim = (
    "With SGD, too, train-by-validation wins where samples are few or noise is large. For equal numbers of epochs the "
    "boundary does not depend on the batch size as long as that is small beside d. It falls as epochs are added, most "
    "near n = d; it lies below that of as many steps of gradient descent where epochs and samples are few, above it "
    "where both are many, as SGD's own noise keeps train-by-train from fitting that of the targets (extends Wang et "
    "al. 2021, section 4)."
)
WAYS = ("half", "all")  # what train-by-validation learns from in the end
RISKS = ("train", *WAYS)  # of train-by-train, and of train-by-validation in either way
FULL = 0  # the batch size that stands for all samples


@dataclass(frozen=True)
class Config:
    """Epochs; the map: points in an octave of n/d, octaves, nodes over time, noise levels; what is at finite d."""

    d: int
    inputs: int
    tasks: int
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
    grid: int = 24
    resamples: int = 100

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


presets = {
    "quick": Config(
        d=8,
        inputs=8,
        tasks=200,
        per_octave=2,
        noises=30,
        nodes=18,
        batches=(1, 2, FULL),
        exact_ratios=(1.0, 2.0, 4.0),
        resamples=30,
    ),
    "default": Config(d=16, inputs=20, tasks=600),
    "paper": Config(d=24, inputs=24, tasks=1000, per_octave=8, exact_ratios=(0.5, 1.0, 2.0, 4.0, 8.0, 16.0)),
}
expected_seconds = {"quick": 6.0, "default": 150.0, "paper": 3600.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("runs", "undecided", "all_at_once", "batches", "dimension", "epochs", "few", "many", "calm")


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
    point = runs.Point(config.d, round(shard["ratio"] * config.d), shard["sigma"], config.batches[0], config.epochs[1])
    stream = rng(context.seed, "sgd_phase", "runs", str(shard["ratio"]), str(shard["sigma"]))
    return {"gain": runs.gains(point, config.tasks, stream)}


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


def _given(config: Config, ratio: float, batch: int, seed: int) -> dict[str, np.ndarray]:
    """Return training times (epochs, etas), values and slopes (inputs, epochs, etas, 4) of the parts of both losses."""
    n = round(ratio * config.d)
    stream = rng(seed, "sgd_phase", "inputs", str(ratio))
    drawn = stream.standard_normal((config.inputs, n, config.d))
    etas = _step_sizes(config, n, batch)
    steps = np.array([_steps(n, batch, epochs) for epochs in config.epochs])
    look = _full_batch if batch == FULL else _minibatches
    values, slopes = np.moveaxis(np.stack([look(X, batch, etas, steps) for X in drawn]), 1, 0)
    return {"times": steps[:, None] * etas, "values": values, "slopes": slopes / steps[:, None, None]}


def _all_samples_at_once(config: Config, ratio: float, seed: int) -> np.ndarray:
    """Return how far SGD with all samples in a batch, without replacement, is from gradient descent, relatively."""
    n = round(ratio * config.d)
    X = rng(seed, "sgd_phase", "inputs", str(ratio)).standard_normal((n, config.d))
    etas, steps = _step_sizes(config, n, FULL)[::8], np.array(config.epochs)
    pair = _minibatches(X, n, etas, steps, replacement=False)[0], _full_batch(X, n, etas, steps)[0]
    found, expected = (values[..., ::2] + values[..., 1::2] for values in pair)  # at sigma = 1
    return np.max(np.abs(found / expected - 1))[None]


def _step_sizes(config: Config, n: int, batch: int) -> np.ndarray:
    """Return step sizes up to where the risk cannot fall any more, more closely spaced at the end."""
    if batch == FULL:
        top = 2.2 / (1 + np.sqrt(config.d / n)) ** 2
        return np.unique(np.concatenate([np.geomspace(1e-4, 1, 80), np.linspace(0.01, 1, 80)])) * top
    share = np.concatenate([np.geomspace(1e-3, 0.1, config.grid // 2)[:-1], np.linspace(0.1, 1, config.grid // 2)])
    return share * 2 * batch / (config.d + batch + 1)


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
    given = {(s["ratio"], s["batch"]): p for s, p in pairs if s["what"] == "given"}
    ratios, sigmas = config.axes
    arrays = {"ratios": ratios, "sigmas": sigmas, "exact_ratios": np.array(config.exact_ratios)}
    arrays |= {name: np.stack([p[name] for s, p in pairs if s["what"] == "map"]) for name in ("sgd", "full")}
    arrays["batches"] = np.array(config.batches)
    arrays["epochs"] = np.array(config.epochs)
    arrays |= _boundaries(config, given)
    arrays["all_at_once"] = np.concatenate([p["difference"] for s, p in pairs if s["what"] == "same"])
    names: dict[str, Any] = {"sgd": (None, RISKS), "full": (None, RISKS)}
    names |= {"boundary": (WAYS,), "boundary_interval": (("low", "high"), WAYS)}
    names |= dict.fromkeys(("gain", "gain_interval", "gain_exact"), (None, WAYS))
    return Table(arrays | _compared(config, pairs, given), {"sigmas": "units of the targets", "ratios": "1"}, names)


def _boundaries(config: Config, given: dict[Any, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the noise of equal risks (ways, batches, epochs, ratios), its bootstrap interval (2, ...) if all cross."""
    shape = len(WAYS), len(config.batches), len(config.epochs), len(config.exact_ratios)
    centre, low, high = (np.full(shape, np.nan) for _ in range(3))
    stream = np.random.default_rng(0)
    draws = stream.integers(0, config.inputs, (config.resamples, 2, config.inputs))
    for k, batch in enumerate(config.batches):
        for r, ratio in enumerate(config.exact_ratios):
            whole, half = given[ratio, batch], given[ratio / 2, batch]
            for e in range(len(config.epochs)):
                centre[:, k, e, r] = _levels(config, whole, half, e, slice(None), slice(None))
                found = np.array([_levels(config, whole, half, e, *draw) for draw in draws])
                for way in np.flatnonzero(np.isfinite(found).all(axis=0)):
                    low[way, k, e, r], high[way, k, e, r] = np.quantile(found[:, way], [0.025, 0.975])
    return {"boundary": centre, "boundary_interval": np.stack([low, high])}


def _levels(config: Config, whole: Any, half: Any, epoch: int, of_whole: Any, of_half: Any) -> np.ndarray:
    """Return for both ways the noise above which validation wins; NaN where it does not come to win."""
    sigmas = np.geomspace(*config.sigmas, 60)
    risks = tuned.risks(_curves(whole, epoch, of_whole), _curves(half, epoch, of_half), sigmas)
    return np.array([tuned.above(np.log(risks[0] / risks[1 + way]), sigmas) for way in range(2)])


def _curves(given: dict[str, np.ndarray], epoch: int, draw: Any) -> tuned.Curves:
    values, slopes = (np.mean(given[name][draw, epoch], axis=0) for name in ("values", "slopes"))
    return tuned.curves(given["times"][epoch], values, slopes)


def _compared(config: Config, pairs: Any, given: dict[Any, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the runs' mean gains (points, ways), their 99.9 % intervals, and what the exact moments say there."""
    points, gains, exact = [], [], []
    for shard, part in pairs:
        if shard["what"] == "runs":
            ratio, sigma = shard["ratio"], shard["sigma"]
            halves = (given[r, config.batches[0]] for r in (ratio, ratio / 2))
            risks = tuned.risks(*(_curves(x, 1, slice(None)) for x in halves), np.array([sigma]))[:, 0]
            points.append([ratio, sigma])
            gains.append(part["gain"])
            exact.append(risks[0] - risks[1:])
    each = np.array(gains)
    mean, error = each.mean(axis=-1), each.std(axis=-1, ddof=1) / np.sqrt(each.shape[-1])
    interval = np.stack([mean - 3.29 * error, mean + 3.29 * error], axis=-1)
    return {"points": np.array(points), "gain": mean, "gain_interval": interval, "gain_exact": np.array(exact)}


def verdict(config: Config, table: Table) -> Verdict:
    """Runs against exact moments, those against the limit; how the boundary moves with batch size and epochs."""
    arrays = table.arrays
    given, limit = np.log(arrays["boundary"][0]), np.log(_limit_boundary(table, "sgd"))
    above = limit - np.log(_limit_boundary(table, "full"))
    x = np.log(arrays["ratios"])
    at = np.array([np.interp(np.log(config.exact_ratios), x, row) for row in limit])
    few, equal, many = x <= 1e-9, np.abs(x) < 1e-9, x >= np.log(2) - 1e-9
    (first, last), (small, large) = (config.epochs[0], config.epochs[-1]), config.batches[:2]
    d, batches = config.d, f"batch {large} against {small}"
    return Verdict(
        claim,
        [
            *_run_checks(config, arrays),
            _check("all_at_once", "a batch of all samples: largest relative error", arrays["all_at_once"], 1e-8),
            _check(
                "batches", f"boundary, {batches}: |ln sigma| moves by", np.abs(given[1] - given[0]), (large - small) / d
            ),
            _check(
                "dimension", f"boundary, d = {d} against the limit: |ln sigma| moves by", np.abs(given[0] - at), 2 / d
            ),
            _check(
                "epochs",
                f"n = d: boundary after {last} epochs over that after {first}",
                np.exp(limit[-1] - limit[0])[equal],
                0.75,
            ),
            _check("few", f"n <= d, {first} epoch: boundary over gradient descent's", np.exp(above[0, few]), 1.0),
            _check(
                "many", f"n >= 2 d, {last} epochs: gradient descent's boundary over it", np.exp(-above[-1, many]), 1.0
            ),
            _check("calm", "there: risk by train over that of gradient descent", _calm(table, many), 1.0),
        ],
    )


def _run_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return whether the runs that are decided agree with the exact moments, and how many are not decided."""
    gain, exact = arrays["gain"], arrays["gain_exact"]
    decided = np.prod(np.sign(arrays["gain_interval"]), axis=-1) > 0
    wrong = int(np.sum(decided & (np.sign(gain) != np.sign(exact))))
    what = f"runs of SGD, d = {config.d}: decided gains of the other sign than the exact ones"
    few = f"of {gain.size} gains, undecided by their 99.9 % interval"
    return [Check("runs", what, wrong, "0", wrong == 0), _check("undecided", few, np.sum(~decided), gain.size // 2)]


def _calm(table: Table, which: np.ndarray) -> np.ndarray:
    """Return the risk by train over gradient descent's, at gradient descent's boundary, after the most epochs."""
    arrays, noise = table.arrays, _limit_boundary(table, "full")[-1]
    ratio = np.log(arrays["sgd"][-1, 0] / arrays["full"][-1, 0])
    x = np.log(arrays["sigmas"])
    return np.exp([np.interp(np.log(noise[i]), x, ratio[i]) for i in np.flatnonzero(which)])


def _check(key: str, what: str, values: np.ndarray, bound: float) -> Check:
    """Return the check that the largest value is at most `bound`; a missing one (NaN) fails it."""
    largest = float(np.max(values))
    return Check(key, what, largest, f"<= {bound:.3g}", largest <= bound)


def _limit_boundary(table: Table, name: str) -> np.ndarray:
    """Return the noise (epochs, ratios) above which validation wins in the limit, learning from its half."""
    risks, sigmas = table.arrays[name], table.arrays["sigmas"]
    return np.array([[tuned.above(gain, sigmas) for gain in one] for one in np.log(risks[:, 0] / risks[:, 1])])
