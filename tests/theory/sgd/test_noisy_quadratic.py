"""The noisy quadratic model: exact fractions, stationary and best schedules, the bias, simulated runs."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad.theory.sgd import noisy_quadratic as nq
from metagrad.theory.sgd import noisy_schedules as schedules
from metagrad.theory.sgd.noisy_quadratic import NoisyQuadratic
from tests.theory.sgd.reference import exact

TWO = NoisyQuadratic([1.0, 0.05], [1.0, 20.0], [100.0, 100.0])
THREE = NoisyQuadratic([2.0, 0.5, 0.125], [1.0, 0.25, 0.0], [4.0, 1.0, 8.0])


def exact_loss(problem, etas):
    """F_T in the number type of the step sizes."""
    h, noise, A = (exact(x) for x in (problem.curvatures, problem.noise, problem.start))
    for eta in etas:
        A = [(1 - eta * x) ** 2 * a + eta**2 * x**2 * v for x, v, a in zip(h, noise, A, strict=True)]
    return sum(x * a for x, a in zip(h, A, strict=True)) / 2


def exact_slope(problem, etas, k):
    """dF_T/d eta_k from three values: F_T is a parabola in eta_k, so the central difference is exact."""
    shifted = [[e + (i - 1) * (j == k) for j, e in enumerate(etas)] for i in range(3)]
    return (exact_loss(problem, shifted[2]) - exact_loss(problem, shifted[0])) / 2


@pytest.mark.parametrize("etas", [[0.5, 0.25, 0.125], [0.5], [3.0, -0.25, 0.0, 2.0], [8.0, 0.5]])
def test_losses_and_gradient_against_fractions(etas):
    """With factors 1 - eta h that are zero or negative, and a coordinate without noise."""
    numbers = exact(etas)
    losses, gradient = nq.expected_loss(THREE, etas).to_float(), nq.schedule_gradient(THREE, etas).to_float()
    for k in range(len(etas) + 1):
        assert losses[k] == pytest.approx(float(exact_loss(THREE, numbers[:k])), rel=1e-14)
    for k in range(len(etas)):
        assert gradient[k] == pytest.approx(float(exact_slope(THREE, numbers, k)), rel=1e-13, abs=1e-13)


def test_a_step_that_solves_a_coordinate_but_for_rounding():
    """eta = fl(1/h) leaves 1 - eta h near 10^-17, which is what the loss is then made of."""
    problem = NoisyQuadratic([0.7], [0.0], [3.0])
    etas = [1 / 0.7, 0.5]
    exactly = exact_loss(problem, exact(etas))
    assert 0 < exactly < 1e-30
    assert nq.expected_loss(problem, etas)[-1].to_float() == pytest.approx(float(exactly), rel=1e-13)
    assert nq.schedule_gradient(problem, etas)[1].to_float() == pytest.approx(
        float(exact_slope(problem, exact(etas), 1)), rel=1e-12
    )


def test_a_batch_of_schedules_is_each_of_them_alone():
    etas = np.random.default_rng(0).uniform(-0.5, 2, (2, 3, 7))
    losses, gradient = nq.expected_loss(THREE, etas), nq.schedule_gradient(THREE, etas)
    assert losses.shape == (2, 3, 8)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(losses.log[index], nq.expected_loss(THREE, etas[index]).log, rtol=1e-14)
        np.testing.assert_allclose(gradient.log[index], nq.schedule_gradient(THREE, etas[index]).log, rtol=1e-12)


def test_schedules_far_outside_the_float_range():
    """Steps of 10 on h = 1 multiply by 81 each; noise-free steps of 1/2 divide by 4."""
    up, down = NoisyQuadratic([1.0], [0.0], [2.0]), np.full(2000, 0.5)
    assert nq.expected_loss(up, np.full(2000, 10.0)).log[-1] == pytest.approx(2000 * np.log(81), rel=1e-13)
    assert nq.expected_loss(up, down).log[-1] == pytest.approx(-2000 * np.log(4), rel=1e-13)
    slope = nq.schedule_gradient(up, down)
    np.testing.assert_allclose(slope.log, -1999 * np.log(4), rtol=1e-12)
    assert np.all(slope.sign == -1)


@pytest.mark.parametrize(("start", "noise"), [(100.0, 1.0), (1e-3, 20.0), (3.0, 0.0)])
def test_in_one_dimension_greedy_is_optimal_and_known(start, noise):
    problem = NoisyQuadratic([0.5], [noise], [start])
    greedy = schedules.greedy_schedule(problem, 12)
    best = schedules.optimal_schedule(problem, 12)
    moments = 4 * nq.expected_loss(problem, np.stack([greedy, best])).to_float()
    expected = nq.one_dimensional(start, noise, np.arange(1, 13))
    np.testing.assert_allclose(moments[0, 1:], expected, rtol=1e-12)
    np.testing.assert_allclose(moments[1, -1], expected[-1], rtol=1e-12)


@pytest.mark.parametrize(("steps", "bias"), [(10, 2.56), (100, 22.9), (300, 27.7)])
def test_the_bias_of_two_coordinates_with_stable_steps(steps, bias):
    found = schedules.short_horizon_bias(TWO, steps, largest=TWO.largest_stable).to_float()
    assert found == pytest.approx(bias, abs=0.05 if bias > 3 else 0.005)


def test_unlimited_steps_make_the_bias_larger():
    """The first steps are those of the flat coordinate alone, above 2/max h."""
    best = schedules.optimal_schedule(TWO, 10)
    assert best[0] == pytest.approx(100 / (0.05 * 120), rel=1e-6)
    assert schedules.short_horizon_bias(TWO, 10).to_float() == pytest.approx(9.487, abs=1e-3)
    assert schedules.short_horizon_bias(TWO, 100).to_float() == pytest.approx(26.076, abs=1e-3)


@pytest.mark.parametrize("problem", [TWO, THREE])
@pytest.mark.parametrize("largest", [np.inf, 0.75])
def test_no_schedule_on_a_grid_is_better_than_the_optimal_one(problem, largest):
    steps = 3
    best = schedules.optimal_schedule(problem, steps, largest=largest)
    grid = np.linspace(0, min(largest, 20), 50)
    losses = nq.expected_loss(problem, np.array(list(product(grid, repeat=steps))))[:, -1]
    assert nq.expected_loss(problem, best).log[-1] <= losses.log.min() + 1e-12
    assert np.all(best <= largest)


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=4),
    st.integers(1, 12),
    st.sampled_from([np.inf, 2.0]),
    st.floats(0.01, 100),
)
def test_the_optimal_schedule_is_stationary_and_at_least_as_good_as_any_other(curvatures, steps, reach, start):
    h = np.array(curvatures)
    problem = NoisyQuadratic(h, 1 / h, np.full(h.size, start))
    largest = reach / h.max()
    best = schedules.optimal_schedule(problem, steps, largest=largest)
    loss, gradient = nq.expected_loss(problem, best)[-1], nq.schedule_gradient(problem, best)
    slopes = (gradient / loss).to_float(ieee=True) * best  # of log F in log eta
    inside = best < largest * (1 - 1e-9)
    assert np.all(np.abs(slopes[inside]) < 1e-4)
    assert np.all(slopes[~inside] <= 1e-6)
    for other in (np.full(steps, 0.5 * min(largest, 1 / h.max())), schedules.greedy_schedule(problem, steps)):
        assert loss.log <= nq.expected_loss(problem, np.minimum(other, largest)).log[-1] + 1e-12


def test_a_greedy_step_is_the_best_step_for_the_next_loss():
    greedy = schedules.greedy_schedule(THREE, 6)
    for k in range(6):
        gradient = nq.schedule_gradient(THREE, greedy[: k + 1])[-1]
        assert abs(gradient.to_float()) < 1e-14 * nq.expected_loss(THREE, greedy[: k + 1])[0].to_float()


def test_looking_ahead_leads_from_greedy_to_optimal():
    stable = TWO.largest_stable
    found = [schedules.lookahead_schedule(TWO, 20, k, largest=stable) for k in (1, 3, 8, 20)]
    losses = nq.expected_loss(TWO, np.stack(found)).log[:, -1]
    np.testing.assert_allclose(found[0], schedules.greedy_schedule(TWO, 20, largest=stable), rtol=1e-6)
    best = nq.expected_loss(TWO, schedules.optimal_schedule(TWO, 20, largest=stable)).log[-1]
    assert losses[-1] == pytest.approx(best, abs=1e-9)
    assert np.all(np.diff(losses)[:2] < -0.5)
    assert losses[2] >= best - 1e-9


def simulated(problem, etas, runs, seed):
    rng = np.random.default_rng(seed)
    w = np.sqrt(problem.start) * rng.standard_normal((runs, problem.curvatures.size))
    for eta in etas:
        targets = np.sqrt(problem.noise) * rng.standard_normal(w.shape)
        w -= eta * problem.curvatures * (w - targets)
    return np.sum(problem.curvatures * w**2, axis=1) / 2


def test_simulated_runs_agree_and_other_noise_does_not():
    etas = schedules.optimal_schedule(TWO, 10, largest=2.0)
    losses = simulated(TWO, etas, 40_000, 5)
    error = losses.std() / np.sqrt(len(losses))
    assert abs(losses.mean() - nq.expected_loss(TWO, etas)[-1].to_float()) < 4 * error
    other = NoisyQuadratic(TWO.curvatures, 1.2 * TWO.noise, TWO.start)
    assert abs(losses.mean() - nq.expected_loss(other, etas)[-1].to_float()) > 8 * error


def test_without_a_start_there_is_nothing_to_do():
    still = NoisyQuadratic([1.0, 2.0], [1.0, 1.0], [0.0, 0.0])
    assert np.array_equal(schedules.optimal_schedule(still, 3), np.zeros(3))
    assert np.isnan(schedules.short_horizon_bias(still, 3).sign)
    quiet = NoisyQuadratic([1.0, 2.0], [0.0, 0.0], [1.0, 1.0])
    best = nq.expected_loss(quiet, schedules.optimal_schedule(quiet, 2))[-1]
    assert best.log < -60  # both coordinates solved, to rounding


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([0.0, 1.0], [1.0, 1.0], [1.0, 1.0]), "curvatures is 0"),
        (([-1.0], [1.0], [1.0]), "curvatures is -1"),
        (([], [], []), "d >= 1"),
        (([1.0], [1.0, 2.0], [1.0]), "noise is of shape"),
        (([1.0], [-1.0], [1.0]), "noise is -1"),
        (([1.0], [1.0], [np.nan]), "start is nan"),
        (([1e70], [1.0], [1.0]), "Rescale"),
    ],
)
def test_problems_that_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        NoisyQuadratic(*arguments)


def test_calls_that_are_refused():
    with pytest.raises(ValueError, match="schedule is of shape"):
        nq.expected_loss(TWO, 0.5)
    with pytest.raises(ValueError, match="schedule is nan"):
        nq.expected_loss(TWO, [0.5, np.nan])
    with pytest.raises(ValueError, match=r"eta is 1e\+90"):
        nq.schedule_gradient(TWO, [0.5, 1e90])
    with pytest.raises(ValueError, match="steps is 0"):
        schedules.greedy_schedule(TWO, 0)
    with pytest.raises(TypeError, match="expected an integer"):
        schedules.optimal_schedule(TWO, 2.0)
    with pytest.raises(ValueError, match="largest is -1"):
        schedules.optimal_schedule(TWO, 2, largest=-1.0)
    with pytest.raises(ValueError, match="horizon is 0"):
        schedules.lookahead_schedule(TWO, 2, 0)
    with pytest.raises(ValueError, match="start is -1"):
        nq.one_dimensional(-1.0, 1.0, 3)
