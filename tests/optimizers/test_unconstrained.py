"""Hyper-parameters in coordinates without bounds: the chain rule, all digits at the extremes, never out of range."""

import math
import pickle
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metagrad as mg
from metagrad.errors import Status
from metagrad.fingerprint import fingerprint
from metagrad.training import NonFiniteError, Recipe, Trainer
from metagrad.unroll.unroll import Unroll
from metagrad.xp import GRADIENT_TOLERANCE, VALUE_TOLERANCE, move, rng
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference
from tests.optimizers.rules import HAND_DESIGNED, adagrad, torch_adam, torch_rmsprop
from tests.strategies import random_quadratic

RULES = {**HAND_DESIGNED, "gradient descent": (mg.GradientDescent(), mg.GradientDescent.Phi(0.1), None, 0)}
names = pytest.mark.parametrize("name", RULES)
POSITIVE = ("eta", "eps", "decay")


def slope(field, value):
    """The hyper-parameter's derivative in its coordinate, from the hyper-parameter."""
    return value if field in POSITIVE else value * (1 - value)


def times(scaled, factor):
    return scaled * mg.Scaled.of(np.asarray(factor, dtype=scaled.dtype))


@names
def test_the_coordinates_are_called_what_they_are(name):
    rule, phi, *_ = RULES[name]
    expected = tuple(("log_" if field in POSITIVE else "logit_") + field for field in phi._fields)
    assert mg.Unconstrained(rule).Phi._fields == expected


@names
@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
@pytest.mark.parametrize("kind", ["shared", "coordinate", "task", "schedule", "schedule_task"])
def test_the_chain_rule_against_the_rule_itself(name, gradient, kind):
    rule, phi, *_ = RULES[name]
    task, steps = random_quadratic(2, 3, seed=4), 6
    shape = {"shared": (), "coordinate": (3,), "task": (2,), "schedule": (6,), "schedule_task": (6, 2)}[kind]
    phi = type(phi)(*[np.asarray(x * rng(1, "spread").uniform(0.8, 1.0, shape)) for x in phi])
    free = mg.Unconstrained(rule)
    x = free.free(phi)
    wrap = mg.Scheduled if kind.startswith("schedule") else lambda inner: inner
    options = {"steps": steps, "gradient": gradient, "per_task": kind.endswith("task")}
    direct = mg.meta_gradient(task, wrap(rule), mg.LogFinal(), phi, **options)
    for method in ("reverse", "forward"):
        found = mg.meta_gradient(task, wrap(free), mg.LogFinal(), x, method=method, **options)
        assert found.ok
        for field, value, a, b in zip(phi._fields, phi, direct.grad, found.grad, strict=True):
            assert b.shape == shape
            assert worst_difference(times(a, slope(field, value)), b) <= 1e-11


@names
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_in_low_precision_it_is_the_same_optimizer(name, dtype):
    """The same rounded coordinates and the same task, in float64; the steps are then rounded otherwise."""
    rule, phi, *_ = RULES[name]
    free = mg.Unconstrained(rule, phi)
    low = free.init_meta(None, dtype)
    task = mg.DiagonalQuadratic(np.asarray([0.5, 1.0], dtype), np.asarray([1.0, -1.5], dtype))
    exact = mg.DiagonalQuadratic(np.asarray([0.5, 1.0]), np.asarray([1.0, -1.5]))
    a = mg.meta_gradient(task, free, mg.Final(), low, steps=4)
    b = mg.meta_gradient(exact, free, mg.Final(), free.Phi(*[x.astype(np.float64) for x in low]), steps=4)
    assert a.ok
    assert a.value.dtype == dtype
    assert a.value.to_float() == pytest.approx(b.value.to_float(), rel=8 * VALUE_TOLERANCE[dtype])
    for x, y in zip(a.grad, b.grad, strict=True):
        assert x.dtype == dtype
        assert float(x.to_float()) == pytest.approx(float(y.to_float()), rel=4 * GRADIENT_TOLERANCE[dtype])


