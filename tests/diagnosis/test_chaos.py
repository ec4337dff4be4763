"""Chaos, and runs that are no formula's: Lorenz, learned optimizers, Adam, and states that leave the range."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.diagnosis.case import Case, vector
from metagrad.diagnosis.convert import converted
from metagrad.diagnosis.growth import rate, tangent_sizes

DT, START = 0.005, np.array([1.2, 1.3, 1.6])
LYAPUNOV = 0.9056  # of the Lorenz attractor at (10, 28, 8/3), per unit of time (Sprott 2003)


def euler(w, a, r):
    x, y, z = w[..., 0], w[..., 1], w[..., 2]
    return w + DT * np.stack([a * (y - x), x * (r - z) - y, x * y - 8 / 3 * z], axis=-1)


class Lorenz:
    """A rule that looks at no gradient: an Euler step of the Lorenz system, whose parameters are tuned."""

    class Phi(NamedTuple):
        log_a: Any
        log_r: Any

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return euler(w, np.exp(phi.log_a), np.exp(phi.log_r)), state


def tracked(steps):
    """The squared distance of z from that of the run with the true parameters (Li et al. 2023)."""
    truth = [START]
    for _ in range(steps):
        truth.append(euler(truth[-1], 10.0, 28.0))
    z = np.array(truth)[:, 2]
    return mg.FunctionTask(lambda w, sample: (w[:, 2] - sample) ** 2, START[None], sampler=lambda rng, t: z[t])


def test_the_lyapunov_number_of_lorenz():
    w = euler(START + 0.01 * np.arange(8)[:, None], 10.0, 28.0)
    for _ in range(2000):
        w = euler(w, 10.0, 28.0)
    task = mg.FunctionTask(lambda w: np.sum(w * w, axis=-1), w)
    case = Case(task, Lorenz(), mg.Final(), Lorenz.Phi(math.log(10.0), math.log(28.0)), 6000, 0)
    found = rate(tangent_sizes(case), since=0.05)
    expected = LYAPUNOV * DT / math.log(10)
    assert abs(np.mean(found.value) - expected) < 0.06 * expected
    assert np.mean((found.low < expected) & (expected < found.high)) >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "useless"), [(500, False), (1000, True)])
def test_lorenz_between_500_and_1000_steps(steps, useless):
    """At 500 steps the exact meta-gradient is about the smoothed one, at 1000 it is 34 times that, and negative."""
    found = mg.diagnose(tracked(steps), Lorenz(), mg.Mean(), Lorenz.Phi(3.116, 3.7), steps=steps)
    assert (found.useful is not None) is useless
    assert "exploding" not in found.regimes
    assert found.digits.gradient[0] > 8  # it is exact: what is wrong is not rounding
    if useless:
        assert found.trend == "exploding"
        assert 0 < found.reach < 1e-3
        assert 500 <= found.useful < 1000
        assert "evolution strategies" in str(found)
    else:
        assert found.trend == "steady"
        assert found.reach >= 1e-2
        assert not any(one.serious for one in found.findings if one.topic != "bias")


def digits_lost_to_float32(task, rule, objective, phi, steps):
    """The digits that a gradient in float32 has in common with one in float64."""
    wide = [converted(part, np.dtype("float64")) for part in (task, phi)]
    (a, a_top), (b, b_top) = (
        vector(mg.meta_gradient(t, rule, objective, p, steps=steps).grad) for t, p in ((task, phi), wide)
    )
    a = np.ldexp(a, a_top - b_top)
    return -math.log10(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "lost"), [(20, False), (300, True)])
def test_the_lstm_that_ships(steps, lost):
    trained = mg.load_trained("lstm_quadratics")
    task = mg.random_regressions(16, 10, family="gaussian", seed=7, dtype="float32")
    parts = task, trained.optimizer, mg.WeightedSum(), trained.phi
    found = mg.diagnose(*parts, steps=steps)
    left = digits_lost_to_float32(*parts, steps)
    assert found.digits.gradient[0] == pytest.approx(max(left, 0), abs=1.3)
    assert found.cost.kernel == "the fused LSTM window"
    assert ("chaotic" in found.regimes) is lost
    assert bool(found.digits.gradient[0] < 1) is lost
    assert (found.useful is not None) is lost
    assert "exploding" not in found.regimes
    if lost:
        assert found.trend == "exploding"
        assert found.scaled.what == "chaos takes the last digit"
        assert found.scaled.steps < steps


@pytest.mark.slow
def test_a_chaotic_lstm_has_no_digit_left_in_float64():
    rule = mg.CoordinatewiseLSTM((8, 8), 10.0, 0.1)
    task = mg.random_regressions(8, 5, family="gaussian", seed=1)
    phi = ad.tree_map(lambda x: 3.0 * x, rule.init_meta(np.random.default_rng(3)))
    found = mg.diagnose(task, rule, mg.Final(), phi, steps=400)
    chaotic = np.array(found.regimes) == "chaotic"
    assert 0 < chaotic.sum() < 8  # some tasks settle; their values keep their digits
    assert found.digits.value[chaotic].max() < 10 < found.digits.value[~chaotic].min()
    assert found.digits.gradient[0] < 3
    assert found.scaled.steps < 500
    assert not found.ok


def test_adam_on_logistic_regression():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((2, 50, 3))
    y = (x[..., 0] + draw.standard_normal((2, 50)) > 0.3).astype(float)

    def loss(w):
        z = np.einsum("bni,bi->bn", x, w)
        return np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0.0) - y * z, axis=-1)

    found = mg.diagnose(mg.FunctionTask(loss, np.zeros((2, 3))), mg.Adam(), mg.Final(), mg.Adam.Phi(0.01), steps=60)
    assert not {"chaotic", "exploding", "floor"} & set(found.regimes)
    assert found.digits.gradient.min() > 8
    assert found.useful is None
    assert found.reach >= 1e-3
    assert np.all(found.status == 0)
    assert found.cost.kernel == "the tape"


def half_a_square(power, eta, dtype, steps):
    task = mg.FunctionTask(lambda w: np.sum(w**power, axis=-1) / power, np.ones((1, 1)))
    return mg.diagnose(task, mg.GradientDescent(), mg.Final(), eta, steps=steps, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_that_underflows_is_foretold(dtype):
    """w = 2^-t, and nobody said that w'w/2 is homogeneous: F = 2^(-2t - 1) is subnormal after half of the exponents."""
    exponents = {"float32": 126, "float64": 1022}[dtype]
    found = half_a_square(2, 0.5, dtype, 60)
    assert found.regimes == ("contracting",)
    assert found.trend == "vanishing"
    assert found.state.value == pytest.approx([-math.log10(2)], abs=1e-6)
    assert found.plain.steps == pytest.approx((exponents - 1) / 2, abs=1)
    assert found.scaled.steps == pytest.approx(exponents, abs=1)


