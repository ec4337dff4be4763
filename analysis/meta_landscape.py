"""Both meta-objectives on least squares over the step size: the proportional limit, and the engine on samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import least_squares
from metagrad.theory.least_squares import marchenko_pastur, proportional_limit, tuned_limit
from metagrad.xp import rng

claim = (
    "The training loss of the last iterate falls up to the edge of stability, where its minimum fits the noise; the "
    "loss on held-out samples has its minimum at a far smaller step size. The limit of many inputs gives both curves "
    "and both meta-gradients, and samples of finite size lie on them (the setting of Wang et al. 2021, section 4)."
)
MEASURES = ("train", "validation")
PARTS = ("value", "meta-gradient")


@dataclass(frozen=True)
class Config:
    """Samples per input, horizon, noise; inputs and tasks of the samples; step sizes in units of 1/s_+."""

    ratios: tuple[float, ...] = (0.5, 1.0, 4.0)
    steps: int = 40
    sigma: float = 1.0
    d: int = 200
    tasks: int = 40
    block: int = 20
    points: int = 13
    curve: int = 300
    span: tuple[float, float] = (3e-3, 2.3)

    def etas(self, ratio: float, count: int) -> np.ndarray:
        """Return step sizes over the span."""
        return np.geomspace(*self.span, count) / float(marchenko_pastur.edges(1 / ratio)[1])


presets = {
    "quick": Config(d=100, tasks=40),
    "default": Config(),
    "paper": Config(d=1000, tasks=20, block=4),
}
expected_seconds = {"quick": 5.0, "default": 90.0, "paper": 1500.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("engine", "limit", "step_sizes", "risk_train", "risk_validation")


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
    for eta in config.etas(ratio, config.points):
        for task, measure in zip((whole, half), MEASURES, strict=True):
            phi = np.full(count, eta)
            found = mg.meta_gradient(
                task, mg.GradientDescent(), mg.LogFinal(measure), phi, steps=config.steps, per_task=True
            )
            engine.append([found.value.to_float(), found.grad.eta.to_float()])
            theory.append(_closed_form(task, measure, float(eta), config.steps))
    shape = (config.points, 2, 2, count)
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
        about = {"gamma": 1 / ratio, "sigma": config.sigma}
        held_out = {"gamma": 2 / ratio, "sigma": config.sigma}
        # the meta-objective is the mean of the losses, not of their logarithms
        shown = np.stack([np.exp(np.minimum(config.steps * engine[:, :, 0], 600)), engine[:, :, 1]], axis=2)
        row = {
            "mean": shown.mean(axis=-1),
            "error": shown.std(axis=-1, ddof=1) / np.sqrt(shown.shape[-1]),
            "disagreement": np.array(np.max(np.abs(engine - theory) / np.maximum(np.abs(theory), 1e-3 * scale))),
            "etas": config.etas(ratio, config.points),
            "curve_etas": config.etas(ratio, config.curve),
            "curve": _limit(config, ratio, config.etas(ratio, config.curve)),
            "curve_at_points": _limit(config, ratio, config.etas(ratio, config.points)),
            "best": np.array(
                [
                    tuned_limit.step_size_tbt(config.steps, **about),
                    tuned_limit.step_size_tbv(config.steps, **held_out),
                ]
            ),
            "risk": np.array(
                [
                    tuned_limit.risk_tbt(config.steps, ratio=ratio, sigma=config.sigma),
                    tuned_limit.risk_tbv(config.steps, ratio=ratio, sigma=config.sigma),
                ]
            ),
        }
        for name, value in row.items():
            arrays.setdefault(name, []).append(value)
    table = {name: np.stack(values) for name, values in arrays.items()}
    table["ratios"] = np.array(config.ratios)
    names: dict[str, Any] = dict.fromkeys(("mean", "error"), (None, MEASURES, None, PARTS))
    names |= dict.fromkeys(("curve", "curve_at_points"), (None, MEASURES, None, PARTS))
    names |= {"best": (None, MEASURES), "risk": (None, MEASURES)}
    return Table(table, {"mean": "squared units of the targets, and 1", "etas": "1", "risk": "||w*||^2"}, names)


def _limit(config: Config, ratio: float, etas: np.ndarray) -> np.ndarray:
    """Return both log objectives and their meta-gradients (2, step sizes, 2) in the limit."""
    curves = []
    for gamma, f, df in (
        (1 / ratio, proportional_limit.train_loss, proportional_limit.d_train_loss),
        (2 / ratio, proportional_limit.validation_loss, proportional_limit.d_validation_loss),
    ):
        about = {"gamma": gamma, "sigma": config.sigma}
        pair = least_squares.log_rate(f(etas, config.steps, **about), df(etas, config.steps, **about), config.steps)
        curves.append(np.stack(pair, axis=-1))
    return np.stack(curves)


def verdict(config: Config, table: Table) -> Verdict:
    """Compare the engine with theory task by task, the means with the limit, and the two minima."""
    arrays = table.arrays
    wrong = float(arrays["disagreement"].max())
    stable = arrays["etas"] * ((1 + np.sqrt(1 / arrays["ratios"])) ** 2)[:, None] < 1.5
    loss, error = arrays["mean"][..., 0], arrays["error"][..., 0]
    limit = np.exp(np.minimum(config.steps * arrays["curve_at_points"][..., 0], 600))
    far, allowed = np.abs(loss - limit), 4 * error + 20 / config.d * limit
    excess = float(np.max(np.where(stable[:, None], far / allowed, 0)))
    return Verdict(
        claim,
        [
            Check(
                "engine",
                "engine against closed form, task by task: largest relative error",
                wrong,
                "<= 1e-9",
                wrong <= 1e-9,
            ),
            Check(
                "limit",
                f"losses, eta s_+ < 1.5: distance to the limit over 4 standard errors + {20 / config.d:.2g} of it",
                excess,
                "<= 1",
                excess <= 1,
            ),
            *_minima_checks(arrays),
        ],
    )


def _minima_checks(arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return how far apart both minima are where samples are few, and the risk at each."""
    few = arrays["ratios"] <= 1
    apart = (arrays["best"][few, 0] / arrays["best"][few, 1]).min()
    former, latter = arrays["risk"][few, 0].min(), arrays["risk"][few, 1].max()
    what = "n <= d: best step size on training loss over that on held-out samples, at least"
    at_former = "n <= d: risk at the former less that of w = 0, at least"
    at_latter = "n <= d: risk at the latter less that of w = 0, at most"
    return [
        Check("step_sizes", what, apart, ">= 10", bool(apart >= 10)),
        Check("risk_train", at_former, former - 1, "> 0", bool(former > 1)),
        Check("risk_validation", at_latter, latter - 1, "< 0", bool(latter < 1)),
    ]
