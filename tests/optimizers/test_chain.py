"""Transformations of gradients and steps: what they show, their derivatives, and how they are put together."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.optimizers._norms import task_norm
from metagrad.xp import move, rng
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference
from tests.strategies import random_quadratic

H = np.diag([1.0, 5.0])
CLIP = mg.Chain(mg.ClipByNorm(), rule=mg.GradientDescent())


def clipped(w0):
    return mg.FunctionTask(lambda w: 0.5 * np.einsum("bi,ij,bj->b", w, H, w), w0=np.asarray(w0))


def differences(task, rule, phi, objective, h=1e-6, **options):
    """Return the slope of the mean over tasks in each of the numbers phi."""
    found = []
    for k in range(len(phi)):
        ahead, behind = (
            mg.value(task, rule, objective, type(phi)(*[x + s * h * (i == k) for i, x in enumerate(phi)]), **options)
            for s in (1, -1)
        )
        found.append((ahead.value.to_float().mean() - behind.value.to_float().mean()) / (2 * h))
    return found


def test_clipping_by_norm_step_by_step():
    phi, w = CLIP.Phi(2.0, 0.1), np.array([[2.0, 1.0], [0.1, 0.1]])
    g = w @ H
    lengths = np.sqrt((g**2).sum(axis=1, keepdims=True))
    moved, _ = CLIP.step(phi, CLIP.init(phi, w), w, mg.FixedGradient(g))
    np.testing.assert_allclose(moved, w - 0.1 * g * np.minimum(1, 2.0 / lengths), rtol=1e-15)
    assert np.array_equal(moved[1], w[1] - 0.1 * g[1]), "within the limit no bit changes"


@pytest.mark.parametrize("w0", [[[2.0, 1.0]], [[2.0, 1.0], [0.0, 0.0]]], ids=["alone", "beside its minimum"])
def test_a_task_at_its_minimum_beside_one_that_is_clipped(w0):
    """The norm has no derivative at zero; where it is not clipped none is asked for."""
    task, phi = clipped(w0), CLIP.Phi(2.0, 0.1)
    reverse, forward = (
        mg.meta_gradient(task, CLIP, mg.Final(), phi, steps=6, method=m) for m in ("reverse", "forward")
    )
    assert reverse.ok, reverse.report()
    slopes = differences(task, CLIP, phi, mg.Final(), steps=6)
    for a, b, slope in zip(reverse.grad, forward.grad, slopes, strict=True):
        assert worst_difference(a, b) <= 1e-12
        assert float(a.to_float()) == pytest.approx(slope, rel=1e-7)


def test_the_norm_is_that_of_all_arrays():
    draw = rng(1, "norm")
    w = {"W": draw.standard_normal((3, 4, 2)), "b": draw.standard_normal((3, 5)), "c": draw.standard_normal(3)}
    flat = np.concatenate([w["W"].reshape(3, -1), w["b"], w["c"][:, None]], axis=1)
    np.testing.assert_allclose(task_norm(w), np.linalg.norm(flat, axis=1), rtol=1e-15)
    phi = CLIP.Phi(0.5, 1.0)
    moved, _ = CLIP.step(phi, CLIP.init(phi, w), ad.tree_map(np.zeros_like, w), mg.FixedGradient(w))
    np.testing.assert_allclose(task_norm(moved), 0.5, rtol=1e-15)


@pytest.mark.parametrize(("dtype", "size"), [("float16", 3e4), ("float32", 1e38), ("float64", 1e300)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_norm_does_not_overflow_where_its_entries_fit(dtype, size, sign):
    g = np.full((1, 2), size**sign if sign > 0 or dtype != "float16" else 1e-4, dtype)
    norm, slope = task_norm(g), ad.grad(task_norm)(g)
    np.testing.assert_allclose(norm / g[0, 0], 2**0.5, rtol=2e-3)
    np.testing.assert_allclose(slope, 0.5**0.5, rtol=2e-3)
    assert norm.dtype == dtype
    assert np.array_equal(ad.grad(task_norm)(0 * g), 0 * g)


def test_one_limit_a_task():
    task, w = clipped([[2.0, 1.0], [1.0, -2.0]]), np.array([2.0, 0.5])
    phi = CLIP.Phi(w, np.array([0.1, 0.2]))
    found = mg.meta_gradient(task, CLIP, mg.Final(), phi, steps=4, per_task=True)
    for b in range(2):
        alone = mg.meta_gradient(clipped(task.w0[b : b + 1]), CLIP, mg.Final(), CLIP.Phi(w[b], phi.eta[b]), steps=4)
        for a, c in zip(found.grad, alone.grad, strict=True):
            assert float(a[b].to_float()) == pytest.approx(float(c.to_float()), rel=1e-13)
    with pytest.raises(ValueError, match=r"ClipByNorm: max_norm is of shape \(2,\); expected one number.*ClipByValue"):
        mg.meta_gradient(task, CLIP, mg.Final(), phi, steps=4)


def test_clipping_by_value_and_its_derivative():
    clip = mg.ClipByValue()
    g = np.array([[3.0, -3.0, 0.5, 1.0, 0.0, np.inf, np.nan]])
    shown, pull = ad.vjp(lambda g, c: clip.gradient(clip.Phi(c), mg.FixedGradient(g), g), g, np.asarray(1.0))
    np.testing.assert_array_equal(shown, [[1.0, -1.0, 0.5, 1.0, 0.0, np.inf, np.nan]])
    of_g, of_limit = pull(np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(of_g, [[0.0, 0.0, 3.0, 4.0, 5.0, 0.0, 0.0]])
    assert of_limit == 1.0 - 2.0


def test_weight_decay_does_not_reach_the_rule():
    """AdamW is Adam with eta decay; the decay of the chain is not in units of eta."""
    task, chain = random_quadratic(2, 3, seed=3), mg.Chain(mg.WeightDecay(), rule=mg.Adam())
    a = mg.meta_gradient(task, chain, mg.LogFinal(), chain.Phi(0.02, 0.1, 0.8, 0.9, 0.01), steps=8)
    b = mg.meta_gradient(task, mg.AdamW(), mg.LogFinal(), mg.AdamW.Phi(0.1, 0.8, 0.9, 0.01, 0.2), steps=8)
    np.testing.assert_allclose(a.value.to_float(), b.value.to_float(), rtol=1e-13)
    # d/d decay = eta d/d weight_decay; d/d eta of AdamW has the decay's share besides
    assert float(b.grad.decay.to_float()) == pytest.approx(0.1 * float(a.grad.weight_decay.to_float()), rel=1e-11)
    of_eta = float(a.grad.eta.to_float()) + 0.2 * float(a.grad.weight_decay.to_float())
    assert float(b.grad.eta.to_float()) == pytest.approx(of_eta, rel=1e-11)


def noisy(**options):
    return mg.Chain(mg.GradientNoise(**options), rule=mg.GradientDescent())


def test_noise_is_that_of_the_named_stream():
    rule, w = noisy(seed=5), np.ones((2, 3))
    phi = rule.Phi(0.4, 0.5, 0.1)
    for t in (0, 3):
        z = rng(5, "gradient noise", t, 0).standard_normal((2, 3))
        moved, _ = rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(2 * w, t))
        np.testing.assert_allclose(moved, w - 0.1 * (2 * w + 0.4 * (1 + t) ** -0.5 * z), rtol=1e-15)
    shared, _ = noisy(shared=True).step(phi, (), w, mg.FixedGradient(w))
    assert np.array_equal(shared[0], shared[1])


def test_noise_is_replayed_whatever_the_memory_and_in_windows():
    rule, task = noisy(), random_quadratic(2, 3, seed=4)
    phi = rule.Phi(0.4, 0.3, 0.1)
    a, b, c = (mg.meta_gradient(task, rule, mg.MeanLog(), phi, steps=30, memory=m) for m in (400, 2000, 1 << 30))
    for x, y, z in zip(a.grad, b.grad, c.grad, strict=True):
        assert np.array_equal(x.mantissa, y.mantissa)
        assert np.array_equal(x.mantissa, z.mantissa)
    cut = mg.meta_gradient(task, rule, mg.MeanLog(), phi, steps=30, method="windows", window=7)
    assert np.array_equal(cut.value.mantissa, c.value.mantissa)
    for x, slope in zip(a.grad, differences(task, rule, phi, mg.MeanLog(), steps=30), strict=True):
        assert float(x.to_float()) == pytest.approx(slope, rel=1e-6)


def test_the_first_is_next_to_the_task():
    """Clipped, then noise: the norm does not limit the noise. The other way round it does."""
    w = np.array([[3.0, 4.0]])
    inside = mg.Chain(mg.ClipByNorm(), mg.GradientNoise(), rule=mg.GradientDescent())
    outside = mg.Chain(mg.GradientNoise(), mg.ClipByNorm(), rule=mg.GradientDescent())
    z = rng(0, "gradient noise", 0, 0).standard_normal((1, 2))
    moved, _ = inside.step(inside.Phi(1.0, 2.0, 0.0, 1.0), (), w, mg.FixedGradient(w))
    np.testing.assert_allclose(moved, w - (w / 5 + 2 * z), rtol=1e-14)
    moved, _ = outside.step(outside.Phi(2.0, 0.0, 1.0, 1.0), (), w, mg.FixedGradient(w))
    np.testing.assert_allclose(moved, w - (w + 2 * z) / np.linalg.norm(w + 2 * z), rtol=1e-14)


def test_the_fields_stand_side_by_side():
    rule = mg.Chain(mg.ClipByNorm(), mg.WeightDecay(), rule=mg.Adam())
    assert rule.Phi._fields == ("max_norm", "weight_decay", "eta", "beta1", "beta2", "eps")
    assert rule.Phi(1.0, 0.1, 0.2) == (1.0, 0.1, 0.2, 0.9, 0.999, 1e-8)
    free = mg.Unconstrained(rule)
    assert free.Phi._fields == ("log_max_norm", "log_weight_decay", "log_eta", "logit_beta1", "logit_beta2", "log_eps")
    phi = rule.Phi(0.8, 0.1, 0.2, 0.8, 0.9, 0.1)
    task = random_quadratic(2, 3, seed=5)
    plain = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=6)
    found = mg.meta_gradient(task, free, mg.LogFinal(), free.free(phi), steps=6)
    for name, x, a, b in zip(rule.Phi._fields, phi, plain.grad, found.grad, strict=True):
        slope = x * (1 - x) if name.startswith("beta") else x
        assert float(b.to_float()) == pytest.approx(slope * float(a.to_float()), rel=1e-10)
    noise = mg.Unconstrained(noisy())
    assert noise.Phi._fields == ("log_noise", "noise_decay", "log_eta")


def test_around_a_learned_rule():
    """Its weights are fields of the chain; the clip has a derivative beside theirs."""
    lstm = mg.CoordinatewiseLSTM.quadratic((2,))
    rule, weights, task = mg.Chain(mg.ClipByNorm(), rule=lstm), lstm.init_meta(rng(0)), random_quadratic(2, 3, seed=6)
    phi = rule.Phi(np.asarray(0.5), *weights)
    assert rule.check_phi(phi, "here") == phi
    reverse, forward = (
        mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=4, method=m) for m in ("reverse", "forward")
    )
    for a, b in zip(ad.leaves(reverse.grad), ad.leaves(forward.grad), strict=True):
        assert worst_difference(a, b) <= 1e-10


class Plain:
    """A rule of a user: phi is a bare array, and it has a time of its own."""

    def init(self, phi, w):
        return ()

    def at(self, phi, t):
        return phi[0] + phi[1] * t

    def step(self, phi, state, w, f):
        return w - phi * f.gradient(w), ()


def test_a_rule_without_names_is_one_field():
    rule, task, c = mg.Chain(mg.ClipByNorm(), rule=Plain()), random_quadratic(2, 3, seed=7), np.array([0.1, 0.02])
    assert rule.Phi._fields == ("max_norm", "rule")
    phi = rule.Phi(np.asarray(0.7), c)
    found = mg.meta_gradient(task, rule, mg.Final(), phi, steps=5)
    h = 1e-6
    for k in range(2):
        e = h * np.eye(2)[k]
        ahead, behind = (
            mg.value(task, rule, mg.Final(), phi._replace(rule=c + s * e), steps=5).value.to_float().mean()
            for s in (1, -1)
        )
        assert found.grad.rule.to_float()[k] == pytest.approx((ahead - behind) / (2 * h), rel=1e-7)


def test_homogeneous_only_where_it_is():
    assert mg.Chain(mg.WeightDecay(), rule=mg.Momentum()).homogeneous
    assert mg.Chain(rule=mg.Momentum()).homogeneous
    assert not mg.Chain(mg.WeightDecay(), rule=mg.Adam()).homogeneous
    for part in (mg.ClipByNorm(), mg.ClipByValue(), mg.GradientNoise()):
        assert not mg.Chain(part, mg.WeightDecay(), rule=mg.Momentum()).homogeneous
    long = mg.Chain(mg.WeightDecay(), rule=mg.GradientDescent())
    task = mg.DiagonalQuadratic(np.array([1.0]), np.array([1.0]))
    found = mg.meta_gradient(task, long, mg.LogFinal(), long.Phi(0.1, 0.5), steps=3000)
    assert found.ok
    # f = (1 - decay - eta)^(2T)/2, and the objective log(f)/T
    assert float(found.grad.weight_decay.to_float()) == pytest.approx(-2 / 0.4, rel=1e-10)


def test_on_the_double():
    rule = mg.Chain(mg.GradientNoise(), mg.ClipByNorm(), mg.WeightDecay(), rule=mg.Adam())
    task = random_quadratic(2, 3, seed=5)
    phi = rule.Phi(*map(np.asarray, (0.1, 0.3, 0.7, 0.02, 0.1, 0.8, 0.9, 0.01)))
    here = mg.Reverse()(task, rule, mg.LogFinal(), phi, steps=5)
    there = mg.Reverse()(move(task, double.NAMESPACE), rule, mg.LogFinal(), move(phi, double.NAMESPACE), steps=5)
    for a, b in zip(here.grad, there.grad, strict=True):
        np.testing.assert_allclose(b.to_float().get(), a.to_float(), rtol=1e-11)


class Doubled:
    """A transformation of a user."""

    homogeneous = True

    class Phi(NamedTuple):
        times: float = 2.0

    def gradient(self, phi, f, w):
        return ad.tree_map(lambda g: phi.times * g, f.gradient(w))

    def moved(self, phi, before, after):
        return after

    def check_phi(self, phi, where):
        return phi


def test_a_transformation_of_ones_own():
    rule, task = mg.Chain(Doubled(), rule=mg.GradientDescent()), random_quadratic(2, 3, seed=8)
    a = mg.meta_gradient(task, rule, mg.LogFinal(), rule.Phi(times=2.0, eta=0.1), steps=5)
    b = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal(), 0.2, steps=5)
    assert float(a.grad.times.to_float()) == pytest.approx(0.1 * float(b.grad.eta.to_float()), rel=1e-12)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: mg.Chain(mg.Momentum(), rule=mg.Adam()), TypeError, "a Momentum without homogeneous|a Momentum with"),
        (lambda: mg.Chain(mg.ClipByNorm, rule=mg.Adam()), TypeError, r"the class ClipByNorm; .* Write ClipByNorm\(\)"),
        (lambda: mg.Chain(mg.ClipByNorm(), rule=mg.Adam), TypeError, "rule is the class Adam"),
        (
            lambda: mg.Chain(rule=mg.ClipByNorm()),
            TypeError,
            "rule is a ClipByNorm without init, step; expected an object",
        ),
        (lambda: mg.Chain(mg.ClipByNorm(), mg.ClipByNorm(), rule=mg.Adam()), ValueError, "several with max_norm"),
        (lambda: mg.Chain(rule=mg.Scheduled(mg.Adam())), TypeError, r"Write Scheduled\(Chain"),
        (lambda: CLIP.check_phi(0.1, "here"), TypeError, r"here: phi is a float; .* Write rule.Phi\(max_norm=..., eta"),
        (
            lambda: CLIP.check_phi(CLIP.Phi(-1.0, 0.1), "here"),
            ValueError,
            r"max_norm is -1\.0; expected a limit above 0",
        ),
        (lambda: CLIP.check_phi(CLIP.Phi(1.0, -0.1), "here"), ValueError, r"eta is -0\.1; expected a step size"),
        (lambda: CLIP.check_phi(CLIP.Phi(1, 0.1), "here"), TypeError, "max_norm is 1, an integer"),
        (lambda: mg.GradientNoise(-1), ValueError, "seed is -1"),
        (lambda: mg.GradientNoise(1.0), TypeError, "seed is 1.0, a float"),
    ],
)
def test_bad_chains(build, kind, message):
    with pytest.raises(kind, match=message):
        build()
