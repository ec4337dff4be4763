"""What objectives are made of beside their measure: weights of the times, and transformations with their slopes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from metagrad.guard import frozen
from metagrad.scaled import Scaled, surely_positive
from metagrad.xp import namespace

UNIT_WEIGHT = Scaled(np.asarray(0.5), np.asarray(1, dtype=np.int64))


def at_the_end(t: int, steps: int) -> Scaled | None:
    """Return the weight 1 at t = T, and none before."""
    return UNIT_WEIGHT if t == steps else None


def equal_share(t: int, steps: int) -> Scaled | None:
    """Return the weight 1/T at t = 1..T: the mean over the trajectory."""
    return _share(steps) if t >= 1 else None


@lru_cache(maxsize=64)
def _share(steps: int) -> Scaled:
    """Return 1/T, which is asked for several times a step."""
    return frozen(Scaled.of(np.asarray(1.0 / steps)))  # type: ignore[no-any-return]


def power_weight(rho: float, t: int) -> Scaled:
    """Return rho**t for rho > 0, of any size, by repeated squaring of the mantissa."""
    if rho == 1:
        return UNIT_WEIGHT
    result, base = UNIT_WEIGHT, Scaled.of(np.asarray(float(rho)))
    while t:
        if t & 1:
            result = result * base
        base, t = base * base, t >> 1
    return result


def unchanged(x: Scaled) -> tuple[Scaled, Scaled]:
    """Return x and its derivative 1, in the shape and dtype of x."""
    xp = namespace(x.mantissa)
    return x, Scaled(xp.full(x.shape, 0.5, dtype=x.dtype), xp.ones(x.shape, dtype=np.int64))


def log_and_slope(x: Scaled, scale: float = 1.0) -> tuple[Scaled, Scaled]:
    """Return scale * log(x) and its derivative scale / x; -inf and inf at zero, NaN below."""
    xp = namespace(x.mantissa)
    factor = xp.asarray(scale, dtype=x.dtype)
    if surely_positive(x):  # the usual case, found cheaply
        value = scale * x.log(positive=True)
        return Scaled.of(value.astype(x.dtype)), Scaled.of(factor / x.mantissa, -x.exponent)
    # The logarithm is taken in float64 (the exponents of a long unroll do not fit float16), then stored as x is.
    value = Scaled.of((scale * x.log()).astype(x.dtype))
    safe = Scaled(xp.where(x.mantissa == 0, xp.asarray(0.5, dtype=x.dtype), x.mantissa), x.exponent)
    slope = Scaled.of(factor / safe.mantissa, -safe.exponent)
    undefined = xp.where(x.mantissa == 0, xp.asarray(xp.inf, dtype=x.dtype), slope.mantissa)
    return value, Scaled(xp.where(x.mantissa < 0, xp.asarray(xp.nan, dtype=x.dtype), undefined), slope.exponent)
