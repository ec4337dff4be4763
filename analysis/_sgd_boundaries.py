"""Where train-by-validation comes to win, from expected losses given each of a sample of inputs X.

Tuning takes one training time for all X: the one of the least mean of the logarithm of the loss (the log objective),
and ways of tuning are compared by the mean of the logarithm of the risk. In the limit, where all X agree, this is the
mean itself. At finite d a mean over X is no statistic to look at: a row of X that is drawn k times in a run adds the
moment eta^2k E||x||^4k, which grows like (2k)!, so that the mean over X, finite for every number of steps, is that of
inputs too rare to be in any sample, and in a sample that of the least stable X. Logarithms have light tails.

The same X stand behind all batch sizes, epochs, samples (the first n rows) and halves, so that differences are paired.
Intervals are those of jackknife pseudo-values over X (Tukey 1958), which are as good as independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from analysis import _tuned_curves as tuned

EVERY = 2  # of the fine places of the curves are looked at


@dataclass(frozen=True)
class Given:
    """Over ln of the training time (k,), evenly: signal and noise of train loss, then of the risk, (N, 4, k)."""

    places: np.ndarray
    parts: np.ndarray

    @classmethod
    def of(cls, times: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> Given:
        """Return the curves through values and slopes (N, times, 4), up to where one of them leaves the floats."""
        usable = np.all(np.isfinite(values) & (values > 0), axis=(0, 2))
        last = len(times) if usable.all() else int(np.argmin(usable))
        found = [tuned.curves(times[:last], *pair) for pair in zip(values[:, :last], slopes[:, :last], strict=True)]
        parts = np.stack([np.concatenate([one.train, one.risk]) for one in found])
        return cls(found[0].places[::EVERY], parts[..., ::EVERY])

    def logs(self, measure: str, sigmas: np.ndarray) -> np.ndarray:
        """Return the logarithms (N, sigmas, k) of a loss, "train" or "risk"."""
        signal, noise = np.moveaxis(self.parts[:, :2] if measure == "train" else self.parts[:, 2:], 1, 0)
        return np.log(signal[:, None] + sigmas[:, None] ** 2 * noise[:, None])

    def risk_at(self, time: float, sigma: float) -> np.ndarray:
        """Return the risk (N,) after a training time, given each X."""
        x = np.log(time)
        signal, noise = (np.array([np.interp(x, self.places, row) for row in self.parts[:, part]]) for part in (2, 3))
        return np.asarray(signal + sigma**2 * noise)


def pseudo_levels(whole: Given, half: Given, sigmas: np.ndarray) -> np.ndarray:
    """Return pseudo-values (2, N) of ln of the noise from which on validation wins, for what it learns from in the end.

    NaN for a way in which it does not come to win among `sigmas`, with all X or without one of them.
    """
    losses = whole.logs("train", sigmas), whole.logs("risk", sigmas), half.logs("risk", sigmas)
    count = len(whole.parts)
    sums = [x.sum(axis=0) for x in losses]
    all_of_them = _levels([x[None] / count for x in sums], whole, half, sigmas)[:, 0]
    without = _levels([(x - own) / (count - 1) for x, own in zip(sums, losses, strict=True)], whole, half, sigmas)
    found = count * all_of_them[:, None] - (count - 1) * without
    return np.where(np.isnan(found).any(axis=1, keepdims=True), np.nan, found)


def _levels(means: list[np.ndarray], whole: Given, half: Given, sigmas: np.ndarray) -> np.ndarray:
    """Return ln of the levels (2, means) for mean logarithms (means, sigmas, k): train, risk, the half's risk."""
    shape = means[0].shape[:2]
    train, risk, of_half = (x.reshape(-1, x.shape[-1]) for x in means)
    by_train, by_half = tuned.minimum(train), tuned.minimum(of_half)
    step, own = (x.places[1] - x.places[0] for x in (whole, half))
    same_time = (half.places[0] + by_half * own - whole.places[0]) / step
    best = _at(risk, by_train)
    gains = np.stack([best - _at(of_half, by_half), best - _at(risk, same_time)]).reshape(2, *shape)
    return np.log([[tuned.above(gain, sigmas) for gain in way] for way in gains])


def _at(rows: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return each row (m, k) at a fraction of indices (m,), by a line between its entries."""
    inside = np.clip(index, 0, rows.shape[1] - 1)
    low = np.minimum(inside.astype(int), rows.shape[1] - 2)
    every, share = np.arange(len(rows)), inside - low
    return np.asarray((1 - share) * rows[every, low] + share * rows[every, low + 1])


def gain_of(found: np.ndarray, exact: np.ndarray, level: float) -> dict[str, Any]:
    """Return the gains of runs with the risks `found` (3, N, M), by train and both ways, against exact ones (3, N).

    The gain is (R_TbT - R_TbV)/(E R_TbT + E R_TbV) given X, averaged over X: tanh of half a logarithm of a ratio, and
    without a bias, however few runs there are for each X. Its interval has the `level`, and is that of the runs: both
    sides share the X and the training times.
    """
    total = exact[0] + exact[1:]  # (2, N)
    each = (found[0] - found[1:]) / total[..., None]
    error = np.sqrt(np.sum(each.var(axis=-1, ddof=1) / each.shape[-1], axis=-1)) / each.shape[1]
    mean = each.mean(axis=(1, 2))
    half = stats.t.ppf(0.5 + level / 2, each.shape[1] * (each.shape[2] - 1)) * error
    return {
        "gain": mean,
        "gain_interval": np.stack([mean - half, mean + half], axis=-1),
        "gain_exact": np.mean((exact[0] - exact[1:]) / total, axis=-1),
    }
