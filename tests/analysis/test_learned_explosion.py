"""What the experiment learned_explosion measures with, against numbers known otherwise."""

import numpy as np
import pytest

import metagrad as mg
from analysis import learned_explosion as experiment
from analysis._learned_runs import Case, bounds, lyapunov, norm_log10
from metagrad.optimizers import CoordinatewiseLSTM
from metagrad.tasks import MLP, MLPClassifier


def test_the_norm_of_a_gradient_of_any_size():
    phi = CoordinatewiseLSTM.Phi((), (mg.Scaled.of(np.full((2, 3, 1), 2.0), 4000), mg.Scaled.of(np.zeros((2, 1)))))
    expected = 4000 * np.log10(2) + np.log10(np.sqrt(12))
    np.testing.assert_allclose(norm_log10(phi), [expected] * 2, rtol=1e-12)


@pytest.mark.parametrize("eta", [0.3, 0.9])
def test_nearby_runs_of_gradient_descent_part_at_the_largest_factor(eta):
    lam = np.array([[0.5, 1.0, 3.0]])
    task = mg.DiagonalQuadratic(lam, np.ones((1, 3)))
    found = lyapunov(Case((400,), 200, 1, task, mg.GradientDescent(), mg.GradientDescent.Phi(eta)))
    np.testing.assert_allclose(found, np.log10(np.abs(1 - eta * lam).max()), atol=1e-6)


def _network(stream):
    x, y = stream.random((20, 4)), stream.integers(3, size=20)
    return MLPClassifier(MLP((4, 2, 3), init_std=1.0), x, y, count=8, batch_size=None)


@pytest.mark.parametrize("kind", ["regression", "network"])
def test_no_run_leaves_its_bound_and_some_come_near(kind):
    stream = np.random.default_rng(0)
    rule = CoordinatewiseLSTM((3,), None, 1.0)
    task = mg.random_least_squares(8, 6, 3, sigma=1.0) if kind == "regression" else _network(stream)
    horizons = (1, 10, 50)
    case = Case(horizons, 1, 1, task, rule, experiment._initial(rule, 8, 0))
    found = np.stack([case.gradient(mg.Final("train"), steps).value.log10abs() for steps in horizons])
    upper = bounds(case)
    assert (found <= upper).all()
    assert (found > upper - 2.5).any()


def test_slopes_are_those_of_lines_between_the_horizons_asked_for():
    config = experiment.presets["default"]
    T = np.asarray(config.horizons, dtype=float)
    kinked = np.clip(-0.02 * T, *(-0.02 * end for end in reversed(config.converging)))[:, None]
    assert experiment._slopes(config, kinked, config.converging)[0] == pytest.approx(-0.02)
    assert experiment._slopes(config, kinked)[0] > -0.018
    assert experiment._slopes(config, kinked * [1.0, np.inf])[0] == experiment._slopes(config, kinked)[0]


def test_an_interval_leaves_out_what_is_no_number():
    mean, half = experiment.interval(np.array([1.0, 3.0, np.nan]))
    assert (mean, half) == (2.0, pytest.approx(12.706, rel=1e-4))
