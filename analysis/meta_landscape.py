"""Both meta-objectives on least squares over the step size: the proportional limit, and the engine on samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

import metagrad as mg
from analysis import _first_order
from analysis.framework import checks
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import least_squares
from metagrad.theory.least_squares import marchenko_pastur, proportional_limit, tuned_limit
from metagrad.xp import rng

claim = (
    "The training loss of the last iterate falls up to the edge of stability, where its minimum fits the noise; with "
    "no more samples than inputs the loss on held-out samples has its minimum at a step size at least ten times "
    "smaller. The limit of many inputs gives both curves and both meta-gradients: with its first order in 1/d, up to "
    "where that is a tenth or samples leave the edge of stability, it lies within the errors of means over samples of "
    "finite size (the setting of Wang et al. 2021, section 4)."
)
MEASURES = ("train", "validation")
PARTS = ("value", "meta-gradient")
_LEVEL = 0.001  # at which all points of a check together give a false alarm
_SMALL = 0.1  # of the limit: up to where its first order in 1/d is taken for enough
_FLUCTUATIONS = 3.0  # above its mean, in its scale: the largest eigenvalue of a sample of thousand (Tracy and Widom)
_NO_SLOPE = 1e-3  # of d log loss/d log eta: what is as good as none


@dataclass(frozen=True)
class Config:
    """Samples per input, horizon, noise; inputs and tasks of the samples; step sizes in units of 1/s_+."""

    ratios: tuple[float, ...] = (0.5, 1.0, 4.0)
    steps: int = 40
    sigma: float = 1.0
    d: int = 200
    tasks: int = 40
    block: int = 20
    points: int = 11
    curve: int = 300
    span: tuple[float, float] = (3e-3, 2.3)

    def etas(self, ratio: float, count: int) -> np.ndarray:
        """Return step sizes over the span."""
        return np.geomspace(*self.span, count) / float(marchenko_pastur.edges(1 / ratio)[1])

    def best(self, ratio: float) -> np.ndarray:
        """Return the step sizes that are best in the limit, on training loss and on held-out loss."""
        tbt = tuned_limit.step_size_tbt(self.steps, gamma=1 / ratio, sigma=self.sigma)
        return np.array([tbt, tuned_limit.step_size_tbv(self.steps, gamma=2 / ratio, sigma=self.sigma)])

    def measured_etas(self, ratio: float) -> np.ndarray:
        """Return the step sizes of the samples: some over the span, and the two that are best in the limit."""
        return np.sort(np.concatenate([self.etas(ratio, self.points), self.best(ratio)]))

    def stable(self, ratio: float) -> float:
        """Return the step size up to which 999 of 1000 samples of n = ratio d are stable: 2/s_max with that s_max.

        s_max fluctuates about s_+ on the scale (sqrt n + sqrt d)(1/sqrt n + 1/sqrt d)^(1/3)/n (Johnstone 2001).
        """
        n, d = ratio * self.d, self.d
        scale = (np.sqrt(n) + np.sqrt(d)) * (1 / np.sqrt(n) + 1 / np.sqrt(d)) ** (1 / 3) / n
        return float(2 / (marchenko_pastur.edges(1 / ratio)[1] + _FLUCTUATIONS * scale))


presets = {
    "quick": Config(d=100, tasks=40),
    "default": Config(),
    "paper": Config(d=1000, tasks=20, block=4),
}
expected_seconds = {"quick": 5.0, "default": 90.0, "paper": 1500.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    limit = ("step_sizes", "edge", "apart_half", "apart_equal", "risk_train", "risk_validation")
    return ("engine", "losses", "slopes", "allowed", "train_gain", "held_out_gain", *limit)


def shards(config: Config) -> list[dict[str, Any]]:
    """Return blocks of tasks for each number of samples."""
    return [
        {"ratio": ratio, "first": first, "count": min(config.block, config.tasks - first)}
        for ratio in reversed(config.ratios)
        for first in range(0, config.tasks, config.block)
    ]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return value and meta-gradient of both log objectives (2, points, 2, tasks), by the engine and by theory."""
    ratio, count = shard["ratio"], shard["count"]
    n = round(ratio * config.d)
    seed = int(rng(context.seed, "meta_landscape", str(ratio), shard["first"]).integers(2**62))
    whole = mg.random_least_squares(count, n, config.d, sigma=config.sigma, seed=seed)
    half = mg.split_task(whole, 0.5, seed=seed)
    engine, theory = [], []
    etas = config.measured_etas(ratio)
    for eta in etas:
        for task, measure in zip((whole, half), MEASURES, strict=True):
            phi = np.full(count, eta)
            found = mg.meta_gradient(
                task, mg.GradientDescent(), mg.LogFinal(measure), phi, steps=config.steps, per_task=True
            )
            engine.append([found.value.to_float(), found.grad.eta.to_float()])
            theory.append(_closed_form(task, measure, float(eta), config.steps))
    shape = (len(etas), 2, 2, count)
    return {
        "engine": np.reshape(engine, shape).swapaxes(0, 1),
        "theory": np.reshape(theory, shape).swapaxes(0, 1),
    }


