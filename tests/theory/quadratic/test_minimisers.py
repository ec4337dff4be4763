"""The best step size at finite t against 60-digit roots, and its approach to 2/(alpha + L)."""

import mpmath as mp
import numpy as np
import pytest

from metagrad.theory import quadratic as q
from metagrad.theory.quadratic import Spectrum
from tests.theory.reference import MEASURES


def exact_root(eigenvalues, weights, steps, measure, near):
    """The zero of the balance of shrinking and overshooting modes, in 60 digits, close to `near`."""
    n, power = 2 * steps - 1, 2 if measure == "loss" else 1
    modes = [(mp.mpf(c) * mp.mpf(h) ** power, mp.mpf(h)) for c, h in zip(weights, eigenvalues, strict=True)]

    def balance(eta):
        sides = [mp.fsum(g * abs(1 - eta * h) ** n for g, h in modes if sign * (1 - eta * h) > 0) for sign in (1, -1)]
        return (mp.log(sides[0]) - mp.log(sides[1])) / n

    bracket = (near * (1 - mp.mpf(10) ** -9), near * (1 + mp.mpf(10) ** -9))
    return mp.findroot(balance, bracket, solver="anderson", tol=1e-70, verify=False)


@pytest.mark.parametrize("seed", range(25))
def test_against_sixty_digit_roots(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(2, 8))
    eigenvalues, weights = rng.uniform(0.01, 3, d) * 10.0 ** rng.integers(-3, 4), 10 ** rng.uniform(-4, 4, d)
    spectrum = Spectrum(eigenvalues, weights)
    for steps in (1, 2, 80, 10**6, 10**9):
        for measure in MEASURES:
            root = float(q.minimiser(spectrum, steps, measure=measure))
            exact = exact_root(eigenvalues, weights, steps, measure, root)
            assert abs(root - exact) / exact < 2e-15
            if d == 2:
                closed = float(q.two_eigenvalue_minimiser(spectrum, steps, measure=measure))
                assert abs(closed - exact) / exact < 2e-15


@pytest.mark.parametrize("measure", MEASURES)
def test_the_slopes_change_sign_there_and_nowhere_else(measure):
    rng = np.random.default_rng(1)
    spectrum = Spectrum(rng.uniform(0.1, 5, (50, 4)), rng.uniform(0.01, 1, (50, 4)))
    steps = np.array([1, 3, 80, 10**6])[:, None]
    root = q.minimiser(spectrum, steps, measure=measure)
    assert root.shape == (4, 50)
    for scale in (-1.0, 0.5, 1 - 1e-9, 1 + 1e-9, 1.5, 10.0):
        for slope in (q.d_objective(spectrum, scale * root, steps, measure=measure).sign,):
            assert np.all(slope == (1 if scale > 1 else -1))
        assert np.all(np.sign(q.d_log_objective(spectrum, scale * root, steps, measure=measure)) == np.sign(scale - 1))


def test_one_step_has_the_exact_line_search():
    spectrum = Spectrum([1.0, 2.0, 5.0], [1.0, 4.0, 0.5])
    exact = np.sum(spectrum.weights * spectrum.eigenvalues**2) / np.sum(spectrum.weights * spectrum.eigenvalues**3)
    assert float(q.minimiser(spectrum, 1)) == pytest.approx(exact, rel=1e-15)


@pytest.mark.parametrize("steps", [1, 80, 10**9])
def test_one_or_repeated_eigenvalues_and_modes_that_do_not_count(steps):
    assert q.minimiser(Spectrum([4.0], [1.0]), steps) == 0.25
    assert q.minimiser(Spectrum([4.0, 4.0], [1.0, 2.0]), steps) == 0.25
    seen = Spectrum([0.0, 1.0, 3.0, 100.0], [7.0, 3.0, 1.0, 0.0])
    assert float(q.minimiser(seen, steps)) == float(q.minimiser(Spectrum([1.0, 3.0], [3.0, 1.0]), steps))
    assert (float(seen.alpha), float(seen.L)) == (1.0, 3.0)


def test_an_extreme_condition_number():
    root = float(q.minimiser(Spectrum([1e-12, 1.0], [1.0, 1.0]), 10**6))
    assert root == pytest.approx(
        float(q.two_eigenvalue_minimiser(Spectrum([1e-12, 1.0], [1.0, 1.0]), 10**6)), rel=1e-15
    )


@pytest.mark.parametrize("measure", MEASURES)
def test_the_limit_and_the_first_correction(measure):
    spectrum = Spectrum([0.3, 1.0, 1.7, 1.7 * (1 + 1e-15)], [2.0, 0.1, 5.0, 5.0])
    limit = q.limit_minimiser(spectrum)
    assert limit == pytest.approx(1.0, rel=1e-15)
    errors = []
    for steps in (100, 1000, 10_000):
        gap = q.minimiser(spectrum, steps, measure=measure) - limit
        errors.append(abs(gap - q.first_correction(spectrum, steps, measure=measure)) / abs(gap))
    assert errors[0] < 0.02
    assert errors[1] < errors[0] / 8
    assert errors[2] < errors[1] / 8


def test_the_curvature_at_the_minimiser_grows_like_its_formula():
    spectrum = Spectrum([0.3, 1.0, 1.7], [2.0, 0.1, 5.0])
    for steps, error in ((100, 0.1), (1000, 0.01), (100_000, 1e-4)):
        exact = q.d2_log_objective(spectrum, q.minimiser(spectrum, steps), steps)
        assert float(q.curvature_at_minimiser(spectrum, steps)) == pytest.approx(float(exact), rel=error)


def test_the_log_objective_is_not_convex():
    assert q.d2_log_objective(Spectrum([1.0, 2.0], [1.0, 1.0]), np.linspace(0.5, 1, 2001), 50).min() < -60