@names
def test_on_the_double(name, monkeypatch):
    rule, phi, *_ = RULES[name]
    free, task = mg.Unconstrained(rule, phi), random_quadratic(2, 3, seed=5)
    x = free.init_meta(None)
    here = mg.meta_gradient(task, free, mg.LogFinal(), x, steps=5)
    counts, original = [], Unroll.start
    monkeypatch.setattr(Unroll, "start", lambda self: counts.append(double.SYNCS.count) or original(self))
    there = mg.Reverse()(move(task, double.NAMESPACE), free, mg.LogFinal(), move(x, double.NAMESPACE), steps=5)
    assert double.SYNCS.count == counts[0], "nothing in an unroll waits for the device"
    for a, b in zip(here.grad, there.grad, strict=True):
        np.testing.assert_allclose(b.to_float().get(), a.to_float(), rtol=1e-12)
    back = free.phi(move(x, double.NAMESPACE))
    for a, b in zip(free.phi(x), back, strict=True):
        np.testing.assert_allclose(b.get(), a, rtol=1e-15)
    again = free.free(back)
    for a, b in zip(x, again, strict=True):
        np.testing.assert_allclose(b.get(), a, rtol=1e-14)


EXTREMES = {
    "rmsprop": (mg.RMSprop(), torch_rmsprop, (1e-3, None, 1e-8), 0),
    "adam, beta1": (mg.Adam(), torch_adam, (1e-3, None, 0.95, 1e-8), (0, 0)),
    "adam, beta2": (mg.Adam(), torch_adam, (1e-3, 0.9, None, 1e-8), (0, 0)),
    "adagrad": (mg.Adagrad(), adagrad, (1e-3, 1e-8), 0),
}


def by_hand(formula, memory, x, fields, steps):
    """f(w_T) of f = w^2/2 from w = 1, in mpmath, from the coordinates."""
    numbers = [
        mpmath.exp(c) if field in POSITIVE else 1 / (1 + mpmath.exp(-c)) for field, c in zip(fields, x, strict=True)
    ]
    w = mpmath.mpf(1)
    for t in range(1, steps + 1):
        w, memory = formula(t, w, memory, w, *numbers)
    return w * w / 2


@pytest.mark.parametrize("eta", [1e-300, 1e-3])
@pytest.mark.parametrize("rest", [1e-12, 1 - 1e-12, 1e-30])
@pytest.mark.parametrize("name", EXTREMES)
def test_the_extremes_against_300_digits(name, rest, eta):
    """1 - beta = 1e-12, beta = 1e-12, and a beta that float64 rounds to 1; eta = 1e-300: value and every derivative.

    In Adam the terms of d/d beta, each of the size of d/d log eta, cancel as beta goes to 1: so its errors are in units
    of that one. RMSprop's and Adagrad's are relative.
    """
    rule, formula, numbers, memory = EXTREMES[name]
    fields, free, steps = rule.Phi._fields, mg.Unconstrained(rule), 5
    beta = math.log1p(-rest) - math.log(rest)
    x = [
        math.log(v) if field in POSITIVE else beta if v is None else math.log(v / (1 - v))
        for field, v in zip(fields, numbers, strict=True)
    ]
    x[0] = math.log(eta)
    task = mg.DiagonalQuadratic(np.array([1.0]), np.array([1.0]))
    found = mg.meta_gradient(task, free, mg.Final(), free.Phi(*x), steps=steps)
    assert found.ok
    with mpmath.workdps(1000):
        exact = [mpmath.mpf(c) for c in x]
        value = by_hand(formula, memory, exact, fields, steps)
        assert float(found.value.to_float()[0]) == pytest.approx(float(value), rel=1e-13)
        h = mpmath.mpf(10) ** -400
        grads = [mpmath.ldexp(mpmath.mpf(float(g.mantissa)), int(g.exponent)) for g in found.grad]
        slack = 1e-14 * abs(grads[0]) if name.startswith("adam") else 0
        for k, field in enumerate(fields):
            ahead = by_hand(formula, memory, [c + h * (i == k) for i, c in enumerate(exact)], fields, steps)
            slope = (ahead - value) / h
            assert abs(grads[k] - slope) <= 2e-11 * abs(slope) + slack, field


