"""No free lunch, exhaustively: all algorithms on all functions, all closed sets, and policies that are meta-trained.

A function maps n points to m values; an algorithm looks at one point after the other, none twice, and the next from
what it has seen. First all algorithms of up to four points and three values on all functions, then all sets of
functions. Then the reading for meta-learning: a softmax over the next point given the history is a rule of the engine,
and is trained by its outer loop on a set of functions, from random search on, to find the least of `looks` values.
Losses are exact expectations. The gain on a function is how much less the policy's is than that of random search.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import _search_policy as search
from analysis.framework.checks import at_least, at_most, mean_interval, none_of, reported
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import no_free_lunch as theory
from metagrad.xp import rng

claim = (
    "Over all functions, and over a set of them exactly if it is closed under permutations, all algorithms see the "
    "same (Wolpert and Macready 1997, Schumacher et al. 2001); so what a policy gains on the functions that it was "
    "meta-trained on it loses on the rest, and on closed sets there is nothing to gain"
)
ALL = ((3, 2), (3, 3), (4, 2), (4, 3))
SETS = ((3, 2), (4, 2))
TRAINED = (2, 3)  # values, of four points
PLACES = ("trained", "rest")
_POINTS = 4
_BLOCK = 24  # sets whose policies are trained side by side
_EVERY = 4  # meta-steps
_SIZES = ("least", "median", "most")


@dataclass(frozen=True)
class Config:
    """How many random sets of functions of two and of three values policies are trained on, and the outer loop."""

    sets: tuple[int, int]
    meta_steps: int
    looks: int = 2
    rate: float = 0.1


presets = {
    "quick": Config((12, 8), meta_steps=80),
    "default": Config((96, 48), meta_steps=120),
    "paper": Config((480, 240), meta_steps=200),
}
expected_seconds = {"quick": 12.0, "default": 90.0, "paper": 600.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    exhaustive = ("algorithms", "spread", "seconds", *(f"closed_{n}{m}" for n, m in SETS), "closure", "all_balance")
    policies = tuple(f"{of}_{m}" for m in TRAINED for of in ("mean_gain", "mean_rest"))
    return (*exhaustive, "balance", "shortfall", "gain", "rest", *policies, "closed_gain", "closed_gradient")


def shards(config: Config) -> list[dict[str, Any]]:
    """All algorithms, all sets, and blocks of policies."""
    found: list[dict[str, Any]] = [{"part": "algorithms", "points": n, "values": m} for n, m in ALL]
    found += [{"part": "sets", "points": n, "values": m} for n, m in SETS]
    for count, m in zip(config.sets, TRAINED, strict=True):
        found += [
            {"part": "policies", "values": m, "first": first, "count": min(_BLOCK, count - first)}
            for first in range(0, count, _BLOCK)
        ]
    return [*found, {"part": "closed"}]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return what one part has."""
    if shard["part"] == "algorithms":
        return _algorithms(shard["points"], shard["values"])
    if shard["part"] == "sets":
        return _sets(config, shard["points"], shard["values"])
    if shard["part"] == "closed":
        return _closed(config, context.seed)
    return _policies(config, shard["values"], _drawn(shard, context.seed), context.seed)


def _algorithms(n: int, m: int) -> dict[str, np.ndarray]:
    """Count the algorithms that differ, and by how much their histograms do, at most over all lengths."""
    began = time.process_time()
    found = theory.value_sequences(n, m)
    spread = [np.ptp(theory.histograms(found, n, m, seen=k), axis=0).max() for k in range(1, n + 1)]
    seconds = time.process_time() - began
    return {"algorithms": np.array(len(np.unique(found, axis=0))), "spread": max(spread), "seconds": np.array(seconds)}


