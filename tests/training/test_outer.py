"""Outer steps: of any size, by scales of several sizes, through any rule, and within the ranges of the rule tuned."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad, optimizers, parts
from metagrad.optimizers._hyper import Range
from metagrad.protocols import Estimate
from metagrad.scaled import Scaled
from metagrad.xp import move, to_host
from tests.cupy_double import double
from tests.optimizers.rules import HAND_DESIGNED
from tests.strategies import random_quadratic

TASK = random_quadratic(3, 4, seed=2, diagonal=True)
TINY = float(np.finfo(np.float64).tiny)


def found(*grads):
    """An estimate with these meta-gradients: pairs of digits and a power of two."""
    one = np.zeros(1, dtype=np.int64)
    return Estimate(Scaled.of(np.ones(1)), tuple(Scaled.of(np.asarray(d, np.float64), p) for d, p in grads), one, one)


def momentum(phi, meta_steps, **settings):
    rule = settings.pop("optimizer", mg.Momentum())
    return mg.MetaTrainer(TASK, rule, mg.LogFinal(), **({"steps": 20} | settings)).run(phi, meta_steps)


def test_one_scale_each_for_gradients_of_several_sizes():
    """d/d mu and d/d eta differ 40-fold here: with one scale for both, one of them stands still or flies off."""
    phi = mg.Momentum.Phi(0.05, 0.5)
    grad = mg.meta_gradient(TASK, mg.Momentum(), mg.LogFinal(), phi, steps=20).grad
    run = momentum(phi, 1, scale=mg.Momentum.Phi(1e-4, 2e-3))
    expected = [0.05 - 1e-4 * float(grad.eta.to_float()), 0.5 - 2e-3 * float(grad.mu.to_float())]
    np.testing.assert_allclose(run.phi[1], expected, rtol=1e-14)
    assert run.names == ("eta", "mu")
    held = momentum(phi, 3, scale=mg.Momentum.Phi(1e-4, None))
    assert (held.phi[:, 1] == 0.5).all()
    assert (np.diff(held.phi[:, 0]) != 0).all()
    with pytest.raises(TypeError, match="Descent: scale"):
        momentum(phi, 1, scale=(1e-4, (2e-3,)))


def test_a_scale_may_be_an_array():
    step = mg.Descent((np.array([1.0, 10.0]),), power=1.0)
    moved, _, report = step.step((np.zeros(2),), (), found(([1.0, 2.0], 0)), 2)
    np.testing.assert_array_equal(moved[0], [-0.5, -10.0])
    assert report.log2_norm == pytest.approx(np.log2(np.sqrt(5)))


@pytest.mark.parametrize("power", [0, 5000, -5000])
def test_signs_of_any_size(power):
    moved, _, report = mg.Descent(0.25, 0.0, sign=True).step(
        (1.0, np.zeros(2)), (), found((3.0, power), ([-1, 0], 0)), 7
    )
    assert moved[0] == 0.75
    np.testing.assert_array_equal(moved[1], [0.25, 0.0])
    assert report.finite


@pytest.mark.parametrize(
    "rule", [mg.Adam(), mg.RMSprop(), mg.Momentum(), mg.Nesterov(), mg.GradientDescent()], ids=repr
)
def test_through_a_rule_it_is_that_rule(rule):
    settings = rule.check_phi(0.1, "test")
    step, phi, w = mg.Through(rule, settings), (np.array([1.0, 2.0]),), (np.array([1.0, 2.0]),)
    state, own = step.init(phi), rule.init(settings, w)
    for k in (1, 2, 3):
        g = np.array([0.5, -k])
        phi, state, report = step.step(phi, state, found((g, 0)), k)
        w, own = rule.step(settings, own, w, mg.FixedGradient((g,)))
        assert np.array_equal(phi[0], w[0])
        assert report.finite
        assert not report.clipped


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_through_a_rule_no_number_is_no_step(bad):
    step, phi = mg.Through(mg.Adam(), mg.Adam.Phi(0.1), clip_norm=1.0), (np.zeros(2),)
    _, state, _ = step.step(phi, step.init(phi), found(([1.0, 2.0], 0)), 1)
    moved, after, report = step.step(phi, state, found(([bad, 1.0], 0)), 2)
    assert np.isnan(moved[0]).all()
    assert not report.finite
    assert all(np.array_equal(x, y) for x, y in zip(ad.leaves(after), ad.leaves(state), strict=True))


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ((0.1,), TypeError, r"Through: phi is a float; expected Adam\.Phi\(eta"),
        ((mg.Adam.Phi(0.1), 0.0), ValueError, "Through: clip_norm is 0"),
        ((mg.Adam.Phi(0.1), None, True), TypeError, "Through: clip_value is True"),
    ],
)
def test_settings_of_through_are_checked(settings, kind, message):
    with pytest.raises(kind, match=message):
        mg.Through(mg.Adam(), *settings)


@pytest.mark.parametrize("bad", [-np.inf, -1.0, 0.0, 1e-320, 1.0, 2.0, np.inf])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("name", sorted(HAND_DESIGNED))
def test_every_projection_is_one_that_the_rule_takes(name, dtype, bad):
    """And what the rule takes is left as it is, to the bit."""
    rule, good = HAND_DESIGNED[name][:2]
    kind = parts.named_phi(rule)
    with np.errstate(over="ignore"):
        phi = kind(*[np.full(2, bad, dtype) for _ in kind._fields])
    near = parts.project(rule, phi)
    assert {x.dtype for x in near} == {np.dtype(dtype)}
    rule.check_phi(near, "test")
    fine = kind(*[np.asarray(x, dtype) for x in rule.check_phi(good, "test")])
    assert all(np.array_equal(x, y) for x, y in zip(parts.project(rule, fine), fine, strict=True))


def test_every_rule_that_checks_its_numbers_projects_them():
    """But for those whose numbers have no ranges: a network's weights, and coordinates."""
    without = {"CoordinatewiseLSTM", "MLP31", "Unconstrained"}
    rules = {name: getattr(optimizers, name) for name in optimizers.__all__}
    kinds = {name: kind for name, kind in rules.items() if isinstance(kind, type) and hasattr(kind, "step")}
    assert without <= set(kinds)
    checking = {name for name, kind in kinds.items() if parts.checks_phi(kind)}
    assert checking - without == {name for name, kind in kinds.items() if hasattr(kind, "project")}


