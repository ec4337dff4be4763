"""What is known of signs while a program is recorded: never more than what holds, and the bits of the tape with it."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed
from metagrad.replay.bounds import has_no_minus
from metagrad.replay.record import Recording
from metagrad.xp import rng
from tests.replay.runs import bits, data, logistic

NASTY = [0.0, -0.0, 1.0, -1.0, 1e-310, -1e-310, 1e308, -1e308, 700.0, -800.0, np.inf, -np.inf, np.nan, 0.3, -2.5]
KNOWN = {
    "exponential": lambda x, y: np.exp(x),
    "magnitude": lambda x, y: np.abs(-x),
    "square": lambda x, y: x**2,
    "product with itself": lambda x, y: x * x,
    "sum": lambda x, y: np.exp(x) + abs(y),
    "sum with one": lambda x, y: 1.0 + np.exp2(x),
    "product": lambda x, y: np.exp(x) * abs(y),
    "quotient": lambda x, y: np.exp(x) / (1 + np.exp(y)),
    "quotient by what may be 0": lambda x, y: np.exp(x) / np.square(y),
    "softmax": lambda x, y: np.exp(x) / np.sum(np.exp(x), axis=-1, keepdims=True),
    "larger one": lambda x, y: np.maximum(abs(x), np.exp(y)),
    "root of a square": lambda x, y: np.sqrt(y * y),
    "largest": lambda x, y: np.max(abs(x), axis=-1),
    "product of entries": lambda x, y: np.prod(abs(x[:3]), axis=0),
    "constant": lambda x, y: np.exp(x) + np.array([0.0, 3.0, 0.5] * 5),
}
UNKNOWN = {
    "argument": lambda x, y: x + 0.0,
    "difference": lambda x, y: np.exp(x) - 1.0,
    "root, which may be -0": lambda x, y: np.sqrt(x),
    "larger than -0": lambda x, y: np.maximum(x, -0.0),
    "larger than 0, which may be -0": lambda x, y: np.maximum(x, 0.0),
    "other product": lambda x, y: x * y,
    "negative constant": lambda x, y: np.exp(x) + np.array([0.0, -3.0, 0.5] * 5),
    "negative zero": lambda x, y: np.exp(x) * -0.0,
    "odd power": lambda x, y: x**3,
    "whole number": lambda x, y: np.abs((x > 0) * 1),
}


def last(function):
    """Return what is recorded of a function of two arrays."""
    recording = Recording((np.ones(15), np.full(15, 0.5)))
    return recording.of(function, 2).outputs[0]


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_holds(name):
    function = KNOWN[name]
    assert has_no_minus(last(function))
    for seed in range(4):
        draw = rng(seed, "signs")
        x, y = draw.permutation(NASTY), draw.permutation(NASTY)
        with np.errstate(all="ignore"):
            found = np.asarray(function(x, y))
        assert not np.signbit(found[~np.isnan(found)]).any()


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known(name):
    assert not has_no_minus(last(UNKNOWN[name]))


def entropies(w, X=data()[0]):  # noqa: B008
    z = np.einsum("bnd,bd->bn", X, w)
    p = np.exp(z) / np.sum(np.exp(z), axis=-1, keepdims=True)
    return -np.mean(np.log(p), axis=-1)


LOSSES = {
    "logistic": lambda: logistic(4),
    "cross entropies": lambda: mg.FunctionTask(entropies, w0=np.zeros((4, 3))),
    "of squares": lambda: mg.FunctionTask(lambda w: np.sum(np.log1p(w * w), axis=-1), w0=np.ones((4, 3))),
    "of a sum": lambda: mg.FunctionTask(lambda w: np.log(np.sum(np.exp(w), axis=-1)), w0=np.ones((4, 3))),
    "limited": lambda: mg.FunctionTask(lambda w: np.sum(np.maximum(w, 0.5) * w, axis=-1), w0=np.ones((4, 3))),
}


@pytest.mark.parametrize("compiled", ["never", "at once"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_bits_of_the_tape_where_numbers_leave_the_range(name, compiled):
    """Infinities and NaN come up in later runs, where a program was recorded without."""
    task = LOSSES[name]()
    for eta in (0.1, 0.1, 0.3, 5.0, 1e3, 1e200, 1e308, 0.2):
        ask = task, mg.GradientDescent(), mg.WeightedSum(), eta
        with replayed(compiled=compiled):
            found = mg.meta_gradient(*ask, steps=40)
        with replayed(False):
            expected = mg.meta_gradient(*ask, steps=40)
        assert bits(found) == bits(expected)


@pytest.mark.parametrize("compiled", ["never", "at once"])
def test_data_with_gaps_are_replayed(compiled):
    """Where there is a NaN from the beginning, and no one asks for it, it stays where it is."""
    X, y = data()
    X[1, 7:] = np.nan
    is_there = ~np.isnan(X[..., 0])

    def loss(w):
        z = np.einsum("bnd,bd->bn", X, w)
        each = np.maximum(z, 0.0) - y * z + np.log1p(np.exp(-np.abs(z)))
        return np.sum(np.where(is_there, each, 0.0), axis=-1) / is_there.sum(axis=-1)

    def filled(w):
        z = np.einsum("bnd,bd->bn", np.where(is_there[..., None], X, 0.0), w)
        each = np.maximum(z, 0.0) - y * z + np.log1p(np.exp(-np.abs(z)))
        return np.sum(np.where(is_there, each, 0.0), axis=-1) / is_there.sum(axis=-1)

    ask = mg.Momentum(), mg.WeightedSum(), mg.Momentum.Phi(0.2)
    w0 = rng(1, "gaps").standard_normal((4, 3))
    with replayed(compiled=compiled):
        for _ in range(3):
            found = mg.meta_gradient(mg.FunctionTask(loss, w0=w0), *ask, steps=40)
    with replayed(False):
        expected = mg.meta_gradient(mg.FunctionTask(loss, w0=w0), *ask, steps=40)
        whole = mg.meta_gradient(mg.FunctionTask(filled, w0=w0), *ask, steps=40)
    assert bits(found) == bits(expected)
    assert "were replayed" in found.replay
    np.testing.assert_allclose(found.grad.eta.to_float(), whole.grad.eta.to_float(), rtol=1e-10)


@pytest.mark.parametrize("compiled", ["never", "at once"])
def test_whole_numbers_beyond_64_bits_are_replayed(compiled):
    def loss(w):
        return np.sum(np.minimum(w * w, 10**25) + np.clip(w, -(10**30), 10**30), axis=-1)

    ask = mg.FunctionTask(loss, w0=np.ones((2, 3))), mg.Momentum(), mg.WeightedSum(), mg.Momentum.Phi(0.1)
    with replayed(compiled=compiled):
        found = [mg.meta_gradient(*ask, steps=40) for _ in range(3)]
    with replayed(False):
        expected = mg.meta_gradient(*ask, steps=40)
    assert all(bits(x) == bits(expected) for x in found)
    assert found[-1].replay.startswith("80 of 80")


def test_a_program_does_not_choose_where_it_knows():
    """Of the logistic loss two choices are left in a gradient, those of the larger one of z and 0."""

    def gradient(w):
        return mg.ad.grad(lambda u: logistic(4).loss(u, None))(w)

    values = Recording((np.ones((4, 3)),)).of(gradient, 1).values
    assert sum(v.function is np.where for v in values) == 2
