"""F, F', F'' and G, G', G'' against 60 digits and exact fractions, and at every corner."""

import subprocess
import sys

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad.theory import quadratic as q
from metagrad.theory.quadratic import Spectrum
from tests.theory.reference import MEASURES, condition, log_error, random_cases, relative_error, run_exactly, to_mp

HORIZONS = (1, 2, 5, 80, 1001, 10**5, 10**6, 10**9)
VALUE_ERROR = 4e-15
SLOPE_ERROR = 1e-14


@pytest.mark.parametrize("case", random_cases(1, 150, HORIZONS))
def test_against_sixty_digits(case):
    at, t = (Spectrum(case.eigenvalues, case.weights), case.eta, case.steps), case.steps
    F, terms, d2F = case.F(), case.dF_terms(), case.d2F()
    dF, cancels = mp.fsum(terms), condition(terms)
    assert log_error(q.objective(*at, measure=case.measure), F) < VALUE_ERROR
    assert log_error(q.d_objective(*at, measure=case.measure), dF) < VALUE_ERROR * cancels
    assert log_error(q.d2_objective(*at, measure=case.measure), d2F) < VALUE_ERROR
    G, dG = mp.log(F) / t, dF / (t * F)
    if abs(G) > 1e-3:  # the relative error of a logarithm that crosses zero has no bound
        assert relative_error(q.log_objective(*at, measure=case.measure), G) < VALUE_ERROR * max(1, 1 / abs(G))
    assert relative_error(q.d_log_objective(*at, measure=case.measure), dG) < SLOPE_ERROR * cancels
    curvature = [d2F / (t * F), -t * dG**2]
    error = relative_error(q.d2_log_objective(*at, measure=case.measure), mp.fsum(curvature))
    squares = abs(d2F / (t * F)) / (2 * t - 1) / abs(mp.fsum(curvature))
    assert error < SLOPE_ERROR * (10 + float(squares) + cancels)


@pytest.mark.parametrize("case", random_cases(2, 40, (1, 2, 3, 7, 12), largest_d=3))
def test_against_the_recursion_in_exact_fractions(case):
    at, exact = (Spectrum(case.eigenvalues, case.weights), case.eta, case.steps), run_exactly(case)
    assert log_error(q.objective(*at, measure=case.measure), to_mp(exact["F"])) < VALUE_ERROR
    slope = q.d_objective(*at, measure=case.measure)
    assert log_error(slope, to_mp(exact["dF"])) < VALUE_ERROR * condition(case.dF_terms())


@pytest.mark.parametrize("measure", MEASURES)
def test_a_mode_that_vanishes_contributes_nothing(measure):
    both = Spectrum([1.0, 4.0], [1.0, 2.0])
    one = Spectrum([1.0], [1.0])
    for steps in (1, 2, 80):
        for f in (q.objective, q.d_objective):
            x, y = f(both, 0.25, steps, measure=measure), f(one, 0.25, steps, measure=measure)
            assert (x.sign, x.log) == (y.sign, y.log)
        for g in (q.log_objective, q.d_log_objective):
            assert g(both, 0.25, steps, measure=measure) == g(one, 0.25, steps, measure=measure)
    assert q.d2_objective(both, 0.25, 1).to_float() == pytest.approx(1.0 + 2.0 * 4.0**3, rel=1e-14)
    assert q.d2_log_objective(both, 0.25, 80) == pytest.approx(q.d2_log_objective(one, 0.25, 80), rel=1e-14)


def test_where_every_mode_vanishes_the_loss_is_zero_and_its_log_undefined():
    spectrum = Spectrum([4.0, 4.0], [1.0, 2.0])
    assert q.objective(spectrum, 0.25, 3).sign == 0
    assert q.d_objective(spectrum, 0.25, 3).sign == 0
    assert q.d2_objective(spectrum, 0.25, 3).sign == 0
    assert q.d2_objective(spectrum, 0.25, 1).to_float() == pytest.approx(3 * 4.0**3, rel=1e-14)
    assert np.isneginf(q.log_objective(spectrum, 0.25, 3))
    assert np.isnan(q.d_log_objective(spectrum, 0.25, 3))
    assert np.isnan(q.d2_log_objective(spectrum, 0.25, 3))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("steps", [1, 10**6])
