"""Runs that differ in the seed alone, together: their mean and its interval; and in which settings runs differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad.training.runs.read import RunOnDisk, settings

_MOST_SETTINGS = 2  # that name a line; with more, the names of the folders are shorter
_DEFAULT = "the default"


@dataclass(frozen=True)
class Group:
    """Runs of the same settings and different seeds, and what they are called together."""

    runs: tuple[RunOnDisk, ...]
    label: str


class Spread(NamedTuple):
    """The mean over runs and its 95 % interval (Student's t), at the numbers of episodes that all runs have."""

    episodes: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def gather(runs: Sequence[RunOnDisk]) -> list[Group]:
    """Return the runs in groups of one config but for the seed, in the order in which they came.

    A run without a config is a group of its own.
    """
    found: dict[str, list[RunOnDisk]] = {}
    for k, run in enumerate(runs):
        found.setdefault(_key(run, k), []).append(run)
    groups = list(found.values())
    return [Group(tuple(group), label) for group, label in zip(groups, _labels(groups), strict=True)]


def twice(group: Group) -> tuple[RunOnDisk, RunOnDisk] | None:
    """Return two runs of a group that have one seed: they are no two draws. None where all seeds differ."""
    seeds: dict[Any, RunOnDisk] = {}
    for run in group.runs:
        other = seeds.setdefault(run.seed, run)
        if other is not run:
            return other, run
    return None


def _key(run: RunOnDisk, number: int) -> str:
    if run.config is None:
        return str(number)
    changes = [change.get("parts") for change in run.changes]
    return json.dumps([{name: x for name, x in run.config.items() if name != "seed"}, changes], sort_keys=True)


def _labels(groups: list[list[RunOnDisk]]) -> list[str]:
    """Return what the groups are called: by the settings that differ, where these are few, else by their folders."""
    differ = [{n: x for n, x in one.items() if n != "seed"} for one in differing([runs[0] for runs in groups])]
    by_settings = all(0 < len(one) <= _MOST_SETTINGS for one in differ)
    labels, one_seed = [], len({run.seed for runs in groups for run in runs}) == 1
    for runs, named in zip(groups, differ, strict=True):
        more = len(runs) - 1
        if by_settings:
            of = f"{len(runs)} seeds" if more else f"seed {runs[0].seed}"
            label = ", ".join(f"{name} = {text}" for name, text in named.items())
            labels.append(label if one_seed else f"{label} ({of})")
        else:
            labels.append(runs[0].name + (f" and {more} other seed{'s' * (more > 1)}" if more else ""))
    if len(set(labels)) < len(labels):
        return [f"{runs[0].path.parent} ({len(runs)})" for runs in groups]
    return labels


def differing(runs: Sequence[RunOnDisk]) -> list[dict[str, str]]:
    """Return, for each run, the settings in which the runs differ, as text; nothing for one without a config."""
    known = [settings(run.config) for run in runs if run.config is not None]
    names = list(dict.fromkeys(name for one in known for name in one))
    differ = [name for name in names if len({_text(one.get(name, _DEFAULT)) for one in known}) > 1]
    found: list[dict[str, str]] = []
    for run in runs:
        mine = {} if run.config is None else settings(run.config)
        found.append({name: _text(mine.get(name, _DEFAULT)) for name in differ if mine})
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def spread(curves: Sequence[tuple[np.ndarray, np.ndarray]], *, logarithmic: bool) -> Spread:
    """Return the mean and the interval over runs; of the logarithms, and back, where the scale is logarithmic.

    Where a number is not finite there is no mean: it would not be that of all runs. One run has no interval.
    """
    common = curves[0][0]
    for x, _ in curves[1:]:
        common = np.intersect1d(common, x)
    table = np.stack([y[np.searchsorted(x, common)] for x, y in curves])
    with np.errstate(all="ignore"):
        table = np.log10(table) if logarithmic else table
        mean = np.where(np.isfinite(table).all(axis=0), table.mean(axis=0), np.nan)
        half = half_width(table)
        ends = mean, mean - half, mean + half
        return Spread(common, *(10.0**x if logarithmic else x for x in ends))


def half_width(table: np.ndarray) -> np.ndarray:
    """Return half of the 95 % interval (Student's t) of the mean over the first axis; NaN for one row."""
    from scipy.special import stdtrit

    count = len(table)
    if count < 2:
        return np.full(table.shape[1:], np.nan)
    return np.asarray(stdtrit(count - 1, 0.975) * table.std(axis=0, ddof=1) / np.sqrt(count))
