"""When steps alone reach the best polynomial: discriminants, eigenvalues, and the best real steps on both sides."""

import numpy as np
import pytest
import sympy as sp

from metagrad.theory import schedules
from metagrad.theory.schedules import descent, proportional, regimes, symbolic
from metagrad.theory.schedules.average_case import AverageCase

# the best real schedule beyond the boundary: gamma, sigma^2, T, risk, number of different steps
COALESCED = [
    (0.5, 1.0, 2, 0.4375, 1),
    (0.5, 1.0, 4, 0.429989, 1),
    (0.5, 1.0, 8, 0.426305, 1),
    (0.5, 0.05, 8, 0.047009, 6),
    (0.5, 1.0, 16, 0.424693, 1),
    (1.0, 0.25, 8, 0.402568, 1),
    (2.0, 1.0, 6, 0.7848921, 1),
]


def drawn(seed, noise=0.0):
    r = np.random.default_rng(seed)
    return AverageCase(r.uniform(0.1, 3.0, 9), r.uniform(0.1, 1.0, 9), noise=noise)


@pytest.mark.parametrize("gamma", ["1/2", "1", "2"])
@pytest.mark.parametrize("steps", [2, 3, 4, 5])
def test_the_boundary_is_the_root_of_the_discriminant(gamma, steps):
    exact = float(symbolic.boundary_decay(gamma, steps).evalf(30))
    problem = AverageCase.limit(float(sp.Rational(gamma)), steps)
    np.testing.assert_allclose(regimes.boundary_decay(problem, steps), exact, rtol=1e-11)
    ratio = float(sp.Rational(gamma))
    np.testing.assert_allclose(regimes.boundary_noise(ratio, steps, signal=2.0), 2 * exact / ratio, rtol=1e-11)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 7.0])
def test_two_steps_have_a_formula(gamma):
    expected = 2 / 3 * (np.sqrt((1 + gamma) ** 2 + 3 * gamma) - 1 - gamma)
    found = regimes.boundary_decay(AverageCase.limit(gamma, 2), 2)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", [2, 3, 6, 7])
def test_zeros_turn_complex_at_the_boundary_of_any_spectrum(seed, steps):
    edge = regimes.boundary_decay(drawn(seed), steps)
    below, above = (drawn(seed, noise=edge * by) for by in (0.99, 1.01))
    assert not regimes.needs_decay(below, steps)
    assert regimes.needs_decay(above, steps)
    assert np.abs(regimes.polynomial_zeros(below, steps).imag).max() < 1e-6
    assert np.abs(regimes.polynomial_zeros(above, steps).imag).max() > 1e-3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", [1, 2, 5, 6])
def test_below_the_boundary_steps_alone_reach_the_least_risk(seed, steps):
    edge = min(regimes.boundary_decay(drawn(seed), steps), 1.0)
    problem = drawn(seed, noise=0.7 * edge)
    etas = regimes.best_steps_alone(problem, steps)
    np.testing.assert_allclose(
        schedules.risk(problem, etas).to_float(), schedules.best_risk(problem, steps), rtol=1e-12
    )
    np.testing.assert_allclose(np.sort(1 / etas), regimes.polynomial_zeros(problem, steps).real, rtol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_the_polynomial_zeros_make_the_least_risk_even_where_complex(seed):
    problem = drawn(seed, noise=1.0)
    for steps in (2, 4, 7):
        places = regimes.polynomial_zeros(problem, steps)
        P = np.prod(1 - problem.nodes[:, None] / places, axis=1).real
        s, w = problem.nodes, problem.weights
        value = np.sum(w * (P**2 + problem.noise * (1 - P) ** 2 / s))
        np.testing.assert_allclose(value, schedules.best_risk(problem, steps), rtol=1e-9)


@pytest.mark.parametrize(("gamma", "variance", "steps", "expected", "different"), COALESCED)
def test_beyond_the_boundary_real_steps_coalesce(gamma, variance, steps, expected, different):
    problem = AverageCase.limit(gamma, steps, sigma=variance**0.5)
    assert regimes.needs_decay(problem, steps)
    etas = descent.best_without_decay(problem, steps)
    found = schedules.risk(problem, etas).to_float()
    assert abs(found - expected) < 1e-6
    assert found > proportional.best_risk(steps, gamma=gamma, sigma=variance**0.5) + 1e-5
    assert np.count_nonzero(np.diff(etas) < -1e-3 * etas[1:]) + 1 == different
    constant = descent.best_constant(problem, steps)
    assert schedules.risk(problem, np.full(steps, constant)).to_float() >= found - 1e-12


def test_below_it_descent_finds_what_the_polynomial_has():
    problem = AverageCase.limit(0.5, 4, sigma=0.05**0.5)
    etas = descent.best_without_decay(problem, 4)
    np.testing.assert_allclose(etas, regimes.best_steps_alone(problem, 4), rtol=1e-5)
    np.testing.assert_allclose(schedules.risk(problem, etas).to_float(), 0.0684375912, rtol=1e-9)


def test_complex_zeros_asked_for_as_steps_name_the_remedy():
    problem = AverageCase.limit(0.5, 4, sigma=1.0)
    with pytest.raises(ValueError, match=r"complex zeros.*weight decay 0.5"):
        regimes.best_steps_alone(problem, 4)
    assert regimes.boundary_decay(problem, 1) == np.inf
    np.testing.assert_allclose(regimes.best_steps_alone(problem, 1), [0.5])


def test_with_any_noise_many_steps_need_the_decay():
    edges = [regimes.boundary_noise(0.5, steps) for steps in (2, 4, 8, 16, 32, 64)]
    assert np.all(np.diff(edges) < 0)
    assert edges[-1] < 1e-8


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
def test_the_risk_as_a_rational_function(steps):
    formula = symbolic.best_risk(steps)
    for gamma, variance in (("1/2", "1"), ("1", "1/4"), ("3", "2"), ("1/3", "0")):
        ratio = sp.Rational(gamma)
        exact = formula.subs({"gamma": ratio, "delta": ratio * sp.Rational(variance)})
        found = proportional.best_risk(steps, gamma=float(ratio), sigma=float(sp.Rational(variance)) ** 0.5)
        np.testing.assert_allclose(found, float(exact), rtol=1e-13)


def test_the_square_is_an_identity():
    plain, completed = symbolic.square()
    assert sp.simplify(plain - completed) == 0
