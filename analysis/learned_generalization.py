"""The 31-feature MLP optimizer, meta-trained on the training loss or on held-out samples, and tested on fresh networks.

After the third experiment of Wang et al. 2021. Both ways share all draws (initial weights of the optimizer, networks,
samples, batches): the inner loop learns from the same n images, and only the images of the meta-loss differ. Tests are
fresh networks on fresh draws of n images; the test images are in no part of the meta-training.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from analysis.framework.contract import Check, Table, Verdict
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
    "of the labels is redrawn: its test loss ends above that of the one meta-trained on held-out samples; with many "
    "clean samples the test accuracies of both are within five points (Wang et al. 2021, experiment on MNIST, here at "
    "the size of the preset)."
)
BY = ("train", "validation")
CURVES = ("training loss", "test loss", "training accuracy", "test accuracy")
MNIST = "METAGRAD_MNIST"  # the environment variable that names the folder of the four files
_RULE = MLP31()


@dataclass(frozen=True)
class Config:
    """Images and network; a column a setting: samples, held-out samples, share of labels redrawn; meta-training; tests.

    `start`: factor on the output weights and biases at the start of meta-training; 1 is as published, and moves a
    network so far at first that much of a short meta-training goes into undoing it. `episodes` with each of the
    `outer` step sizes of RMSprop: one is as published; a smaller one in the end settles a short meta-training.
    `networks`: side by side in an episode. `repeats`: meta-trainings of other seeds. `runs`: fresh networks in a
    test, `steps` long. `etas`: step sizes of gradient descent to choose from.
    """

    data: str = "digits8x8"
    sizes: tuple[int, ...] = (64, 16, 10)
    samples: tuple[int, ...] = (100, 700)
    held: tuple[int, ...] = (100, 700)
    noise: tuple[float, ...] = (0.2, 0.0)
    batch_size: int = 32
    networks: int = 2
    episodes: tuple[int, ...] = (45, 15)
    outer: tuple[float, ...] = (0.01, 0.002)
    horizon: int = 100
    window: int = 20
    start: float = 0.05
    repeats: int = 2
    runs: int = 40
    steps: int = 150
    gpu: bool = False  # use one where there is one: small networks are faster without
    etas: tuple[float, ...] = tuple(0.01 * 2.0**k for k in range(9))


presets = {
    "quick": Config(
        samples=(100, 600),
        held=(100, 600),
        networks=1,
        episodes=(10,),
        horizon=30,
        window=6,
        outer=(0.02,),
        repeats=1,
        runs=10,
        steps=30,
    ),
    "default": Config(),
    "paper": Config(
        data="mnist",
        sizes=(784, 100, 20, 10),
        samples=(1000, 50_000),
        held=(1000, 10_000),
        networks=1,
        episodes=(300,),
        outer=(0.01,),
        horizon=6000,
        window=150,
        start=1.0,
        repeats=1,
        runs=5,
        steps=4000,
        gpu=True,
    ),
}
expected_seconds = {"quick": 9.0, "default": 300.0, "paper": 150_000.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("learns", "few_train", "few_test", "many_accuracy")


def shards(config: Config) -> list[dict[str, Any]]:
    """Return meta-trainings, the longest first, and gradient descent with a tuned step size, for each setting."""
    settings = range(len(config.samples))
    learned = [
        {"setting": s, "rule": by, "repeat": k} for s in reversed(settings) for k in range(config.repeats) for by in BY
    ]
    return learned + [{"setting": s, "rule": "sgd", "repeat": 0} for s in settings]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return curves of fresh networks, and what was found on the way to them.

    Curves are (4, steps + 1, runs), in the order of CURVES.
    """
    device = context.device if config.gpu else "cpu"
    tasks = partial(_task, config, shard["setting"], device)
    seed = _seed(context.seed, "meta-train", shard["repeat"])
    if shard["rule"] == "sgd":
        eta = _tuned_step_size(config, tasks, _seed(context.seed, "tune"))
        rule, phi, found = GradientDescent(), GradientDescent.Phi(np.float32(eta)), {"eta": np.array(eta)}
    else:
        rule, (phi, objectives) = _RULE, _meta_train(config, tasks, shard["rule"], seed, device)
        found = {"objectives": objectives}
    fresh = _seed(context.seed, "test")
    task = tasks(fresh, config.runs)

    def measure(w: Any) -> Any:
        return np.stack([task.train_loss(w), task.test_loss(w), task.accuracy(w, "train"), task.accuracy(w, "test")])

    curves = rollout(task, rule, phi, steps=config.steps, seed=fresh, measure=measure)
    return {"curves": curves.swapaxes(0, 1).astype(np.float32), **found}


def _seed(*path: Any) -> int:
    return int(rng(path[0], "learned_generalization", *path[1:]).integers(2**32))


def _task(config: Config, setting: int, device: str, seed: int, count: int | None = None) -> MLPClassifier:
    """Return networks that learn from fresh draws of n images, with others held out."""
    data = _images(config.data, config.noise[setting], device)
    net = MLP(config.sizes, "relu", "shape")
    return image_classifiers(
        data,
        net,
        count or config.networks,
        train=config.samples[setting],
        validation=config.held[setting],
        seed=seed % 2**32,
        batch_size=config.batch_size,
        epoch_seed=seed,
    )