def test_a_state_that_overflows_is_exploding():
    """w - 4 w^3 from 1 is -3, 105, -4.6e6, ...: the digits of its exponent triple a step."""
    found = half_a_square(4, 4.0, "float64", 12)
    assert found.regimes == ("exploding",)
    assert found.trend == "no number"
    assert found.plain.steps < 12
    assert math.isnan(found.reach)
    assert not found.ok
    assert "STATE_OVERFLOW" in str(found)


@pytest.mark.parametrize(("eta", "dtype"), [(2.5, "float32"), (2.5, "float16"), (3.0, "float64"), (2.2, "float32")])
def test_plain_floats_break_where_it_is_said(eta, dtype):
    """Measured in a few steps, against the plain run itself: w'w/2 that nobody called homogeneous, w = (1 - eta)^t."""
    task = mg.FunctionTask(lambda w: np.sum(w * w, axis=-1) / 2, np.ones((1, 1), dtype))
    parts = task, mg.GradientDescent(), mg.Final(), eta
    found = mg.diagnose(*parts, steps=20 if dtype == "float16" else 40)
    assert found.plain.source == "measured"

    def fine(t):
        return mg.meta_gradient(*parts, steps=t, scaling="none").ok

    assert fine(math.floor(found.plain.steps * 0.98 - 1))
    assert not fine(math.ceil(found.plain.steps * 1.02 + 1))
