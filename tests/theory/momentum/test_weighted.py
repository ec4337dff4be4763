"""Sums over the run under momentum, against the recursion in exact fractions."""

from fractions import Fraction

import numpy as np
import pytest

from metagrad.theory import Spectrum, quadratic
from metagrad.theory.momentum import d_weighted_sum, objective, weighted_sum
from metagrad.theory.momentum.iterates import RULES


def exact(rule, h, beta, rho, t):
    """Return sum_k rho^k r_k^2 and its derivatives in h and beta, as numbers with two dual parts."""
    h, beta, rho = Fraction(h), Fraction(beta), Fraction(rho)

    def times(x, y):
        return x[0] * y[0], x[0] * y[1] + x[1] * y[0], x[0] * y[2] + x[2] * y[0]

    def plus(x, y, sign=1):
        return tuple(a + sign * b for a, b in zip(x, y, strict=True))

    step, decay = (h, Fraction(1), Fraction(0)), (beta, Fraction(0), Fraction(1))
    w = before = (Fraction(1), Fraction(0), Fraction(0))
    total, weight = (Fraction(0),) * 3, Fraction(1)
    for _ in range(t):
        ahead = plus(w, times(decay, plus(w, before, -1)))
        w, before = plus(ahead, times(step, w if rule == "heavy_ball" else ahead), -1), w
        seen = plus(w, times(decay, plus(w, before, -1))) if rule == "nesterov_ahead" else w
        weight *= rho
        total = plus(total, tuple(weight * x for x in times(seen, seen)))
    return [float(x) for x in total]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("h", "beta"), [(0.25, 0.25), (1.0, 0.5), (0.5, 0.0), (3.0, 0.75), (2.25, 0.25), (0.125, 1.0)])
@pytest.mark.parametrize("t", [1, 2, 3, 12, 40])
def test_sums_are_those_of_the_recursion(rule, h, beta, t):
    one = Spectrum.diagonal([1.0], [1.0])
    for rho in (1.0, 0.5):
        right = exact(rule, h, beta, rho, t)
        slope = d_weighted_sum(rule, one, h, beta, t, rho)
        found = [weighted_sum(rule, one, h, beta, t, rho), slope.eta, slope.beta]
        assert [2 * x.to_float() for x in found] == pytest.approx(right, rel=1e-13, abs=1e-28)


@pytest.mark.parametrize("rule", RULES)
def test_many_modes_and_long_runs(rule):
    spectrum, eta = Spectrum.diagonal([0.1, 0.5, 2.0], [1.0, 2.0, 0.5]), np.array([0.2, 0.8])
    parts = [objective(rule, spectrum, eta, 0.5, k).to_float() for k in range(1, 31)]
    assert weighted_sum(rule, spectrum, eta, 0.5, 30, 1.0).to_float() == pytest.approx(np.sum(parts, axis=0), rel=1e-13)
    plain = quadratic.weighted_sum(spectrum, eta, 10**5, rho=0.9)
    assert weighted_sum(rule, spectrum, eta, 0.0, 10**5, 0.9).log == pytest.approx(plain.log, rel=1e-12)
    long = [weighted_sum(rule, spectrum, 0.2, 0.9, t, 1.0).to_float() for t in (10**5, 10**6)]
    assert long[0] == pytest.approx(long[1], rel=1e-14)


def test_a_factor_of_zero_is_refused():
    with pytest.raises(ValueError, match="expected a number above 0"):
        weighted_sum("heavy_ball", Spectrum.diagonal([1.0], [1.0]), 0.1, 0.1, 3, 0.0)
