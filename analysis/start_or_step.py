"""A train-validation split, for a learned start and for a step size: exact curves side by side.

Linear tasks y = X w + noise with n samples of d Gaussian inputs, k steps of gradient descent. Learned is either the
start, at a given step size, or the step size, from the best start. The meta-loss is the loss on the samples adapted
to, or that of a half held out. The curves are exact means over tasks at this n and d (`metagrad.theory.starts.split`);
the points are learned with the engine's meta-gradients. In tied tasks w goes with the size of the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

import metagrad as mg
from analysis._split_tasks import draw, taught_starts, tuned_step
from analysis.framework.checks import at_least, at_most, mean_interval
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory.starts import split
from metagrad.theory.starts.tied import Kinds, best_start, excess_loss, taught_start

claim = (
    "On realisable linear tasks a train-validation split only costs a learned start, at every split and step size "
    "tried (the result of Bai et al. 2021); where w is tied to the inputs the split costs with few tasks and pays with "
    "many; for a step size it pays where there is noise (as in Wang et al. 2021) and costs where there is little"
)
WAYS = ("none", "half", "held")  # no split; half the samples held out; all held out, and no adaptation
TIED = {"shares": [0.5, 0.5], "scales": [0.5, 1.0], "places": [-0.5, 0.5], "signal": 1.0}
ENDS = ("mean", "low", "high")  # of an interval
SLACK = 0.03  # of a mean, for what is of the order 1/T


@dataclass(frozen=True)
class Config:
    """Inputs d, steps k, samples n, noise; sets of tasks for a start, groups of tasks for a step size."""

    d: int = 8
    steps: int = 4
    samples: tuple[int, ...] = (6, 8, 16, 32)
    sigmas: tuple[float, ...] = (0.3, 1.5)
    lengths: int = 8  # at which the exact curves are taken
    sets: int = 40
    tasks: int = 60
    groups: int = 8
    tied_samples: int = 16
    tied_tasks: tuple[tuple[int, int], ...] = ((16, 200), (64, 80), (512, 16))  # tasks, sets
    tied_alpha: float = 0.25
    tied_sigma: float = 0.3


presets = {
    "quick": Config(),
    "default": Config(
        sigmas=(0.3, 1.0, 1.5),
        samples=(6, 8, 16, 32, 64),
        lengths=12,
        sets=80,
        groups=12,
        tied_tasks=((16, 400), (64, 160), (512, 32)),
    ),
    "paper": Config(
        sigmas=(0.3, 1.0, 1.5),
        samples=(6, 8, 12, 16, 32, 64),
        lengths=24,
        sets=600,
        tasks=200,
        groups=60,
        tied_tasks=((16, 4000), (64, 1000), (512, 200)),
    ),
}
expected_seconds = {"quick": 12.0, "default": 45.0, "paper": 1500.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    start = ("start_exact", "start_half", "start_limits", "start_best")
    return (*start, "tied_few", "tied_many", "tied_limits", "step_noise", "step_clear", "step_limits", "loop")


def shards(config: Config) -> list[dict[str, Any]]:
    """The curves, the points of each panel, and an outer loop."""
    grid = [{"sigma": sigma, "n": n} for sigma in config.sigmas for n in config.samples]
    tied = [{"what": "tied", "tasks": tasks, "sets": sets} for tasks, sets in config.tied_tasks]
    found = [{"what": what, **at} for what in ("start", "step") for at in grid]
    return [{"what": "curves", "sigma": sigma} for sigma in config.sigmas] + found + tied + [{"what": "loop"}]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return exact curves, or what the engine learns."""
    what = shard["what"]
    if what == "curves":
        return _curves(config, shard["sigma"])
    if what == "start":
        return {"start": _start(config, shard["n"], shard["sigma"], context.seed)}
    if what == "step":
        return {"step": _step(config, shard["n"], shard["sigma"], context.seed)}
    if what == "tied":
        return {f"tied_{shard['tasks']}": _tied(config, shard["tasks"], shard["sets"], context.seed)}
    return {"loop": _loop(config, context.seed)}


