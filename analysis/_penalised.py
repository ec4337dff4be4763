"""Penalised linear models on real data, splits side by side, and their loss in cross-validation.

A task is a split: n samples of the half that is not kept for tests, in K folds. K models are trained side by side, each
without its fold, on mean loss + (1/2) sum_j lambda_j w_j^2, and judged by the loss on the fold that it has not seen.
Over the n samples that is the split's cross-validation loss, which every tuner has to make small. A model is then
fitted to all n samples with the penalties that were found, and tested on the half that was kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from analysis._counted import Counted
from analysis._real_problems import fresh_half, problem, scaled
from metagrad import FunctionTask
from metagrad.xp import Array

FOLDS = 5
# With a fold left out the mean is over fewer samples: the penalty of a sample stays, as in scikit-learn's estimators.
LEFT_OUT = FOLDS / (FOLDS - 1)
_NEWTON = 60  # steps, at most: logistic regression needs about ten
_SETTLED = 1e-9


@dataclass(frozen=True)
class About:
    """A data set of `_real_problems`, what is fitted to it, the samples of a split, and its name in sentences."""

    data: str
    logistic: bool
    samples: int
    title: str


MODELS = {
    "products": About("products", False, 150, "ridge, diabetes with products"),
    "diabetes": About("diabetes", False, 100, "ridge, diabetes"),
    "wine": About("wine", False, 60, "ridge, wine"),
    "cancer": About("cancer", True, 240, "logistic, breast cancer"),
    "progress": About("products", True, 150, "logistic, diabetes with products"),
    "digits": About("digits", True, 300, "logistic, digits"),
}


@dataclass(frozen=True)
class Splits:
    """The samples X (splits, n, d) and y (splits, n), those to test on, and the fold (splits, n) of each sample.

    `logistic`: y is 0 or 1, and the last column of X is of ones and is not penalised; else y is centred.
    """

    X: Array
    y: Array
    fresh: Array
    fresh_y: Array
    fold: Array
    logistic: bool

    @classmethod
    def draw(cls, name: str, count: int, stream: np.random.Generator) -> Splits:
        """Draw `count` splits of a model of `MODELS`; the inputs are scaled by the n samples of each alone."""
        about = MODELS[name]
        data, n = problem(about.data), about.samples
        kept = fresh_half(data)
        rest, tested = np.flatnonzero(~kept), np.flatnonzero(kept)
        orders = [np.concatenate([stream.permutation(rest)[:n], tested]) for _ in range(count)]
        X = np.stack([scaled(data, data.inputs_of[order], n) for order in orders])
        y = np.stack([data.target[order] for order in orders])
        if about.logistic:
            middle = np.median(data.target[rest])  # of a label it is 0 or 1
            y = (y > middle if len(np.unique(data.target)) > 2 else y > 0.5).astype(float)
            X = np.concatenate([X, np.ones((*X.shape[:2], 1))], axis=2)
        else:
            y = (y - y[:, :n].mean(axis=1, keepdims=True)) / np.std(data.target[rest])
        fold = np.stack([stream.permutation(np.arange(n) % FOLDS) for _ in range(count)])
        return cls(X[:, :n], y[:, :n], X[:, n:], y[:, n:], fold, about.logistic)

    @property
    def count(self) -> int:
        """The number of splits."""
        return len(self.X)

    @property
    def inputs(self) -> int:
        """The number of coefficients that are penalised."""
        return self.X.shape[2] - self.logistic

    @property
    def flops(self) -> int:
        """What one pass takes for all splits: the gradient of the loss on n samples each, which is two products."""
        return 4 * self.X.size

    @cached_property
    def transposed(self) -> Array:
        """The samples, (splits, d, n)."""
        return np.ascontiguousarray(self.X.swapaxes(1, 2))

    @cached_property
    def held(self) -> Array:
        """Whether a fold holds a sample out, over n: (splits, folds, n)."""
        return (self.fold[:, None, :] == np.arange(FOLDS)[:, None]) / self.X.shape[1]

    @cached_property
    def weight(self) -> Array:
        """The weight of a sample in the loss of a fold's model, (splits, folds, n)."""
        return (1 / self.X.shape[1] - self.held) * LEFT_OUT

    @cached_property
    def largest(self) -> Array:
        """A bound on the curvature of the loss of every fold's model, (splits,)."""
        top = np.linalg.eigvalsh(np.matmul(self.transposed, self.X) / self.X.shape[1])[:, -1]
        return top * LEFT_OUT / (4 if self.logistic else 1)

    def step_sizes(self, theta: Array) -> Array:
        """Return 1/(largest + lambda_j), (splits, 1, d): stable, however large a penalty."""
        return 1 / (self.largest[:, None] + LEFT_OUT * self.penalties(theta))[:, None]

    def losses(self, z: Any, y: Array) -> Any:
        """Return the losses of outputs z: (z - y)^2/2, or the cross-entropy of a label in nats."""
        return np.logaddexp(0.0, z) - y * z if self.logistic else (z - y) ** 2 / 2

    def slopes(self, z: Array, y: Array) -> Array:
        """Return the derivatives of the losses in z."""
        return 1 / (1 + np.exp(-np.clip(z, -500, 500))) - y if self.logistic else z - y

    def penalties(self, theta: Any) -> Any:
        """Return lambda (splits, d) of theta = log lambda, (splits, 1) or (splits, inputs); 0 for the constant."""
        each = np.exp(theta) * np.ones((1, self.inputs))
        return np.concatenate([each, np.zeros((self.count, 1))], axis=1) if self.logistic else each

    def task(self, counted: Counted, theta: Array) -> FunctionTask:
        """Return the splits as tasks of the engine: w is (splits, folds, d), theta the log of the penalties."""
        y = self.y[:, None]

        def loss(w: Any, theta: Any) -> Any:
            data = np.sum(self.weight * self.losses(counted.product(w, self.transposed), y), axis=(1, 2))
            return data + np.sum(self.penalties(theta)[:, None] * w * w, axis=(1, 2)) * (LEFT_OUT / 2)

        def validation(w: Any) -> Any:
            return np.sum(self.held * self.losses(counted.product(w, self.transposed), y), axis=(1, 2))

        w0 = np.zeros((self.count, FOLDS, self.X.shape[2]))
        return FunctionTask(loss, w0, validation=validation, theta=theta)

    def fitted(self, theta: Array) -> Array:
        """Return w (splits, d) of the models that are fitted to all n samples: Newton's method, to the optimum."""
        n, penalty = self.X.shape[1], self.penalties(theta)
        w = np.zeros((self.count, self.X.shape[2]))
        for _ in range(_NEWTON):
            slope = self.slopes(np.einsum("bnd,bd->bn", self.X, w), self.y)
            p = slope + self.y
            curvature = p * (1 - p) if self.logistic else np.ones_like(p)
            g = np.einsum("bnd,bn->bd", self.X, slope) / n + penalty * w
            H = np.matmul(self.transposed * curvature[:, None], self.X) / n + penalty[:, :, None] * np.eye(w.shape[1])
            step = np.linalg.solve(H, g[..., None])[..., 0]
            w = w - step
            if np.abs(step).max() < _SETTLED:
                return w
        return np.where(np.abs(step).max(axis=1, keepdims=True) < _SETTLED, w, np.nan)

    def tested(self, w: Array) -> tuple[Array, Array]:
        """Return the test errors of w (splits, d), (splits,): see `errors`."""
        return self.errors(np.einsum("bnd,bd->bn", self.fresh, w))

    def errors(self, z: Array) -> tuple[Array, Array]:
        """Return the mean test loss of outputs z, as squared error or nats, and the share misclassified (else 0)."""
        loss = self.losses(z, self.fresh_y).mean(axis=1) * (1 if self.logistic else 2)
        wrong = ((z > 0) != (self.fresh_y > 0.5)).mean(axis=1) if self.logistic else np.zeros(self.count)
        return loss, wrong
