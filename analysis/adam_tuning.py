"""All hyper-parameters of Adam, tuned by meta-gradient, against a search over step sizes.

The checks were written before the default size was run, then from the step size 0.001 only ("far"). There most
meta-trainings end above the grid: 1 - beta2 becomes large, and one exploding meta-gradient stalls the outer Adam. The
default was then changed to a start near the grid's step size, until then that of the quick preset. In the mean loss,
which the hardest tasks decide, neither gains: it is the logarithm that is tuned. Three predictions failed thus (the
mean loss, the far start, that eps does not matter); they are measured, and no longer decide.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom, norm

import metagrad as mg
from analysis.framework.contract import Check, Names, Table, Verdict
from metagrad.errors import bad_value
from metagrad.estimators import Reverse
from metagrad.protocols import Tree, View
from metagrad.training import NonFiniteError
from metagrad.training.config import Setup, canonical, read_config, setup
from metagrad.unroll.rollout import rollout
from metagrad.xp import rng

claim = (
    "With all hyper-parameters tuned by meta-gradient from a start near it, Adam has a smaller geometric mean of the "
    "loss on fresh quadratics than with the best step size of a grid and the usual rest; the gain comes from the "
    "betas, since the step size tuned alone ends as good as the grid's. The mean loss gains nothing."
)
RECIPE = Path(__file__).resolve().parent.parent / "configs" / "adam_quadratics.toml"
FIXED = {"eta": ("beta1", "beta2", "eps"), "eps": ("eps",), "all": (), "far": ()}  # what each way of tuning holds
MEASURES = ("mean log10 loss at the end", "mean loss at the end", "mean log10 loss along the run")
_SHORT = ("log_end", "end", "log_path")  # the MEASURES in keys
HYPER = ("eta", "1 - beta1", "1 - beta2", "eps")
FAR = 0.001
GRID = np.geomspace(0.02, 2.0, 41)


@dataclass(frozen=True)
class Config:
    """Meta-trainings and their episodes; the step size at which they start; fresh tasks, and those for the grid.

    `recipe`: the config that ships, with its stages in proportion to the episodes, so that a result belongs to its
    contents. `tuned`: what is tuned; "far": all, from FAR and for the recipe's episodes. `raw`: outer step
    sizes with which Adam's own numbers are tuned without coordinates, from there, for `raw_episodes`.
    """

    seeds: int = 6
    episodes: int = 100
    eta: float = 0.1
    evaluate_every: int = 5
    tuned: tuple[str, ...] = ("eta", "eps", "all", "far")
    fresh: int = 4096
    tuning: int = 2048
    raw: tuple[float, ...] = (0.1, 0.01, 0.001)
    raw_episodes: int = 40
    recipe: str = field(default_factory=lambda: canonical(read_config(RECIPE)))

    def __post_init__(self) -> None:
        """Check what is tuned: the checks need both."""
        if not {"eta", "all"} <= set(self.tuned) <= set(FIXED):
            bad_value("adam_tuning", "tuned", self.tuned, f"'eta' and 'all', of {tuple(FIXED)}")


presets = {
    "quick": Config(2, 60, 0.1, 10, ("eta", "all"), 2048, 512, raw_episodes=1),
    "default": Config(),
    "paper": Config(12, 300, fresh=16384, tuning=8192, raw_episodes=300),
}
expected_seconds = {"quick": 20.0, "default": 350.0, "paper": 1800.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    ways = ["all"] + ["far"] * ("far" in config.tuned)
    less = [f"{one}_less_grid_{measure}" for one in ways for measure in _SHORT]
    eps = ["eps_from_all"] * ("eps" in config.tuned)
    return (*less, "all_less_eta_log_end", "eta_from_grid", "tuned_alone", *eps, "raw_left", "inside_grid")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return the meta-trainings, the search on a grid, and the tuning without coordinates, for each seed."""
    kinds = (*reversed(config.tuned), "grid", "raw")
    return [{"kind": kind, "repeat": k} for kind in kinds for k in range(config.seeds)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the losses on the fresh tasks of this seed, and how the hyper-parameters came about.

    `measures` (3, tasks) as in MEASURES, `curves` (times, tasks), `path` (episodes + 1, 4) and `chosen` (4,) as in
    HYPER.
    """
    kind, k = shard["kind"], shard["repeat"]
    if kind == "raw":
        return _raw(config, _seed(context.seed, "meta-train", k))
    task = _tasks(config, config.fresh, _seed(context.seed, "fresh", k))
    horizon = _setup(config).trainer.recipe.horizon
    if kind == "grid":
        return _search(config, task, _tasks(config, config.tuning, _seed(context.seed, "tuning", k)), horizon)
    run, outer = _setup(config, kind, _seed(context.seed, "meta-train", k)), _Watched()
    rule: Any = run.trainer.optimizer
    found = replace(run.trainer, outer=outer, estimator=Reverse(scaling="none")).run(run.phi)
    curve = rollout(task, rule, found.phi, steps=horizon)
    return {
        "measures": _measures(curve),
        "curves": curve[times(horizon)].astype(np.float32),
        "path": np.array([_shown(rule.phi(phi)) for phi in outer.path]),
        "chosen": _shown(rule.phi(found.phi)),
    }


def times(horizon: int) -> np.ndarray:
    """Return the steps at which curves are kept."""
    return np.linspace(0, horizon, min(20, horizon) + 1).astype(int)


@dataclass(frozen=True)
class _Watched:
    """The outer Adam, which keeps where it has been."""

    path: list[Tree] = field(default_factory=list)

    def init(self, phi: Any, w: Tree) -> Tree:
        self.path.append(w)
        return mg.Adam().init(phi, w)

    def step(self, phi: Any, state: Any, w: Tree, f: View) -> tuple[Tree, Tree]:
        moved, state = mg.Adam().step(phi, state, w, f)
        self.path.append(moved)
        return moved, state


def _seed(*path: Any) -> int:
    return int(rng(path[0], "adam_tuning", *path[1:]).integers(2**32))


def _setup(config: Config, kind: str = "all", seed: int = 0) -> Setup:
    """Return the run of the recipe with the start of the config and, but for "far", its episodes."""
    made = json.loads(config.recipe)
    made["seed"] = seed
    made["optimizer"]["fixed"] = FIXED[kind]
    if kind != "far":
        training, whole = made["training"], made["training"]["episodes"]
        stages = {first * config.episodes // whole: factor for first, factor in training["outer_factors"]}
        training |= {"episodes": config.episodes, "evaluate_every": config.evaluate_every}
        training["outer_factors"] = [list(stage) for stage in stages.items()]
    made["optimizer"]["eta"] = FAR if kind == "far" else config.eta
    return setup(made)


def _tasks(config: Config, count: int, seed: int) -> Any:
    made = json.loads(config.recipe)
    made["task"]["count"] = count
    return setup(made).trainer.tasks(seed)


def _shown(phi: Any) -> np.ndarray:
    eta, beta1, beta2, eps = (float(x) for x in phi)
    return np.array([eta, 1 - beta1, 1 - beta2, eps])


def _measures(curve: np.ndarray) -> np.ndarray:
    """Return the MEASURES of each task (3, tasks); a run that left the range of floats counts as inf."""
    curve = np.where(np.isnan(curve), np.inf, curve)
    logs = np.log10(curve)
    return np.stack([logs[-1], curve[-1], logs[1:].mean(axis=0)])


def _search(config: Config, fresh: Any, tuning: Any, horizon: int) -> dict[str, np.ndarray]:
    """Return what Adam does on the fresh tasks at the start, and at the step sizes best on others, for each measure."""

    def run(task: Any, eta: float) -> np.ndarray:
        return rollout(task, mg.Adam(), mg.Adam.Phi(float(eta)), steps=horizon)

    landscape = np.stack([_measures(run(tuning, eta)).mean(axis=-1) for eta in GRID], axis=-1)
    best = landscape.argmin(axis=-1)
    start, ends = run(fresh, config.eta), [run(fresh, GRID[at]) for at in best]
    kept = times(horizon)
    return {
        "measures": np.stack([_measures(end)[m] for m, end in enumerate(ends)]),
        "curves": ends[0][kept].astype(np.float32),
        "start_measures": _measures(start),
        "start_curves": start[kept].astype(np.float32),
        "best": best,
        "landscape": landscape,
    }


def _raw(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Return, for each outer step size, what becomes of Adam's own numbers: counts of episodes, 0 for never.

    `left` (outer step sizes, 4): after which each hyper-parameter is first out of its range; `lost`: the first whose
    meta-gradient is inf or NaN.
    """
    run, found = _setup(config, "far", seed), []
    rule: Any = run.trainer.optimizer
    # Trainer would bring Adam's own numbers back into their ranges: here nothing does.
    free = mg.Unconstrained(mg.Adam(), rule.start, maps=dict.fromkeys(mg.Adam.Phi._fields, "identity"))
    for eta in config.raw:
        outer, rows = _Watched(), []
        recipe = replace(run.trainer.recipe, episodes=config.raw_episodes)
        kept = {"outer": outer, "outer_phi": mg.Adam.Phi(eta), "estimator": Reverse(scaling="none")}
        trainer = replace(run.trainer, optimizer=free, recipe=recipe, **kept)
        with suppress(NonFiniteError):  # it is what was asked
            trainer.run(free.init_meta(None), progress=rows.append)
        path = np.array([[float(x) for x in phi] for phi in outer.path])
        out = ~(path > 0)
        out[:, 1:3] = ~((path[:, 1:3] >= 0) & (path[:, 1:3] < 1))
        lost = [row["episode"] + 1 for row in rows if row["nonfinite"]]
        found.append((out.argmax(axis=0), lost[0] if lost else 0))  # the start is within
    left, lost_at = zip(*found, strict=True)
    return {"left": np.array(left), "lost": np.array(lost_at)}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return means, paired intervals and medians; rules are the start, the grid, and what is tuned, in that order.

    `gain` (rules, rules, 3, seeds, 2): 95 % interval over the fresh tasks of the mean difference of two rules, for
    each seed. `geometric_interval`, `median_interval`: the ends of the intervals of all seeds that are furthest apart,
    normal in the logarithm and exact. Such a range over n seeds holds the median over meta-trainings with probability
    1 - 2^(1 - n): 97 % for 6.
    """
    found = {(s["kind"], s["repeat"]): part for s, part in zip(shards(config), parts, strict=True)}
    seeds = range(config.seeds)

    def stacked(kind: str, name: str) -> np.ndarray:
        return np.stack([found[kind, k][name] for k in seeds])

    measures = np.stack([stacked("grid", "start_measures"), *(stacked(kind, "measures") for kind in rules(config)[1:])])
    curves = np.stack([stacked("grid", "start_curves"), *(stacked(kind, "curves") for kind in rules(config)[1:])])
    low, high = _median_interval(curves)
    logs = np.log10(curves.astype(np.float64))
    spread = _interval(logs)
    arrays = {
        "mean": measures.mean(axis=-1).swapaxes(1, 2),  # (rules, 3, seeds)
        "gain": np.stack([[_interval(a - b).swapaxes(0, 1) for b in measures] for a in measures]),
        "geometric": 10 ** logs.mean(axis=(1, 3)),  # (rules, times)
        "geometric_interval": 10 ** np.stack([spread[..., 0].min(axis=1), spread[..., 1].max(axis=1)]),
        "median": np.median(curves.swapaxes(1, 2).reshape(*curves.shape[:3:2], -1), axis=-1),
        "median_interval": np.stack([low.min(axis=1), high.max(axis=1)]),
        **{f"path_{kind}": stacked(kind, "path") for kind in config.tuned},  # (seeds, episodes + 1, 4)
        "chosen": np.stack([stacked(kind, "chosen") for kind in config.tuned]),
        "grid": GRID,
        "landscape": stacked("grid", "landscape"),
        "grid_eta": GRID[stacked("grid", "best")],  # (seeds, 3)
        "times": times(_setup(config).trainer.recipe.horizon),
        **{f"raw_{name}": stacked("raw", name) for name in ("left", "lost")},  # (seeds, outer step sizes, ...)
    }
    units = {"geometric": "loss", "median": "loss", "raw_left": "episodes", "raw_lost": "episodes"}
    return Table(arrays, units, _names(config))


def _names(config: Config) -> dict[str, Names]:
    compared, ends = rules(config), ("low", "high")
    return {
        "mean": (compared, MEASURES),
        "gain": (compared, compared, MEASURES, None, ends),
        "geometric": (compared,),
        "geometric_interval": (ends, compared),
        "median": (compared,),
        "median_interval": (ends, compared),
        **{f"path_{kind}": (None, None, HYPER) for kind in config.tuned},
        "chosen": (config.tuned, None, HYPER),
        "landscape": (None, MEASURES),
        "grid_eta": (None, MEASURES),
        "raw_left": (None, None, HYPER),
    }


def rules(config: Config) -> tuple[str, ...]:
    """Return the names of the rules that are compared."""
    return ("start", "grid", *config.tuned)


def _interval(x: np.ndarray) -> np.ndarray:
    """Return the 95 % interval (..., 2) of the mean over the last axis, the tasks; unbounded where a run was lost."""
    with np.errstate(invalid="ignore"):
        mean, error = x.mean(axis=-1), x.std(axis=-1, ddof=1) / np.sqrt(x.shape[-1])
    ends = np.stack([mean - norm.ppf(0.975) * error, mean + norm.ppf(0.975) * error], axis=-1)
    return np.where(np.isfinite(ends), ends, [-np.inf, np.inf])


def _median_interval(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact 95 % interval of the median over the last axis."""
    count = curves.shape[-1]
    below = max(int(binom.ppf(0.025, count, 0.5)) - 1, 0)
    ordered = np.sort(curves, axis=-1)
    return ordered[..., below], ordered[..., count - 1 - below]


def verdict(config: Config, table: Table) -> Verdict:
    """Decide in each meta-training by itself, on its own fresh tasks: the least favourable end of all intervals."""
    arrays, names = table.arrays, rules(config)

    def ends(one: str, other: str, measure: int) -> np.ndarray:
        found: np.ndarray = arrays["gain"][names.index(one), names.index(other), measure]
        return found

    def less(one: str, other: str, measure: int) -> Check:
        most, judged = float(ends(one, other, measure)[:, 1].max()), one == "all" and measure != 1
        what = f"{MEASURES[measure]}: {one} less {other}, to at most"
        return Check(
            f"{one}_less_{other}_{_SHORT[measure]}", what, most, "< 0" if judged else "measured", not judged or most < 0
        )

    def same(one: str, other: str) -> Check:
        most, judged = float(np.abs(ends(one, other, 0)).max()), one == "eta"
        what = f"{MEASURES[0]}: {one} from {other}, to at most"
        return Check(f"{one}_from_{other}", what, most, "<= 0.05" if judged else "measured", not judged or most <= 0.05)

    alone = arrays["chosen"][config.tuned.index("eta"), :, 0]
    factor = float(np.exp(np.abs(np.log(alone / arrays["grid_eta"][:, 0])).max()))
    inside = float(np.mean((arrays["grid_eta"] > GRID[0]) & (arrays["grid_eta"] < GRID[-1])))
    left = float(np.mean((arrays["raw_left"] > 0).any(axis=-1)))
    checks = [less(one, "grid", m) for one in ("all", "far") if one in names for m in range(3)]
    checks += [less("all", "eta", 0), same("eta", "grid")]
    checks += [
        Check(
            "tuned_alone", "step size tuned alone against the grid's, largest factor", factor, "<= 1.5", factor <= 1.5
        )
    ]
    checks += [same("eps", "all")] if "eps" in names else []
    checks += [
        Check("raw_left", "tunings of Adam's own numbers that leave their range, share", left, "1", left == 1),
        Check("inside_grid", "step sizes of the grid's choice that are inside of it, share", inside, "1", inside == 1),
    ]
    return Verdict(claim, checks)
