"""The experiment on few-shot characters: its network against a plain convolution, its baselines, and invented data."""

import dataclasses

import numpy as np
import pytest

import metagrad as mg
from analysis import _few_shot_net as net
from analysis import few_shot
from analysis.framework.contract import Context
from metagrad.data import Characters, draw_episodes
from tests.data.omniglot_files import write_small

TINY = few_shot.Config(4, 2, 6, ways=3, channels=2, batch=2, steps=2, reptile_steps=2, test_steps=2, random_steps=2)


def characters(classes=4, side=6, noise=0.05):
    stream = np.random.default_rng(0)
    shapes = stream.random((classes, 1, side, side))
    images = np.clip(shapes + noise * stream.standard_normal((classes, 20, side, side)), 0, 1)
    return Characters(images.astype(np.float32), ("A",) * classes)


@pytest.fixture
def episodes():
    return draw_episodes(characters(), 3, 2, 4, 5)


@pytest.fixture
def start():
    return net.init(np.random.default_rng(1), 6, 4, 3)


def convolved(x, kernel, bias):
    """Return a 3 x 3 convolution of x (h, h, c), stride 2, zeros around, pixel by pixel; kernel (9 c, channels)."""
    h, _, c = x.shape
    padded = np.zeros((h + 2, h + 2, c))
    padded[1:-1, 1:-1] = x
    out = np.zeros((-(-h // 2), -(-h // 2), kernel.shape[1]))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            patch = padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            out[i, j] = sum(patch[a, b] @ kernel.reshape(3, 3, c, -1)[a, b] for a in range(3) for b in range(3)) + bias
    return np.maximum(out, 0)


@pytest.mark.parametrize("side", [6, 7, 14])
def test_the_network_is_two_convolutions_and_a_linear_layer(side):
    data = draw_episodes(characters(side=side), 3, 2, 4, 2)
    start = net.init(np.random.default_rng(1), side, 4, 3)
    stream = np.random.default_rng(2)
    w = [np.stack([leaf + 0.1 * stream.standard_normal(leaf.shape) for _ in range(2)]) for leaf in start]
    found = net.outputs(w, net.seen(data.support_x))
    for b in range(2):
        for k in range(data.support_x.shape[1]):
            x = net.INK * data.support_x[b, k].reshape(side, side, 1)
            x = convolved(convolved(x, w[0][b], w[1][b]), w[2][b], w[3][b])
            np.testing.assert_allclose(found[b, k], x.ravel() @ w[4][b] + w[5][b], rtol=1e-4, atol=1e-4)


def test_the_loss_and_its_derivatives(episodes, start):
    z = net.outputs([leaf[None].repeat(5, 0) for leaf in start], net.seen(episodes.query_x))
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    right = np.take_along_axis(p, episodes.query_y[..., None], axis=-1)[..., 0]
    task = net.learned_start(episodes, start)
    w = task.init(None)
    np.testing.assert_allclose(task.validation_loss(w), -np.log(right).mean(-1), rtol=1e-5)
    wide = tuple(leaf.astype(np.float64) for leaf in start)
    double = dataclasses.replace(
        episodes, support_x=episodes.support_x.astype(float), query_x=episodes.query_x.astype(float)
    )
    task, phi = net.learned_start(double, wide), mg.Joint(0.1, wide)
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final("validation"), phi, steps=2)
    for leaf in (0, 3, 4):
        direction = np.random.default_rng(leaf).standard_normal(wide[leaf].shape)

        def moved(by, leaf=leaf, direction=direction):
            start = tuple(x + by * direction if k == leaf else x for k, x in enumerate(wide))
            value = mg.value(task, mg.GradientDescent(), mg.Final("validation"), mg.Joint(0.1, start), steps=2)
            return value.value.to_float().mean()

        slope = (found.grad.task[leaf].to_float() * direction).sum()
        assert slope == pytest.approx((moved(1e-6) - moved(-1e-6)) / 2e-6, rel=1e-5)


def test_minibatches_are_of_the_support_set(episodes, start):
    task = net.learned_start(episodes, start, batch=2)
    drawn = task.sample(np.random.default_rng(0), 0)
    assert drawn.shape == (5, 2)
    assert all(len(set(row)) == 2 for row in drawn.tolist())
    w, every = task.init(None), np.broadcast_to(np.arange(6), (5, 6))
    whole = net.learned_start(episodes, start).loss(w, None)
    np.testing.assert_allclose(task.loss(w, every), whole, rtol=1e-6)


@pytest.mark.parametrize("cell", [1, 2, 3])
def test_the_nearest_neighbour_knows_what_it_has_seen(cell, episodes):
    same = dataclasses.replace(episodes, query_x=episodes.support_x, query_y=episodes.support_y)
    assert net.nearest_neighbour(same, cell).tolist() == [1.0] * 5
    wrong = dataclasses.replace(same, query_y=(same.query_y + 1) % 3)
    assert net.nearest_neighbour(wrong, cell).tolist() == [0.0] * 5


def test_on_invented_characters(tmp_path, monkeypatch):
    """All methods run on a small folder in the layout of the data, and no alphabet is trained on and tested."""
    write_small(tmp_path, dict.fromkeys(("A", "B", "C", "D"), 3))
    monkeypatch.setenv("METAGRAD_OMNIGLOT", str(tmp_path))
    few_shot._characters.cache_clear()
    context = Context(0, "cpu")
    parts = [few_shot.compute(TINY, shard, context) for shard in few_shot.shards(TINY)]
    few_shot._characters.cache_clear()
    table = few_shot.assemble(TINY, parts)
    assert table.arrays["learned"].shape == (2, 3, 3, 2, 6)
    assert table.arrays["baselines"].shape == (2, 2, 2, 6)
    used = table.arrays["used"]
    assert (used.sum(axis=-1) == [1, 3]).all()
    assert not (used[..., 0, :] & used[..., 1, :]).any()
    checks = {check.key: check for check in few_shot.verdict(TINY, table).checks}
    assert tuple(checks) == few_shot.keys(TINY)
    assert checks["apart"].holds
    share = table.arrays["learned"][0, 0, -1].mean()
    assert checks["maml_1"].measured == pytest.approx(share, rel=1e-6)


def test_no_steps_are_no_adaptation(episodes, start):
    task, phi = net.learned_start(episodes, start), mg.Joint(np.float32(0.1), start)
    for method in ("reverse", "reptile"):
        with pytest.raises(ValueError, match="steps is 0; expected an integer of at least 1"):
            mg.meta_gradient(task, mg.GradientDescent(), mg.Final("validation"), phi, steps=0, method=method)


def test_without_the_folder(monkeypatch):
    monkeypatch.setenv("METAGRAD_OMNIGLOT", "")
    few_shot._characters.cache_clear()
    with pytest.raises(FileNotFoundError, match="few_shot needs the data set omniglot"):
        few_shot.compute(TINY, few_shot.shards(TINY)[0], Context(0, "cpu"))
