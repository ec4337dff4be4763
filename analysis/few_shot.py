"""Few-shot characters: MAML, its first order and Reptile against no meta-training, on alphabets never trained on.

Problems of 5 characters, with 1 or 5 drawings of each to learn from (Omniglot; Lake et al. 2015). Of the alphabets that
are there, three are drawn by the seed and kept for tests: no method sees a character of them before. A start is learned
on problems of the others, turned characters being further classes, and a test problem is fitted from it by gradient
descent. Without meta-training: the same network from random starts, with the best of several step sizes; and the
nearest neighbour in pixels, at the best of several resolutions. Both choices are made on problems of the alphabets for
training. Intervals are over test problems, given the starts and the alphabets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import metagrad as mg
from analysis import _few_shot_net as net
from analysis.framework import needs as data_sets
from analysis.framework.checks import at_least, mean_interval, none_of, reported
from analysis.framework.contract import Check, Context, Table, Verdict
from metagrad.data import Characters, Episodes, draw_episodes, load_omniglot, split_alphabets
from metagrad.training import Recipe, Trainer
from metagrad.xp import rng

needs = "omniglot"
claim = (
    "On characters of alphabets that it was never trained on, a start that MAML learned (Finn, Abbeel, Levine 2017), "
    "adapted by gradient descent, tells five characters apart better than the same network from random starts, from "
    "one drawing of each and from five. Reported: first-order MAML, Reptile (Nichol, Achiam, Schulman 2018), and how "
    "far all of them are from a strong baseline, the nearest neighbour in pixels."
)
LEARNED = ("MAML", "first-order MAML", "Reptile")
BASELINES = ("random start", "nearest neighbour")
EXPECTED = (("MAML", "random start"),)  # set after a look at runs of two seeds
PAIRS = tuple((name, other) for other in BASELINES for name in LEARNED)
_RULE = mg.GradientDescent()
_QUERIES = 5  # of each class
_CHOOSING = 60  # problems that a baseline is chosen on


@dataclass(frozen=True)
class Config:
    """Meta-trainings of `meta_steps` steps of `batch` problems each, and the test problems of each meta-training.

    MAML and its first order take `steps` steps of gradient descent on the support set, Reptile `reptile_steps` on
    minibatches of as many samples, of `reptile_shots` drawings a class. `etas`: their step sizes, in the order of
    `LEARNED`, `outers`: those of Adam outside. Tests take `test_steps`. `random_etas`, `random_steps`: of the
    random start.
    """

    meta_steps: int
    repeats: int
    tests: int
    shots: tuple[int, ...] = (1, 5)
    ways: int = 5
    test_alphabets: int = 3
    side: int = 14
    channels: int = 8
    batch: int = 4
    steps: int = 3
    etas: tuple[float, ...] = (0.3, 0.1, 0.2)
    outers: tuple[float, ...] = (1e-2, 3e-3, 1e-2)
    reptile_steps: int = 8
    reptile_shots: int = 10
    test_steps: int = 10
    random_etas: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    random_steps: int = 20


presets = {
    "quick": Config(150, 1, 200),
    "default": Config(500, 1, 300, channels=16),
    "paper": Config(3000, 4, 1000, channels=16),
}
expected_seconds = {"quick": 35.0, "default": 140.0, "paper": 2600.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    found: list[str] = []
    for shots in config.shots:
        found += [f"{_key(name)}_{shots}" for name in (*LEARNED, *BASELINES)]
        found += [f"{_key(name)}_over_{_key(other)}_{shots}" for name, other in PAIRS]
    return (*found, "apart")


def _key(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def shards(config: Config) -> list[dict[str, Any]]:
    """One meta-training, or the baselines, for one number of drawings."""
    return [
        {"repeat": repeat, "shots": shots, "method": method}
        for repeat in range(config.repeats)
        for shots in config.shots
        for method in (*LEARNED, "baselines")
    ]


def compute(config: Config, shard: dict[str, Any], context: Context) -> dict[str, np.ndarray]:
    """Return accuracies on the test problems, (steps + 1, tests) or (baselines, tests), and who was trained on."""
    run = _seed(context.seed, shard["repeat"])
    train, test = split_alphabets(_characters(config.side), config.test_alphabets, run)
    known = _characters(config.side).known
    used = np.array([[name in part.known for name in known] for part in (train, test)])
    problems = draw_episodes(test, config.ways, shard["shots"], _QUERIES, config.tests, _seed(run, "tests"))
    if shard["method"] == "baselines":
        return _baselines(config, train, problems, run) | {"used": used}
    phi = _learned(config, shard, train.turned(), run)
    task, measure = net.learned_start(problems, phi.task), net.accuracy(problems)
    curve = mg.rollout(task, _RULE, phi, steps=config.test_steps, measure=measure)
    return {"accuracy": curve, "used": used}


def _seed(seed: int, *path: str | int) -> int:
    return int(rng(seed, "few_shot", *path).integers(2**31))


@cache
def _characters(side: int) -> Characters:
    place = data_sets.folder(needs)
    if place is None:
        raise FileNotFoundError(f"{data_sets.lacking('few_shot', needs)}.")
    return load_omniglot(place, side)


def _start(config: Config, seed: int, *path: str | int) -> tuple[Any, ...]:
    return net.init(rng(seed, "few_shot", "start", *path), config.side, config.channels, config.ways)


def _learned(config: Config, shard: dict[str, Any], train: Characters, seed: int) -> Any:
    """Return the inner step size and the start after meta-training, the best of some evaluations on train alphabets."""
    which, by_way, shots = LEARNED.index(shard["method"]), shard["method"] == "Reptile", shard["shots"]
    start = _start(config, seed)
    drawings = config.reptile_shots if by_way else shots
    batch = config.ways * shots if by_way else None

    def tasks(number: int) -> mg.LearnedStart:
        drawn = draw_episodes(train, config.ways, drawings, _QUERIES, config.batch, number)
        return net.learned_start(drawn, start, batch)

    estimators: dict[str, Any] = {
        "MAML": mg.Reverse(gradient="full"),
        "first-order MAML": mg.Reverse(gradient="stop_gradient"),
        "Reptile": mg.Reptile(),
    }
    steps, eta = config.reptile_steps if by_way else config.steps, config.etas[which]
    recipe = Recipe(
        episodes=config.meta_steps,
        horizon=steps,
        window=steps,
        evaluate_every=max(config.meta_steps // 5, 1),
        evaluation_tasks=4,
        evaluation_steps=steps,
        on_nonfinite="skip",
    )
    only_start = mg.Joint(_RULE.Phi(False), tuple(True for _ in start))
    outer = mg.Through(mg.Masked(mg.Adam(), only_start), mg.Adam.Phi(config.outers[which]))
    trainer = Trainer(
        _RULE,
        tasks,
        mg.Final("validation"),
        recipe,
        outer=outer,
        outer_phi=None,
        estimator=estimators[shard["method"]],
        seed=_seed(seed, "meta-train", shots),
    )
    return trainer.run(mg.Joint(np.float32(eta), start)).phi


def _baselines(config: Config, train: Characters, problems: Episodes, seed: int) -> dict[str, np.ndarray]:
    """Return the accuracies without meta-training, (baselines, tests), and what was chosen for each.

    Every problem has a random start of its own: one start for all may be a good or a bad one.
    """
    shots = problems.support_x.shape[1] // config.ways
    choosing = draw_episodes(train, config.ways, shots, _QUERIES, _CHOOSING, _seed(seed, "choosing"))

    def fitted(episodes: Episodes, eta: float) -> np.ndarray:
        starts = zip(*(_start(config, seed, "of one", k) for k in range(episodes.count)), strict=True)
        task, phi = net.fitted_from(episodes, tuple(map(np.stack, starts))), _RULE.Phi(np.float32(eta))
        _, end = mg.rollout(task, _RULE, phi, steps=config.random_steps, with_end=True)
        share: np.ndarray = net.accuracy(episodes)(end.w)
        return share

    eta = max(config.random_etas, key=lambda one: fitted(choosing, one).mean())
    cells = [cell for cell in range(1, config.side) if config.side % cell == 0]
    cell = max(cells, key=lambda one: net.nearest_neighbour(choosing, one).mean())
    accuracy = np.stack([fitted(problems, eta), net.nearest_neighbour(problems, cell)])
    return {"accuracy": accuracy, "chosen": np.array([eta, cell])}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return accuracies by number of drawings, method, and repeat, and which alphabets each run saw."""
    names = [f"{shots} drawing{'s' * (shots > 1)}" for shots in config.shots]
    grid: dict[tuple[int, int, str], dict[str, np.ndarray]] = {
        (shard["repeat"], shard["shots"], shard["method"]): part
        for shard, part in zip(shards(config), parts, strict=True)
    }

    def gathered(name: str, methods: tuple[str, ...]) -> np.ndarray:
        return np.stack(
            [
                [[grid[repeat, shots, method][name] for repeat in range(config.repeats)] for method in methods]
                for shots in config.shots
            ]
        )

    learned = np.moveaxis(gathered("accuracy", LEARNED), 2, 3).astype(np.float32)  # (shots, method, steps, repeats, n)
    baselines = gathered("accuracy", ("baselines",))[:, 0].swapaxes(1, 2).astype(np.float32)
    arrays = {"learned": learned, "baselines": baselines, "chosen": gathered("chosen", ("baselines",))[:, 0]}
    arrays["used"] = gathered("used", (*LEARNED, "baselines"))
    return Table(arrays, {}, {"learned": (names, LEARNED), "baselines": (names, BASELINES)})