def test_the_projection_is_the_nearest_number():
    near = mg.Momentum().project(mg.Momentum.Phi(-0.3, 1.411))
    assert near == mg.Momentum.Phi(TINY, np.nextafter(1.0, 0.0))
    assert mg.Momentum().project(mg.Momentum.Phi(np.inf, -0.2)) == mg.Momentum.Phi(np.finfo(np.float64).max, 0.0)
    assert np.isnan(mg.Momentum().project(mg.Momentum.Phi(np.nan, np.nan))).all()
    assert mg.Adam().project(mg.Adam.Phi(0.1, 0.9, 2.0, -1.0))[2:] == (np.nextafter(1.0, 0.0), TINY)
    layers = mg.GradientDescent().project(mg.GradientDescent.Phi({"a": -1.0, "b": 0.2})).eta
    assert layers == {"a": TINY, "b": 0.2}
    for rule in (mg.Scheduled(mg.Momentum()), mg.Stopped(mg.Momentum(), np.inf)):
        assert parts.project(rule, mg.Momentum.Phi(-1.0, 0.5)).eta == TINY
    assert not Range._field_defaults.get("ends")


def test_wrappers_project_what_they_hold():
    chain = mg.Chain(mg.ClipByNorm(), mg.WeightDecay(), rule=mg.Momentum())
    near = chain.project(chain.Phi(max_norm=-1.0, weight_decay=-0.1, eta=0.1, mu=1.5))
    assert near == chain.Phi(TINY, 0.0, 0.1, np.nextafter(1.0, 0.0))
    chain.check_phi(near, "test")
    following = mg.Following(mg.Momentum(), eta=mg.Cosine(), mu=mg.WarmUp(mg.Polynomial()))
    far = following.Phi(eta_start=-1.0, eta_end=-0.1, mu_warm=-2.0, mu_start=1.5, mu_end=-0.5, mu_power=-1.0)
    near = following.project(far)
    assert near == following.Phi(TINY, TINY, TINY, np.nextafter(1.0, 0.0), 0.0, TINY)
    following.check_phi(near, "test")
    half = mg.Following(mg.Momentum(), eta=mg.Exponential())
    assert half.project(half.Phi(-1.0, -1.0, 7.0)) == half.Phi(TINY, TINY, np.nextafter(1.0, 0.0))
    w = {"a": np.ones((1, 2)), "b": np.ones((1, 2))}
    groups = mg.Grouped({"x": mg.GradientDescent(), "y": mg.Momentum()}, {"a": "x", "b": "y"})
    near = groups.project({"x": mg.GradientDescent.Phi(-1.0), "y": mg.Momentum.Phi(0.1, -1.0)})
    assert near == {"x": mg.GradientDescent.Phi(TINY), "y": mg.Momentum.Phi(0.1, 0.0)}
    assert groups.init(near, w)
    masked = mg.Masked(mg.Momentum(), True)
    for rule in (masked, mg.Until(mg.Momentum(), 1e-3)):
        assert rule.project(mg.Momentum.Phi(-1.0, 0.5)).eta == TINY


