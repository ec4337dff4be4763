"""NumPy's functions of complex values that are being differentiated, composed of real ones.

A function that treats all entries alike (reshape, sum, where) is applied to both parts; a product is the sum over the
parts of its operands; lengths and angles have rules of their own.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metagrad.ad.complex_pair import FUNCTIONS, REAL, Complex, apply, is_complex, pair, parts, shape_of, values_of
from metagrad.ad.constants import COMPLEX
from metagrad.ad.functions.elementwise import binary, cos, entrywise, exp, log, sin, where
from metagrad.ad.functions.shapes import module_of
from metagrad.ad.tape import Op, Var, value_of
from metagrad.errors import bad_type, bad_value

# -- entry by entry


def multilinear(function: Callable[..., Any]) -> Callable[..., Complex]:
    """Return a function that is linear in each of its arguments, for complex ones: the sum over all parts of them."""

    def of_pairs(*operands: Any, **options: Any) -> Complex:
        if any(map(is_complex, options.values())):
            raise TypeError(f"{function.__name__}: a complex operand came by name; expected it by place.")
        sums: list[Any] = [None, None]
        # A string (einsum's subscripts) is no operand.
        pairs = [(x, None) if isinstance(x, str) else parts(x) for x in operands]
        for choice in itertools.product(*[(0,) if im is None else (0, 1) for _, im in pairs]):
            term = function(*[p[i] for p, i in zip(pairs, choice, strict=True)], **options)
            k = sum(choice)  # the power of the imaginary unit
            at, before = k % 2, sums[k % 2]
            if before is None:
                sums[at] = -term if k % 4 in (2, 3) else term
            else:
                sums[at] = before - term if k % 4 in (2, 3) else before + term
        return Complex(*sums)

    return of_pairs


def _added(combine: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Complex]:
    def add(x: Any, y: Any) -> Complex:
        (a, b), (c, d) = parts(x), parts(y)
        return Complex(combine(a, c), combine(0.0 if b is None else b, 0.0 if d is None else d))

    return add


_multiply = multilinear(operator.mul)


def _reciprocal(z: Complex) -> Complex:
    length = absolute(z)  # twice instead of its square, which may overflow
    return Complex(z.real / length / length, -z.imag / length / length)


def _divide(x: Any, y: Any) -> Complex:
    y = np.asarray(y) if type(y) in (list, tuple) else y
    re, im = parts(y)
    if im is None:
        return Complex(x.real / re, x.imag / re)
    return _multiply(x, _reciprocal(y) if type(y) is Complex else 1.0 / y)


def _power(x: Any, y: Any) -> Complex:
    if type(x) is not Complex or isinstance(y, Complex | Var | complex) or shape_of(y) or y != int(y):
        remedy = "Write np.exp(p * np.log(z)) for z**p."
        bad_type("numpy.power", "a complex power", "none with an integer exponent", "z**n with an integer n", remedy)
    n = int(y)
    if n < 0:
        return _reciprocal(_power(x, -n))
    if n == 0:
        return Complex(x.real * 0.0 + 1.0, x.imag * 0.0)
    out, square = None, x
    while n:  # by squares
        if n % 2:
            out = square if out is None else _multiply(out, square)
        n //= 2
        square = _multiply(square, square) if n else square
    return out  # type: ignore[return-value]


def _exp(z: Complex) -> Complex:
    size = exp(z.real)
    return Complex(size * cos(z.imag), size * sin(z.imag))


def _log(z: Complex) -> Complex:
    return Complex(log(absolute(z)), _angle(z))


def _squared(re: Any, im: Any) -> Any:
    with np.errstate(all="ignore"):  # it may leave the range where the length does not, and is not used then
        return re * re + im * im


_squares = binary(
    "squared_length", _squared, lambda g, out, re, im: g * (2.0 * re), lambda g, out, re, im: g * (2.0 * im)
)


def _root_rule(g: Any, out: Any, v: Any) -> Any:
    none = value_of(out) == 0
    return where(none, 0.0, 0.5 * g / where(none, 1.0, out))


# By this name the square of a length is known to be the sum of squares, with its derivatives at 0 too.
_LENGTH = Op("sqrt", (_root_rule,), entrywise(_root_rule), (_root_rule,))


def absolute(z: Complex) -> Any:
    """Return the lengths, NumPy's own, with the derivatives of the square root of the sum of squares."""
    value = z.value
    value = module_of(value).abs(value)
    v = _squares(z.real, z.imag)
    return Var(value, _LENGTH, (v,)) if type(v) is Var else value


