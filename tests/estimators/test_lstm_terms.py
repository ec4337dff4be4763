"""The terms of an LSTM's window, which enter the objective a block at a time: as one by one, whoever wrote the parts.

Objectives and tasks of a user's: arrays that are written anew at each call, weights and slopes of unusual shapes.
"""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.scaled import Scaled
from metagrad.xp import rng
from tests.replay.runs import bits


class Squares:
    """Weighed squares with their own gradient, in new arrays, or in one that is written anew."""

    full_batch = True

    def __init__(self, dtype=np.float64, *, again=False, count=3):
        draw = rng(3, "squares")
        self.w0, self.scale = (draw.standard_normal((count, 2)).astype(dtype) for _ in range(2))
        self.scale, self.again, self.arrays = abs(self.scale), again, {}

    def _given(self, name, x):
        if not self.again or type(x) is not np.ndarray:
            return x
        self.arrays.setdefault(name, np.empty_like(x))[...] = x
        return self.arrays[name]

    def init(self, rng):
        return self.w0

    def loss(self, w, sample):
        return self._given("loss", np.sum(w * w * self.scale, axis=-1))

    def gradient(self, w, sample):
        return self._given("gradient", 2 * w * self.scale)


class Measured:
    """A measure of a user's, in an array that is written anew."""

    name = "mine"

    def __init__(self, *, again):
        self.again, self.array = again, None

    def of(self, task, w, sample):
        found = np.sum(w * w, axis=-1)
        if not self.again or type(found) is not np.ndarray:
            return found
        self.array = np.empty_like(found) if self.array is None else self.array
        self.array[...] = found
        return self.array

    def gradient(self, task, w, sample):
        return 2 * w

    def degree(self, task):
        return None


OBJECTIVES = {
    "sum": mg.WeightedSum(),
    "discounted": mg.WeightedSum(0.9),
    "mean": mg.Mean(),
    "mean of logs": mg.MeanLog(),
    "last": mg.Final(),
}
RULE = mg.CoordinatewiseLSTM((3,), 5.0, 0.1)


def lstm(dtype=np.float64):
    return RULE.init_meta(rng(1, "weights"), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_arrays_that_are_written_anew(name, dtype):
    """What was measured, and the gradient that a step was given, are taken when they are there."""
    for memory in (1 << 30, 1 << 15):
        options = {"steps": 30, "memory": memory, "gradient": "stop_gradient"}
        found, expected = (
            mg.meta_gradient(Squares(dtype, again=again), RULE, OBJECTIVES[name], lstm(dtype), **options)
            for again in (True, False)
        )
        assert bits(found) == bits(expected)


@pytest.mark.parametrize("rule", ["LSTM", "GradientDescent", "Adam"])
def test_a_measure_in_an_array_that_is_written_anew(rule):
    """In every call: programs are recorded by the second one, at other points beside."""
    phi = lstm() if rule == "LSTM" else getattr(mg, rule).Phi(0.01)
    part = RULE if rule == "LSTM" else getattr(mg, rule)()
    task = mg.FunctionTask(lambda w: np.sum(np.cosh(w), axis=-1), np.array([[1.0, 2.0], [3.0, -1.0]]))
    found, expected = [], []
    for again, estimates in ((True, found), (False, expected)):
        objective = mg.WeightedSum(measure=Measured(again=again))
        estimates += [mg.meta_gradient(task, part, objective, phi, steps=12) for _ in range(5)]
    assert all(bits(x) == bits(expected[0]) for x in (*found, *expected))


class Own:
    """The sum of all terms, each with a weight and a slope of a shape that is not usual."""

    measure = "loss"

    def __init__(self, weight=None, slope=None):
        self._weight, self._slope = weight, slope

    def weight(self, t, steps):
        return 1.0 if self._weight is None else Scaled.of(self._weight * (1.0 + t))

    def inner(self, term):
        ones = Scaled(np.full_like(term.mantissa, 0.5), np.ones_like(term.exponent))
        return term, ones if self._slope is None else self._slope

    def finish(self, total, steps):
        return total, Scaled(np.full_like(total.mantissa, 0.5), np.ones_like(total.exponent))


OWN = {
    "a number": Own(),
    "a weight a task": Own(np.array([1.0, 2.0, 0.5])),
    "one weight in an array": Own(np.ones(1)),
    "a slope without axes": Own(slope=Scaled.of(np.asarray(1.0))),
    "a slope of Python's numbers": Own(slope=Scaled(0.5, 1)),
}


@pytest.mark.parametrize("steps", [1, 3, 13])
@pytest.mark.parametrize("name", OWN)
def test_objectives_of_a_users(name, steps):
    found, expected = (
        mg.meta_gradient(Squares(), RULE, OWN[name], lstm(), steps=steps, fused=fused) for fused in (True, False)
    )
    np.testing.assert_allclose(found.value.to_float(), expected.value.to_float(), rtol=1e-13)
    for x, y in zip(ad.leaves(found.grad), ad.leaves(expected.grad), strict=True):
        np.testing.assert_allclose(x.to_float(), y.to_float(), rtol=1e-11, atol=1e-14)
