"""The best step size and momentum: as t grows in closed form, and at a finite horizon.

As t grows the slowest mode decides, and the rate is the largest modulus of the roots. Its minimum, with kappa =
L/alpha:

    heavy ball   eta = 4/(sqrt L + sqrt alpha)^2,  beta = ((sqrt kappa - 1)/(sqrt kappa + 1))^2,  rate sqrt beta
    Nesterov     eta = 4/(3 L + alpha),  beta = (s - 2)/(s + 2),  rate 1 - 2/s,  s = sqrt(3 kappa + 1)

The first is Polyak's (1964), the second as in Lessard, Recht and Packard (2016). Both put alpha at a double root, where
G has its steepest slope (`bounds`), and so both are a poor choice at a finite horizon: the factor t of a double root
has to be paid back, and with complex roots the modes can be met near their zeros. `best` finds the pair of a horizon,
by a scan and Newton's method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.momentum.iterates import RULES, Rule
from metagrad.theory.momentum.last_iterate import RateSlope, d2_log_objective, d_log_objective, log_objective
from metagrad.theory.momentum.roots import stability_limit
from metagrad.theory.numbers.checks import (
    Floats,
    bad_value,
    check_choice,
    check_kind,
    count,
    finite_floats,
    one_horizon,
)
from metagrad.theory.quadratic.spectrum import Measure, Spectrum

_LARGEST_BETA = 1 - 1e-6
_ITERATIONS, _LENGTHS = 25, 6  # of Newton's method, and the lengths of a step that are tried: 1, 1/2, 1/4, ..


@dataclass(frozen=True, eq=False)
class Best:
    """The best pair of a horizon, arrays of the shape of the batch.

    `G`: G(eta, beta) there; -inf where it is a pole. `left`: what is left of its gradient in (log eta, beta), of which
    a part in beta that points out of [0, 1) is none; NaN at a pole.
    """

    eta: Floats
    beta: Floats
    G: Floats
    left: Floats


def polyak(alpha: ArrayLike, L: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return eta, beta and the rate of heavy ball at its best as t grows; 0 < alpha <= L.

    >>> [float(x.round(6)) for x in polyak(1.0, 100.0)]
    [0.033058, 0.669421, 0.818182]
    """
    low, high = _ends("polyak", alpha, L)
    root = (np.sqrt(high) - np.sqrt(low)) / (np.sqrt(high) + np.sqrt(low))
    eta = 4 / (np.sqrt(high) + np.sqrt(low)) ** 2
    return np.asarray(eta, np.float64), np.asarray(root**2, np.float64), np.asarray(root, np.float64)


