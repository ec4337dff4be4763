"""What objectives are made of beside their measure: weights of the times, and transformations with their slopes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from metagrad.guard import frozen
from metagrad.scaled import Scaled, surely_positive
from metagrad.xp import filled, namespace

_OF_SHARES = "metagrad.estimators.windows"
UNIT_WEIGHT = Scaled(np.asarray(0.5), np.asarray(1, dtype=np.int64))


class Shared(NamedTuple):
    """The one weight of all times that have a weight."""

    times: range
    weight: Scaled

    def at(self, t: int) -> Scaled | None:
        """Return the weight of a time, None where it has none."""
        return self.weight if t in self.times else None


def shared_weight(objective: Any, steps: int) -> Shared | None:
    """Return the weight that all times have that have one: of objectives of ours alone, which tell; else None.

    A class of a user's that inherits from one of them may have other weights.
    """
    return objective.shared_weight(steps) if is_of_ours(objective) else None


def is_of_ours(objective: Any) -> bool:
    """Whether an objective is of a class of ours, and none that inherits: its weights and slopes are of known kinds.

    A share of another one (`metagrad.estimators.windows`) is what that is.
    """
    module = type(objective).__module__
    return is_of_ours(objective.whole) if module == _OF_SHARES else module.startswith("metagrad.objectives.")


def at_the_end(steps: int) -> Shared:
    """Return the weight 1 at t = T alone."""
    return Shared(range(steps, steps + 1), UNIT_WEIGHT)


@lru_cache(maxsize=64)
def equal_share(steps: int) -> Shared:
    """Return the weight 1/T at t = 1..T: the mean over the trajectory."""
    return Shared(range(1, steps + 1), frozen(Scaled.of(np.asarray(1.0 / steps))))


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
    return x, Scaled(filled(xp, x.shape, 0.5, x.dtype), filled(xp, x.shape, 1, np.int64))


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