def _sets(config: Config, n: int, m: int) -> dict[str, np.ndarray]:
    """Look at all sets of functions: on which all algorithms see the same, which are closed, and what can be gained."""
    sequences, count = theory.value_sequences(n, m), m**n
    sets = np.arange(2**count)
    among = ((sets[:, None] >> np.arange(count)) & 1).astype(bool)
    first, alike = None, np.ones(2**count, dtype=bool)
    for row in sequences:  # what an algorithm sees of a set is a set of sequences, as no two functions look the same
        seen = np.bitwise_or.reduce(np.where(among, 1 << row, 0), axis=1)
        first = seen if first is None else first
        alike &= seen == first
    # closed: each swap of neighbouring points takes the set to itself, and so does every permutation, made of them
    table = theory.functions(n, m)
    digits = m ** np.arange(n)[::-1]
    closed = np.ones(2**count, dtype=bool)
    for x in range(n - 1):
        swapped = table.copy()
        swapped[:, [x, x + 1]] = table[:, [x + 1, x]]
        closed &= (among[:, swapped @ digits] == among).all(axis=1)
    better = np.unique(_better(config, n, m, sequences), axis=0)
    inside, rest = among @ better.T, ~among @ better.T
    size = among.sum(axis=1)
    best = inside.max(axis=1) / np.maximum(size, 1)
    of_size = np.stack([_three(best[(size == k) & ~closed]) for k in range(1, count)])
    return {
        "counted": np.array([alike[1:].sum(), closed[1:].sum(), (alike != closed).sum()]),
        "imbalance": np.abs(inside + rest).max(),
        "best": of_size,
    }


def _three(x: np.ndarray) -> np.ndarray:
    return np.array([x.min(), np.median(x), x.max()])


def _better(config: Config, n: int, m: int, sequences: np.ndarray) -> np.ndarray:
    """Return by how much each algorithm is better than their mean, random search, on each function."""
    losses = theory.losses(sequences, n, m, seen=min(config.looks, n))
    return np.asarray(losses.mean(axis=0) - losses)


def _drawn(shard: dict[str, Any], seed: int) -> np.ndarray:
    """Return sets of functions, bools (sets, functions): of every size, none of them closed."""
    m, found = shard["values"], []
    for k in range(shard["first"], shard["first"] + shard["count"]):
        draw = rng(seed, "no_free_lunch", m, k)
        while True:
            size = draw.integers(1, m**_POINTS)
            one = draw.permutation(m**_POINTS) < size
            if not theory.is_closed(one, _POINTS, m):
                break
        found.append(one)
    return np.stack(found)


