"""Weighted sums, schedules, coordinates and the stop-gradient slope against 60 digits and exact fractions."""

from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

from metagrad.theory import quadratic as q
from metagrad.theory.quadratic import SignedLog, Spectrum
from metagrad.theory.quadratic.weighted import mean_index
from tests.theory.reference import MEASURES, condition, log_error, random_cases, run_exactly, to_mp

ERROR = 1e-14
HORIZONS = (1, 2, 5, 80, 1001, 2000)


def spectrum_of(case):
    return Spectrum(case.eigenvalues, case.weights)


def geometric(r, t):
    return mp.mpf(t) if r == 1 else r * (1 - r**t) / (1 - r)


def d_geometric(r, t):
    return mp.mpf(t) * (t + 1) / 2 if r == 1 else r * (1 - (t + 1) * r**t + t * r ** (t + 1)) / (1 - r) ** 2


def rho_choices(case):
    """Below, at and above 1, and where rho a^2 of some mode is 1, exactly or nearly."""
    a = max(abs(1 - case.eta * float(case.eigenvalues[0])), 0.1)
    return (0.5, 0.99, 1.0, 1.01, a**-2.0, (1 + 1e-10) * a**-2.0, (1 - 1e-4) * a**-2.0)


@pytest.mark.parametrize("case", random_cases(11, 60, HORIZONS))
def test_weighted_sums_against_sixty_digits(case):
    for rho in rho_choices(case):
        Phi = mp.fsum(k * geometric(mp.mpf(rho) * a**2, case.steps) for k, _, a in case.exact)
        terms = [-2 * k * x * d_geometric(mp.mpf(rho) * a**2, case.steps) / a if a else 0 for k, x, a in case.exact]
        at = (spectrum_of(case), case.eta, case.steps, rho)
        assert log_error(q.weighted_sum(*at, measure=case.measure), Phi) < ERROR
        slope = q.d_weighted_sum(*at, measure=case.measure)
        assert log_error(slope, mp.fsum(terms)) < ERROR * condition(terms)


@pytest.mark.parametrize("case", random_cases(12, 25, (1, 2, 5, 9), largest_d=3))
def test_weighted_sums_and_the_held_gradient_against_the_recursion(case):
    exact = run_exactly(case, Fraction(0.75))
    at = (spectrum_of(case), case.eta, case.steps)
    assert log_error(q.weighted_sum(*at, 0.75, measure=case.measure), to_mp(exact["Phi"])) < ERROR
    slope = q.d_weighted_sum(*at, 0.75, measure=case.measure)
    assert agrees(slope, to_mp(exact["dPhi"]), q.weighted_sum(*at, 0.75, measure=case.measure), case)
    held = q.stop_gradient_d_objective(*at, measure=case.measure)
    assert agrees(held, to_mp(exact["held"]), q.objective(*at, measure=case.measure), case)


def agrees(value: SignedLog, reference, objective: SignedLog, case) -> bool:
    """Whether a slope is right to rounding of t L times the objective (its terms may cancel), or of itself."""
    scale = float(objective.to_float()) * float(case.eigenvalues.max()) * case.steps
    error = abs(float(value.to_float(ieee=True)) - float(reference))
    return error <= 1e-12 * scale or log_error(value, reference) < ERROR


@pytest.mark.parametrize("steps", [1, 2, 7, 10**6, 10**9])
def test_the_mean_index_at_and_around_the_tie(steps):
    for x in (0.0, 1e-300, -1e-15, 1e-9 / steps, -0.5 / steps, 0.99 / steps, -1.01 / steps, 3.0 / steps, -2.0, 2.0):
        with mp.workdps(1400 if abs(x) < 1e-100 else 60):
            r = mp.exp(mp.mpf(x))
            exact = float(d_geometric(r, steps) / geometric(r, steps))
        assert float(mean_index(np.array(x), np.array(float(steps)))) == pytest.approx(exact, rel=1e-15)


def test_a_weighted_sum_far_outside_the_float_range():
    value = q.weighted_sum(Spectrum([1.0], [2.0]), 3.0, 10**6)
    exact = mp.log(geometric(mp.mpf(4), 10**6))
    assert float(value.log) == pytest.approx(float(exact), rel=1e-15)


def test_a_vanishing_mode_contributes_nothing_to_a_weighted_sum():
    both, one = Spectrum([1.0, 4.0], [1.0, 2.0]), Spectrum([1.0], [1.0])
    for f in (q.weighted_sum, q.d_weighted_sum):
        assert f(both, 0.25, 9, 0.9).log == f(one, 0.25, 9, 0.9).log


@pytest.mark.parametrize("rho", [0.0, -1.0, np.nan])
def test_rho_must_be_positive(rho):
    with pytest.raises(ValueError, match="rho is"):
        q.weighted_sum(Spectrum([1.0], [1.0]), 0.1, 3, rho)


@pytest.mark.parametrize("case", random_cases(13, 100, (1, 2, 5, 80, 1001, 10**6)))
def test_the_held_gradient_against_sixty_digits(case):
    eta, t = mp.mpf(case.eta), case.steps
    terms = [-2 * k * a**t * (1 - a**t) / eta for k, _, a in case.exact]
    at, cancels = (spectrum_of(case), case.eta, t), condition(terms)
    slope = q.stop_gradient_d_objective(*at, measure=case.measure)
    assert log_error(slope, mp.fsum(terms)) < ERROR * cancels
    if case.F() != 0:
        slope = q.stop_gradient_d_log_objective(*at, measure=case.measure)
        assert log_error(slope, mp.fsum(terms) / (t * case.F())) < ERROR * cancels


