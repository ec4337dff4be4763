"""Numbers far outside the range of floating point: a mantissa in the working dtype times a power of two.

A meta-gradient after 10^5 steps is easily 1e+60000 or 1e-60000. Its digits are as good as any other number's; only
the exponent field of the float type is too small. `Scaled` carries the exponent beside the digits, as an integer
array. Multiplying by a power of two is exact, so nothing is lost by it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from metagrad import checks
from metagrad.errors import RangeError, Status, bad_type, bad_value
from metagrad.xp import Array, Namespace, float_info, is_array, namespace, to_host

_LN2 = math.log(2.0)
_LOG10_2 = math.log10(2.0)
# ldexp takes 32-bit exponents; beyond this every dtype is far over or under its range, so the clip changes nothing.
_FAR = 1 << 16
_LARGEST_POWER = 1 << 31  # exponents of this size times it still fit into int64


def ldexp(x: Array, exponent: Array) -> Array:
    """Return x * 2**exponent for integer exponents of any size, in the dtype of `x`, as IEEE rounds it."""
    xp = namespace(x, exponent, where="ldexp")
    return xp.ldexp(x, xp.minimum(xp.maximum(exponent, -_FAR), _FAR).astype(np.int32))


@dataclass(frozen=True, repr=False, eq=False)
class Scaled:
    """The numbers mantissa * 2**exponent, entry by entry; `mantissa` a float array, `exponent` int64, same shape.

    Build one with `Scaled.of` (from floats) or `Scaled.from_log`; the results of all operations are normalised:
    1/2 <= |mantissa| < 1, zero has exponent 0, and a mantissa that is inf or NaN stays what it is.

    +, -, *, / and comparisons work entry by entry as those of arrays do, with numbers and arrays on either side; a
    Python number takes the dtype of the digits. Like an array it is not hashable.

    >>> tiny = Scaled.of(np.array([1e-300])) * Scaled.of(np.array([1e-300]))
    >>> tiny.log10abs()
    array([-600.])
    """

    mantissa: Array
    exponent: Array

    __hash__ = None  # type: ignore[assignment]  # like an array: == compares entries
    __array_ufunc__ = None  # NumPy's operators leave it to those below

    @classmethod
    def of(cls, x: Array, exponent: Array | int = 0) -> Scaled:
        """Return x * 2**exponent, normalised; `x` a float array or number, `exponent` broadcast against it."""
        xp = namespace(x, where="Scaled.of")
        x = xp.asarray(x)
        if type(exponent) is not int and getattr(getattr(exponent, "dtype", None), "kind", "") not in ("i", "u"):
            bad_type("Scaled.of", "exponent", checks.shown(exponent), "an integer, or an array of integers")
        if x.dtype.kind != "f":
            bad_value("Scaled.of", "x", f"an array of {x.dtype}", "a float dtype", "Convert it first.")
        mantissa, shift = xp.frexp(x)
        # frexp leaves zero, inf and NaN as they are: they carry no exponent
        total = xp.where(xp.isfinite(x) & (x != 0), shift + xp.asarray(exponent, dtype=np.int64), 0)
        return cls(mantissa if mantissa.shape == total.shape else xp.broadcast_to(mantissa, total.shape), total)

    @classmethod
    def from_log(cls, sign: Array, log: Array) -> Scaled:
        """Return sign * exp(log) in float64; `log` is the natural logarithm of the magnitude, -inf for zero."""
        xp = namespace(sign, log, where="Scaled.from_log")
        log2 = xp.asarray(log, dtype=np.float64) / _LN2
        whole = xp.where(xp.isfinite(log2), xp.floor(log2), 0.0)
        # The remainder from the natural log itself: dividing by ln 2 first would round a large log once more.
        rest = xp.where(xp.isfinite(log2), xp.asarray(log) - whole * _LN2, xp.asarray(log))
        return cls.of(xp.asarray(sign, dtype=np.float64) * xp.exp(rest), whole.astype(np.int64))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of numbers."""
        return tuple(self.exponent.shape)

    @property
    def dtype(self) -> Any:
        """The dtype that holds the digits."""
        return self.mantissa.dtype

    @property
    def _xp(self) -> Namespace:
        return namespace(self.mantissa, where="Scaled")

    def __repr__(self) -> str:
        """Show the numbers in decimal, whatever their size.

        >>> Scaled.of(np.array([1.5, -3.0, 0.0]), 5000)
        Scaled(2.1187e+1505, -4.2374e+1505, 0)
        """
        powers, signs = to_host(self.log10abs()).ravel(), to_host(self.sign()).ravel()
        shown = ", ".join(_decimal(s, p) for s, p in zip(signs[:8], powers[:8], strict=True))
        return f"Scaled({shown}{', ...' if len(powers) > 8 else ''})"

    def __getitem__(self, index: Any) -> Scaled:
        """Return the numbers at `index`."""
        return Scaled(self._xp.asarray(self.mantissa[index]), self._xp.asarray(self.exponent[index]))

    def reshape(self, shape: tuple[int, ...]) -> Scaled:
        """Return the same numbers in another shape."""
        return Scaled(self.mantissa.reshape(shape), self.exponent.reshape(shape))

    def __len__(self) -> int:
        """Return the length of the first axis."""
        if not self.shape:
            bad_type("len", "a Scaled", "one number", "an array of numbers")
        return self.shape[0]

    def __iter__(self) -> Iterator[Scaled]:
        """Go along the first axis."""
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        """Tell whether the one number is not zero; ValueError for more than one, or none."""
        self._refuse_many("bool", bad_value)
        return bool((self.mantissa != 0).all())

    def __float__(self) -> float:
        """Return the one number as a float; RangeError outside the range of float64, TypeError for more than one."""
        self._refuse_many("float", bad_type)
        return float(self.to_float(np.float64).reshape(()))

    def _refuse_many(self, where: str, refuse: Callable[..., NoReturn]) -> None:
        if math.prod(self.shape) != 1:
            refuse(
                where, "a Scaled", f"of shape {self.shape}", "one number", "Pick an entry, or compare entry by entry."
            )

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: no array holds these numbers."""
        bad_type("np.asarray", "its argument", "a Scaled", "an array", "Use to_float(), log10abs(), or its mantissa.")

    def _as_scaled(self, other: Any) -> Scaled | None:
        """Return a number or an array as Scaled, a Python number in the dtype of these digits; None for other kinds."""
        if isinstance(other, Scaled):
            return other
        if isinstance(other, np.generic) or is_array(other):
            xp = namespace(self.mantissa, other, where="Scaled")
            x = xp.asarray(other)
            return None if x.dtype.kind not in "fiub" else Scaled.of(x.astype(np.result_type(x.dtype, self.dtype)))
        if not isinstance(other, int | float):
            return None
        try:
            wide = Scaled.of(self._xp.asarray(float(other)))
        except OverflowError:
            bad_value(
                "Scaled", "the other operand", "an integer beyond float64", "a float", "Use Scaled.of(x, exponent)."
            )
        return Scaled.of(wide.mantissa.astype(self.dtype), wide.exponent)

    def __neg__(self) -> Scaled:
        """Return the negatives."""
        return Scaled(-self.mantissa, self.exponent)

    def __abs__(self) -> Scaled:
        """Return the magnitudes."""
        return Scaled(abs(self.mantissa), self.exponent)

    def __mul__(self, other: Any) -> Scaled:
        """Return the products, entry by entry."""
        b = self._as_scaled(other)
        return NotImplemented if b is None else Scaled.of(self.mantissa * b.mantissa, self.exponent + b.exponent)

    def __truediv__(self, other: Any) -> Scaled:
        """Return the quotients, entry by entry; a zero divisor gives the inf or NaN of IEEE."""
        b = self._as_scaled(other)
        return NotImplemented if b is None else Scaled.of(self.mantissa / b.mantissa, self.exponent - b.exponent)

    def __rtruediv__(self, other: Any) -> Scaled:
        """Return the quotients other / self."""
        a = self._as_scaled(other)
        return NotImplemented if a is None else a / self

    def __pow__(self, n: Any) -> Scaled:
        """Return the n-th powers for an integer n, |n| below 2**31; a zero to a power below 0 is the inf of IEEE.

        >>> Scaled.of(np.array([10.0])) ** -100000
        Scaled(1e-100000)
        """
        if not hasattr(n, "__index__") or isinstance(n, np.ndarray):
            return NotImplemented
        n = operator.index(n)
        if abs(n) >= _LARGEST_POWER:
            bad_value("Scaled", "the power", n, "an integer of size below 2**31")
        return self._power(-n).__rtruediv__(1) if n < 0 else self._power(n)

    def _power(self, n: int) -> Scaled:
        most = -float_info(np.dtype(self.dtype)).min_exponent - 2  # (1/2)**most is a normal number
        a = Scaled.of(self.mantissa, self.exponent)
        if n <= most:
            return Scaled.of(a.mantissa**n, a.exponent * n)
        times, rest = divmod(n, most)
        return a._power(most)._power(times) * a._power(rest)

    def __add__(self, other: Any) -> Scaled:
        """Return the sums, entry by entry, aligned at the larger exponent."""
        b = self._as_scaled(other)
        if b is None:
            return NotImplemented
        xp = self._xp
        shape = np.broadcast_shapes(self.shape, b.shape)
        pair = [Scaled(*(xp.broadcast_to(a, shape) for a in (s.mantissa, s.exponent))) for s in (self, b)]
        return Scaled(xp.stack([p.mantissa for p in pair]), xp.stack([p.exponent for p in pair])).sum(axis=0)

    __rmul__, __radd__ = __mul__, __add__

    def __sub__(self, other: Any) -> Scaled:
        """Return the differences, entry by entry."""
        b = self._as_scaled(other)
        return NotImplemented if b is None else self + (-b)

    def __rsub__(self, other: Any) -> Scaled:
        """Return the differences other - self."""
        return (-self).__add__(other)

    def _compare(self, other: Any, holds: Callable[[Array, Array], Array]) -> Array:
        """Return, entry by entry, whether the exact numbers compare so; NaN does not."""
        b = self._as_scaled(other)
        if b is None:
            return NotImplemented
        a, b = Scaled.of(self.mantissa, self.exponent), Scaled.of(b.mantissa, b.exponent)
        # Digits lie in [1/2, 1): of two exponents that differ, one step decides as all of them do.
        ahead = self._xp.clip(a.exponent - b.exponent, -1, 1)
        return holds(ldexp(a.mantissa, ahead), b.mantissa)

    def __lt__(self, other: Any) -> Array:
        """Return whether self < other."""
        return self._compare(other, operator.lt)

    def __le__(self, other: Any) -> Array:
        """Return whether self <= other."""
        return self._compare(other, operator.le)

    def __gt__(self, other: Any) -> Array:
        """Return whether self > other."""
        return self._compare(other, operator.gt)

    def __ge__(self, other: Any) -> Array:
        """Return whether self >= other."""
        return self._compare(other, operator.ge)

    def __eq__(self, other: object) -> Array:
        """Return whether self == other."""
        return self._compare(other, operator.eq)

    def __ne__(self, other: object) -> Array:
        """Return whether self != other; NaN is unequal to all."""
        return self._compare(other, operator.ne)

    def sum(self, axis: int | None = None) -> Scaled:
        """Return the sum over `axis` (all entries by default), aligned at the largest exponent."""
        xp = self._xp
        lowest = np.iinfo(np.int64).min // 4  # a zero has no magnitude: it must not decide the alignment
        exponent = xp.where(self.mantissa == 0, lowest, self.exponent)
        top = exponent.max(axis=axis, keepdims=True)
        total = ldexp(self.mantissa, exponent - top).sum(axis=axis)
        return Scaled.of(total, xp.where(total == 0, 0, top.reshape(total.shape)))

    def mean(self, axis: int | None = None) -> Scaled:
        """Return the mean over `axis` (all entries by default)."""
        total = self.sum(axis)
        count = math.prod(self.shape) // max(1, math.prod(total.shape))
        return Scaled.of(total.mantissa / self._xp.asarray(count, dtype=self.dtype), total.exponent)

    def sign(self) -> Array:
        """Return -1, 0 or 1 (NaN for NaN)."""
        return self._xp.sign(self.mantissa)

    def log2abs(self) -> Array:
        """Return log2 of the magnitudes in float64 (-inf for zero)."""
        xp = self._xp
        magnitude = xp.abs(self.mantissa).astype(np.float64)
        if surely_positive(self):
            return xp.log2(magnitude) + self.exponent
        zero = magnitude == 0
        return xp.where(zero, -xp.inf, xp.log2(xp.where(zero, 1.0, magnitude)) + self.exponent)

    def log(self) -> Array:
        """Return the natural logarithm in float64: -inf for zero, NaN for negative numbers."""
        return self._xp.where(self.mantissa < 0, self._xp.nan, self.log2abs() * _LN2)

    def log10abs(self) -> Array:
        """Return log10 of the magnitudes in float64 (-inf for zero)."""
        return self.log2abs() * _LOG10_2

    def range_status(self, dtype: Any = None) -> Array:
        """Return, entry by entry, the Status code of writing the number in `dtype` (its own by default)."""
        xp = self._xp
        info = float_info(np.dtype(dtype or self.dtype))
        low = (self.mantissa != 0) & (self.exponent - 1 < info.min_exponent)
        high = (self.exponent > info.max_exponent) | xp.isinf(self.mantissa)
        code = xp.where(low, Status.GRADIENT_UNDERFLOW.code, xp.where(high, Status.GRADIENT_OVERFLOW.code, 0))
        return xp.where(xp.isnan(self.mantissa), Status.GRADIENT_NAN.code, code)

    def finite_status(self) -> Array:
        """Return, entry by entry, the Status code of a number that is inf or NaN, else that of OK."""
        xp = self._xp
        code = xp.where(xp.isinf(self.mantissa), Status.GRADIENT_OVERFLOW.code, 0)
        return xp.where(xp.isnan(self.mantissa), Status.GRADIENT_NAN.code, code)

    def to_float(self, dtype: Any = None, out_of_range: str = "raise") -> Array:
        """Return the numbers as floats of `dtype` (their own by default).

        A number above the largest finite value, or nonzero and below the smallest normal one, raises RangeError
        with its magnitude; `out_of_range="ieee"` asks for inf, a subnormal or 0 instead. NaN and inf that are in
        the digits already are passed on as they are.

        >>> Scaled.of(np.array([3.0]), 5000).to_float()
        Traceback (most recent call last):
        metagrad.errors.RangeError: Scaled.to_float: 1 of 1 numbers outside float64; the first is 10**1505.6...
        """
        checks.choice("Scaled.to_float", "out_of_range", out_of_range, ("raise", "ieee"))
        dtype = np.dtype(self.dtype) if dtype is None else checks.float_dtype("Scaled.to_float", "dtype", dtype)
        if dtype == self.dtype and surely_in_range(self):
            return self._xp.ldexp(self.mantissa, self.exponent.astype(np.int32))
        if out_of_range == "raise":
            self._refuse_out_of_range(dtype)
        wide = self.mantissa if self.mantissa.dtype.itemsize >= dtype.itemsize else self.mantissa.astype(dtype)
        with np.errstate(over="ignore", under="ignore"):  # asked for by out_of_range="ieee"
            return ldexp(wide, self.exponent).astype(dtype)

    def _refuse_out_of_range(self, dtype: Any) -> None:
        finite = self._xp.isfinite(self.mantissa)
        outside = to_host((self.range_status(dtype) != 0) & finite)
        if outside.any():
            power = to_host(self.log10abs())[outside][0]
            message = (
                f"Scaled.to_float: {outside.sum()} of {outside.size} numbers outside {dtype.name}; the first is "
                f"10**{power:.6g}. Use log10abs() and sign(), a wider dtype, or out_of_range='ieee'."
            )
            raise RangeError(message)

    def relative_difference(self, other: Scaled) -> Array:
        """Return |a - b| / max(|a|, |b|) in float64, entry by entry; 0 where both are zero."""
        xp = self._xp
        difference, largest = (self - other).log2abs(), xp.maximum(self.log2abs(), other.log2abs())
        both_zero = xp.isneginf(largest)
        ratio = xp.exp2(difference - xp.where(both_zero, 0.0, largest))
        return xp.where(both_zero, 0.0, ratio)


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


def _decimal(sign: float, power: float) -> str:
    """Return sign * 10**power with six digits, or what it is if it is no number."""
    if not math.isfinite(power) or -5 < power < 6:
        return "0" if power == -math.inf else f"{sign * 10.0**power:.6g}"
    whole = math.floor(power)
    return f"{sign * 10 ** (power - whole):.6g}e{whole:+d}"
