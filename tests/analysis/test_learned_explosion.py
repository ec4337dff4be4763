"""What the experiment learned_explosion measures with, against numbers known otherwise."""

import numpy as np
import pytest
from scipy import stats

import metagrad as mg
from analysis._learned_cases import initial
from analysis._learned_lines import coefficient, per_step
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
    found = lyapunov(Case((400,), 200, task, mg.GradientDescent(), mg.GradientDescent.Phi(eta)))
    np.testing.assert_allclose(found, np.log10(np.abs(1 - eta * lam).max()), atol=1e-6)


def _network(stream):
    x, y = stream.random((20, 4)), stream.integers(3, size=20)
    return MLPClassifier(MLP((4, 2, 3), init_std=1.0), x, y, count=8, batch_size=None)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["regression", "network"])
def test_no_run_leaves_its_bound_and_some_come_near(kind, seed):
    stream = np.random.default_rng(seed)
    rule = CoordinatewiseLSTM((3,), None, 1.0)
    task = mg.random_least_squares(8, 6, 3, sigma=1.0, seed=seed) if kind == "regression" else _network(stream)
    horizons = (1, 10, 50)
    case = Case(horizons, 1, task, rule, initial(rule, 8, seed), seed)
    found = np.stack([case.gradient(mg.Final("train"), steps).value.log10abs() for steps in horizons])
    upper = bounds(case)
    assert (found <= upper).all()
    assert (found > upper - 2.5).any()


def test_another_seed_is_another_network():
    rule, task = CoordinatewiseLSTM((3,), None, 1.0), _network(np.random.default_rng(0))
    phi = initial(rule, 8, 0)
    first, again, other = (
        Case((5,), 1, task, rule, phi, seed).gradient(mg.Final("train"), 5).value.to_float() for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).all()


def test_slopes_are_those_of_lines_between_the_horizons_asked_for():
    T = np.array([5.0, 10, 20, 40, 80, 160])
    kinked = np.clip(-0.02 * T, -0.02 * 80, -0.02 * 10)[:, None]
    assert per_step(T, kinked, 10, 80)[0] == pytest.approx(-0.02)
    assert per_step(T, kinked, 40, 160)[0] > -0.018
    lost = np.where(T[:, None] < 40, np.nan, kinked)
    assert per_step(T, lost, 40, 160)[0] == per_step(T, kinked, 40, 160)[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_interval_of_a_coefficient_holds_it_nearly_at_its_level_where_noise_goes_with_x(seed):
    """As in the runs that explode. The usual interval, of noise of one size, holds it in three of four samples."""
    stream, held, usual = np.random.default_rng(seed), 0, 0
    for _ in range(400):
        x = np.concatenate([np.zeros(20), stream.random(20)])
        y = 0.3 + 1.1 * x + x * stream.standard_normal(40)
        slope, (low, high) = coefficient(x, y)
        held += low <= 1.1 <= high
        assert low < slope < high
        usual += abs(stats.linregress(x, y).slope - 1.1) <= stats.t.ppf(0.975, 38) * stats.linregress(x, y).stderr
    assert 0.88 <= held / 400 <= 0.98
    assert usual / 400 < 0.85


def test_a_coefficient_of_nothing_is_no_number():
    for x, y in (([1.0, 1, 1, 1], [1.0, 2, 3, 4]), ([1.0, 2], [1.0, 2]), ([1.0, np.nan, 2, 3], [1.0, 2, 3, 4])):
        slope, interval = coefficient(np.array(x), np.array(y))
        assert np.isnan([slope, *interval]).all()