def _angle(z: Complex, deg: bool = False) -> Any:
    angle = np.arctan2(z.imag, z.real)
    return angle * (180.0 / np.pi) if deg else angle


# -- whole arrays


def _linear(function: Any, places: Sequence[int] = (0,)) -> Callable[..., Any]:
    """Return a function that treats both parts alike; `places` are those of operands, which may be real."""

    def of_pairs(*args: Any, **options: Any) -> Any:
        out = [
            function(
                *[_part(x, which, i in places) for i, x in enumerate(args)],
                **{name: _part(x, which, False) for name, x in options.items()},
            )
            for which in (0, 1)
        ]
        if isinstance(out[0], list | tuple):
            return type(out[0])(map(Complex, *out))
        return Complex(*out)

    return of_pairs


def _part(x: Any, which: int, is_operand: bool) -> Any:
    if type(x) in (list, tuple) and (is_operand or any(map(is_complex, x))):
        return type(x)(_part(y, which, True) for y in x)
    if not is_operand and not is_complex(x):
        return x
    re, im = parts(x)
    if which == 0 or im is not None:
        return im if which else re
    return np.zeros_like(value_of(re)) if hasattr(re, "dtype") else 0.0


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    is_matrix = isinstance(axis, tuple) or (axis is None and ord is not None and x.ndim == 2)
    if is_matrix and ord not in (None, "fro"):
        bad_value("numpy.linalg.norm", "ord", repr(ord), "a norm of entries for complex values", "Take None or 'fro'.")
    return np.linalg.norm(absolute(x), ord=ord, axis=axis, keepdims=keepdims)


def _var(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    squares = np.sum(absolute(a - np.mean(a, axis=axis, keepdims=True)) ** 2, axis=axis, keepdims=keepdims)
    return squares / (a.size // max(1, squares.size) - ddof)


def _plain(function: Any) -> Callable[..., Any]:
    return lambda *args, **options: function(*map(values_of, args), **{k: values_of(x) for k, x in options.items()})


ALIKE = (
    *(np.sum, np.mean, np.cumsum, np.diff, np.trace, np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis),
    *(np.expand_dims, np.squeeze, np.flip, np.fliplr, np.flipud, np.roll, np.rot90, np.broadcast_to, np.concatenate),
    *(np.stack, np.hstack, np.vstack, np.dstack, np.column_stack, np.split, np.array_split, np.take, np.tile),
    *(np.take_along_axis, np.repeat, np.diagonal, np.diag, np.tril, np.triu, np.pad, np.copy, np.delete),
    *(np.atleast_1d, np.atleast_2d, np.matrix_transpose, np.fft.fftshift, np.fft.ifftshift, np.positive, np.negative),
)
_PRODUCTS = (np.matmul, np.dot, np.inner, np.outer, np.tensordot, np.einsum, np.kron, np.convolve)
_WITHOUT_DERIVATIVE = (
    *(np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.iscomplexobj, np.isrealobj),
    *(np.equal, np.not_equal, np.isfinite, np.isinf, np.isnan, np.allclose, np.isclose, np.array_equal),
)
_OF_PAIRS: dict[Any, Callable[..., Any]] = {
    **{function: _linear(function) for function in ALIKE},
    **{function: multilinear(function) for function in _PRODUCTS},
    **{function: _plain(function) for function in _WITHOUT_DERIVATIVE},
    np.where: _linear(np.where, (1, 2)),
    np.append: _linear(np.append, (0, 1)),
    np.add: _added(operator.add),
    np.subtract: _added(operator.sub),
    np.multiply: _multiply,
    np.divide: lambda x, y: _divide(pair(x), y),
    np.power: _power,
    np.square: lambda z: _multiply(z, z),
    np.reciprocal: _reciprocal,
    np.exp: _exp,
    np.log: _log,
    np.absolute: absolute,
    np.conjugate: Complex.conj,
    np.real: lambda val: val.real,
    np.imag: lambda val: val.imag,
    np.angle: _angle,
    np.vdot: lambda a, b: multilinear(np.vdot)(pair(a).conj(), b),
    np.correlate: lambda a, v, mode="valid": multilinear(np.correlate)(a, pair(v).conj(), mode=mode),
    np.linalg.norm: _norm,
    np.var: _var,
}
FUNCTIONS.update(_OF_PAIRS)


COMPLEX["function"] = apply
_BINARY = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "power": np.power}


def _of_binary(name: str, x: Any, y: Any) -> Any:
    function = _BINARY.get(name)
    if function is None:
        bad_type(f"numpy.{name}", "an operand", "complex", "real numbers", REAL)
    return apply(function, (x, y), {})


COMPLEX["binary"] = _of_binary
