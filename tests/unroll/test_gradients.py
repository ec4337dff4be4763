"""The LSTM that ships on losses of one's own: gradients and Hessian products by programs have the bits of the tape."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed
from metagrad.xp import rng
from tests.replay.runs import bits

LSTM = mg.CoordinatewiseLSTM()
OBJECTIVES = [mg.WeightedSum(), mg.Final(), mg.MeanLog(), mg.Mean()]
DTYPES = ["float64", "float32"]


def weights(dtype="float64"):
    return LSTM.init_meta(np.random.default_rng(1), np.dtype(dtype))


def numbers(seed, *shape, dtype="float64"):
    return rng(seed, "numbers").standard_normal(shape).astype(dtype)


def start(dtype, d=3):
    return numbers(9, 4, d, dtype=dtype)


def logistic(seed, dtype):
    x = numbers(seed, 4, 12, 3, dtype=dtype)

    def loss(w):
        z = np.einsum("bnd,bd->bn", x, w)
        return np.mean(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))), axis=-1)

    return mg.FunctionTask(loss, w0=start(dtype))


def minibatches(seed, dtype):
    x = numbers(seed, 4, 12, 3, dtype=dtype)

    def loss(w, sample):
        return np.mean(np.tanh(np.einsum("bnd,bd->bn", x[:, sample], w)) ** 2, axis=-1)

    return mg.FunctionTask(loss, w0=start(dtype), sampler=lambda draw, t: draw.integers(0, 12, 5))


def network(seed, dtype):
    x, y = numbers(seed, 4, 6, 2, dtype=dtype), numbers(seed + 1, 4, 6, dtype=dtype)

    def loss(w):
        h = np.tanh(np.einsum("bnd,bdh->bnh", x, w["in"]))
        return np.mean((np.einsum("bnh,bh->bn", h, w["out"]) - y) ** 2, axis=-1)

    return mg.FunctionTask(loss, w0={"in": numbers(7, 4, 2, 3, dtype=dtype), "out": start(dtype)})


def held_out(seed, dtype):
    task = logistic(seed, dtype)
    return mg.FunctionTask(task.function, w0=task.w0, validation=logistic(seed + 1, dtype).function)


class WithGradient:
    """A task with a formula of its own."""

    def __init__(self, seed, dtype):
        self.x = numbers(seed, 4, 3, dtype=dtype)

    def init(self, draw):
        return np.ones_like(self.x)

    def loss(self, w, sample):
        return np.sum(np.cosh(w - self.x), axis=-1)

    def gradient(self, w, sample):
        return np.sinh(w - self.x)


TASKS = {f.__name__: f for f in (logistic, minibatches, network, held_out, WithGradient)}


def alike(task, objective, dtype="float64", steps=12, **options):
    """Return the estimate, which has all bits of that without programs."""
    ask = task, LSTM, objective, weights(dtype)
    found = mg.Reverse(**options)(*ask, steps=steps)
    with replayed(False):
        expected = mg.Reverse(**options)(*ask, steps=steps)
    assert bits(found) == bits(expected)
    assert (found.notes, found.end.t) == (expected.notes, expected.end.t)
    for x, y in zip(*(mg.ad.leaves(one.end[:2]) for one in (found, expected)), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("family", TASKS)
def test_the_bits_of_the_tape(family, objective, dtype):
    task = TASKS[family](0, dtype)
    said = [alike(task, objective, dtype).replay for _ in range(8)]
    assert "24 of 24 steps, forwards and backwards, were replayed." in said


@pytest.mark.parametrize("family", TASKS)
def test_tasks_that_are_new_at_every_call(family):
    for seed in range(5):
        found = alike(TASKS[family](seed, "float64"), mg.WeightedSum())
    assert "were replayed" in found.replay


@pytest.mark.parametrize("options", [{"gradient": "stop_gradient"}, {"memory": 2048}, {"scaling": "none"}], ids=str)
def test_options(options):
    task = logistic(0, "float64")
    for _ in range(4):
        alike(task, mg.WeightedSum(), **options)


def test_what_is_measured_on_held_out_data():
    task = held_out(0, "float64")
    for objective in (mg.Final("validation"), mg.WeightedSum(measure="validation")):
        for _ in range(4):
            alike(task, objective)


def test_the_tape_alone_agrees_with_differences():
    """Another way to the number: the slope along a direction, by values."""
    task, phi, by = logistic(0, "float64"), weights(), rng(3, "direction")
    direction = mg.ad.tree_map(lambda x: by.standard_normal(x.shape), phi)
    for _ in range(4):
        found = mg.meta_gradient(task, LSTM, mg.WeightedSum(), phi, steps=9)
    along = sum(
        float(np.sum(g.to_float() * d)) for g, d in zip(mg.ad.leaves(found.grad), mg.ad.leaves(direction), strict=True)
    )
    h = 1e-6
    ends = [mg.ad.tree_map(lambda x, d, s=s: x + s * h * d, phi, direction) for s in (1, -1)]
    high, low = (mg.value(task, LSTM, mg.WeightedSum(), end, steps=9).value.to_float().mean() for end in ends)
    assert along == pytest.approx((high - low) / (2 * h), rel=1e-5)


def test_a_loss_that_keeps_a_count_is_the_tapes_or_refused():
    calls = [0]

    def loss(w):
        calls[0] += 1
        return np.sum(w**2, axis=-1) * calls[0]

    with pytest.raises(ValueError, match="another"):
        mg.meta_gradient(mg.FunctionTask(loss, w0=start("float64")), LSTM, mg.WeightedSum(), weights(), steps=12)


def test_a_loss_that_leaves_the_range_says_so():
    task = mg.FunctionTask(lambda w: np.sum(np.exp(705 * w), axis=-1), w0=np.ones((2, 2)))
    for _ in range(3):
        found = mg.meta_gradient(task, LSTM, mg.WeightedSum(), weights(), steps=12)
        assert not found.ok


def test_data_that_change_between_calls():
    x = numbers(0, 4, 12, 3)
    task = mg.FunctionTask(lambda w: np.mean(np.tanh(np.einsum("bnd,bd->bn", x, w)) ** 2, axis=-1), w0=start("float64"))
    for k in range(6):
        alike(task, mg.WeightedSum())
        x *= 1.0 + 0.1 * k