@pytest.mark.parametrize("measure", MEASURES)
def test_the_held_gradient_is_the_full_one_for_one_step_and_at_eta_zero(measure):
    spectrum = Spectrum([0.0, 0.5, 2.0], [1.0, 3.0, 1.0])
    for eta, steps in ((0.3, 1), (-1.0, 1), (0.0, 50)):
        full = q.d_objective(spectrum, eta, steps, measure=measure)
        held = q.stop_gradient_d_objective(spectrum, eta, steps, measure=measure)
        assert held.to_float() == pytest.approx(full.to_float(), rel=1e-14)


def test_the_held_gradient_has_the_wrong_sign_for_even_t_between_one_and_two_over_lambda():
    spectrum, eta = Spectrum([1.0], [1.0]), np.array([0.5, 1.2, 1.8, 2.2])
    for steps, wrong in ((8, [False, True, True, False]), (9, [False, False, False, False])):
        full, held = q.d_objective(spectrum, eta, steps), q.stop_gradient_d_objective(spectrum, eta, steps)
        assert (full.sign != held.sign).tolist() == wrong


def test_the_held_slope_of_the_log_grows_exponentially_where_descent_contracts():
    slope = q.stop_gradient_d_log_objective(Spectrum([1.0], [1.0]), 0.5, np.array([1000, 2000]))
    assert float(slope.log[1] - slope.log[0]) == pytest.approx(1000 * np.log(2) - np.log(2), rel=1e-12)
    assert np.isnan(q.stop_gradient_d_log_objective(Spectrum([1.0], [1.0]), 1.0, 3).sign)


def test_a_schedule_against_sixty_digits():
    rng = np.random.default_rng(14)
    for case in random_cases(15, 40, (1,)):
        etas = rng.uniform(-1, 3, int(rng.integers(1, 9))) / case.eigenvalues.max()
        factors = [[1 - mp.mpf(x) * h for x in etas] for _, h, _ in case.exact]
        squares = [mp.fprod(a**2 for a in row) for row in factors]
        F = mp.fsum(k * p for (k, _, _), p in zip(case.exact, squares, strict=True))
        spectrum = spectrum_of(case)
        assert log_error(q.schedule_objective(spectrum, etas, measure=case.measure), F) < ERROR
        slopes = q.d_schedule_objective(spectrum, etas, measure=case.measure)
        for j in range(len(etas)):
            modes = zip(case.exact, squares, factors, strict=True)
            terms = [-2 * k * h * p / row[j] for (k, h, _), p, row in modes]
            assert log_error(slopes[j], mp.fsum(terms)) < ERROR * condition(terms)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_constant_schedule_is_the_constant_step_size(measure):
    spectrum = Spectrum(np.array([[0.1, 1.0, 2.0], [1.0, 1.0, 3.0]]), np.ones((2, 3)))
    etas = np.full((2, 40), 0.3)
    value, slopes = (f(spectrum, etas, measure=measure) for f in (q.schedule_objective, q.d_schedule_objective))
    np.testing.assert_allclose(value.log, q.objective(spectrum, 0.3, 40, measure=measure).log, rtol=1e-14)
    full = q.d_objective(spectrum, 0.3, 40, measure=measure)
    np.testing.assert_allclose(slopes.sum(axis=-1).log, full.log, rtol=1e-13)
    assert slopes.shape == (2, 40)


def test_zero_factors_in_a_schedule():
    spectrum = Spectrum([1.0, 2.0], [1.0, 1.0])
    slopes = q.d_schedule_objective(spectrum, [1.0, 0.25, 1.0]).to_float()
    # mode 1 is solved at step 1; only mode 2 is left: -c lambda^2 a_k prod_{j != k} a_j^2
    np.testing.assert_allclose(slopes, [1.0, -2.0, 1.0], rtol=1e-14)
    assert q.d_schedule_objective(spectrum, [0.5, 1.0]).sign.tolist() == [0, 0]


@pytest.mark.parametrize("measure", MEASURES)
def test_a_step_size_per_coordinate(measure):
    spectrum = Spectrum.diagonal([2.0, 1.0, 0.5], [1.0, -2.0, 3.0])
    same = q.coordinate_objective(spectrum, [0.3, 0.3, 0.3], 10**6, measure=measure)
    assert same.log == pytest.approx(q.objective(spectrum, 0.3, 10**6, measure=measure).log, rel=1e-14)
    slopes = q.d_coordinate_objective(spectrum, [0.3, 0.3, 0.3], 10**6, measure=measure)
    assert slopes.shape == (3,)
    assert slopes.sum().log == pytest.approx(q.d_objective(spectrum, 0.3, 10**6, measure=measure).log, rel=1e-14)
    own = q.d_coordinate_objective(spectrum, [0.5, 1.0, 0.4], 3, measure=measure).to_float()
    kappa = 9 * (0.25 if measure == "loss" else 1.0)
    np.testing.assert_allclose(own, [0, 0, -6 * kappa * 0.5 * 0.8**5], rtol=1e-14)


def test_shapes_that_do_not_match_are_refused():
    spectrum = Spectrum([1.0, 2.0], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"coordinate_objective: etas is of shape \(3,\)"):
        q.coordinate_objective(spectrum, [0.1, 0.1, 0.1], 3)
    with pytest.raises(ValueError, match="schedule_objective: etas"):
        q.schedule_objective(spectrum, 0.1)
