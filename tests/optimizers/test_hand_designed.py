"""The rules designed by hand: what they compute, and their meta-gradients, at zero gradients too."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metagrad as mg
from metagrad.ad import safe_sqrt
from metagrad.optimizers._safe import one_minus_power
from metagrad.xp import VALUE_TOLERANCE, move, rng
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference
from tests.optimizers.rules import HAND_DESIGNED, in_dtype
from tests.strategies import random_quadratic

names = pytest.mark.parametrize("name", HAND_DESIGNED)
ADAPTIVE = ["rmsprop", "tensorflow's rmsprop", "adagrad", "adam", "nadam"]


@pytest.mark.parametrize(("dtype", "g"), [("float64", 1e155), ("float32", 1e20), ("float16", 1000.0)])
def test_adam_does_not_stand_still_where_its_bias_correction_overflows(dtype, g):
    """v = (1 - beta2) g^2 fits and v/(1 - beta2) does not; the steps are eta sgn g, as at any size of g."""
    large = np.asarray(g, dtype)
    task = mg.FunctionTask(lambda w: np.sum(large * w, axis=-1), np.ones((1, 2), dtype))
    found = mg.meta_gradient(task, mg.Adam(), mg.Final(), mg.Adam.Phi(0.125, eps=1e-3), steps=2)
    assert found.ok
    assert found.value.to_float()[0] == pytest.approx(1.5 * g, rel=4 * VALUE_TOLERANCE[dtype])
    assert found.grad.eta.to_float() == pytest.approx(-4 * g, rel=4 * VALUE_TOLERANCE[dtype])


@names
def test_numbers_of_python_leave_the_dtype_as_it_is(name):
    rule, phi, *_ = HAND_DESIGNED[name]
    w = np.ones((2, 3), np.float32)
    state = rule.init(phi, w)
    for _ in range(3):
        w, state = rule.step(phi, state, w, mg.FixedGradient(w))
    assert w.dtype == np.float32


@names
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_steps_against_50_digits(name, dtype):
    rule, phi, by_hand, memory = HAND_DESIGNED[name]
    phi = in_dtype(phi, dtype)
    gradients = rng(0, "gradients").standard_normal(12).astype(dtype)
    w = np.full((1, 1), 0.5, dtype=dtype)
    state = rule.init(phi, w)
    with mpmath.workdps(50):
        exact, numbers = mpmath.mpf(0.5), [mpmath.mpf(float(x)) for x in phi]
        for t, g in enumerate(gradients, start=1):
            w, state = rule.step(phi, state, w, mg.FixedGradient(np.full((1, 1), g)))
            exact, memory = by_hand(t, exact, memory, mpmath.mpf(float(g)), *numbers)
            assert w.dtype == dtype
            assert float(w[0, 0]) == pytest.approx(float(exact), rel=0, abs=8 * VALUE_TOLERANCE[dtype])


def test_nesterov_takes_its_gradients_ahead():
    """The classical form: g at theta + mu m; theta_t = w_t - mu m_t."""
    task, rule, eta, mu = random_quadratic(2, 3, seed=1), mg.Nesterov(), 0.2, 0.7
    phi, w = rule.Phi(eta, mu), task.init(None)
    theta = w
    state = rule.init(phi, w)
    m = np.zeros_like(w)
    for _ in range(10):
        m = mu * m - eta * task.gradient(theta + mu * m, None)
        theta = theta + m
        w, state = rule.step(rule.Phi(eta, mu), state, w, mg.FixedGradient(task.gradient(w, None)))
        np.testing.assert_allclose(w - mu * state, theta, rtol=1e-13)


@names
@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
def test_reverse_is_forward_in_every_hyper_parameter(name, gradient):
    rule, phi, *_ = HAND_DESIGNED[name]
    task = random_quadratic(3, 4, seed=2)
    reverse, forward = (
        mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=20, method=method, gradient=gradient)
        for method in ("reverse", "forward")
    )
    assert reverse.ok
    assert forward.ok
    for a, b in zip(reverse.grad, forward.grad, strict=True):
        assert worst_difference(a, b) <= 1e-11
        assert float(a.to_float()) != 0


@names
def test_every_hyper_parameter_against_complex_steps_of_the_formula(name):
    """d f(w_T)/d phi = Im f(w_T(phi + ih))/h: the rules by hand, on a quadratic, to the last digits."""
    rule, phi, by_hand, memory = HAND_DESIGNED[name]
    lam, w0, steps = np.array([0.3, 1.4]), np.array([1.0, -0.8]), 15
    found = mg.meta_gradient(mg.DiagonalQuadratic(lam, w0), rule, mg.Final(), phi, steps=steps)
    for which, field in enumerate(phi._fields):
        numbers = list(phi)
        numbers[which] += 1e-30j
        value = 0
        for eigenvalue, start in zip(lam, w0, strict=True):
            w, state = start + 0j, memory
            for t in range(1, steps + 1):
                w, state = by_hand(t, w, state, eigenvalue * w, *numbers)
            value += 0.5 * eigenvalue * w**2
        assert float(getattr(found.grad, field).to_float()) == pytest.approx(value.imag / 1e-30, rel=1e-11), field


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
def test_a_gradient_that_is_exactly_zero(name, dtype, gradient):
    """One coordinate starts at its minimum, one has no curvature, one moves: the first two do not disturb the third."""
    rule, phi, *_ = HAND_DESIGNED[name]
    phi = in_dtype(phi, dtype)
    lam, w0 = np.array([1.0, 0.0, 0.7], dtype=dtype), np.array([0.0, 1.0, 0.9], dtype=dtype)
    for estimator in (mg.Reverse(gradient=gradient), mg.Forward(gradient=gradient)):
        found = estimator(mg.DiagonalQuadratic(lam, w0), rule, mg.LogFinal(), phi, steps=8)
        alone = estimator(mg.DiagonalQuadratic(lam[2:], w0[2:]), rule, mg.LogFinal(), phi, steps=8)
        assert found.ok, found.report()
        for a, b in zip(found.grad, alone.grad, strict=True):
            assert worst_difference(a, b) <= 4 * VALUE_TOLERANCE[dtype]


def test_the_plain_square_root_is_right_where_nothing_comes_back_to_it():
    """At a zero gradient the root is divided into zero: its cotangent is 0, whatever its derivative."""

    class PlainAdagrad(mg.Adagrad):
        def step(self, phi, state, w, f):
            g = f.gradient(w)
            state = state + g * g
            return w - phi.eta * g / (np.sqrt(state) + phi.eps), state

    task = mg.DiagonalQuadratic(np.array([1.0, 0.7]), np.array([0.0, 0.9]))
    plain, safe = (mg.meta_gradient(task, rule, mg.Final(), 0.1, steps=3) for rule in (PlainAdagrad(), mg.Adagrad()))
    assert plain.ok
    assert safe.ok
    for a, b in zip(plain.grad, safe.grad, strict=True):
        assert worst_difference(a, b) <= 4 * VALUE_TOLERANCE["float64"]


def test_what_safe_norm_is_for():
    """A norm that is measured at zero: a kink whose derivative is NaN, or by choice 0."""

    def loss(norm):
        return mg.FunctionTask(lambda w: norm(w) + np.sum((w - 1.0) ** 2, axis=-1), w0=np.zeros((1, 2)))

    plain, safe = (
        mg.meta_gradient(loss(lambda w, f=f: f(w, axis=-1)), mg.GradientDescent(), mg.Final(), 0.1, steps=3)
        for f in (np.linalg.norm, mg.safe_norm)
    )
    assert plain.status[0] == mg.Status.STATE_NAN.code
    assert safe.ok


def test_the_derivative_of_a_step_at_a_zero_gradient_is_its_limit():
    """u = -eta g/(|g| + eps) has the slope -eta/eps at g = 0, from both sides."""
    for rule in (mg.Adam(), mg.RMSprop(), mg.Adagrad()):
        phi = rule.check_phi(rule.Phi(eta=0.1, eps=1e-3), "test")
        phi = phi._replace(rho=0.0) if hasattr(phi, "rho") else phi
        w = np.zeros((1, 1))

        def moved(g, rule=rule, phi=phi, w=w):
            return rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(g))[0]

        slope = mg.ad.grad(moved)(np.zeros((1, 1)))[0, 0]
        assert slope == pytest.approx(-0.1 / 1e-3, rel=1e-12)
        for g in (1e-12, -1e-12):
            assert moved(np.full((1, 1), g))[0, 0] / g == pytest.approx(slope, rel=1e-6)


def test_safe_sqrt():
    v = np.array([0.0, 4.0, 1e-100])
    np.testing.assert_array_equal(safe_sqrt(v), np.sqrt(v))
    first = mg.ad.grad(safe_sqrt)
    np.testing.assert_allclose(first(v)[:2], [0.0, 0.25])
    np.testing.assert_allclose(mg.ad.grad(first)(v)[:2], [0.0, -1 / 32])
    with np.errstate(invalid="ignore"):
        assert np.isnan(safe_sqrt(np.array([np.nan, -1.0]))).all(), "what is no number stays none"


@given(
    st.sampled_from(["float64", "float32", "float16"]), st.floats(0, 1 - 2.0**-10), st.integers(1, 3000), st.booleans()
)
def test_one_minus_power(dtype, beta, t, as_python_float):
    beta = float(beta) if as_python_float else np.asarray(beta, dtype=dtype)
    tolerance = 1e-9 if as_python_float else 4 * VALUE_TOLERANCE[dtype]
    exact = 1 - mpmath.mpf(float(beta)) ** t
    if exact > 0:
        assert float(one_minus_power(beta, t)) == pytest.approx(float(exact), rel=tolerance)


def test_one_minus_power_keeps_its_derivative():
    for t, beta in ((1, 0.0), (2, 0.0), (1, 0.9), (2, 0.999), (500, 0.999)):
        slope = float(mg.ad.grad(lambda b, t=t: one_minus_power(b, t))(np.asarray(beta)))
        assert slope == pytest.approx(-t * beta ** (t - 1), rel=1e-12)


def test_adam_without_momentum_is_bias_corrected_rmsprop():
    """beta1 = 0, as in Reptile: the derivative in beta1 is finite there too."""
    task = random_quadratic(2, 3, seed=3)
    found = mg.meta_gradient(task, mg.Adam(), mg.Final(), mg.Adam.Phi(0.01, 0.0), steps=5)
    h = 1e-6
    ahead, behind = (
        mg.Reverse()(task, mg.Adam(), mg.Final(), mg.Adam.Phi(0.01, b), steps=5).value.to_float().mean()
        for b in (np.asarray(h), np.asarray(0.0))
    )
    assert found.ok
    assert float(found.grad.beta1.to_float()) == pytest.approx((ahead - behind) / h, rel=1e-4)


@pytest.mark.parametrize("name", ["momentum", "nesterov", "sgdw"])
def test_linear_rules_go_on_beyond_the_range(name):
    """They are homogeneous: the state is rescaled, and 3000 steps of divergence are as exact as 10."""
    rule, phi, *_ = HAND_DESIGNED[name]
    phi = phi._replace(eta=4.0)
    task = mg.DiagonalQuadratic(np.array([1.0]), np.array([1.0]))
    found = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=3000)
    short = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=1500)
    assert found.ok
    # log f(w_t) = 2 t log(spectral radius) + const: so has its derivative, over t, a limit
    ratio = found.grad.eta.to_float() / short.grad.eta.to_float()
    assert float(ratio) == pytest.approx(1.0, rel=1e-2)
    assert not mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=3000, scaling="none").ok


@names
@pytest.mark.parametrize("kind", ["coordinate", "task", "schedule"])
def test_hyper_parameters_of_every_shape(name, kind):
    rule, phi, *_ = HAND_DESIGNED[name]
    task, steps = random_quadratic(2, 3, seed=4), 6
    shape = {"coordinate": (3,), "task": (2,), "schedule": (steps,)}[kind]
    spread = rng(1, "spread").uniform(0.8, 1.0, shape)
    phi = type(phi)(*[x * spread for x in phi])
    rule = mg.Scheduled(rule) if kind == "schedule" else rule
    reverse, forward = (
        mg.meta_gradient(task, rule, mg.Final(), phi, steps=steps, method=m, per_task=kind == "task")
        for m in ("reverse", "forward")
    )
    for given_leaf, a, b in zip(phi, reverse.grad, forward.grad, strict=True):
        assert a.shape == given_leaf.shape
        assert worst_difference(a, b) <= 1e-11


@names
def test_on_the_double(name):
    rule, phi, *_ = HAND_DESIGNED[name]
    task, phi = random_quadratic(2, 3, seed=5), in_dtype(phi, np.float64)
    here = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=5)
    there = mg.Reverse()(move(task, double.NAMESPACE), rule, mg.LogFinal(), move(phi, double.NAMESPACE), steps=5)
    for a, b in zip(here.grad, there.grad, strict=True):
        np.testing.assert_allclose(b.to_float().get(), a.to_float(), rtol=1e-12)


@names
def test_a_bare_number_is_the_step_size(name):
    rule, *_ = HAND_DESIGNED[name]
    assert rule.check_phi(0.1, "test") == type(rule).Phi(0.1)


@pytest.mark.parametrize(
    ("phi", "kind", "message"),
    [
        (mg.Adam.Phi(-0.1), ValueError, r"eta is -0\.1; expected a step size above 0"),
        (mg.Adam.Phi(0.1, 1.0), ValueError, r"beta1 is 1\.0; expected a decay in \[0, 1\)"),
        (mg.Adam.Phi(0.1, 0.9, np.array([0.9, -0.1])), ValueError, "beta2 is .*; expected a decay"),
        (mg.Adam.Phi(0.1, eps=0.0), ValueError, "eps is 0.0; expected a number above 0. It is what keeps 0/0 away"),
        (mg.Adam.Phi(0.1, float("nan")), ValueError, "beta1 is nan; expected a finite decay"),
        (mg.Adam.Phi(0.1, 1), TypeError, "beta1 is 1, an integer; expected a floating-point decay"),
        (mg.Adam.Phi("0.1"), TypeError, "eta is a str"),
        (mg.Momentum.Phi(0.1), TypeError, r"phi is a Phi; expected Adam.Phi\(eta, beta1, beta2, eps\)"),
    ],
)
def test_bad_hyper_parameters(phi, kind, message):
    task = random_quadratic(1, 2, seed=6)
    with pytest.raises(kind, match=message):
        mg.meta_gradient(task, mg.Adam(), mg.Final(), phi, steps=2)


def test_a_number_outside_of_the_dtype_is_not_taken_as_zero():
    task = random_quadratic(1, 2, seed=6, dtype=np.float16)
    with pytest.raises(ValueError, match="1e-08 somewhere, which float16 rounds to 0"):
        mg.meta_gradient(task, mg.Adam(), mg.Final(), 0.1, steps=2)
    assert mg.meta_gradient(task, mg.Adam(), mg.Final(), mg.Adam.Phi(0.1, eps=1e-4), steps=2).ok


def test_bad_forms():
    with pytest.raises(ValueError, match="Did you mean 'tensorflow'"):
        mg.RMSprop("tensorflw")
