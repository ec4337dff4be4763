"""Numbers as a sign and a natural logarithm: value = sign * exp(log).

After t steps a quadratic's loss is a sum of terms mu^(2t). At t = 10^6 its logarithm is of order 10^6, while float64
ends at a logarithm of 709 and every usual number type turns such a value into 0 or inf. Their signs, ratios and
logarithms are ordinary numbers, and all that the theory needs; hence this pair. A logarithm x carries an absolute
error of about |x| eps, so the value it stands for has that relative error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_LARGEST = float(np.log(np.finfo(np.float64).max))
_SMALLEST = float(np.log(np.finfo(np.float64).tiny))


@dataclass(frozen=True, eq=False)
class SignedLog:
    """An array of real numbers, value = sign * exp(log).

    `sign` is -1, 0, 1, or NaN for an undefined value; `log` is the natural logarithm of the magnitude, -inf for zero.
    Both are float64 arrays of one shape. Any magnitude up to exp(1.8e308) is representable.

    >>> x = SignedLog.from_float(-2.0) * SignedLog(1.0, 1e7)
    >>> float(x.sign), round(float(x.log), 3)
    (-1.0, 10000000.693)
    """

    sign: Floats
    log: Floats

    def __post_init__(self) -> None:
        """Broadcast the two parts against each other."""
        sign, log = np.broadcast_arrays(np.asarray(self.sign, np.float64), np.asarray(self.log, np.float64))
        object.__setattr__(self, "sign", sign)
        object.__setattr__(self, "log", log)

    @classmethod
    def from_float(cls, value: ArrayLike) -> SignedLog:
        """Return the numbers of a float array; NaN becomes an undefined value, inf has log = inf."""
        array = np.asarray(value, np.float64)
        with np.errstate(divide="ignore"):
            return cls(np.sign(array), np.log(np.abs(array)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.sign.shape

    @property
    def log10(self) -> Floats:
        """The decimal logarithm of the magnitude."""
        return np.asarray(self.log / np.log(10.0), np.float64)

    def __getitem__(self, index: Any) -> SignedLog:
        """Return the entries at a NumPy index."""
        return SignedLog(self.sign[index], self.log[index])

    def __neg__(self) -> SignedLog:
        """Return -x."""
        return SignedLog(-self.sign, self.log)

    def __abs__(self) -> SignedLog:
        """Return |x|."""
        return SignedLog(np.abs(self.sign), self.log)

    def __mul__(self, other: SignedLog | ArrayLike) -> SignedLog:
        """Return x y; zero times anything finite is zero."""
        y = other if isinstance(other, SignedLog) else SignedLog.from_float(other)
        return _tidy(self.sign * y.sign, self.log, y.log)

    __rmul__ = __mul__

    def __truediv__(self, other: SignedLog | ArrayLike) -> SignedLog:
        """Return x / y; undefined (sign NaN) where y is zero."""
        y = other if isinstance(other, SignedLog) else SignedLog.from_float(other)
        inverse = np.where(y.sign == 0, np.nan, y.sign)
        return _tidy(self.sign * inverse, self.log, -y.log)

    def __add__(self, other: SignedLog | ArrayLike) -> SignedLog:
        """Return x + y; relative accuracy is lost where they cancel."""
        y = other if isinstance(other, SignedLog) else SignedLog.from_float(other)
        signs, logs = np.broadcast_arrays(self.sign, y.sign), np.broadcast_arrays(self.log, y.log)
        return SignedLog(np.stack(signs), np.stack(logs)).sum(axis=0)

    __radd__ = __add__

    def sum(self, axis: int | tuple[int, ...] | None = None) -> SignedLog:
        """Return the sum over `axis` by a signed log-sum-exp.

        log|sum| = m + log|sum_i sign_i exp(log_i - m)| with m = max_i log_i. Terms that cancel lose relative accuracy
        in proportion to sum |x_i| / |sum x_i|; an exact cancellation is zero.
        """
        largest = np.max(self.log, axis=axis, keepdims=True, initial=-np.inf)
        shift = np.where(np.isfinite(largest), largest, 0.0)
        total = np.sum(self.sign * np.exp(self.log - shift), axis=axis, keepdims=True)
        with np.errstate(divide="ignore"):
            log = np.log(np.abs(total)) + shift
        return SignedLog(np.squeeze(np.sign(total), axis), np.squeeze(log, axis))

    def to_float(self, *, ieee: bool = False) -> Floats:
        """Return the values as float64.

        Undefined values become NaN. A nonzero magnitude outside of float64's normal range raises OverflowError, which
        names it; with `ieee=True` it becomes inf, a subnormal number or 0, as the hardware would have it.
        """
        outside = (self.sign != 0) & ~np.isnan(self.sign) & ((self.log > _LARGEST) | (self.log < _SMALLEST))
        if not ieee and np.any(outside):
            worst = self.log10[outside][np.argmax(np.abs(self.log[outside]))]
            raise OverflowError(
                f"SignedLog.to_float: a magnitude is 10^{worst:.6g}; float64 holds 10^-307.65 to 10^308.25. "
                "Use .sign and .log, or ieee=True for inf and 0."
            )
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.where(self.sign == 0, 0.0, self.sign * np.exp(self.log)), np.float64)


def _tidy(sign: Floats, log: Floats, other: Floats) -> SignedLog:
    with np.errstate(invalid="ignore"):
        total = log + other
    return SignedLog(sign, np.where(sign == 0, -np.inf, total))


def signed_sum(sign: ArrayLike, log: Floats, log_factor: ArrayLike) -> SignedLog:
    """Return exp(log_factor) * sum_i sign_i exp(log_i) over the last axis; terms with log = -inf are zero."""
    total = SignedLog(np.where(log == -np.inf, 0.0, sign), log).sum(axis=-1)
    scaled = np.where(total.sign == 0, -np.inf, total.log + np.asarray(log_factor, np.float64))
    return SignedLog(np.where(scaled == -np.inf, 0.0, total.sign), scaled)
