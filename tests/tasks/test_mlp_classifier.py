"""Networks on images: loss and gradient against plain loops, batches, initial weights, splits, the engine on trees."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

import metagrad as mg
from metagrad import ad
from metagrad.data import ImageData, load_digits8x8
from metagrad.protocols import Task
from metagrad.unroll.unroll import Unroll
from metagrad.xp import move, rng
from tests.cupy_double import double
from tests.cupy_double.double import SYNCS
from tests.estimators.test_agreement import worst_difference

SIZES = [(5, 3), (5, 4, 3), (5, 4, 3, 3)]


def samples(n=8, shared=False, seed=0, dtype=np.float64):
    draw = rng(seed, "samples", n)
    x = draw.random((n, 5) if shared else (2, n, 5)).astype(dtype)
    return x, draw.integers(3, size=(2, n))


def task_of(sizes=(5, 4, 3), activation="sigmoid", shared=False, dtype=np.float64, **options):
    net = mg.MLP(sizes, activation, "shape")
    x, y = samples(shared=shared, dtype=dtype)
    parts = {"validation": samples(6, seed=1, dtype=dtype), "test": samples(7, seed=2, dtype=dtype)}
    return mg.MLPClassifier(net, x, y, **(parts | {"batch_size": 4} | options))


def outputs_by_loops(w, x, activation):
    a = x
    for i in range(0, len(w), 2):
        z = [sum(a[k] * w[i][k][j] for k in range(len(a))) + w[i + 1][j] for j in range(len(w[i + 1]))]
        last = i + 2 == len(w)
        a = z if last else [1 / (1 + np.exp(-u)) if activation == "sigmoid" else max(u, 0.0) for u in z]
    return a


def loss_by_loops(w, x, y, activation):
    """The mean over images of -log of the probability of their label, one network."""
    total = 0.0
    for image, label in zip(x, y, strict=True):
        e = np.exp(outputs_by_loops(w, image, activation))
        total -= np.log(e[label] / e.sum())
    return total / len(y)


def of_network(tree, b):
    return tuple(leaf[b] for leaf in tree)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("sizes", SIZES)
def test_losses_and_accuracies_are_their_formulas(sizes, activation):
    task = task_of(sizes, activation)
    w, sample = task.init(rng(1)), task.sample(rng(1), 0)
    drawn = (np.take_along_axis(task.x, sample[..., None], axis=1), np.take_along_axis(task.y, sample, axis=1))
    cases = [(task.loss(w, sample), drawn)] + [(f, (task.x, task.y)) for f in (task.loss(w, None), task.train_loss(w))]
    cases += [(task.validation_loss(w), task.validation), (task.test_loss(w), task.test)]
    for found, (x, y) in cases:
        for b in range(2):
            assert found[b] == pytest.approx(loss_by_loops(of_network(w, b), x[b], y[b], activation), rel=1e-13)
    for part, (x, y) in {"train": (task.x, task.y), "validation": task.validation, "test": task.test}.items():
        for b in range(2):
            guesses = [np.argmax(outputs_by_loops(of_network(w, b), image, activation)) for image in x[b]]
            assert task.accuracy(w, part)[b] == np.mean(guesses == y[b])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("gap", [-80.0, 0.0, 1.0, 18.0, 80.0, 1000.0])
def test_loss_and_gradient_keep_their_digits_however_sure_the_network_is(gap, dtype):
    """Outputs (0, gap, gap/2) plus 64, label 1: p0 = e^-gap/Z and p2 = e^(-gap/2)/Z against 50 digits, relatively."""
    task = mg.MLPClassifier(mg.MLP((1, 3)), np.ones((1, 1), dtype), np.array([1]), batch_size=None)
    w = np.array([[[64, 64 + gap, 64 + gap / 2]]], dtype), np.zeros((1, 3), dtype)
    with mpmath.workdps(50):
        e0, e2 = mpmath.exp(-mpmath.mpf(gap)), mpmath.exp(-mpmath.mpf(gap) / 2)
        exact = [mpmath.log1p(e0 + e2), e0 / (1 + e0 + e2), -(e0 + e2) / (1 + e0 + e2), e2 / (1 + e0 + e2)]
    found = [task.loss(w, None)[0], *task.gradient(w, None)[0][0, 0]]
    taped = [found[0], *ad.grad(lambda u: task.loss(u, None))(w)[0][0, 0]]
    eps, smallest = float(np.finfo(dtype).eps), float(np.finfo(dtype).smallest_normal)
    for numbers in (found, taped):
        for number, truth in zip(numbers, map(float, exact), strict=True):
            if abs(truth) > smallest / eps:
                assert float(number) == pytest.approx(truth, rel=50 * eps)
            else:
                assert abs(number) <= 2 * smallest / eps


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_gradient_is_the_tapes_and_a_difference_quotient(sizes, activation, shared):
    task = task_of(sizes, activation, shared)
    w = task.init(rng(1))
    for sample in (None, task.sample(rng(1), 0)):
        found, taped = task.gradient(w, sample), ad.grad(lambda u, s=sample: task.loss(u, s))(w)
        direction = tuple(rng(2, i).standard_normal(leaf.shape) for i, leaf in enumerate(w))
        ahead, behind = (
            task.loss(tuple(leaf + s * 1e-6 * d for leaf, d in zip(w, direction, strict=True)), sample) for s in (1, -1)
        )
        slope = sum((g * d).reshape(2, -1).sum(axis=1) for g, d in zip(found, direction, strict=True))
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-6)
        for a, b in zip(found, taped, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("shared", [False, True])
def test_networks_side_by_side_are_networks_alone(shared):
    task = task_of(shared=shared, validation=None, test=None)
    w, sample = task.init(rng(1)), task.sample(rng(1), 0)
    for b in range(2):
        x = task.x if shared else task.x[b]
        alone = mg.MLPClassifier(task.net, x, task.y[b], batch_size=4)
        mine = tuple(leaf[b : b + 1] for leaf in w)
        assert alone.loss(mine, sample[b : b + 1])[0] == pytest.approx(task.loss(w, sample)[b], rel=1e-14)


class Taped:
    """The same task without its gradient."""

    def __init__(self, task):
        self.init, self.sample, self.loss = task.init, task.sample, task.loss
        self.validation_loss = task.validation_loss


OBJECTIVES = [mg.WeightedSum(), mg.LogFinal(), mg.Final("validation"), mg.MeanLog("train")]


@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_meta_gradients(objective, activation, gradient):
    """Reverse is forward, and in full the difference quotient; with the gradient from the tape the same number."""
    task, phi = task_of(activation=activation), mg.GradientDescent.Phi(np.asarray(0.7))

    def estimate(estimator, eta=0.7, of=task):
        return estimator(of, mg.GradientDescent(), objective, phi._replace(eta=np.asarray(eta)), steps=5, seed=3)

    reverse, forward = (estimate(e(gradient=gradient)) for e in (mg.Reverse, mg.Forward))
    assert reverse.ok
    assert forward.ok
    assert worst_difference(reverse.grad.eta, forward.grad.eta) <= 1e-11
    if objective != mg.MeanLog("train"):
        taped = estimate(mg.Reverse(gradient=gradient), of=Taped(task))
        assert worst_difference(reverse.grad.eta, taped.grad.eta) <= 1e-11
    ahead, behind = (estimate(mg.Reverse(), 0.7 + h).value.to_float().mean() for h in (1e-6, -1e-6))
    slope = (ahead - behind) / 2e-6
    if gradient == "full":
        assert float(reverse.grad.eta.to_float()) == pytest.approx(slope, rel=1e-6)
    else:
        assert float(reverse.grad.eta.to_float()) != pytest.approx(slope, rel=1e-3), "another number"


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_dtype_stays(dtype):
    task, phi = task_of(dtype=dtype), mg.GradientDescent.Phi(np.asarray(0.5, dtype))
    assert {leaf.dtype for leaf in task.init(rng(0))} == {np.dtype(dtype)}
    found = mg.Reverse()(task, mg.GradientDescent(), mg.WeightedSum(), phi, steps=4)
    assert found.ok
    assert found.value.dtype == found.grad.eta.dtype == dtype


def test_on_the_device(monkeypatch):
    """The same numbers on the double of CuPy, and no wait for the device inside of an unroll."""
    counts, original = [], Unroll.start
    monkeypatch.setattr(Unroll, "start", lambda self: counts.append(SYNCS.count) or original(self))
    for task in (task_of(activation="relu"), task_of(shared=True, epoch_seed=1)):
        phi = mg.GradientDescent.Phi(np.asarray(0.7))
        here = mg.Reverse()(task, mg.GradientDescent(), mg.WeightedSum(), phi, steps=5)
        arguments = move(task, double.NAMESPACE), mg.GradientDescent(), mg.WeightedSum(), move(phi, double.NAMESPACE)
        there = mg.Reverse()(*arguments, steps=5)
        assert SYNCS.count == counts[-1]
        np.testing.assert_allclose(there.grad.eta.to_float().get(), here.grad.eta.to_float(), rtol=1e-11)


def test_a_loss_beyond_the_range_is_a_status():
    """Weights of 1e30 in float32: the outputs overflow at the start."""
    task = replace(task_of(dtype=np.float32), net=mg.MLP((5, 4, 3), "relu", 1e30))
    found = mg.Reverse()(task, mg.GradientDescent(), mg.WeightedSum(), mg.GradientDescent.Phi(np.float32(0.1)), steps=3)
    assert not found.ok
    assert "of 2 tasks" in found.report()


def test_the_specified_networks():
    for net, parameters in ((mg.MLP((784, 20, 10)), 15_910), (mg.MLP((784, 100, 20, 10), "relu", "shape"), 80_730)):
        assert net.parameters == sum(leaf[0].size for leaf in net.draw(rng(0), 2, np.float32)) == parameters


@pytest.mark.parametrize("init_std", [0.01, "shape"])
def test_initial_weights(init_std):
    """Normal with the standard deviation of the rule, tensor by tensor; other weights for another seed."""
    net = mg.MLP((30, 20, 10), init_std=init_std)
    drawn = net.draw(rng(0), 40, np.float64)
    for leaf in drawn:
        std = 0.01 if init_std == 0.01 else 1.2 / np.sqrt(leaf.shape[1])
        low, high = chi2.interval(1 - 1e-6, leaf.size)
        assert low <= np.sum((leaf / std) ** 2) <= high
        assert not low <= np.sum((leaf / (1.1 * std)) ** 2) <= high or leaf.size < 1500
    assert not np.array_equal(drawn[0], net.draw(rng(1), 40, np.float64)[0])
    assert len(np.unique(drawn[0])) == drawn[0].size


@given(t=st.integers(0, 1000), seed=st.integers(0, 2**31))
def test_batches_are_replayed(t, seed):
    for task in (task_of(), task_of(epoch_seed=seed)):
        first, again = (task.sample(rng(seed, "sample", t), t) for _ in range(2))
        assert np.array_equal(first, again)
        assert first.shape == (2, 4)
        assert first.min() >= 0
        assert first.max() < task.n


def test_with_replacement_every_sample_is_as_likely():
    task = task_of(batch_size=8)
    drawn = np.stack([task.sample(rng(0, "sample", t), t) for t in range(500)])
    counts = np.bincount(drawn.ravel(), minlength=8)
    assert ((counts - 1000) ** 2 / 1000).sum() < chi2.ppf(1 - 1e-6, 7)
    assert any(len(np.unique(row)) < 8 for row in drawn[0])
    assert not np.array_equal(drawn[0, 0], drawn[0, 1]), "each network its own"


@given(st.integers(0, 2**31), st.integers(1, 8))
def test_an_epoch_sees_every_sample_once(seed, batch_size):
    task = task_of(epoch_seed=seed, batch_size=batch_size)
    per_epoch = 8 // batch_size
    for epoch in (0, 1, 5):
        batches = [task.sample(rng(9), epoch * per_epoch + i) for i in range(per_epoch)]
        for seen in np.concatenate(batches, axis=1):
            assert len(np.unique(seen)) == per_epoch * batch_size
    first, later = (task_of(epoch_seed=seed, batch_size=8).sample(rng(9), epoch) for epoch in (0, 1))
    assert not np.array_equal(first, later)


def tiny_data(n=12):
    """Images that say which they are: pixel i of image i is 1, and its label is i modulo 3."""
    x, y = np.eye(n, dtype=np.float32), np.arange(n) % 3
    return ImageData(x, y, x[:4], y[:4], "one pixel each", 3, (1, n))


def test_subsets_and_splits_are_disjoint_and_labelled_right():
    task = mg.image_classifiers(tiny_data(), mg.MLP((12, 3)), 5, train=6, validation=4, batch_size=2)
    assert isinstance(task, Task)
    assert task.x.shape == (5, 6, 12)
    assert task.networks == 5
    rows = [np.argmax(x, axis=-1) for x in (task.x, task.validation[0])]
    assert all(len(set(a) | set(b)) == 10 for a, b in zip(*rows, strict=True))
    assert np.array_equal(rows[0] % 3, task.y)
    assert np.array_equal(rows[1] % 3, task.validation[1])
    assert len({tuple(sorted(row)) for row in rows[0]}) > 1, "each network its own images"
    assert np.array_equal(task.test[0], tiny_data().test_x)
    other = mg.image_classifiers(tiny_data(), mg.MLP((12, 3)), 5, train=6, validation=4, seed=1, batch_size=2)
    assert not np.array_equal(other.x, task.x)
    assert mg.image_classifiers(tiny_data(), mg.MLP((12, 3)), validation=2, batch_size=None).n == 10


def test_all_images_are_shared_not_copied():
    data = tiny_data()
    task = mg.image_classifiers(data, mg.MLP((12, 3)), 5)
    assert task.x is data.train_x
    assert task.init(rng(0))[0].shape == (5, 12, 3)


def test_real_digits_are_learned():
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's; install the extra 'data'")
    task = mg.image_classifiers(load_digits8x8(), mg.MLP((64, 20, 10), "relu", "shape"), 2, batch_size=64, epoch_seed=0)
    w = task.init(rng(0))
    before = task.accuracy(w)
    for t in range(300):
        g = task.gradient(w, task.sample(rng(0, "sample", t), t))
        w = tuple(leaf - np.float32(0.3) * slope for leaf, slope in zip(w, g, strict=True))
    assert (before < 0.4).all()
    assert (task.accuracy(w) > 0.9).all()


NET = mg.MLP((5, 4, 3))
X, Y = samples(shared=True)
BAD_TASKS = [
    ({"net": (5, 4, 3)}, TypeError, "net is a tuple; expected an MLP"),
    ({"net": mg.MLP((5, 1))}, ValueError, "net is one with 1 output"),
    ({"x": X.tolist()}, TypeError, "x of train is a list"),
    ({"x": X.astype(int)}, TypeError, "x of train is an array of int64"),
    ({"x": X[:, :4]}, ValueError, r"x of train is of shape \(8, 4\); expected .*the network has 5 inputs"),
    ({"x": np.where(X < 0.1, np.nan, X)}, ValueError, "x of train is not finite"),
    ({"x": X[:0], "y": Y[:, :0]}, ValueError, r"x of train is of shape \(0, 5\)"),
    ({"y": Y + 0.0}, TypeError, "y of train is an array of float64; expected an array of integer labels"),
    ({"y": Y + 1}, ValueError, r"y of train is outside .*expected labels from 0 to 2"),
    ({"y": Y[:, :7]}, ValueError, r"y of train is of shape \(2, 7\)"),
    ({"count": 3}, ValueError, "the number of tasks is .*3 in count"),
    ({"count": 0}, ValueError, "count is 0"),
    ({"validation": X}, TypeError, r"validation is a ndarray; expected a pair \(x, y\)"),
    ({"validation": (X, Y + 3)}, ValueError, "y of validation is outside"),
    ({"test": (X.astype(np.float32), Y)}, TypeError, "x of test is of float32 while x of train is float64"),
    ({"batch_size": 0}, ValueError, "batch_size is 0"),
    ({"batch_size": 9, "epoch_seed": 0}, ValueError, "batch_size is 9; expected at most n = 8"),
    ({"batch_size": None, "epoch_seed": 0}, ValueError, "batch_size is None"),
    ({"epoch_seed": 0.5, "batch_size": 4}, TypeError, "epoch_seed is 0.5"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD_TASKS)
def test_bad_tasks(change, error, message):
    with pytest.raises(error, match=f"MLPClassifier: {message}"):
        mg.MLPClassifier(**({"net": NET, "x": X, "y": Y} | change))


BAD_NETS = [
    (([5, 3],), TypeError, "sizes is .*expected a tuple of integers"),
    (((5, 2.0),), TypeError, "sizes is"),
    (((5,),), ValueError, "sizes is"),
    (((5, 0, 3),), ValueError, "sizes is"),
    (((5, 3), "relu", 0.1, 1), TypeError, "truncated is 1"),
    (((5, 3), "relu", "fan_in", True), ValueError, "truncated is True beside init_std='fan_in'"),
    (((5, 3), "rleu"), ValueError, "activation is 'rleu'; expected a known activation. Did you mean 'relu'"),
    (((5, 3), "relu", "wide"), TypeError, "init_std is 'wide'; expected a number, 'shape' or 'fan_in'"),
    (((5, 3), "relu", -1.0), ValueError, "init_std is -1.0"),
    (((5, 3), "relu", float("nan")), ValueError, "init_std is nan"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_NETS)
def test_bad_networks(arguments, error, message):
    with pytest.raises(error, match=f"MLP: {message}"):
        mg.MLP(*arguments)


BAD_MAKERS = [
    ({"net": mg.MLP((12, 4))}, "net is one with 4 outputs; expected 3, one for each class"),
    (
        {"train": 9, "validation": 4},
        r"train \+ validation is 13; expected at most the 12 training images of one",
    ),
    ({"validation": -1}, "validation is -1"),
    ({"validation": 12}, "train is 0"),
    ({"count": 0}, "count is 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD_MAKERS)
def test_bad_subsets(change, message):
    with pytest.raises(ValueError, match=f"image_classifiers: {message}"):
        mg.image_classifiers(**({"data": tiny_data(), "net": mg.MLP((12, 3))} | change))


def test_parts_that_are_not_there():
    task = mg.MLPClassifier(NET, X, Y, batch_size=None)
    w = task.init(rng(0))
    for ask in (task.validation_loss, task.test_loss, lambda w: task.accuracy(w, "test")):
        with pytest.raises(ValueError, match=r"MLPClassifier: (validation|test) is None; expected"):
            ask(w)
    with pytest.raises(ValueError, match="part is 'tset'"):
        task.accuracy(w, "tset")
