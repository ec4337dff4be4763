"""The coordinate-wise LSTM: its cell against loops over single numbers, its preprocessing, and its meta-gradients."""

import math

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.optimizers.learned._networks import truncated_normal
from metagrad.optimizers.learned.lstm import log_and_sign
from metagrad.xp import move, rng
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference
from tests.optimizers.test_trees import ON_ONE_ARRAY, TwoLayers
from tests.strategies import random_quadratic

SMALL = {
    "paper": mg.CoordinatewiseLSTM.paper((1, 2)),
    "dm": mg.CoordinatewiseLSTM.dm((2,)),
    "quadratic": mg.CoordinatewiseLSTM.quadratic((2, 1)),
    "linear": mg.CoordinatewiseLSTM((), None, 0.5),
}
small = pytest.mark.parametrize("name", SMALL)


def weights(rule, dtype=np.float64, seed=1):
    return rule.init_meta(rng(seed, "weights"), dtype)


def size(tree):
    return sum(leaf.size for leaf in ad.leaves(tree))


@pytest.mark.parametrize(("preset", "count"), [("paper", 5141), ("dm", 5141), ("quadratic", 5061)])
def test_parameter_counts(preset, count):
    rule = getattr(mg.CoordinatewiseLSTM, preset)()
    assert size(weights(rule)) == count
    assert size(rule.init(None, np.zeros((2, 7)))) == 2 * 7 * 80


def test_presets():
    paper, dm, quadratic = (getattr(mg.CoordinatewiseLSTM, name)() for name in ("paper", "dm", "quadratic"))
    assert (paper.preprocessing, paper.scale) == (10.0, 0.1)
    assert (dm.preprocessing, dm.scale) == (5.0, 0.01)
    assert (quadratic.preprocessing, quadratic.scale) == (None, 1.0)
    assert paper.hidden == dm.hidden == quadratic.hidden == (20, 20)


def sigma(x):
    return 1 / (1 + math.exp(-x))


def by_hand(rule, phi, gradients):
    """Return the sum of updates for one coordinate: loops over units, no arrays."""
    state = [([0.0] * units, [0.0] * units) for units in rule.hidden]
    total = 0.0
    for g in gradients:
        x = [float(g)]
        if rule.preprocessing is not None:
            p = rule.preprocessing
            x = [math.log(abs(g)) / p, math.copysign(1, g)] if abs(g) >= math.exp(-p) else [-1.0, math.exp(p) * g]
        for n, (weight, bias) in enumerate(phi.layers):
            h, c = state[n]
            units, inputs = len(h), [*x, *h]
            z = [sum(v * weight[k, m] for k, v in enumerate(inputs)) + bias[m] for m in range(4 * units)]
            i, j, f, o = (z[k * units : (k + 1) * units] for k in range(4))
            c = [sigma(f[k] + 1) * c[k] + sigma(i[k]) * math.tanh(j[k]) for k in range(units)]
            h = [sigma(o[k]) * math.tanh(c[k]) for k in range(units)]
            x, state[n] = h, (h, c)
        total += rule.scale * (sum(v * phi.output.weight[k, 0] for k, v in enumerate(x)) + phi.output.bias[0])
    return total


@small
def test_steps_against_loops_over_single_numbers(name):
    rule = SMALL[name]
    phi = weights(rule)
    gradients = rng(2, "gradients").standard_normal((5, 2, 3)) * 10.0 ** rng(2, "sizes").uniform(-7, 2, (5, 2, 3))
    gradients[2, 0, 0] = 0.0
    w = w0 = rng(2, "w").standard_normal((2, 3))
    state = rule.init(phi, w)
    for g in gradients:
        w, state = rule.step(phi, state, w, mg.FixedGradient(g))
    for task in range(2):
        for k in range(3):
            assert (w - w0)[task, k] == pytest.approx(by_hand(rule, phi, gradients[:, task, k]), rel=1e-11)


