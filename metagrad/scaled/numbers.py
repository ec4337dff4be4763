"""The class of scaled numbers: a mantissa in the working dtype times a power of two, entry by entry.

A meta-gradient after 10^5 steps is easily 1e+60000 or 1e-60000. Its digits are as good as any other number's; only
the exponent field of the float type is too small. `Scaled` carries the exponent beside the digits, as an integer
array. Multiplying by a power of two is exact, so nothing is lost by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from metagrad import checks
from metagrad.errors import bad_type, bad_value
from metagrad.scaled import ranges
from metagrad.scaled.ranges import exponents, ldexp, shown, surely_in_range, surely_positive
from metagrad.scaled.tables import FUNCTIONS, UFUNCS, apply_function, apply_ufunc
from metagrad.xp import Array, Namespace, is_array, namespace, register_namespace, to_host

_LN2 = math.log(2.0)
_LOG10_2 = math.log10(2.0)


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
    __array_priority__ = 150.0  # above that of CuPy, below that of a traced value

    @classmethod
    def of(cls, x: Array, exponent: Array | int = 0) -> Scaled:
        """Return x * 2**exponent, normalised; `x` a float array or number, `exponent` broadcast against it."""
        known = ranges.in_the_usual_case(x, exponent)
        if known is not None:
            return cls(*known)
        if type(x) is cls:
            x, exponent = x.mantissa, x.exponent + exponent
        xp = namespace(x, where="Scaled.of")
        x = xp.asarray(x)
        if type(exponent) is not int and getattr(getattr(exponent, "dtype", None), "kind", "") not in ("i", "u"):
            bad_type("Scaled.of", "exponent", checks.shown(exponent), "an integer, or an array of integers")
        if x.dtype.kind != "f":
            bad_value("Scaled.of", "x", f"an array of {x.dtype}", "a float dtype", "Convert it first.")
        mantissa, shift = xp.frexp(x)
        total = exponents(x, shift, exponent)
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
    def ndim(self) -> int:
        """The number of axes."""
        return int(self.exponent.ndim)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self.exponent.size)

    @property
    def nbytes(self) -> int:
        """The memory of digits and exponents."""
        return int(self.mantissa.nbytes + self.exponent.nbytes)

    @property
    def T(self) -> Scaled:  # noqa: N802 - as that of arrays
        """The numbers with their axes reversed."""
        return self.transpose()

    @property
    def _xp(self) -> Namespace:
        return namespace(self.mantissa, where="Scaled")

    def __repr__(self) -> str:
        """Show the numbers in decimal, whatever their size.

        >>> Scaled.of(np.array([1.5, -3.0, 0.0]), 5000)
        Scaled(2.1187e+1505, -4.2374e+1505, 0)
        """
        return f"Scaled({shown(to_host(self.sign()).ravel(), to_host(self.log10abs()).ravel())})"

    def __getitem__(self, index: Any) -> Scaled:
        """Return the numbers at `index`."""
        return Scaled(self._xp.asarray(self.mantissa[index]), self._xp.asarray(self.exponent[index]))

    def __setitem__(self, index: Any, numbers: Any) -> None:
        """Write numbers, in place."""
        wide = self.beside(numbers)
        if wide is None:
            bad_type("Scaled", "what is written", f"a {type(numbers).__name__}", "numbers")
        self.mantissa[index], self.exponent[index] = wide.mantissa, wide.exponent

    def _moved(self, method: str, *given: Any) -> Scaled:
        return Scaled(getattr(self.mantissa, method)(*given), getattr(self.exponent, method)(*given))

    def reshape(self, *shape: Any) -> Scaled:
        """Return the same numbers in another shape."""
        return self._moved("reshape", *shape)

    def transpose(self, *axes: Any) -> Scaled:
        """Return the numbers with their axes in another order, reversed by default."""
        return self._moved("transpose", *axes)

    def squeeze(self, axis: Any = None) -> Scaled:
        """Return the numbers without axes of length 1."""
        return self._moved("squeeze", axis)

    def ravel(self) -> Scaled:
        """Return all numbers along one axis."""
        return self._moved("ravel")

    def copy(self) -> Scaled:
        """Return the numbers in memory of their own."""
        return self._moved("copy")

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Return the numbers with digits of another float type; for another kind of type, what floats give."""
        if np.dtype(dtype).kind == "f":
            return Scaled.of(self.mantissa.astype(dtype), self.exponent)
        return narrow(self).astype(dtype)

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

    def beside(self, other: Any) -> Scaled | None:
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

    def _with(self, function: str, other: Any) -> Any:
        b = self.beside(other)
        return NotImplemented if b is None else UFUNCS[function](self, b)

    def __neg__(self) -> Scaled:
        """Return the negatives."""
        return Scaled(-self.mantissa, self.exponent)

    def __pos__(self) -> Scaled:
        """Return the numbers."""
        return self

    def __abs__(self) -> Scaled:
        """Return the magnitudes."""
        return Scaled(abs(self.mantissa), self.exponent)

    def __mul__(self, other: Any) -> Scaled:
        """Return the products, entry by entry."""
        b = other if type(other) is Scaled else self.beside(other)
        return NotImplemented if b is None else Scaled.of(self.mantissa * b.mantissa, self.exponent + b.exponent)

    def __truediv__(self, other: Any) -> Scaled:
        """Return the quotients, entry by entry; a zero divisor gives the inf or NaN of IEEE."""
        b = self.beside(other)
        return NotImplemented if b is None else Scaled.of(self.mantissa / b.mantissa, self.exponent - b.exponent)

    def __rtruediv__(self, other: Any) -> Scaled:
        """Return the quotients other / self."""
        a = self.beside(other)
        return NotImplemented if a is None else a / self

    def __pow__(self, n: Any) -> Scaled:
        """Return the n-th powers: any finite n entry by entry, exact to the digits for integers below 2**31.

        >>> Scaled.of(np.array([10.0])) ** -100000
        Scaled(1e-100000)
        """
        return UFUNCS["power of any"](self, n)  # type: ignore[no-any-return]

    def __rpow__(self, base: Any) -> Any:
        """Return base ** self."""
        return np.power(base, self)

    def __matmul__(self, other: Any) -> Any:
        """Return the matrix products."""
        return np.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        """Return the matrix products."""
        return np.matmul(other, self)

    def __add__(self, other: Any) -> Scaled:
        """Return the sums, entry by entry, aligned at the larger exponent."""
        b = self.beside(other)
        if b is None:
            return NotImplemented
        xp = self._xp
        # a zero has no magnitude: it must not decide the alignment
        top = xp.where(self.mantissa == 0, b.exponent, xp.maximum(self.exponent, b.exponent))
        top = xp.where(b.mantissa == 0, self.exponent, top)
        return Scaled.of(ldexp(self.mantissa, self.exponent - top) + ldexp(b.mantissa, b.exponent - top), top)

    __rmul__, __radd__ = __mul__, __add__

    def __sub__(self, other: Any) -> Scaled:
        """Return the differences, entry by entry."""
        b = self.beside(other)
        return NotImplemented if b is None else self + (-b)

    def __rsub__(self, other: Any) -> Scaled:
        """Return the differences other - self."""
        return (-self).__add__(other)

    def __lt__(self, other: Any) -> Array:
        """Return whether self < other; NaN never is."""
        return self._with("less", other)

    def __le__(self, other: Any) -> Array:
        """Return whether self <= other."""
        return self._with("less_equal", other)

    def __gt__(self, other: Any) -> Array:
        """Return whether self > other."""
        return self._with("greater", other)

    def __ge__(self, other: Any) -> Array:
        """Return whether self >= other."""
        return self._with("greater_equal", other)

    def __eq__(self, other: object) -> Array:
        """Return whether self == other."""
        return self._with("equal", other)

    def __ne__(self, other: object) -> Array:
        """Return whether self != other; NaN is unequal to all."""
        return self._with("not_equal", other)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Let NumPy's functions of entries work on these numbers; TypeError, by name, for one that is not there."""
        return apply_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        """Let NumPy's other functions work on these numbers; TypeError, by name, for one that is not there."""
        return apply_function(function, types, args, options)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Scaled:
        """Return the sum over `axis` (all entries by default), aligned at the largest exponent."""
        exponent = ranges.of_digits(self.mantissa, self.exponent)
        top = exponent.max(axis=axis, keepdims=True, initial=ranges.LOWEST)
        total = ldexp(self.mantissa, exponent - top).sum(axis=axis, keepdims=keepdims)
        return Scaled.of(total, top.reshape(np.shape(total)))

    def mean(self, axis: Any = None, keepdims: bool = False) -> Scaled:
        """Return the mean over `axis` (all entries by default)."""
        total = self.sum(axis, keepdims)
        count = math.prod(self.shape) // max(1, math.prod(total.shape))
        return Scaled.of(total.mantissa / self._xp.asarray(count, dtype=self.dtype), total.exponent)

    def max(self, axis: Any = None, keepdims: bool = False) -> Scaled:
        """Return the largest numbers over `axis`; NaN wins."""
        return FUNCTIONS[np.max](self, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]

    def min(self, axis: Any = None, keepdims: bool = False) -> Scaled:
        """Return the smallest numbers over `axis`; NaN wins."""
        return FUNCTIONS[np.min](self, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]

    def sign(self) -> Array:
        """Return -1, 0 or 1 (NaN for NaN)."""
        return self._xp.sign(self.mantissa)

    def log2abs(self, positive: bool = False) -> Array:
        """Return log2 of the magnitudes in float64 (-inf for zero); `positive` where all are known to be."""
        xp = self._xp
        if positive or surely_positive(self):
            return xp.log2(self.mantissa, dtype=np.float64) + self.exponent
        magnitude = xp.abs(self.mantissa).astype(np.float64)
        with np.errstate(divide="ignore"):
            return xp.log2(magnitude) + self.exponent

    def log(self, positive: bool = False) -> Array:
        """Return the natural logarithm in float64: -inf for zero, NaN for negative numbers; see `log2abs`."""
        if positive or surely_positive(self):
            return self.log2abs(positive=True) * _LN2
        return self._xp.where(self.mantissa < 0, self._xp.nan, self.log2abs() * _LN2)

    def log10abs(self) -> Array:
        """Return log10 of the magnitudes in float64 (-inf for zero)."""
        return self.log2abs() * _LOG10_2

    def range_status(self, dtype: Any = None) -> Array:
        """Return, entry by entry, the Status code of writing the number in `dtype` (its own by default)."""
        return ranges.range_status(self, np.dtype(dtype or self.dtype))

    def finite_status(self) -> Array:
        """Return, entry by entry, the Status code of a number that is inf or NaN, else that of OK."""
        return ranges.finite_status(self)

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
            ranges.refuse_out_of_range(self, dtype)
        wide = self.mantissa if self.mantissa.dtype.itemsize >= dtype.itemsize else self.mantissa.astype(dtype)
        with np.errstate(over="ignore", under="ignore"):  # asked for by out_of_range="ieee"
            return ldexp(wide, self.exponent).astype(dtype)

    def relative_difference(self, other: Scaled) -> Array:
        """Return |a - b| / max(|a|, |b|) in float64, entry by entry; 0 where both are zero."""
        return ranges.relative_difference(self, other)


register_namespace(Scaled, np)  # NumPy's functions work on it, by the tables


def narrow(x: Any) -> Any:
    """Return the nearest floats, inf, a subnormal or 0 where they have to be; a plain array as it is."""
    return ldexp(x.mantissa, x.exponent) if type(x) is Scaled else x


def digits_of(x: Any) -> Any:
    """Return the digits, which tell zero, inf and NaN as floats do; a plain array as it is."""
    return x.mantissa if type(x) is Scaled else x
