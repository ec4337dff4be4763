"""Numbers of many digits in arrays, and their derivatives: the arithmetic of the reference.

gmpy2's numbers where it is installed (an operation takes about 0.2 us), mpmath's else. Nothing
here, nor in `reference`, is code of metagrad.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

try:
    import gmpy2

    _ONE = (gmpy2.sqrt, gmpy2.log, gmpy2.log1p, gmpy2.exp)
    _sqrt, _log, _log1p, _exp = (np.frompyfunc(f, 1, 1) for f in _ONE)
    _finite = np.frompyfunc(gmpy2.is_finite, 1, 1)
    USUAL_CASES = 2000  # what a minute of one core is enough for
    _number, _divide = gmpy2.mpfr, np.true_divide

    def shown(x: Any) -> str:
        """Return the number to 12 digits."""
        return f"{x:.12g}"

    @contextmanager
    def digits(bits: int) -> Iterator[None]:
        """Compute with so many bits, and exponents to 2**62."""
        known = gmpy2.get_context()
        with gmpy2.context(known, precision=bits, emax=gmpy2.get_emax_max(), emin=gmpy2.get_emin_min()):
            yield

except ImportError:
    import mpmath

    _sqrt, _log1p, _exp = (np.frompyfunc(f, 1, 1) for f in (mpmath.sqrt, mpmath.log1p, mpmath.exp))
    _log = np.frompyfunc(lambda x: mpmath.log(x) if x > 0 else mpmath.mpf("nan" if x != 0 else "-inf"), 1, 1)
    _finite = np.frompyfunc(mpmath.isfinite, 1, 1)
    USUAL_CASES = 700
    _number = mpmath.mpf
    _divide = np.frompyfunc(lambda a, b: a / b if b != 0 else mpmath.mpf("nan" if a == 0 else "inf"), 2, 1)

    def shown(x: Any) -> str:
        """Return the number to 12 digits."""
        return str(mpmath.nstr(mpmath.mpf(x), 12))

    @contextmanager
    def digits(bits: int) -> Iterator[None]:
        """Compute with so many bits, and exponents of any size."""
        with mpmath.workprec(bits):
            yield


def exact(x: Any) -> Any:
    """Return the very numbers that floats hold, as an object array."""
    flat = np.asarray(x, dtype=np.float64)
    out = np.empty(flat.shape, dtype=object)
    out[...] = np.frompyfunc(_number, 1, 1)(flat.astype(object))
    return out


def number(x: Any, exponent: int = 0) -> Any:
    """Return x * 2**exponent as one number, exactly."""
    power = _number(2) ** abs(int(exponent))
    return _number(x) * power if exponent >= 0 else _number(x) / power


def is_finite(x: Any) -> Any:
    """Return whether each number is finite."""
    return np.asarray(_finite(x), dtype=bool)


@dataclass(frozen=True, eq=False)
class Dual:
    """Numbers x and their derivatives dx, which have one axis more in front; None where they are constant."""

    x: Any
    dx: Any = None

    def __add__(self, other: Any) -> Dual:
        b = as_dual(other)
        return Dual(self.x + b.x, _sum(self.dx, b.dx, self.x, b.x))

    def __mul__(self, other: Any) -> Dual:
        b = as_dual(other)
        left = None if self.dx is None else self.dx * b.x
        right = None if b.dx is None else self.x * b.dx
        return Dual(self.x * b.x, _sum(left, right, self.x, b.x))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Dual:
        return Dual(-self.x, None if self.dx is None else -self.dx)

    def __sub__(self, other: Any) -> Dual:
        return self + -as_dual(other)

    def __rsub__(self, other: Any) -> Dual:
        return as_dual(other) + -self

    def __truediv__(self, other: Any) -> Dual:
        b = as_dual(other)
        quotient = _divide(self.x, b.x)
        left = None if self.dx is None else _divide(self.dx, b.x)
        right = None if b.dx is None else _divide(-(quotient * b.dx), b.x)
        return Dual(quotient, _sum(left, right, self.x, b.x))

    def __rtruediv__(self, other: Any) -> Dual:
        return as_dual(other) / self

    def power(self, n: int) -> Dual:
        """Return the n-th power, n >= 1."""
        return Dual(self.x**n, None if self.dx is None else n * self.x ** (n - 1) * self.dx)

    def sqrt(self) -> Dual:
        """Return the square root, whose derivative at 0 is 0."""
        root = _sqrt(self.x)
        if self.dx is None:
            return Dual(root)
        is_zero = np.asarray(root == 0, dtype=bool)
        return Dual(root, np.where(is_zero, 0 * self.dx, self.dx / (2 * np.where(is_zero, root + 1, root))))

    def log(self) -> Dual:
        """Return the natural logarithm."""
        return Dual(_log(self.x), None if self.dx is None else _divide(self.dx, self.x))

    def sigmoid(self) -> Dual:
        """Return 1/(1 + exp(-x))."""
        small = _exp(-abs(self.x))
        found = np.where(self.x > 0, 1, small) / (1 + small)
        return Dual(found, None if self.dx is None else small / (1 + small) ** 2 * self.dx)

    def softplus(self) -> Dual:
        """Return log(1 + exp(x))."""
        found = np.where(self.x > 0, self.x, 0) + _log1p(_exp(-abs(self.x)))
        return Dual(found, None if self.dx is None else self.held().sigmoid().x * self.dx)

    def sum(self) -> Dual:
        """Return the sum over the last axis."""
        return Dual(self.x.sum(axis=-1), None if self.dx is None else self.dx.sum(axis=-1))

    def held(self) -> Dual:
        """Return the numbers as constants."""
        return Dual(self.x)

    def expanded(self, axis: int) -> Dual:
        """Return the numbers with an axis of length 1 at -1 or -2."""
        return Dual(np.expand_dims(self.x, axis), None if self.dx is None else np.expand_dims(self.dx, axis))


def as_dual(x: Any) -> Dual:
    """Return x, a number or an array, as constants."""
    return x if isinstance(x, Dual) else Dual(x)


def _sum(a: Any, b: Any, x: Any, y: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b
