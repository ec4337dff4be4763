"""Checks that can fail: the ways in which a number decides a claim, each of which a NaN fails.

A comparison with NaN is False, so what is counted or asked for is that something holds, never that nothing is violated.
A set that is chosen by its outcome may be empty: the largest of nothing is NaN, and fails.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from analysis.framework.contract import REPORTED, Check

Interval = tuple[Any, Any]


def at_most(key: str, what: str, values: Any, bound: float, interval: Interval | None = None) -> Check:
    """Return the check that every one of `values` is at most `bound`; the largest is told.

    With an `interval` (low, high) of the shape of `values` its upper ends decide, so that it is more than the sample
    that is at most `bound`.

    >>> at_most("error", "largest error", [0.1, 0.3], 0.2).holds
    False
    >>> at_most("error", "largest error", [0.1, np.nan], 0.2).holds
    False
    """
    worst, found = _pick(values, interval, 1)
    decides = worst if found is None else found[1]
    return Check(key, what, worst, f"<= {bound:.4g}{_by(interval)}", bool(decides <= bound), found)


def at_least(key: str, what: str, values: Any, bound: float, interval: Interval | None = None) -> Check:
    """Return the check that every one of `values` is at least `bound`; the least is told. See `at_most`.

    >>> at_least("gain", "least gain", [0.1, 0.3], 0.0, ([0.05, -0.1], [0.2, 0.7])).holds
    False
    """
    worst, found = _pick(values, interval, -1)
    decides = worst if found is None else found[0]
    return Check(key, what, worst, f">= {bound:.4g}{_by(interval)}", bool(decides >= bound), found)


def between(
    key: str, what: str, values: Any, low: float, high: float, interval: Interval | None = None, said: str = ""
) -> Check:
    """Return the check that every one of `values`, with its interval where there is one, lies from `low` to `high`.

    The value nearest to an end, or farthest outside, is told. `said` takes the place of "low to high".

    >>> between("ratio", "all ratios", [0.9, 1.2], 0.8, 1.1).measured
    1.2
    """
    x, lower, upper = _flat(values, interval)
    expected = (said or f"{low:.4g} to {high:.4g}") + _by(interval)
    margin = np.minimum(lower - low, high - upper)
    if not x.size or np.isnan(margin).any() or np.isnan(x).any():
        return Check(key, what, np.nan, expected, False)
    at = int(np.argmin(margin))
    found = None if interval is None else (float(lower[at]), float(upper[at]))
    return Check(key, what, float(x[at]), expected, bool(margin[at] >= 0), found)


def agrees(key: str, what: str, value: float, expected: float, interval: Interval, slack: float = 0.0) -> Check:
    """Return the check that what is expected lies in the interval of a sample, or within `slack` of it.

    >>> agrees("mean", "mean of runs", 1.1, 1.0, (0.9, 1.3)).holds
    True
    """
    low, high = (float(end) for end in interval)
    holds = bool(low - slack <= expected <= high + slack) and bool(np.isfinite(value))
    near = f" within {slack:.3g}" if slack else ""
    return Check(key, what, float(value), f"{expected:.4g} in the interval{near}", holds, (low, high))


def none_of(key: str, what: str, right: Any) -> Check:
    """Return the check that every case is right; how many are not is told. A case of NaN is to be False in `right`.

    >>> x = np.array([0.1, np.nan])
    >>> none_of("bound", "bound exceeded", x <= 1).measured
    1.0
    """
    mask = np.atleast_1d(np.asarray(right))
    if mask.dtype != bool:
        raise TypeError(f"none_of: right has the dtype {mask.dtype}; expected bools, True where a case is right.")
    count = int(np.sum(~mask))
    return Check(key, f"{what}, of {mask.size} cases", float(count), "0", count == 0 and mask.size > 0)


def reported(key: str, what: str, value: Any, interval: Interval | None = None) -> Check:
    """Return a number of which nothing is expected.

    >>> reported("lost", "runs lost in float32", 3).holds is None
    True
    """
    found = None if interval is None else (float(interval[0]), float(interval[1]))
    return Check(key, what, float(value), REPORTED, None, found)


def mean_interval(values: Any, level: float = 0.95, axis: int = -1) -> tuple[Any, Any]:
    """Return the interval of the mean over an axis, by Student's t; NaN where there are less than two values.

    >>> low, high = mean_interval([1.0, 2.0, 3.0])
    >>> round(float(low), 3), round(float(high), 3)
    (-0.484, 4.484)
    """
    x = np.asarray(values, dtype=float)
    n = x.shape[axis]
    if n < 2:
        return (np.full(np.delete(x.shape, axis), np.nan),) * 2
    half = _t_quantile(0.5 + level / 2, n - 1) * x.std(axis=axis, ddof=1) / np.sqrt(n)
    return x.mean(axis=axis) - half, x.mean(axis=axis) + half


def share_interval(mask: Any, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the share of True among independent cases (Clopper and Pearson 1934).

    >>> low, high = share_interval([True] * 12)
    >>> round(low, 3), high
    (0.735, 1.0)
    """
    x = np.asarray(mask).ravel()
    if not x.size or np.isnan(x.astype(float)).any():
        return np.nan, np.nan
    return _share_interval(int(x.astype(bool).sum()), x.size, level)


# An experiment asks for few quantiles and counts, each of them many times; SciPy is slow at both.
@cache
def _t_quantile(probability: float, freedom: int) -> Any:
    return stats.t.ppf(probability, freedom)


@cache
def _share_interval(count: int, size: int, level: float) -> tuple[float, float]:
    found = stats.binomtest(count, size).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def _pick(values: Any, interval: Interval | None, sign: int) -> tuple[float, tuple[float, float] | None]:
    """Return the value whose upper end (`sign` -1: lower end) is the largest (least), and its interval.

    NaN where one is NaN, an end that does not decide too, or there is none.
    """
    x, low, high = _flat(values, interval)
    ends = high if sign > 0 else -low
    if not x.size or np.isnan([x, low, high]).any():
        return np.nan, None
    at = int(np.argmax(ends))
    return float(x[at]), None if interval is None else (float(low[at]), float(high[at]))


def _flat(values: Any, interval: Interval | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, lower and upper ends, each a flat array of floats."""
    low, high = interval or (values, values)
    x, low, high = np.broadcast_arrays(*(np.asarray(part, dtype=float) for part in (values, low, high)))
    return x.ravel(), low.ravel(), high.ravel()


def _by(interval: Any) -> str:
    return "" if interval is None else ", with its interval"