def test_the_rule_itself_has_lost_those_digits():
    """What the coordinate is for: RMSprop at the nearest float64 to 1 - 1e-12 takes another first step."""
    rule, free = mg.RMSprop(), mg.Unconstrained(mg.RMSprop())
    x = free.Phi(math.log(1e-3), math.log((1 - 1e-12) / 1e-12), math.log(1e-8))
    w = np.ones((1, 1))
    exact = 1e-3 / (1e-6 + 1e-8)
    f, pairs = mg.FixedGradient(w), ((free, x), (rule, free.phi(x)))
    moved = [abs(r.step(p, r.init(p, w), 0 * w, f)[0][0, 0]) for r, p in pairs]
    assert moved[0] == pytest.approx(exact, rel=1e-13)
    assert abs(moved[1] / exact - 1) > 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_beta_that_the_dtype_rounds_to_one(dtype):
    """RMSprop's first step has the right size, eta/sqrt(1 - beta); the rule alone would divide by eps."""
    rest = {"float32": 1e-12, "float16": 1e-4}[dtype]
    free = mg.Unconstrained(mg.RMSprop(), mg.RMSprop.Phi(1e-3, eps=1e-3), ("eps",))
    x = free.Phi(*[np.asarray(c, dtype) for c in (math.log(1e-3), math.log((1 - rest) / rest))])
    assert free.check_phi(x, "test") is not None
    w = np.zeros((1, 1), dtype)
    moved, _ = free.step(x, free.init(x, w), w, mg.FixedGradient(np.ones((1, 1), dtype)))
    # a coordinate x is rounded by |x| eps/2
    assert float(moved[0, 0]) == pytest.approx(-1e-3 / (rest**0.5 + 1e-3), rel=20 * VALUE_TOLERANCE[dtype])
    with pytest.raises(ValueError, match=r"Unconstrained\.phi: rho is 1\.0; expected a decay in \[0, 1\)"):
        free.phi(x)
    mu = mg.Unconstrained(mg.Momentum())
    with pytest.raises(ValueError, match=rf"logit_mu is .*; expected a coordinate whose mu, in \(0, 1\), {dtype} can"):
        mu.check_phi(mu.Phi(x[0], x[1]), "test")


@given(st.floats(-300, 300), st.floats(-300, 15), st.sampled_from(["float", "float64", "float32"]))
def test_there_and_back(log10_eta, log10_odds, kind):
    dtype = np.float64 if kind == "float" else np.dtype(kind)
    if kind == "float32":
        log10_eta, log10_odds = log10_eta / 8, max(log10_odds / 3, -30)
    eta, odds = 10.0**log10_eta, 10.0**log10_odds
    beta = odds / (1 + odds)
    phi = mg.Momentum.Phi(eta, beta) if kind == "float" else mg.Momentum.Phi(*np.asarray([eta, beta], dtype)[:, None])
    if float(np.max(phi.mu)) == 1:
        return
    for maps in ({}, {"eta": "softplus"}):
        free = mg.Unconstrained(mg.Momentum(), maps=maps)
        x = free.free(phi)
        eps = np.finfo(dtype).eps
        for there, back, c in zip(phi, free.phi(x), x, strict=True):
            assert isinstance(back, float) == (kind == "float")
            assert np.max(back) == pytest.approx(np.max(there), rel=float((abs(np.max(c)) + 8) * eps))


@pytest.mark.parametrize("value", [1e-300, 1e-3, 1.0, 30.0, 1e300])
def test_softplus(value):
    free = mg.Unconstrained(mg.GradientDescent(), maps={"eta": "softplus"})
    (a,) = free.free(value)
    assert free.Phi._fields == ("inverse_softplus_eta",)
    with mpmath.workdps(320):
        exact = mpmath.log1p(mpmath.exp(mpmath.mpf(a)))
        assert free.phi(free.Phi(a)).eta == pytest.approx(float(exact), rel=1e-13)
        task = mg.DiagonalQuadratic(np.array([1e-3]), np.array([1.0]))
        found, direct = (
            mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=2).grad[0]
            for rule, phi in ((free, free.Phi(a)), (mg.GradientDescent(), float(exact)))
        )
        factor = mg.Scaled.of(np.asarray(float(1 / (1 + mpmath.exp(-mpmath.mpf(a))))))
        assert worst_difference(found, direct * factor) <= 1e-11


