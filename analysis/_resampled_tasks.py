"""Bootstrap over tasks with the same draws for all rules, so that what is compared is paired; losses may be inf."""

from __future__ import annotations

import numpy as np

from metagrad.xp import rng


def draws(stream: str, count: int, resamples: int = 1000) -> np.ndarray:
    """Return how often each of `count` tasks is drawn in each resample, (tasks, resamples)."""
    return rng(0, stream, "bootstrap").multinomial(count, np.full(count, 1 / count), size=resamples).T


def means(losses: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of the losses (..., tasks) in each resample, (..., resamples).

    It is inf where a task with the loss inf is drawn.
    """
    lost = np.isinf(losses)
    found = np.where(lost, 0.0, losses) @ drawn / len(drawn)
    found[lost.astype(float) @ drawn > 0] = np.inf
    return found


def over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return above/below: 0 below inf, inf over a number, and NaN, which decides nothing, of two inf."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(above / below)


def interval(found: np.ndarray) -> np.ndarray:
    """Return the 95 % interval (2, ...) of what was found in the resamples, the last axis."""
    return np.asarray(np.quantile(found, [0.025, 0.975], axis=-1, method="lower"))  # no interpolation: there may be inf


def share_of_worst(losses: np.ndarray, drawn: np.ndarray, part: float) -> np.ndarray:
    """Return what share of the sum of the losses (tasks,) the worst `part` of the drawn tasks has, (resamples,).

    >>> share_of_worst(np.array([1.0, 2.0, 5.0, 0.0]), np.ones((4, 1), dtype=int), 0.25)
    array([0.625])
    """
    order = np.argsort(-losses)
    x, times = losses[order], drawn[order]
    wanted = round(part * len(losses))
    taken = np.clip(wanted - (np.cumsum(times, axis=0) - times), 0, times)
    return over(x @ taken, x @ times)
