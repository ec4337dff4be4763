"""Remainders, limits and what else picks or cuts numbers, entry by entry.

What jumps (floor_divide, the whole part, heaviside) is constant between its jumps, and has the derivative 0; at a jump
there is none, and that of the nearest values is taken. Of two equal entries fmax and fmin pass half of the cotangent to
each, as maximum and minimum do; beside a NaN all of it goes to the number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metagrad.ad.constants import operand
from metagrad.ad.functions.elementwise import (
    binary,
    copy,
    entrywise,
    inside,
    power,
    sigmoid,
    sign,
    unary,
    where,
)
from metagrad.ad.functions.shapes import as_array, astype, like, module_of
from metagrad.ad.tape import Function, Var, multilinear, primitive, value_of, zeros_like
from metagrad.errors import bad_type
from metagrad.xp import number_type

_LN2 = math.log(2.0)


def _named(name: str) -> Any:
    return lambda *values: getattr(module_of(*values), name)(*values)


def _floor_quotient(x: Any, y: Any) -> Any:
    a, b = value_of(x), value_of(y)
    return module_of(a, b).floor_divide(a, b)


def _cut_quotient(out: Any, x: Any, y: Any) -> Any:
    """Return the whole part of x / y for the remainder `out` of the sign of x, without the rounding of x / y."""
    r, a, b = value_of(out), value_of(x), value_of(y)
    return module_of(r).rint((a - r) / b)


remainder: Function = binary(
    "remainder",
    _named("remainder"),
    inside(lambda g, out, x, y: g),
    inside(lambda g, out, x, y: -(g * _floor_quotient(x, y))),
)
fmod: Function = binary(
    "fmod",
    _named("fmod"),
    inside(lambda g, out, x, y: g),
    inside(lambda g, out, x, y: -(g * _cut_quotient(out, x, y))),
)


def floor_divide(x: Any, y: Any) -> Any:
    """The whole part of x / y, a constant: its derivative is zero wherever it has one."""
    return _floor_quotient(x, y)


def divmod_(x: Any, y: Any) -> tuple[Any, Any]:
    """The whole part of x / y, which is constant, and the remainder."""
    a, b = value_of(x), value_of(y)
    return module_of(a, b).divmod(a, b)[0], remainder(x, y)


def _fraction_rule(g: Any, out: Any, x: Any) -> Any:
    return g


_fraction = primitive(
    "modf",
    lambda x: module_of(x).modf(x)[0],
    (_fraction_rule,),
    lambda call: entrywise(_fraction_rule),
    (_fraction_rule,),
)


def modf(x: Any) -> tuple[Any, Any]:
    """The part behind the point, and the whole part, which is constant."""
    return _fraction(x), module_of(value_of(x)).modf(value_of(x))[1]


_ldexp: Function = primitive(
    "ldexp",
    lambda x, exponent: module_of(x).ldexp(x, exponent),
    (lambda g, out, x, exponent: like(_ldexp(g, exponent), x),),
    multilinear,
)


def ldexp(x: Any, exponent: Any) -> Any:
    """x * 2**exponent for constant integers."""
    if type(exponent) is Var:
        bad_type("numpy.ldexp", "the exponent", "a traced value", "integers", "Write x * np.exp2(y).")
    return _ldexp(x, operand(exponent, "ldexp"))


def _to_the_number(g: Any, ahead: Any, x: Any, y: Any) -> Any:
    """Return g where x is ahead of y, or y is NaN, half of it at a tie, and 0 elsewhere."""
    a, b = value_of(x), value_of(y)
    return where(ahead | module_of(b).isnan(b), g, where(a == b, 0.5 * g, 0.0))


fmax = binary(
    "fmax",
    _named("fmax"),
    inside(lambda g, out, x, y: _to_the_number(g, value_of(x) > value_of(y), x, y)),
    inside(lambda g, out, x, y: _to_the_number(g, value_of(y) > value_of(x), y, x)),
)
fmin = binary(
    "fmin",
    _named("fmin"),
    inside(lambda g, out, x, y: _to_the_number(g, value_of(x) < value_of(y), x, y)),
    inside(lambda g, out, x, y: _to_the_number(g, value_of(y) < value_of(x), y, x)),
)
exp2: Function = unary("exp2", lambda g, out, x: g * (_LN2 * out))
cbrt: Function = unary("cbrt", lambda g, out, x: g / (3.0 * out * out))
logaddexp2 = binary(
    "logaddexp2",
    _named("logaddexp2"),
    lambda g, out, x, y: g * sigmoid(_LN2 * (x - y)),
    lambda g, out, x, y: g * sigmoid(_LN2 * (y - x)),
)


def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """Numbers in the place of NaN and inf; these entries are constant."""
    if type(x) is not Var:
        return np.nan_to_num(x, copy, nan, posinf, neginf)
    value, limits = x.value, np.finfo(x.dtype)
    xp = module_of(value)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    found = where(xp.isnan(value), nan, where(value == math.inf, high, where(value == -math.inf, low, x)))
    return astype(found, x.dtype) if found.dtype != x.dtype else found


def float_power(x: Any, y: Any) -> Any:
    """x**y in float64."""
    return power(_wide(x), _wide(y))


def _wide(x: Any) -> Any:
    if number_type(x) in (float, int):
        return float(x)
    return astype(x, np.float64) if type(x) is Var else as_array(x).astype(np.float64)


copysign = binary(
    "copysign",
    _named("copysign"),
    # At x = 0 the derivative is 0, as that of |x|; the sign of y is constant.
    lambda g, out, x, y: g * (sign(x) * _named("copysign")(1.0, value_of(y))),
    lambda g, out, x, y: zeros_like(value_of(g)),
)


nextafter = binary(
    "nextafter", _named("nextafter"), lambda g, out, x, y: g, lambda g, out, x, y: zeros_like(value_of(g))
)


def heaviside(x: Any, y: Any) -> Any:
    """0 below 0 and 1 above, a constant; y at 0, which has the derivative 1 there."""
    a, b = value_of(x), value_of(y)
    step = module_of(a, b).heaviside(a, b)
    return where(a == 0, y, step) if type(y) is Var else step


def real(val: Any) -> Any:
    """The number itself: traced values are real."""
    return copy(val)


def real_if_close(a: Any, tol: float = 100) -> Any:
    """The number itself: traced values are real."""
    return copy(a)


def conjugate(x: Any) -> Any:
    """The number itself: traced values are real."""
    return copy(x)


TABLE: dict[Any, Any] = {
    np.remainder: remainder,
    np.fmod: fmod,
    np.divmod: divmod_,
    np.modf: modf,
    np.ldexp: ldexp,
    np.fmax: fmax,
    np.fmin: fmin,
    np.exp2: exp2,
    np.cbrt: cbrt,
    np.logaddexp2: logaddexp2,
    np.nan_to_num: nan_to_num,
    np.float_power: float_power,
    np.copysign: copysign,
    np.heaviside: heaviside,
    np.nextafter: nextafter,
    np.real: real,
    np.real_if_close: real_if_close,
    np.conjugate: conjugate,
}
CONSTANT = frozenset(
    {
        *(np.floor_divide, np.fix, np.spacing, np.imag, np.logical_xor),
        *(np.isclose, np.isneginf, np.isposinf, np.isreal, np.iscomplex, np.isrealobj, np.iscomplexobj, np.array_equiv),
    }
)
_WHOLE = "It takes integers, and they have no derivative: apply it to x.astype(int), or to integers from outside."
REFUSED: dict[Any, str] = dict.fromkeys(
    (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift, np.gcd, np.lcm), _WHOLE
) | {np.frexp: "Write m = np.ldexp(x, -e) with e = np.frexp(metagrad.ad.stop_gradient(x))[1]."}
