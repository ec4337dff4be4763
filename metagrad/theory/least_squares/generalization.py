"""The paper's statements on train-by-train and train-by-validation, as predicates with the constants that they hide.

In the limit of `tuned_limit`, with w* of squared norm `signal` and n/d = `ratio`:

| statement [as recalled from Wang et al. 2021, section 4]                          | constant found here            |
|-----------------------------------------------------------------------------------|--------------------------------|
| n in [d/4, 3d/4], sigma large: the risk of train-by-train is Omega(sigma^2)       | `noise_fitted`: R/sigma^2      |
| the same: train-by-validation's is at most signal - Omega(1/sigma^2)              | `signal_learned`               |
| n >> d: both are (1 + eps) d sigma^2/n                                            | `excess_over_optimum`: 1 + eps |

As t grows train-by-train interpolates: `interpolation_risk`. As sigma grows `signal_learned` tends to 1: the gain of
train-by-validation is (n_1/d) signal^2/sigma^2, n_1 the samples that it trains on; and both risks are equal near
n/d = 2 sigma^2: `large_noise_boundary`. Derived; checked by tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.least_squares.checks import checked_level, checked_ratio
from metagrad.theory.least_squares.marchenko_pastur import atom
from metagrad.theory.least_squares.tuned_limit import Tuning, gain_tbv, risk_tbt, risk_tbv, tuning_of
from metagrad.theory.numbers.checks import Floats, bad_value, finite_floats, number, step_counts

Verdicts = NDArray[np.bool_]


def interpolation_step_size(gamma: ArrayLike) -> Floats:
    """Return 1/(1 + gamma) = 2/(s_- + s_+), where train-by-train's step size ends as t grows."""
    return np.asarray(1 / (1 + checked_ratio("interpolation_step_size", gamma)), np.float64)


def interpolation_risk(gamma: ArrayLike, *, sigma: ArrayLike, signal: ArrayLike = 1.0) -> Floats:
    """Return the risk of the least-squares solution of smallest norm, to which train-by-train's tends as t grows.

    sigma^2 gamma/(1 - gamma) for gamma < 1, signal (1 - 1/gamma) + sigma^2/(gamma - 1) for gamma > 1, inf at gamma = 1
    where sigma > 0.

    >>> float(interpolation_risk(2.0, sigma=1.0))
    1.5
    """
    noise, strength = (checked_level("interpolation_risk", *x) for x in (("sigma", sigma), ("signal", signal)))
    ratio, unseen = checked_ratio("interpolation_risk", gamma), atom(gamma)
    with np.errstate(divide="ignore", invalid="ignore"):
        fitted = np.where(noise == 0, 0.0, noise**2 * np.minimum(ratio, 1) / np.abs(1 - ratio))
    return np.asarray(strength * unseen + fitted, np.float64)


def large_noise_boundary(steps: ArrayLike, *, sigma: ArrayLike) -> Floats:
    """Return n/d = 2 sigma^2 + 1 - (2t (2^{1/t} - 1) - 1)^2, at which both risks are equal for large sigma, t >= 3.

    Signal 1, half split, run on that half; for long horizons 2 sigma^2 + 0.8508. The error is O(1/sigma^2), below 0.01
    from sigma = 5 and t = 10 on. Derived in `symbolic`; checked by tests against `tuned_limit.boundary`.

    >>> large_noise_boundary(200, sigma=5.0).round(2)
    np.float64(50.85)
    """
    t = step_counts("large_noise_boundary", steps)
    if np.any(t < 3):
        bad_value("large_noise_boundary", "steps", f"{t.min():.0f}", "at least 3", "Earlier nothing is interpolated.")
    noise = checked_level("large_noise_boundary", "sigma", sigma)
    return np.asarray(2 * noise**2 + 1 - (2 * t * np.expm1(np.log(2) / t) - 1) ** 2, np.float64)


def noise_fitted(steps: int, *, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> Floats:
    """Return R_TbT/sigma^2, the constant of Omega(sigma^2)."""
    noise = _noise("noise_fitted", sigma)
    return np.asarray(risk_tbt(steps, ratio=ratio, sigma=sigma, signal=signal) / noise**2, np.float64)


def signal_learned(
    steps: int, *, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0, tuning: Tuning | None = None
) -> Floats:
    """Return (signal - R_TbV) sigma^2 d/(n_1 signal^2), the constant of Omega(1/sigma^2) in units of n_1/d."""
    how, strength = tuning_of("signal_learned", tuning), checked_level("signal_learned", "signal", signal)
    gain = gain_tbv(steps, ratio=ratio, sigma=sigma, signal=signal, tuning=how)
    return np.asarray(gain * np.asarray(sigma) ** 2 / (how.split * np.asarray(ratio) * strength**2), np.float64)


def excess_over_optimum(risk: ArrayLike, *, ratio: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return R n/(d sigma^2), which is 1 + eps for many samples."""
    reached, samples = (finite_floats("excess_over_optimum", *x) for x in (("risk", risk), ("ratio", ratio)))
    return np.asarray(reached * samples / _noise("excess_over_optimum", sigma) ** 2, np.float64)


def few_samples_separate(
    steps: int, *, ratio: ArrayLike, sigma: ArrayLike, overfit: float = 1 / 3, learned: float = 0.5
) -> Verdicts:
    """Return whether R_TbT >= overfit sigma^2 while R_TbV <= 1 - learned n_1/(d sigma^2), signal 1, a half split.

    The default of `overfit` is the t -> infinity value at n = d/4, the smallest on [d/4, 3d/4].
    """
    least, enough = (number("few_samples_separate", *x) for x in (("overfit", overfit), ("learned", learned)))
    fits_noise = noise_fitted(steps, ratio=ratio, sigma=sigma) >= least
    return np.asarray(fits_noise & (signal_learned(steps, ratio=ratio, sigma=sigma) >= enough))


def many_samples_agree(steps: int, *, ratio: ArrayLike, sigma: ArrayLike, eps: float) -> Verdicts:
    """Return whether the risks of both are within a factor 1 +- eps of d sigma^2/(samples run on), signal 1."""
    how, slack = Tuning(retrain=True), number("many_samples_agree", "eps", eps)
    tbt = excess_over_optimum(risk_tbt(steps, ratio=ratio, sigma=sigma), ratio=ratio, sigma=sigma)
    tbv = excess_over_optimum(risk_tbv(steps, ratio=ratio, sigma=sigma, tuning=how), ratio=ratio, sigma=sigma)
    return np.asarray((np.abs(tbt - 1) <= slack) & (np.abs(tbv - 1) <= slack))


def _noise(function: str, sigma: ArrayLike) -> Floats:
    """Return a noise level, for quantities relative to it; ValueError at 0."""
    noise = checked_level(function, "sigma", sigma)
    if np.any(noise == 0):
        bad_value(function, "sigma", 0.0, "a number above 0", "The result is relative to sigma^2.")
    return noise
