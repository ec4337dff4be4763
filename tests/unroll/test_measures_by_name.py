"""A measure of the user's own that has the name of one of ours is not taken for it."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed
from metagrad.xp import rng


class Own:
    """What a function of the losses and of w makes, under the name of the loss."""

    name = "loss"

    def __init__(self, function, *, has_gradient=False):
        self._function, self._has_gradient = function, has_gradient

    def of(self, task, w, sample):
        return self._function(task.loss(w, sample), w)

    def gradient(self, task, w, sample):
        if not self._has_gradient:
            return None
        return mg.ad.grad(lambda u: self._function(task.loss(u, sample), u))(w)

    def degree(self, task):
        return None


MEASURES = {
    "a thousandth": lambda f, w: 1e-3 * f,
    "with a penalty": lambda f, w: f + 5 * np.sum(w * w, axis=-1),
    "of w alone": lambda f, w: 10 + np.sum(np.cos(w), axis=-1),
}


@pytest.mark.parametrize("has_gradient", [False, True])
@pytest.mark.parametrize("steps", [5, 40])
@pytest.mark.parametrize("objective", [mg.Final, mg.WeightedSum, mg.LogFinal], ids=lambda o: o.__name__)
@pytest.mark.parametrize("name", MEASURES)
def test_its_gradient_is_not_that_of_the_loss(name, objective, steps, has_gradient):
    """All digits are there, on the tape and replayed, and the two say the same."""
    draw = rng(steps, "measures")
    centre, w0 = draw.standard_normal((2, 2, 3))
    rule = mg.GradientDescent()

    def loss(w):
        return 1.0 + np.sum((w - centre) ** 2 + 0.1 * (w - centre) ** 4, axis=-1)

    task = mg.FunctionTask(loss, w0=w0)
    measured = objective(measure=Own(MEASURES[name], has_gradient=has_gradient))
    found = []
    for is_on in (False, True, True, True):
        with replayed(is_on, compiled="never"):
            found.append(mg.meta_gradient(task, rule, measured, rule.Phi(0.02), steps=steps))
    for one in found:
        assert one.ok
        assert one.digits.value.min() > 10
        assert one.digits.gradient.min() > 10
        assert np.array_equal(one.digits.gradient, found[0].digits.gradient)
        assert one.grad.eta.to_float() == found[0].grad.eta.to_float()
