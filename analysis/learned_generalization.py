"""The 31-feature MLP optimizer, meta-trained on the training loss or on held-out samples, and tested on fresh networks.

After the third experiment of Wang et al. 2021. The unit is the meta-training: each has initial weights of its own, its
own split of the images into those to draw from and those to test on, its own redrawn labels and its own test networks.
They run side by side, a network each. Both ways of one meta-training share all draws (weights, networks, samples,
batches): the inner loop learns from the same n images, and only the images of the meta-loss differ. Tests are fresh
networks on fresh draws of n images; the test images are in no part of their meta-training.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from analysis.framework.checks import at_least, at_most, mean_interval, reported
from analysis.framework.contract import Check, Table, Verdict
from metagrad import ad
from metagrad.data import ImageData, load_digits8x8, load_digits5000, load_mnist, noisy_labels
from metagrad.estimators import Reverse
from metagrad.objectives import Mean
from metagrad.optimizers import MLP31, GradientDescent, RMSprop
from metagrad.tasks import MLP, MLPClassifier, image_classifiers
from metagrad.training import Recipe, Trainer
from metagrad.unroll.rollout import rollout
from metagrad.xp import move, namespace_for, rng

claim = (
    "A learned optimizer that was meta-trained on the training loss fits the noise where samples are few and a fifth "
    "of the labels is redrawn: in the mean over meta-trainings its log test loss ends above that of the one "
    "meta-trained on held-out samples, and its log training loss below; with many clean samples its mean test accuracy "
    "is at most five points below the other's (Wang et al. 2021, experiment on MNIST, here at the size of the preset)."
)
BY = ("train", "validation")
WHICH = ("few", "many")  # the settings: few samples with noise, many without
CURVES = ("training loss", "test loss", "training accuracy", "test accuracy")
MNIST = "METAGRAD_MNIST"  # the environment variable that names the folder of the four files
LOST = 0.05  # of the test accuracy: what training may cost with many samples
_RULE = MLP31()


@dataclass(frozen=True)
class Config:
    """Images and network; a column a setting: samples, held-out samples, share of labels redrawn; meta-training; tests.

    `start`: factor on the output weights and biases at the start of meta-training; 1 is as published, and moves a
    network so far at first that much of a short meta-training goes into undoing it. `episodes` with each of the
    `outer` step sizes of RMSprop: one is as published; a smaller one in the end settles a short meta-training.
    `repeats`: meta-trainings, each by itself. `runs`: fresh networks in a test of one of them, `steps` long. `etas`:
    step sizes of gradient descent to choose from.
    """

    data: str = "digits8x8"
    sizes: tuple[int, ...] = (64, 16, 10)
    samples: tuple[int, ...] = (100, 700)
    held: tuple[int, ...] = (100, 700)
    noise: tuple[float, ...] = (0.2, 0.0)
    batch_size: int = 32
    episodes: tuple[int, ...] = (30, 15)
    outer: tuple[float, ...] = (0.01, 0.002)
    horizon: int = 100
    window: int = 20
    start: float = 0.05
    repeats: int = 5
    runs: int = 10
    steps: int = 130
    gpu: bool = False  # use one where there is one: small networks are faster without
    etas: tuple[float, ...] = tuple(0.01 * 2.0**k for k in range(9))


presets = {
    "quick": Config(
        samples=(100, 600),
        held=(100, 600),
        episodes=(8, 2),
        horizon=30,
        window=6,
        outer=(0.02, 0.005),
        runs=5,
        steps=30,
    ),
    "default": Config(),
    "paper": Config(
        data="mnist",
        sizes=(784, 100, 20, 10),
        samples=(1000, 50_000),
        held=(1000, 10_000),
        episodes=(300,),
        outer=(0.01,),
        horizon=6000,
        window=150,
        start=1.0,
        runs=5,
        steps=4000,
        gpu=True,
    ),
}
expected_seconds = {"quick": 13.0, "default": 240.0, "paper": 750_000.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    told = [f"{which}_{kind}_{rule}" for which in WHICH for kind in ("loss", "accuracy") for rule in (*BY, "sgd")]
    return ("learns", "few_train", "few_test", "many_accuracy", "least_few_test", "largest_few_test", *told)


def shards(config: Config) -> list[dict[str, Any]]:
    """Return all meta-trainings of a setting and a way, the longest first, and gradient descent in each setting."""
    settings = range(len(config.samples))
    learned = [{"setting": s, "rule": by} for s in reversed(settings) for by in BY]
    return learned + [{"setting": s, "rule": "sgd"} for s in settings]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return curves of fresh networks, and what was found on the way to them, meta-training by meta-training.

    Curves are (repeats, 4, steps + 1, runs), in the order of CURVES.
    """
    device = context.device if config.gpu else "cpu"
    images = partial(_images, config.data, config.noise[shard["setting"]], device)
    pools = [images(_seed(context.seed, "pool", k)) for k in range(config.repeats)]
    draw = partial(_tasks, config, shard["setting"])
    if shard["rule"] == "sgd":
        seeds = [_seed(context.seed, "tune", k) for k in range(config.repeats)]
        etas = [
            _tuned_step_size(config, draw([pool], seed, config.runs), seed)
            for pool, seed in zip(pools, seeds, strict=True)
        ]
        rule, phis = GradientDescent(), [GradientDescent.Phi(np.float32(eta)) for eta in etas]
        found = {"eta": np.array(etas)}
    else:
        rule, (phi, objectives) = _RULE, _meta_train(config, partial(draw, pools), shard["rule"], context.seed, device)
        phis = [ad.tree_map(lambda leaf, k=k: leaf[k], phi) for k in range(config.repeats)]
        found = {"objectives": objectives}
    curves = []
    for k, (pool, phi) in enumerate(zip(pools, phis, strict=True)):
        fresh = _seed(context.seed, "test", k)
        curves.append(_curves(draw([pool], fresh, config.runs), rule, phi, config.steps, fresh))
    return {"curves": np.stack(curves).astype(np.float32), **found}