def test_all_weights_zero(measure, steps):
    spectrum = Spectrum([1.0, 2.0], [0.0, 0.0])
    at = (spectrum, 0.3, steps)
    assert [float(f(*at, measure=measure).sign) for f in (q.objective, q.d_objective, q.d2_objective)] == [0, 0, 0]
    assert np.isneginf(q.log_objective(*at, measure=measure))
    assert np.isnan(q.d_log_objective(*at, measure=measure))
    assert np.isnan(q.d2_log_objective(*at, measure=measure))
    assert np.isnan(q.minimiser(spectrum, steps, measure=measure))


def test_singular_h_adds_nothing_to_the_loss_and_a_floor_to_the_norm():
    full, regular = Spectrum([0.0, 1.0, 3.0], [5.0, 1.0, 1.0]), Spectrum([1.0, 3.0], [1.0, 1.0])
    for f in (q.objective, q.d_objective, q.d2_objective):
        x, y = f(full, 0.7, 80), f(regular, 0.7, 80)
        assert (x.sign, x.log) == (y.sign, y.log)
    assert q.d_log_objective(full, 0.7, 80) == q.d_log_objective(regular, 0.7, 80)
    assert q.objective(full, 0.5, 10**6, measure="squared_norm").to_float() == pytest.approx(5.0, rel=1e-14)
    slope = q.d_objective(full, 0.7, 80, measure="squared_norm")
    assert slope.log == pytest.approx(q.d_objective(regular, 0.7, 80, measure="squared_norm").log, rel=1e-14)
    decays = q.d_log_objective(full, 0.6, 100, measure="squared_norm")
    exact = -2 * (0.4**199 - 3 * 0.8**199) / 5.0
    assert decays == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 80, 10**9])
def test_no_step_at_eta_zero(steps):
    spectrum = Spectrum([0.5, 2.0], [3.0, 1.0])
    assert q.objective(spectrum, 0.0, steps).to_float() == pytest.approx(0.75 + 1.0, rel=1e-15)
    assert q.d_objective(spectrum, 0.0, steps).to_float() == pytest.approx(-steps * (0.75 + 4.0), rel=1e-14)


@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)), min_size=1, max_size=5),
    st.floats(-0.5, 0.5),
    st.integers(1, 10**6),
    st.sampled_from(MEASURES),
)
def test_repeating_permuting_and_rescaling(modes, eta, steps, measure):
    values, weights = (np.array(x) for x in zip(*modes, strict=True))
    spectrum = Spectrum(values, weights)
    split = Spectrum(np.concatenate([values, values])[::-1], np.concatenate([weights, weights])[::-1] / 2)
    scaled = Spectrum(values * 4, weights)
    F = q.objective(spectrum, eta, steps, measure=measure)
    if F.sign == 0:
        assert q.objective(split, eta, steps, measure=measure).sign == 0
        return
    again = q.objective(split, eta, steps, measure=measure).log
    assert again == pytest.approx(F.log, rel=1e-14, abs=1e-13)
    G, scale = q.d_log_objective(spectrum, eta, steps, measure=measure), 1e-9 * spectrum.L
    assert q.d_log_objective(split, eta, steps, measure=measure) == pytest.approx(G, rel=1e-9, abs=scale)
    other = q.d_log_objective(scaled, eta / 4, steps, measure=measure)
    assert other == pytest.approx(4 * G, rel=1e-9, abs=scale)