@pytest.mark.parametrize("p", [5.0, 10.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_preprocessing_is_that_of_the_public_code_but_for_its_eps(p, dtype):
    size = np.concatenate([[0.0], 10.0 ** np.linspace(-7, 3, 41), np.exp([-p, p])]).astype(dtype)
    g = np.concatenate([size, -size])
    found = log_and_sign(g, p)
    eps, wide = float(np.finfo(dtype).eps), g.astype(np.float64)
    public = np.stack([np.maximum(np.log(np.abs(wide) + eps) / p, -1), np.clip(np.exp(p) * wide, -1, 1)], axis=-1)
    assert found.dtype == dtype
    np.testing.assert_allclose(found[:, 0], public[:, 0], atol=math.log1p(eps * math.exp(p)) / p + 4 * eps)
    np.testing.assert_allclose(found[:, 1], public[:, 1], atol=8 * eps)


def test_derivatives_of_the_preprocessing():
    p = 4.0
    g = np.array([0.0, 1e-3, -1e-3, 0.5, -2.0])
    d_log, d_sign = (ad.grad(lambda x, k=k: log_and_sign(x, p)[..., k])(g) for k in (0, 1))
    np.testing.assert_allclose(d_log, [0, 0, 0, 1 / (p * 0.5), 1 / (p * -2.0)])
    np.testing.assert_allclose(d_sign, [math.exp(p)] * 3 + [0, 0])


@pytest.mark.parametrize("name", ["paper", "quadratic", "linear"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_no_number_gives_an_update_that_is_none(name, bad):
    rule = SMALL[name]
    g = np.array([[1.0, bad, 2.0]])
    with np.errstate(invalid="ignore"):
        w, _ = rule.step(weights(rule), rule.init(weights(rule), g), np.zeros((1, 3)), mg.FixedGradient(g))
    assert np.isfinite(w[0, [0, 2]]).all()
    assert np.isnan(w[0, 1])


@small
@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
def test_reverse_is_forward(name, gradient):
    rule = SMALL[name]
    for task in (random_quadratic(2, 3, seed=1), TwoLayers()):
        reverse, forward = (
            mg.meta_gradient(task, rule, mg.WeightedSum(), weights(rule), steps=3, method=method, gradient=gradient)
            for method in ("reverse", "forward")
        )
        assert reverse.ok
        for a, b in zip(ad.leaves(reverse.grad), ad.leaves(forward.grad), strict=True):
            assert worst_difference(a.reshape((-1,)), b.reshape((-1,))) <= 1e-11


@small
def test_the_full_gradient_is_the_difference_quotient(name):
    rule = SMALL[name]
    phi, task = weights(rule), random_quadratic(2, 3, seed=1)
    found = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=6)
    direction = ad.tree_map(lambda leaf: rng(5, "direction", leaf.size).standard_normal(leaf.shape), phi)
    slope = sum((a.to_float() * b).sum() for a, b in zip(ad.leaves(found.grad), ad.leaves(direction), strict=True))
    ahead, behind = (
        mg.meta_gradient(
            task, rule, mg.LogFinal(), ad.tree_map(lambda a, b, h=h: a + h * b, phi, direction), steps=6
        ).value.to_float()
        for h in (1e-6, -1e-6)
    )
    assert slope == pytest.approx((ahead - behind).mean() / 2e-6, rel=1e-6)


def test_full_and_stopped_are_two_numbers():
    rule, task = SMALL["quadratic"], random_quadratic(2, 3, seed=1)
    full, stopped = (
        mg.meta_gradient(task, rule, mg.WeightedSum(), weights(rule), steps=20, gradient=kind).grad.output.weight
        for kind in ("full", "stop_gradient")
    )
    assert worst_difference(full.reshape((-1,)), stopped.reshape((-1,))) > 1e-3


@small
def test_coordinates_do_not_see_each_other(name):
    """On a tuple of arrays, on one flat array, and with the coordinates in another order: the same network."""
    rule = SMALL[name]
    phi = weights(rule)
    g, order = rng(6, "g").standard_normal((2, 17)), rng(6, "order").permutation(17)
    w, _ = rule.step(phi, rule.init(phi, g), np.zeros_like(g), mg.FixedGradient(g))
    other, _ = rule.step(phi, rule.init(phi, g), np.zeros_like(g), mg.FixedGradient(g[:, order]))
    np.testing.assert_allclose(other, w[:, order], rtol=1e-13)
    flat, tree = (mg.meta_gradient(task, rule, mg.Final(), phi, steps=4).grad for task in (ON_ONE_ARRAY, TwoLayers()))
    for a, b in zip(ad.leaves(flat), ad.leaves(tree), strict=True):
        assert worst_difference(a.reshape((-1,)), b.reshape((-1,))) <= 1e-11


@small
def test_one_network_a_task(name):
    rule = SMALL[name]
    task, one, two = random_quadratic(2, 3, seed=1), weights(rule, seed=1), weights(rule, seed=2)
    both = mg.meta_gradient(
        task, rule, mg.Final(), ad.tree_map(lambda a, b: np.stack([a, b]), one, two), steps=4, per_task=True
    )
    for b, phi in enumerate((one, two)):
        alone = mg.meta_gradient(mg.Quadratic(task.H[b], task.w0[b]), rule, mg.Final(), phi, steps=4)
        for together, apart in zip(ad.leaves(both.grad), ad.leaves(alone.grad), strict=True):
            assert worst_difference(together[b].reshape((-1,)), apart.reshape((-1,))) <= 1e-11


def test_the_linear_rule_is_gradient_descent():
    """Without layers u = scale (a g + b): with b = 0 gradient descent with eta = -scale a."""
    rule, task = mg.CoordinatewiseLSTM((), None, 0.5), random_quadratic(2, 3, seed=1)
    phi = rule.init_meta(rng(0))
    phi.output.weight[:] = -0.6
    found = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=10)
    descent = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal(), 0.3, steps=10, fused=False)
    np.testing.assert_allclose(found.value.to_float(), descent.value.to_float(), rtol=1e-13)
    slope = float(found.grad.output.weight.to_float()[0, 0])
    assert slope == pytest.approx(-0.5 * float(descent.grad.eta.to_float()), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@small
def test_the_dtype_stays(name, dtype):
    rule, task = SMALL[name], random_quadratic(2, 3, seed=1, dtype=dtype)
    for method in ("reverse", "forward"):
        found = mg.meta_gradient(task, rule, mg.LogFinal(), weights(rule, dtype), steps=4, method=method)
        assert found.ok
        assert all(leaf.dtype == dtype for leaf in ad.leaves(found.grad))
        assert found.value.dtype == dtype


@small
@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
def test_gradients_that_are_exactly_zero(name, gradient):
    rule, task = SMALL[name], mg.DiagonalQuadratic(np.array([1.0, 0.0, 0.7]), np.array([0.0, 1.0, 0.9]))
    assert mg.meta_gradient(task, rule, mg.LogFinal(), weights(rule), steps=4, gradient=gradient).ok


@small
def test_on_the_double(name):
    rule, task = SMALL[name], random_quadratic(2, 3, seed=5)
    phi = weights(rule)
    here = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=4)
    there = mg.Reverse()(move(task, double.NAMESPACE), rule, mg.LogFinal(), move(phi, double.NAMESPACE), steps=4)
    for a, b in zip(ad.leaves(here.grad), ad.leaves(there.grad), strict=True):
        np.testing.assert_allclose(b.to_float().get(), a.to_float(), rtol=1e-10, atol=1e-14)


def test_initial_weights():
    """Truncated at 2 std: then the variance is 1 - 4 phi(2)/(2 Phi(2) - 1) = 0.7737 std^2."""
    rule = mg.CoordinatewiseLSTM.paper()
    phi = weights(rule, np.float32)
    for layer, fan_in in zip(phi.layers, (22, 40), strict=True):
        for leaf in layer:
            assert leaf.dtype == np.float32
            assert np.abs(leaf).max() <= 2.0001 / math.sqrt(fan_in)
    assert np.abs(phi.output.weight).max() <= 2.0001 / math.sqrt(20)
    assert (phi.output.bias == 0).all()
    x = truncated_normal(rng(0), (40_000,), 1.0, np.float64)
    assert x.mean() == pytest.approx(0, abs=5 * math.sqrt(0.774 / 40_000))
    assert x.var() == pytest.approx(0.7737, abs=0.02)
    again = weights(rule, np.float32)
    assert all(np.array_equal(a, b) for a, b in zip(ad.leaves(phi), ad.leaves(again), strict=True))


def test_it_learns_to_optimize():
    """A few meta-steps from random weights lower the meta-objective on problems that were not seen."""
    rule = mg.CoordinatewiseLSTM.quadratic((4,))
    tasks, fresh = random_quadratic(16, 2, seed=7), random_quadratic(16, 2, seed=8)
    trainer = mg.MetaTrainer(tasks, rule, mg.WeightedSum(), steps=5, scale=0.1, step="sign")
    phi = weights(rule)
    run = trainer.run(phi, 30)
    learned = ad.unflatten(phi, np.split(run.phi[-1], np.cumsum([leaf.size for leaf in ad.leaves(phi)])[:-1]))
    learned = ad.tree_map(lambda new, old: new.reshape(old.shape), learned, phi)
    before, after = (
        mg.meta_gradient(fresh, rule, mg.WeightedSum(), p, steps=5).value.to_float().mean() for p in (phi, learned)
    )
    assert after < 0.5 * before


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (([20, 20],), TypeError, r"hidden is \[20, 20\]; expected a tuple of integers"),
        (((20, 0),), ValueError, r"hidden is \(20, 0\); expected at least one unit a layer"),
        (((20,), 0.0), ValueError, r"preprocessing is 0\.0; expected a number above 0 and below 709, or None"),
        (((20,), 720.0), ValueError, r"preprocessing is 720\.0; expected a number above 0 and below 709, or None"),
        (((20,), None, float("nan")), ValueError, "scale is nan"),
        (((20,), "10"), TypeError, "preprocessing is '10', a str; expected a number"),
        (((20,), True), TypeError, "preprocessing is True, a bool; expected a number"),
        (((20,), None, "1"), TypeError, "scale is '1', a str; expected a number"),
    ],
)
def test_bad_architectures(arguments, kind, message):
    with pytest.raises(kind, match=message):
        mg.CoordinatewiseLSTM(*arguments)


