"""The 31-feature MLP: against loops over single numbers, its normalisation, and its meta-gradients."""

import math

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.optimizers.learned.mlp31 import _normalised
from metagrad.xp import VALUE_TOLERANCE, move, rng
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference
from tests.optimizers.test_trees import TwoLayers
from tests.strategies import random_quadratic

SMALL = mg.MLP31(hidden=2, scale=0.05, exponent_scale=0.1)


def weights(rule=SMALL, dtype=np.float64, seed=1):
    return rule.init_meta(rng(seed, "weights"), dtype)


def by_hand(rule, phi, w, gradients):
    """Return w after some steps on one tensor: loops over coordinates and features."""
    betas, times = (0.5, 0.9, 0.99, 0.999, 0.9999), (3, 10, 30, 100, 300, 1000, 3000, 10000, 300000)
    n = len(w)
    m, s = [[0.0] * 5 for _ in range(n)], [[0.0] * 5 for _ in range(n)]
    for t, g in enumerate(gradients, start=1):
        rows = []
        for i in range(n):
            m[i] = [b * x + (1 - b) * g[i] for b, x in zip(betas, m[i], strict=True)]
            s[i] = [b * x + (1 - b) * g[i] ** 2 for b, x in zip(betas, s[i], strict=True)]
            root = [(x + 1e-6) ** -0.5 for x in s[i]]
            rows.append([g[i], *[x * r for x, r in zip(m[i], root, strict=True)], w[i], *m[i], *s[i], *root])
        rms = [math.sqrt(1e-5 + sum(row[k] ** 2 for row in rows) / n) for k in range(22)]
        moved = []
        for i in range(n):
            x = [v / r for v, r in zip(rows[i], rms, strict=True)] + [math.tanh(t / scale - 1) for scale in times]
            hidden = [
                max(0.0, sum(x[k] * phi.hidden.weight[k, j] for k in range(31)) + phi.hidden.bias[j])
                for j in range(rule.hidden)
            ]
            a, b = (sum(h * phi.output.weight[j, k] for j, h in enumerate(hidden)) + phi.output.bias[k] for k in (0, 1))
            moved.append(w[i] - rule.scale * a * math.exp(rule.exponent_scale * b))
        w = moved
    return w


def test_parameter_count_and_initial_weights():
    phi = weights(mg.MLP31(), np.float32)
    assert sum(leaf.size for leaf in ad.leaves(phi)) == 1090
    assert all(leaf.dtype == np.float32 for leaf in ad.leaves(phi))
    for layer in phi:
        assert (layer.bias == np.float32(0.1)).all()
    assert phi.hidden.weight.std() == pytest.approx(1, abs=5 / math.sqrt(2 * 992))
    assert (mg.MLP31().scale, mg.MLP31().exponent_scale) == (0.001, 0.001)


def test_steps_against_loops_over_single_numbers():
    phi = weights()
    gradients = rng(2, "gradients").standard_normal((6, 2, 3)) * 10.0 ** rng(2, "sizes").uniform(-5, 2, (6, 2, 3))
    gradients[2, 0, 0] = 0.0
    w = w0 = rng(2, "w").standard_normal((2, 3))
    state = SMALL.init(phi, w)
    for g in gradients:
        w, state = SMALL.step(phi, state, w, mg.FixedGradient(g))
    for task in range(2):
        np.testing.assert_allclose(w[task], by_hand(SMALL, phi, w0[task], gradients[:, task]), rtol=1e-11)


def test_every_tensor_has_a_normalisation_of_its_own():
    """A tuple of arrays is as many optimizers, and not one on all coordinates."""
    phi, task = weights(), TwoLayers()
    w = task.init(None)
    g = task.gradient(w, None) if hasattr(task, "gradient") else ad.grad(lambda u: task.loss(u, None))(w)
    together, _ = SMALL.step(phi, SMALL.init(phi, w), w, mg.FixedGradient(g))
    for moved, leaf, slope in zip(together, w, g, strict=True):
        apart, _ = SMALL.step(phi, SMALL.init(phi, leaf), leaf, mg.FixedGradient(slope))
        np.testing.assert_array_equal(moved, apart)
    flat, flat_g = (np.concatenate([x.reshape((2, -1)) for x in tree], axis=1) for tree in (w, g))
    other, _ = SMALL.step(phi, SMALL.init(phi, flat), flat, mg.FixedGradient(flat_g))
    assert np.abs(other[:, :12] - together[0].reshape((2, 12))).max() > 1e-4


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1000.0])
def test_normalisation_of_large_entries(dtype, size):
    """1000^2 is beyond float16, and its normalised value is not."""
    z = (size * rng(3, "z").standard_normal((2, 50, 4))).astype(dtype)
    wide = z.astype(np.float64)
    exact = wide / np.sqrt(1e-5 + (wide**2).mean(axis=1, keepdims=True))
    np.testing.assert_allclose(_normalised(z), exact, rtol=4 * VALUE_TOLERANCE[dtype])


