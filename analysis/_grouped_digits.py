"""Small networks for real digits that come from sources of several qualities: a weight for each source, and decays.

A split draws samples of the half of the digits that is not kept for tests: to train on, from eight sources, where each
label was replaced by a random one with a probability that grows from 0 at the first source to 1 at the last; and to
validate on, labelled well. A network with one hidden layer is trained for a fixed number of steps on
    sum over sources of s_k (mean loss of the source) + (1/2) sum over layers lambda_l |W_l|^2,    s = softmax(theta).
Tuned are the eight theta and both log lambda.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis._counted import Counted
from analysis._real_problems import fresh_half, problem
from metagrad import ad
from metagrad.xp import Array

TRAIN, HELD_OUT = 200, 100
SOURCES, LAYERS = 8, 2
HIDDEN, CLASSES = 20, 10
STEPS = 40
START = np.array([0.0] * SOURCES + [np.log(1e-3)] * LAYERS)
LOWEST, HIGHEST = (np.array([edge] * SOURCES + [np.log(decay)] * LAYERS) for edge, decay in ((-3, 1e-5), (3, 1e-1)))
ALPHAS = tuple(10.0**k for k in (-4, -2, 0, 1))  # of MLPClassifier, which divides them by the number of samples
STEP_SIZE, MOMENTUM = 0.3, 0.9


@dataclass(frozen=True)
class Groups:
    """Splits: x (splits, n, 64) and y (splits, n) to train, validate and test on, and the starts of the networks."""

    train: tuple[Array, Array]
    held_out: tuple[Array, Array]
    test: tuple[Array, Array]
    start: tuple[Array, ...]

    @classmethod
    def draw(cls, count: int, stream: np.random.Generator) -> Groups:
        """Draw `count` splits; pixels are from -1/2 to 1/2."""
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        x, fresh = images / 16 - 0.5, fresh_half(problem("digits"))
        orders = np.stack([stream.permutation(np.flatnonzero(~fresh))[: TRAIN + HELD_OUT] for _ in range(count)])
        y = labels[orders]
        wrong = np.concatenate([np.repeat(np.linspace(0, 1, SOURCES), TRAIN // SOURCES), np.zeros(HELD_OUT)])
        y = np.where(stream.random(y.shape) < wrong, stream.integers(CLASSES, size=y.shape), y)
        sizes = ((64, HIDDEN), (1, HIDDEN), (HIDDEN, CLASSES), (1, CLASSES))
        start = [stream.standard_normal((count, *size)) / np.sqrt(size[0]) * (size[0] > 1) for size in sizes]
        parts = (x[orders[:, :TRAIN]], y[:, :TRAIN]), (x[orders[:, TRAIN:]], y[:, TRAIN:])
        return cls(*parts, (x[fresh][None], labels[fresh][None]), tuple(start))

    @property
    def count(self) -> int:
        """The number of splits."""
        return len(self.train[0])

    def task(self, counted: Counted, theta: Array) -> mg.FunctionTask:
        """Return the splits as tasks of the engine, theta (splits, sources + layers)."""

        def loss(w: Any, theta: Any) -> Any:
            each = _losses(counted, w, *self.train).reshape((self.count, SOURCES, -1))
            data = np.sum(ad.softmax(theta[:, :SOURCES], axis=1) * np.mean(each, axis=2), axis=1)
            decay = [np.exp(theta[:, SOURCES + k]) * np.sum(w[2 * k] ** 2, axis=(1, 2)) for k in range(LAYERS)]
            return data + (decay[0] + decay[1]) / 2

        def validation(w: Any) -> Any:
            return np.mean(_losses(counted, w, *self.held_out), axis=1)

        return mg.FunctionTask(loss, self.start, validation=validation, theta=theta)

    def tested(self, theta: Array) -> tuple[Array, Array]:
        """Return test loss in nats and share misclassified of networks trained with theta: (splits,)."""
        x, y = self.test
        z = _outputs(Counted(), self.trained(theta), np.broadcast_to(x, (self.count, *x.shape[1:])))
        loss = np.mean(_cross_entropy(z, np.broadcast_to(y, z.shape[:2])), axis=1)
        return loss, np.mean(np.argmax(z, axis=2) != y, axis=1)

    def trained(self, theta: Array) -> Any:
        """Return the networks after training with theta."""
        task, run = self.task(Counted(), theta), {"steps": STEPS, "with_end": True}
        _, end = mg.rollout(task, mg.Nesterov(), mg.Joint(mg.Nesterov.Phi(STEP_SIZE, MOMENTUM), theta), **run)
        return end.w

    def phi(self, theta: Array) -> mg.Joint:
        """Return theta with the step size and the momentum of training, one for each split."""
        each = np.ones((self.count, 1, 1))
        return mg.Joint(mg.Nesterov.Phi(STEP_SIZE * each, MOMENTUM * each), theta)

    def pass_flops(self) -> int:
        """Return the operations of one gradient of the loss, for all splits."""
        counted = Counted()
        task = self.task(counted, np.tile(START, (self.count, 1)))
        counted.flops = 0
        ad.grad(lambda w: np.sum(task.loss(w, None)))(self.start)
        return counted.flops


def by_gradient(groups: Groups, outer: int, rate: float) -> tuple[Array, float]:
    """Return theta (splits, sources + layers) after `outer` steps of Adam through whole runs, and the passes."""
    counted, theta = Counted(), np.tile(START, (groups.count, 1))
    task = groups.task(counted, theta)
    step = mg.Through(mg.Adam(), mg.Adam.Phi(rate, beta1=0.5, beta2=0.9))
    state, counted.flops = step.init(theta), 0
    for k in range(1, outer + 1):
        phi = groups.phi(theta)
        found = mg.meta_gradient(task, mg.Nesterov(), mg.Final("validation"), phi, steps=STEPS, per_task=True)
        theta, state, _ = step.step(theta, state, dataclasses.replace(found, grad=found.grad.task), k)
        theta = np.clip(theta, LOWEST, HIGHEST)
    return theta, counted.flops / groups.pass_flops()


def from_grid(groups: Groups, points: int) -> tuple[Array, float]:
    """Return the best theta of a grid of one decay for both layers, all sources alike, and the passes."""
    tried = [np.tile(START, (groups.count, 1)) for _ in range(points)]
    for theta, decay in zip(tried, np.linspace(LOWEST[-1], HIGHEST[-1], points), strict=True):
        theta[:, SOURCES:] = decay
    return _best(groups, tried, [points])[0]


def at_random(groups: Groups, draws: list[int], stream: np.random.Generator) -> list[tuple[Array, float]]:
    """Return the best theta of the first so many uniform draws over the range, and the passes, for each such number."""
    tried = [stream.uniform(LOWEST, HIGHEST, (groups.count, len(START))) for _ in range(max(draws))]
    return _best(groups, tried, draws)


def _best(groups: Groups, tried: list[Array], counts: list[int]) -> list[tuple[Array, float]]:
    held = [np.mean(_losses(Counted(), groups.trained(theta), *groups.held_out), axis=1) for theta in tried]
    best = [np.argmin(held[:count], axis=0) for count in counts]
    of = np.arange(groups.count)
    return [(np.stack(tried)[at, of], float(count * STEPS)) for at, count in zip(best, counts, strict=True)]


def scikit_learn(groups: Groups) -> tuple[Array, Array, Array]:
    """Return test loss, share misclassified, passes (splits,) of MLPClassifier, its alpha chosen on held-out samples.

    The same network trained by L-BFGS, at most 100 iterations, each counted as one gradient; it weighs all samples
    alike, as its users do who have not another loop around it.
    """
    found = [_classifier(groups, b) for b in range(groups.count)]
    loss, wrong, passes = np.array(found).T
    return loss, wrong, passes


def _classifier(groups: Groups, b: int) -> tuple[float, float, float]:
    from sklearn.neural_network import MLPClassifier

    def nats(model: Any, x: Array, y: Array) -> tuple[float, float]:
        p = np.zeros((len(y), CLASSES))
        p[:, model.classes_] = model.predict_proba(x)
        right = np.log(np.maximum(p[np.arange(len(y)), y], 1e-300))
        return -float(np.mean(right)), float(np.mean(np.argmax(p, axis=1) != y))

    best, tested, passes = np.inf, (np.nan, np.nan), 0.0
    for alpha in ALPHAS:
        model = MLPClassifier(HIDDEN, activation="tanh", solver="lbfgs", alpha=alpha, max_iter=100, random_state=b)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the limit of the iterations
            model.fit(groups.train[0][b], groups.train[1][b])
        passes += model.n_iter_
        held, _ = nats(model, groups.held_out[0][b], groups.held_out[1][b])
        if held < best:
            best, tested = held, nats(model, groups.test[0][0], groups.test[1][0])
    return (*tested, passes)


def _outputs(counted: Counted, w: Any, x: Array) -> Any:
    hidden = np.tanh(counted.product(x, w[0]) + w[1])
    return counted.product(hidden, w[2]) + w[3]


def _losses(counted: Counted, w: Any, x: Array, y: Array) -> Any:
    return _cross_entropy(_outputs(counted, w, x), y)


def _cross_entropy(z: Any, y: Array) -> Any:
    right = y[..., None] == np.arange(CLASSES)
    return ad.logsumexp(z, axis=-1) - np.sum(np.where(right, z, 0.0), axis=-1)
