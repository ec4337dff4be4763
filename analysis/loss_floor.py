"""The floor of a loss: where the log objective vanishes as fast as the plain one, and two remedies.

Gradient descent on noisy least squares with n = 2d, from w_0 = 0. The train loss cannot fall below T_inf > 0, nor can
the validation loss below its own floor. Then |(1/t)(log T)'| <= S mu^(2t-1)/T_inf, S = sum_j s_j g_j^2, mu = max |a_j|.
Remedies: the log of the excess T - T_inf where the floor is known, and meta-steps by sign, from gradients whose digits
and exponents survive, where it is not (validation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis import _loss_floor_baselines as baselines
from analysis._loss_floor_limit import GAMMA, extrapolated, limit, limit_bound, narrowing
from analysis._loss_floor_slopes import best_for_excess, by_engine, by_theory
from analysis.framework.checks import (
    agrees,
    at_least,
    at_most,
    between,
    mean_interval,
    none_of,
    reported,
    share_interval,
)
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory.least_squares import marchenko_pastur
from metagrad.xp import rng

claim = (
    "Where a loss has a floor (noise and n > d, or validation data) the log objective vanishes again, |G'| <= "
    "S mu^(2t-1)/T_inf for the train loss, like mu^t for the validation loss, in the size of the limit n, d -> "
    "infinity; the log of the excess does not vanish, and sign steps of scaled gradients still learn, for more groups "
    "of tasks than any one fixed outer step size or tossed signs, while plain float32 has the sign of many wrong"
)
_LN10 = np.log(10.0)
_LEVEL = 0.999  # of the interval of a limit
_SECOND = 0.01  # orders of magnitude allowed for the terms of order 1/d^2
KINDS = ("train", "excess", "validation")
ARMS = (("train", "gradient"), ("excess", "gradient"), ("validation", "gradient"), ("validation", "sign"))


@dataclass(frozen=True)
class Config:
    """Tasks of d weights and n = 2d samples, horizons at step size `eta`, step sizes at `steps`, and meta-training.

    Samples are compared with the limit at `limit_steps`, `limit_tasks` of them for each of `dims`. Step sizes are
    trained for one group of `trained` tasks along the figure, and for `groups` of them against the baselines.
    """

    d: int
    tasks: int
    horizons: tuple[int, ...]
    points: int
    dims: tuple[int, ...]
    limit_tasks: int
    trained: int  # how many tasks are tuned together
    groups: int
    trained_steps: int
    meta_steps: int
    rates: tuple[float, float] = (0.05, 0.035)  # of gradient and of sign steps
    eta: float = 0.6
    steps: int = 400
    sigma: float = 1.0
    start: float = 0.5
    limit_steps: int = 25
    trained_sigma: float = 0.3
    signs: int = 50  # how many signs are looked at
    walks: int = 1000  # of tossed signs, a group


_LONG = (25, 50, 100, 200, 400, 800)
presets = {
    # 150 signs: of 50 the interval reached beyond its bound at one of some forty seeds
    "quick": Config(
        40, 4, _LONG, 7, (40, 80, 160), 100, trained=2, groups=12, trained_steps=200, meta_steps=100, signs=150
    ),
    "default": Config(
        100, 10, _LONG, 9, (40, 80, 160, 320), 200, trained=3, groups=24, trained_steps=200, meta_steps=200
    ),
    "paper": Config(
        400, 10, _LONG, 9, (40, 80, 160, 320), 400, trained=3, groups=24, trained_steps=400, meta_steps=400
    ),
}
expected_seconds = {"quick": 10.0, "default": 150.0, "paper": 2000.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    last = tuple(f"last_{kind}" for kind in KINDS)
    limits = tuple(f"{what}_{kind}" for what in ("limit", "tends", "narrows") for kind in KINDS)
    steps = ("excess_least", "gradient_steps", "excess_steps", "sign_steps")
    others = ("sign_share", "fixed_share", "fixed_margin", "tossed_share", "signs_scaled", "signs_plain")
    rates = ("rate_train", "rate_validation")
    return ("bound", "engine", "plain_float64", *last, *rates, *limits, *steps, *others)


_PATHS = {"path": "eta", "best": "best"}


def shards(config: Config) -> list[dict[str, Any]]:
    """One horizon, one step size, one d, one way to tune or one group each."""
    horizons = [{"kind": "horizon", "eta": config.eta, "steps": t} for t in config.horizons]
    sizes = [{"kind": "size", "eta": float(eta), "steps": config.steps} for eta in _etas(config)]
    dims = [{"kind": "limit", "d": d} for d in config.dims]
    arms = [{"kind": "arm", "arm": index} for index in range(len(ARMS))]
    groups = [{"kind": "group", "group": index} for index in range(config.groups)]
    return [*horizons, *sizes, {"kind": "line"}, *arms, {"kind": "signs"}, *dims, *groups]


def _etas(config: Config) -> np.ndarray:
    return np.linspace(0.06, 0.63, config.points)


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the slopes of the three log objectives at one step size and horizon, or what the shard names."""
    if shard["kind"] == "limit":
        return {"gaps": _gaps(config, shard["d"], context.seed)}
    if shard["kind"] == "group":
        return _group(config, shard["group"], context.seed)
    if shard["kind"] == "signs":
        task = _drawn(config.signs, config.d, config.trained_sigma, context.seed, "float32")
        return baselines.right_signs(task, config.eta, config.steps)
    if shard["kind"] == "arm":
        task = _drawn(config.trained, config.d, config.trained_sigma, _group_seed(context.seed, 0))
        return _tuned(config, task, *ARMS[shard["arm"]])
    task = _drawn(config.tasks, config.d, config.sigma, context.seed)
    return _lines(config, task) if shard["kind"] == "line" else _sizes(config, task, shard)


