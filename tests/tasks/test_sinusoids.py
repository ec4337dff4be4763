"""Regression by networks, and the sine waves of MAML and of Reptile: losses, gradients, draws, settings."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import metagrad as mg
from metagrad.xp import rng

NETS = {
    "relu": mg.MLP((2, 5, 3), "relu", 0.7),
    "tanh": mg.MLP((2, 4, 4, 1), "tanh", "fan_in"),
    "truncated": mg.MLP((2, 6, 1), "tanh", 0.5, truncated=True),
    "linear": mg.MLP((2, 2), init_std=1.0),
}


def regressor(name="tanh", shared=False, **more):
    net, r = NETS[name], np.random.default_rng(3)
    x, held = r.standard_normal((3, 7, 2)), r.standard_normal((3, 4, 2))
    x, held = (x[0], held[0]) if shared else (x, held)
    y, held_y = r.standard_normal((3, 7, net.sizes[-1])), r.standard_normal((3, 4, net.sizes[-1]))
    return mg.MLPRegressor(net, x, y, (held, held_y), **more)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_losses_are_mean_squared_errors_and_gradients_those_of_the_tape(name, shared):
    task = regressor(name, shared)
    w = task.init(rng(0))
    for loss, x, y in (
        (task.loss(w, None), task.x, task.y),
        (task.train_loss(w), task.x, task.y),
        (task.validation_loss(w), *task.validation),
    ):
        for b in range(3):
            a = x if shared else x[b]
            for i in range(0, len(w), 2):
                a = a @ w[i][b] + w[i + 1][b]
                if i + 2 < len(w):
                    a = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}[task.net.activation](a)
            np.testing.assert_allclose(loss[b], np.mean((a - y[b]) ** 2), rtol=1e-12)
    taped = mg.ad.grad(lambda w: task.loss(w, None))(w)
    for mine, other in zip(task.gradient(w, None), taped, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-14)


def test_minibatches_are_rows_of_the_points():
    task = regressor(batch_size=3, epoch_seed=5)
    w = task.init(rng(0))
    seen = np.concatenate([task.sample(rng(0), t) for t in range(2)], axis=1)  # two batches an epoch, one row left
    assert all(len(set(row)) == 6 for row in seen.tolist())
    rows = task.sample(rng(0), 1)
    every = np.arange(3)[:, None]
    part = replace(task, x=task.x[every, rows], y=task.y[every, rows], batch_size=None, epoch_seed=None)
    np.testing.assert_array_equal(task.loss(w, rows), part.loss(w, None))
    drawn = regressor(batch_size=9).sample(rng(1), 0)
    assert drawn.shape == (3, 9)
    assert drawn.max() < 7


def test_initial_weights():
    truncated = mg.MLP((1, 40, 40, 1), "relu", 0.01, truncated=True).draw(rng(0), 50, np.float64)
    weights = np.concatenate([leaf.ravel() for leaf in truncated[0::2]]) / 0.01
    assert np.abs(weights).max() <= 2
    assert stats.kstest(weights[:20_000], stats.truncnorm(-2, 2).cdf).pvalue > 1e-6
    assert not any(leaf.any() for leaf in truncated[1::2])
    assert mg.MLP((1, 3, 1), "relu", 0.01, truncated=True).draw(rng(0), 2, np.float32)[0].dtype == np.float32
    uniform = mg.MLP((4, 9, 1), "tanh", "fan_in").draw(rng(0), 400, np.float64)
    for leaf, rows in zip(uniform, (4, 4, 9, 9), strict=True):
        scaled = leaf.ravel() * np.sqrt(rows)
        assert stats.kstest(scaled, stats.uniform(-1, 2).cdf).pvalue > 1e-6
        assert np.abs(scaled).max() <= 1


def test_the_tasks_are_sine_waves():
    task = mg.Sinusoids.maml(count=200)(3)
    held_x, held_y = task.validation
    for b in range(200):
        x, y = np.concatenate([task.x[b], held_x[b]])[:, 0], np.concatenate([task.y[b], held_y[b]])[:, 0]
        basis = np.stack([np.sin(x), np.cos(x)], axis=1)
        (u, v), *_ = np.linalg.lstsq(basis, y, rcond=None)
        np.testing.assert_allclose(basis @ [u, v], y, atol=1e-9)
        amplitude, phase = np.hypot(u, v), np.arctan2(-v, u)
        assert 0.1 - 1e-9 <= amplitude <= 5 + 1e-9
        assert -1e-9 <= phase <= np.pi + 1e-9
    assert np.abs(task.x).max() <= 5
    assert stats.kstest(task.x.ravel(), stats.uniform(-5, 10).cdf).pvalue > 1e-6


def test_the_families_of_both_papers():
    maml, reptile = mg.Sinusoids.maml()(0), mg.Sinusoids.reptile()(0)
    assert maml.net == mg.MLP((1, 40, 40, 1), "relu", 0.01, truncated=True)
    assert (maml.networks, maml.n, maml.validation[0].shape, maml.full_batch) == (25, 10, (25, 10, 1), True)
    assert reptile.net == mg.MLP((1, 64, 64, 1), "tanh", "fan_in")
    assert (reptile.networks, reptile.n, reptile.batch_size) == (1, 50, 10)
    np.testing.assert_array_equal(reptile.x[0, :, 0], np.linspace(-5, 5, 50))
    passed = np.concatenate([reptile.sample(rng(9), t)[0] for t in range(5)])
    assert sorted(passed) == list(range(50)), "five steps see every point once"
    test = mg.Sinusoids.reptile(count=30, shots=10)(1)
    assert (test.n, test.full_batch, test.validation[0].shape) == (10, True, (30, 50, 1))
    assert np.isin(test.x, np.linspace(-5, 5, 50)).all()
    assert min(len(np.unique(row)) for row in test.x) < 10, "with replacement"
    assert mg.Sinusoids.reptile(query=None)(0).validation is None


def test_a_seed_is_a_draw():
    family = mg.Sinusoids.maml(count=2, dtype=np.float32)
    one, again, other = family(4), family(4), family(5)
    np.testing.assert_array_equal(one.x, again.x)
    assert not np.array_equal(one.x, other.x)
    assert one.x.dtype == one.y.dtype == one.init(rng(0))[0].dtype == np.float32


X, Y = np.zeros((3, 5, 1)), np.zeros((3, 5, 1))
NET = mg.MLP((1, 4, 1), "tanh")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"net": (1, 4, 1)}, TypeError, "net is a tuple; expected an MLP"),
        ({"x": X[..., 0]}, ValueError, r"x is of shape \(3, 5\); expected \(n, 1\)"),
        ({"y": np.zeros((3, 5, 2))}, ValueError, r"y is of shape \(3, 5, 2\)"),
        ({"y": Y[:, :4]}, ValueError, r"y is of shape \(3, 4, 1\); expected 5 points"),
        ({"y": Y[:2]}, ValueError, "the number of tasks is 3 in x, 2 in y"),
        ({"x": X.astype(np.float32)}, TypeError, "y is of float64 while x is float32"),
        ({"x": X + np.nan}, ValueError, "x is not finite"),
        ({"validation": X}, TypeError, r"validation is a ndarray; expected a pair"),
        ({"validation": (X, Y[:, :2])}, ValueError, r"validation y is of shape"),
        ({"count": 4}, ValueError, "the number of tasks is 4 in count, 3 in x"),
        ({"batch_size": 6, "epoch_seed": 1}, ValueError, "batch_size is 6; expected at most n = 5"),
        ({"epoch_seed": 1}, ValueError, "batch_size is None"),
    ],
)
def test_bad_regressors(change, error, message):
    with pytest.raises(error, match=f"MLPRegressor: {message}"):
        mg.MLPRegressor(**({"net": NET, "x": X, "y": Y} | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"net": mg.MLP((2, 1))}, ValueError, "net is one with 2 inputs and 1 outputs"),
        ({"shots": None}, ValueError, "shots is None; expected a number of points"),
        ({"amplitude": (2.0, 1.0)}, ValueError, "amplitude is .* expected its lower end first"),
        ({"phase": 1.0}, TypeError, "phase is 1.0"),
        ({"count": 0}, ValueError, "count is 0"),
        ({"grid": 0}, ValueError, "grid is 0"),
        ({"dtype": int}, TypeError, "dtype is"),
    ],
)
def test_bad_families(change, error, message):
    with pytest.raises(error, match=f"Sinusoids: {message}"):
        mg.Sinusoids(**change)