def test_on_the_double():
    rule, phi = mg.Momentum(), move(mg.Momentum.Phi(np.array([-1.0, 0.2]), np.array([0.5, 2.0])), double.NAMESPACE)
    near = rule.project(phi)
    assert {type(x) for x in near} == {type(phi.eta)}
    np.testing.assert_array_equal(to_host(near.eta), [TINY, 0.2])
    np.testing.assert_array_equal(to_host(near.mu), [0.5, np.nextafter(1.0, 0.0)])


@pytest.mark.parametrize("outer", [None, mg.Through(mg.Adam(), mg.Adam.Phi(0.3))], ids=["descent", "adam"])
def test_a_run_never_uses_what_the_rule_refuses(outer):
    """mu went to 1.4 and eta to 0, which the rule refuses when it is asked directly; both with the status OK."""
    seen = []

    def estimator(task, rule, objective, phi, **how):
        seen.append(rule.check_phi(phi, "test"))
        return mg.Reverse()(task, rule, objective, phi, **how)

    settings = {"scale": 1.0} if outer is None else {"outer": outer}
    run = momentum(mg.Momentum.Phi(0.05, 0.9), 12, estimator=estimator, **settings)
    assert len(seen) == 12
    assert run.projected.any()
    assert (run.phi[:, 0] > 0).all()
    assert ((run.phi[:, 1] >= 0) & (run.phi[:, 1] < 1)).all()
    np.testing.assert_array_equal(run.projected.shape, (12, 2))
    ends = {0.0, TINY, np.nextafter(1.0, 0.0), np.finfo(np.float64).max}
    assert {float(x) in ends for x in run.phi[1:][run.projected]} == {True}


def test_the_weights_of_a_network_may_be_any_numbers():
    """A floor at 0 once set half of an LSTM's weights to exactly 0 in one step, with the status OK."""
    rule = mg.CoordinatewiseLSTM.quadratic((4,))
    phi = rule.init_meta(np.random.default_rng(0))
    run = mg.MetaTrainer(TASK, rule, mg.WeightedSum(), steps=5, scale=0.01, step="sign").run(phi, 2)
    np.testing.assert_allclose(np.abs(run.phi[1] - run.phi[0]), 0.01 * np.abs(run.grad_sign[0]), rtol=0, atol=1e-15)
    assert (run.phi < 0).any()
    assert ((run.phi[1] == 0) == ((run.phi[0] == 0) & (run.grad_sign[0] == 0))).all()
    assert not run.projected.any()
    assert len(run.names) == len(set(run.names)) == run.phi.shape[1]
    assert run.names[0].endswith("[0, 0]")
