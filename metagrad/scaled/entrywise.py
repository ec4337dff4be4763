"""NumPy's functions of one entry or two, on digits with exponents: what leaves the range of floats stays a number.

Functions that grow like a power work on digits and exponents apart. The others (sin, tanh, ...) are those of the
nearest float where that has digits, and x itself where x is so small that f(x) = x + O(x^3) rounds to it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.errors import bad_value
from metagrad.scaled.numbers import Scaled, narrow
from metagrad.scaled.ranges import ldexp
from metagrad.scaled.tables import KINDS, UFUNCS, together
from metagrad.xp import float_info, is_array

_LN2 = float(np.log(2.0))
_LARGEST_POWER = 1 << 31  # exponents of this size times it still fit into int64
_TINY, _SMALL = -60, -40  # powers of two below which 1 + x rounds to 1, and x + x^3 to x
_LARGEST_LOG = 2.0**60  # of what exp makes an exponent that int64 holds


def widen(x: Any, dtype: Any) -> Scaled:
    """Return numbers or scaled numbers as Scaled of a dtype; a Python number of any size keeps its exponent."""
    if type(x) is Scaled:
        return x if x.dtype == dtype else Scaled.of(x.mantissa.astype(dtype), x.exponent)
    x = np.asarray(x)
    digits, exponent = np.frexp(x if x.dtype.kind == "f" else x.astype(np.float64))
    return Scaled.of(np.asarray(digits.astype(dtype)), exponent.astype(np.int64))


def where(condition: Any, x: Any, y: Any) -> Scaled:
    """Return x where the condition holds, y elsewhere."""
    dtype = np.result_type(*[z.dtype if type(z) is Scaled else z for z in (x, y) if hasattr(z, "dtype")])
    x, y = widen(x, dtype), widen(y, dtype)
    return Scaled(np.where(condition, x.mantissa, y.mantissa), np.where(condition, x.exponent, y.exponent))


def _float_power(x: Any) -> int:
    """Return the largest n for which (1/2)**n is a normal number of the dtype of x."""
    return -float_info(np.dtype(x.dtype)).min_exponent - 2


def integer_power(x: Scaled, n: int) -> Scaled:
    """Return x**n, exact to the digits; |n| below 2**31. A zero to a power below 0 is the inf of IEEE."""
    if abs(n) >= _LARGEST_POWER:
        bad_value("Scaled", "the power", n, "an integer of size below 2**31")
    if n < 0:
        return 1 / integer_power(x, -n)
    most, a = _float_power(x), Scaled.of(x)
    if n <= most:
        return Scaled.of(a.mantissa**n, a.exponent * n)
    times, rest = divmod(n, most)
    return integer_power(integer_power(a, most), times) * integer_power(a, rest)


def power(x: Any, y: Any) -> Any:
    """Return x**y: by integer powers where y is one integer, else exp(y log x), with IEEE's values at zero."""
    if hasattr(y, "__index__") and not is_array(y):
        return integer_power(x, operator.index(y))
    if not (isinstance(y, float | np.generic) or is_array(y)):
        return NotImplemented
    n = narrow(y) if type(y) is Scaled else np.asarray(y)
    if n.ndim == 0 and float(n).is_integer() and abs(float(n)) < _LARGEST_POWER:
        return integer_power(x, int(n))
    x, y = together(x, y)
    with np.errstate(all="ignore"):
        general = _exp(y * _log(x))
        at_zero = where(y == 0, widen(1.0, x.dtype), where(y > 0, widen(0.0, x.dtype), np.inf))
    return where((x == 0) & np.ones(general.shape, bool), at_zero, general)


def _power_of_operands(x: Scaled, y: Scaled) -> Any:
    return power(x, y)