def _curves(task: MLPClassifier, rule: Any, phi: Any, steps: int, seed: int) -> np.ndarray:
    def measure(w: Any) -> Any:
        return np.stack([task.train_loss(w), task.test_loss(w), task.accuracy(w, "train"), task.accuracy(w, "test")])

    curves: np.ndarray = rollout(task, rule, phi, steps=steps, seed=seed, measure=measure).swapaxes(0, 1)
    return curves


def _seed(*path: Any) -> int:
    return int(rng(path[0], "learned_generalization", *path[1:]).integers(2**32))


def _tasks(config: Config, setting: int, pools: list[ImageData], seed: int, count: int = 1) -> MLPClassifier:
    """Return `count` networks a pool of images, that learn from fresh draws of n of them, with others held out."""
    net = MLP(config.sizes, "relu", "shape")
    sizes = {"train": config.samples[setting], "validation": config.held[setting]}
    each = [image_classifiers(pool, net, count, seed=_seed(seed, "pool", k), **sizes) for k, pool in enumerate(pools)]
    x, y = (np.concatenate([getattr(task, name) for task in each]) for name in ("x", "y"))
    held = (
        np.concatenate([task.validation[0] for task in each]),
        np.concatenate([task.validation[1] for task in each]),
    )
    test = tuple(
        np.repeat(np.stack([getattr(pool, name) for pool in pools]), count, axis=0) for name in ("test_x", "test_y")
    )
    return MLPClassifier(net, x, y, held, test, batch_size=config.batch_size, epoch_seed=seed)


@cache
def _images(name: str, noise: float, device: str, seed: int) -> ImageData:
    """Return the images of a meta-training on the device: a split of its own, where the data come without one, and a
    share of the labels redrawn once and for all."""
    if name == "mnist":
        folder = os.environ.get(MNIST)
        if folder is None:
            raise FileNotFoundError(
                f"learned_generalization: the paper's size needs all of MNIST, and {MNIST} is not set; set it to the "
                "folder of the four IDX files. Nothing is downloaded, and no smaller data are put in their place."
            )
        data = load_mnist(folder)
    else:
        data = {"digits8x8": load_digits8x8, "digits5000": load_digits5000}[name](seed=seed)
    moved: ImageData = move(noisy_labels(data, noise, seed), namespace_for(device, "device"))
    return moved


def _meta_train(config: Config, draw: Any, by: str, seed: int, device: str) -> tuple[Any, np.ndarray]:
    """Return the weights of all optimizers after meta-training, and the mean objective of every episode.

    `draw(seed)` has a network of each meta-training, and each optimizer has the meta-gradient of its own.
    """
    drawn = [_RULE.init_meta(rng(_seed(seed, "meta-train", k), "phi"), np.float32) for k in range(config.repeats)]
    first = ad.unflatten(drawn[0], [np.stack(same) for same in zip(*map(ad.leaves, drawn), strict=True)])
    scaled = [(config.start * x).astype(np.float32) for x in first.output]
    phi = move(first._replace(output=type(first.output)(*scaled)), namespace_for(device, "device"))
    rows: list[dict[str, Any]] = []
    for stage, (episodes, outer) in enumerate(zip(config.episodes, config.outer, strict=True)):
        trainer = Trainer(
            _RULE,
            draw,
            Mean(by),
            _recipe(config, episodes),
            RMSprop(),
            RMSprop.Phi(outer, 0.9, 1e-10),
            Reverse(gradient="stop_gradient", scaling="none", per_task=True),
            _seed(seed, "meta-train") + stage,
        )
        phi = trainer.run(phi, progress=rows.append).last
    return phi, np.array([np.mean(row["objective"]) for row in rows])


def _recipe(config: Config, episodes: int) -> Recipe:
    """Return truncated unrolls with stop-gradient; no weights are selected: the last ones are kept, as published."""
    return Recipe(episodes, config.horizon, config.window, clip_value=1e4, evaluate_every=episodes, evaluation_steps=1)


