"""The outer loop against a plain one in 40 digits, and its convergence theorem on random problems."""

from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest

from metagrad.theory import quadratic as q
from metagrad.theory.quadratic import Spectrum
from metagrad.theory.quadratic import meta_descent as md


def paper_problem(seed: int) -> Spectrum:
    """H = X'X, X 20 x 20 standard normal, w0 ~ N(0, I): the source paper's setting."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(20, 20))
    return Spectrum.of(X.T @ X, rng.normal(size=20))


def plain_loop(spectrum, eta0, steps, meta_steps, scale, objective):
    """eta <- max(0, eta - scale/sqrt(k) slope), all in mpmath and from the definition."""
    modes = [(mp.mpf(c), mp.mpf(h)) for c, h in zip(spectrum.weights, spectrum.eigenvalues, strict=True)]
    eta, etas = mp.mpf(eta0), []
    for k in range(1, meta_steps + 1):
        slope = -steps * mp.fsum(c * h**2 * (1 - eta * h) ** (2 * steps - 1) for c, h in modes)
        if objective == "log":
            slope /= steps * mp.fsum(c * h / 2 * (1 - eta * h) ** (2 * steps) for c, h in modes)
        eta = max(mp.mpf(0), eta - scale / mp.sqrt(k) * slope)
        etas.append(float(eta))
    return np.array(etas)


@pytest.mark.parametrize("steps", [1, 80, 10_000])
def test_against_a_plain_loop_in_high_precision(steps):
    spectrum = Spectrum([0.3, 1.0, 2.0], [1.0, 0.5, 2.0])
    got = md.meta_descent(spectrum, 0.1, steps=steps, meta_steps=30, scale=0.05).eta[1:]
    np.testing.assert_allclose(got, plain_loop(spectrum, 0.1, steps, 30, 0.05, "log"), rtol=1e-9)


def test_the_plain_objective_against_a_plain_loop():
    spectrum = Spectrum([0.3, 1.0, 2.0], [1.0, 0.5, 2.0])
    run = md.meta_descent(spectrum, 0.8, steps=10, meta_steps=30, scale=0.05, objective="plain")
    np.testing.assert_allclose(run.eta[1:], plain_loop(spectrum, 0.8, 10, 30, 0.05, "plain"), rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 80, 10**6])
def test_the_gradients_are_those_of_the_theory(steps):
    spectrum = paper_problem(0)
    run = md.meta_descent(spectrum, 0.1, steps=steps, meta_steps=200)
    exact = q.d_log_objective(spectrum, run.eta[:-1], steps)
    size = np.abs(exact) + 1e-6 * np.abs(exact).max()
    assert np.max(np.abs(run.gradient - exact) / size) < 1e-9


def test_a_start_where_a_mode_vanishes():
    spectrum = Spectrum([1.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    for eta0 in (0.25, 0.5, 1.0):
        run = md.meta_descent(spectrum, eta0, steps=80, meta_steps=1)
        assert run.gradient[0] == pytest.approx(float(q.d_log_objective(spectrum, eta0, 80)), rel=1e-12)


def test_the_papers_setting_settles_at_the_minimiser():
    spectrum = paper_problem(1)
    run = md.meta_descent(spectrum, 0.1, steps=80, meta_steps=1000)
    assert run.eta[1] == 0.0
    assert run.eta[-1] == pytest.approx(float(q.minimiser(spectrum, 80)), rel=0.05)


def test_zero_eigenvalues_and_zero_weights_change_nothing():
    seen, rest = Spectrum([1.0, 3.0], [2.0, 1.0]), Spectrum([0.0, 3.0, 50.0, 1.0], [4.0, 1.0, 0.0, 2.0])
    for objective in ("log", "plain"):
        a = md.meta_descent(seen, 0.3, steps=80, meta_steps=50, objective=objective)
        for loop in (md.meta_descent, md.meta_descent_batch):
            b = loop(rest, 0.3, steps=80, meta_steps=50, objective=objective)
            np.testing.assert_allclose(a.eta, b.eta, rtol=1e-11)


@pytest.mark.parametrize("objective", ["log", "plain"])
def test_a_batch_equals_the_single_runs(objective):
    rng = np.random.default_rng(2)
    spectrum = Spectrum(rng.uniform(0.1, 3, (5, 4)), rng.uniform(0.1, 1, (5, 4)))
    eta0 = rng.uniform(0, 0.6, 5)
    batch = md.meta_descent_batch(spectrum, eta0, steps=20, meta_steps=40, scale=0.02, objective=objective)
    assert (batch.eta.shape, batch.gradient.shape) == ((5, 41), (5, 40))
    for i in range(5):
        one = Spectrum(spectrum.eigenvalues[i], spectrum.weights[i])
        single = md.meta_descent(one, eta0[i], steps=20, meta_steps=40, scale=0.02, objective=objective)
        np.testing.assert_allclose(batch.eta[i], single.eta, rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 5, 80, 10_000])
@pytest.mark.parametrize("scale", [0.01, 0.3, 3.0])
def test_the_convergence_theorem_on_random_problems(steps, scale):
    rng = np.random.default_rng(3)
    spectrum = Spectrum(np.exp(rng.uniform(-2, 2, (100, 5))), np.exp(rng.normal(0, 2, (100, 5))))
    eta0 = rng.uniform(0, 3, 100) / spectrum.L
    run = md.meta_descent_batch(spectrum, eta0, steps=steps, meta_steps=200, scale=scale)
    assert np.all(md.descent_holds(spectrum, run))
    distance = np.abs(run.eta[:, :-1] - q.minimiser(spectrum, steps)[:, None])
    gap = np.minimum.accumulate(np.abs(run.gradient) * distance, axis=-1)
    assert np.all(gap <= md.gap_rate(spectrum, run) * (1 + 1e-9))


@pytest.mark.parametrize("spoil", ["away", "jump", "gradient"])
def test_a_trajectory_that_breaks_the_theorem_is_caught(spoil):
    spectrum = Spectrum([1.0, 3.0], [2.0, 1.0])
    run = md.meta_descent(spectrum, 0.1, steps=80, meta_steps=100)
    eta, gradient = run.eta.copy(), run.gradient.copy()
    if spoil == "away":
        eta[1] = 0.05
    elif spoil == "jump":
        eta[-1] = 2.0
    else:
        gradient[50] *= 1e6
    assert not np.all(md.descent_holds(spectrum, replace(run, eta=eta, gradient=gradient)))


def test_one_eigenvalue_has_no_theorem_and_a_pole():
    one = Spectrum([2.0], [1.0])
    run = md.meta_descent(one, 0.5, steps=80, meta_steps=3)
    assert np.all(np.isnan(run.gradient))
    with pytest.raises(ValueError, match="alpha = L"):
        md.descent_holds(one, run)


def test_the_plain_objective_stalls_at_zero_gradient_and_falls_to_the_floor_at_infinite_gradient():
    spectrum = Spectrum([1.0, 3.0], [2.0, 1.0])
    stalled = md.meta_descent(spectrum, 0.45, steps=10_000, meta_steps=5, objective="plain")
    assert np.all(stalled.gradient == 0)
    assert np.all(stalled.eta == 0.45)
    thrown = md.meta_descent(spectrum, 2.0, steps=10_000, meta_steps=1, objective="plain", floor=0.01)
    assert (float(thrown.gradient[0]), float(thrown.eta[1])) == (np.inf, 0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"meta_steps": 0}, "meta_steps is 0"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"floor": np.nan}, "floor is nan"),
        ({"objective": "naive"}, "'log' or 'plain'"),
        ({"steps": 0}, "steps is 0"),
        ({"eta0": np.inf}, "eta0 is inf"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, words):
    arguments = {"eta0": 0.1, "steps": 80, "meta_steps": 10} | change
    for loop in (md.meta_descent, md.meta_descent_batch):
        with pytest.raises(ValueError, match=words):
            loop(Spectrum([1.0, 2.0], [1.0, 1.0]), **arguments)


def test_problems_that_cannot_be_descended_are_refused():
    with pytest.raises(ValueError, match="active mode"):
        md.meta_descent(Spectrum([1.0], [0.0]), 0.1, steps=80, meta_steps=10)
    with pytest.raises(ValueError, match="active mode"):
        md.meta_descent_batch(Spectrum([[1.0], [1.0]], [[0.0], [1.0]]), 0.1, steps=80, meta_steps=10)
    high_floor = md.meta_descent(Spectrum([1.0, 3.0], [1.0, 1.0]), 0.9, steps=80, meta_steps=5, floor=0.8)
    with pytest.raises(ValueError, match="floor"):
        md.descent_holds(Spectrum([1.0, 3.0], [1.0, 1.0]), high_floor)


def test_the_compiled_loop_is_the_same_loop():
    pytest.importorskip("numba")
    rng = np.random.default_rng(11)
    for steps in (1, 2, 80, 1000):
        spectrum = Spectrum(rng.uniform(0.1, 2.0, 20), rng.uniform(0.1, 1.0, 20))
        plain, compiled = (
            md.meta_descent(spectrum, 0.4, steps=steps, meta_steps=20, compiled=flag) for flag in (False, True)
        )
        np.testing.assert_allclose(compiled.eta, plain.eta, rtol=1e-9)
    with pytest.raises(ValueError, match="compiled=False"):
        md.meta_descent(spectrum, 0.4, steps=5, meta_steps=2, objective="plain", compiled=True)


def test_the_fast_slope_is_the_slope():
    rng = np.random.default_rng(12)
    for steps in (1, 80, 1000):
        spectrum = Spectrum(rng.uniform(0.1, 2.0, 20), rng.uniform(0.1, 1.0, 20))
        slope = md.slope_function(spectrum, steps)
        for eta in (0.05, 0.4, 1.9):
            np.testing.assert_allclose(slope(eta), q.d_log_objective(spectrum, eta, steps), rtol=1e-10)
