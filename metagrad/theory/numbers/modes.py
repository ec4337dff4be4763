"""The factors a_i = 1 - eta lambda_i and their powers, accurate even for powers of millions.

|a|^(2t) turns a relative error u of a into 2t u: at t = 10^6 nothing of ten digits would be left where two modes are
nearly tied, which is where every interesting step size is. So a_i is formed as an unevaluated sum of two floats
(eta and lambda_i count as exact), and the powers are formed relative to the largest one, through
log(|a_i|/mu) = log1p((|a_i| - mu)/mu), which is small and accurate exactly where a tie matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metagrad.theory.numbers.checks import Floats

_SPLITTER = 2.0**27 + 1.0
_LARGEST_POWER = 100
"""The power of two from which on it is held beside the digits of a factor: squares and sums stay in range."""


def two_product(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return p and e with p = fl(x y) and p + e = x y exactly (Dekker's product; |x|, |y| below 1e299)."""
    product = x * y
    x_high = _SPLITTER * x - (_SPLITTER * x - x)
    y_high = _SPLITTER * y - (_SPLITTER * y - y)
    x_low, y_low = x - x_high, y - y_high
    error = x_low * y_low - (((product - x_high * y_high) - x_low * y_high) - x_high * y_low)
    return product, error


def two_sum(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return s and e with s = fl(x + y) and s + e = x + y exactly (Knuth's sum)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


@dataclass(frozen=True, eq=False)
class Factors:
    """a_i = (high_i + low_i) 2^power_i: an unevaluated sum of two floats, shape (..., d), and a power of two.

    `power` is an integer, and 0 unless |eta lambda_i| is beyond 2^100; high is a_i 2^-power_i rounded.
    """

    high: Floats
    low: Floats
    power: NDArray[np.int64]

    @classmethod
    def of(cls, eta: Floats, eigenvalues: Floats) -> Factors:
        """Return a_i = 1 - eta lambda_i from broadcastable arrays of finite numbers of any size."""
        (step, step_power), (curvature, curvature_power) = np.frexp(eta), np.frexp(eigenvalues)
        product, product_error = two_product(step, curvature)
        whole = np.where(product == 0, 0, step_power.astype(np.int64) + curvature_power)
        beyond = np.maximum(whole - _LARGEST_POWER, 0)
        product, product_error = (np.ldexp(x, whole - beyond) for x in (product, product_error))
        total, sum_error = two_sum(np.ldexp(1.0, -beyond), -product)
        high = total + (sum_error - product_error)
        low = (total - high) + (sum_error - product_error)
        return cls(high, low, beyond)

    @property
    def sign(self) -> Floats:
        """The sign of a_i."""
        return np.asarray(np.sign(self.high), np.float64)

    @property
    def magnitude(self) -> Factors:
        """|a_i|."""
        sign = np.where(self.high < 0, -1.0, 1.0)
        return Factors(sign * self.high, sign * self.low, self.power)

    @property
    def log(self) -> Floats:
        """log|a_i|, with small relative error also where |a_i| is near 1; -inf where a_i = 0."""
        size = self.magnitude
        with np.errstate(divide="ignore"):
            near_one = np.log1p(np.maximum((size.high - 1.0) + size.low, -1.0))
            log = np.where(size.high < 0.5, np.log(size.high), near_one)
        return np.asarray(np.where(self.power == 0, log, log + self.power * np.log(2.0)), np.float64)


@dataclass(frozen=True, eq=False)
class Modes:
    """The factors with the dominant one apart: |a_i| = mu exp(ratio_i).

    `sign` and `ratio` have shape (..., d), `log_mu` shape (...,). Where mu = 0, log_mu is -inf and the ratio is 0.
    """

    sign: Floats
    ratio: Floats
    log_mu: Floats
    factors: Factors

    @classmethod
    def of(cls, factors: Factors, counted: NDArray[np.bool_]) -> Modes:
        """Return the modes relative to mu = max |a_i| over those that are counted."""
        size, log_size = factors.magnitude, factors.log
        rank = size.high + 2.0**_LARGEST_POWER * size.power  # grows with |a_i|: high is below 2^100
        dominant = np.argmax(np.where(counted, rank, -1.0), axis=-1)[..., None]
        high, low, power, log_mu = (
            np.take_along_axis(x, dominant, -1) for x in (size.high, size.low, size.power, log_size)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = ((size.high - high) + (size.low - low)) / high
            close = (np.abs(excess) < 0.5) & (size.power == power)
            ratio = np.where(close, np.log1p(np.maximum(excess, -0.5)), log_size - log_mu)
        return cls(factors.sign, np.where(high == 0, 0.0, ratio), np.asarray(log_mu[..., 0], np.float64), factors)

    def powers(self, power: Floats) -> tuple[Floats, Floats]:
        """Return `common` (...,) and `relative` (..., d) with |a_i|^power = exp(common + relative_i); 0^0 = 1."""
        with np.errstate(invalid="ignore"):
            common = np.where(power == 0, 0.0, power * self.log_mu)
            relative = np.where(power[..., None] == 0, 0.0, power[..., None] * self.ratio)
        return common, relative
