"""How large the slope of the log objective is with momentum: the theorems in random cases, and where there is none."""

import numpy as np
import pytest

from metagrad.theory import Spectrum
from metagrad.theory.momentum import d_log_objective, log_objective, objective, symbolic
from metagrad.theory.momentum.bounds import (
    all_complex,
    double_root_slopes,
    gradient_bound,
    mode_bound,
    optimum_growth,
    pole,
)
from metagrad.theory.momentum.optimal import polyak
from metagrad.theory.momentum.roots import double_root_step

ONE = Spectrum(np.ones((2000, 1)), np.ones((2000, 1)))


@pytest.mark.parametrize("rule", ["heavy_ball", "nesterov"])
@pytest.mark.parametrize("t", [1, 2, 3, 10, 100, 1000, 10**5])
def test_a_mode_with_real_roots_is_below_its_bound_which_is_tight(rule, t):
    draw = np.random.default_rng([t, 1])
    beta = draw.uniform(0.01, 0.99, 2000)
    low, high = double_root_step(rule, beta)
    below = low * (1 - 10 ** draw.uniform(-12, 0, 2000))
    beyond = high * (1 + 10 ** draw.uniform(-12, 1, 2000))
    h = np.where(draw.random(2000) < 0.5, beyond if rule == "heavy_ball" else below, below)
    slope, bound = d_log_objective(rule, ONE, h, beta, t), mode_bound(rule, h, beta, t)
    assert np.isfinite(bound.eta).mean() > 0.95
    ratio = [np.nanmax(np.abs(s) / b) for s, b in zip(slope, bound, strict=True)]
    assert max(ratio) <= 1 + 1e-12
    assert ratio[0] > 0.95
    assert ratio[1] > 0.8 or t == 1  # where beta does not enter


@pytest.mark.parametrize("sign", [1, -1])
def test_at_a_double_root_the_slope_grows_like_t(sign):
    beta, t = 0.25, np.array([1, 2, 5, 100, 10**4, 10**6])
    h = (1 - sign * 0.5) ** 2
    one = Spectrum.diagonal([1.0], [1.0])
    found, printed = d_log_objective("heavy_ball", one, h, beta, t), double_root_slopes(beta, t, sign=sign)
    assert found.eta == pytest.approx(printed.eta, rel=1e-14)
    assert found.beta == pytest.approx(printed.beta, rel=1e-14)
    bound = mode_bound("heavy_ball", h, beta, t)
    assert abs(found.eta[-1]) / bound.eta[-1] == pytest.approx(1 / 3, rel=1e-5)
    assert abs(found.beta[-1]) / bound.beta[-1] == pytest.approx(2 / 3, rel=1e-5)


def test_the_slope_of_a_quadratic_is_below_a_polynomial_while_one_mode_is_real():
    draw, seen, largest = np.random.default_rng(5), 0, np.zeros(2)
    for _ in range(400):
        d, t = int(draw.integers(1, 6)), int(10 ** draw.uniform(0, 4))
        spectrum = Spectrum.diagonal(np.exp(draw.uniform(-4, 1, d)), draw.standard_normal(d))
        beta, eta = draw.uniform(0.01, 0.99), np.exp(draw.uniform(-3, 2)) / spectrum.L
        bound, slope = gradient_bound(spectrum, eta, beta, t), d_log_objective("heavy_ball", spectrum, eta, beta, t)
        if np.isfinite(bound.eta):
            seen += 1
            largest = np.maximum(largest, np.abs(slope) / np.array(bound))
        else:
            assert not np.isfinite(bound.beta)
            assert all_complex(spectrum, eta, beta)
    assert seen > 200
    assert np.all(largest <= 1 + 1e-12)
    assert np.all(largest > 0.9)


def test_at_polyaks_parameters_the_slope_grows_by_the_printed_factor():
    eigenvalues = np.linspace(1.0, 100.0, 30)
    spectrum = Spectrum.diagonal(eigenvalues, np.ones(30))
    eta, beta, _ = polyak(1.0, 100.0)
    limit = optimum_growth(spectrum)
    for t in (3200, 10**5):
        slope = d_log_objective("heavy_ball", spectrum, eta, beta, t)
        assert float(slope.eta) / t == pytest.approx(float(limit.eta), rel=3 / t + 2e-5)
        assert float(slope.beta) / t == pytest.approx(float(limit.beta), rel=3 / t + 2e-5)


@pytest.mark.parametrize("ratio", [1.5, 4.0, 6.8])
def test_two_modes_can_vanish_together_and_there_is_no_bound_next_to_it(ratio):
    eta, beta = pole(1.0, ratio)
    assert 0 < beta < 1
    spectrum = Spectrum.diagonal([1.0, ratio], [1.0, 1.0])
    assert all_complex(spectrum, eta, beta)
    assert objective("heavy_ball", spectrum, eta, beta, 2).log < -60
    slopes = [abs(float(d_log_objective("heavy_ball", spectrum, eta * (1 + x), beta, 2).eta)) for x in (1e-3, 1e-6)]
    assert slopes[1] == pytest.approx(1000 * slopes[0], rel=0.02)
    assert log_objective("heavy_ball", spectrum, eta, beta, 2) < -30


def test_sympy_finds_the_same():
    assert all(x == 0 for t in (1, 2, 4) for x in symbolic.double_root(t))
    assert symbolic.pole_is_a_zero() == (0, 0)


@pytest.mark.parametrize("rule", ["heavy_ball", "nesterov", "nesterov_ahead"])
def test_sympy_derives_the_generating_functions_of_r_and_its_derivatives(rule):
    assert set(symbolic.identities(rule).values()) == {0}


@pytest.mark.parametrize("rule", ["heavy_ball", "nesterov", "nesterov_ahead"])
def test_the_series_of_the_generating_function_are_the_steps(rule):
    import sympy as sp

    x = symbolic.symbols()["x"]
    series = sp.series(symbolic.generating(rule), x, 0, 5).removeO()
    assert all(sp.expand(series.coeff(x, k) - r) == 0 for k, r in enumerate(symbolic.steps_of(rule, 4)))


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="expected 1 or -1"):
        double_root_slopes(0.5, 3, sign=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        double_root_slopes(1.0, 3)
    with pytest.raises(ValueError, match="expected a number between 0 and L"):
        pole(2.0, 1.0)
    with pytest.raises(ValueError, match="expected eta above 0"):
        gradient_bound(Spectrum.diagonal([1.0], [1.0]), -0.1, 0.5, 3)