def _closed_form(task: Any, measure: str, eta: float, steps: int) -> np.ndarray:
    """Return value and meta-gradient (2, tasks) of the log objective, by the spectrum of each sample."""
    found = []
    for k in range(len(task.y)):
        sample = least_squares.Regression.of(task.X[k], task.y[k])
        if measure == "train":
            pair = [f(sample, eta, steps) for f in (least_squares.train_loss, least_squares.d_train_loss)]
        else:
            held_out = (task.validation[0][k], task.validation[1][k])
            f, df = least_squares.validation_loss, least_squares.d_validation_loss
            pair = [f(sample, *held_out, eta, steps), df(sample, *held_out, eta, steps)]
        found.append(least_squares.log_rate(*pair, steps))
    return np.transpose(found)


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Gather the tasks, and compute the curves of the limit and its minima."""
    arrays: dict[str, list[Any]] = {}
    pairs = list(zip(shards(config), parts, strict=True))
    for ratio in config.ratios:
        mine = [part for shard, part in pairs if shard["ratio"] == ratio]
        engine, theory = (np.concatenate([part[name] for part in mine], axis=-1) for name in ("engine", "theory"))
        scale = np.abs(theory).max(axis=(1, 3), keepdims=True)
        etas, curve_etas = config.measured_etas(ratio), config.etas(ratio, config.curve)
        row = {
            **_samples(config, ratio, engine),
            "disagreement": np.array(np.max(np.abs(engine - theory) / np.maximum(np.abs(theory), 1e-3 * scale))),
            "etas": etas,
            "curve_etas": curve_etas,
            "best": config.best(ratio),
            "risk": np.array([f(config.steps, ratio=ratio, sigma=config.sigma) for f in _REACHED]),
        }
        row["curve_limit"] = _expected(config, ratio, curve_etas)["limit"]
        row |= {f"points_{name}": x for name, x in _expected(config, ratio, etas).items()}
        stable = np.array([etas <= config.stable(ratio), etas <= config.stable(ratio / 2)])
        row["compared"] = stable & (np.abs(row["points_order"]) <= _SMALL)
        for name, value in row.items():
            arrays.setdefault(name, []).append(value)
    table = {name: np.stack(values) for name, values in arrays.items()}
    table["ratios"] = np.array(config.ratios)
    table["allowed"] = _allowed(config, table)
    wide = [name for name in table if name in ("mean", "allowed", "middle") or name.endswith(("_limit", "_finite"))]
    names: dict[str, Any] = dict.fromkeys(wide, (None, MEASURES, None, PARTS))
    names |= dict.fromkeys(("points_order", "compared", "best", "risk", "gain"), (None, MEASURES))
    return Table(table, {"mean": "squared units of the targets, and 1", "etas": "1", "risk": "||w*||^2"}, names)


def _allowed(config: Config, table: dict[str, np.ndarray]) -> np.ndarray:
    """Return how far mean losses and slopes may be from the limit with its first order, (ratios, 2, points, 2).

    The interval that holds at all compared points together, by Student's t, and what the second order may be.
    """
    points = 2 * int(table["compared"].sum())
    width = stats.t.ppf(1 - _LEVEL / (2 * points), config.tasks - 1) * table.pop("error") + table.pop("points_second")
    width[..., 1] += _NO_SLOPE / (config.steps * table["etas"][:, None])
    return np.asarray(width)


_REACHED = (tuned_limit.risk_tbt, tuned_limit.risk_tbv)


def _samples(config: Config, ratio: float, engine: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the tasks say of each loss and of its meta-gradient, from log objectives (2, points, 2, tasks).

    The meta-objective is the logarithm of the mean loss: `mean` has the mean loss and its logarithm's slope over t,
    `error` their standard errors; `middle` the median and the range of the middle 80 % of tasks; `gain` the log10 of
    how much smaller each loss is, task by task, at its own best step size of the limit than at that of the other.
    """
    loss, slope = np.exp(np.minimum(config.steps * engine[:, :, 0], 600)), engine[:, :, 1]
    count = loss.shape[-1]
    weight = loss / loss.mean(axis=-1, keepdims=True)
    found = np.mean(weight * slope, axis=-1)
    apart = weight * (slope - found[..., None])
    errors = [x.std(axis=-1, ddof=1) / np.sqrt(count) for x in (loss, apart)]
    at = np.searchsorted(config.measured_etas(ratio), config.best(ratio))
    logs = config.steps * engine[:, at, 0] / np.log(10)
    return {
        "mean": np.stack([loss.mean(axis=-1), found], axis=-1),
        "error": np.stack(errors, axis=-1),
        "middle": np.moveaxis(np.quantile(np.stack([loss, slope], axis=2), [0.5, 0.1, 0.9], axis=-1), 0, -1),
        "gain": np.stack([logs[0, 1] - logs[0, 0], logs[1, 0] - logs[1, 1]]),
    }