def test_what_is_fixed_is_no_meta_parameter():
    task, phi = random_quadratic(2, 3, seed=6), mg.Adam.Phi(0.05, 0.0, 0.95, 0.01)
    free = mg.Unconstrained(mg.Adam(), phi, ("beta1", "eps"))
    x = free.init_meta(None)
    assert x._fields == ("log_eta", "logit_beta2")
    found, direct = (mg.meta_gradient(task, r, mg.Final(), p, steps=5) for r, p in ((free, x), (mg.Adam(), phi)))
    np.testing.assert_allclose(found.value.to_float(), direct.value.to_float(), rtol=1e-13)
    assert worst_difference(found.grad.log_eta, times(direct.grad.eta, 0.05)) <= 1e-11
    assert worst_difference(found.grad.logit_beta2, times(direct.grad.beta2, 0.95 * 0.05)) <= 1e-11
    assert free.phi(x)[1::2] == (0.0, 0.01)
    with pytest.raises(ValueError, match=r"eps is 1e-08; expected 0\.01, at which it is fixed"):
        free.free(mg.Adam.Phi(0.1, 0.0))
    assert mg.Unconstrained(mg.Adam(), fixed=("eps",)).free(0.1)._fields == ("log_eta", "logit_beta1", "logit_beta2")


class Ball:
    """A user's rule: w - eta g + slope, with `check_phi` for a number that may have any sign."""

    class Phi(NamedTuple):
        eta: float
        slope: float = 0.0

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return w - phi.eta * f.gradient(w) + phi.slope, ()


class CheckedBall(Ball):
    def check_phi(self, phi, where):
        if phi.eta <= 0:
            raise ValueError(where)
        return phi


def test_a_users_rule():
    with pytest.raises(TypeError, match="rule is a Ball without `check_phi`, which does not say what eta may be"):
        mg.Unconstrained(Ball())
    task, phi = random_quadratic(2, 3, seed=7), Ball.Phi(0.1, -0.3)
    direct = mg.Reverse()(task, Ball(), mg.Final(), phi, steps=4)
    for free in (mg.Unconstrained(CheckedBall()), mg.Unconstrained(Ball(), maps={"eta": "log", "slope": "identity"})):
        x = free.free(phi)
        assert x == (math.log(0.1), -0.3)
        assert x._fields == ("log_eta", "slope")
        found = mg.meta_gradient(task, free, mg.Final(), x, steps=4)
        assert worst_difference(found.grad.log_eta, times(direct.grad.eta, 0.1)) <= 1e-11
        assert worst_difference(found.grad.slope, direct.grad.slope) <= 1e-11


def test_around_it_a_run_that_is_truncated():
    free = mg.Unconstrained(mg.GradientDescent(), 0.6)
    task, rule = mg.random_least_squares(2, 10, 20, sigma=1.0, seed=1), mg.Stopped(free, 5.0, np.full(20, 20**-0.5))
    found = mg.meta_gradient(task, rule, mg.Final("risk"), free.init_meta(None), steps=3)
    direct = mg.meta_gradient(
        task, mg.Stopped(mg.GradientDescent(), 5.0, rule.direction), mg.Final("risk"), 0.6, steps=3
    )
    assert worst_difference(found.grad.log_eta, times(direct.grad.eta, 0.6)) <= 1e-11


