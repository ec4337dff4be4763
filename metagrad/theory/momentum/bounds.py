"""How large the slope of the log objective can be with momentum: what is proved, and where it has no bound.

G = (1/t) log F, and G_a is the average of the slopes of the modes, g_i = (2/t) r_{i,a}/r_i, with the weights
p_i = kappa_i r_i^2/F. With q = z2/z1, the root z1 being the larger one in modulus:

Theorem 1 (a mode with real roots of one sign, h > 0, 0 < beta < 1). For heavy ball

    |g_h|    <= min(t + 1, 2/(1 - q)) / |z1|
    |g_beta| <= min(t/2,   2/(1 - q)) |1 - z1|/z1^2,

and for Nesterov, h < 1, measured at w_t

    |g_h|    <= min(t + 1, 2/(1 - q)) / (1 - h)
    |g_beta| <= min(t/2,   2/(1 - q)) h/(z1 - beta).

Away from the double root the slope is bounded at every horizon; the bound grows like one over the distance of the
roots, and at the double root, q = 1, it grows **linearly in t**. So does the slope itself (`double_root_slopes`):

    heavy ball, z = +-b:   g_h -> -t/(3z),   g_beta -> -t (1 - z)/(3 z^2):   a third and two thirds of the bound.

Proof. r_{t,h} = -sum_k P_k r_{t-1-k} and r_{t,beta} = -h sum_k P_k P_{t-2-k} (products of generating functions,
`iterates`); |P_k| <= |z1|^k min(k+1, 1/(1-q)); |z1|^k |r_m| <= |r_{m+k}| and |z1|^k |P_m| <= |P_{m+k}|, as r_m = z1^m
+ z2 (1 - z1) P_{m-1} has terms of one sign; and |r_t| >= |1 - z2| |z1|^2 |P_{t-2}| with h = (1 - z1)(1 - z2).
Nesterov: r_t = (1 - h) y_{t-1}, where y_m = z1^m + (z2 - beta) P_{m-1} and beta < z2.

Theorem 2 (heavy ball, a quadratic). If all modes with weight have real roots, |G_eta| <= max_i lambda_i B_i and
|G_beta| <= max_i B_i. If at least one has, both are at most a polynomial of degree 3 in t (`gradient_bound`): that
mode keeps F >= kappa_j |z_j|^{2t} >= kappa_j beta^t, while no complex mode, nor its slope, is more than b^t times its
double root's.

Theorem 3. If all roots are complex, **there is no bound**: r_t has about t zeros in h, and two modes can vanish
together. With two eigenvalues F(eta, beta) = 0 at t = 2 for

    eta = 1/sqrt(alpha L),   beta = (kappa^{1/4} - kappa^{-1/4})^2,   kappa = L/alpha < 6.85: beta < 1,

and at longer horizons at many such points: G has poles there (`pole`). With more modes than parameters F stays
positive in general, and the slope is measured, not bounded. Gradient descent, beta = 0, has the bound
`quadratic.bounds`.

Derived; checked by tests against exact slopes in thousands of random cases.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.momentum.iterates import RULES, Rule
from metagrad.theory.momentum.last_iterate import RateSlope
from metagrad.theory.momentum.roots import double_root_step, roots
from metagrad.theory.numbers.checks import (
    bad_value,
    check_choice,
    check_kind,
    check_together,
    finite_floats,
    number,
    step_counts,
)
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, log_kappa


def mode_bound(rule: Rule, h: ArrayLike, beta: ArrayLike, steps: ArrayLike) -> RateSlope:
    """Return the bounds of |g_h| and |g_beta| of Theorem 1; NaN where it does not apply.

    `rule`: "heavy_ball" or "nesterov". h, beta and steps broadcast.

    >>> bound = mode_bound("heavy_ball", 0.25, 0.25, 99)  # the double root 1/2
    >>> float(bound.eta), float(bound.beta)
    (200.0, 99.0)
    """
    check_choice("mode_bound", "rule", rule, RULES[:2])
    step, decay = finite_floats("mode_bound", "h", h), finite_floats("mode_bound", "beta", beta)
    t = step_counts("mode_bound", steps)
    check_together("mode_bound", h=step.shape, beta=decay.shape, steps=t.shape)
    found = roots(rule, step, decay)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = 2 / (1 - found.small / found.large)
        linear, half = np.minimum(t + 1, apart), np.minimum(t / 2, apart)
        applies = found.one_sign & (step > 0) & (decay > 0) & (decay < 1)
        if rule == "heavy_ball":
            of_h, of_beta = 1 / np.abs(found.large), np.abs(1 - found.large) / found.large**2
        else:
            applies &= step < 1
            of_h, of_beta = 1 / (1 - step), step / (found.large - decay)
        pair = np.where(applies, linear * of_h, np.nan), np.where(applies, half * of_beta, np.nan)
    return RateSlope(*(np.asarray(x, np.float64) for x in pair))


def double_root_slopes(beta: ArrayLike, steps: ArrayLike, *, sign: int = 1) -> RateSlope:
    """Return g_h and g_beta of heavy ball at its double root z = sign b, exactly.

    r_t = z^t (1 + t (1 - z)), so g_h = -(t+1)(t + 2 - z (t-1))/(3 z (1 + t (1 - z))) and
    g_beta = -(1-z)^2 (t^2 - 1)/(3 z^2 (1 + t (1 - z))). beta in (0, 1), sign 1 or -1.

    >>> float(double_root_slopes(0.81, 10**6).beta.round(1))
    -41151.9
    """
    decay, t = finite_floats("double_root_slopes", "beta", beta), step_counts("double_root_slopes", steps)
    check_together("double_root_slopes", beta=decay.shape, steps=t.shape)
    if sign not in (1, -1):
        bad_value("double_root_slopes", "sign", sign, "1 or -1")
    if np.any((decay <= 0) | (decay >= 1)):
        bad_value("double_root_slopes", "beta", beta, "numbers between 0 and 1")
    z = sign * np.sqrt(decay)
    size = 1 + t * (1 - z)
    in_h = -(t + 1) * (t + 2 - z * (t - 1)) / (3 * z * size)
    in_beta = -((1 - z) ** 2) * (t - 1) * (t + 1) / (3 * z**2 * size)
    return RateSlope(np.asarray(in_h, np.float64), np.asarray(in_beta, np.float64))


def optimum_growth(spectrum: Spectrum, *, measure: Measure = "loss") -> RateSlope:
    """Return the limits of G_eta/t and G_beta/t of heavy ball at Polyak's parameters (`optimal.polyak`).

    There alpha and L have the double roots b and -b, and the other modes, complex, are t^-2 beside them. So
    p ~ kappa_i (1 - z_i)^2, and with the limits of `double_root_slopes`

        G_eta/t -> -sum_i p_i lambda_i/(3 z_i),   G_beta/t -> -sum_i p_i (1 - z_i)/(3 z_i^2).

    >>> float(optimum_growth(Spectrum.diagonal([1.0, 100.0], [1.0, 1.0])).beta.round(3))
    -0.905
    """
    check_kind("optimum_growth", "spectrum", spectrum, Spectrum)
    alpha, L = spectrum.alpha[..., None], spectrum.L[..., None]
    b = (np.sqrt(L) - np.sqrt(alpha)) / (np.sqrt(L) + np.sqrt(alpha))
    at_alpha, at_L = spectrum.eigenvalues == alpha, spectrum.eigenvalues == L
    z = np.where(at_alpha, b, -b)
    log = log_kappa(spectrum, measure) + 2 * np.log(1 - z)
    log = np.where(at_alpha | at_L, log, -np.inf)
    p = np.exp(log - np.max(log, axis=-1, keepdims=True))
    p = p / p.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        in_eta = -(p * spectrum.eigenvalues / (3 * z)).sum(axis=-1)
        in_beta = -(p * (1 - z) / (3 * z**2)).sum(axis=-1)
    return RateSlope(np.asarray(in_eta, np.float64), np.asarray(in_beta, np.float64))


def gradient_bound(
    spectrum: Spectrum, eta: ArrayLike, beta: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> RateSlope:
    """Return the bounds of |G_eta| and |G_beta| of heavy ball of Theorem 2; NaN where every mode is complex.

    eta > 0 and beta in (0, 1). With real modes alone it is max_i lambda_i B_i and max_i B_i; each complex mode adds
    (2/t) (kappa_i/sum_j kappa_j |z_j|^{2t}) times the largest |r| |r_a| that roots of size b have.
    """
    check_kind("gradient_bound", "spectrum", spectrum, Spectrum)
    step, decay = finite_floats("gradient_bound", "eta", eta), finite_floats("gradient_bound", "beta", beta)
    t = step_counts("gradient_bound", steps)
    check_together("gradient_bound", spectrum=spectrum.batch_shape, eta=step.shape, beta=decay.shape, steps=t.shape)
    if np.any(step <= 0) or np.any((decay <= 0) | (decay >= 1)):
        bad_value("gradient_bound", "eta or beta", "out of range", "eta above 0 and beta between 0 and 1")
    step, decay, t = (x[..., None] for x in (step, decay, t))
    modes = spectrum.eigenvalues
    h, kappa = step * modes, np.where(modes > 0, log_kappa(spectrum, measure), -np.inf)
    kappa = np.broadcast_to(kappa, np.broadcast_shapes(h.shape, kappa.shape))
    found, counted = roots("heavy_ball", h, decay), kappa > -np.inf
    each = mode_bound("heavy_ball", h, decay, np.asarray(steps)[..., None])
    real = counted & found.one_sign
    b = np.sqrt(decay)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.where(real, kappa + 2 * t * np.log(np.abs(found.large) / b), -np.inf)  # in units of beta^t
    size, cube = 1 + t * (1 + b), t * (t + 1)
    slopes = cube * (t + 2 + b * (t - 1)) / (6 * b), h * (t - 1) * cube / (6 * decay)
    top = np.max(log, axis=-1, keepdims=True)
    base = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        below = np.log(np.exp(log - base).sum(axis=-1, keepdims=True)) + base
        share = np.where(counted & ~real, np.exp(np.where(counted, kappa, 0.0) - below), 0.0)
        share = np.where(np.isfinite(top), share, 0.0)  # NaN is what comes out there
    bounds = []
    for of_real, slope, unit in zip(each, slopes, (modes, np.ones(())), strict=True):
        largest = np.max(np.where(real, of_real * unit, 0.0), axis=-1)
        rest = (2 / t[..., 0]) * (share * size * slope * unit).sum(axis=-1)
        bounds.append(np.where(real.any(axis=-1), largest + rest, np.nan))
    return RateSlope(*(np.asarray(x, np.float64) for x in bounds))


def pole(alpha: float, L: float) -> tuple[float, float]:
    """Return the eta and beta at which two steps of heavy ball solve a quadratic of eigenvalues alpha < L: F = 0.

    r_2 = 1 - (2 + beta) h + h^2 has the roots eta alpha and eta L. ValueError unless 0 < alpha < L.

    >>> eta, beta = pole(1.0, 4.0)
    >>> eta, round(beta, 12)
    (0.5, 0.5)
    """
    low, high = number("pole", "alpha", alpha), number("pole", "L", L)
    if not 0 < low < high:
        bad_value("pole", "alpha", low, f"a number between 0 and L = {high}")
    quarter = (high / low) ** 0.25
    return 1 / float(np.sqrt(low * high)), (quarter - 1 / quarter) ** 2


def all_complex(spectrum: Spectrum, eta: ArrayLike, beta: ArrayLike) -> np.ndarray:
    """Return whether all modes that count have complex roots under heavy ball, where G has no bound (Theorem 3)."""
    check_kind("all_complex", "spectrum", spectrum, Spectrum)
    step, decay = finite_floats("all_complex", "eta", eta), finite_floats("all_complex", "beta", beta)
    check_together("all_complex", spectrum=spectrum.batch_shape, eta=step.shape, beta=decay.shape)
    low, high = double_root_step("heavy_ball", decay)
    return np.asarray((step * spectrum.alpha > low) & (step * spectrum.L < high))
