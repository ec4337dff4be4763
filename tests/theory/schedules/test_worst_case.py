"""Worst cases: Chebyshev's schedule and its orders, silver steps, minimax steps, and their certificates."""

import mpmath as mp
import numpy as np
import pytest

from metagrad.theory.schedules import certificate, chebyshev, minimax, silver

ENDS = {"smallest": 1.0, "largest": 100.0}


@pytest.mark.parametrize(("steps", "kappa"), [(1, 2.0), (5, 100.0), (16, 100.0), (64, 1e4)])
def test_chebyshevs_steps_at_thirty_digits(steps, kappa):
    with mp.workdps(30):
        m, M = mp.mpf(1), mp.mpf(kappa)
        expected = [
            1 / ((M + m) / 2 - (M - m) / 2 * mp.cos((t - mp.mpf(1) / 2) * mp.pi / steps)) for t in range(1, steps + 1)
        ]
        least = 1 / mp.chebyt(steps, (M + m) / (M - m))
    ends = {"smallest": 1.0, "largest": kappa}
    found = chebyshev.chebyshev_schedule(steps, **ends, order="large_first")
    np.testing.assert_allclose(found, np.array(expected, float), rtol=1e-13)
    np.testing.assert_allclose(chebyshev.chebyshev_factor(steps, **ends).to_float(), float(least), rtol=1e-13)
    np.testing.assert_allclose(chebyshev.worst_factor(found, **ends).to_float(), float(least), rtol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_schedule_has_a_smaller_worst_factor(seed):
    etas = chebyshev.chebyshev_schedule(8, **ENDS)
    moved = etas * np.exp(np.random.default_rng(seed).normal(0, 1e-3, 8))
    least = chebyshev.chebyshev_factor(8, **ENDS).log
    assert chebyshev.worst_factor(moved, **ENDS).log > least + 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_the_worst_factor_is_that_of_a_fine_grid(seed):
    etas = np.random.default_rng(seed).uniform(0.005, 1.2, 6)
    grid = np.abs(np.prod(1 - etas * np.linspace(1, 100, 200_001)[:, None], axis=1)).max()
    np.testing.assert_allclose(chebyshev.worst_factor(etas, **ENDS).to_float(), grid, rtol=1e-6)


@pytest.mark.parametrize(
    ("steps", "kappa", "fractal", "small", "large"),
    [(16, 100.0, 80, 0.99, 6e6), (64, 1000.0, 868, 0.999, 5e30), (128, 1e4, 7260, 1.0, 5e63)],
)
def test_what_the_orders_do_to_the_range(steps, kappa, fractal, small, large):
    ends = {"smallest": 1.0, "largest": kappa}
    for order, expected in (("fractal", fractal), ("small_first", small), ("large_first", large)):
        etas = chebyshev.chebyshev_schedule(steps, **ends, order=order)
        found = chebyshev.largest_prefix(etas, **ends).to_float()
        np.testing.assert_allclose(found, expected, rtol=0.1)
        assert chebyshev.largest_suffix(etas[::-1], **ends).to_float() == found
    fractal_steps = chebyshev.chebyshev_schedule(steps, **ends)
    assert chebyshev.largest_suffix(fractal_steps, **ends).to_float() < 1


def test_the_fractal_order():
    assert (chebyshev.positions(8) + 1).tolist() == [1, 8, 4, 5, 2, 7, 3, 6]
    for order in chebyshev.ORDERS:
        assert sorted(chebyshev.positions(32, order)) == list(range(32))
    with pytest.raises(ValueError, match=r"power of two.*small_first"):
        chebyshev.positions(6)
    assert chebyshev.chebyshev_factor(3, smallest=2.0, largest=2.0).log == -np.inf
    np.testing.assert_allclose(chebyshev.chebyshev_schedule(1, smallest=2.0, largest=2.0), [0.5])


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_the_minimax_values_are_certified(steps):
    etas, value = minimax.minimax_schedule(steps), minimax.minimax_value(steps)
    found = certificate.worst_case(etas)
    assert found.upper - found.gap <= value <= found.upper * (1 + 1e-12)
    assert found.gap < 1e-8 * value
    assert minimax.lower_bound(etas) == pytest.approx(value, rel=1e-13)


def test_the_numbers_that_were_found_by_branch_and_bound():
    values = [0.125, 0.065946, 0.042893, 0.031170, 0.024071]
    np.testing.assert_allclose([minimax.minimax_value(n) for n in range(1, 6)], values, atol=6e-7)
    np.testing.assert_allclose(minimax.minimax_schedule(2), [2**0.5, 1.876768], atol=6e-7)
    np.testing.assert_allclose(minimax.minimax_schedule(3), [2**0.5, 1 + 2**0.5, 1.5], rtol=1e-14)
    np.testing.assert_allclose(minimax.minimax_schedule(4), [1.414214, 1.601232, 3.005144, 1.5], atol=6e-7)
    np.testing.assert_allclose(minimax.minimax_schedule(5), [2**0.5, 2, 2**0.5, 3.557647, 1.5], atol=6e-7)


@pytest.mark.parametrize("steps", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_no_small_change_improves_the_minimax_steps(steps, seed):
    """The worst case has a kink there: it grows in every direction that was tried, by what is certified."""
    etas = minimax.minimax_schedule(steps)
    moved = etas + np.random.default_rng(seed).normal(0, 3e-3, steps)
    found = certificate.worst_case(moved)
    assert found.upper - found.gap > minimax.minimax_value(steps) * (1 + 1e-5)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_constant_step_has_the_larger_of_two_values(steps):
    for h in (0.7, 1.3, minimax.best_constant(steps), 1.9):
        found = certificate.worst_case(np.full(steps, h))
        assert found.upper == pytest.approx(minimax.lower_bound(np.full(steps, h)), rel=1e-8)
    known = {1: (1.5, 0.125), 2: (1.60583, 0.067355), 5: (1.74705, 0.027070)}[steps]
    best = minimax.best_constant(steps)
    np.testing.assert_allclose([best, minimax.lower_bound(np.full(steps, best))], known, atol=6e-6)


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_silver_steps(steps):
    etas = silver.silver_schedule(steps)
    rho, k = 1 + 2**0.5, int(np.log2(steps + 1))
    assert etas.sum() == pytest.approx(rho**k - 1)
    found = certificate.worst_case(etas)
    assert found.upper == pytest.approx(1 / (4 * rho**k - 2), rel=1e-8)
    assert found.upper < silver.silver_bound(steps)


@pytest.mark.parametrize("seed", range(3))
def test_what_a_certificate_says_and_how_it_is_checked(seed):
    etas = np.random.default_rng(seed).uniform(0.5, 2.2, 3)
    found = certificate.worst_case(etas)
    assert found.margin > 0
    assert found.imbalance < 1e-14
    assert found.multipliers.min() >= 0
    assert found.upper >= minimax.lower_bound(etas) * (1 - 1e-12)
    nudge = 1e-5
    turned = [
        (certificate.worst_case(etas + nudge * e).upper - certificate.worst_case(etas - nudge * e).upper) / (2 * nudge)
        for e in np.eye(3)
    ]
    np.testing.assert_allclose(found.slope, turned, rtol=1e-2, atol=2e-3)


def test_strongly_convex_silver_steps():
    assert silver.strongly_convex_bound(8, 32.0) == pytest.approx(0.22145, abs=5e-6)
    np.testing.assert_allclose(silver.strongly_convex_silver(1, 9.0), [2 / (1 + 1 / 9)])  # 2/(L + m)
    for steps in (1, 2, 4, 8, 16):
        etas = silver.strongly_convex_silver(steps, 32.0)
        assert etas.shape == (steps,)
        on_quadratics = chebyshev.worst_factor(etas, smallest=1 / 32, largest=1.0).to_float() ** 2
        constant = (31 / 33) ** (2 * steps)
        assert on_quadratics <= silver.strongly_convex_bound(steps, 32.0) * (1 + 1e-12)
        assert silver.strongly_convex_bound(steps, 32.0) <= constant * (1 + 1e-12)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: silver.silver_schedule(4), "1, 3, 7, 15"),
        (lambda: silver.strongly_convex_silver(3, 8.0), "1, 2, 4, 8"),
        (lambda: silver.strongly_convex_silver(2, 1.0), "above 1"),
        (lambda: minimax.minimax_schedule(6), "silver"),
        (lambda: chebyshev.chebyshev_schedule(2, smallest=2.0, largest=1.0), "at least the smallest"),
        (lambda: chebyshev.worst_factor([0.1, -0.1], **ENDS), "positive step sizes"),
        (lambda: certificate.worst_case(np.ones(40)), "at most 31"),
        (lambda: certificate.worst_case([1e5]), "units of 1/L"),
    ],
)
def test_what_is_out_of_range_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
