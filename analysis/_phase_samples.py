"""Both ways to tune at finite size, on sampled tasks and on averages given X: how the risks they reach compare.

A part of `phase_diagram`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from metagrad import random_least_squares
from metagrad.theory import least_squares
from metagrad.theory.least_squares import Regression, average_case
from metagrad.theory.least_squares.krylov import krylov_regressions

_DRAWS = 200  # of the bootstrap
_LARGEST = 1e250  # losses above are cut, so that sums stay in the range


def log_ratios(
    size: tuple[int, int], sigma: float, steps: tuple[int, ...], counts: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Return log(R_TbT/R_TbV), the median over fresh tasks, and its standard error: (2, ways, steps).

    `size`: samples and inputs (n, d) of a task. `counts`: tasks that both ways are tuned on, and fresh tasks. Ways: by
    validation run on the half that it was tuned on, and on all samples. The error is that of a bootstrap of both sets
    of tasks, so that it holds what the tuning adds.
    """
    n, d = size
    etas = step_sizes(n, d)
    tuned, fresh = ([_losses(size, sigma, steps, etas, rng, k) for _ in range(count)] for k, count in enumerate(counts))
    losses, risks = (np.minimum(np.moveaxis(found, 1, 0), _LARGEST) for found in (tuned, fresh))
    return np.moveaxis([_compared(*pair, rng) for pair in zip(losses, np.log(risks), strict=True)], 0, -1)


def average_ratios(
    size: tuple[int, int], sigmas: tuple[float, ...], steps: tuple[int, ...], count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return log(R_TbT/R_TbV) where losses and risks are averaged over the targets: (2, sigmas, ways, steps).

    The median over `count` Gaussian X, with its standard error: what the sampled tasks tend to at this d when there
    are many. Tuning and result are of the same X; their error is that of a bootstrap of them.
    """
    n, d = size
    etas, found = step_sizes(n, d), []
    for _ in range(count):
        X = rng.standard_normal((n, d))
        whole, first = (Regression.of(x, np.zeros(len(x)), method=_method(n, d)) for x in (X, X[: n // 2]))
        found.append([[_averages(whole, first, X[n // 2 :], sigma, t, etas) for t in steps] for sigma in sigmas])
    cut = np.minimum(found, _LARGEST)  # (X, sigmas, steps, 2 [tuning, risks], 2, etas)
    each = [
        [_compared(cut[:, i, k, 0], np.log(cut[:, i, k, 1]), rng, same=True) for k in range(len(steps))]
        for i in range(len(sigmas))
    ]
    return np.moveaxis(each, (1, 2), (3, 0))


def _averages(
    whole: Regression, first: Regression, X_val: np.ndarray, sigma: float, t: int, etas: np.ndarray
) -> list[list[np.ndarray]]:
    """Return both losses to tune on, and the risks of the runs on all samples and on the first half, given X."""
    train = average_case.expected_train_loss(whole, etas, t, sigma=sigma)
    held_out = average_case.expected_validation_loss(first, X_val, etas, t, sigma=sigma)
    risks = (average_case.expected_risk(run, etas, t, sigma=sigma) for run in (whole, first))
    return [[x.to_float(ieee=True) for x in pair] for pair in ((train, held_out), risks)]


def _compared(loss: np.ndarray, log_risk: np.ndarray, rng: np.random.Generator, same: bool = False) -> np.ndarray:
    """Return median log ratios and their bootstrap errors, (2, ways), from (tasks, 2, etas) each.

    `same`: the tasks that are tuned on are those whose risks are given.
    """
    tuned, fresh = len(loss), len(log_risk)
    picked = rng.integers(tuned, size=(_DRAWS, tuned))
    weights = np.stack([np.bincount(each, minlength=tuned) for each in picked]) / tuned
    best = _lowest(np.tensordot(weights, loss, 1))
    draws = _medians(log_risk, picked if same else rng.integers(fresh, size=(_DRAWS, fresh)), best)
    middle = _medians(log_risk, np.arange(fresh)[None], _lowest(loss.mean(axis=0)[None]))[0]
    return np.stack([middle, np.std(draws, axis=0, ddof=1)])


def _method(n: int, d: int) -> Literal["gram", "svd"]:
    return "gram" if n > 4 * d else "svd"


def step_sizes(n: int, d: int) -> np.ndarray:
    """Return step sizes from 2e-4 to 2.24 over the largest eigenvalue of the limit, dense at the edge of stability."""
    parts = np.geomspace(1e-4, 0.6, 50, endpoint=False), np.linspace(0.6, 0.88, 8, endpoint=False)
    return np.concatenate([*parts, np.linspace(0.88, 1.12, 41)]) * 2 / (1 + np.sqrt(d / n)) ** 2


def _lowest(loss: np.ndarray) -> np.ndarray:
    """Return where on the grid of step sizes each loss (draws, 2, etas) is least: places and offsets, (2, draws, 2).

    The offset is that of the parabola through the logarithms at three neighbours.
    """
    place = np.clip(np.argmin(loss, axis=-1), 1, loss.shape[-1] - 2)
    low, middle, high = (np.log(np.take_along_axis(loss, place[..., None] + k, -1)[..., 0]) for k in (-1, 0, 1))
    bend = low - 2 * middle + high
    offset = np.where(bend > 0, (low - high) / (2 * np.where(bend > 0, bend, 1)), 0)
    return np.stack([place, np.clip(offset, -1, 1)])


def _medians(log_risk: np.ndarray, chosen: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return median log ratios of risks (draws, ways) of the tasks `chosen` (draws, tasks), at the places `best`.

    `log_risk` (tasks, 2, etas): of the runs on all samples and on the half. `best` (2, draws, 2): as `_lowest` returns
    it, by train and by validation; between the step sizes of the grid the logarithms are interpolated by parabolas.
    """

    def run(which: int, by: int) -> np.ndarray:
        place, offset = best[0, :, by, None].astype(int), best[1, :, by, None]
        low, middle, high = (log_risk[chosen, which, place + k] for k in (-1, 0, 1))
        return np.asarray(middle + offset * (high - low) / 2 + offset**2 * (low - 2 * middle + high) / 2)

    return np.stack([np.median(run(0, 0) - run(which, 1), axis=1) for which in (1, 0)], axis=-1)


def _losses(
    size: tuple[int, int], sigma: float, steps: tuple[int, ...], etas: np.ndarray, rng: np.random.Generator, fresh: int
) -> np.ndarray:
    """Return what one task says at each horizon (steps, 2, etas).

    A task to tune on: train loss on all samples, loss of the first half's run on the second half. A fresh one: the
    risk of the run on all samples, and on the first half.
    """
    n, d = size
    task = random_least_squares(1, n, d, sigma=sigma, seed=int(rng.integers(2**62)))
    halves = np.array([np.ones(n, bool), np.arange(n) < n // 2])
    method: Literal["gram", "products"] = "gram" if n > 2 * d else "products"
    whole, first = krylov_regressions(task.X[0], task.y[0], max(steps), train=halves, method=method)
    held_out = task.X[0, n // 2 :], task.y[0, n // 2 :]

    def tuning(t: int) -> tuple[Any, Any]:
        train = least_squares.train_loss(whole, etas, t)
        return train, least_squares.validation_loss(first, *held_out, etas, t)

    def reached(t: int) -> tuple[Any, ...]:
        return tuple(least_squares.risk(run, task.w_star[0], etas, t) for run in (whole, first))

    found: Callable[[int], tuple[Any, ...]] = reached if fresh else tuning
    return np.array([[x.to_float(ieee=True) for x in found(t)] for t in steps])