def verdict(config: Config, table: Table) -> Verdict:
    """MAML tells characters apart better than random starts do, problem by problem, with the interval."""
    learned, baselines = table.arrays["learned"][:, :, -1], table.arrays["baselines"]
    checks: list[Check] = []
    for k, shots in enumerate(config.shots):
        after = f"{shots} drawing{'s' * (shots > 1)} of each: "
        scores = dict(zip(LEARNED, learned[k], strict=True)) | dict(zip(BASELINES, baselines[k], strict=True))
        for name, score in scores.items():
            what = f"{after}accuracy of {name}"
            checks.append(reported(f"{_key(name)}_{shots}", what, *_mean(score)))
        for name, other in PAIRS:
            key, what = f"{_key(name)}_over_{_key(other)}_{shots}", f"{after}accuracy of {name} less that of {other}"
            gain, interval = _mean(scores[name] - scores[other])
            if (name, other) in EXPECTED:
                checks.append(at_least(key, f"{what}, problem by problem", gain, 0, interval))
            else:
                checks.append(reported(key, f"{what}, problem by problem", gain, interval))
    used = table.arrays["used"].astype(bool)
    what = "alphabets that are not in exactly one of training and test, in all runs"
    checks.append(none_of("apart", what, used[..., 0, :] != used[..., 1, :]))
    return Verdict(claim, checks)


def _mean(scores: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the mean over all test problems, and its 95 % interval."""
    low, high = mean_interval(scores.ravel())
    return float(scores.mean(dtype=np.float64)), (float(low), float(high))