@pytest.mark.parametrize("field", ["log_eta", "logit_beta1", "logit_beta2", "log_eps"])
@pytest.mark.parametrize("size", [-20.0, 20.0])
def test_what_rounds_to_a_bound_within_an_unroll_is_nan(field, size):
    """A Python float, whose rounding to float16 is only seen there: never a rule that stands still."""
    free = mg.Unconstrained(mg.Adam(), mg.Adam.Phi(0.05, 0.8, 0.95, 0.01))
    task = random_quadratic(2, 3, seed=8, dtype=np.float16)
    plain = {"steps": 2, "scaling": "none"}  # else float16 is carried in float32
    found = mg.meta_gradient(task, free, mg.Final(), free.free()._replace(**{field: size}), **plain)
    assert set(found.status) == {Status.STATE_NAN.code}
    assert np.isnan(found.value.mantissa).all()
    inside = mg.meta_gradient(task, free, mg.Final(), free.free()._replace(**{field: size / 4}), **plain)
    assert np.isfinite(inside.value.mantissa).all()


def test_what_is_fixed_below_the_range_of_the_task():
    free = mg.Unconstrained(mg.Adam(), fixed=("eps",))
    half = random_quadratic(1, 2, seed=1, dtype=np.float16)
    with pytest.raises(ValueError, match=r"eps is fixed at 1e-08, which float16 rounds to 0\.0"):
        mg.meta_gradient(half, free, mg.Final(), free.free(0.1), steps=2, scaling="none")


ADAM = mg.Unconstrained(mg.Adam())
GOOD = ADAM.free(0.1)


@pytest.mark.parametrize(
    ("phi", "kind", "message"),
    [
        (0.1, TypeError, r"phi is a float; expected the coordinates Phi\(log_eta, logit_beta1.*`free\(phi\)`"),
        (mg.Adam.Phi(0.1), TypeError, "phi is hyper-parameters themselves; expected the coordinates"),
        (GOOD._replace(log_eta=1), TypeError, "log_eta is a int; expected a float"),
        (GOOD._replace(log_eta=np.arange(2)), TypeError, "log_eta is a ndarray; expected a float"),
        (GOOD._replace(log_eps=math.nan), ValueError, "log_eps is nan; expected a finite coordinate"),
        (GOOD._replace(log_eta=-800.0), ValueError, r"log_eta is -800\.0; .* whose eta, above 0, float64 can hold"),
        (GOOD._replace(log_eta=800.0), ValueError, r"log_eta is 800\.0; expected a coordinate whose eta"),
        (GOOD._replace(log_eps=np.array([-100.0, 1.0], np.float32) * 2), ValueError, "eps, above 0, float32 can hold"),
        (GOOD._replace(logit_beta1=800.0), ValueError, r"logit_beta1 is 800\.0; .* beta1, in \(0, 1\), float64"),
        (GOOD._replace(logit_beta2=-800.0), ValueError, r"logit_beta2 is -800\.0"),
    ],
)
def test_bad_coordinates(phi, kind, message):
    with pytest.raises(kind, match=message):
        mg.meta_gradient(random_quadratic(1, 2, seed=6), ADAM, mg.Final(), phi, steps=2)


