"""Trained LSTMs on fresh quadratics: against tuned optimizers, all fixed schedules, and rules that read the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from analysis import _resampled_tasks as resampled
from analysis._quadratic_rules import BASELINES, Tasks, best, inf_where_lost
from analysis._quadratic_solvers import barzilai_borwein, conjugate_gradients, least_of_schedules, spectra
from analysis.framework import checks
from analysis.framework.contract import Check, Names, Table, Verdict
from metagrad.errors import bad_value
from metagrad.training.config import setup
from metagrad.training.trained import load_trained
from metagrad.unroll.rollout import rollout
from metagrad.xp import rng

claim = (
    "On fresh quadratics each of three coordinate-wise LSTMs, meta-trained for 100 steps from other seeds, has a "
    "smaller mean loss after them, and from the tenth on, than any fixed schedule of step sizes and momenta can have, "
    "chosen in hindsight on those very quadratics, and after 100 steps than RMSprop, Adagrad and Adam with all "
    "hyper-parameters so chosen from a grid (Andrychowicz et al. 2016, section 3.1); not all rules that read "
    "the task are beaten: conjugate gradients solve it, and Barzilai and Borwein's steps are ahead on most tasks; the "
    "worst 5 % of the tasks have most of the mean"
)
TRAINED = {"LSTM": "lstm_quadratics", "LSTM, seed 1": "lstm_quadratics_seed1", "LSTM, seed 2": "lstm_quadratics_seed2"}
LSTMS, TUNED = tuple(TRAINED), tuple(BASELINES)
BOUND, CG, BB = "best schedule", "conjugate gradients", "Barzilai-Borwein"
RULES = (*LSTMS, *TUNED, BOUND, CG, BB)
CHOSEN = tuple(f"{name}: {parameter}" for name, rule in BASELINES.items() for parameter in rule.grid)
WORST = 0.05  # of the tasks
_ENDS = ("low", "high")
_STREAM = "lstm_quadratics"


@dataclass(frozen=True)
class Config:
    """Draws of tasks (128 each) to tune on, and fresh ones to compare on; the last step of the curves."""

    tuning: int = 40
    fresh: int = 40
    trained_steps: int = 100
    steps: int = 400

    def __post_init__(self) -> None:
        """Check that the curves are long enough."""
        if not 1 <= self.trained_steps <= self.steps:
            bad_value("lstm_quadratics", "trained_steps", self.trained_steps, f"1 to steps = {self.steps}")


presets = {"quick": Config(6, 12, 100, 150), "default": Config(), "paper": Config(100, 200, 100, 400)}
expected_seconds = {"quick": 14.0, "default": 90.0, "paper": 1000.0}


def shards(config: Config) -> list[dict[str, Any]]:
    """Return the rules, one each."""
    return [{"rule": name} for name in RULES]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the losses (steps + 1, tasks) on the fresh tasks, of a baseline with what is best on the tuning tasks.

    Of baselines also `chosen`, their hyper-parameters, whether those lie `inside` of their grids, and `hindsight`, the
    losses after the trained horizon with the hyper-parameters that are best on the fresh tasks.
    """
    name, fresh = shard["rule"], _tasks("fresh", config.fresh, context.seed)
    if name in TRAINED:
        trained = load_trained(TRAINED[name])
        return {"curves": rollout(fresh.task, trained.optimizer, trained.phi, steps=config.steps)}
    if name == BOUND:
        return {"curves": least_of_schedules(*spectra(fresh.task), config.steps)}
    if name in (CG, BB):
        return {"curves": (conjugate_gradients if name == CG else barzilai_borwein)(fresh.task, config.steps)}
    rule, ends = BASELINES[name], None
    tuning = rule.ends(_tasks("tuning", config.tuning, context.seed), config.trained_steps)
    point, ends = rule.points[best(tuning)], rule.ends(fresh, config.trained_steps)
    found = {"chosen": point, "inside": rule.inside(point), "hindsight": ends[best(ends)]}
    return found | {"curves": rule.losses(fresh, point, config.steps)}


