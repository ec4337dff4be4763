"""Numbers of 106 bits and any magnitude: x = (high + low) 2^power, arrays of them.

A power r_t of a 2 x 2 matrix next to a double root turns a relative error u of its entries into t^2 u: with the 53
bits of a float nothing is left of the second derivatives at t = 10^6. With 106 bits (double-double, Dekker 1971,
Knuth) the same error is 1e-20. The power of two beside the digits keeps sizes that no float holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.modes import two_product, two_sum
from metagrad.theory.numbers.signed_log import SignedLog

Floats = NDArray[np.float64]
_OF_ZERO = -(2**60)  # the power of zero: below that of any other number, so that it never decides how terms are aligned
_FARTHEST = 2000  # a term so many bits below the largest one is nothing beside it


@dataclass(frozen=True, eq=False)
class Wide:
    """(high + low) 2^power: high in [1/2, 1) in magnitude or 0, |low| at most half a unit of its last bit."""

    high: Floats
    low: Floats
    power: NDArray[np.int64]

    @classmethod
    def of(cls, value: ArrayLike) -> Wide:
        """Return finite floats, exactly."""
        x = np.asarray(value, np.float64)
        return _normal(x, np.zeros_like(x), np.zeros(x.shape, np.int64))

    @classmethod
    def from_log(cls, log: Floats) -> Wide:
        """Return exp(log), for logarithms that may be -inf; the rounding of exp is that of a float."""
        power = np.where(np.isfinite(log), np.rint(log / np.log(2.0)), 0.0)
        rest = np.exp(log - power * np.log(2.0))
        return _normal(rest, np.zeros_like(rest), power.astype(np.int64))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.high.shape

    def __getitem__(self, index: Any) -> Wide:
        """Return the entries at a NumPy index."""
        return Wide(self.high[index], self.low[index], self.power[index])

    def __neg__(self) -> Wide:
        """Return -x."""
        return Wide(-self.high, -self.low, self.power)

    def __mul__(self, other: Wide) -> Wide:
        """Return x y to 2^-103."""
        product, error = two_product(self.high, other.high)
        error = error + (self.high * other.low + self.low * other.high)
        high = product + error
        return _normal(high, (product - high) + error, self.power + other.power)

    def __add__(self, other: Wide) -> Wide:
        """Return x + y to 2^-104 of the sum, cancellation included."""
        power = np.maximum(self.power, other.power)
        (high, low), (other_high, other_low) = self._at(power), other._at(power)
        total, error = two_sum(high, other_high)
        small, small_error = two_sum(low, other_low)
        total, error = _fast_two_sum(total, error + small)
        total, error = _fast_two_sum(total, error + small_error)
        return _normal(total, error, power)

    def __sub__(self, other: Wide) -> Wide:
        """Return x - y."""
        return self + (-other)

    def __truediv__(self, other: Wide) -> Wide:
        """Return x / y to the 53 bits of a float; NaN where y is zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            high = np.where(other.high == 0, np.nan, self.high / other.high)
        return _normal(high, np.zeros_like(high), self.power - np.where(other.high == 0, 0, other.power))

    def doubled(self, times: int = 1) -> Wide:
        """Return x 2^times, exactly."""
        return Wide(self.high, self.low, np.where(self.high == 0, self.power, self.power + times))

    def sum(self) -> Wide:
        """Return the sum over the last axis, to the 53 bits of a float, of the largest term where terms cancel."""
        power = np.max(self.power, axis=-1)
        high, low = self._at(power[..., None])
        total = high.sum(axis=-1) + low.sum(axis=-1)
        return _normal(total, np.zeros_like(total), power)

    def to_log(self) -> SignedLog:
        """Return sign and natural logarithm."""
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.log(np.abs(self.high)) + self.low / self.high + self.power * np.log(2.0)
        return SignedLog(np.sign(self.high), np.where(self.high == 0, -np.inf, log))

    def to_float(self) -> Floats:
        """Return the value as float64: 0 or inf where it leaves the range, as the hardware would have it."""
        with np.errstate(over="ignore", under="ignore"):
            power = np.clip(self.power, -_FARTHEST, _FARTHEST).astype(np.int32)
            return np.asarray(np.ldexp(self.high + self.low, power), np.float64)

    def _at(self, power: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return the digits in units of 2^power, which is not below the power of x."""
        shift = np.maximum(self.power - power, -_FARTHEST).astype(np.int32)
        with np.errstate(under="ignore"):
            return np.ldexp(self.high, shift), np.ldexp(self.low, shift)


def stack(parts: Sequence[Wide], axis: int = 0) -> Wide:
    """Return the arrays, of one shape, along a new axis."""
    return Wide(*(np.stack([getattr(part, name) for part in parts], axis) for name in ("high", "low", "power")))


def join(parts: Sequence[Wide]) -> Wide:
    """Return the arrays along their first axis."""
    return Wide(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("high", "low", "power")))


def _normal(high: Floats, low: Floats, power: NDArray[np.int64]) -> Wide:
    digits, moved = np.frexp(high)
    with np.errstate(under="ignore"):
        rest = np.ldexp(low, -moved)
    return Wide(digits, rest, np.where(digits == 0, _OF_ZERO, power + moved))


def _fast_two_sum(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    total = x + y
    return total, y - (total - x)
