"""Random least-squares tasks, and the split of a task's samples into training and validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from metagrad import checks as arguments
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.tasks.least_squares import _checks as checks
from metagrad.tasks.least_squares._products import predictions
from metagrad.tasks.least_squares.task import LeastSquares
from metagrad.xp import namespace, rng


def random_least_squares(
    count: int, n: int, d: int, *, sigma: float, seed: int = 0, split: float | None = None, dtype: Any = np.float64
) -> LeastSquares:
    """Return `count` random tasks of the paper: y = X w* + sigma xi, x and xi standard normal, |w*| = 1, w_0 = 0.

    `split`: the share of the n samples that is trained on, the rest is for validation (1/2 in the paper); None trains
    on all of them. w* is uniform on the unit sphere and known to the task, which therefore has a risk. ValueError for
    counts below 1, sigma < 0, and a split that leaves an empty part. Source: Wang et al. 2021, section 4.

    >>> random_least_squares(3, 10, 4, sigma=1.0, split=0.5).X.shape
    (3, 5, 4)
    """
    where = "random_least_squares"
    for name, value in (("count", count), ("n", n), ("d", d)):
        arguments.count(where, name, value)
    checks.check_noise(where, sigma)
    arguments.float_dtype(where, "dtype", dtype)
    size = n if split is None else checks.training_size(where, "split", split, n)
    stream = rng(seed, where, count, n, d)
    w_star = stream.standard_normal((count, d))
    w_star /= np.linalg.norm(w_star, axis=-1, keepdims=True)
    X = stream.standard_normal((count, n, d))
    y = predictions(X, w_star) + sigma * stream.standard_normal((count, n))
    X, y, w_star = (x.astype(dtype) for x in (X, y, w_star))
    rest = None if size == n else (X[:, size:], y[:, size:])
    return LeastSquares(X[:, :size], y[:, :size], validation=rest, w_star=w_star)


def random_regressions(
    count: int,
    d: int,
    *,
    family: Literal["gaussian", "uniform"],
    factor: float = 1.0,
    seed: int = 0,
    dtype: Any = np.float64,
) -> LeastSquares:
    """Return `count` tasks f(w) = factor ||W w - y||^2, W (d, d) and y (d,) random, from w_0 ~ N(0, 0.01^2).

    Entries of W and y are standard normal ("gaussian", the paper's) or uniform in [0, 1) ("uniform", its public
    code's: the mean of W gives one large eigenvalue). The public code takes the mean over the batch, which divides
    every task's gradient, the input of a learned optimizer, by the batch size: factor=1/count.
    ValueError for counts below 1, another family, and a factor that is not finite and above 0.
    Source: Andrychowicz et al. 2016, section 3.1.

    >>> random_regressions(128, 10, family="gaussian").X.shape
    (128, 10, 10)
    """
    where = "random_regressions"
    for name, value in (("count", count), ("d", d)):
        arguments.count(where, name, value)
    if not isinstance(family, str) or family not in _ENTRIES:
        bad_value(where, "family", repr(family), "a known family", nearest(str(family), list(_ENTRIES)))
    if isinstance(factor, bool | str) or not isinstance(factor, int | float):
        bad_type(where, "factor", f"{factor!r}, a {type(factor).__name__}", "a number", "1/count for the mean.")
    arguments.float_dtype(where, "dtype", dtype)
    if not 0 < factor < math.inf:
        bad_value(where, "factor", factor, "a finite number above 0")
    stream, entries = rng(seed, where, family, count, d), _ENTRIES[family]
    root = math.sqrt(2 * d * factor)  # the loss of LeastSquares is a mean over d rows, halved
    X, y = (root * entries(stream, shape) for shape in ((count, d, d), (count, d)))
    w0 = 0.01 * stream.standard_normal((count, d))
    return LeastSquares(X.astype(dtype), y.astype(dtype), w0=w0.astype(dtype))


_ENTRIES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Any]] = {
    "gaussian": lambda stream, shape: stream.standard_normal(shape),
    "uniform": lambda stream, shape: stream.random(shape),
}


def split_task(task: LeastSquares, fraction: float = 0.5, seed: int = 0) -> LeastSquares:
    """Return the task that trains on a random share `fraction` of the samples and validates on the others.

    Every task is split in its own way, tasks with a shared X in the same. ValueError for a share that leaves an empty
    part, and for a task that has validation data already.
    """
    where = "split_task"
    arguments.instance(where, "task", task, LeastSquares)
    if task.validation is not None:
        bad_value(where, "task", "one with validation data", "one without", "Build it with validation=None.")
    if task.mask is not None:
        remedy = "Split the samples of each task yourself, and give LeastSquares lists of both parts."
        bad_value(where, "task", "one with tasks of unequal sizes", "tasks of equal sizes", remedy)
    size = checks.training_size(where, "fraction", fraction, task.n)
    count = 1 if task.X.ndim == 2 else task.y.shape[0]
    order = rng(seed, where, count, task.n).permuted(np.tile(np.arange(task.n), (count, 1)), axis=1)
    xp = namespace(task.X)
    order, tasks = xp.asarray(order), xp.arange(task.y.shape[0])[:, None]
    X = task.X[order[0]] if task.X.ndim == 2 else task.X[tasks, order]
    y = task.y[tasks, order]
    rest = X[..., size:, :], y[:, size:]
    return replace(task, X=X[..., :size, :], y=y[:, :size], validation=rest)
