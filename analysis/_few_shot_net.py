"""A small convolutional network on the tape, one a problem side by side, and few-shot problems as tasks for it."""

from __future__ import annotations

from typing import Any

import numpy as np

import metagrad as mg
from metagrad import ad
from metagrad.data import Episodes

KERNEL = 3
STRIDE = 2
LAYERS = 2
INK = 3.0  # what a pixel full of ink counts: most have none, and gradients are small where inputs are
_OUT = 0.5  # of the last layer's weights against those that keep the variance: the network begins with low confidence


def init(stream: np.random.Generator, side: int, channels: int, ways: int) -> tuple[Any, ...]:
    """Return (W_1, b_1, ..., W, b) of one network in float32: He et al. 2015, small last weights, biases 0."""
    found: list[Any] = []
    inputs = 1
    for _ in range(LAYERS):
        fan_in = KERNEL**2 * inputs
        found += [np.sqrt(2 / fan_in) * stream.standard_normal((fan_in, channels)), np.zeros(channels)]
        inputs, side = channels, -(-side // STRIDE)
    fan_in = inputs * side**2
    found += [_OUT / np.sqrt(fan_in) * stream.standard_normal((fan_in, ways)), np.zeros(ways)]
    return tuple(leaf.astype(np.float32) for leaf in found)


def windows(x: Any) -> Any:
    """Return the 3 x 3 windows of x (B, n, h, h, c) at every second place, (B, n, h/2, h/2, 9 c), zeros around."""
    batch, n, height, width, channels = x.shape
    row = np.zeros((batch, n, 1, width, channels), x.dtype)
    x = np.concatenate([row, x, row], axis=2)
    column = np.zeros((batch, n, height + 2, 1, channels), x.dtype)
    x = np.concatenate([column, x, column], axis=3)
    parts = [
        x[:, :, i : i + height + height % 2 - 1 : STRIDE, j : j + width + width % 2 - 1 : STRIDE]
        for i in range(KERNEL)
        for j in range(KERNEL)
    ]
    return np.concatenate(parts, axis=-1)


def seen(x: Any) -> Any:
    """Return the windows that the first layer sees of images (B, n, side * side): they are the same at every step."""
    side = round(x.shape[-1] ** 0.5)
    return np.ascontiguousarray(windows(x.dtype.type(INK) * x.reshape(*x.shape[:2], side, side, 1)))


def outputs(w: Any, x: Any) -> Any:
    """Return z (B, n, ways) from what the first layer sees, `seen(images)`."""
    for layer in range(LAYERS):
        x = windows(x) if layer else x
        rows = x.reshape(x.shape[0], -1, x.shape[-1])
        z = ad.relu(np.matmul(rows, w[2 * layer]) + w[2 * layer + 1][:, None, :])
        x = z.reshape(*x.shape[:-1], z.shape[-1])
    return np.matmul(x.reshape(*x.shape[:2], -1), w[-2]) + w[-1][:, None, :]


def cross_entropy(w: Any, x: Any, y: Any) -> Any:
    """Return the mean of log sum_c exp(z_c) - z_y over the samples, (B,)."""
    z = outputs(w, x)
    right = (y[..., None] == np.arange(z.shape[-1])).astype(z.dtype)
    return np.mean(ad.logsumexp(z, axis=-1) - np.sum(z * right, axis=-1), axis=-1)


def learned_start(episodes: Episodes, start: tuple[Any, ...], batch: int | None = None) -> mg.LearnedStart:
    """Return the problems as a task whose meta-parameters are the start, one for all; `batch` as in `fitted_from`."""
    every = tuple(np.repeat(leaf[None], episodes.count, axis=0) for leaf in start)
    return mg.LearnedStart(fitted_from(episodes, every, batch))


def fitted_from(episodes: Episodes, w0: tuple[Any, ...], batch: int | None = None) -> mg.FunctionTask:
    """Return the problems as a task that starts at w0, each array (B, ...); its validation loss is on the queries.

    `batch`: how many samples of the support set a step sees, another draw at each; None for all.
    """
    (x, y), (held, labels) = (seen(episodes.support_x), episodes.support_y), (seen(episodes.query_x), episodes.query_y)

    def validation(w: Any) -> Any:
        return cross_entropy(w, held, labels)

    if batch is None:
        return mg.FunctionTask(lambda w: cross_entropy(w, x, y), w0, validation=validation)

    def sampler(stream: np.random.Generator, t: int) -> Any:
        return np.argsort(stream.random(y.shape), axis=1)[:, :batch]

    def loss(w: Any, sample: Any) -> Any:
        rows = np.arange(len(y))[:, None]
        return cross_entropy(w, x[rows, sample], y[rows, sample])

    return mg.FunctionTask(loss, w0, sampler=sampler, validation=validation)


def accuracy(episodes: Episodes) -> Any:
    """Return the measure w -> the share of queries that are told rightly, (B,)."""
    held = seen(episodes.query_x)
    return lambda w: np.mean(np.argmax(outputs(w, held), axis=-1) == episodes.query_y, axis=-1)


def nearest_neighbour(episodes: Episodes, cell: int) -> np.ndarray:
    """Return the share of queries whose nearest support image has their label, (B,).

    Distances are Euclidean, between means over `cell` x `cell` pixels, which `cell` divides the side into.
    """
    support, query = (_means(x, cell) for x in (episodes.support_x, episodes.query_x))
    squares = (np.sum(x * x, axis=-1) for x in (query, support))
    first, second = squares
    distances = first[:, :, None] + second[:, None, :] - 2 * np.matmul(query, np.swapaxes(support, 1, 2))
    told = np.take_along_axis(episodes.support_y, np.argmin(distances, axis=-1), axis=1)
    share: np.ndarray = np.mean(told == episodes.query_y, axis=-1)
    return share


def _means(x: Any, cell: int) -> Any:
    side = round(x.shape[-1] ** 0.5)
    cells = x.reshape(*x.shape[:2], side // cell, cell, side // cell, cell)
    return cells.mean(axis=(3, 5)).reshape(*x.shape[:2], -1)
