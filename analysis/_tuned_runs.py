"""Runs of SGD on random least squares that choose their own step sizes, by training loss or by held-out loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

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


def gains(point: Point, count: int, stream: np.random.Generator) -> np.ndarray:
    """Return R_TbT - R_TbV (2, tasks) on fresh tasks, where validation learns from its half, and from all samples."""
    half, tuning, test = slice(0, point.n // 2), _draw(point, count, stream), _draw(point, count, stream)
    held_out = tuning.samples(slice(point.n // 2, None))
    times = np.geomspace(0.003, 0.95, _GRID) * 2 * point.epochs * point.n / (point.d + point.batch + 1)
    by_train = times[np.argmin(_loss(_run(point, tuning, times, stream), tuning))]
    shorter = times / 2  # the half's epochs have half as many steps
    by_validation = shorter[np.argmin(_loss(_run(point, tuning.samples(half), shorter, stream), held_out))]
    risks = [
        np.sum((_run(point, tasks, np.array([time]), stream)[0] - test.w_star) ** 2, axis=1)
        for tasks, time in ((test, by_train), (test.samples(half), by_validation), (test, by_validation))
    ]
    return np.stack([risks[0] - risks[1], risks[0] - risks[2]])


def _draw(point: Point, count: int, stream: np.random.Generator) -> Tasks:
    """Draw tasks of the paper: w* on the unit sphere, inputs N(0, I), targets with noise sigma."""
    w_star = stream.standard_normal((count, point.d))
    w_star /= np.linalg.norm(w_star, axis=1, keepdims=True)
    X = stream.standard_normal((count, point.n, point.d))
    noise = point.sigma * stream.standard_normal((count, point.n))
    return Tasks(X, np.matmul(X, w_star[..., None])[..., 0] + noise, w_star)


def _loss(w: np.ndarray, tasks: Tasks) -> np.ndarray:
    """Return the mean over tasks of ||Xw - y||^2/(2n) for weights (times, tasks, d)."""
    residuals = np.matmul(np.swapaxes(w, 0, 1), np.swapaxes(tasks.X, 1, 2)) - tasks.y[:, None]
    return np.asarray(np.mean(residuals**2, axis=(0, 2)) / 2)


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
