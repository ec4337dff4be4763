"""The bounds hold on thousands of random cases, are reached, and a tightened one is caught."""

import numpy as np
import pytest

from metagrad.theory import quadratic as q
from metagrad.theory.quadratic import Spectrum, bounds
from tests.theory.reference import MEASURES

COUNT = 1000


def random_grid(seed: int, d: int):
    """Spectra over three decades, weights over ten, eta from -1/L to 3/L with ties and vanishing modes, t to 10^6."""
    rng = np.random.default_rng([seed, d])
    eigenvalues, weights = np.exp(rng.uniform(-3, 3, (COUNT, d))), np.exp(rng.normal(0, 4, (COUNT, d)))
    if d >= 8:
        eigenvalues[:, 3], weights[:, 2], eigenvalues[:, 5] = 0.0, 0.0, eigenvalues[:, 4]
    spectrum = Spectrum(eigenvalues, weights)
    eta = rng.uniform(-1, 3, COUNT) / spectrum.L
    tie = q.limit_minimiser(spectrum) * (1 + 0.01 * rng.normal(size=COUNT))
    eta = np.where(np.arange(COUNT) % 5 == 0, tie, eta)
    eta[::7] = 1 / eigenvalues[::7, 0]
    return spectrum, eta, rng.choice([1, 2, 10, 100, 1000, 10**6], COUNT)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("d", [1, 2, 3, 8])
def test_no_bound_is_violated(d, measure):
    grid = random_grid(1, d)
    assert np.all(bounds.upper_bound_holds(*grid, measure=measure))
    assert np.all(bounds.lower_bound_holds(*grid, measure=measure))
    assert np.all(bounds.local_gradient_bound_holds(*grid, measure=measure))
    assert np.all(bounds.global_gradient_bound_holds(*grid, measure=measure))
    assert np.mean(np.isfinite(bounds.log_lower_bound(*grid, measure=measure))) > 0.7


@pytest.mark.parametrize(
    ("name", "holds", "factor"),
    [
        ("log_upper_bound", "upper_bound_holds", -1e-9),
        ("log_lower_bound", "lower_bound_holds", np.log(2.0) + 1e-6),
        ("local_gradient_bound", "local_gradient_bound_holds", 0.999),
        ("global_gradient_bound", "global_gradient_bound_holds", 0.5),
    ],
)
def test_a_tightened_bound_is_violated(monkeypatch, name, holds, factor):
    spectrum = Spectrum([1.0, 3.0], [3.0, 1.0])
    eta, steps = np.linspace(-0.5, 2.0, 501), 200
    assert np.all(getattr(bounds, holds)(spectrum, eta, steps))
    genuine = getattr(bounds, name)

    def tightened(*args, measure):
        value = genuine(*args, measure=measure)
        return value + factor if name.startswith("log") else value * factor

    monkeypatch.setattr(bounds, name, tightened)
    assert not np.all(getattr(bounds, holds)(spectrum, eta, steps))


def test_the_bounds_are_reached():
    one = Spectrum([2.0], [3.0])
    eta = np.array([-0.4, 0.1, 0.7, 3.0])
    upper = bounds.log_upper_bound(one, eta, 10)
    np.testing.assert_allclose(upper, q.d_objective(one, eta, 10).log, rtol=1e-13)
    local = bounds.local_gradient_bound(one, eta, 10)
    np.testing.assert_allclose(local, np.abs(q.d_log_objective(one, eta, 10)), rtol=1e-13)
    two, steps = Spectrum([1.0, 3.0], [3.0, 1.0]), 10**6
    near = 0.5 * (1 + np.linspace(-1e-4, 1e-4, 2001))
    assert np.abs(q.d_log_objective(two, near, steps)).max() > 0.999 * bounds.global_gradient_bound(two, steps)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_window_is_where_no_lower_bound_applies_and_shrinks_like_one_over_t(measure):
    spectrum = Spectrum([0.5, 1.0, 4.0], [1.0, 2.0, 0.3])
    widths = []
    for steps in (100, 1000, 10_000):
        low, high = bounds.window(spectrum, steps, measure=measure)
        assert low < q.limit_minimiser(spectrum) < high
        assert low < q.minimiser(spectrum, steps, measure=measure) < high
        inside, outside = np.linspace(low, high, 33)[1:-1], np.array([low * (1 - 1e-9), high * (1 + 1e-9), -1.0, 3.0])
        assert np.all(np.isnan(bounds.log_lower_bound(spectrum, inside, steps, measure=measure)))
        assert np.all(np.isfinite(bounds.log_lower_bound(spectrum, outside, steps, measure=measure)))
        widths.append((high - low) * steps)
    assert widths[1] == pytest.approx(widths[2], rel=0.01)


def test_one_eigenvalue_has_an_empty_window_and_no_global_bound():
    one = Spectrum([2.0], [3.0])
    assert bounds.window(one, 80) == (0.5, 0.5)
    assert np.isnan(bounds.global_gradient_bound(one, 80))
    assert bounds.global_gradient_bound_holds(one, 0.4, 80)
    assert np.isinf(bounds.local_gradient_bound(one, 0.5, 80))


def test_what_the_bounds_say_about_explosion_and_vanishing():
    spectrum = Spectrum([1.0, 3.0], [1.0, 1.0])
    large = bounds.log_lower_bound(spectrum, 1.0, np.array([10, 100, 1000]))
    assert np.all(large > 1.3 * np.array([10, 100, 1000]))
    small = bounds.log_upper_bound(spectrum, 0.4, np.array([100, 1000, 10_000]))
    assert np.all(small < -0.9 * np.array([100, 1000, 10_000]))


def test_without_an_active_mode_there_is_no_bound_to_violate():
    none = Spectrum([0.0, 1.0], [1.0, 0.0])
    assert np.isnan(bounds.log_lower_bound(none, 0.3, 10))
    assert np.isnan(bounds.global_gradient_bound(none, 10))
    assert bounds.upper_bound_holds(none, 0.3, 10)
