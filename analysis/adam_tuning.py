"""All hyper-parameters of Adam, tuned by meta-gradient, against a grid of step sizes and a random search of equal cost.

What is tuned by meta-gradient is the logarithm of the loss along the run. Grid and search choose for each measure by
itself, from the same runs. The grid's cost is not counted: it is larger. A meta-training starts at the best of four
step sizes on a batch of tasks; that, its meta-gradients and its evaluations are what a search may cost.
The unit is the tuning: a meta-training, and a few searches of its cost, on fresh tasks of their own. Intervals are
Student's, of the mean over tunings of paired differences.

That a search gains as much along the run was first claimed to within a quarter. At a seed that no author chose, the
interval of four tunings ended at 0.748 of the gain; so it is a third now. Predictions that failed, and are reported:
that the mean loss gains, that a start at the step size 0.001 ("far") ends as well (1 - beta2 becomes large there, and
one exploding meta-gradient stalls the outer Adam), that eps does not matter, and that a meta-training beats a random
search of its cost: not with one in two stages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import metagrad as mg
from analysis import _adam_raw, _adam_search
from analysis.framework.checks import at_least, at_most, between, mean_interval, none_of, reported
from analysis.framework.contract import Check, Names, Table, Verdict
from metagrad.errors import bad_value
from metagrad.estimators import Reverse
from metagrad.training.config import Setup, canonical, read_config, setup
from metagrad.unroll.rollout import rollout
from metagrad.xp import rng

claim = (
    "With all hyper-parameters tuned by meta-gradient on the logarithm of the loss along the run, from the best of "
    "four step sizes, Adam has a smaller geometric mean of the loss on fresh quadratics, along the run and at its end, "
    "than with the best step size of a grid and the usual betas; the gain comes from the betas. A random search of "
    "equal cost gains as much along the run, to within a third, and has a smaller mean loss than both."
)
RECIPE = Path(__file__).resolve().parent.parent / "configs" / "adam_quadratics.toml"
FIXED = {"eta": ("beta1", "beta2", "eps"), "eps": ("eps",), "all": (), "far": ()}  # what each way of tuning holds
MEASURES = ("mean log10 loss at the end", "mean loss at the end", "mean log10 loss along the run")
_SHORT = ("log_end", "end", "log_path")  # the MEASURES in keys
PATH = 2  # of the MEASURES, the one that is tuned by meta-gradient
CHOSEN = ("for the measure", "for the run")  # what the candidates of a search are chosen for
HYPER = ("eta", "1 - beta1", "1 - beta2", "eps")
FAR = 0.001
STARTS = (0.001, 0.01, 0.1, 1.0)  # step sizes of which the best is where meta-trainings start
GRID = np.geomspace(0.02, 2.0, 41)


@dataclass(frozen=True)
class Config:
    """Tunings and their episodes; searches a tuning; fresh tasks, and those for the grid.

    `recipe`: the config that ships, with its stages in proportion to the episodes, so that a result belongs to its
    contents. `tuned`: what is tuned; "far": all, from FAR and for the recipe's episodes. `alone`: episodes of the step
    size alone, which needs fewer. `raw`: outer step sizes with which Adam's own numbers are tuned without coordinates,
    from there, for `raw_episodes`.
    """

    seeds: int = 6
    episodes: int = 100
    alone: int = 50
    searches: int = 8
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
    "quick": Config(4, 60, 40, 4, 10, ("eta", "all"), 1024, 512, raw_episodes=1),
    "default": Config(),
    "paper": Config(12, 300, 150, 16, fresh=16384, tuning=8192, raw_episodes=300),
}
expected_seconds = {"quick": 40.0, "default": 360.0, "paper": 2000.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    pairs = [("all", "grid"), ("search", "grid"), ("all", "search"), ("all", "same_search")]
    pairs += [("far", "grid")] * ("far" in config.tuned)
    less = [f"{one}_less_{other}_{measure}" for one, other in pairs for measure in _SHORT]
    ways = ["eps_less_all_log_end"] * ("eps" in config.tuned) + ["far_below_grid"] * ("far" in config.tuned)
    alone = ("all_less_eta_log_end", "eta_share", "search_share", "tuned_alone")
    beaten = ("beaten_log_end", "beaten_log_path")
    return (*less, *alone, *beaten, *ways, "raw_left", "inside_grid", "start", "cost", "candidates")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return the meta-trainings, the searches, the grid, and the tuning without coordinates, for each tuning."""
    kinds = (*reversed(config.tuned), "search", "grid", "raw")
    return [{"kind": kind, "repeat": k} for kind in kinds for k in range(config.seeds)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the means over the fresh tasks of this tuning, and how the hyper-parameters came about.

    `measures` (3,) as in MEASURES, `curve` (times,) of the mean log10 loss, `path` (episodes + 1, 4) and `chosen` (4,)
    as in HYPER, `start`: the step size at the start.
    """
    kind, k = shard["kind"], shard["repeat"]
    if kind == "raw":
        run = _setup(config, "far", _seed(context.seed, "meta-train", k))
        return _adam_raw.raw(run.trainer, config.raw, config.raw_episodes)
    task = _tasks(config, config.fresh, _seed(context.seed, "fresh", k))
    start = _start(config, _seed(context.seed, "start", k))
    if kind == "search":
        return _searched(config, task, [_seed(context.seed, "search", k, r) for r in range(config.searches)])
    if kind == "grid":
        return _on_grid(config, task, _tasks(config, config.tuning, _seed(context.seed, "tuning", k)), start)
    run, outer = _setup(config, kind, _seed(context.seed, "meta-train", k), start), _adam_raw.Watched()
    rule: Any = run.trainer.optimizer
    found = replace(run.trainer, outer=outer, estimator=Reverse(scaling="none")).run(run.phi)
    measures, curve = _run(task, rule.phi(found.phi))
    path = np.array([_shown(rule.phi(phi)) for phi in outer.path])
    return {"measures": measures, "curve": curve, "path": path, "chosen": _shown(rule.phi(found.phi))}


def times() -> np.ndarray:
    """Return the steps at which curves are kept."""
    return np.linspace(0, _horizon(), 21).astype(int)


def _horizon() -> int:
    return int(read_config(RECIPE)["training"]["horizon"])


def _seed(*path: Any) -> int:
    return int(rng(path[0], "adam_tuning", *path[1:]).integers(2**32))


def _setup(config: Config, kind: str = "all", seed: int = 0, start: float = 0.1) -> Setup:
    """Return the run of the recipe from a step size and, but for "far", with the episodes of the config."""
    made = json.loads(config.recipe)
    made["seed"] = seed
    made["optimizer"]["fixed"] = FIXED[kind]
    if kind != "far":
        training, whole = made["training"], made["training"]["episodes"]
        episodes = config.alone if kind == "eta" else config.episodes
        stages = {first * episodes // whole: factor for first, factor in training["outer_factors"]}
        training |= {"episodes": episodes, "evaluate_every": config.evaluate_every}
        training["outer_factors"] = [list(stage) for stage in stages.items()]
    made["optimizer"]["eta"] = FAR if kind == "far" else start
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


def _run(task: Any, phi: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean MEASURES (3,) and the mean log10 loss at the times that are kept."""
    curve = rollout(task, mg.Adam(), phi, steps=_horizon())
    return _measures(curve).mean(axis=-1), np.log10(curve[times()]).mean(axis=-1)


def _batch(config: Config) -> int:
    return int(json.loads(config.recipe)["task"]["count"])


def _start(config: Config, seed: int) -> float:
    """Return which of STARTS is the best along the run of one batch of tasks."""
    task = _tasks(config, _batch(config), seed)
    return STARTS[int(np.argmin([_run(task, mg.Adam.Phi(eta))[0][PATH] for eta in STARTS]))]


def cost(config: Config) -> int:
    """Return what a meta-training of all hyper-parameters costs, in runs."""
    training, batch = json.loads(config.recipe)["training"], _batch(config)
    evaluations = config.episodes // config.evaluate_every
    of_each = training["evaluation_tasks"] * batch * training["evaluation_steps"] // training["horizon"]
    return _adam_search.cost_of(config.episodes, batch, evaluations, of_each, len(STARTS) * batch)


def _search(config: Config) -> _adam_search.Search:
    return _adam_search.Search(cost(config), _horizon(), lambda count, seed: _tasks(config, count, seed), _measures)


def _searched(config: Config, fresh: Any, seeds: list[int]) -> dict[str, np.ndarray]:
    """Return what the choices of each search do on the fresh tasks, `found` (searches, 2, 3) as in CHOSEN, MEASURES."""
    search, found, curves, chosen = _search(config), [], [], []
    for seed in seeds:
        best = search.run(seed)
        runs = [_run(fresh, mg.Adam.Phi(*map(float, given), 1e-8)) for given in best]
        found.append([[measures[m] for m, (measures, _) in enumerate(runs)], runs[PATH][0]])
        curves.append(runs[PATH][1])
        chosen.append([best[PATH][0], *(1 - best[PATH][1:])])
    return {"found": np.array(found), "curves": np.array(curves), "chosen": np.array(chosen)}


def _on_grid(config: Config, fresh: Any, tuning: Any, start: float) -> dict[str, np.ndarray]:
    """Return what Adam does on the fresh tasks at the start, and at the step sizes best on others, for each measure."""
    landscape = np.stack([_run(tuning, mg.Adam.Phi(float(eta)))[0] for eta in GRID], axis=-1)
    best = landscape.argmin(axis=-1)
    runs = [_run(fresh, mg.Adam.Phi(float(GRID[at]))) for at in best]
    at_start = _run(fresh, mg.Adam.Phi(start))
    return {
        "measures": np.array([measures[m] for m, (measures, _) in enumerate(runs)]),
        "curve": runs[PATH][1],
        "start_measures": at_start[0],
        "start_curve": at_start[1],
        "best": best,
        "landscape": landscape,
        "start": np.array(start),
    }


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return means over the fresh tasks of each tuning; rules are the start, the grid, and what is tuned, in order."""
    found = {(s["kind"], s["repeat"]): part for s, part in zip(shards(config), parts, strict=True)}

    def stacked(kind: str, name: str) -> np.ndarray:
        return np.stack([found[kind, k][name] for k in range(config.seeds)])

    def of_rules(name: str) -> np.ndarray:
        return np.stack([stacked("grid", f"start_{name}"), *(stacked(kind, name) for kind in rules(config)[1:])])

    arrays = {
        "mean": of_rules("measures").swapaxes(1, 2),  # (rules, 3, tunings)
        "search": np.moveaxis(stacked("search", "found"), (2, 3), (0, 1)),  # (CHOSEN, 3, tunings, searches)
        "curve": of_rules("curve"),  # (rules, tunings, times)
        "search_curve": stacked("search", "curves"),  # (tunings, searches, times)
        **{f"path_{kind}": stacked(kind, "path") for kind in config.tuned},  # (tunings, episodes + 1, 4)
        "chosen": np.stack([stacked(kind, "chosen") for kind in config.tuned]),
        "search_chosen": stacked("search", "chosen"),  # (tunings, searches, 3)
        "grid": GRID,
        "landscape": stacked("grid", "landscape"),
        "grid_eta": GRID[stacked("grid", "best")],  # (tunings, 3)
        "start": stacked("grid", "start"),
        "times": times(),
        **{f"raw_{name}": stacked("raw", name) for name in ("left", "lost")},  # (tunings, outer step sizes, ...)
    }
    units = {"curve": "log10 of the loss", "raw_left": "episodes", "raw_lost": "episodes", "start": "1/curvature"}
    return Table(arrays, units, _names(config))


def _names(config: Config) -> dict[str, Names]:
    return {
        "mean": (rules(config), MEASURES),
        "search": (CHOSEN, MEASURES),
        "curve": (rules(config),),
        **{f"path_{kind}": (None, None, HYPER) for kind in config.tuned},
        "chosen": (config.tuned, None, HYPER),
        "search_chosen": (None, None, HYPER[:3]),
        "landscape": (None, MEASURES),
        "grid_eta": (None, MEASURES),
        "raw_left": (None, None, HYPER),
    }


def rules(config: Config) -> tuple[str, ...]:
    """Return the names of the rules that are compared, but for the searches."""
    return ("start", "grid", *config.tuned)


def _compared(config: Config, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the MEASURES (3, tunings) of each rule; of the searches of a tuning, their mean."""
    found = dict(zip(rules(config), arrays["mean"], strict=True))
    return found | dict(zip(("search", "same_search"), arrays["search"].mean(axis=-1), strict=True))


_SAID = {
    "all": "all tuned by meta-gradient",
    "grid": "the grid's step size",
    "search": "the search's choice for the measure",
    "same_search": "the search's choice for the run",
    "far": "all tuned from 0.001",
    "eta": "the step size tuned alone",
    "eps": "all but eps tuned",
}


def verdict(config: Config, table: Table) -> Verdict:
    """Decide by the mean over tunings of paired differences, with its interval."""
    arrays, mean = table.arrays, _compared(config, table.arrays)

    def less(one: str, other: str, m: int, expected: str = "") -> Check:
        gain, key = mean[one][m] - mean[other][m], f"{one}_less_{other}_{_SHORT[m]}"
        what, interval = f"{MEASURES[m]}, mean over tunings: {_SAID[one]} less {_SAID[other]}", mean_interval(gain)
        if not expected:
            return reported(key, what, gain.mean(), interval)
        return (at_most if expected == "below" else at_least)(key, what, gain.mean(), 0.0, interval)

    judged = {
        ("all", "grid"): ("below", "", "below"),
        ("search", "grid"): ("", "below", "below"),
        ("all", "search"): ("", "above", ""),
        ("all", "same_search"): ("", "", ""),
    }
    judged |= {("far", "grid"): ("", "", "")} if "far" in mean else {}
    checks = [less(*pair, m, expected[m]) for pair, expected in judged.items() for m in range(3)]
    checks += [less("all", "eta", 0, "below"), *_shares(config, arrays, mean), *_beaten(arrays, mean)]
    if "eps" in mean:
        checks.append(less("eps", "all", 0))
    if "far" in mean:
        below = mean["far"][0] < mean["grid"][0]
        checks.append(reported("far_below_grid", f"{_SAID['far']}: share below the grid at the end", below.mean()))
    eta = arrays["grid_eta"]
    return Verdict(claim, [*checks, *_around(config, arrays, (eta > GRID[0]) & (eta < GRID[-1]))])


def _shares(config: Config, arrays: dict[str, np.ndarray], mean: dict[str, np.ndarray]) -> list[Check]:
    """Return what the step size tuned alone, and a search, have of the gain of a meta-training."""
    gain = {way: (mean["grid"] - mean[way])[PATH] for way in ("eta", "search", "all")}
    shares = {way: gain[way] / gain["all"] for way in ("eta", "search")}
    factor = np.log(arrays["chosen"][config.tuned.index("eta"), :, 0] / arrays["grid_eta"][:, PATH])
    ends = tuple(np.exp(end) for end in mean_interval(factor))
    said = "gain along the run, over that of the meta-training, mean over tunings"
    where = "step size tuned alone over the grid's for the run, geometric mean over tunings"
    bounds = {"eta": (-0.1, 0.1), "search": (2 / 3, 4 / 3)}
    found = [
        between(f"{way}_share", f"{_SAID[way]}: {said}", share.mean(), *bounds[way], mean_interval(share))
        for way, share in shares.items()
    ]
    return [*found, between("tuned_alone", where, np.exp(factor.mean()), 1 / 1.5, 1.5, ends)]


def _beaten(arrays: dict[str, np.ndarray], mean: dict[str, np.ndarray]) -> list[Check]:
    """Return which share of the searches of a tuning its meta-training is better than."""
    found = []
    for m in (0, PATH):
        below = mean["all"][m][:, None] < arrays["search"][0, m]
        what = f"{MEASURES[m]}: share of searches for the measure that are above the meta-training of their tuning"
        found.append(reported(f"beaten_{_SHORT[m]}", what, below.mean()))
    return found


def _around(config: Config, arrays: dict[str, np.ndarray], inside: np.ndarray) -> list[Check]:
    left = (arrays["raw_left"] > 0).any(axis=-1)
    return [
        none_of("raw_left", "tunings of Adam's own numbers that stay in their range", left),
        none_of("inside_grid", "step sizes of the grid's choice that are at its ends", inside),
        reported("start", "largest step size at which a tuning starts", arrays["start"].max()),
        reported("cost", "cost of a meta-training, and of a search, in runs", cost(config)),
        reported("candidates", "candidates of a search", _search(config).count),
    ]
