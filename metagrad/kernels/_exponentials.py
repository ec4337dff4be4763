"""exp and tanh as compiled loops can inline and vectorise them (needs the extra `fast`, which is Numba).

Numba calls the C library's, a number at a time; NumPy's are vectors, but a pass over memory each. These are plain
arithmetic, so that a loop over gates has one pass, in vectors, on any processor:

    exp x = 2**n exp r,   n = round(x / log 2),   |r| <= log(2)/2,   exp r by its Taylor sum to r**7 or r**13,
    tanh x = e / (e + 2),   e = exp(2x) - 1 = (2**n - 1) + 2**n (exp r - 1), with all digits near 0.

The first term left out is below 0.1 units in the last place. log 2 comes in two parts, the first of few enough digits
that n times it is exact; 2**n is put together from its bits. Derived.
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Fused multiply-adds; infinities and NaN keep their meaning.
FAST = {"contract", "nsz"}
_FORMATS: dict[str, Any] = {  # terms, digits of the first part of log 2, bits of the digits and of the exponent
    "float32": (7, 11, 23, 8, types.int32, types.float32, ir.IntType(32), ir.FloatType()),
    "float64": (13, 40, 52, 11, types.int64, types.float64, ir.IntType(64), ir.DoubleType()),
}


@cache
def exponentials(name: str) -> tuple[Any, Any]:
    """Return the compiled exp and tanh of one number, of the dtype of that name."""
    terms, digits, mantissa, exponent_bits, integer, floating, ir_integer, ir_float = _FORMATS[name]
    dtype = np.dtype(name).type

    @intrinsic
    def bits_of(_: Any, x: Any) -> Any:
        return integer(floating), lambda context, builder, signature, args: builder.bitcast(args[0], ir_integer)

    @intrinsic
    def float_of(_: Any, x: Any) -> Any:
        return floating(integer), lambda context, builder, signature, args: builder.bitcast(args[0], ir_float)

    as_bits: Any = bits_of
    as_float: Any = float_of
    first = round(math.log(2) * 2**digits) / 2**digits
    log2_first, log2_rest = dtype(first), dtype(float(Decimal(2).ln() - Decimal(first)))
    per_log2, one, two = dtype(1 / math.log(2)), dtype(1), dtype(2)
    rounder = dtype(1.5 * 2**mantissa)  # added and taken off again it leaves a whole number, which its last bits hold
    most = 2 ** (exponent_bits - 1) - 1
    whole = np.int32 if name == "float32" else np.int64
    largest, bias, shift = dtype(most), whole(most), whole(mantissa)
    # beyond these exp overflows, is no normal number, and tanh is 1
    overflow, underflow = (dtype(math.log(float(x))) for x in (np.finfo(dtype).max, np.finfo(dtype).tiny))
    saturated, infinity = dtype(mantissa), dtype(np.inf)
    inverse = tuple(dtype(1 / math.factorial(k)) for k in range(terms + 1))

    @njit(fastmath=FAST, error_model="numpy")
    def reduced(x: Any) -> Any:
        """Return (2**n, exp r - 1) of x within the range."""
        scaled = x * per_log2
        shifted = (largest if scaled > largest else scaled) + rounder
        n = shifted - rounder
        r = (x - n * log2_first) - n * log2_rest
        total = inverse[-1]
        for k in range(len(inverse) - 2, 1, -1):
            total = total * r + inverse[k]
        return as_float((as_bits(shifted) + bias) << shift), total * (r * r) + r

    @njit(fastmath=FAST, error_model="numpy")
    def exp(x: Any) -> Any:
        """Return exp x, the smallest normal number where it is below that."""
        power, rest = reduced(underflow if x < underflow else x)
        found = power * rest + power
        return infinity if x > overflow else found

    @njit(fastmath=FAST, error_model="numpy")
    def tanh(x: Any) -> Any:
        """Return tanh x."""
        doubled = x + x
        near = saturated if doubled > saturated else (-saturated if doubled < -saturated else doubled)
        power, rest = reduced(near)
        e = (power - one) + power * rest
        return e / (e + two)

    return exp, tanh
