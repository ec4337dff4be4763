"""F, G and their derivatives under momentum, against roots at 300 digits, in every case of the roots."""

import functools
import itertools

import mpmath as mp
import numpy as np
import pytest

from metagrad.theory import Spectrum, quadratic
from metagrad.theory.momentum import (
    d2_log_objective,
    d2_objective,
    d_log_objective,
    d_objective,
    log_objective,
    log_slope,
    objective,
    symbolic,
    weighted_sum,
)
from metagrad.theory.momentum.iterates import RULES
from metagrad.theory.momentum.roots import double_root_step, roots

WEIGHTS = (1.0, 2.0, 0.5)


def moved(step, by):
    return float(step) * (1 + by)


def cases(rule):
    """Step sizes for the eigenvalue 1, and beta: every kind of roots."""
    first, second = (float(h) for h in double_root_step(rule, 0.81))
    return {
        "complex": (0.9, 0.81),
        "real": (first / 2, 0.81),
        "as good as double": (first, 0.81),
        "near double, real": (moved(first, -1e-12), 0.81),
        "near double, complex": (moved(first, 1e-9), 0.81),
        "close to double": (moved(first, 1e-4), 0.81),
        "double, negative": (moved(second, 1e-13), 0.81),
        "negative": ((second + 0.01), 0.81),
        "outside of stability": (4.5, 0.81),
        "no momentum": (0.5, 0.0),
        "little momentum": (0.5, 1e-30),
        "undamped": (1.1, 1.0),
        "negative momentum": (0.3, -0.5),
    }


CASES = [pytest.param(rule, name, id=f"{rule}, {name}") for rule in RULES for name in cases("heavy_ball")]


@functools.cache
def functions(rule):
    """Return r_t and its derivatives as functions of h, beta and t; that sympy writes them takes most of the time."""
    return [symbolic.numeric(x) for x in symbolic.derivatives(rule)]


def references(rule, eigenvalues, eta, beta, t):
    """F and its derivatives in the order of the functions, at 300 digits, from r_t for symbolic t by sympy."""
    total = [mp.mpf(0)] * 6
    for eigenvalue, c in zip(eigenvalues, WEIGHTS, strict=False):
        lam = mp.mpf(eigenvalue)
        h, b = lam * mp.mpf(eta), mp.mpf(beta)
        if beta == 0:  # z2 = 0: its power is no polynomial where sympy divides by it
            b = mp.mpf(10) ** -200
        r, r_h, r_b, r_hh, r_hb, r_bb = (mp.re(f(mp.mpc(h), b, t)) for f in functions(rule))
        r_e, r_ee, r_eb = lam * r_h, lam**2 * r_hh, lam * r_hb
        terms = (
            r * r,
            2 * r * r_e,
            2 * r * r_b,
            2 * (r_e**2 + r * r_ee),
            2 * (r_e * r_b + r * r_eb),
            2 * (r_b**2 + r * r_bb),
        )
        total = [x + mp.mpf(c) ** 2 * lam / 2 * term for x, term in zip(total, terms, strict=True)]
    return total


def relative(found, right):
    return 0.0 if found == right else float(abs(found - right) / abs(right))


@pytest.mark.parametrize(("rule", "name"), CASES)
@pytest.mark.parametrize("t", [1, 7, 100_000])
def test_values_gradients_and_hessians_have_all_their_digits(rule, name, t):
    eta, beta = cases(rule)[name]
    eigenvalues = [1.0, 0.3, 0.02]
    spectrum = Spectrum.diagonal(eigenvalues, WEIGHTS)
    at = rule, spectrum, eta, beta, t
    with mp.workdps(900 if beta == 0 else 300):
        F = references(rule, eigenvalues, eta, beta, t)
        for number, right in zip([objective(*at), *d_objective(*at), *d2_objective(*at)], F, strict=True):
            if abs(right) < mp.mpf(10) ** -100 * F[0]:  # zero, as at t = 1 in beta
                assert number.sign == 0 or number.log < float(mp.log(F[0])) - 200
                continue
            assert float(number.sign) == mp.sign(right)
            log = mp.log(abs(right))
            assert abs(mp.mpf(float(number.log)) - log) < 4e-15 * max(1, abs(log))
        rates = [F[1] / F[0], F[2] / F[0]]
        pairs = zip(F[3:], [(0, 0), (0, 1), (1, 1)], strict=True)
        curvatures = [x / F[0] - rates[a] * rates[b] for x, (a, b) in pairs]
        G = [mp.log(F[0]), *rates, *curvatures]
        found = [log_objective(*at), *d_log_objective(*at), *d2_log_objective(*at)]
        for number, right in zip(found, G, strict=True):
            assert abs(mp.mpf(float(number)) * t - right) <= 1e-12 * abs(right) + mp.mpf(10) ** -100


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("away", [0.0, 1e-15, -1e-13, 1e-10, -1e-6, 1e-3])
def test_a_single_mode_next_to_its_double_root_at_a_million_steps(rule, away):
    eta = moved(double_root_step(rule, 0.81)[0], away)
    at = rule, Spectrum.diagonal([1.0], [1.0]), eta, 0.81, 10**6
    with mp.workdps(150):
        F = references(rule, [1.0], eta, 0.81, 10**6)
        second = F[3] / F[0] - (F[1] / F[0]) ** 2
        assert relative(mp.mpf(float(d_log_objective(*at).eta)) * 10**6, F[1] / F[0]) < 1e-14
        assert relative(mp.mpf(float(d_log_objective(*at).beta)) * 10**6, F[2] / F[0]) < 1e-14
        assert relative(mp.mpf(float(d2_log_objective(*at).eta_eta)) * 10**6, second) < 1e-13