def _sqrt(x: Scaled) -> Scaled:
    odd = x.exponent % 2
    return Scaled.of(np.sqrt(ldexp(x.mantissa, odd)), (x.exponent - odd) // 2)


def _cbrt(x: Scaled) -> Scaled:
    rest = x.exponent % 3
    return Scaled.of(np.cbrt(ldexp(x.mantissa, rest)), (x.exponent - rest) // 3)


def _exp(x: Scaled) -> Scaled:
    y = np.clip(narrow(Scaled.of(x.mantissa.astype(np.float64), x.exponent)), -_LARGEST_LOG, _LARGEST_LOG)
    k = np.where(np.isfinite(y), np.rint(y / _LN2), 0.0)
    return Scaled.of(np.exp(y - k * _LN2).astype(x.dtype), k.astype(np.int64))


def _log(x: Scaled) -> Scaled:
    near = np.abs(x.exponent) < 2  # digits near 1 come from the number itself
    itself = np.log(np.where(near, ldexp(x.mantissa, np.where(near, x.exponent, 0)), 1))
    apart = np.log(np.where(x.mantissa == 0, 1, x.mantissa).astype(np.float64)) + x.exponent * _LN2
    return Scaled.of(np.where(x.mantissa == 0, -np.inf, np.where(near, itself, apart)).astype(x.dtype))


def _log1p(x: Scaled) -> Scaled:
    beyond = where(x.exponent > 0, _log(1.0 + x), Scaled.of(np.log1p(narrow(x))))
    return where(x.exponent < _TINY, x, beyond)


def _expm1(x: Scaled) -> Scaled:
    return where(x.exponent < _TINY, x, where(x.exponent > 5, _exp(x) - 1.0, Scaled.of(np.expm1(narrow(x)))))


def _from_x(function: Callable[..., Any]) -> Callable[[Scaled], Scaled]:
    """Return f for f(x) = x + O(x^3) that stays within the range of floats."""
    return lambda x: where(x.exponent < _SMALL, x, Scaled.of(function(narrow(x))))


def _sinh(x: Scaled) -> Scaled:
    near = x.exponent <= 0
    return where(near, _from_x(np.sinh)(where(near, x, 0.0)), 0.5 * (_exp(x) - _exp(-x)))


def _arcsinh(x: Scaled) -> Scaled:
    near = x.exponent < 2 - _SMALL  # beyond, x + sqrt(x^2 + 1) rounds to 2x
    far = _log(where(near, 1.0, 2.0 * abs(x)))
    return where(near, _from_x(np.arcsinh)(where(near, x, 0.0)), where(x < 0, -far, far))


def _logaddexp(x: Scaled, y: Scaled) -> Scaled:
    return _maximum(x, y) + _log1p(_exp(-abs(x - y)))


def _compare(holds: Callable[[Any, Any], Any]) -> Callable[[Scaled, Scaled], Any]:
    def compare(x: Scaled, y: Scaled) -> Any:
        a, b = Scaled.of(x.mantissa, x.exponent), Scaled.of(y.mantissa, y.exponent)
        # Digits lie in [1/2, 1): of two exponents that differ, one step decides as all of them do. A zero has none.
        ahead = a._xp.clip(a.exponent - b.exponent, -1, 1)
        ahead = a._xp.where((a.mantissa == 0) | (b.mantissa == 0), 0, ahead)
        return holds(ldexp(a.mantissa, ahead), b.mantissa)

    return compare


def _maximum(x: Scaled, y: Scaled) -> Scaled:
    return where((x > y) | np.isnan(x.mantissa), x, y)


def _minimum(x: Scaled, y: Scaled) -> Scaled:
    return where((x < y) | np.isnan(x.mantissa), x, y)


def _ldexp(x: Any, exponent: Any) -> Scaled:
    return Scaled.of(x, np.asarray(exponent, dtype=np.int64))


def _of_digits(function: Callable[[Any], Any]) -> Callable[[Scaled], Any]:
    return lambda x: function(x.mantissa)


def _of_narrow(function: Callable[[Any], Any]) -> Callable[[Scaled], Any]:
    return lambda x: Scaled.of(function(narrow(x)))


_TABLE: dict[Any, Callable[..., Any]] = {
    np.add: lambda x, y: x + y,
    np.subtract: lambda x, y: x - y,
    np.multiply: lambda x, y: x * y,
    np.divide: lambda x, y: x / y,
    np.negative: lambda x: -x,
    np.positive: lambda x: x,
    np.absolute: abs,
    np.fabs: abs,
    np.square: lambda x: x * x,
    np.reciprocal: lambda x: 1.0 / x,
    np.sqrt: _sqrt,
    np.cbrt: _cbrt,
    np.exp: _exp,
    np.exp2: lambda x: _exp(x * _LN2),
    np.expm1: _expm1,
    np.log: _log,
    np.log2: lambda x: _log(x) / _LN2,
    np.log10: lambda x: _log(x) / float(np.log(10.0)),
    np.log1p: _log1p,
    np.logaddexp: _logaddexp,
    np.power: _power_of_operands,
    np.float_power: _power_of_operands,
    np.sinh: _sinh,
    np.cosh: lambda x: 0.5 * (_exp(x) + _exp(-x)),
    np.arcsinh: _arcsinh,
    **{f: _from_x(f) for f in (np.tanh, np.sin, np.tan, np.arctan, np.arcsin, np.arctanh)},
    **{f: _of_narrow(f) for f in (np.cos, np.arccos, np.arccosh, np.floor, np.ceil, np.trunc, np.rint)},
    **{f: lambda x: x * (np.pi / 180.0) for f in (np.radians, np.deg2rad)},
    **{f: lambda x: x * (180.0 / np.pi) for f in (np.degrees, np.rad2deg)},
    np.maximum: _maximum,
    np.minimum: _minimum,
    np.hypot: lambda x, y: _sqrt(x * x + y * y),
    np.less: _compare(operator.lt),
    np.less_equal: _compare(operator.le),
    np.greater: _compare(operator.gt),
    np.greater_equal: _compare(operator.ge),
    np.equal: _compare(operator.eq),
    np.not_equal: _compare(operator.ne),
    **{f: _of_digits(f) for f in (np.isfinite, np.isnan, np.isinf, np.signbit, np.sign)},
    np.ldexp: _ldexp,
    np.frexp: lambda x: (x.mantissa, x.exponent),
}

KINDS.append(Scaled)
UFUNCS.update({ufunc.__name__: function for ufunc, function in _TABLE.items()})
UFUNCS["power of any"] = power
UFUNCS |= {
    "expit": lambda x: 1.0 / (1.0 + _exp(-x)),
    "log_expit": lambda x: -_log1p(_exp(-x)),
    "xlogy": lambda x, y: where(x == 0, 0.0 * x, x * _log(where(x == 0, 1.0, y))),
    "entr": lambda x: -UFUNCS["xlogy"](x, where(x < 0, 0.0, x)),
}