def _drawn(count: int, d: int, sigma: float, seed: int, dtype: str = "float64") -> mg.LeastSquares:
    return mg.random_least_squares(count, 4 * d, d, sigma=sigma, seed=seed, split=0.5, dtype=np.dtype(dtype))


def _group_seed(seed: int, group: int) -> int:
    return int(rng(seed, "loss_floor", group).integers(2**31))


def _gaps(config: Config, d: int, seed: int) -> np.ndarray:
    """Return log10 of |G'| over its limit (kinds, samples)."""
    slopes, _ = by_theory(_drawn(config.limit_tasks, d, config.sigma, seed), config.eta, config.limit_steps)
    there = np.array([limit(kind, config.eta, config.limit_steps, config.sigma) for kind in KINDS])
    return (slopes - there[:, None]) / _LN10


def _group(config: Config, index: int, seed: int) -> dict[str, np.ndarray]:
    """Return where sign steps, tossed signs and fixed outer step sizes end for one group, and the minimum downhill."""
    group = baselines.Group.of(
        _drawn(config.trained, config.d, config.trained_sigma, _group_seed(seed, index)), config.trained_steps
    )
    scale, count = config.rates[1], config.meta_steps
    tossed = baselines.random_walks(config.start, scale, count, config.walks, rng(seed, "loss_floor tossed", index))
    goal, within = group.downhill(config.start), _two_steps(config)
    return {
        "goal": np.array(goal),
        "sign_off": np.array(abs(baselines.sign_walk(group, config.start, scale, count) - goal)),
        "fixed_off": np.abs(baselines.fixed_walks(group, config.start, _scales(), count) - goal),
        "tossed": np.array(np.mean(np.abs(tossed - goal) <= within)),
    }


def _scales() -> np.ndarray:
    """Return the fixed outer step sizes that are tried: three a decade."""
    return np.geomspace(1.0, 1e16, 49)


def _two_steps(config: Config) -> float:
    """Return twice the size of the last sign step."""
    return float(2 * config.rates[1] / np.sqrt(config.meta_steps))