def _tuned_step_size(config: Config, task: MLPClassifier, seed: int) -> float:
    """Return the step size of gradient descent with the least mean validation loss on the way: TbV's objective."""
    means = []
    for eta in config.etas:
        phi = GradientDescent.Phi(np.float32(eta))
        curve = rollout(task, GradientDescent(), phi, steps=config.horizon, seed=seed, measure=task.validation_loss)
        means.append(curve[1:].mean())
    return config.etas[int(np.argmin(np.where(np.isfinite(means), means, np.inf)))]


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return the curves of learned rules (settings, 2, repeats, 4, steps + 1, runs) and of gradient descent."""
    found = {(s["setting"], s["rule"]): p for s, p in zip(shards(config), parts, strict=True)}
    settings = range(len(config.samples))

    def learned(name: str) -> np.ndarray:
        return np.array([[found[s, by][name] for by in BY] for s in settings])

    return Table(
        {
            "learned": learned("curves"),
            "objectives": learned("objectives"),
            "sgd": np.array([found[s, "sgd"]["curves"] for s in settings]),
            "sgd_eta": np.array([found[s, "sgd"]["eta"] for s in settings]),
        },
        {"learned": "nats and shares", "sgd": "nats and shares", "objectives": "nats"},
        {"learned": (WHICH, BY, None, CURVES), "objectives": (WHICH, BY), "sgd": (WHICH, None, CURVES)},
    )


def verdict(config: Config, table: Table) -> Verdict:
    """Compare both ways at the horizon of meta-training: pairs of meta-trainings, each a mean over its networks."""
    at = min(config.horizon, config.steps)
    learned = table.arrays["learned"].astype(np.float64)
    ends = learned[..., at, :].mean(axis=-1)  # (settings, ways, repeats, curves)
    train, test, _, score = range(4)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(ends[0, 0] / ends[0, 1])  # by train over by validation, (repeats, curves)
    gap = ends[1, 0, :, score] - ends[1, 1, :, score]
    few, many = (f"n = {n}, {noise:.0%} redrawn" for n, noise in zip(config.samples, config.noise, strict=True))
    share = _share_left(learned[..., : at + 1, :])
    ratio = "by train over by validation"
    what = "loss on the way over that before learning, mean over meta-trainings, largest of all"
    above = f"{many}: test accuracy, by train less by validation, mean over meta-trainings"
    return Verdict(
        claim,
        [
            at_most("learns", what, share.mean(axis=-1), 1, mean_interval(share)),
            _ratio_check(at_most, "few_train", f"{few}: training loss, {ratio}", logs[:, train]),
            _ratio_check(at_least, "few_test", f"{few}: test loss, {ratio}", logs[:, test]),
            at_least("many_accuracy", above, gap.mean(), -LOST, mean_interval(gap)),
            reported("least_few_test", f"{few}: test loss, {ratio}, least of all", np.exp(logs[:, test].min())),
            reported("largest_few_test", f"{few}: test loss, {ratio}, largest of all", np.exp(logs[:, test].max())),
            *_told((few, many), ends, table.arrays["sgd"][..., at, :].astype(np.float64).mean(axis=-1)),
        ],
    )


def _ratio_check(decide: Any, key: str, what: str, logs: np.ndarray) -> Check:
    """Return the check that the geometric mean over meta-trainings of a ratio, with its interval, is on a side of 1."""
    low, high = mean_interval(logs)
    check: Check = decide(
        key, f"{what}, geometric mean over meta-trainings", np.exp(logs.mean()), 1, (np.exp(low), np.exp(high))
    )
    return check


def _told(settings: tuple[str, str], learned: np.ndarray, sgd: np.ndarray) -> list[Check]:
    """Return the test losses (geometric means over meta-trainings) and accuracies (means) at the horizon."""
    checks = []
    for s, (which, about) in enumerate(zip(WHICH, settings, strict=True)):
        ends = [*learned[s], sgd[s]]
        for kind, curve, mean in (("loss", 1, "geometric mean"), ("accuracy", 3, "mean")):
            for rule, values in zip((*BY, "sgd"), ends, strict=True):
                x = np.log(values[:, curve]) if kind == "loss" else values[:, curve]
                back = np.exp if kind == "loss" else np.asarray
                what = f"{about}: test {kind} by {rule}, {mean} over meta-trainings"
                interval = tuple(back(end) for end in mean_interval(x))
                checks.append(reported(f"{which}_{kind}_{rule}", what, back(x.mean()), interval))
    return checks


def _share_left(learned: np.ndarray) -> np.ndarray:
    """Return the means over steps and runs of what each rule was meta-trained for, as a share of that at step 0.

    Of shape (settings, ways, repeats). Fresh samples stand for the held-out ones: the test loss.
    """
    curves = learned.mean(axis=-1)
    own = np.stack([curves[:, k, :, k] for k in range(len(BY))], axis=1)
    share: np.ndarray = own[..., 1:].mean(axis=-1) / own[..., 0]
    return share