def test_a_grid_has_the_broadcast_shape_and_equals_the_loop():
    rng = np.random.default_rng(5)
    spectrum = Spectrum(rng.uniform(0.1, 3, (4, 1, 1, 6)), rng.uniform(0, 1, (4, 1, 1, 6)))
    eta, steps = np.linspace(-0.2, 1.2, 5)[:, None], np.array([1, 10, 10**6])
    grid = q.d_objective(spectrum, eta, steps)
    assert grid.shape == (4, 5, 3)
    for f in (q.log_objective, q.d_log_objective, q.d2_log_objective):
        values = f(spectrum, eta, steps)
        assert values.shape == (4, 5, 3)
        one = Spectrum(spectrum.eigenvalues[2, 0, 0], spectrum.weights[2, 0, 0])
        assert values[2, 3, 1] == f(one, eta[3, 0], 10)


def test_from_a_matrix():
    rng = np.random.default_rng(6)
    X, w0 = rng.normal(size=(3, 9, 5)), rng.normal(size=(3, 5))
    H = np.swapaxes(X, 1, 2) @ X
    spectrum, w = Spectrum.of(H, w0), w0
    for _ in range(7):
        w = w - 0.04 * np.einsum("bij,bj->bi", H, w)
    direct = np.einsum("bi,bij,bj->b", w, H, w) / 2
    np.testing.assert_allclose(q.objective(spectrum, 0.04, 7).to_float(), direct, rtol=1e-11)
    norm = q.objective(spectrum, 0.04, 7, measure="squared_norm").to_float()
    np.testing.assert_allclose(norm, np.sum(w * w, axis=-1), rtol=1e-11)


def test_rounding_level_negative_eigenvalues_are_exactly_zero():
    x = np.random.default_rng(7).normal(size=(6, 2))
    spectrum = Spectrum.of(x @ x.T, np.ones(6), zero_below=1e-12)
    assert np.sum(spectrum.eigenvalues == 0) == 4
    assert np.all(Spectrum.of(x @ x.T, np.ones(6)).eigenvalues >= 0)


@pytest.mark.parametrize(
    ("H", "w0", "words"),
    [
        (np.ones((2, 3)), np.ones(2), "square"),
        ([[1.0, 2.0], [0.0, 1.0]], np.ones(2), "asymmetric"),
        ([[1.0, 0.0], [0.0, -2.0]], np.ones(2), "-2"),
        ([[1.0, 0.0], [0.0, np.inf]], np.ones(2), "inf"),
        (np.eye(2), np.ones(3), r"\(..., 2\)"),
    ],
)
def test_a_bad_matrix_is_refused_by_name(H, w0, words):
    with pytest.raises(ValueError, match=words):
        Spectrum.of(H, w0)


@pytest.mark.parametrize(
    ("eta", "steps", "measure", "error", "words"),
    [
        (np.nan, 1, "loss", ValueError, "eta is nan"),
        (0.1, 0, "loss", ValueError, "steps is 0"),
        (0.1, -3, "loss", ValueError, "steps is -3"),
        (0.1, 2.0, "loss", TypeError, "steps has dtype float64"),
        (0.1, 2**53, "loss", ValueError, "2\\^52"),
        ("0.1", 1, "loss", TypeError, "eta has dtype"),
        (0.1, 1, "norm", ValueError, "'loss' or 'squared_norm'"),
    ],
)
def test_bad_arguments_are_refused_by_name(eta, steps, measure, error, words):
    with pytest.raises(error, match=words):
        q.d_log_objective(Spectrum([1.0, 1e9], [1.0, 1.0]), eta, steps, measure=measure)