def test_the_derivative_of_the_normalisation_knows_no_units():
    z, v = (rng(4, name).standard_normal((1, 5, 2)) for name in "zv")
    for size in (0.01, 100.0):
        slope = ad.jvp(_normalised, (size * z,), (size * v,))[1]
        plain = ad.jvp(lambda x: x / np.sqrt(1e-5 + np.mean(x * x, axis=1, keepdims=True)), (size * z,), (size * v,))[1]
        np.testing.assert_allclose(slope, plain, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
@pytest.mark.parametrize("task", [random_quadratic(2, 3, seed=1), TwoLayers()], ids=["quadratic", "tuple"])
def test_reverse_is_forward(task, gradient):
    reverse, forward = (
        mg.meta_gradient(task, SMALL, mg.WeightedSum(), weights(), steps=2, method=method, gradient=gradient)
        for method in ("reverse", "forward")
    )
    assert reverse.ok
    for a, b in zip(ad.leaves(reverse.grad), ad.leaves(forward.grad), strict=True):
        assert worst_difference(a.reshape((-1,)), b.reshape((-1,))) <= 1e-11


@pytest.mark.parametrize("task", [random_quadratic(2, 3, seed=1), TwoLayers()], ids=["quadratic", "tuple"])
def test_the_full_gradient_is_the_difference_quotient(task):
    rule = mg.MLP31(hidden=8, scale=0.05, exponent_scale=0.1)
    phi = weights(rule)
    found = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=8)
    direction = ad.tree_map(lambda leaf: rng(5, "direction", leaf.size).standard_normal(leaf.shape), phi)
    slope = sum((a.to_float() * b).sum() for a, b in zip(ad.leaves(found.grad), ad.leaves(direction), strict=True))
    ahead, behind = (
        mg.meta_gradient(
            task, rule, mg.LogFinal(), ad.tree_map(lambda a, b, h=h: a + h * b, phi, direction), steps=8
        ).value.to_float()
        for h in (1e-7, -1e-7)
    )
    assert slope == pytest.approx((ahead - behind).mean() / 2e-7, rel=1e-5)


def test_one_network_a_task():
    task, one, two = random_quadratic(2, 3, seed=1), weights(seed=1), weights(seed=2)
    phi = ad.tree_map(lambda a, b: np.stack([a, b]), one, two)
    both = mg.meta_gradient(task, SMALL, mg.Final(), phi, steps=4, per_task=True)
    for b, own in enumerate((one, two)):
        alone = mg.meta_gradient(mg.Quadratic(task.H[b], task.w0[b]), SMALL, mg.Final(), own, steps=4)
        for together, apart in zip(ad.leaves(both.grad), ad.leaves(alone.grad), strict=True):
            assert worst_difference(together[b].reshape((-1,)), apart.reshape((-1,))) <= 1e-11


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_dtype_stays(dtype):
    task = random_quadratic(2, 3, seed=1, dtype=dtype)
    found = mg.meta_gradient(task, SMALL, mg.LogFinal(), weights(dtype=dtype), steps=4)
    assert found.ok
    assert all(leaf.dtype == dtype for leaf in ad.leaves(found.grad))


@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
def test_gradients_that_are_exactly_zero(gradient):
    for task in (
        mg.DiagonalQuadratic(np.array([1.0, 0.0, 0.7]), np.array([0.0, 1.0, 0.9])),
        mg.FunctionTask(lambda w: 1.0 + 0.0 * np.sum(w, axis=-1), np.ones((1, 2))),
    ):
        found = mg.meta_gradient(task, SMALL, mg.LogFinal(), weights(), steps=4, gradient=gradient)
        assert found.ok, found.report()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_no_number_gives_an_update_that_is_none(bad):
    g = np.array([[1.0, bad, 2.0], [1.0, 2.0, 3.0]])
    with np.errstate(invalid="ignore"):
        w, _ = SMALL.step(weights(), SMALL.init(weights(), g), np.zeros((2, 3)), mg.FixedGradient(g))
    assert np.isnan(w[0]).all()
    assert np.isfinite(w[1]).all()


def test_on_the_double():
    task, phi = random_quadratic(2, 3, seed=5), weights()
    here = mg.meta_gradient(task, SMALL, mg.LogFinal(), phi, steps=4)
    there = mg.Reverse()(move(task, double.NAMESPACE), SMALL, mg.LogFinal(), move(phi, double.NAMESPACE), steps=4)
    for a, b in zip(ad.leaves(here.grad), ad.leaves(there.grad), strict=True):
        np.testing.assert_allclose(b.to_float().get(), a.to_float(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((3.0,), TypeError, r"hidden is 3\.0, a float; expected an integer"),
        ((0,), ValueError, "hidden is 0; expected an integer of at least 1"),
        ((32, float("inf")), ValueError, "scale is inf; expected a finite number"),
    ],
)
def test_bad_architectures(arguments, kind, message):
    with pytest.raises(kind, match=message):
        mg.MLP31(*arguments)


def test_weights_of_another_network():
    with pytest.raises(ValueError, match=r"phi.hidden.weight is of shape \(31, 32\); expected shape \(31, 2\)"):
        mg.meta_gradient(random_quadratic(1, 2, seed=1), SMALL, mg.Final(), weights(mg.MLP31()), steps=2)
    with pytest.raises(TypeError, match=r"phi is a Phi with 6 arrays; expected MLP31.Phi with 4 arrays"):
        SMALL.check_phi(mg.CoordinatewiseLSTM().init_meta(rng(0)), "test")
