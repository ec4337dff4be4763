"""Sigmoids, error functions and the normal distribution of scipy.special, with derivatives right far out too."""

from __future__ import annotations

import math
from typing import Any

from metagrad.ad.functions.elementwise import exp, ordered, tanh
from metagrad.ad.functions.makers import one, values_of_scipy
from metagrad.ad.functions.shapes import module_of
from metagrad.ad.tape import Function

_ROOT_PI, _ROOT_2, _ROOT_2PI = math.sqrt(math.pi), math.sqrt(2.0), math.sqrt(2.0 * math.pi)


def _logistic_density(x: Any) -> Any:
    small = module_of(x).exp(-module_of(x).abs(x))
    return small / ((1.0 + small) * (1.0 + small))


# The derivative of expit, s (1 - s), and of that, -s (1 - s) tanh(x / 2): neither 1 - s nor 1 - 2 s is subtracted.
_logistic: Function = one("expit", lambda g, out, x: -(g * (out * tanh(0.5 * x))), _logistic_density)
expit: Function = one("expit", lambda g, out, x: g * _logistic(x))
log_expit = one("log_expit", lambda g, out, x: g * expit(-x))
logit = one("logit", lambda g, out, x: g / (x * (1.0 - x)))
erf = one("erf", lambda g, out, x: g * (2.0 / _ROOT_PI * exp(-(x * x))))
erfc = one("erfc", lambda g, out, x: g * (-2.0 / _ROOT_PI * exp(-(x * x))))
erfinv = one("erfinv", lambda g, out, x: g * (0.5 * _ROOT_PI * exp(out * out)))
erfcinv = one("erfcinv", lambda g, out, x: g * (-0.5 * _ROOT_PI * exp(out * out)))
ndtr = one("ndtr", lambda g, out, x: g * (exp(-0.5 * (x * x)) / _ROOT_2PI))
ndtri = one("ndtri", lambda g, out, x: g * (_ROOT_2PI * exp(0.5 * (out * out))))


def _integrals_of_erfc(n: int, x: Any) -> Any:
    """Return y_n = exp(x^2) i^n erfc(x) of the n-fold integral of erfc, which neither overflows nor cancels for x > 0.

    2 n y_n + 2 x y_(n-1) = y_(n-2) is stable upwards below x = 2. Above, the quotients of two that follow each other
    come from the same equation downwards, a continued fraction. Source: Abramowitz & Stegun, 7.2.5; Gautschi, 1967.
    """
    xp = module_of(x)
    near, far = xp.minimum(x, 2.0), xp.maximum(x, 2.0)
    before, found = 2.0 / _ROOT_PI, values_of_scipy("erfcx")(near)
    for k in range(1, n + 1):
        before, found = found, (before - 2.0 * near * found) / (2 * k)
    count = n + 30
    ratio = 1.0 / (far + xp.sqrt(far * far + 2 * count + 2))
    beyond = values_of_scipy("erfcx")(far)
    for k in range(count - 1, 0, -1):
        ratio = 1.0 / (2.0 * far + 2 * (k + 1) * ratio)
        if k <= n:
            beyond = beyond * ratio
    return xp.where(x > 2.0, beyond, found)


_ierfcx: Function = ordered("erfcx", _integrals_of_erfc, lambda n, x: -2.0 * (n + 1) * _ierfcx(n + 1, x))
erfcx = one("erfcx", lambda g, out, x: g * (-2.0 * _ierfcx(1, x)))


def _excess_values(x: Any) -> Any:
    """Return x + m(x), which cancels to the left, as a quotient of integrals of erfc."""
    xp, left = module_of(x), x < 0
    z = xp.where(left, x, 0.0) * (-1.0 / _ROOT_2)
    quotient = _ROOT_2 * _integrals_of_erfc(1, z) / values_of_scipy("erfcx")(z)
    return xp.where(left, quotient, x + _mills_values(x))


def _mills_values(x: Any) -> Any:
    return _ROOT_2 / _ROOT_PI / values_of_scipy("erfcx")(module_of(x).multiply(x, -1.0 / _ROOT_2))


# m = phi / Phi, the derivative of log Phi: m' = -m (x + m), and (x + m)' = 1 - m (x + m).
_mills: Function = one("log_ndtr", lambda g, out, x: g * -(out * _excess(x)), _mills_values)
_excess: Function = one("log_ndtr", lambda g, out, x: g * (1.0 - _mills(x) * out), _excess_values)
log_ndtr = one("log_ndtr", lambda g, out, x: g * _mills(x))
