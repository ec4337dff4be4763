"""Choosing step sizes on curves over the step size: train-by-train, train-by-validation, and where they are equal.

Expected losses are L = L_s + sigma^2 L_n, a part of the signal and one of the noise, so that two curves give every
noise level. They are interpolated in their logarithms, over the logarithm of the step size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline, CubicSpline

_POINTS = 800


@dataclass(frozen=True)
class Curves:
    """Over ln eta (k,), evenly: train loss and risk, each (2, k) with the parts of signal and noise."""

    places: np.ndarray
    train: np.ndarray
    risk: np.ndarray


def curves(etas: np.ndarray, values: np.ndarray, slopes: np.ndarray | None = None) -> Curves:
    """Return the curves through values (k, 4): train signal, train noise, risk signal, risk noise; d/deta if known.

    Step sizes from the first one on at which a value leaves the float range are left out.
    """
    beyond = ~np.all(np.isfinite(values) & (values > 0), axis=1)
    last = int(np.argmax(beyond)) if beyond.any() else len(etas)
    x, logs = np.log(etas[:last]), np.log(values[:last])
    places = np.linspace(x[0], x[-1], _POINTS)
    if slopes is None:
        fine = CubicSpline(x, logs)(places)
    else:
        fine = CubicHermiteSpline(x, logs, etas[:last, None] * slopes[:last] / values[:last])(places)
    found = np.exp(fine).T
    return Curves(places, found[:2], found[2:])


def minimum(losses: np.ndarray) -> np.ndarray:
    """Return where each row of losses (m, k) is least, as a fraction of indices: a parabola through three entries."""
    best = np.clip(np.argmin(losses, axis=1), 1, losses.shape[1] - 2)
    left, centre, right = (losses[np.arange(len(losses)), best + i] for i in (-1, 0, 1))
    bend = left - 2 * centre + right
    shift = np.where(bend > 0, (left - right) / np.where(bend > 0, 2 * bend, 1.0), 0.0)
    return best + np.clip(shift, -1, 1)


def mixed(parts: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Return L_s + sigma^2 L_n (m, k) for noise levels (m,)."""
    return parts[0] + sigmas[:, None] ** 2 * parts[1]


def risk_at(of: Curves, place: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Return the risk at ln eta `place` (m,), each with its own noise level."""
    signal, noise = (np.interp(place, of.places, part) for part in of.risk)
    return signal + sigmas**2 * noise


def risks(whole: Curves, half: Curves, sigmas: np.ndarray) -> np.ndarray:
    """Return (3, m): by train on all samples; by validation, run on its half; the same, run on all samples in the end.

    A step size that the half has chosen is used with all samples for as many epochs.
    """
    by_train, by_validation = (
        np.interp(minimum(mixed(parts, sigmas)), np.arange(_POINTS), of.places)
        for of, parts in ((whole, whole.train), (half, half.risk))
    )
    return np.stack(
        [risk_at(of, place, sigmas) for of, place in ((whole, by_train), (half, by_validation), (whole, by_validation))]
    )


def crossings(gain: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Return the noise levels at which a gain (m,) changes its sign, between its entries by a line in ln sigma."""
    at = np.flatnonzero(np.sign(gain[:-1]) * np.sign(gain[1:]) < 0)
    share = gain[at] / (gain[at] - gain[at + 1])
    x = np.log(sigmas)
    return np.exp(x[at] + share * (x[at + 1] - x[at]))


def above(gain: np.ndarray, sigmas: np.ndarray) -> float:
    """Return the noise level above which the gain stays positive; NaN if there is none among `sigmas`."""
    found = crossings(gain, sigmas)
    return float(found[-1]) if len(found) and gain[-1] > 0 else np.nan
