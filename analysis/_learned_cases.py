"""What the experiment learned_explosion runs: the tasks, the LSTMs and their short training, shipped ones, descent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import metagrad as mg
from analysis._learned_runs import Case, bounds, engines, lyapunov, mean_log_sizes, norm_log10, sizes
from metagrad import ad
from metagrad.data import load_digits8x8, load_digits5000
from metagrad.optimizers import Adam, CoordinatewiseLSTM
from metagrad.tasks import MLP, image_classifiers, random_regressions
from metagrad.training import Recipe, Trainer
from metagrad.training.trained import load_trained
from metagrad.xp import rng

DIGITS = MLP((784, 20, 10), "sigmoid", 0.01)  # what the shipped LSTM for digits was trained on


def learned(config: Any, name: str, kind: str, seed: int) -> dict[str, np.ndarray]:
    """Return sizes and what explains them; every run has its own LSTM and task: untrained runs first, then trained."""
    runs, rule = config.runs[name == "digits"], _rule(config, kind)
    fresh = partial(_task, config, name, runs)
    phi = initial(rule, 2 * runs, _seed(seed, "phi", name, kind))
    later = _trained(config, rule, fresh, ad.tree_map(lambda leaf: leaf[runs:], phi), _seed(seed, "train", name, kind))
    phi = ad.tree_map(lambda start, end: np.concatenate([start[:runs], end]), phi, later)
    drawn = _seed(seed, "measured", name, kind)
    draw = partial(_task, config, name, 2 * runs, drawn)
    case = Case(config.horizons, config.fit_from, draw(), rule, phi, drawn)
    found = sizes(case) | {"mean_log": mean_log_sizes(case), "lyapunov": lyapunov(case), "bound": bounds(case)}
    return found | engines(case, draw(dtype=np.float32))


def shipped_quadratics(config: Any, seed: int) -> dict[str, np.ndarray]:
    """Return the sizes for the LSTM that ships for quadratics, with a floor and the curvatures it was trained on."""
    trained, runs = load_trained("lstm_quadratics"), config.shipped[0]
    task, root = _task(config, "floor", runs, _seed(seed, "shipped")), np.sqrt(2 * config.d)
    phi = ad.tree_map(lambda leaf: np.stack([leaf.astype(np.float64)] * runs), trained.phi)
    task = mg.LeastSquares(root * task.X, root * task.y, w0=task.w0)
    return {"log10": sizes(Case(config.horizons, config.fit_from, task, trained.optimizer, phi))["log10"]}


def shipped_digits(config: Any, seed: int) -> dict[str, np.ndarray]:
    """Return log10 of |gradient| (horizons, runs) and of the loss for the LSTM that ships for digits.

    A run is a fresh network of the kind it was trained on, for images that it never saw, in float64: run by run, since
    one phi for all has a fused kernel.
    """
    trained, images = load_trained("lstm_digits"), load_digits5000()
    unseen = replace(images, train_x=images.test_x, train_y=images.test_y)
    task = image_classifiers(unseen, DIGITS, 1, batch_size=128, dtype=np.float64)
    phi = ad.tree_map(lambda leaf: leaf.astype(np.float64), trained.phi)
    found = np.empty((2, len(config.digits_horizons), config.shipped[1]))
    for run in range(config.shipped[1]):
        of = _seed(seed, "shipped digits", run)
        for row, steps in enumerate(config.digits_horizons):
            one = mg.Reverse()(task, trained.optimizer, mg.Final("train"), phi, steps=steps, seed=of)
            gradient = ad.tree_map(lambda leaf: leaf[None], one.grad)
            found[:, row, run] = norm_log10(gradient)[0], one.value.log10abs()[0]
    return {"log10": found[0], "loss": found[1]}


def descent(config: Any, name: str, seed: int) -> dict[str, np.ndarray]:
    """Return the sizes for gradient descent: beyond 2/L on the regressions, which explodes, and at 1/L with a floor."""
    task = _task(config, name, config.runs[0], _seed(seed, "descent", name))
    curvature = np.linalg.norm(task.X, ord=2, axis=(1, 2)) ** 2 / task.n
    phi = mg.GradientDescent.Phi((2.5 if name == "regression" else 1.0) / curvature)
    sizes, floor = [], mg.Scaled.of(task.train_floor())
    for steps in config.horizons:
        found = mg.Reverse(per_task=True)(task.centred(), mg.GradientDescent(), mg.Final(), phi, steps=steps)
        plain, T = found.grad.eta.log10abs(), np.log10(steps)
        sizes.append([plain, plain - T - (found.value + floor).log10abs(), plain - T - found.value.log10abs()])
    return {"log10": np.moveaxis(np.array(sizes), 0, 1)[None]}


def initial(rule: CoordinatewiseLSTM, runs: int, seed: int) -> Any:
    """Return the weights of as many LSTMs as there are runs, side by side."""
    drawn = [rule.init_meta(rng(seed, "phi", run)) for run in range(runs)]
    return ad.unflatten(drawn[0], [np.stack(same) for same in zip(*map(ad.leaves, drawn), strict=True)])


def _seed(seed: int, *names: Any) -> int:
    """Return the seed of a stream of its own, so that no two cases share draws."""
    return int(rng(seed, "learned_explosion", *names).integers(2**31))


def _task(config: Any, name: str, count: int, seed: int, dtype: Any = np.float64) -> Any:
    """Return one problem a run; the curvatures of least squares are of order 1."""
    d = config.d
    if name == "regression":
        return random_regressions(count, d, family="gaussian", factor=1 / (2 * d), seed=seed, dtype=dtype)
    if name == "floor":
        return mg.random_least_squares(count, 4 * d, d, sigma=1.0, seed=seed, dtype=dtype)
    net = MLP((64, config.units, 10), init_std=0.1)
    of = {"train": config.images, "batch_size": config.batch, "dtype": dtype}
    return image_classifiers(load_digits8x8(), net, count, seed=seed % 2**32, **of)


def _rule(config: Any, name: str) -> CoordinatewiseLSTM:
    hidden = (config.hidden,)
    return CoordinatewiseLSTM.quadratic(hidden) if name == "raw" else CoordinatewiseLSTM.paper(hidden)


def _trained(config: Any, rule: CoordinatewiseLSTM, draw: Any, phi: Any, seed: int) -> Any:
    """Return the weights after training, each LSTM by itself: on a fresh task an episode, for the mean log loss."""
    episodes = config.episodes[draw.args[1] == "digits"]
    recipe = Recipe(episodes, config.training_horizon, config.window, evaluate_every=episodes)
    estimator = mg.Reverse(gradient="stop_gradient", per_task=True)
    settings = {"outer_phi": Adam.Phi(0.01), "estimator": estimator, "seed": seed}
    return Trainer(rule, draw, mg.MeanLog(), recipe, **settings).run(phi).last
