"""More than one step size: a schedule eta_1 .. eta_T, or one eta_i for every coordinate of a diagonal H.

    F(eta_1..eta_T) = sum_i kappa_i prod_k (1 - eta_k lambda_i)^2
    dF/d eta_k      = -2 sum_i kappa_i lambda_i (1 - eta_k lambda_i) prod_{j != k} (1 - eta_j lambda_i)^2

A mode with a zero factor is solved at that step and stays solved, so it contributes nothing to F nor to any of the
derivatives: the factor of step k appears in dF/d eta_k, and those of the other steps squared. Derived; checked by
tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import bad_value, check_kind, check_together, finite_floats, step_counts
from metagrad.theory.numbers.modes import Factors
from metagrad.theory.numbers.signed_log import SignedLog, signed_sum
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, log_eigenvalues, log_kappa


def schedule_objective(spectrum: Spectrum, etas: ArrayLike, *, measure: Measure = "loss") -> SignedLog:
    """Return F for the schedule `etas` (..., T), step k using etas[..., k]; leading axes broadcast with the batch.

    >>> schedule_objective(Spectrum.diagonal([1.0, 2.0], [1.0, 1.0]), [0.5, 1.0]).to_float()
    array(0.)
    """
    check_kind("schedule_objective", "spectrum", spectrum, Spectrum)
    log_factors = _schedule_factors(spectrum, etas, "schedule_objective").log
    return signed_sum(1.0, log_kappa(spectrum, measure) + 2 * np.sum(log_factors, axis=-2), 0.0)


def d_schedule_objective(spectrum: Spectrum, etas: ArrayLike, *, measure: Measure = "loss") -> SignedLog:
    """Return dF/d eta_k for the schedule `etas` (..., T); the result has shape (..., T)."""
    check_kind("d_schedule_objective", "spectrum", spectrum, Spectrum)
    factors = _schedule_factors(spectrum, etas, "d_schedule_objective")
    log_factors = factors.log
    gain = (log_kappa(spectrum, measure) + log_eigenvalues(spectrum))[..., None, :]
    product = np.sum(log_factors, axis=-2, keepdims=True)
    with np.errstate(invalid="ignore"):
        log = np.where(product == -np.inf, -np.inf, 2 * product - log_factors)
    return signed_sum(-factors.sign, gain + log, np.log(2.0))


def coordinate_objective(
    spectrum: Spectrum, etas: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> SignedLog:
    """Return F = sum_i kappa_i (1 - eta_i lambda_i)^{2t} for diagonal H and step sizes `etas` (..., d).

    The coordinates are those of `Spectrum.diagonal`, in its order; `steps` broadcasts with the batch.
    """
    check_kind("coordinate_objective", "spectrum", spectrum, Spectrum)
    factors, t = _coordinate_factors(spectrum, etas, steps, "coordinate_objective")
    return signed_sum(1.0, log_kappa(spectrum, measure) + 2 * t * factors.log, 0.0)


def d_coordinate_objective(
    spectrum: Spectrum, etas: ArrayLike, steps: ArrayLike, *, measure: Measure = "loss"
) -> SignedLog:
    """Return dF/d eta_i = -2t kappa_i lambda_i (1 - eta_i lambda_i)^{2t-1}, shape (..., d)."""
    check_kind("d_coordinate_objective", "spectrum", spectrum, Spectrum)
    factors, t = _coordinate_factors(spectrum, etas, steps, "d_coordinate_objective")
    log = log_kappa(spectrum, measure) + log_eigenvalues(spectrum) + (2 * t - 1) * factors.log + np.log(2 * t)
    return SignedLog(np.where(log == -np.inf, 0.0, -factors.sign), log)


def _schedule_factors(spectrum: Spectrum, etas: ArrayLike, function: str) -> Factors:
    """Return 1 - eta_k lambda_i, shape (..., T, d)."""
    schedule = finite_floats(function, "etas", etas)
    if schedule.ndim == 0 or schedule.shape[-1] == 0:
        bad_value(function, "etas", f"of shape {schedule.shape}", "shape (..., T) with T >= 1")
    check_together(function, spectrum=spectrum.batch_shape, etas=schedule.shape[:-1])
    return Factors.of(schedule[..., None], spectrum.eigenvalues[..., None, :])


def _coordinate_factors(
    spectrum: Spectrum, etas: ArrayLike, steps: ArrayLike, function: str
) -> tuple[Factors, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    step_sizes = finite_floats(function, "etas", etas)
    d = spectrum.eigenvalues.shape[-1]
    if step_sizes.ndim == 0 or step_sizes.shape[-1] != d:
        bad_value(function, "etas", f"of shape {step_sizes.shape}", f"shape (..., {d}), a step size per coordinate")
    t = step_counts(function, steps)
    check_together(function, spectrum=spectrum.batch_shape, etas=step_sizes.shape[:-1], steps=t.shape)
    return Factors.of(step_sizes, spectrum.eigenvalues), t[..., None]
