"""Weights in dicts and lists go through the engine as those in tuples do: the same bits, under the same names."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.estimators import Forward, Reverse
from metagrad.xp import rng

X = rng(0, "X").standard_normal((2, 6, 3))


class Regression:
    """A network of one hidden layer on two tasks, its weights in the tree that `build` makes."""

    def __init__(self, build, pick):
        self.build, self.pick = build, pick

    def init(self, rng_of_init):
        stream = rng(1, "w")
        W, b, v = (0.3 * stream.standard_normal((2, *shape)) for shape in ((3, 4), (4,), (4,)))
        return self.build(W, b, v)

    def sample(self, rng_of_step, t):
        return None

    def loss(self, w, sample):
        W, b, v = self.pick(w)
        hidden = np.tanh(X @ W + b[:, None, :])
        return np.mean((np.matmul(hidden, v[:, :, None])[..., 0] - 1.0) ** 2, axis=-1)


# in the order of sorted names, so that sums over the weights add up in the same order
IN_TUPLES = Regression(lambda W, b, v: ((W, b), v), lambda w: (*w[0], w[1]))
BY_NAME = Regression(
    lambda W, b, v: {"out": v, "layers": [{"b": b, "W": W}]},
    lambda w: (w["layers"][0]["W"], w["layers"][0]["b"], w["out"]),
)


@pytest.mark.parametrize("optimizer", [mg.GradientDescent(), mg.Momentum(), mg.Adam()], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize(
    "estimator", [Reverse(), Forward(), Reverse(memory=2000)], ids=["reverse", "forward", "budget"]
)
def test_the_same_bits(optimizer, estimator):
    for objective in (mg.Final(), mg.LogFinal()):
        found = [estimator(task, optimizer, objective, optimizer.Phi(0.1), steps=5) for task in (IN_TUPLES, BY_NAME)]
        for a, b in zip(*[[x.value, *ad.leaves(x.grad)] for x in found], strict=True):
            assert (a == b).all()
        assert np.array_equal(found[0].status, found[1].status)


def test_a_rollout_keeps_the_names():
    seen = []

    def names(w):
        seen.append((ad.paths(w), list(w)))
        return np.zeros(2)

    mg.rollout(BY_NAME, mg.Adam(), mg.Adam.Phi(0.1), steps=2, measure=names)
    assert seen == [(["['layers'][0]['W']", "['layers'][0]['b']", "['out']"], ["out", "layers"])] * 3
