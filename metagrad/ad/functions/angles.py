"""Angles and their functions: a table of derivatives.

Where a derivative is infinite (arcsin at 1, arccosh at 1, arctanh at 1) it comes out as inf. Outside of a domain the
value is NaN, and so is the derivative. At the origin hypot and arctan2 have none: it is NaN, and `ad.safe_norm` is the
length whose derivative there is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.ad.functions.elementwise import binary, entrywise, inside, ordered, own, sqrt, unary
from metagrad.ad.functions.shapes import module_of
from metagrad.ad.tape import Function, primitive
from metagrad.xp import Array


def _named(name: str) -> Callable[..., Any]:
    return lambda *values: getattr(module_of(*values), name)(*values)


# 1 - x^2 to full digits near 1, and its derivative to full digits near 0.
_rest = own("1 - x**2", lambda x: (1.0 - x) * (1.0 + x), lambda g, out, x: g * (-2.0 * x))
tan = unary("tan", lambda g, out, x: g * (1.0 + out * out))
arcsin = unary("arcsin", inside(lambda g, out, x: g / sqrt(_rest(x))))
arccos = unary("arccos", inside(lambda g, out, x: -(g / sqrt(_rest(x)))))
arccosh = unary("arccosh", inside(lambda g, out, x: g / (sqrt(x - 1.0) * sqrt(x + 1.0))))
arctanh = unary("arctanh", inside(lambda g, out, x: g / _rest(x)))
radians = unary("radians", lambda g, out, x: g * (math.pi / 180.0))
deg2rad = unary("deg2rad", lambda g, out, x: g * (math.pi / 180.0))
degrees = unary("degrees", lambda g, out, x: g * (180.0 / math.pi))
rad2deg = unary("rad2deg", lambda g, out, x: g * (180.0 / math.pi))
hypot: Function = binary(
    "hypot", _named("hypot"), lambda g, out, x, y: g * side(x, y), lambda g, out, x, y: g * side(y, x)
)
# x / sqrt(x^2 + y^2), whose own derivatives would cancel where x is far larger than y.
side: Function = binary(
    "hypot",
    lambda x, y: x / _named("hypot")(x, y),
    lambda g, out, x, y: g * (side(y, x) * side(y, x) / hypot(x, y)),
    lambda g, out, x, y: -(g * (out * side(y, x) / hypot(x, y))),
)


def _across(a: Any, x: Any, y: Any) -> Any:
    """Return a / (x^2 + y^2) without the squares, which may overflow."""
    length = hypot(x, y)
    return a / length / length


arctan2 = binary(
    "arctan2",
    _named("arctan2"),
    lambda g, out, y, x: g * _across(x, x, y),
    lambda g, out, y, x: -(g * _across(y, x, y)),
)


def derivative_of_quotient(
    n: int, x: Array, quotient: Callable[[Array], Array], top: Callable[[int, Array], Array], series: list[float]
) -> Array:
    """Return the n-th derivative of q(x) = (t(x) - t(0)) / x to full digits, also where x is small or 0.

    `top(k, x)` is the k-th derivative of t. By x q^(n) + n q^(n-1) = t^(n), and near 0, where that cancels, by
    q^(n)(x) = sum of t^(n+j+1)(0) / (j! (n + j + 1)) x^j with the numbers t^(k)(0) in `series`. Source: derived,
    checked by tests.
    """
    xp = module_of(x)
    near = xp.abs(x) < 2.0
    small, large = xp.where(near, x, 0.0), xp.where(near, 2.0, x)
    sums: Any = 0.0
    for j in range(len(series) - n - 2, -1, -1):
        sums = sums * small + series[n + j + 1] / (math.factorial(j) * (n + j + 1))
    found = quotient(large)
    for k in range(1, n + 1):
        found = (top(k, large) - k * found) / large
    return xp.where(near, sums, found)


_SINES = [(0.0, 1.0, 0.0, -1.0)[k % 4] for k in range(30)]


def _sine(k: int, x: Array) -> Array:
    xp = module_of(x)
    value = (xp.cos if k % 2 else xp.sin)(x)
    return -value if k % 4 in (2, 3) else value


def _sinc_values(n: int, x: Any) -> Any:
    if n == 0:
        return module_of(x).sinc(x)
    z = module_of(x).multiply(x, math.pi)
    return derivative_of_quotient(n, z, lambda v: _sine(0, v) / v, _sine, _SINES) * math.pi**n


_sinc: Function = ordered("sinc", _sinc_values, lambda n, x: _sinc(n + 1, x))


def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), with all its derivatives at 0."""
    return _sinc(0, x)


def _unwrapped(p: Any, options: dict[str, Any]) -> Any:
    return module_of(p).unwrap(p, **options)


_passed = (lambda g, out, p, options: g,)
_unwrap = primitive("unwrap", _unwrapped, _passed, lambda call: entrywise(*_passed), _passed)


def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: float = 2 * np.pi) -> Any:
    """Angles without jumps: multiples of the period, which are constant, are added."""
    return _unwrap(p, {"discont": discont, "axis": axis, "period": period})


TABLE: dict[Any, Any] = {
    np.tan: tan,
    np.arcsin: arcsin,
    np.arccos: arccos,
    np.arccosh: arccosh,
    np.arctanh: arctanh,
    np.arctan2: arctan2,
    np.hypot: hypot,
    np.radians: radians,
    np.deg2rad: deg2rad,
    np.degrees: degrees,
    np.rad2deg: rad2deg,
    np.sinc: sinc,
    np.unwrap: unwrap,
}
CONSTANT = frozenset({np.angle})