def _expected(config: Config, ratio: float, etas: np.ndarray) -> dict[str, np.ndarray]:
    """Return each loss and its meta-gradient (2, step sizes, 2) in the limit, and with the first order in 1/d.

    `order` (2, step sizes): the first order of the loss over the limit; `second`: what two first orders multiply to,
    which is the size of what is left out.
    """
    t, d, about = config.steps, config.d, {"sigma": config.sigma}
    rows = []
    for gamma, f, df, term, d_term, share in (
        (1 / ratio, proportional_limit.train_loss, proportional_limit.d_train_loss, *_TRAIN, 1.0),
        (2 / ratio, proportional_limit.validation_loss, proportional_limit.d_validation_loss, *_RISK, 0.5),
    ):
        log_rate, slope = least_squares.log_rate(f(etas, t, gamma=gamma, **about), df(etas, t, gamma=gamma, **about), t)
        loss = np.exp(np.minimum(t * log_rate, 600))
        first, d_first = (
            np.array([share * _first_order.first_order(g(eta, t, gamma, config.sigma), gamma)[0] for eta in etas])
            for g in (term, d_term)
        )
        order, d_order = first / (d * loss), d_first / (d * t * loss)
        with_first = np.stack([loss * (1 + order), (slope + d_order) / (1 + order)], axis=-1)
        second = np.stack([loss * order**2, np.abs(order) * (np.abs(d_order) + np.abs(slope * order))], axis=-1)
        rows.append((np.stack([loss, slope], axis=-1), with_first, second, order))
    return dict(zip(("limit", "finite", "second", "order"), map(np.stack, zip(*rows, strict=True)), strict=True))


_TRAIN = (_first_order.train_term, _first_order.d_train_term)
_RISK = (_first_order.risk_term, _first_order.d_risk_term)


def verdict(config: Config, table: Table) -> Verdict:
    """Compare the engine with theory task by task, the means with the limit, and the two minima."""
    return Verdict(claim, [*_sample_checks(config, table.arrays), *_minima_checks(config, table.arrays)])


def _sample_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return how far engine and closed form are apart, and the means over tasks and the limit with its first order."""
    near = arrays["compared"]  # decided by theory alone
    allowed = arrays["allowed"]
    over = np.abs(arrays["mean"] - arrays["points_finite"])[near] / allowed[near]
    width = allowed[near][..., 0] / arrays["points_limit"][near][..., 0]
    where = f"{int(near.sum())} points below the edge whose first order is at most {_SMALL:g} of the limit"
    gain, low, high = _medians(arrays["gain"])
    few = np.array(config.ratios) <= 1
    ends = low[few], high[few]
    what = "n <= d: median over tasks of log10 of the {} loss at the other best step size over that at its own, least"
    return [
        checks.at_most(
            "engine", "engine against closed form, task by task: largest relative error", arrays["disagreement"], 1e-9
        ),
        checks.at_most(
            "losses",
            f"mean loss, {where}: largest distance to the limit with it, over half the interval",
            over[:, 0],
            1.0,
        ),
        checks.at_most(
            "slopes", "meta-gradient, the same points: largest distance over half the interval", over[:, 1], 1.0
        ),
        checks.reported(
            "allowed", "median over these points of half the interval, over the limit's loss", np.median(width)
        ),
        checks.at_least("train_gain", what.format("training"), gain[few][:, 0], 0.0, tuple(x[:, 0] for x in ends)),
        checks.at_least("held_out_gain", what.format("held-out"), gain[few][:, 1], 0.0, tuple(x[:, 1] for x in ends)),
    ]


def _medians(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return medians over the last axis and their 95 % intervals, by order statistics."""
    ordered, count = np.sort(x, axis=-1), x.shape[-1]
    rank = max(int(stats.binom.ppf(0.025, count, 0.5)) - 1, 0)
    return np.median(x, axis=-1), ordered[..., rank], ordered[..., count - 1 - rank]


def _minima_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return how far apart both minima are where samples are few, and the risk at each; of the limit, no sample."""
    few = np.array(config.ratios) <= 1
    apart, risk = arrays["best"][:, 0] / arrays["best"][:, 1], arrays["risk"][few]
    edge = arrays["best"][few, 0] * (1 + 1 / np.sqrt(np.array(config.ratios)[few])) ** 2 / 2
    what = "best step size on training loss over that on held-out samples, in the limit"
    at_former = "n <= d: risk at the former less that of w = 0, least"
    at_latter = "n <= d: risk at the latter less that of w = 0, largest"
    return [
        checks.at_least("step_sizes", f"n <= d: {what}, least", apart[few], 10.0),
        checks.between("edge", "n <= d: best step size on training loss over the edge of stability", edge, 0.9, 1.0),
        checks.reported("apart_half", f"n/d = {config.ratios[0]:g}: {what}", apart[0]),
        checks.reported("apart_equal", f"n/d = {config.ratios[1]:g}: {what}", apart[1]),
        checks.at_least("risk_train", at_former, risk[:, 0] - 1, 0.0),
        checks.at_most("risk_validation", at_latter, risk[:, 1] - 1, 0.0),
    ]
