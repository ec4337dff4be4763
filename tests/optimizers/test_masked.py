"""Entries that are not trained stay exactly where they are; one step size a layer needs no wrapper at all."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.xp import move, rng
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference
from tests.optimizers.rules import HAND_DESIGNED
from tests.strategies import random_quadratic

RULES = {name: given[:2] for name, given in HAND_DESIGNED.items()} | {
    "gradient descent": (mg.GradientDescent(), mg.GradientDescent.Phi(0.1))
}
DRAW = rng(3, "masked")
X, Y = DRAW.standard_normal((2, 20, 3)), DRAW.standard_normal((2, 20))
W0 = {"head": 0.5 * DRAW.standard_normal((2, 4)), "body": 0.5 * DRAW.standard_normal((2, 3, 4))}
AS = {
    "dict": (lambda w: w, lambda w: w),
    "list": (lambda w: [w["head"], w["body"]], lambda w: {"head": w[0], "body": w[1]}),
    "tuple": (lambda w: (w["head"], w["body"]), lambda w: {"head": w[0], "body": w[1]}),
}


class TwoLayers:
    """A small network, two tasks; w is a dict, a list or a tuple of two arrays."""

    def __init__(self, kind="dict", frozen=None):
        self.to, self.back = AS[kind]
        self.frozen = {} if frozen is None else frozen

    def init(self, stream):
        return self.to({name: x for name, x in W0.items() if name not in self.frozen})

    def loss(self, w, sample):
        w = self.back(w) | self.frozen
        hidden = np.tanh(np.matmul(X, w["body"]))
        return np.mean((np.einsum("bnh,bh->bn", hidden, w["head"]) - Y) ** 2, axis=-1) + 0.1


@pytest.mark.parametrize("method", ["reverse", "forward"])
@pytest.mark.parametrize("name", RULES)
def test_a_frozen_array_is_one_that_the_task_holds(name, method):
    rule, phi = RULES[name]
    masked = mg.Masked(rule, {"head": True, "body": False})
    found = mg.meta_gradient(TwoLayers(), masked, mg.MeanLog(), phi, steps=6, method=method)
    alone = mg.meta_gradient(TwoLayers(frozen={"body": W0["body"]}), rule, mg.MeanLog(), phi, steps=6, method=method)
    assert found.ok
    np.testing.assert_allclose(found.value.to_float(), alone.value.to_float(), rtol=1e-14)
    for a, b in zip(found.grad, alone.grad, strict=True):
        assert worst_difference(a, b) <= 1e-12
    end = mg.rollout(TwoLayers(), masked, phi, steps=6, with_end=True)[1].w
    assert np.array_equal(end["body"], W0["body"])
    assert not np.array_equal(end["head"], W0["head"])


@pytest.mark.parametrize("name", RULES)
def test_frozen_coordinates_pass_the_adjoint_on(name):
    """The derivative in the start: trained coordinates owe theirs to the frozen ones."""
    rule, phi = RULES[name]
    task, mask = random_quadratic(2, 3, seed=2), np.array([True, False, True])

    def final(w):
        state = rule.init(phi, w)
        for t in range(4):
            g = ad.grad(lambda u: task.loss(u, None))(w) * mask
            moved, state = rule.step(phi, state, w, mg.FixedGradient(g, t))
            w = w * ~mask + moved * mask
        return task.loss(w, None)

    def by_masked(w):
        masked = mg.Masked(rule, mask)
        state = masked.init(phi, w)
        for t in range(4):
            w, state = masked.step(phi, state, w, mg.FixedGradient(ad.grad(lambda u: task.loss(u, None))(w), t))
        return task.loss(w, None)

    np.testing.assert_allclose(ad.grad(by_masked)(task.w0), ad.grad(final)(task.w0), rtol=1e-12)
    found = mg.meta_gradient(task, mg.Masked(rule, mask), mg.LogFinal(), phi, steps=9)
    for k, name_ in enumerate(phi._fields):
        h = 1e-6 * phi[k]
        ahead, behind = (
            mg.value(task, mg.Masked(rule, mask), mg.LogFinal(), phi._replace(**{name_: phi[k] + s * h}), steps=9)
            for s in (1, -1)
        )
        slope = (ahead.value.to_float().mean() - behind.value.to_float().mean()) / (2 * h)
        assert float(found.grad[k].to_float()) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_what_stays_may_have_any_gradient():
    """A gradient that is no number where nothing is trained does no harm; where something is, it is not hidden."""
    rule, w, g = (
        mg.Masked(mg.Adam(), np.array([True, False])),
        np.ones((2, 2)),
        np.array([[1.0, np.nan], [np.nan, 1.0]]),
    )
    phi = mg.Adam.Phi(0.1)
    moved, _ = rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(g))
    assert np.isfinite(moved[0]).all()
    assert np.isnan(moved[1, 0])
    assert (moved[:, 1] == 1).all()


def test_norms_are_those_of_what_is_trained():
    rule = mg.Masked(mg.Chain(mg.ClipByNorm(), rule=mg.GradientDescent()), np.array([True, False]))
    phi, w = rule.Phi(1.0, 1.0), np.array([[0.0, 0.0]])
    moved, _ = rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(np.array([[2.0, 100.0]])))
    np.testing.assert_array_equal(moved, [[-1.0, 0.0]])


def test_tasks_may_have_masks_of_their_own():
    task = random_quadratic(2, 3, seed=4)
    mask = np.array([[True, False, True], [False, True, True]])
    found = mg.meta_gradient(task, mg.Masked(mg.Momentum(), mask), mg.LogFinal(), 0.1, steps=5)
    parts = [
        mg.meta_gradient(
            mg.Quadratic(task.H[b], task.w0[b]), mg.Masked(mg.Momentum(), mask[b]), mg.LogFinal(), 0.1, steps=5
        )
        for b in range(2)
    ]
    mean = sum(float(p.grad.eta.to_float()) for p in parts) / 2
    assert float(found.grad.eta.to_float()) == pytest.approx(mean, rel=1e-12)


def test_beyond_the_range_and_on_the_double():
    """A frozen entry does not scale; the trained one falls 500 orders of magnitude, and no digit is lost."""
    rule = mg.Masked(mg.GradientDescent(), np.array([True, False]))
    assert rule.homogeneous
    task = mg.DiagonalQuadratic(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    found = mg.meta_gradient(task, rule, mg.LogFinal(), 3.0, steps=2000)
    assert float(found.grad.eta.to_float()) == pytest.approx(1.0, rel=1e-12)  # 2 log|1 - eta|
    here = mg.Reverse()(task, rule, mg.LogFinal(), rule.Phi(np.asarray(0.3)), steps=5)
    there = mg.Reverse()(
        *(move(x, double.NAMESPACE) for x in (task, rule)),
        mg.LogFinal(),
        move(rule.Phi(np.asarray(0.3)), double.NAMESPACE),
        steps=5,
    )
    np.testing.assert_allclose(there.grad.eta.to_float().get(), here.grad.eta.to_float(), rtol=1e-13)


@pytest.mark.parametrize("kind", AS)
@pytest.mark.parametrize("name", ["gradient descent", "momentum", "adam", "sgdw", "adamw", "nadam", "adan"])
def test_one_step_size_a_layer(name, kind):
    """The field of phi is a tree like w; its gradient is, and equal rates add up to the gradient of one rate."""
    rule, phi = RULES[name]
    to = AS[kind][0]
    task, h = TwoLayers(kind), 1e-6
    own = phi._replace(eta=to({"head": 0.1, "body": 0.05}))
    reverse, forward = (
        mg.meta_gradient(task, rule, mg.LogFinal(), own, steps=5, method=m) for m in ("reverse", "forward")
    )
    assert type(reverse.grad.eta) is type(own.eta)
    for a, b in zip(ad.leaves(reverse.grad), ad.leaves(forward.grad), strict=True):
        assert worst_difference(a, b) <= 1e-11
    for layer in W0:
        ahead, behind = (
            mg.value(task, rule, mg.LogFinal(), phi._replace(eta=to({"head": 0.1, "body": 0.05} | {layer: x})), steps=5)
            for x in ({"head": 0.1, "body": 0.05}[layer] + s * h for s in (1, -1))
        )
        slope = (ahead.value.to_float().mean() - behind.value.to_float().mean()) / (2 * h)
        found = AS[kind][1](reverse.grad.eta)[layer]
        assert float(found.to_float()) == pytest.approx(slope, rel=1e-6)
    shared = mg.meta_gradient(task, rule, mg.LogFinal(), phi._replace(eta=0.1), steps=5)
    same = mg.meta_gradient(task, rule, mg.LogFinal(), phi._replace(eta=to({"head": 0.1, "body": 0.1})), steps=5)
    total = sum(float(x.to_float()) for x in ad.leaves(same.grad.eta))
    assert float(shared.grad.eta.to_float()) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize(
    ("mask", "kind", "message"),
    [
        (np.array([1.0, 0.0, 1.0]), TypeError, "mask is an array of float64; .* Write mask != 0"),
        (None, TypeError, "mask is None"),
        ((True, 1), TypeError, r"mask\[1\] is 1, a int"),
        (
            np.array([True, False]),
            ValueError,
            r"mask is of shape \(2,\); expected one that fits an array of w, \(1, 3\)",
        ),
        (np.ones((1, 1, 3), bool), ValueError, r"mask is of shape \(1, 1, 3\)"),
        ((True, False), TypeError, r"a tree with \[0\], \[1\]; expected a tree like w, with one array"),
    ],
)
def test_bad_masks(mask, kind, message):
    with pytest.raises(kind, match=message):
        mg.meta_gradient(
            random_quadratic(1, 3, seed=1), mg.Masked(mg.GradientDescent(), mask), mg.Final(), 0.1, steps=2
        )


@pytest.mark.parametrize("own", [{"head": 0.1, "bias": 0.1}, [0.1, 0.1], {"body": 0.1}])
def test_step_sizes_of_other_layers(own):
    task, phi = TwoLayers("dict"), mg.GradientDescent.Phi(own)
    message = r"phi\.eta is a tree with \[.*; expected one number, or a tree like w, with \['body'\], \['head'\]"
    with pytest.raises(ValueError, match=message):
        mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), phi, steps=2)