def _tasks(stream: str, count: int, seed: int) -> Tasks:
    draw = setup(load_trained(TRAINED["LSTM"]).config).trainer.tasks
    return Tasks.of([draw(int(rng(seed, _STREAM, stream, k).integers(2**62))) for k in range(count)])


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return mean and median losses over the fresh tasks, ratios of means, and shares of tasks, with 95 % intervals.

    A run that left the range of floats has the loss inf. Intervals of means, of ratios of means and of `worst` are
    those of a bootstrap over tasks, the same draws for all rules: a few tasks have most of the mean. Those of medians
    are exact.
    """
    curves = np.stack([inf_where_lost(part["curves"]) for part in parts])  # (rules, steps + 1, tasks)
    tuned = [part for part in parts if "chosen" in part]
    count, times = curves.shape[-1], times_of(config)
    drawn = resampled.draws(_STREAM, count)
    hindsight = np.stack([part["hindsight"] for part in tuned])
    at, at_best = resampled.means(curves[:, times], drawn), resampled.means(hindsight, drawn)
    arrays = {
        "mean": curves.mean(axis=-1),
        "median": np.median(curves, axis=-1),
        "times": times,
        "interval": resampled.interval(at),
        "median_interval": _median_interval(curves[:, times]),
        "lost": np.isinf(curves[:, -1]).sum(axis=-1),
        "hindsight": hindsight.mean(axis=-1),
        "hindsight_interval": resampled.interval(at_best),
        "chosen": np.concatenate([part["chosen"] for part in tuned]),
        "inside": np.concatenate([part["inside"] for part in tuned]),
        "tasks": np.array(count),
    }
    now = list(times).index(config.trained_steps)
    arrays |= _ratios(arrays["mean"][:, times], at, arrays["hindsight"], at_best, now)
    return Table(arrays | _by_task(curves[:, config.trained_steps], drawn), {"mean": "loss", "median": "loss"}, _NAMES)


def times_of(config: Config) -> np.ndarray:
    """Return the times at which there are intervals, the trained horizon among them."""
    return np.unique([*np.linspace(min(10, config.steps), config.steps, 10).astype(int), config.trained_steps])


def _ratios(mean: np.ndarray, at: np.ndarray, best_mean: np.ndarray, at_best: np.ndarray, now: int) -> dict[str, Any]:
    """Return the means of the LSTMs over those of others: mean (rules, times), `at` in each resample besides."""
    found = {}
    lstms, tuned, bound = len(LSTMS), [RULES.index(name) for name in TUNED], RULES.index(BOUND)
    for name, pair, resamples in (
        ("over_bound", (mean[:lstms], mean[bound]), (at[:lstms], at[bound])),
        ("over_tuned", (mean[:lstms, None, now], mean[tuned, now]), (at[:lstms, None, now], at[tuned, now])),
        ("over_hindsight", (mean[:lstms, None, now], best_mean), (at[:lstms, None, now], at_best)),
    ):
        found[name] = resampled.over(*pair)
        found[f"{name}_interval"] = resampled.interval(resampled.over(*resamples))
    return found


def _by_task(ends: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Return on how many tasks a rule is below each LSTM, and the share of the worst tasks: `ends` (rules, tasks)."""
    lstms, once = ends[: len(LSTMS)], np.ones((ends.shape[-1], 1), dtype=int)
    return {
        "ahead": (ends[:, None] < lstms).sum(axis=-1),
        "worst": np.concatenate([resampled.share_of_worst(x, once, WORST) for x in lstms]),
        "worst_interval": np.stack(
            [resampled.interval(resampled.share_of_worst(x, drawn, WORST)) for x in lstms], axis=-1
        ),
    }


