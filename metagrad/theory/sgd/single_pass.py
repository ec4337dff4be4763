"""SGD on fresh Gaussian samples: x ~ N(0, H), H = diag(lambda), y = x'w* + sigma noise, a new batch of b per step.

With e = w - w* and s_i = E e_i^2, the identity E[x x'S x x'] = 2HSH + tr(HS)H closes the recursion in the s_i:

    s_i+ = [(1 - eta lambda_i)^2 + eta^2 lambda_i^2/b] s_i + (eta^2 lambda_i/b) (sum_j lambda_j s_j + sigma^2)

a linear map without negative entries, whose powers reach any horizon (`linear_power`). Coordinates with lambda_i = 0
stay where they are. It is stable iff

    sum_j eta lambda_j/(2 - eta (1 + 1/b) lambda_j) < b      (isotropic: eta < 2b/(d + b + 1)).

In units of E||x||^2 = sum lambda_i, |eta| is 0 or from 10^-60 to 10^60, as are lambda, s and sigma themselves; anything
else is a ValueError. Functions of `(problem, eta, steps)` broadcast eta with steps and return `SignedLog` of that
shape. Derived; checked by tests (`symbolic`, exact fractions, 50 digits, Monte-Carlo).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, check_together, number, step_counts
from metagrad.theory.numbers.linear_power import Dual, apply_powers
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.quadratic.weighted import log_geometric_sum, mean_index
from metagrad.theory.sgd._checks import check_batch_size, checked_eta, checked_scalar, within_range


@dataclass(frozen=True, eq=False)
class SinglePass:
    """Eigenvalues lambda (d,) of the covariance, start s_0 (d,) with s_0i = E(w_0 - w*)_i^2, noise sigma, batch size b.

    >>> SinglePass([1.0, 0.1], [1.0, 1.0], sigma=0.5).eigenvalues
    array([1. , 0.1])
    """

    eigenvalues: Floats
    start: Floats
    sigma: float = 0.0
    batch_size: int = 1

    def __post_init__(self) -> None:
        """Validate."""
        eigenvalues, start = (
            within_range("SinglePass", name, getattr(self, name)) for name in ("eigenvalues", "start")
        )
        if eigenvalues.ndim != 1 or eigenvalues.size == 0:
            bad_value("SinglePass", "eigenvalues", f"of shape {eigenvalues.shape}", "shape (d,) with d >= 1")
        if start.shape != eigenvalues.shape:
            bad_value("SinglePass", "start", f"of shape {start.shape}", f"shape {eigenvalues.shape}, like eigenvalues")
        for name, array in (("eigenvalues", eigenvalues), ("start", start)):
            if np.any(array < 0):
                bad_value("SinglePass", name, f"{array.min():.6g} at its smallest", "numbers that are not negative")
        sigma = checked_scalar("SinglePass", "sigma", self.sigma)
        check_batch_size("SinglePass", self.batch_size)
        for name, value in (("eigenvalues", eigenvalues), ("start", start), ("sigma", sigma)):
            object.__setattr__(self, name, value)


def risk(problem: SinglePass, eta: ArrayLike, steps: ArrayLike) -> SignedLog:
    """Return E||w_t - w*||^2 = sum_i s_i.

    >>> risk(SinglePass([1.0], [1.0], sigma=2.0), 0.5, [1, 2]).to_float().round(12)
    array([1.75  , 2.3125])
    """
    check_kind("risk", "problem", problem, SinglePass)
    return _measure("risk", problem, eta, steps)[0]


def d_risk(problem: SinglePass, eta: ArrayLike, steps: ArrayLike) -> SignedLog:
    """Return the eta-derivative of `risk`."""
    check_kind("d_risk", "problem", problem, SinglePass)
    return _measure("risk", problem, eta, steps)[1]


def excess_loss(problem: SinglePass, eta: ArrayLike, steps: ArrayLike) -> SignedLog:
    """Return the population loss above its minimum sigma^2/2: sum_i lambda_i s_i/2."""
    check_kind("excess_loss", "problem", problem, SinglePass)
    return _measure("excess_loss", problem, eta, steps)[0]


def d_excess_loss(problem: SinglePass, eta: ArrayLike, steps: ArrayLike) -> SignedLog:
    """Return the eta-derivative of `excess_loss`."""
    check_kind("d_excess_loss", "problem", problem, SinglePass)
    return _measure("excess_loss", problem, eta, steps)[1]


def stability_threshold(problem: SinglePass) -> float:
    """Return eta_max: the risk stays bounded in t for 0 < eta < eta_max and grows without bound above.

    To a relative error of about 1e-14, whatever d and the size of the eigenvalues. ValueError where all are zero.

    >>> round(15 * stability_threshold(SinglePass([2.0] * 10, [1.0] * 10, batch_size=4)), 12)
    4.0
    """
    check_kind("stability_threshold", "problem", problem, SinglePass)
    from scipy.optimize import brentq

    lam, b = problem.eigenvalues, int(problem.batch_size)
    if not np.any(lam):
        remedy = "Every step size is stable."
        bad_value("stability_threshold", "eigenvalues", "zero", "a positive eigenvalue", remedy)
    ratios = lam / lam.max()

    def excess(h: float) -> float:
        return float(h * np.sum(ratios / (2 - h * (1 + 1 / b) * ratios))) - b

    low = 2 * b / (b + 1 + np.sum(ratios))  # if all denominators were as small as that of the largest eigenvalue
    high = 2 * b / (b + 2)  # if only the largest counted
    if excess(low) >= 0 or excess(high) <= 0:  # the two agree, to rounding
        return float(low / lam.max())
    closest = 4 * float(np.finfo(np.float64).eps)
    return float(brentq(excess, low, high, xtol=closest * low, rtol=closest) / lam.max())


def limit_risk(problem: SinglePass, eta: float) -> float:
    """Return the risk as t -> infinity, for 0 < eta < eta_max (ValueError otherwise).

    With rho = (1/b) sum_j eta lambda_j/(2 - eta (1 + 1/b) lambda_j) it is
    (eta sigma^2/b)/(1 - rho) sum_i 1/(2 - eta (1 + 1/b) lambda_i), plus what coordinates with lambda_i = 0 start with.
    """
    check_kind("limit_risk", "problem", problem, SinglePass)
    lam, b = problem.eigenvalues, int(problem.batch_size)
    if not 0 < number("limit_risk", "eta", eta) < stability_threshold(problem):
        expected = f"between 0 and the stability threshold {stability_threshold(problem):.6g}"
        bad_value("limit_risk", "eta", eta, expected, "Elsewhere there is no limit.")
    inverse = 1 / (2 - eta * (1 + 1 / b) * lam)
    rho = float(np.sum(eta * lam * inverse)) / b
    moving = lam > 0
    return float(eta * problem.sigma**2 / b / (1 - rho) * np.sum(inverse[moving]) + np.sum(problem.start[~moving]))


def isotropic_risk(
    d: int, eta: ArrayLike, steps: ArrayLike, *, start: float, sigma: float, batch_size: int = 1
) -> SignedLog:
    """Return R_t = q^t R_0 + sigma^2 eta^2 (d/b) (1 - q^t)/(1 - q), the risk where every lambda_i is 1.

    q = 1 - 2 eta + eta^2 (b + 1 + d)/b; `start` is R_0 = ||w_0 - w*||^2. Broadcasts eta with steps.

    >>> isotropic_risk(1, 0.5, [1, 2], start=1.0, sigma=2.0).to_float().round(12)
    array([1.75  , 2.3125])
    """
    return _isotropic(d, eta, steps, (start, sigma, batch_size))[0]


def d_isotropic_risk(
    d: int, eta: ArrayLike, steps: ArrayLike, *, start: float, sigma: float, batch_size: int = 1
) -> SignedLog:
    """Return the eta-derivative of `isotropic_risk`."""
    return _isotropic(d, eta, steps, (start, sigma, batch_size))[1]


def _measure(name: str, problem: SinglePass, eta: ArrayLike, steps: ArrayLike) -> tuple[SignedLog, SignedLog]:
    """Return the value and the eta-derivative; the powers are taken once for each different eta."""
    etas, t = checked_eta(name, eta, float(np.sum(problem.eigenvalues))), step_counts(name, steps)
    check_together(name, eta=etas.shape, steps=t.shape)
    etas, t = np.broadcast_arrays(etas, t)
    weights = np.ones_like(problem.start) if name == "risk" else problem.eigenvalues / 2
    moving = problem.eigenvalues > 0
    resting = float(np.sum((weights * problem.start)[~moving]))
    found = np.empty((4, *etas.shape))
    for each in np.unique(etas):
        A, z = _map(problem, float(each))
        read = np.append(weights[moving], 0.0)[: len(z)]
        one = Dual(A.value[None], A.tangent[None])
        value, slope = (x[0, :, 0] for x in apply_powers(one, z, t[etas == each], read[:, None]))
        value = _sum(value, SignedLog.from_float(np.full(value.shape, resting)))
        found[:, etas == each] = value.sign, value.log, slope.sign, slope.log
    return SignedLog(found[0], found[1]), SignedLog(found[2], found[3])


def _map(problem: SinglePass, eta: float) -> tuple[Dual, Floats]:
    """Return the map of (s, 1), or of s alone where there is no noise, and its vector at the start."""
    moving = problem.eigenvalues > 0
    lam, start, b = problem.eigenvalues[moving], problem.start[moving], int(problem.batch_size)
    noise = np.append(lam, problem.sigma**2) if problem.sigma else lam
    size = len(noise)
    A, dA = np.zeros((size, size)), np.zeros((size, size))
    rows = np.arange(len(lam))
    A[: len(lam)] = np.outer(eta**2 / b * lam, noise)
    dA[: len(lam)] = np.outer(2 * eta / b * lam, noise)
    A[rows, rows] += (1 - eta * lam) ** 2 + (eta * lam) ** 2 / b
    dA[rows, rows] += -2 * lam * (1 - eta * lam) + 2 * eta * lam**2 / b
    if not problem.sigma:
        return Dual(A, dA), start
    A[-1, -1] = 1.0
    return Dual(A, dA), np.append(start, 1.0)


def _isotropic(
    d: int, eta: ArrayLike, steps: ArrayLike, setting: tuple[float, float, int]
) -> tuple[SignedLog, SignedLog]:
    """Return R_t and its derivative from G = sum_{k<t} q^k and G' = sum_{k<t} k q^{k-1}."""
    start, sigma, b = setting
    name = "isotropic_risk"
    check_batch_size(name, b)
    if not isinstance(d, (int, np.integer)) or d < 1:
        bad_value(name, "d", d, "an integer of at least 1")
    start, sigma = checked_scalar(name, "start", start), checked_scalar(name, "sigma", sigma)
    etas, t = checked_eta(name, eta, float(d)), step_counts(name, steps)
    check_together(name, eta=etas.shape, steps=t.shape)
    etas, t = np.broadcast_arrays(etas, t)
    curvature = (b + 1 + d) / b
    x = _log_q(etas, d, b)
    dq = SignedLog.from_float(2 * (etas * curvature - 1))
    G = _positive(log_geometric_sum(x, t) - x)
    dG = G * _positive(-x) * (mean_index(x, t) - 1)
    noise, step = SignedLog.from_float(sigma) * sigma * (d / b), SignedLog.from_float(etas)
    value = _sum(_positive(t * x) * start, noise * step * step * G)
    slope = _sum(_positive((t - 1) * x) * t * dq * start, noise * step * (2 * G))
    return value, _sum(slope, noise * step * step * dq * dG)


def _log_q(eta: Floats, d: int, b: int) -> Floats:
    """Return log q, as a sum of squares where q is small and from q - 1 where it is near 1."""
    small = (1 - eta) ** 2 + eta**2 * (1 + d) / b
    near = eta * (eta * (b + 1 + d) / b - 2)
    return np.asarray(np.where(np.abs(near) < 0.5, np.log1p(np.maximum(near, -0.5)), np.log(small)), np.float64)


def _sum(a: SignedLog, b: SignedLog) -> SignedLog:
    return SignedLog(np.stack([a.sign, b.sign]), np.stack([a.log, b.log])).sum(axis=0)


def _positive(log: Floats) -> SignedLog:
    return SignedLog(np.ones_like(log), log)
