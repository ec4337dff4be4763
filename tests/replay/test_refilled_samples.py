"""Samples that are views of what is written anew once in a while, and data at odd addresses: the bits of the tape."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.replay import replayed
from metagrad.replay.samples import Owners, drawn
from metagrad.xp import rng

BATCHES, SIZE, T = 20, 4, 60
X = rng(3, "features").standard_normal((2, BATCHES * SIZE, 3))
Y = np.einsum("bni,i->bn", X, np.array([1.0, -2.0, 0.5])) + rng(3, "noise").standard_normal((2, BATCHES * SIZE))
ORDERS = [rng(4, "order", epoch).permutation(BATCHES * SIZE) for epoch in range(1 + T // BATCHES)]


def epochs(*, again: bool = False):
    """A task on batches that are views of one buffer, filled anew in every epoch; `again`: in two orders by turns."""
    of_x, of_y = np.empty_like(X), np.empty_like(Y)

    def loss(w, sample):
        features, targets = sample
        return np.mean((np.einsum("bni,bi->bn", features, w) - targets) ** 2, axis=-1)

    def sampler(draw, t):
        order = ORDERS[t // BATCHES % 2 if again else t // BATCHES]
        np.take(X, order, axis=1, out=of_x, mode="clip")
        np.take(Y, order, axis=1, out=of_y, mode="clip")
        here = slice(SIZE * (t % BATCHES), SIZE * (t % BATCHES + 1))
        return of_x[:, here], of_y[:, here]

    return mg.FunctionTask(loss, np.full((2, 3), 0.1), sampler=sampler)


def ahead(count=17):
    """A task on batches that are read ahead, into one of two buffers by turns: that of t, and those that follow."""
    batches = [X[:, SIZE * (k % BATCHES) : SIZE * (k % BATCHES + 1)] * (1.0 + 0.01 * k) for k in range(T + count)]
    data = np.array(batches)
    buffers, at = [np.empty_like(data[:count]) for _ in range(2)], {"start": -count, "current": 0}

    def sampler(draw, t):
        if not at["start"] <= t < at["start"] + count:
            at["start"], at["current"] = t, 1 - at["current"]
            buffers[at["current"]][...] = data[t : t + count]
        return buffers[at["current"]][t - at["start"]]

    def loss(w, sample):
        return np.mean((np.einsum("bni,bi->bn", sample, w) - 1.0) ** 2, axis=-1)

    return mg.FunctionTask(loss, np.full((2, 3), 0.1), sampler=sampler)


def cached():
    """A task on batches that lie in the places of a cache, which is no array of NumPy's; two batches have one place."""
    places = 20
    shape = (places, 2, SIZE, 3)
    cache = np.frombuffer(bytearray(8 * int(np.prod(shape)))).reshape(shape)
    held = [-1] * places

    def sampler(draw, t):
        place = t if t < places else 1 + t % (places - 1)
        if held[place] != t:
            held[place] = t
            cache[place] = X[:, SIZE * (t % BATCHES) : SIZE * (t % BATCHES + 1)] * (1.0 + 0.01 * t)
        return cache[place]

    def loss(w, sample):
        return np.mean((np.einsum("bni,bi->bn", sample, w) - 1.0) ** 2, axis=-1)

    return mg.FunctionTask(loss, np.full((2, 3), 0.1), sampler=sampler)


def bits(found):
    leaves = [found.value, *([] if found.grad is None else ad.leaves(found.grad))]
    return [x.tobytes() for one in leaves for x in (one.mantissa, one.exponent)]


ASKED = {
    "reverse": lambda task, rule, phi, over: mg.meta_gradient(task, rule, over, phi, steps=T),
    "forward": lambda task, rule, phi, over: mg.meta_gradient(task, rule, over, phi, steps=T, method="forward"),
    "windows": lambda task, rule, phi, over: mg.meta_gradient(
        task, rule, over, phi, steps=T, method="windows", window=25
    ),
    "value": lambda task, rule, phi, over: mg.value(task, rule, over, phi, steps=T),
}


@pytest.mark.parametrize("compiled", ["never", "at once"])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("over", [mg.Final(), mg.WeightedSum()], ids=repr)
@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_batches_of_a_buffer_that_is_filled_anew_in_every_epoch(ask, over, again, compiled):
    rule, phi = mg.Momentum(), mg.Momentum.Phi(0.02, 0.8)
    with replayed(False):
        expected = bits(ask(epochs(again=again), rule, phi, over))
    task = epochs(again=again)
    for _ in range(4):
        with replayed(compiled=compiled):
            assert bits(ask(task, rule, phi, over)) == expected


@pytest.mark.parametrize("compiled", ["never", "at once"])
@pytest.mark.parametrize("make", [ahead, cached], ids=lambda x: x.__name__)
@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_batches_in_memory_that_is_used_again(ask, make, compiled):
    rule, phi, over = mg.Momentum(), mg.Momentum.Phi(0.02, 0.8), mg.WeightedSum()
    with replayed(False):
        expected = bits(ask(make(), rule, phi, over))
    task = make()
    for _ in range(4):
        with replayed(compiled=compiled):
            assert bits(ask(task, rule, phi, over)) == expected


def test_samples_that_are_written_over_are_not_drawn_at_once():
    buffer = np.zeros(8)

    def shifted(t):
        buffer[:] = t // 3
        return buffer[t : t + 2]

    assert drawn(shifted, range(3)) is not None
    assert drawn(shifted, range(5)) is None
    assert drawn(lambda t: X[:, t : t + 2], range(5)) is not None
    assert drawn(lambda t: np.full(4, t).reshape(2, 2), range(5)) is not None
    assert drawn(lambda t: None, range(3)) == [None] * 3


def test_what_nobody_else_holds_is_not_looked_at():
    owners = Owners()
    sample = np.arange(6.0).reshape(2, 3)
    owners.see(sample)
    sample[0, 0] = 7.0
    assert owners.are_as_they_were()
    whole = np.arange(6.0)
    owners.see((whole[1:3], whole[2:]))
    assert owners.are_as_they_were()
    whole[0] = 1.0
    assert not owners.are_as_they_were()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_data_at_odd_addresses(dtype):
    size = 4 * 1000 * 4 * np.dtype(dtype).itemsize
    raw = np.empty(size + 1, np.uint8)
    x = raw[1:].view(dtype).reshape(4, 1000, 4)
    x[...] = rng(5, "features").standard_normal(x.shape)
    task = mg.FunctionTask(
        lambda w: np.mean(np.log1p(np.exp(-np.einsum("bni,bi->bn", x, w))), axis=-1), np.full((4, 4), 0.1, dtype)
    )

    def ask():
        return mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), dtype(0.5), steps=50)

    assert not x.flags.aligned
    with replayed(False):
        expected = bits(ask())
    with replayed(compiled="at once"):
        assert all(bits(ask()) == expected for _ in range(3))
