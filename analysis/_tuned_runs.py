"""Runs of SGD on least squares with given inputs that choose their own step sizes, by training or by held-out loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis import _tuned_curves as tuned

_GRID = 24


@dataclass(frozen=True)
class Point:
    """Inputs, samples, noise, batch size, and epochs over whatever is trained on."""

    d: int
    n: int
    sigma: float
    batch: int
    epochs: int


class Tasks(NamedTuple):
    """Samples X (tasks, n, d), y (tasks, n) and the weights w* (tasks, d) behind them."""

    X: np.ndarray
    y: np.ndarray
    w_star: np.ndarray

    def samples(self, which: slice) -> Tasks:
        """Return the tasks with some of their samples."""
        return Tasks(self.X[:, which], self.y[:, which], self.w_star)


def risks(
    point: Point, X: np.ndarray, counts: tuple[int, int], stream: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the training times by train and by validation (2,), and the risks (3, N, M) of fresh runs with them.

    `X` (N, n, d) are the inputs. `counts`: runs for each X to choose with, and fresh ones, M. Risks: by train, by
    validation from its half, the same from all samples. What is held out has inputs of its own in every task.
    """
    (count, n, d), half = X.shape, slice(0, point.n // 2)
    tuning = draw(point, X, counts[0], stream)
    others = stream.standard_normal((counts[0] * count, n - n // 2, d))
    held_out = _targets(point, others, tuning.w_star, stream)
    times = np.geomspace(0.003, 0.95, _GRID) * 2 * point.epochs * n / (d + point.batch + 1)
    shorter = times / 2  # the half's epochs have half as many steps
    looks = (
        (times, _losses(_run(point, tuning, times, stream), tuning)),
        (shorter, _losses(_run(point, tuning.samples(half), shorter, stream), held_out)),
    )
    chosen = np.array([_best(where, loss.reshape(_GRID, count, counts[0])) for where, loss in looks])
    test = draw(point, X, counts[1], stream)
    found = [
        np.sum((_run(point, tasks, chosen[[which]], stream)[0] - test.w_star) ** 2, axis=1)
        for tasks, which in ((test, 0), (test.samples(half), 1), (test, 1))
    ]
    return chosen, np.stack(found).reshape(3, count, counts[1])


def _best(times: np.ndarray, losses: np.ndarray) -> float:
    """Return the time of the least mean of the logarithm over X; losses (times, N, M)."""
    means = np.mean(np.log(losses.mean(axis=2)), axis=1)
    return float(np.exp(np.interp(tuned.minimum(means[None])[0], np.arange(len(times)), np.log(times))))


def draw(point: Point, X: np.ndarray, count: int, stream: np.random.Generator) -> Tasks:
    """Draw `count` tasks of the paper for each X: w* on the unit sphere, targets with noise sigma."""
    w_star = stream.standard_normal((len(X) * count, point.d))
    w_star /= np.linalg.norm(w_star, axis=1, keepdims=True)
    return _targets(point, np.repeat(X, count, axis=0), w_star, stream)


def _targets(point: Point, X: np.ndarray, w_star: np.ndarray, stream: np.random.Generator) -> Tasks:
    noise = point.sigma * stream.standard_normal(X.shape[:2])
    return Tasks(X, np.matmul(X, w_star[..., None])[..., 0] + noise, w_star)


def _losses(w: np.ndarray, tasks: Tasks) -> np.ndarray:
    """Return ||Xw - y||^2/(2n) of each task (times, tasks) for weights (times, tasks, d)."""
    residuals = np.matmul(np.swapaxes(w, 0, 1), np.swapaxes(tasks.X, 1, 2)) - tasks.y[:, None]
    return np.asarray(np.mean(residuals**2, axis=2).T / 2)


def _run(point: Point, tasks: Tasks, times: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    """Return w (times, tasks, d) after SGD with replacement, for training times eta T; the same batches for all."""
    count, n, d = tasks.X.shape
    steps = point.epochs * n // point.batch
    rate = (times / steps / point.batch)[:, None, None]
    w = np.zeros((len(times), count, d))
    every = np.arange(count)[:, None]
    for _ in range(steps):
        drawn = stream.integers(0, n, (count, point.batch))
        x, y = tasks.X[every, drawn], tasks.y[every, drawn]  # (tasks, batch, d), (tasks, batch)
        residuals = np.einsum("gtd,tbd->gtb", w, x) - y
        w -= rate * np.einsum("gtb,tbd->gtd", residuals, x)
    return w
