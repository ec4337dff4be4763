"""What sympy derives from the recursion, against the printed formulas and against the numbers of `quadratic`."""

from fractions import Fraction
from functools import cache

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from metagrad.theory import quadratic as q
from metagrad.theory.quadratic import Spectrum, symbolic
from tests.theory.reference import MEASURES, log_error, relative_error

DIMENSIONS = (1, 2, 3)
ERROR = 1e-12
numeric = cache(symbolic.numeric)  # sympy takes longer to write a function than mpmath to call it


def dyadic(rng, low: float, high: float) -> Fraction:
    """A random rational that is also exactly a float."""
    return Fraction(int(rng.integers(int(low * 256), int(high * 256))), 256)


def random_point(seed: int, d: int):
    """eta, t, lambda, c at random rationals, as exact numbers for sympy and as floats for `quadratic`."""
    rng = np.random.default_rng([seed, d])
    eigenvalues = [dyadic(rng, 0.25, 3) for _ in range(d)]
    weights = [dyadic(rng, 0.25, 4) for _ in range(d)]
    eta, steps = dyadic(rng, 0.01, 2) / 2, int(rng.integers(1, 200))
    return eta, steps, eigenvalues, weights


def evaluate(expression, d, eta, steps, eigenvalues, weights, **more):
    s = symbolic.symbols(d)
    extra = tuple(s[key] for key in more)
    arguments = (s["eta"], s["t"], *s["eigenvalues"], *s["weights"], *extra)
    numbers = [mp.mpf(x.numerator) / x.denominator for x in (*eigenvalues, *weights, *more.values())]
    return numeric(expression, arguments)(mp.mpf(eta.numerator) / eta.denominator, steps, *numbers)


def as_floats(eigenvalues, weights) -> Spectrum:
    return Spectrum([float(x) for x in eigenvalues], [float(x) for x in weights])


def test_the_recursion_is_solved():
    s = symbolic.symbols(1)
    assert sp.simplify(symbolic.iterate() - (1 - s["eta"] * s["eigenvalues"][0]) ** s["t"]) == 0


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("d", DIMENSIONS)
def test_the_printed_formulas_are_the_derived_ones(d, measure):
    for name, difference in symbolic.identities(d, measure).items():
        assert symbolic.is_zero(difference), name


def test_a_wrong_formula_is_not_reduced_to_zero():
    difference = symbolic.identities(2)
    assert not symbolic.is_zero(difference["d2G"] + symbolic.last_iterate(2)["dG"])
    assert not symbolic.is_zero(difference["dF"] + symbolic.symbols(2)["t"])


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("seed", range(4))
def test_the_last_iterate(seed, d, measure):
    point, derived = random_point(seed, d), symbolic.last_iterate(d, measure)
    at = (as_floats(*point[2:]), float(point[0]), point[1])
    for name, f in (("F", q.objective), ("dF", q.d_objective), ("d2F", q.d2_objective)):
        assert log_error(f(*at, measure=measure), evaluate(derived[name], d, *point)) < ERROR, name
    for name, g in (("G", q.log_objective), ("dG", q.d_log_objective), ("d2G", q.d2_log_objective)):
        assert relative_error(g(*at, measure=measure), evaluate(derived[name], d, *point)) < ERROR, name


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("rho", [Fraction(1, 2), Fraction(1), Fraction(5, 4)])
def test_the_weighted_sum(rho, d, measure):
    point, derived = random_point(7, d), symbolic.weighted(d, measure)
    at = (as_floats(*point[2:]), float(point[0]), point[1], float(rho))
    assert log_error(q.weighted_sum(*at, measure=measure), evaluate(derived["Phi"], d, *point, rho=rho)) < ERROR
    assert log_error(q.d_weighted_sum(*at, measure=measure), evaluate(derived["dPhi"], d, *point, rho=rho)) < ERROR


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_held_gradient(steps, measure):
    eta, _, *modes = random_point(8, 2)
    derived = symbolic.stop_gradient(2, steps, measure)
    at = (as_floats(*modes), float(eta), steps)
    for name, f in (
        ("dF", q.stop_gradient_d_objective),
        ("dG", q.stop_gradient_d_log_objective),
        ("full", q.d_objective),
    ):
        assert log_error(f(*at, measure=measure), evaluate(derived[name], 2, eta, steps, *modes)) < ERROR, name


@pytest.mark.parametrize("measure", MEASURES)
def test_the_schedule(measure):
    _, _, *modes = random_point(9, 3)
    derived, etas = (
        symbolic.schedule(3, 4, measure),
        [Fraction(1, 4), Fraction(-1, 8), Fraction(5, 8), Fraction(3, 16)],
    )
    s, symbols = symbolic.symbols(3), sp.symbols("eta1:5", real=True)
    numbers = [mp.mpf(x.numerator) / x.denominator for x in (*etas, *modes[0], *modes[1])]

    def value(name):
        return numeric(derived[name], (*symbols, *s["eigenvalues"], *s["weights"]))(*numbers)

    at = (as_floats(*modes), [float(x) for x in etas])
    assert log_error(q.schedule_objective(*at, measure=measure), value("F")) < ERROR
    slopes = q.d_schedule_objective(*at, measure=measure)
    for k in range(4):
        assert log_error(slopes[k], value(f"dF{k + 1}")) < ERROR


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("steps", [1, 7, 200])
def test_the_minimiser_of_two_eigenvalues(steps, measure):
    _, _, (_, L), weights = random_point(10, 2)
    eigenvalues = (L / 4, L)
    root = evaluate(symbolic.two_eigenvalue_minimiser(measure), 2, Fraction(0), steps, eigenvalues, weights)
    spectrum = as_floats(eigenvalues, weights)
    assert relative_error(q.minimiser(spectrum, steps, measure=measure), root) < 2e-15
    assert relative_error(q.two_eigenvalue_minimiser(spectrum, steps, measure=measure), root) < 2e-15


def test_no_modes_is_refused():
    with pytest.raises(ValueError, match="symbols: d is 0"):
        symbolic.symbols(0)
