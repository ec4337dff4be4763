"""Parameters as tuples of arrays: every rule does to them what it does to one flat array."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.xp import rng
from tests.estimators.test_agreement import worst_difference
from tests.optimizers.rules import HAND_DESIGNED

RULES = {**HAND_DESIGNED, "gradient descent": (mg.GradientDescent(), mg.GradientDescent.Phi(0.1))}
DRAW = rng(3, "trees")
X, Y = DRAW.standard_normal((2, 20, 3)), DRAW.standard_normal((2, 20))
FLAT = 0.5 * DRAW.standard_normal((2, 17))


def split(w):
    return w[:, :12].reshape((2, 3, 4)), w[:, 12:16], w[:, 16]


class TwoLayers:
    """A small network, two tasks; its parameters are (2, 3, 4), (2, 4) and (2,)."""

    def init(self, stream):
        return split(FLAT)

    def loss(self, w, sample):
        W, v, b = w
        hidden = np.tanh(np.matmul(X, W))
        return np.mean((np.einsum("bnh,bh->bn", hidden, v) + b[:, None] - Y) ** 2, axis=-1) + 0.1


class WithGradient(TwoLayers):
    """The same, with a gradient of its own."""

    def gradient(self, w, sample):
        return mg.ad.grad(lambda u: self.loss(u, sample))(w)


ON_ONE_ARRAY = mg.FunctionTask(lambda w: TwoLayers().loss(split(w), None), FLAT)


@pytest.mark.parametrize("objective", [mg.LogFinal(), mg.WeightedSum(), mg.Final("squared_norm")], ids=repr)
@pytest.mark.parametrize("per_task", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_a_tuple_is_like_one_array(name, per_task, objective):
    rule, phi, *_ = RULES[name]
    if per_task:
        phi = type(phi)(*[x * np.array([1.0, 0.9]) for x in phi])
    flat, tree, own = (
        mg.meta_gradient(task, rule, objective, phi, steps=5, per_task=per_task)
        for task in (ON_ONE_ARRAY, TwoLayers(), WithGradient())
    )
    forward = mg.meta_gradient(TwoLayers(), rule, objective, phi, steps=5, per_task=per_task, method="forward")
    assert tree.ok
    for found in (tree, own, forward):
        for a, b in zip(flat.grad, found.grad, strict=True):
            assert a.shape == b.shape
            assert worst_difference(a, b) <= 1e-11