def _median_interval(losses: np.ndarray) -> np.ndarray:
    """Return the 95 % interval (2, ...) of the median over the last axis, exact for every law of the losses."""
    count = losses.shape[-1]
    below = int(binom.ppf(0.025, count, 0.5))  # as many tasks as this may lie below the median, or above it
    ranks = np.array([max(below - 1, 0), min(count - below, count - 1)])
    return np.moveaxis(np.sort(losses, axis=-1)[..., ranks], -1, 0)


_NAMES: dict[str, Names] = dict.fromkeys(("mean", "median", "lost"), (RULES,))
_NAMES |= {"interval": (_ENDS, RULES), "median_interval": (_ENDS, RULES), "ahead": (RULES, LSTMS)}
_NAMES |= {"hindsight": (TUNED,), "hindsight_interval": (_ENDS, TUNED), "chosen": (CHOSEN,), "inside": (CHOSEN,)}
_NAMES |= {"over_bound": (LSTMS,), "over_bound_interval": (_ENDS, LSTMS)}
_NAMES |= {f"over_{how}": (LSTMS, TUNED) for how in ("tuned", "hindsight")}
_NAMES |= {f"over_{how}_interval": (_ENDS, LSTMS, TUNED) for how in ("tuned", "hindsight")}
_NAMES |= {"worst": (LSTMS,), "worst_interval": (_ENDS, LSTMS)}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    decided = (
        "below_schedules",
        "below_schedules_before",
        "bound_of_theory",
        "below_tuned",
        "below_hindsight",
        "cg",
        "bb_ahead",
        "worst_share",
    )
    told = ("lstm", "lstm_least", "lstm_largest", "bound", "best_baseline", "best_momentum", "best_adam", "bb", "lost")
    medians = ("lstm_median", "momentum_median", "bb_median", "momentum_ahead")
    return (*decided, "inside_grid", *told, *medians)


def verdict(config: Config, table: Table) -> Verdict:
    """Compare at the trained horizon; intervals decide, and each LSTM must pass."""
    return Verdict(claim, [*_decided(config, table.arrays), *_told(config, table.arrays)])