@pytest.mark.parametrize("rule", RULES)
def test_the_recursion_in_fractions(rule):
    polynomials = symbolic.steps_of(rule, 9)
    h, beta = symbolic.symbols()["h"], symbolic.symbols()["beta"]
    for (step, decay), t in itertools.product([(0.5, 0.25), (1.0, 0.5), (3.75, 0.75), (0.25, 0.25)], range(1, 10)):
        right = float(polynomials[t].subs({h: step, beta: decay})) ** 2 / 2
        found = objective(rule, Spectrum.diagonal([1.0], [1.0]), step, decay, t).to_float()
        assert found == pytest.approx(right, rel=1e-14, abs=0)


@pytest.mark.parametrize("rule", RULES)
def test_without_momentum_it_is_gradient_descent(rule):
    spectrum, eta = Spectrum.diagonal([0.1, 0.7, 2.0], WEIGHTS), np.linspace(0.1, 1.6, 7)
    at = spectrum, eta, 1000
    assert objective(rule, spectrum, eta, 0.0, 1000).log == pytest.approx(quadratic.objective(*at).log, rel=1e-13)
    found = d_log_objective(rule, spectrum, eta, 0.0, 1000).eta
    assert found == pytest.approx(quadratic.d_log_objective(*at), rel=1e-11)
    found = d2_log_objective(rule, spectrum, eta, 0.0, 1000).eta_eta
    assert found == pytest.approx(quadratic.d2_log_objective(*at), rel=1e-9)


def test_horizons_batches_and_grids_broadcast():
    spectrum = Spectrum(np.array([[0.5, 1.0], [0.2, 2.0], [1.0, 1.5]]), np.ones(2))
    eta, beta, t = np.array([0.1, 0.4])[:, None, None], np.array([[0.5]]), np.array([3, 10, 10])
    found = d_log_objective("heavy_ball", spectrum, eta, beta, t)
    assert found.beta.shape == (2, 1, 3)
    for (i, j), step in zip(itertools.product(range(2), range(3)), np.repeat([0.1, 0.4], 3), strict=True):
        one = Spectrum(spectrum.eigenvalues[j], np.ones(2))
        alone = d_log_objective("heavy_ball", one, step, 0.5, int(t[j]))
        assert found.eta[i, 0, j] == pytest.approx(float(alone.eta), rel=1e-14)
        assert found.beta[i, 0, j] == pytest.approx(float(alone.beta), rel=1e-14)


def test_a_floor_under_the_norm_leaves_a_slope_below_the_range_of_floats():
    spectrum = Spectrum.diagonal([0.0, 1.0], [1.0, 1.0])
    slope = log_slope("heavy_ball", spectrum, 0.9, 0.25, 3000, measure="squared_norm")
    assert slope.eta.log10 < -1000
    assert d_log_objective("heavy_ball", spectrum, 0.9, 0.25, 3000, measure="squared_norm").eta == 0


def test_a_loss_of_zero_has_no_logarithm():
    at = "nesterov", Spectrum.diagonal([1.0], [1.0]), 1.0, 0.5, 5
    assert objective(*at).sign == 0
    assert np.isneginf(log_objective(*at))
    assert np.isnan(d_log_objective(*at).eta)


def test_too_many_steps_are_refused():
    with pytest.raises(ValueError, match=r"steps is 134217729; expected integers from 1 to 2\^27"):
        objective("heavy_ball", Spectrum.diagonal([1.0], [1.0]), 0.5, 0.5, 2**27 + 1)


@pytest.mark.parametrize("rule", RULES)
def test_the_kinds_of_roots(rule):
    first, second = double_root_step(rule, 0.81)
    found = roots(rule, np.array([first * 0.9, (first + second) / 2, second * 1.1]), 0.81)
    assert found.real.tolist() == [True, False, True]
    assert found.large[0] > found.small[0] > 0
    assert found.large[2] < 0
    product = 0.81 if rule == "heavy_ball" else 0.81 * (1 - first * 0.9)
    assert found.large[0] * found.small[0] == pytest.approx(product, rel=1e-14)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("beta", "modes"), [(2.0, [0.0, 1.0]), (1e30, [0.5, 1.0]), (-1.5, [1e-14, 1.0])])
def test_a_beta_above_one_that_cancels_all_digits_is_refused(rule, beta, modes):
    spectrum = Spectrum.diagonal(modes, [1.0, 1.0])
    with pytest.raises(ValueError, match=r"beta is .* beside h = .*; expected a number within 1"):
        d_objective(rule, spectrum, 0.5, beta, 20, measure="squared_norm")
    with pytest.raises(ValueError, match=r"weighted_sum: beta is .* beside h = "):
        weighted_sum(rule, spectrum, 0.5, beta, 20, 1.0, measure="squared_norm")
    objective(rule, spectrum, 0.5, min(1.0, beta, key=abs), 20, measure="squared_norm")