@pytest.mark.parametrize(
    ("phi", "message"),
    [
        (mg.Adam.Phi(-0.1), r"Unconstrained\.free: eta is -0\.1; expected a step size above 0"),
        (mg.Adam.Phi(0.1, 1.0), r"beta1 is 1\.0; expected a decay in \[0, 1\)"),
        (mg.Adam.Phi(0.1, 0.0), r"beta1 is 0\.0; expected a number in \(0, 1\)\. Or hold it with `fixed`"),
        (mg.Adam.Phi(0.1, eps=0.0), r"eps is 0\.0; expected a number above 0"),
    ],
)
def test_hyper_parameters_out_of_range(phi, message):
    with pytest.raises(ValueError, match=message):
        ADAM.free(phi)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ((mg.Adam,), TypeError, r"rule is the class Adam; expected an instance. Write Adam\(\)"),
        ((mg.Scheduled(mg.Adam()),), TypeError, r"rule is a Scheduled; .*Write Scheduled\(Unconstrained\(Adam\(\)\)\)"),
        (
            (mg.CoordinatewiseLSTM(),),
            TypeError,
            "LSTM, whose layers takes none of the numbers.*The weights of a network",
        ),
        ((mg.Adam(), -0.1), ValueError, r"eta is -0\.1; expected a step size above 0"),
        ((mg.Adam(), None, ("eta",)), ValueError, "fixed is 'eta', which has no default; .*Give it in `start`"),
        ((mg.Adam(), None, ("esp",)), ValueError, "fixed is 'esp'; .*Did you mean 'eps'"),
        ((mg.Adam(), None, "eps"), TypeError, "fixed is 'eps'; expected a tuple of names"),
        ((mg.Adam(), np.ones(2), ("eta",)), TypeError, "'eta', whose value is an array; expected a Python float"),
        ((mg.Adam(), 0.1, mg.Adam.Phi._fields), ValueError, "expected at least one hyper-parameter that is free"),
        ((mg.Adam(), None, (), {"beta1": "log"}), ValueError, "maps is 'log' for beta1, which reaches numbers above 0"),
        ((mg.Adam(), None, (), {"beta1": "logti"}), ValueError, "'logti' for beta1; .*Did you mean 'logit'"),
        ((mg.Adam(), None, (), {"beta3": "log"}), ValueError, "maps is 'beta3'; .*Did you mean"),
    ],
)
def test_bad_options(options, kind, message):
    with pytest.raises(kind, match=message):
        mg.Unconstrained(*options)


def test_without_a_start_there_is_none():
    with pytest.raises(TypeError, match=r"phi is None; expected hyper-parameters\. Or give the rule a `start`"):
        ADAM.init_meta(None)
    with pytest.raises(TypeError, match="dtype is int64; expected a float dtype"):
        mg.Unconstrained(mg.Adam(), 0.1).init_meta(None, np.int64)
    with pytest.raises(ValueError, match=r"init_meta: log_eta is .* whose eta, above 0, float32 can hold"):
        mg.Unconstrained(mg.Adam(), 1e-300).init_meta(None, np.float32)


def test_coordinates_are_pickled_and_known_again():
    again = pickle.loads(pickle.dumps(GOOD))
    assert again == GOOD
    assert type(again) is type(mg.Unconstrained(mg.Adam()).free(0.1))
    assert fingerprint(again, ADAM) == fingerprint(GOOD, mg.Unconstrained(mg.Adam()))
    assert fingerprint(ADAM) != fingerprint(mg.Unconstrained(mg.Adam(), fixed=("eps",)))


def test_training_cannot_leave_the_range():
    """With large outer steps numbers that nothing keeps leave it at once; the coordinates never do, and learn."""
    recipe = Recipe(episodes=20, horizon=10, window=10, gradient="full", evaluate_every=5, evaluation_steps=10)

    def tasks(seed):
        return mg.random_quadratics(4, 3, seed=seed % 1000)

    start = mg.Adam.Phi(0.01, 0.9, 0.999, 1e-3)
    outside, inside = (
        Trainer(mg.Unconstrained(mg.Adam(), start, maps=maps), tasks, mg.MeanLog(), recipe, **outer)
        for maps in (dict.fromkeys(mg.Adam.Phi._fields, "identity"), {})
        for outer in [{"outer_phi": mg.Adam.Phi(0.3), "seed": 1}]
    )
    with pytest.raises(NonFiniteError, match="STATE_NAN"):
        outside.run(outside.optimizer.init_meta(None))
    x = inside.optimizer.init_meta(None)
    found = inside.run(x)
    inside.optimizer.phi(found.last)  # raises for any out of range
    assert found.value < inside.evaluate(x)


def test_coordinates_are_never_projected():
    free = mg.Unconstrained(mg.GradientDescent(), 0.01)
    task, x = random_quadratic(2, 3, seed=1), free.init_meta(None)
    run = mg.MetaTrainer(task, mg.Stopped(free, math.inf), mg.LogFinal(), steps=5, scale=3.0).run(x, 3)
    assert np.isfinite(run.phi).all()
    assert (run.phi < 0).any()
    assert not run.projected.any()
    assert run.names == ("log_eta",)
    assert run.value_log2[-1].sum() != run.value_log2[0].sum()
