"""Lion: signs have no derivative, and what is left of the derivative is right."""

import mpmath
import numpy as np
import pytest

import metagrad as mg
from metagrad.xp import VALUE_TOLERANCE, rng
from tests.strategies import random_quadratic

PHI = mg.Lion.Phi(0.02, 0.7, 0.8, 0.3)


def by_hand(w, m, g, eta, beta1, beta2, decay):
    return w - eta * (mpmath.sign(beta1 * m + (1 - beta1) * g) + decay * w), beta2 * m + (1 - beta2) * g


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_steps_against_50_digits(dtype):
    rule, phi = mg.Lion(), mg.Lion.Phi(*[np.asarray(x, dtype) for x in PHI])
    w = np.full((1, 1), 0.5, dtype=dtype)
    state = rule.init(phi, w)
    with mpmath.workdps(50):
        exact, m, numbers = mpmath.mpf(0.5), mpmath.mpf(0), [mpmath.mpf(float(x)) for x in phi]
        for g in rng(0, "gradients").standard_normal(12).astype(dtype):
            w, state = rule.step(phi, state, w, mg.FixedGradient(np.full((1, 1), g)))
            exact, m = by_hand(exact, m, mpmath.mpf(float(g)), *numbers)
            assert w.dtype == dtype
            assert float(w[0, 0]) == pytest.approx(float(exact), rel=0, abs=8 * VALUE_TOLERANCE[dtype])


@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
def test_the_derivatives_that_exist(gradient):
    """dw_{t+1} = (1 - eta decay) dw_t - (sign + decay w_t) d eta - eta w_t d decay, along the run of the rule."""
    task, rule = random_quadratic(2, 3, seed=1), mg.Lion()
    found = mg.meta_gradient(task, rule, mg.Final(), PHI, steps=12, gradient=gradient).grad
    w, m = task.w0, np.zeros((2, 3))
    by_eta = by_decay = np.zeros((2, 3))
    for _ in range(12):
        g = task.gradient(w, None)
        sign, kept = np.sign(0.7 * m + 0.3 * g), 1 - 0.02 * 0.3
        by_eta, by_decay = kept * by_eta - (sign + 0.3 * w), kept * by_decay - 0.02 * w
        w, m = w - 0.02 * (sign + 0.3 * w), 0.8 * m + 0.2 * g
    slope = task.gradient(w, None)
    assert float(found.eta.to_float()) == pytest.approx((slope * by_eta).sum(axis=1).mean(), rel=1e-12)
    assert float(found.decay.to_float()) == pytest.approx((slope * by_decay).sum(axis=1).mean(), rel=1e-12)
    assert float(found.beta1.to_float()) == float(found.beta2.to_float()) == 0


def test_a_zero_gradient_has_no_sign():
    rule, w = mg.Lion(), np.ones((1, 2))
    phi = rule.Phi(0.1, decay=0.0)
    assert np.array_equal(rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(0 * w))[0], w)


def test_bad_hyper_parameters():
    with pytest.raises(ValueError, match=r"decay is -0\.1; expected a decay of at least 0"):
        mg.Lion().check_phi(mg.Lion.Phi(0.1, decay=-0.1), "here")
    assert mg.Unconstrained(mg.Lion()).Phi._fields == ("log_eta", "logit_beta1", "logit_beta2", "log_decay")
