"""Heavy ball and Nesterov with constant eta and beta on f(w) = w'Hw/2: the objectives of the last iterate, exactly.

With r_i = r_t(eta lambda_i, beta) of `iterates`, and kappa_i = c_i lambda_i / 2 (measure "loss") or c_i
("squared_norm"),

    F     = sum_i kappa_i r_i^2                           f(w_t), or ||w_t||^2
    F_a   = 2 sum_i kappa_i r_i r_{i,a}                   a, b: eta or beta; r_eta = lambda_i r_h
    F_ab  = 2 sum_i kappa_i (r_{i,a} r_{i,b} + r_i r_{i,ab})
    G     = (1/t) log F,   G_a = F_a/(t F)
    G_ab  = (4 sum_i kappa_i (r_{i,a} - m_a r_i)(r_{i,b} - m_b r_i)
             + 2 sum_i kappa_i (r_i r_{i,ab} - r_{i,a} r_{i,b}))/(t F)

with m_a = F_a/(2F): the differences are taken before they are rounded, so that G_ab, a difference of terms t times
its size, keeps its digits. Every function takes `(rule, spectrum, eta, beta, steps, *, measure)`. `rule` is
"heavy_ball", "nesterov" (measured at w_t) or "nesterov_ahead" (measured at y_t, where the next gradient is taken).
eta and beta: any finite reals, but |beta| > 1 only up to 1e12 |h| in every mode that counts, as P_t - beta P_{t-1}
loses log2|beta/h| of 106 bits; steps: integers from 1 to 2^27; they broadcast with the batch of the spectrum, the
axis of modes is summed. At beta = 0 this is gradient descent. At beta = 1 nothing is damped: for 0 < h < 4 the roots
of heavy ball lie on the unit circle, and w_t neither grows nor shrinks; the formulas hold as they stand. F, F_a, F_ab
are `SignedLog`, G and its derivatives float64. Where F = 0, which two modes can reach together at isolated (eta,
beta), G is -inf and its derivatives are NaN.

Derived; checked by tests against 150-digit roots, exact recursions and sympy (`symbolic`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.momentum._wide import Wide, stack
from metagrad.theory.momentum.iterates import RULES, Iterates, Rule, check_digits, iterates
from metagrad.theory.momentum.lucas import LARGEST_STEPS
from metagrad.theory.numbers.checks import (
    Floats,
    bad_value,
    check_choice,
    check_kind,
    check_memory,
    check_together,
    finite_floats,
    step_counts,
)
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, log_kappa


class Slope(NamedTuple):
    """The derivatives in eta and in beta."""

    eta: SignedLog
    beta: SignedLog


class Curvature(NamedTuple):
    """The second derivatives in eta and beta."""

    eta_eta: SignedLog
    eta_beta: SignedLog
    beta_beta: SignedLog


class RateSlope(NamedTuple):
    """The derivatives of G in eta and in beta, float64."""

    eta: Floats
    beta: Floats


class RateCurvature(NamedTuple):
    """The second derivatives of G in eta and beta, float64."""

    eta_eta: Floats
    eta_beta: Floats
    beta_beta: Floats


def objective(
    rule: Rule, spectrum: Spectrum, eta: ArrayLike, beta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> SignedLog:
    """Return F(eta, beta), the measure of the last iterate.

    >>> objective("heavy_ball", Spectrum.diagonal([1.0, 3.0], [1.0, 1.0]), 0.5, 0.5, 1).to_float()
    array(0.5)
    """
    return _Sums("objective", rule, spectrum, eta, beta, steps, measure, 0).value().to_log()


def d_objective(
    rule: Rule, spectrum: Spectrum, eta: ArrayLike, beta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> Slope:
    """Return F_eta and F_beta.

    >>> d_objective("heavy_ball", Spectrum.diagonal([1.0, 3.0], [1.0, 1.0]), 0.5, 0.5, 1).eta.to_float()
    array(4.)
    """
    sums = _Sums("d_objective", rule, spectrum, eta, beta, steps, measure, 1)
    return Slope(*(slope.to_log() for slope in sums.slopes()))


def d2_objective(
    rule: Rule, spectrum: Spectrum, eta: ArrayLike, beta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> Curvature:
    """Return F_eta_eta, F_eta_beta and F_beta_beta."""
    s = _Sums("d2_objective", rule, spectrum, eta, beta, steps, measure, 2)
    found = [s.total(s.first[a] * s.first[b] + s.r * second).doubled() for a, b, second in s.pairs()]
    return Curvature(*(x.to_log() for x in found))


def log_objective(
    rule: Rule, spectrum: Spectrum, eta: ArrayLike, beta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> Floats:
    """Return G(eta, beta) = (1/t) log F; -inf where F = 0."""
    value = objective(rule, spectrum, eta, beta, steps, measure=measure)
    return np.asarray(value.log / step_counts("log_objective", steps), np.float64)


def log_slope(
    rule: Rule, spectrum: Spectrum, eta: ArrayLike, beta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> Slope:
    """Return G_eta and G_beta as `SignedLog`: next to a floor of ||w||^2 they fall below the range of floats."""
    sums = _Sums("log_slope", rule, spectrum, eta, beta, steps, measure, 1)
    return Slope(*(rate.to_log() * (1 / sums.t) for rate in sums.rates()))


def d_log_objective(
    rule: Rule, spectrum: Spectrum, eta: ArrayLike, beta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> RateSlope:
    """Return G_eta and G_beta; NaN where F = 0.

    >>> d_log_objective("heavy_ball", Spectrum.diagonal([1.0], [1.0]), 0.5, 0.0, 100).eta.round(12)
    np.float64(-4.0)
    """
    sums = _Sums("d_log_objective", rule, spectrum, eta, beta, steps, measure, 1)
    return RateSlope(*(np.asarray(rate.to_float() / sums.t, np.float64) for rate in sums.rates()))


def d2_log_objective(
    rule: Rule, spectrum: Spectrum, eta: ArrayLike, beta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> RateCurvature:
    """Return G_eta_eta, G_eta_beta and G_beta_beta; NaN where F = 0."""
    s = _Sums("d2_log_objective", rule, spectrum, eta, beta, steps, measure, 2)
    value, two = s.value(), Wide.of(np.full(s.r.shape, 2.0))
    means = [s.total(s.r * first) / value for first in s.first]
    away = [first - mean[..., None] * s.r for first, mean in zip(s.first, means, strict=True)]
    found = []
    for a, b, second in s.pairs():
        term = two * (away[a] * away[b]) + (s.r * second - s.first[a] * s.first[b])
        found.append((s.total(term).doubled() / value).to_float() / s.t)
    return RateCurvature(*found)


class _Sums:
    """The modes at one (eta, beta, t), and sums over them."""

    def __init__(
        self,
        function: str,
        rule: Rule,
        spectrum: Spectrum,
        eta: ArrayLike,
        beta: ArrayLike,
        steps: ArrayLike,
        measure: Measure,
        order: int,
    ) -> None:
        check_choice(function, "rule", rule, RULES)
        check_kind(function, "spectrum", spectrum, Spectrum)
        kappa = log_kappa(spectrum, measure)
        step, decay = finite_floats(function, "eta", eta), finite_floats(function, "beta", beta)
        self.t = step_counts(function, steps)
        if np.any(self.t > LARGEST_STEPS):
            bad_value(function, "steps", int(np.max(self.t)), "integers from 1 to 2^27")
        check_together(function, spectrum=spectrum.batch_shape, eta=step.shape, beta=decay.shape, steps=self.t.shape)
        eigenvalues = spectrum.eigenvalues
        arrays = np.broadcast_arrays(step[..., None], eigenvalues, decay[..., None], self.t[..., None], kappa)
        entries = 64 * (order + 1) * arrays[0].size
        check_memory(function, "eta", f"of shape {step.shape}", entries // 8, "Ask for a part of the grid at a time.")
        one, modes, damping, t, kappa = arrays
        check_digits(function, one, modes, damping, kappa)
        self.kappa = Wide.from_log(kappa)
        found = _each_horizon(rule, one, modes, damping, t, order)
        curvature = Wide.of(modes)
        self.r = found.r
        self.first: tuple[Wide, ...] = ()
        self.second: tuple[Wide, ...] = ()
        if order > 0 and found.h is not None and found.beta is not None:
            self.first = (curvature * found.h, found.beta)
        if found.h_h is not None and found.h_beta is not None and found.beta_beta is not None:
            self.second = (curvature * curvature * found.h_h, curvature * found.h_beta, found.beta_beta)

    def total(self, terms: Wide) -> Wide:
        """Return sum_i kappa_i terms_i."""
        return (self.kappa * terms).sum()

    def value(self) -> Wide:
        """Return F."""
        return self.total(self.r * self.r)

    def slopes(self) -> list[Wide]:
        """Return F_eta and F_beta."""
        return [self.total(self.r * first).doubled() for first in self.first]

    def rates(self) -> list[Wide]:
        """Return F_eta/F and F_beta/F; NaN where F = 0."""
        value = self.value()
        return [slope / value for slope in self.slopes()]

    def pairs(self) -> list[tuple[int, int, Wide]]:
        """Return which first derivatives go with each second one."""
        return [(a, b, second) for (a, b), second in zip(((0, 0), (0, 1), (1, 1)), self.second, strict=True)]


def _each_horizon(rule: Rule, eta: Floats, modes: Floats, beta: Floats, t: Floats, order: int) -> Iterates:
    """Return the iterates of all modes, one horizon after the other."""
    horizons = np.unique(t)
    if horizons.size == 1:
        return iterates(rule, eta, modes, beta, int(horizons[0]), order)
    count = (1, 3, 6)[order]
    parts = np.zeros((count, 2, *t.shape)), np.zeros((count, *t.shape), np.int64)
    for horizon in horizons:
        at = t == horizon
        found = stack([x for x in iterates(rule, eta[at], modes[at], beta[at], int(horizon), order) if x is not None])
        parts[0][:, 0, at], parts[0][:, 1, at], parts[1][:, at] = found.high, found.low, found.power
    return Iterates(*(Wide(parts[0][k, 0], parts[0][k, 1], parts[1][k]) for k in range(count)))