WILD = {
    "a small start on a fast mode": ([2.0, 0.5], [1e-200, 1.0], 1.4, 3000),
    "starts at both ends": ([1.0, 0.5], [1e-200, 1e200], 1.9, 400),
    "the smallest and largest starts": ([0.5, 1.0, 1.5], [5e-324, 1e308, 1.0], 1.9, 10_000),
    "a huge eigenvalue": ([1e300], [1.0], 1.5e-300, 100),
    "a step beyond every float": ([1.0, 1e9], [1.0, 1.0], 1e300, 7),
    "eigenvalues at both ends": ([1e-200, 1e200], [1.0, 1e-3], 1e200, 50),
    "eigenvalues at both ends, solved": ([1e-200, 1e200], [1e200, 1e-3], 1e-200, 50),
    "subnormal numbers": ([1e-310, 1.0], [1e160, 1e-310], 1.25, 2000),
}


@pytest.mark.parametrize("name", WILD)
@pytest.mark.parametrize("measure", ["loss", "squared_norm"])
def test_any_size_of_the_start_the_curvature_and_the_step(name, measure):
    values, start, eta, t = WILD[name]
    spectrum = Spectrum.diagonal(values, start)
    with mp.workdps(900):  # 1 - 1e-400 has that many
        h, w, eta_ = [mp.mpf(x) for x in values], [mp.mpf(x) for x in start], mp.mpf(eta)
        kappa = [x * x * (y / 2 if measure == "loss" else 1) for x, y in zip(w, h, strict=True)]
        a = [1 - eta_ * x for x in h]
        F = mp.fsum(k * b ** (2 * t) for k, b in zip(kappa, a, strict=True))
        dF = -2 * t * mp.fsum(k * x * b ** (2 * t - 1) for k, x, b in zip(kappa, h, a, strict=True))
        d2F = 2 * t * (2 * t - 1) * mp.fsum(k * x * x * b ** (2 * t - 2) for k, x, b in zip(kappa, h, a, strict=True))
        held = 2 * mp.fsum(k * b**t * (b**t - 1) / eta_ for k, b in zip(kappa, a, strict=True))
        phi = mp.fsum(k * b**2 * (b ** (2 * t) - 1) / (b**2 - 1) for k, b in zip(kappa, a, strict=True))
        slope, curve = dF / (t * F), d2F / (t * F) - dF**2 / (t * F**2)
        plain = {q.objective: F, q.d_objective: dF, q.d2_objective: d2F, q.stop_gradient_d_objective: held}
        plain |= {q.weighted_sum: phi}
        for function, exact in plain.items():
            found = function(spectrum, eta, t, measure=measure)
            size = mp.log(abs(exact))
            assert found.sign == mp.sign(exact), function
            assert float(abs(mp.mpf(float(found.log)) - size)) <= 1e-13 * (20 + abs(float(size))), function
        assert float(q.d_log_objective(spectrum, eta, t, measure=measure)) == pytest.approx(float(slope), rel=1e-12)
        curvature = float(curve) if abs(curve) < 1e308 else np.inf * mp.sign(curve)
        assert float(q.d2_log_objective(spectrum, eta, t, measure=measure)) == pytest.approx(curvature, rel=1e-9)


@pytest.mark.parametrize(("values", "weights"), [([-1.0], [1.0]), ([1.0], [-1.0]), ([], []), ([1.0, 2.0], [1.0, 1, 1])])
def test_a_bad_spectrum_is_refused(values, weights):
    with pytest.raises(ValueError, match="Spectrum: "):
        Spectrum(values, weights)


def test_integer_and_negative_eta_are_real_numbers_like_any_other():
    spectrum = Spectrum([0.5], [1.0])
    assert q.objective(spectrum, 1, 2).to_float() == q.objective(spectrum, 1.0, 2).to_float()
    assert q.objective(spectrum, -1, 2).to_float() == pytest.approx(0.25 * 1.5**4, rel=1e-14)


def test_the_closed_forms_do_not_load_sympy():
    modules = ("quadratic.symbolic", "least_squares.symbolic", "sgd.symbolic")
    names = ", ".join(f"metagrad.theory.{name}" for name in modules)
    code = f"import sys, {names}; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