@cache
def _images(name: str, noise: float, device: str) -> ImageData:
    """Return the images, with labels redrawn once and for all, on the device."""
    if name == "mnist":
        folder = os.environ.get(MNIST)
        if folder is None:
            raise FileNotFoundError(
                f"learned_generalization: the paper's size needs all of MNIST, and {MNIST} is not set; set it to the "
                "folder of the four IDX files. Nothing is downloaded, and no smaller data are put in their place."
            )
        data = load_mnist(folder)
    else:
        data = {"digits8x8": load_digits8x8, "digits5000": load_digits5000}[name]()
    moved: ImageData = move(noisy_labels(data, noise), namespace_for(device, "device"))
    return moved


def _meta_train(config: Config, tasks: Any, by: str, seed: int, device: str) -> tuple[Any, np.ndarray]:
    """Return the optimizer's weights after meta-training, and the mean objective of every episode."""
    first = _RULE.init_meta(rng(seed, "phi"), np.float32)
    scaled = [(config.start * x).astype(np.float32) for x in first.output]
    phi = move(first._replace(output=type(first.output)(*scaled)), namespace_for(device, "device"))
    rows: list[dict[str, Any]] = []
    for stage, (episodes, outer) in enumerate(zip(config.episodes, config.outer, strict=True)):
        trainer = Trainer(
            _RULE,
            tasks,
            Mean(by),
            _recipe(config, episodes),
            RMSprop(),
            RMSprop.Phi(outer, 0.9, 1e-10),
            Reverse(gradient="stop_gradient", scaling="none"),
            seed + stage,
        )
        phi = trainer.run(phi, progress=rows.append).last
    return phi, np.array([np.mean(row["objective"]) for row in rows])


def _recipe(config: Config, episodes: int) -> Recipe:
    """Return truncated unrolls with stop-gradient; no weights are selected: the last ones are kept, as published."""
    return Recipe(episodes, config.horizon, config.window, clip_value=1e4, evaluate_every=episodes, evaluation_steps=1)


def _tuned_step_size(config: Config, tasks: Any, seed: int) -> float:
    """Return the step size of gradient descent with the least mean validation loss on the way: TbV's objective."""
    task, means = tasks(seed, config.runs), []
    for eta in config.etas:
        phi = GradientDescent.Phi(np.float32(eta))
        curve = rollout(task, GradientDescent(), phi, steps=config.horizon, seed=seed, measure=task.validation_loss)
        means.append(curve[1:].mean())
    return config.etas[int(np.argmin(np.where(np.isfinite(means), means, np.inf)))]


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return the curves of learned rules (settings, repeats, 2, 4, steps + 1, runs) and of gradient descent."""
    found = {(s["setting"], s["rule"], s["repeat"]): p for s, p in zip(shards(config), parts, strict=True)}
    settings, repeats = range(len(config.samples)), range(config.repeats)

    def learned(name: str) -> np.ndarray:
        return np.array([[[found[s, by, k][name] for by in BY] for k in repeats] for s in settings])

    return Table(
        {
            "learned": learned("curves"),
            "objectives": learned("objectives"),
            "sgd": np.array([found[s, "sgd", 0]["curves"] for s in settings]),
            "sgd_eta": np.array([found[s, "sgd", 0]["eta"] for s in settings]),
        },
        {"learned": "nats and shares", "sgd": "nats and shares", "objectives": "nats"},
        {"learned": (None, None, BY, CURVES), "objectives": (None, None, BY), "sgd": (None, CURVES)},
    )


def verdict(config: Config, table: Table) -> Verdict:
    """Compare both ways at the horizon of meta-training, run by run, in each meta-training by itself."""
    at = min(config.horizon, config.steps)
    learned = table.arrays["learned"].astype(np.float64)
    middle, width = interval(learned[:, :, 0, :, at] - learned[:, :, 1, :, at])  # by train less by validation
    low, high = middle - width, middle + width  # (settings, repeats, curves)
    train, test, _, score = range(4)
    less, more = high[0, :, train].max(), low[0, :, test].min()
    gap = np.abs([low[-1, :, score], high[-1, :, score]]).max()
    share = _share_left(learned[..., : at + 1, :])
    few, many = (f"n = {n}, {noise:.0%} redrawn" for n, noise in zip(config.samples, config.noise, strict=True))
    return Verdict(
        claim,
        [
            Check(
                "learns", "mean loss on the way over the loss before learning, largest of all", share, "< 1", share < 1
            ),
            Check("few_train", f"{few}: training loss, by train less by validation, to at most", less, "< 0", less < 0),
            Check("few_test", f"{few}: test loss, by train less by validation, from", more, "> 0", more > 0),
            Check("many_accuracy", f"{many}: gap in test accuracy, to at most", gap, "<= 0.05", gap <= 0.05),
        ],
    )


def _share_left(learned: np.ndarray) -> float:
    """Return the largest mean over steps and runs of what a rule was meta-trained for, as a share of that at step 0.

    Fresh samples stand for the held-out ones: the test loss.
    """
    curves = learned.mean(axis=-1)
    return float(max((curves[:, :, k, k, 1:].mean(axis=-1) / curves[:, :, k, k, 0]).max() for k in range(2)))


def interval(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over runs, the last axis, and the half width of its 95 % interval."""
    from scipy.stats import t as student

    width = student.ppf(0.975, x.shape[-1] - 1) * x.std(axis=-1, ddof=1) / np.sqrt(x.shape[-1])
    return x.mean(axis=-1), width
