"""How scaled numbers fit into a float type, and how they are shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metagrad.errors import RangeError, Status
from metagrad.xp import Array, float_info, namespace, to_host

# ldexp takes 32-bit exponents; beyond this every dtype is far over or under its range, so the clip changes nothing.
_FAR = 1 << 16
LOWEST = np.iinfo(np.int64).min // 4  # an exponent below all others
_NUMBERS = (np.float64, np.float32, np.float16)


def _gives_0() -> bool:
    """Whether frexp gives numbers without an exponent 0: C says so of 0 alone, and most libraries do of inf and NaN."""
    for dtype in (np.float64, np.float32, np.float16):
        for n in (1, 3, 64):
            x, exponent = np.resize([np.inf, -np.inf, np.nan, 0.0, -0.0], n).astype(dtype), np.full(n, 7, np.intc)
            np.frexp(x, np.empty_like(x), exponent)
            if exponent.any():
                return False
    return True


_FREXP_GIVES_0 = _gives_0()


def exponents(x: Array, shift: Array, exponent: Array | int) -> Array:
    """Return the exponents of x * 2**exponent, `shift` those of x by frexp; zero, inf and NaN have none, which is 0."""
    xp = namespace(x)
    if xp is np and _FREXP_GIVES_0:  # the usual cases, found cheaply
        if type(exponent) is int and exponent == 0:
            return np.asarray(shift, dtype=np.int64)
        if type(exponent) is np.ndarray and not exponent.any():
            return np.asarray(shift + exponent, dtype=np.int64)
    return xp.where(xp.isfinite(x) & (x != 0), shift + xp.asarray(exponent, dtype=np.int64), 0)


def of_digits(mantissa: Array, exponent: Array) -> Array:
    """Return exponents, those of zeros below all others: they have no magnitude, and must not decide an alignment."""
    xp = namespace(mantissa)
    if xp is np and mantissa.size and mantissa.all():
        return exponent
    return xp.where(mantissa == 0, LOWEST, exponent)


def in_the_usual_case(x: Any, exponent: Any) -> tuple[Any, Any] | None:
    """Return the digits and exponents of x * 2**exponent for floats on the host, at once; None for all others."""
    if type(exponent) is not int and not (type(exponent) is np.ndarray and exponent.dtype.kind == "i"):
        return None
    if type(x) is np.ndarray and x.ndim and x.dtype.kind == "f":
        digits, shift = np.frexp(x)
        total = exponents(x, shift, exponent)
        return (digits, total) if digits.shape == total.shape else None
    if type(x) in _NUMBERS and np.ndim(exponent) == 0:  # a number, by Python's own function
        digit, power = math.frexp(x)
        known = 0 if digit == 0 or not math.isfinite(digit) else power + int(exponent)
        return type(x)(digit), np.asarray(known, np.int64)
    return None


def ldexp(x: Array, exponent: Array) -> Array:
    """Return x * 2**exponent for integer exponents of any size, in the dtype of `x`, as IEEE rounds it."""
    xp = namespace(x, exponent, where="ldexp")
    return xp.ldexp(x, xp.minimum(xp.maximum(exponent, -_FAR), _FAR).astype(np.int32))


def range_status(numbers: Any, dtype: Any) -> Array:
    """Return, entry by entry, the Status code of writing the number in `dtype`."""
    xp, info = namespace(numbers.mantissa), float_info(dtype)
    low = (numbers.mantissa != 0) & (numbers.exponent - 1 < info.min_exponent)
    high = (numbers.exponent > info.max_exponent) | xp.isinf(numbers.mantissa)
    code = xp.where(low, Status.GRADIENT_UNDERFLOW.code, xp.where(high, Status.GRADIENT_OVERFLOW.code, 0))
    return xp.where(xp.isnan(numbers.mantissa), Status.GRADIENT_NAN.code, code)


def finite_status(numbers: Any) -> Array:
    """Return, entry by entry, the Status code of a number that is inf or NaN, else that of OK."""
    xp = namespace(numbers.mantissa)
    code = xp.where(xp.isinf(numbers.mantissa), Status.GRADIENT_OVERFLOW.code, 0)
    return xp.where(xp.isnan(numbers.mantissa), Status.GRADIENT_NAN.code, code)


def refuse_out_of_range(numbers: Any, dtype: Any) -> None:
    """Raise RangeError where a number leaves the range of `dtype`."""
    outside = to_host((range_status(numbers, dtype) != 0) & namespace(numbers.mantissa).isfinite(numbers.mantissa))
    if outside.any():
        power = to_host(numbers.log10abs())[outside][0]
        message = (
            f"Scaled.to_float: {outside.sum()} of {outside.size} numbers outside {dtype.name}; the first is "
            f"10**{power:.6g}. Use log10abs() and sign(), a wider dtype, or out_of_range='ieee'."
        )
        raise RangeError(message)


def relative_difference(a: Any, b: Any) -> Array:
    """Return |a - b| / max(|a|, |b|) in float64, entry by entry; 0 where both are zero."""
    xp = namespace(a.mantissa)
    difference, largest = (a - b).log2abs(), xp.maximum(a.log2abs(), b.log2abs())
    both_zero = xp.isneginf(largest)
    return xp.where(both_zero, 0.0, xp.exp2(difference - xp.where(both_zero, 0.0, largest)))


def surely_in_range(numbers: Any) -> bool:
    """Whether a cheap look at the host shows that all numbers are nonzero and within the range of their dtype.

    False means nothing: the numbers may be on a device, where looking would wait for it.
    """
    if not isinstance(numbers.mantissa, np.ndarray | np.generic):
        return False
    info, exponent, mantissa = float_info(np.dtype(numbers.dtype)), numbers.exponent, numbers.mantissa
    if exponent.size == 0:
        return True
    if exponent.size == 1:  # one number is looked at faster as one
        digit, power = float(mantissa.item()), int(exponent.item())
        return info.min_exponent < power <= info.max_exponent and 0.0 < abs(digit) < math.inf
    if not (exponent.min() > info.min_exponent and exponent.max() <= info.max_exponent):
        return False
    digits = np.abs(mantissa)
    return bool(digits.min() > 0.0) and bool(digits.max() < math.inf)


def surely_finite(numbers: Any) -> bool:
    """Whether a cheap look at the host shows that all numbers are finite; False means nothing."""
    mantissa = numbers.mantissa
    if not isinstance(mantissa, np.ndarray | np.generic):
        return False
    return math.isfinite(mantissa.item()) if mantissa.size == 1 else bool(np.isfinite(mantissa).all())


def surely_positive(numbers: Any) -> bool:
    """Whether a cheap look at the host shows that all numbers are above zero; False means nothing."""
    mantissa = numbers.mantissa
    return isinstance(mantissa, np.ndarray | np.generic) and bool(mantissa.size == 0 or mantissa.min() > 0)


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