def nesterov(alpha: ArrayLike, L: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return eta, beta and the rate of Nesterov's method at its best as t grows; 0 < alpha <= L.

    >>> [float(x.round(6)) for x in nesterov(1.0, 100.0)]
    [0.013289, 0.793275, 0.884722]
    """
    low, high = _ends("nesterov", alpha, L)
    s = np.sqrt(3 * high / low + 1)
    parts = 4 / (3 * high + low), (s - 2) / (s + 2), 1 - 2 / s
    eta, beta, rate = (np.asarray(x, np.float64) for x in parts)
    return eta, beta, rate


def best(
    rule: Rule, spectrum: Spectrum, steps: int, *, measure: Measure = "loss", grid: int = 48, starts: int = 24
) -> Best:
    """Return the pair with the least G at horizon t, beta in [0, 1 - 1e-6], for each problem of the batch.

    A scan of grid x grid points, uniform in sqrt(beta) and in h of the largest eigenvalue within stability. Its lowest
    `starts` local minima, and the pair that is best as t grows, are followed by Newton's method with the exact Hessian,
    its eigenvalues made positive. G has many valleys where roots are complex, of a width of order 1/t: at long horizons
    more points find more of them. With two eigenvalues G has poles, and -inf, or what floats leave of it, is found.

    >>> found = best("heavy_ball", Spectrum.diagonal([1.0, 2.0, 9.0], [1.0, 1.0, 1.0]), 8)
    >>> float(found.eta.round(4)), float(found.beta.round(4)), float(found.G.round(4))
    (0.176, 0.4335, -1.3104)
    """
    check_choice("best", "rule", rule, RULES)
    check_kind("best", "spectrum", spectrum, Spectrum)
    t, size = one_horizon("best", steps), count("best", "grid", grid, 8)
    kept = count("best", "starts", starts)
    x = _starts(rule, spectrum, t, measure, size, kept)
    for _ in range(_ITERATIONS):
        x = _newton(rule, spectrum, x, t, measure)
    at = rule, spectrum, np.exp(x[0]), x[1], t
    G = log_objective(*at, measure=measure)
    slope = _slope(d_log_objective(*at, measure=measure), x)
    first = np.argmin(np.where(np.isnan(G), np.inf, G), axis=0)[None]
    eta, beta, least, left = (
        np.take_along_axis(y, first, axis=0)[0] for y in (np.exp(x[0]), x[1], G, np.max(np.abs(slope), axis=0))
    )
    return Best(eta, beta, least, left)


def _starts(rule: Rule, spectrum: Spectrum, t: int, measure: Measure, grid: int, kept: int) -> Floats:
    """Return (log eta, beta) of the starting points, (2, kept + 1, ...)."""
    batch = spectrum.batch_shape
    wide = (grid, grid, *(1,) * len(batch))
    beta = np.broadcast_to(np.linspace(0.0, 1.0, grid, endpoint=False) ** 2, (grid, grid)).reshape(wide)
    share = np.broadcast_to(np.linspace(0.0, 1.0, grid + 2)[1:-1, None], (grid, grid)).reshape(wide)
    eta = share * stability_limit(rule, beta) / spectrum.L
    G = log_objective(rule, spectrum, eta, beta, t, measure=measure)
    padded = np.pad(G, [(1, 1), (1, 1), *[(0, 0)] * len(batch)], constant_values=np.inf)
    around = [padded[i : i + grid, j : j + grid] for i in range(3) for j in range(3)]
    ranked = np.where(np.min(around, axis=0) >= G, G, np.inf).reshape(grid * grid, *batch)
    order = np.argsort(ranked, axis=0)[:kept]  # where there are fewer minima, other points of the grid
    found = [np.broadcast_to(y, G.shape).reshape(grid * grid, *batch) for y in (np.log(eta), beta)]
    picked = [np.take_along_axis(y, order, axis=0) for y in found]
    limit = (polyak if rule == "heavy_ball" else nesterov)(spectrum.alpha, spectrum.L)
    ends = np.log(limit[0]), np.clip(limit[1], 0.0, _LARGEST_BETA)
    return np.stack([np.concatenate([y, end[None]]) for y, end in zip(picked, ends, strict=True)])


def _slope(slope: RateSlope, x: Floats) -> Floats:
    """Return the gradient in (log eta, beta), without what points out of the range of beta."""
    in_beta = np.where((x[1] <= 0) & (slope.beta > 0), 0.0, slope.beta)
    return np.stack([slope.eta * np.exp(x[0]), np.where((x[1] >= _LARGEST_BETA) & (in_beta < 0), 0.0, in_beta)])


def _newton(rule: Rule, spectrum: Spectrum, x: Floats, t: int, measure: Measure) -> Floats:
    """Return the best point along a step of Newton's method, or x itself."""
    at, eta = (rule, spectrum, np.exp(x[0]), x[1], t), np.exp(x[0])
    first, second = d_log_objective(*at, measure=measure), d2_log_objective(*at, measure=measure)
    slope = _slope(first, x)
    held = (slope[1] == 0) & (first.beta != 0)
    crossed = np.where(held, 0.0, second.eta_beta * eta)
    H = np.stack([second.eta_eta * eta**2 + first.eta * eta, crossed, crossed, second.beta_beta], axis=-1)
    usable = np.isfinite(H).all(axis=-1) & np.isfinite(slope).all(axis=0)
    values, vectors = np.linalg.eigh(np.where(usable[..., None], H, 0.0).reshape(*x.shape[1:], 2, 2))
    floor = np.maximum(np.abs(values), 1e-3)
    step = np.einsum("...ij,...j,...kj,k...->i...", vectors, 1 / floor, vectors, np.where(usable, slope, 0.0))
    lengths = np.concatenate([[0.0], 0.5 ** np.arange(_LENGTHS)]).reshape(-1, *(1,) * (x.ndim - 1))
    tried = np.stack([x[0] - lengths * step[0], np.clip(x[1] - lengths * step[1], 0.0, _LARGEST_BETA)])
    G = log_objective(rule, spectrum, np.exp(tried[0]), tried[1], t, measure=measure)
    least = np.argmin(np.where(np.isnan(G), np.inf, G), axis=0)[None]
    return np.stack([np.take_along_axis(y, least, axis=0)[0] for y in tried])


def _ends(function: str, alpha: ArrayLike, L: ArrayLike) -> tuple[Floats, Floats]:
    low, high = finite_floats(function, "alpha", alpha), finite_floats(function, "L", L)
    if np.any(low <= 0) or np.any(low > high):
        bad_value(function, "alpha", alpha, f"numbers above 0 and at most L = {high}")
    return low, high