def _sizes(config: Config, task: mg.LeastSquares, shard: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return log10 |G'| of the three log objectives by theory, engine and plain floats, the bound, and the limits."""
    eta, steps = shard["eta"], shard["steps"]
    exact, bound = by_theory(task, eta, steps)
    found = by_engine(task, eta, steps)
    return {
        "exact": exact / _LN10,
        "engine": np.stack([found[kind].log10abs() for kind in KINDS]),
        "plain": np.stack([found[f"plain {kind}"].log10abs() for kind in KINDS]),
        "bound": bound / _LN10,
        "limit": np.array([limit(kind, eta, steps, config.sigma) for kind in KINDS]) / _LN10,
        "limit_bound": np.array(limit_bound(eta, steps, config.sigma) / _LN10),
    }


def _lines(config: Config, task: mg.LeastSquares) -> dict[str, np.ndarray]:
    """Return theory's means over tasks of log10 |G'|, and of the bound, over horizons and over step sizes."""
    horizons = np.unique(np.geomspace(config.horizons[0], config.horizons[-1], 60).round().astype(int))
    etas = np.linspace(0.04, 0.65, 120)
    by_horizon, by_size = by_theory(task, config.eta, horizons), by_theory(task, etas, config.steps)
    lines = {"horizons": horizons, "etas": etas}
    for prefix, (slopes, bounds) in (("t_", by_horizon), ("e_", by_size)):
        lines |= {f"{prefix}slopes": slopes.mean(axis=1) / _LN10, f"{prefix}bound": bounds.mean(axis=0) / _LN10}
    return lines


def _tuned(config: Config, task: mg.LeastSquares, kind: str, step: str) -> dict[str, np.ndarray]:
    """Tune one step size for all tasks together; return its path, and the step size that theory says is best.

    For the validation loss: the minimum downhill from the start.
    """
    objective = mg.LogExcess() if kind == "excess" else mg.LogFinal(kind)
    problem = task if kind == "train" or step == "gradient" else task.centred()
    settings = {"steps": config.trained_steps, "scale": config.rates[step == "sign"], "step": step}
    run = mg.MetaTrainer(problem, mg.GradientDescent(), objective, **settings).run(config.start, config.meta_steps)
    group = baselines.Group.of(task, config.trained_steps)
    best = group.downhill(config.start) if kind == "validation" else best_for_excess(task, config.trained_steps)
    return {"eta": run.phi[:, 0], "best": np.asarray(best)}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return the slopes by horizon (t_) and by step size (e_), samples against the limit, paths and baselines."""
    of: dict[str, list[dict[str, np.ndarray]]] = {}
    for shard, part in zip(shards(config), parts, strict=True):
        of.setdefault(shard["kind"], []).append(part)
    arrays: dict[str, np.ndarray] = {"horizons": np.asarray(config.horizons), "etas": _etas(config)}
    for prefix, kind in (("t_", "horizon"), ("e_", "size")):
        arrays |= {prefix + name: np.stack([part[name] for part in of[kind]]) for name in of[kind][0]}
    arrays |= {f"line_{name}": array for name, array in of["line"][0].items()}
    arrays |= {name: np.stack([part[part_name] for part in of["arm"]]) for name, part_name in _PATHS.items()}
    arrays |= {"gaps": np.stack([part["gaps"] for part in of["limit"]], axis=1)}
    arrays |= {name: np.stack([part[name] for part in of["group"]]) for name in of["group"][0]}
    arrays |= {f"right_{name}": array for name, array in of["signs"][0].items()} | {"scales": _scales()}
    arms = tuple(f"{kind}, {step}" for kind, step in ARMS)
    names: dict[str, Any] = {"line_t_slopes": (KINDS,), "line_e_slopes": (KINDS,), "path": (arms,), "best": (arms,)}
    names |= {f"{p}{name}": (None, KINDS) for p in ("t_", "e_") for name in ("exact", "engine", "plain", "limit")}
    names |= {"gaps": (KINDS,)}
    units = {"etas": "1/curvature", "t_engine": "orders of magnitude", "path": "1/curvature"}
    return Table(arrays, units | {"gaps": "orders of magnitude"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """The bound, sizes against the limit, digits kept and lost, and what each way of tuning reaches."""
    arrays = table.arrays
    kept = [(arrays[f"{p}engine"][:, 0] <= arrays[f"{p}bound"] + 1e-9).ravel() for p in ("t_", "e_")]
    error = [np.abs(arrays[f"{p}engine"] - arrays[f"{p}exact"]).max() * _LN10 for p in ("t_", "e_")]
    lost = np.median(np.abs(arrays["t_plain"] - arrays["t_exact"])[-1, [0, 2]], axis=-1)
    sizes = np.median(10 ** arrays["t_engine"][-1], axis=-1)
    longest = f"t = {config.horizons[-1]}"
    plain = f"plain float64, {longest}: orders of magnitude off, median over tasks, the lesser of train and validation"
    checks = [
        none_of("bound", "bound on log train exceeded", np.concatenate(kept)),
        at_most("engine", "engine with exponents against theory: largest relative error", error, 1e-7),
        at_least("plain_float64", plain, lost, 1.0),
    ]
    for kind, size in zip(KINDS, sizes, strict=True):
        checks.append(reported(f"last_{kind}", f"log {kind}, {longest}: |G'|, median over tasks", size))
    checks += _rates(config, arrays)
    return Verdict(
        claim, checks + _limit_checks(config, arrays) + _path_checks(config, arrays) + _shares(config, arrays)
    )


def _rates(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return how fast |G'| vanishes between the last two horizons, over mu^2 (train) and mu (validation) a step.

    mu is taken of the bound, S mu^(2t-1)/T_inf. The train loss is quadratic about its minimum, the validation loss is
    not: there G' falls with the first power.
    """
    fall, of_bound = (np.diff(arrays[name][-2:], axis=0)[0] for name in ("t_engine", "t_bound"))
    span = f"t = {config.horizons[-2]} to {config.horizons[-1]}, median over tasks"
    return [
        between(
            f"rate_{kind}",
            f"log {kind}: rate at which |G'| vanishes over that of mu^{'2' if power == 1 else '1'}, {span}",
            np.median(fall[KINDS.index(kind)] / (power * of_bound)),
            0.95,
            1.05,
        )
        for kind, power in (("train", 1.0), ("validation", 0.5))
    ]


def _limit_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return the limit at t = 400, derived beforehand with other code, and how samples tend to it at equal t."""
    at = config.horizons.index(400)
    known = {"train": (4.5e-23, 0.02), "excess": (0.187, 0.01), "validation": (4.5e-13, 0.02)}
    found = []
    for size, (kind, (value, share)) in zip(10 ** arrays["t_limit"][at], known.items(), strict=True):
        said = f"{value:g} within {share:.0%}"
        ends = value * (1 - share), value * (1 + share)
        found.append(between(f"limit_{kind}", f"log {kind}, limit, t = 400: |G'|", size, *ends, said=said))
    when = f"t = {config.limit_steps}"
    for kind, gaps in zip(KINDS, arrays["gaps"], strict=True):
        what = f"log {kind}, {when}: mean over samples of log10 |G'| over the limit, extrapolated in 1/d (99.9 %)"
        value, ends = extrapolated(config.dims, gaps, _LEVEL)
        found.append(agrees(f"tends_{kind}", what, value, 0.0, ends, _SECOND))
    for kind, gaps in zip(KINDS, arrays["gaps"], strict=True):
        what = f"log {kind}, {when}: scatter of samples at d = {config.dims[-1]} over that at d = {config.dims[0]}"
        value, ends = narrowing(gaps)
        found.append(at_most(f"narrows_{kind}", what, value, 1.0, ends))
    return found


def _path_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    edge = float(marchenko_pastur.edges(GAMMA)[0])
    least = edge / (1 - config.eta * edge)  # half of 2 s_-/(1 - eta s_-), to which |G'| tends
    ends = arrays["path"][:, -1]
    away = np.abs(arrays["best"] - config.start)
    stuck = (np.abs(ends - config.start) / away)[[0, 2]]
    within, off = _two_steps(config), np.abs(ends - arrays["best"])
    way = "share of the way that gradient steps go on log train and log validation, the larger"
    return [
        at_least(
            "excess_least", "|G'| of log excess: least over horizons and tasks", 10 ** arrays["t_engine"][:, 1], least
        ),
        at_most("gradient_steps", way, stuck, 0.05),
        at_most(
            "excess_steps",
            "log excess, gradient steps: relative error of the step size",
            off[1] / arrays["best"][1],
            0.1,
        ),
        at_most("sign_steps", "sign steps on log validation: distance to the minimum downhill", off[3], within),
    ]


def _shares(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return how many groups each way of stepping brings to the minimum, and how many signs are right."""
    within = _two_steps(config)
    near = f"share of {config.groups} groups within {within:.2g} of the minimum downhill"
    sign, fixed, tossed = _near(arrays["sign_off"], within), _near(arrays["fixed_off"], within), arrays["tossed"]
    best = fixed[:, np.argmax(fixed.mean(axis=0))]  # NaN is the largest
    margin = sign - best
    at = f"t = {config.steps}, eta = {config.eta:g}: share of right signs"
    hindsight = "best fixed outer step size in hindsight"
    return [
        at_least("sign_share", f"sign steps: {near}", *_share(sign, 0.5)),
        reported("fixed_share", f"{hindsight}: {near}", best.mean()),
        at_least(
            "fixed_margin",
            f"sign steps over {hindsight}: more of the groups, mean",
            margin.mean(),
            0.25,
            mean_interval(margin),
        ),
        at_most("tossed_share", f"tossed signs: {near}, mean", tossed.mean(), 0.2, mean_interval(tossed)),
        at_least("signs_scaled", f"scaled float32, {at}", *_share(arrays["right_scaled"], 0.9)),
        at_most("signs_plain", f"plain float32, {at}", *_share(arrays["right_plain"], 0.85)),
    ]


def _near(off: np.ndarray, within: float) -> np.ndarray:
    """Return 1 where a distance is small, else 0, and NaN where it is no number."""
    return np.where(np.isnan(off), np.nan, off <= within)


def _share(mask: np.ndarray, bound: float) -> tuple[float, float, tuple[float, float]]:
    """Return the share of cases that are 1, a bound, and the share's interval; NaN where a case is no number."""
    share = float(np.mean(mask))
    return share, bound, (np.nan, np.nan) if np.isnan(share) else share_interval(mask)