@pytest.mark.parametrize(("dtype", "p"), [(np.float16, 12.0), (np.float32, 89.0), (np.float64, 12.0)])
def test_the_range_of_the_preprocessing_has_to_fit_the_dtype(dtype, p):
    """Otherwise a gradient of exactly zero would become NaN."""
    rule = mg.CoordinatewiseLSTM((2,), p)
    task, phi = mg.Quadratic(np.eye(2, dtype=dtype), np.eye(2, dtype=dtype)), rule.init_meta(rng(0), dtype)
    if dtype != np.float64:
        with pytest.raises(ValueError, match=rf"preprocessing is {p}; expected a number below .*{np.dtype(dtype)}"):
            mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=2, scaling="none")
    if dtype != np.float32:  # float16 is carried in float32
        assert mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=2).ok


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lambda phi: 0.1, TypeError, "phi is a float with 1 arrays; expected CoordinatewiseLSTM.Phi with 6 arrays"),
        (lambda phi: phi._replace(layers=phi.layers[:1]), TypeError, "with 4 arrays; expected .* with 6 arrays"),
        (
            lambda phi: phi._replace(output=phi.output._replace(weight=np.ones((4, 1)))),
            ValueError,
            r"phi.output.weight is of shape \(4, 1\); expected shape \(2, 1\). Use init_meta, or the optimizer",
        ),
        (
            lambda phi: phi._replace(output=phi.output._replace(bias=np.array([np.nan]))),
            ValueError,
            "phi.output.bias is not finite",
        ),
        (
            lambda phi: phi._replace(output=phi.output._replace(bias=np.array([1]))),
            TypeError,
            "phi.output.bias is an array of int64; expected a float array",
        ),
        (
            lambda phi: phi._replace(layers=(phi.layers[0]._replace(bias=np.ones(7)), phi.layers[1])),
            ValueError,
            r"phi.layers\[0\].bias is of shape \(7,\); expected shape \(4,\)",
        ),
    ],
)
def test_weights_of_another_network(spoil, kind, message):
    rule = SMALL["paper"]
    with pytest.raises(kind, match=message):
        mg.meta_gradient(random_quadratic(1, 2, seed=1), rule, mg.Final(), spoil(weights(rule)), steps=2)


def test_bad_generators():
    with pytest.raises(TypeError, match=r"rng is a int; expected a generator. Use np.random.default_rng\(seed\)"):
        mg.CoordinatewiseLSTM().init_meta(0)
