"""How scaled numbers fit into a float type, and how they are shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from metagrad.xp import float_info

if TYPE_CHECKING:
    from metagrad.scaled.numbers import Scaled


def surely_in_range(numbers: Scaled) -> bool:
    """Whether a cheap look at the host shows that all numbers are nonzero and within the range of their dtype.

    False means nothing: the numbers may be on a device, where looking would wait for it.
    """
    if not isinstance(numbers.mantissa, np.ndarray | np.generic):
        return False
    info, exponent, mantissa = float_info(np.dtype(numbers.dtype)), numbers.exponent, numbers.mantissa
    if exponent.size == 0:
        return True
    if not (exponent.min() > info.min_exponent and exponent.max() <= info.max_exponent):
        return False
    return bool(np.isfinite(mantissa).all()) and bool(mantissa.all())


def surely_finite(numbers: Scaled) -> bool:
    """Whether a cheap look at the host shows that all numbers are finite; False means nothing."""
    mantissa = numbers.mantissa
    return isinstance(mantissa, np.ndarray | np.generic) and bool(np.isfinite(mantissa).all())


def surely_positive(numbers: Scaled) -> bool:
    """Whether a cheap look at the host shows that all numbers are above zero; False means nothing."""
    mantissa = numbers.mantissa
    return isinstance(mantissa, np.ndarray | np.generic) and bool(np.greater(mantissa, 0).all())


def shown(signs: Any, powers: Any) -> str:
    """Return sign * 10**power of the first numbers with six digits each, or what they are if they are no numbers."""
    some = ", ".join(_decimal(s, p) for s, p in zip(signs[:8], powers[:8], strict=True))
    return f"{some}{', ...' if len(powers) > 8 else ''}"


def _decimal(sign: float, power: float) -> str:
    if not math.isfinite(power) or -5 < power < 6:
        return "0" if power == -math.inf else f"{sign * 10.0**power:.6g}"
    whole = math.floor(power)
    digits = f"{sign * 10 ** (power - whole):.6g}"
    return f"{digits}e{whole:+d}" if abs(float(digits)) < 10 else f"{sign:.6g}e{whole + 1:+d}"
