"""The trained coordinate-wise LSTM against tuned hand-designed optimizers, on networks for real digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis._digit_networks import DIGITS, MEASURES, NETS, Networks, fresh, scores, tuning
from analysis._rule_search import SPACES, search
from analysis.framework import checks
from analysis.framework.contract import Check, Table, Verdict
from metagrad.errors import bad_value, nearest
from metagrad.training.trained import load_trained
from metagrad.xp import rng

claim = (
    "A coordinate-wise LSTM, meta-trained on the sum of the losses of 100 steps of a small sigmoid network for 4,000 "
    "real digits (after Andrychowicz et al. 2016, section 3.2), has on fresh networks of that kind a smaller training "
    "loss along the way than every baseline whose hyper-parameters and decay of the step size are all tuned, learning "
    "from 1,000 digits, from 4,000, or (default preset) from 1,000 that it never saw, and from 1,000 at the end, too. "
    "The test loss on digits that it never saw depends on how many are learned from: with 4,000 it is smaller along "
    "the way, with 1,000 it is at the end larger than that of the best tuned baseline. The end with 4,000 digits, and "
    "networks with more units, two layers and ReLU, are reported."
)
TRAINED = "lstm_digits"
BASELINES = tuple(SPACES)
RULES = ("LSTM", *BASELINES)
CASES = tuple(f"{net}_{digits}" for net in NETS for digits in DIGITS)
_WORDS = {
    "train_path": "mean training loss of the run",
    "train_end": "training loss at the end",
    "test_path": "mean test loss of the run",
    "test_end": "test loss at the end",
}
_BETTER = (
    *("few_train_path", "few_train_end", "many_train_path", "many_test_path"),
    *("unseen_train_path", "unseen_train_end"),
)
_WORSE = ("few_test_end",)
_COORDINATES = 4  # of a point of the search, at most


@dataclass(frozen=True)
class Config:
    """Kinds of networks and digits; networks to tune on and to compare on; points that are drawn, at large and near."""

    cases: tuple[str, ...]
    tuning: int
    fresh: int
    drawn: tuple[int, int]
    steps: int = 100
    every: int = 10
    last: int = 10
    batch_size: int = 128

    def __post_init__(self) -> None:
        """Check what intervals and names need."""
        if self.fresh < 2:
            bad_value("lstm_digits", "fresh", self.fresh, "at least 2 networks", "One has no interval.")
        if unknown := [case for case in self.cases if case not in CASES]:
            bad_value("lstm_digits", "cases", unknown[0], "a known case", nearest(str(unknown[0]), list(CASES)))
        if self.steps % self.every:
            bad_value("lstm_digits", "every", self.every, f"a divisor of the {self.steps} steps")


_ALL = ("trained_few", "trained_many", "trained_unseen", "units_unseen", "layers_unseen", "relu_unseen")
presets = {
    "quick": Config(_ALL[:2], tuning=2, fresh=14, drawn=(4, 1)),
    "default": Config(_ALL, tuning=3, fresh=12, drawn=(12, 2)),
    "paper": Config(_ALL, tuning=6, fresh=100, drawn=(60, 20)),
}
expected_seconds = {"quick": 60.0, "default": 400.0, "paper": 8000.0}


def measures_of(case: str) -> tuple[str, ...]:
    """Return the measures of a case: where no digits are left to test on, those of training alone."""
    return MEASURES if DIGITS[case.split("_")[1]].seen else MEASURES[:2]


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    found = []
    for case in config.cases:
        name = _short(case)
        for measure in measures_of(case):
            found += [f"{name}_{measure}", f"{name}_{measure}_lstm", f"{name}_{measure}_least"]
        found += [f"{name}_accuracy_{which}" for which in ("lstm", "most")] * (len(measures_of(case)) == len(MEASURES))
    return tuple(found)


def _short(case: str) -> str:
    return case.removeprefix("trained_")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return the LSTM and each baseline on each kind of networks and digits."""
    return [{"case": case, "rule": rule} for case in config.cases for rule in RULES]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return what a rule does on fresh networks, for each measure with the hyper-parameters that were best for it.

    `train` (measures, steps + 1, networks) minibatch losses, `test` and `accuracy` (measures, steps/every, networks)
    of digits that were not learned from, `scores` (measures, networks), `points` (measures, coordinates) of the search;
    NaN for measures that are not of the case, and coordinates that are not of the rule.
    """
    case, name = shard["case"], shard["rule"]
    net, digits = case.split("_")
    measures = measures_of(case)

    def made(make: Any, count: int) -> Networks:
        seed = int(rng(context.seed, TRAINED, case, make.__name__).integers(2**31))
        found: Networks = make(net, digits, count, seed, config.batch_size)
        return found

    points = np.full((len(MEASURES), _COORDINATES), np.nan)
    if name == "LSTM":
        trained = load_trained(TRAINED)
        rules = [(trained.optimizer, trained.phi)] * len(measures)
    else:
        space, networks = SPACES[name], made(tuning, config.tuning)

        def losses(point: np.ndarray) -> np.ndarray:
            train, test, _ = networks.follow(*space.at(point, config.steps), config.steps, config.every)
            return scores(train, test, config.last).mean(axis=-1)

        found = search(space, losses, config.drawn, range(len(measures)), rng(context.seed, TRAINED, case, name))
        points[: len(measures), -found.shape[1] :] = found
        once = {tuple(point): space.at(point, config.steps) for point in found}
        rules = [once[tuple(point)] for point in found]
    return _compared(config, made(fresh, config.fresh), rules) | {"points": points}


def _compared(config: Config, networks: Networks, rules: list[Any]) -> dict[str, np.ndarray]:
    """Return what each of the rules, one a measure, does on the networks; one that is there twice runs once."""
    done: dict[int, Any] = {}
    for rule, phi in rules:
        if id(phi) not in done:
            done[id(phi)] = networks.follow(rule, phi, config.steps, config.every)
    runs = [done[id(phi)] for _, phi in rules]
    out = {name: np.stack([run[k] for run in runs]) for k, name in enumerate(("train", "test", "accuracy"))}
    out["scores"] = np.stack([scores(run[0], run[1], config.last)[k] for k, run in enumerate(runs)])
    missing = len(MEASURES) - len(rules)
    return {name: np.concatenate([x, np.full((missing, *x.shape[1:]), np.nan)]) for name, x in out.items()}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return scores and accuracies of each network, and the mean curves with half the width of their 95 % intervals.

    The curves are of the hyper-parameters that are best at the end: in training for `train`, in test for `test`.
    """
    shape = (len(config.cases), len(RULES))
    stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    stacked = {name: x.reshape(*shape, *x.shape[1:]) for name, x in stacked.items()}
    arrays = {"scores": stacked["scores"], "points": stacked["points"]}
    at = {name: MEASURES.index(f"{name}_end") for name in ("train", "test")}
    arrays["accuracy"] = stacked["accuracy"][:, :, at["test"], -1]
    for name, k in at.items():
        curves = stacked[name][:, :, k]
        low, high = checks.mean_interval(curves)
        arrays[name], arrays[f"{name}_width"] = curves.mean(axis=-1), (high - low) / 2
    names: dict[str, Any] = dict.fromkeys(arrays, (config.cases, RULES))
    names |= dict.fromkeys(("scores", "points"), (config.cases, RULES, MEASURES))
    return Table(arrays, {"train": "nats", "test": "nats", "scores": "nats", "accuracy": "1"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Compare network by network: the ratios of the baselines' losses to the LSTM's, by the interval of their mean."""
    return Verdict(claim, checks_of(config, table))


def checks_of(config: Config, table: Table) -> list[Check]:
    """Return the checks of all cases."""
    found: list[Check] = []
    for row, case in enumerate(config.cases):
        name, x = _short(case), table.arrays["scores"][row]
        for k, measure in enumerate(measures_of(case)):
            found.append(_ratio(f"{name}_{measure}", f"{case}: {_WORDS[measure]}", np.log(x[1:, k]) - np.log(x[0, k])))
            found += _values(f"{name}_{measure}", f"{case}: {_WORDS[measure]}", x[:, k], "least")
        if len(measures_of(case)) == len(MEASURES):
            accuracy = table.arrays["accuracy"][row]
            found += _values(f"{name}_accuracy", f"{case}: test accuracy at the end", accuracy, "most")
    return found


def _ratio(key: str, what: str, logs: np.ndarray) -> Check:
    """Return the check of the log ratios (baselines, networks) that the claim is about; else report the least one."""
    if key in _WORSE:
        means, (low, high) = np.exp(-logs.mean(axis=-1)), _powers(-logs, 1 - 0.05 / len(BASELINES))
        most = int(np.argmax(low))  # chosen by outcome: by Bonferroni its interval is one at 95 %
        name = f"{what}, LSTM over a baseline, geometric mean over networks, most of {len(BASELINES)}"
        return checks.at_least(key, name, means[most], 1.0, (low[most], high[most]))
    means, (low, high) = np.exp(logs.mean(axis=-1)), _powers(logs)
    name = f"{what}, a baseline over the LSTM, geometric mean over networks, least of {len(BASELINES)}"
    if key in _BETTER:
        return checks.at_least(key, name, means, 1.0, (low, high))
    at = int(np.argmin(low))
    return checks.reported(key, name, means[at], (low[at], high[at]))


def _powers(logs: np.ndarray, level: float = 0.95) -> tuple[Any, Any]:
    """Return the interval of the geometric mean over the last axis."""
    low, high = checks.mean_interval(logs, level)
    return np.exp(low), np.exp(high)


def _values(key: str, what: str, x: np.ndarray, best: str) -> list[Check]:
    """Return the means (rules, networks) over networks, of the LSTM and of the best baseline on these networks."""
    means, (low, high) = x.mean(axis=-1), checks.mean_interval(x)
    at = 1 + int(np.argmin(means[1:]) if best == "least" else np.argmax(means[1:]))
    return [
        checks.reported(f"{key}_{which}", f"{what}, {rule}, mean over networks", means[k], (low[k], high[k]))
        for which, rule, k in (("lstm", "LSTM", 0), (best, "best baseline", at))
    ]
