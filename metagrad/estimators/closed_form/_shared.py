"""What the closed forms have in common: messages, and the way from the numbers of the theory to `Scaled`."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.scaled import Scaled
from metagrad.xp import Array, float_info, to_host

WHERE = "closed_form"
USE_REVERSE = "Use method='reverse'."
UNIT_ROUNDOFF = float_info("float64").eps / 2
Solved = tuple[Scaled, Scaled]  # the value (B,) and the derivative (B, ...)


def quotient_rounding(log_rate: Scaled, steps: int) -> Array:
    """Return the rounding of F'/F where F = exp(T log_rate)."""
    size = np.abs(np.ldexp(log_rate.mantissa, np.clip(log_rate.exponent, -1000, 1000).astype(np.int32)))
    return np.minimum(UNIT_ROUNDOFF * np.where(np.isfinite(size), steps * size, 0.0), 1.0)


def host(x: Any) -> Any:
    return np.asarray(to_host(x), dtype=np.float64)


def scaled(number: Any) -> Scaled:
    """Return a SignedLog of the theory as Scaled."""
    return Scaled.from_log(number.sign, number.log)