def _least(of: Any, high: float) -> float:
    """Return the least point of a smooth function on (0, high): a scan, then a refinement."""
    grid = np.linspace(0, high, 17)[1:]
    at = int(np.argmin([of(x) for x in grid]))
    bounds = grid[max(at - 1, 0)] if at else 0.0, grid[min(at + 1, len(grid) - 1)]
    return float(minimize_scalar(of, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)


def _edge(config: Config, n: int) -> float:
    return float((1 + np.sqrt(config.d / n)) ** 2)


def _exact_start(config: Config, n: int, sigma: float) -> list[float]:
    """Return the best step size without a split; V there without and with half held out; with half at its best step
    size; with all held out."""
    about = {"sigma": sigma}

    def error(alpha: float, train: int | None = None) -> float:
        return split.start_error(n, config.d, alpha, config.steps, train=train, **about)

    alpha = _least(error, 1.2 / _edge(config, n))
    tuned = _least(lambda a: error(a, n // 2), 1.2 / _edge(config, n // 2))
    half = min(error(tuned, n // 2), error(0.0, n // 2))
    return [alpha, error(alpha), error(alpha, n // 2), half, error(0.0, 0)]


def _exact_step(config: Config, n: int, sigma: float) -> list[float]:
    """Return the step sizes tuned without and with the split, and the risks of both on n samples."""
    d, k = config.d, config.steps
    by_train = _least(lambda x: split.adapted_train_loss(n, d, x, k, sigma=sigma), 2.2 / _edge(config, n))
    high = 2.2 / _edge(config, n // 2)
    by_validation = _least(lambda x: split.adapted_risk(n // 2, d, x, k, sigma=sigma), high)
    return [by_train, by_validation, *(split.adapted_risk(n, d, x, k, sigma=sigma) for x in (by_train, by_validation))]


def _curves(config: Config, sigma: float) -> dict[str, np.ndarray]:
    between = 2 * np.round(np.geomspace(min(config.samples), max(config.samples), config.lengths) / 2).astype(int)
    lengths = np.union1d(between, config.samples)
    return {
        "exact_n": lengths,
        "exact_start": np.array([_exact_start(config, int(n), sigma) for n in lengths]),
        "exact_step": np.array([_exact_step(config, int(n), sigma) for n in lengths]),
    }


def _start(config: Config, n: int, sigma: float, seed: int) -> np.ndarray:
    """Return T |phi - w*|^2 of each set, (ways, sets)."""
    alpha = _exact_start(config, n, sigma)[0]
    drawn = draw(config.sets * config.tasks, n, config.d, sigma, seed, "start", n, sigma)
    asked = {
        "none": (drawn.task(), "train", alpha, config.steps),
        "half": (drawn.task(n // 2), "validation", alpha, config.steps),
        "held": (drawn.task(), "train", 1e-12, 1),  # a step that does not go: the loss at the start
    }
    starts = np.stack([taught_starts(*asked[way], config.sets) for way in WAYS])
    return np.asarray(config.tasks * np.sum(starts**2, axis=-1))


def _step(config: Config, n: int, sigma: float, seed: int) -> np.ndarray:
    """Return the risk on fresh tasks of the step sizes tuned without and with the split, (2, groups)."""
    near = _exact_step(config, n, sigma)
    found = []
    for group in range(config.groups):
        drawn, fresh = (
            draw(6 * config.tasks, n, config.d, sigma, seed, "step", what, n, sigma, group) for what in ("tune", "test")
        )
        etas = (
            tuned_step(drawn.task(), "train", near[0], config.steps),
            tuned_step(drawn.task(n // 2), "validation", near[1], config.steps),
        )
        ask = (fresh.task(), mg.GradientDescent(), mg.Final("risk"))
        found.append([np.mean(mg.value(*ask, eta, steps=config.steps).value.to_float()) for eta in etas])
    return np.array(found).T


def _kinds(config: Config) -> Kinds:
    return Kinds(**TIED, sigma=config.tied_sigma)  # type: ignore[arg-type]


def _tied(config: Config, tasks: int, sets: int, seed: int) -> np.ndarray:
    """Return the excess test loss of the starts that sets of tied tasks teach, (2, sets): without and with the split.

    The test adapts to half of n samples, and its loss is the quadratic of theory about its best start.
    """
    n, d, alpha, steps = config.tied_samples, config.d, config.tied_alpha, config.steps
    drawn = draw(sets * tasks, n, d, config.tied_sigma, seed, "tied", tasks, kinds=_kinds(config))
    place, curvature = best_start(_kinds(config), n // 2, d, alpha, steps)
    both = [
        taught_starts(drawn.task(train), measure, alpha, steps, sets)
        for train, measure in ((None, "train"), (n // 2, "validation"))
    ]
    return np.asarray(curvature / 2 * np.sum((np.stack(both) - place * np.eye(d)[0]) ** 2, axis=-1))


def _loop(config: Config, seed: int) -> np.ndarray:
    """Return how far an outer loop ends from the zero of its meta-gradient: `MetaTrainer`, with half held out."""
    n = config.tied_samples
    data = draw(config.tasks, n, config.d, 0.3, seed, "loop").task(n // 2)
    (expected,) = taught_starts(data, "validation", 0.1, config.steps, 1)
    outer = mg.Descent(mg.Joint(rule=mg.GradientDescent.Phi(None), task=1.0), power=0.0)
    asked = mg.LearnedStart(data), mg.GradientDescent(), mg.Final("validation"), config.steps
    run = mg.MetaTrainer(*asked, outer=outer).run(mg.Joint(rule=0.1, task=np.zeros(config.d)), 100)
    at = [i for i, name in enumerate(run.names) if "task" in name]
    return np.array([np.linalg.norm(run.phi[-1, at] - expected) / np.linalg.norm(expected)])


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Put the points beside the curves."""

    def gathered(name: str) -> np.ndarray:
        found = [part[name] for part in parts if name in part]
        return np.stack(found).reshape(len(config.sigmas), -1, *found[0].shape)

    start, step = gathered("start"), gathered("step")
    tied = [part[name] for part in parts for name in part if name.startswith("tied_")]
    arrays = {
        "sigmas": np.array(config.sigmas),
        "samples": np.array(config.samples),
        "exact_n": parts[0]["exact_n"],
        "exact_start": np.stack([part["exact_start"] for part in parts if "exact_start" in part]),
        "exact_step": np.stack([part["exact_step"] for part in parts if "exact_step" in part]),
        "start": start,
        "start_ratio": np.stack(ratio_interval(start[:, :, 1:], start[:, :, :1])),
        "step": step,
        "step_ratio": np.stack(ratio_interval(step[:, :, 1], step[:, :, 0])),
        "tied": np.stack([[x.mean(axis=-1), *mean_interval(x)] for x in tied]),
        "tied_difference": np.array([[np.mean(x[1] - x[0]), *mean_interval(x[1] - x[0])] for x in tied]),
        "loop": parts[-1]["loop"],
        **_tied_curves(config),
    }
    names: dict[str, Any] = {
        "exact_start": (None, None, ("alpha", "none", "half", "half_tuned", "held")),
        "exact_step": (None, None, ("eta_train", "eta_validation", "train", "validation")),
        "start": (None, None, WAYS),
        "start_ratio": (ENDS, None, None, WAYS[1:]),
        "step_ratio": (ENDS,),
        "tied": (None, ENDS, ("without", "with")),
        "exact_tied": (("without", "with"),),
        "step": (None, None, ("train", "validation")),
    }
    return Table(arrays, {"start": "squared units of w", "step": "squared units of w"}, names)


def _tied_curves(config: Config) -> dict[str, np.ndarray]:
    """Return the exact excess over the number of tasks, (2, T), and where both are equal."""
    n, d, alpha, steps, kinds = config.tied_samples, config.d, config.tied_alpha, config.steps, _kinds(config)
    best = best_start(kinds, n // 2, d, alpha, steps)
    both = [taught_start(kinds, n, d, alpha, steps, train=train) for train in (None, n // 2)]
    tasks = np.geomspace(8, 4096, 60)
    of_one = [excess_loss(each, best, 1.0) - excess_loss(each, best, np.inf) for each in both]
    limit = excess_loss(both[0], best, np.inf)
    return {
        "exact_tasks": tasks,
        "exact_tied": np.stack([excess_loss(each, best, tasks) for each in both]),
        "exact_tied_points": np.stack([excess_loss(each, best, [t for t, _ in config.tied_tasks]) for each in both]),
        "crossing": np.atleast_1d((of_one[1] - of_one[0]) / limit),
    }


def verdict(config: Config, table: Table) -> Verdict:
    """Compare with and without the split, in the exact curves and in what the engine learned, and both of these."""
    arrays = table.arrays
    exact = arrays["exact_start"]
    bests = np.minimum(exact[..., 3], exact[..., 4]) / exact[..., 1]
    what = "exact V of the better of half held out (at its best step size) and all held out, over V without, least"
    checks = [at_least("start_exact", what, bests, 1.0)]
    mean, low, high = arrays["start_ratio"][:, :, :, 0]
    what = "learned starts: mean squared error with half held out over that without, least over n and noise"
    checks.append(at_least("start_half", what, mean, 1.0, (low, high)))
    mean, low, high = arrays["start_ratio"][:, :, :, 1]
    width = np.sqrt(np.sum((high - low) ** 2, axis=1)) / 2 / len(config.samples)  # the cases are independent
    mean = mean.mean(axis=1)
    what = "learned starts: the same with all held out, at the best alpha without, mean over n, least over noise"
    checks.append(at_least("start_best", what, mean, 1.0, (mean - width, mean + width)))
    at = np.searchsorted(arrays["exact_n"], arrays["samples"])
    of_theory = exact[:, at][..., [1, 2, 4]]
    what = "learned starts: distance of the mean squared error from the exact V"
    checks.insert(2, _apart("start_limits", what, arrays["start"], of_theory))
    return Verdict(claim, checks + _tied_checks(config, arrays) + _step_checks(config, arrays, at))


def _tied_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return the differences at the fewest and at the most tasks, and the distance from the exact excess."""
    checks = []
    for key, i, sign in (("tied_few", 0, 1), ("tied_many", -1, -1)):
        mean, low, high = sign * arrays["tied_difference"][i]
        what = f"tied tasks, T = {config.tied_tasks[i][0]}: excess test loss with the split less that without"
        ends = (low, high)[::sign]
        checks.append(at_least(key, what if sign > 0 else f"{what}, times -1", mean, 0.0, ends))
    late = [tasks >= 64 for tasks, _ in config.tied_tasks]  # what is left out is of the order 1/T^2
    exact, found = arrays["exact_tied_points"].T[late], arrays["tied"][late]
    ratios = apart_by(found[:, 0], (found[:, 2] - found[:, 1]) / 2, exact)
    what = f"tied tasks: distance of the excess from the exact one, over twice the interval + {SLACK:g}, largest"
    return [*checks, at_most("tied_limits", what, ratios, 1.0)]


def _step_checks(config: Config, arrays: dict[str, np.ndarray], at: np.ndarray) -> list[Check]:
    """Return the ratios of the risks where there is much noise and few samples, and where there is little noise."""
    ratio, low, high = arrays["step_ratio"]
    noisy, clear, few = np.argmax(config.sigmas), np.argmin(config.sigmas), np.array(config.samples) <= config.d
    ends = low[noisy, few], high[noisy, few]
    what = f"step sizes, sigma = {config.sigmas[noisy]:g}, n <= d: risk with the split over that without, largest"
    checks = [at_most("step_noise", what, ratio[noisy, few], 1.0, ends)]
    what = f"step sizes, sigma = {config.sigmas[clear]:g}: risk with the split over that without, least"
    checks.append(at_least("step_clear", what, ratio[clear], 1.0, (low[clear], high[clear])))
    what = "step sizes: distance of the risk from the exact one"
    checks.append(_apart("step_limits", what, arrays["step"], arrays["exact_step"][:, at, 2:]))
    what = "end of an outer loop: distance from the zero of its meta-gradient, relative"
    return [*checks, at_most("loop", what, arrays["loop"], 1e-9)]


def ratio_interval(above: np.ndarray, below: np.ndarray) -> list[np.ndarray]:
    """Return mean(above)/mean(below) over the last axis and the ends of its 95 % interval, for pairs."""
    ratio = above.mean(axis=-1) / below.mean(axis=-1)
    low, high = mean_interval((above - ratio[..., None] * below) / below.mean(axis=-1, keepdims=True))
    return [ratio, ratio + low, ratio + high]


def apart_by(mean: np.ndarray, half: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return |mean - exact| in units of twice the half width of the 95 % interval + SLACK of exact."""
    return np.asarray(np.abs(mean - exact) / (2 * half + SLACK * exact))


def _apart(key: str, what: str, values: np.ndarray, exact: np.ndarray) -> Check:
    low, high = mean_interval(values)
    ratios = apart_by(values.mean(axis=-1), (high - low) / 2, exact)
    return at_most(key, f"{what}, over twice the 95 % interval + {SLACK:g} of it, largest", ratios, 1.0)