def _decided(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    t, now, tasks = config.trained_steps, list(times_of(config)).index(config.trained_steps), int(arrays["tasks"])
    over = f"mean loss at t = {t} of an LSTM over that of"
    runs = [RULES.index(name) for name, rule in BASELINES.items() if rule.schedule]
    bound = arrays["mean"][RULES.index(BOUND)]
    schedules = [arrays["mean"][runs].ravel(), arrays["hindsight"][[TUNED.index(RULES[k]) for k in runs]]]
    bounds = [np.tile(bound, len(runs)), np.full(len(runs), bound[t])]
    lstms = arrays["mean"][: len(LSTMS), t]
    ahead = arrays["ahead"][RULES.index(BB)]
    shares = np.array([checks.share_interval(np.arange(tasks) < count) for count in ahead]).T
    return [
        checks.at_most(
            "below_schedules",
            f"{over} the best fixed schedule in hindsight, largest of {len(LSTMS)}",
            arrays["over_bound"][:, now],
            1.0,
            _ends(arrays["over_bound_interval"][:, :, now]),
        ),
        checks.at_most(
            "below_schedules_before",
            f"the same at t = {arrays['times'][0]} and {now} times from there to {t}, the schedule the best for each t",
            arrays["over_bound"][:, : now + 1],
            1.0,
            _ends(arrays["over_bound_interval"][:, :, : now + 1]),
        ),
        checks.none_of(
            "bound_of_theory",
            "mean losses of schedules that were run, at any time, below that of the best schedule",
            np.concatenate(schedules) >= np.concatenate(bounds) * (1 - 1e-9),
        ),
        *(
            checks.at_most(
                f"below_{how}",
                f"{over} a baseline, {said}, largest of {len(LSTMS)} LSTMs and {len(TUNED)} baselines",
                arrays[f"over_{how}"],
                1.0,
                _ends(arrays[f"over_{how}_interval"]),
            )
            for how, said in (("tuned", "tuned on other tasks"), ("hindsight", "best of its grid in hindsight"))
        ),
        checks.at_most(
            "cg",
            f"mean loss at t = {t} of conjugate gradients on each task over that of an LSTM, largest of {len(LSTMS)}",
            resampled.over(arrays["mean"][RULES.index(CG), t], lstms),
            1e-3,
        ),
        checks.at_least(
            "bb_ahead",
            f"share of the tasks on which Barzilai and Borwein's steps are below an LSTM, least of {len(LSTMS)}",
            ahead / tasks,
            0.5,
            tuple(shares),
        ),
        checks.at_least(
            "worst_share",
            f"share of an LSTM's mean loss that the worst {WORST:.0%} of the tasks have, least of {len(LSTMS)}",
            arrays["worst"],
            0.5,
            _ends(arrays["worst_interval"]),
        ),
        checks.none_of(
            "inside_grid", "tuned hyper-parameters that are not between the ends of their grids", arrays["inside"]
        ),
    ]


def _ends(interval: np.ndarray) -> tuple[Any, Any]:
    """Return both ends of intervals (2, ...), NaN where one of them is: half an interval decides nothing."""
    low, high = np.where(np.isnan(interval).any(axis=0), np.nan, interval)
    return low, high


def _told(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    t = config.trained_steps
    now = list(times_of(config)).index(t)
    means, medians = (dict(zip(RULES, arrays[key][:, t], strict=True)) for key in ("mean", "median"))
    ends, middles = (dict(zip(RULES, arrays[k][:, :, now].T, strict=True)) for k in ("interval", "median_interval"))
    best_means = dict(zip(TUNED, arrays["hindsight"], strict=True))
    best_ends = dict(zip(TUNED, arrays["hindsight_interval"].T, strict=True))
    lstms = [means[name] for name in LSTMS]
    order = sorted(LSTMS, key=means.__getitem__)
    best_of_all = min(TUNED, key=best_means.__getitem__)
    mean, median, tasks = f"mean loss at t = {t}", f"median loss at t = {t}", int(arrays["tasks"])
    ahead = arrays["ahead"][RULES.index("momentum"), 0]
    return [
        checks.reported("lstm", f"{mean}: LSTM, mean of {len(LSTMS)} meta-trainings", np.mean(lstms)),
        checks.reported("lstm_least", f"{mean}: the best LSTM", means[order[0]], ends[order[0]]),
        checks.reported("lstm_largest", f"{mean}: the worst LSTM", means[order[-1]], ends[order[-1]]),
        checks.reported("bound", f"{mean}: the best fixed schedule in hindsight", means[BOUND], ends[BOUND]),
        checks.reported(
            "best_baseline",
            f"{mean}: the best baseline, hyper-parameters in hindsight",
            best_means[best_of_all],
            best_ends[best_of_all],
        ),
        checks.reported(
            "best_momentum",
            f"{mean}: momentum, step size and mu in hindsight",
            best_means["momentum"],
            best_ends["momentum"],
        ),
        checks.reported(
            "best_adam", f"{mean}: Adam, step size and betas in hindsight", best_means["Adam"], best_ends["Adam"]
        ),
        checks.reported("bb", f"{mean}: Barzilai-Borwein", means[BB], ends[BB]),
        checks.reported(
            "lost", f"tasks of {tasks} on which a tuned rule leaves the range of floats", arrays["lost"].max()
        ),
        checks.reported("lstm_median", f"{median}: LSTM", medians["LSTM"], middles["LSTM"]),
        checks.reported("momentum_median", f"{median}: momentum, tuned", medians["momentum"], middles["momentum"]),
        checks.reported("bb_median", f"{median}: Barzilai-Borwein", medians[BB], middles[BB]),
        checks.reported(
            "momentum_ahead",
            "share of the tasks on which tuned momentum is below the LSTM",
            ahead / tasks,
            checks.share_interval(np.arange(tasks) < ahead),
        ),
    ]
