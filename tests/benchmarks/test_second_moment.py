"""The second-moment case at a tiny size: theory, NumPy and the peers present compute the same numbers."""

import numpy as np
import pytest

from benchmarks import peers, second_moment, sgd_recipe
from benchmarks.settings import Settings

TINY = sgd_recipe.random_sgd(n=9, d=4, steps=30, batch=3)


def test_the_rows_agree_with_the_peers_that_are_there():
    found, _ = peers.load_all(["jax"], second_moment.PEERS)
    rows = second_moment.compare(TINY, found, Settings(repetitions=1))
    assert len(rows) == 2 + len(found)
    assert all(row.agrees for row in rows)


def test_the_recipes_slope_is_that_of_its_values():
    def at(eta: float) -> np.ndarray:
        return sgd_recipe.losses(sgd_recipe.Sgd(TINY.X, TINY.y, TINY.w0, TINY.batch, eta, TINY.steps))

    step = 1e-6 * TINY.eta
    slope = (at(TINY.eta + step)[0] - at(TINY.eta - step)[0]) / (2 * step)
    assert at(TINY.eta)[1] == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_full_batches_without_noise_are_gradient_descent():
    # n identical samples: every batch is the full one, and the moments are those of one trajectory.
    X, y, w0 = np.tile([[1.0, 2.0]], (5, 1)), np.full(5, 3.0), np.array([0.5, -1.0])
    losses = sgd_recipe.losses(sgd_recipe.Sgd(X, y, w0, 1, 0.1, 4))[0]
    w = w0.copy()
    for k in range(5):
        assert losses[k] == pytest.approx((X[0] @ w - 3) ** 2 / 2, rel=1e-12, abs=1e-30)
        w -= 0.1 * X[0] * (X[0] @ w - 3)
