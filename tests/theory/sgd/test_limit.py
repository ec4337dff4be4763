"""The limit of SGD: against integration of its system, averages given X at growing d, single pass, gradient flow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from metagrad.theory import sgd
from metagrad.theory.least_squares import marchenko_pastur, proportional_limit
from metagrad.theory.sgd import SgdAverage, SgdProblem, single_pass
from metagrad.theory.sgd import limit as sgd_limit

LEVELS = st.just(0.0) | st.floats(1e-3, 3)
POINTS = [(0.5, 1.0, 0.5), (3.0, 4.0, 2.0), (8.0, 4.0, 1.0), (6.0, 16.0, 0.25), (2.0, 1.0, 1.5)]


def losses(time, epochs, gamma) -> np.ndarray:
    train, risk = sgd_limit.parts(time, epochs, gamma=gamma)
    return np.array([x.to_float() for x in (*train, *risk)])


def integrated(time: float, epochs: float, gamma: float) -> np.ndarray:
    """The same from the variances' differential equations, over nodes of the law."""
    s, w = marchenko_pastur.rule(gamma, 200)
    floor, unseen = marchenko_pastur.unfitted(gamma, 200)
    pace = time / epochs

    def slope(_, z):
        signal, noise = z[:200], z[200:]
        return np.concatenate(
            [
                -2 * s * signal + pace * gamma * s * (w @ signal),
                -2 * s * noise + pace * s * (floor + gamma * (w @ noise)),
            ]
        )

    start = np.concatenate([np.ones(200), 1 / s])
    signal, noise = solve_ivp(slope, (0, time), start, "LSODA", rtol=1e-10, atol=1e-13).y[:, -1].reshape(2, 200)
    fitted = gamma * (w / s) @ (noise - 2 * np.exp(-s * time) / s + 1 / s)
    return np.array([w @ signal / 2, (floor + gamma * w @ noise) / 2, unseen + (w / s) @ signal, fitted])


@pytest.mark.parametrize(("time", "epochs", "gamma"), POINTS)
def test_it_solves_its_differential_equations(time, epochs, gamma):
    np.testing.assert_allclose(losses(time, epochs, gamma), integrated(time, epochs, gamma), rtol=1e-6)


def test_another_pace_is_told_apart():
    assert np.all(np.abs(losses(3.0, 4.0, 2.0) / integrated(3.0, 4.2, 2.0) - 1) > 1e-4)


def average_given_inputs(d: int, time: float, epochs: int, gamma: float, batch: int) -> np.ndarray:
    found, n = [], round(d / gamma)
    steps = epochs * n // batch
    for seed in range(4):
        problem = SgdProblem(np.random.default_rng(seed).standard_normal((n, d)), np.zeros(n), None, batch)
        halves = [SgdAverage(problem, sigma, signal) for sigma, signal in ((0, 1), (1, 0))]
        measures = [(half, measure) for measure in ("train", "risk") for half in halves]
        found.append([float(sgd.expected(h, getattr(h, m), time / steps, steps)[-1].to_float()) for h, m in measures])
    return np.mean(found, axis=0)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("time", "gamma"), [(0.5, 0.5), (0.6, 2.0)])
def test_the_averages_given_the_inputs_approach_it(time, gamma, batch):
    limit = losses(time, 2, gamma)
    errors = [np.abs(average_given_inputs(d, time, 2, gamma, batch) / limit - 1).max() for d in (8, 64)]
    assert errors[1] < 0.04
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_many_epochs_of_few_steps_each_are_gradient_flow(share):
    """As kappa -> 0: the losses of gradient descent with many small steps, up to their first order."""
    time, gamma, steps = 4 * share, 0.6, 2000
    about = {"gamma": gamma, "sigma": 0.7}
    for flow, descent in (
        (sgd_limit.risk, proportional_limit.risk),
        (sgd_limit.train_loss, proportional_limit.train_loss),
    ):
        found = flow(time, 1e9, **about).to_float()
        np.testing.assert_allclose(found, descent(time / steps, steps, **about).to_float(), rtol=5e-3)


def test_fresh_samples_are_single_pass_sgd():
    """n far above d: every sample is used once at most, and all eigenvalues are 1, up to 2 root gamma."""
    gamma, drift, time, sigma = 1e-6, 0.7, 1.3, 0.8
    found = float(sgd_limit.risk(time, time * gamma / drift, gamma=gamma, sigma=sigma).to_float())
    d, batch = 4000, 2
    eta = drift * batch / d
    reference = single_pass.isotropic_risk(d, eta, round(time / eta), start=1.0, sigma=sigma, batch_size=batch)
    assert found == pytest.approx(float(reference.to_float()), rel=5e-3)


@given(st.floats(1e-3, 30), st.floats(0.5, 30), st.floats(0.05, 20), LEVELS, LEVELS)
def test_losses_are_positive_parts_that_add_up(time, epochs, gamma, sigma, signal):
    train, risk = sgd_limit.parts(time, epochs, gamma=gamma)
    levels = {"sigma": sigma, "signal": signal}
    for parts, whole in ((train, sgd_limit.train_loss), (risk, sgd_limit.risk)):
        assert parts.signal.sign == 1
        assert parts.noise.sign == 1
        found = whole(time, epochs, gamma=gamma, **levels)
        expected = parts.signal * signal + parts.noise * sigma**2
        assert found.sign == expected.sign
        assert found.sign == 0 or found.log == pytest.approx(expected.log, abs=1e-9)


@given(st.floats(0.1, 10), st.floats(0.2, 5))
def test_the_threshold_parts_growth_from_decay(epochs, gamma):
    top = float(sgd_limit.stability_threshold(gamma))
    growth = [
        float(
            np.diff(sgd_limit.parts([40 * share * top, 80 * share * top], [40.0, 80.0], gamma=gamma)[0].signal.log)[0]
        )
        for share in (0.9, 1.1)
    ]
    assert growth[0] < 0 < growth[1]


def test_at_time_zero_nothing_is_learned():
    np.testing.assert_allclose(losses(0.0, 1.0, 0.5), [0.5, 0.5, 1.0, 0.0], atol=1e-12)


def test_far_beyond_the_threshold_it_stays_a_number():
    found = sgd_limit.risk(4000.0, 10.0, gamma=0.5, sigma=1.0)
    assert found.sign == 1
    assert found.log > 1e3
    assert np.isfinite(found.log)


def test_arguments_broadcast():
    found = sgd_limit.risk(np.array([0.5, 1.0])[:, None], [1.0, 2.0, 4.0], gamma=0.5, sigma=1.0)
    assert found.shape == (2, 3)
    one = sgd_limit.risk(1.0, 4.0, gamma=0.5, sigma=1.0)
    assert found.log[1, 2] == one.log


@pytest.mark.parametrize(
    ("name", "value"), [("time", -1.0), ("epochs", 0.0), ("gamma", 0.0), ("gamma", np.inf), ("sigma", -1.0)]
)
def test_bad_arguments_are_named(name, value):
    arguments = {"time": 1.0, "epochs": 1.0, "gamma": 0.5, "sigma": 1.0} | {name: value}
    with pytest.raises(ValueError, match=name):
        sgd_limit.risk(arguments.pop("time"), arguments.pop("epochs"), **arguments)
