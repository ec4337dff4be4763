"""The published random quadratics: f = factor ||W w - y||^2 in both families, with their moments."""

import numpy as np
import pytest
from scipy.stats import kstest

import metagrad as mg
from metagrad import ad
from metagrad.xp import rng

FAMILIES = {"gaussian": "norm", "uniform": "uniform"}


@pytest.mark.parametrize("factor", [1.0, 1 / 128, 3.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_published_one(family, factor):
    task = mg.random_regressions(4, 10, family=family, factor=factor, seed=1)
    root, w = np.sqrt(2 * 10 * factor), rng(0).standard_normal((4, 10))
    W, y = task.X / root, task.y / root
    plain = np.array([factor * np.sum((W[b] @ w[b] - y[b]) ** 2) for b in range(4)])
    np.testing.assert_allclose(task.loss(w, None), plain, rtol=1e-13)
    by_hand = np.stack([2 * factor * W[b].T @ (W[b] @ w[b] - y[b]) for b in range(4)])
    for found in (task.gradient(w, None), ad.grad(lambda u: task.loss(u, None))(w)):
        assert np.linalg.norm(found - by_hand) <= 1e-13 * np.linalg.norm(by_hand)


@pytest.mark.parametrize("family", FAMILIES)
def test_entries_follow_their_law(family):
    task, root = mg.random_regressions(50, 10, family=family, seed=2), np.sqrt(20)
    for entries in (task.X / root, task.y / root):
        assert kstest(entries.ravel(), FAMILIES[family]).pvalue > 1e-4
        other = FAMILIES["uniform" if family == "gaussian" else "gaussian"]
        assert kstest(entries.ravel(), other).pvalue < 1e-12
    assert kstest(task.w0.ravel() / 0.01, "norm").pvalue > 1e-4


def test_other_seeds_are_other_tasks():
    first, again, other = (mg.random_regressions(2, 3, family="uniform", seed=s) for s in (0, 0, 1))
    assert np.array_equal(first.X, again.X)
    assert not np.array_equal(first.X, other.X)


def test_the_dtype_is_asked_for():
    task = mg.random_regressions(2, 3, family="gaussian", dtype=np.float32)
    assert task.X.dtype == task.y.dtype == task.w0.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"family": "normal"}, ValueError, "family is 'normal'"),
        ({"count": 0}, ValueError, "count is 0"),
        ({"d": 2.0}, TypeError, "d is 2.0"),
        ({"family": ["normal"]}, ValueError, r"family is \['normal'\]"),
        ({"factor": "1"}, TypeError, "factor is '1', a str; expected a number"),
        ({"factor": 0.0}, ValueError, "factor is 0.0"),
        ({"factor": float("inf")}, ValueError, "factor is inf"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=f"random_regressions: {message}"):
        mg.random_regressions(**({"count": 2, "d": 3, "family": "gaussian"} | change))


def test_seeds():
    with pytest.raises(ValueError, match="seed is -1; expected an integer of at least 0"):
        mg.random_regressions(2, 3, family="gaussian", seed=-1)
    with pytest.raises(TypeError, match=r"seed is 1\.5, a float; expected an integer"):
        mg.random_regressions(2, 3, family="gaussian", seed=1.5)
