"""Bessel functions: f_v' = (a f_(v-1) + b f_(v+1)) / 2 in the argument, and no derivative in the order v."""

from __future__ import annotations

from typing import Any

from metagrad.ad.functions.elementwise import ordered, sign
from metagrad.ad.functions.makers import one, values_of_scipy
from metagrad.ad.functions.shapes import module_of
from metagrad.ad.tape import Function


def _bessel(name: str, a: float, b: float) -> Function:
    found: Function = ordered(
        name, values_of_scipy(name), lambda v, x: (0.5 * a) * found(v - 1, x) + (0.5 * b) * found(v + 1, x)
    )
    return found


jv, yv, iv, kv = _bessel("jv", 1, -1), _bessel("yv", 1, -1), _bessel("iv", 1, 1), _bessel("kv", -1, -1)
yn, kn = _bessel("yn", 1, -1), _bessel("kn", -1, -1)
j1: Function = one("j1", lambda g, out, x: g * (0.5 * (j0(x) - jv(2, x))))
j0: Function = one("j0", lambda g, out, x: -(g * j1(x)))
y1: Function = one("y1", lambda g, out, x: g * (0.5 * (y0(x) - yn(2, x))))
y0: Function = one("y0", lambda g, out, x: -(g * y1(x)))
i1: Function = one("i1", lambda g, out, x: g * (0.5 * (i0(x) + iv(2, x))))
i0: Function = one("i0", lambda g, out, x: g * i1(x))
k1: Function = one("k1", lambda g, out, x: -(g * (0.5 * (k0(x) + kn(2, x)))))
k0: Function = one("k0", lambda g, out, x: -(g * k1(x)))
_i0 = one("i0", lambda g, out, x: g * i1(x), lambda x: module_of(x).i0(x))
ive: Function = ordered(
    "ive", values_of_scipy("ive"), lambda v, x: 0.5 * (ive(v - 1, x) + ive(v + 1, x)) - sign(x) * ive(v, x)
)
i1e: Function = one("i1e", lambda g, out, x: g * (0.5 * (i0e(x) + ive(2, x)) - sign(x) * out))
i0e: Function = one("i0e", lambda g, out, x: g * (i1e(x) - sign(x) * out))


def i0_of_numpy(x: Any) -> Any:
    """Modified Bessel function of order 0."""
    return _i0(x)
