"""Which of its samples a task sees at a step, where they come in epochs."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.xp import rng


def epoch_rows(seed: int, t: int, count: int, n: int, size: int) -> Any:
    """Return the rows (count, size) of step t: all n in random order, epoch after epoch; what is left over is dropped.

    A function of (seed, t) alone, whatever the seed of the unroll.
    """
    epoch, place = divmod(t, n // size)
    order = orders(rng(seed, "epoch", epoch), count, n)
    return order[:, place * size : (place + 1) * size]


def orders(stream: np.random.Generator, count: int, n: int) -> Any:
    """Return the numbers 0 .. n - 1 in `count` random orders, (count, n)."""
    return stream.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