def _policies(config: Config, m: int, sets: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Train a policy for each set; return its mean gain on the set and on the rest along the way, and what is best."""
    policy = search.Policy(search.Histories(_POINTS, m, config.looks))
    functions, sequences = theory.functions(_POINTS, m), theory.value_sequences(_POINTS, m)
    task = search.sets_of(policy, functions, sets)
    path = search.trained(policy, task, meta_steps=config.meta_steps, rate=config.rate)
    random = theory.losses(sequences, _POINTS, m, seen=config.looks).mean(axis=0)
    gains = np.stack([random - search.losses(policy, task, scores) for scores in path[::_EVERY]])
    best = [theory.gains(_losses(config, m, sequences), one)[0].max() for one in sets]
    draw = rng(seed, "no_free_lunch", "scores", m)
    scores = draw.standard_normal((len(sets), *policy.histories.open.shape))
    return {
        "gain": np.stack([_mean(gains, sets), _mean(gains, ~sets)], axis=-1),  # (meta-steps, sets, 2)
        "total": np.abs(gains.sum(axis=-1)).max(axis=0),
        "best": np.array(best) / sets.sum(axis=1),
        "size": sets.sum(axis=1),
        "slope": search.gradient_size(policy, task, scores),
    }


def _losses(config: Config, m: int, sequences: np.ndarray) -> np.ndarray:
    return theory.losses(sequences, _POINTS, m, seen=config.looks)


def _mean(gains: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Return the mean over the functions of each set, an axis less; 0 for a set of none."""
    found: np.ndarray = np.sum(gains * sets, axis=-1) / np.maximum(sets.sum(axis=-1), 1)
    return found


def _closed(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Do the same on all closed sets of functions of two values."""
    orbits = theory.orbits(_POINTS, 2)
    count = orbits.max() + 1
    unions = ((np.arange(1, 2**count)[:, None] >> np.arange(count)) & 1).astype(bool)
    found = _policies(config, 2, unions[:, orbits], seed)
    return {name: found[name] for name in ("gain", "slope", "size")}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return the parts under names of their own."""
    by: dict[str, list[dict[str, np.ndarray]]] = {}
    for shard, part in zip(shards(config), parts, strict=True):
        by.setdefault(shard["part"] + (str(shard["values"]) if shard["part"] == "policies" else ""), []).append(part)
    arrays = {name: np.stack([part[name] for part in by["algorithms"]]) for name in by["algorithms"][0]}
    arrays |= {name: np.stack([part[name] for part in by["sets"]]) for name in ("counted", "imbalance")}
    arrays["best_of_sets"] = by["sets"][-1]["best"]
    for m in TRAINED:
        for name in by[f"policies{m}"][0]:
            axis = 1 if name == "gain" else 0
            arrays[f"{name}_{m}"] = np.concatenate([part[name] for part in by[f"policies{m}"]], axis=axis)
    arrays |= {f"{name}_closed": x for name, x in by["closed"][0].items()}
    arrays["meta_steps"] = np.arange(config.meta_steps + 1)[::_EVERY]
    names: dict[str, Any] = {"counted": (None, ("alike", "closed", "not the same")), "best_of_sets": (None, _SIZES)}
    names |= {f"gain_{of}": (None, None, PLACES) for of in (*TRAINED, "closed")}
    units = {"seconds": "s", **{f"gain_{of}": "values" for of in (*TRAINED, "closed")}}
    return Table(arrays, units, names)


def verdict(config: Config, table: Table) -> Verdict:
    """All algorithms are alike on all functions and on closed sets, and nowhere else; a policy's gains sum to zero."""
    arrays = table.arrays
    expected = np.array([theory.algorithm_count(n, m) for n, m in ALL])
    wanted = [theory.closed_set_count(n, m) for n, m in SETS]
    alike, closed = arrays["counted"][:, 0], arrays["counted"][:, 2]
    last = {m: arrays[f"gain_{m}"][-1] for m in TRAINED}
    best = np.concatenate([arrays[f"best_{m}"] for m in TRAINED])
    gained, lost = (np.concatenate([last[m][:, k] for m in TRAINED]) for k in range(2))
    worth = ~(best <= 0.01)  # an algorithm can gain there
    gained_there, lost_there = (np.where(np.isnan(best), np.nan, x)[worth] for x in (gained, lost))
    slopes = np.concatenate([arrays[f"slope_{m}"] for m in TRAINED])
    totals = np.concatenate([arrays[f"total_{m}"] for m in TRAINED])
    sizes = ", ".join(f"({n}, {m})" for n, m in ALL)
    return Verdict(
        claim,
        [
            none_of(
                "algorithms", f"as many different algorithms as counted for {sizes}", arrays["algorithms"] == expected
            ),
            at_most(
                "spread", "histograms of values: largest difference of a count between algorithms", arrays["spread"], 0
            ),
            reported("seconds", "all algorithms of (4, 3): processor time, in seconds", arrays["seconds"][-1]),
            *(
                _counted(
                    f"closed_{n}{m}", f"({n}, {m}): sets on which all algorithms are alike, off what is counted", a - w
                )
                for (n, m), a, w in zip(SETS, alike, wanted, strict=True)
            ),
            at_most("closure", "sets that are alike and not closed, or closed and not alike", closed, 0),
            at_most(
                "all_balance",
                "all algorithms, all sets: |gain on it + gain on the rest|, largest",
                arrays["imbalance"],
                1e-9,
            ),
            at_most("balance", "policies, all along: |sum of gains over all functions|, largest", totals, 1e-9),
            at_most(
                "shortfall",
                "gain of the best algorithm less that of the policy, a function, largest",
                best - gained,
                0.02,
            ),
            at_least("gain", "policies: gain on a function trained on, least where there is one", gained_there, 0),
            at_most("rest", "policies: gain on a function of the rest, largest where there is one", lost_there, 0),
            *[check for m in TRAINED for check in _means(m, last[m])],
            at_most(
                "closed_gain",
                "policies trained on closed sets: |gain| on either side, largest",
                np.abs(arrays["gain_closed"]),
                1e-9,
            ),
            at_most(
                "closed_gradient",
                "meta-gradient on closed sets over the median one on others, largest",
                arrays["slope_closed"] / np.median(slopes),
                1e-9,
            ),
        ],
    )


def _means(m: int, last: np.ndarray) -> list[Check]:
    """Return what policies gain and lose on average over the sets, each with its interval over sets."""
    what = f"policies, {m} values: mean gain on a function"
    said = {"mean_gain": f"{what} trained on", "mean_rest": f"{what} of the rest"}
    pairs = zip(said.items(), last.T, strict=True)
    return [reported(f"{key}_{m}", text, x.mean(), mean_interval(x)) for (key, text), x in pairs]


def _counted(key: str, what: str, off: Any) -> Check:
    return at_most(key, what, np.abs(off), 0)
