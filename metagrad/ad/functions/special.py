"""SciPy's special functions: a table of derivatives.

SciPy computes the values (CuPy its own), also those of the derivatives. Rules are written so that they keep their
digits far out: ratios of two numbers that overflow or vanish together are functions of their own here. Outside of a
domain, where the value is NaN or SciPy says inf for it, the derivative is NaN. On the edge it is what it tends to, inf
where it grows without bound: that of xlogy(x, y) in y at x = y = 0 is 0, that of entr(x) at 0 is inf.

Limits. The derivative of i0e and i1e is a difference of two that agree: it loses as many digits as |x| has. That of
beta and betaln in a loses them where b is far smaller. That of rgamma at 0, -1, -2, .. is NaN, and so is that of
rel_entr and kl_div in x at x = y = 0. Third derivatives of log_ndtr lose twice the digits of |x| far to the left.
Derivatives in the order of a function are refused by name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.special as sp

from metagrad.ad.constants import operand
from metagrad.ad.functions import bessel, normal
from metagrad.ad.functions.angles import derivative_of_quotient, hypot, side
from metagrad.ad.functions.elementwise import (
    binary,
    entrywise,
    exp,
    inside,
    log,
    log1p,
    ordered,
    power,
    sign,
    sin,
    where,
)
from metagrad.ad.functions.makers import last, one, two, values_of_scipy
from metagrad.ad.functions.reductions import log_softmax as _log_softmax
from metagrad.ad.functions.reductions import logsumexp
from metagrad.ad.functions.reductions import softmax as _softmax
from metagrad.ad.functions.shapes import like, module_of, stack
from metagrad.ad.tape import Function, Rule, Var, primitive, value_of
from metagrad.errors import bad_type

_LN2, _LN10 = math.log(2.0), math.log(10.0)


# --- gamma functions --------------------------------------------------------------------------------------------------


def _polygamma_values(n: Any, x: Any) -> Any:
    xp = module_of(x)
    return values_of_scipy("polygamma")(n if xp is np else xp.asarray(n), x)  # CuPy's takes no number there


polygamma: Function = ordered("polygamma", _polygamma_values, lambda n, x: polygamma(n + 1, x))
digamma: Function = one("digamma", lambda g, out, x: g * polygamma(1, x))
gammaln = one("gammaln", lambda g, out, x: g * digamma(x))
loggamma = one("loggamma", lambda g, out, x: g * digamma(x))
gamma = one("gamma", lambda g, out, x: g * (out * digamma(x)))
rgamma = one("rgamma", lambda g, out, x: g * -(out * digamma(x)))
betaln = two(
    "betaln",
    lambda g, out, a, b: g * (digamma(a) - digamma(a + b)),
    lambda g, out, a, b: g * (digamma(b) - digamma(a + b)),
)
beta = two(
    "beta",
    lambda g, out, a, b: g * (out * (digamma(a) - digamma(a + b))),
    lambda g, out, a, b: g * (out * (digamma(b) - digamma(a + b))),
)


class _Ask:
    """What a plain function of SciPy is given to tell which ufunc it calls."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Return the ufunc."""
        return ufunc


_ZETA: Any = sp.zeta(2.0, _Ask())
zeta: Function = ordered("zeta", values_of_scipy("zeta"), lambda s, q: -s * zeta(s + 1, q))


def _multigammaln(a: Any, d: int) -> Any:
    return sum([digamma(a - 0.5 * j) for j in range(1, int(d))], start=digamma(a))


_multigammaln_of: Function = primitive(
    "multigammaln", values_of_scipy("multigammaln"), (lambda g, out, a, d: like(g * _multigammaln(a, d), a),)
)


def multigammaln(a: Any, d: int) -> Any:
    """Log of the gamma function of d dimensions."""
    return _multigammaln_of(a, d)


_IN_A = "Only the derivative in x is known in closed form."
gammainc = last("gammainc", lambda g, out, a, x: g * exp(xlogy(a - 1.0, x) - x - gammaln(a)), _IN_A)
gammaincc = last("gammaincc", lambda g, out, a, x: -(g * exp(xlogy(a - 1.0, x) - x - gammaln(a))), _IN_A)


def _beta_density(a: Any, b: Any, x: Any) -> Any:
    return exp(xlogy(a - 1.0, x) + xlog1py(b - 1.0, -x) - betaln(a, b))


betainc = last("betainc", lambda g, out, a, b, x: g * _beta_density(a, b, x), _IN_A)
betaincc = last("betaincc", lambda g, out, a, b, x: -(g * _beta_density(a, b, x)), _IN_A)

# --- entropies and losses ---------------------------------------------------------------------------------------------


def _ratio(x: Any, y: Any) -> Any:
    """Return x / y with 0 / 0 = 0."""
    a, b = value_of(x), value_of(y)
    return x / where(module_of(a, b).logical_and(a == 0, b == 0), 1.0, y)


def _gap_values(x: Any, y: Any) -> Any:
    xp = module_of(x, y)
    return xp.where(x == 0, 1.0, (y - x) / xp.where(y == 0, x, y))


def _log_ratio_values(x: Any, y: Any) -> Any:
    xp = module_of(x, y)
    near = (xp.abs(x - y) < 0.5 * y) & (y > 0)
    close = xp.log1p(xp.where(near, x - y, 0.0) / xp.where(near, y, 1.0))
    return xp.where(near, close, xp.log(x) - xp.log(y))


_log_ratio: Function = binary(
    "rel_entr", _log_ratio_values, inside(lambda g, out, x, y: g / x), inside(lambda g, out, x, y: -(g / y))
)
# 1 - x / y, which is 1 where both are 0.
_gap: Function = binary(
    "kl_div",
    _gap_values,
    lambda g, out, x, y: -(g / y),
    lambda g, out, x, y: g * (_ratio(x, y) / y),
)
xlogy: Function = two("xlogy", lambda g, out, x, y: g * log(y), lambda g, out, x, y: g * _ratio(x, y))
xlog1py: Function = two("xlog1py", lambda g, out, x, y: g * log1p(y), lambda g, out, x, y: g * _ratio(x, 1.0 + y))
entr = one("entr", lambda g, out, x: -(g * (log(x) + 1.0)))
rel_entr = two(
    "rel_entr",
    lambda g, out, x, y: g * (_log_ratio(x, y) + 1.0),
    lambda g, out, x, y: -(g * _ratio(x, y)),
    first=2,
)
kl_div = two(
    "kl_div",
    lambda g, out, x, y: g * _log_ratio(x, y),
    lambda g, out, x, y: g * _gap(x, y),
    first=2,
)


def _is_near(delta: Any, r: Any) -> Any:
    value = value_of(r)
    return module_of(value).abs(value) <= value_of(delta)


huber = two(
    "huber",
    lambda g, out, delta, r: g * where(_is_near(delta, r), 0.0, sign(r) * r - delta),
    lambda g, out, delta, r: g * where(_is_near(delta, r), r, delta * sign(r)),
    first=1,
)


def _pseudo_huber_of_delta(delta: Any, r: Any) -> Any:
    """Return (h - delta)^2 / h of h = sqrt(delta^2 + r^2), without the cancellation."""
    h = hypot(delta, r)
    part = r / (h + delta)
    return part * r * (r / h) * part


# delta r / h, whose own derivatives would cancel where one is far larger than the other.
_pseudo_huber_of_r: Function = binary(
    "pseudo_huber",
    lambda delta, r: r * (delta / module_of(delta, r).hypot(delta, r)),
    lambda g, out, delta, r: g * side(r, delta) ** 3,
    lambda g, out, delta, r: g * side(delta, r) ** 3,
)
pseudo_huber = two(
    "pseudo_huber",
    lambda g, out, delta, r: g * _pseudo_huber_of_delta(delta, r),
    lambda g, out, delta, r: g * _pseudo_huber_of_r(delta, r),
    first=1,
)

# --- powers and exponentials ------------------------------------------------------------------------------------------

_expm1 = one("expm1", lambda g, out, x: g * exp(x))
_log1p = one("log1p", lambda g, out, x: g / (1.0 + x))
cosm1 = one("cosm1", lambda g, out, x: -(g * sin(x)))
_cbrt = one("cbrt", lambda g, out, x: g / (3.0 * out * out))
_exp2 = one("exp2", lambda g, out, x: g * (_LN2 * out))
exp10 = one("exp10", lambda g, out, x: g * (_LN10 * out))
_EXPONENTIAL = [1.0] * 24


def _exprel_values(n: int, x: Any) -> Any:
    if n == 0:
        return values_of_scipy("exprel")(x)
    xp = module_of(x)
    return derivative_of_quotient(n, x, lambda v: xp.expm1(v) / v, lambda k, v: xp.exp(v), _EXPONENTIAL)


_exprel: Function = ordered("exprel", _exprel_values, lambda n, x: _exprel(n + 1, x))


def exprel(x: Any) -> Any:
    """(exp(x) - 1) / x, with all its derivatives at 0."""
    return _exprel(0, x)


def _boxcox_of_power(logarithm: Any, lmbda: Any) -> Any:
    return logarithm * logarithm * _exprel(1, lmbda * logarithm)


boxcox = two(
    "boxcox",
    lambda g, out, x, lmbda: g * power(x, lmbda - 1.0),
    lambda g, out, x, lmbda: g * _boxcox_of_power(log(x), lmbda),
)
boxcox1p = two(
    "boxcox1p",
    lambda g, out, x, lmbda: g * exp((lmbda - 1.0) * log1p(x)),
    lambda g, out, x, lmbda: g * _boxcox_of_power(log1p(x), lmbda),
)


def _constant_power(name: str, rule: Rule) -> Function:
    known = inside(rule)
    rules = (lambda g, out, y, lmbda: like(known(g, out, y, lmbda), y),)
    function = primitive(name, values_of_scipy(name), rules, lambda call: entrywise(known), (known,))

    def call(y: Any, lmbda: Any) -> Any:
        if type(lmbda) is Var:
            remedy = "Write np.exp(np.log1p(lmbda * y) / lmbda), for lmbda other than 0."
            bad_type(f"scipy.special.{name}", "lmbda", "a traced value", "a constant", remedy)
        return function(y, operand(lmbda, name))

    return call


inv_boxcox = _constant_power("inv_boxcox", lambda g, out, y, lmbda: g * (out / (1.0 + lmbda * y)))
inv_boxcox1p = _constant_power("inv_boxcox1p", lambda g, out, y, lmbda: g * ((out + 1.0) / (1.0 + lmbda * y)))


def logsumexp_(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log(sum(b exp(a))), shifted so that nothing overflows."""
    if return_sign:
        raise TypeError(
            "scipy.special.logsumexp with return_sign=True cannot be traced by metagrad.ad. Write np.sum(b * np.exp(a "
            "- m)) with the constant m = np.max(metagrad.ad.stop_gradient(a)), and take its np.abs and np.sign."
        )
    return logsumexp(_stacked(a), axis, keepdims, b)


def _stacked(x: Any) -> Any:
    return stack(x) if type(x) in (list, tuple) else x


def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x))."""
    return _softmax(_stacked(x), axis)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """x - logsumexp(x)."""
    return _log_softmax(_stacked(x), axis)


TABLE: dict[Any, Any] = {
    sp.expit: normal.expit,
    sp.log_expit: normal.log_expit,
    sp.logit: normal.logit,
    sp.erf: normal.erf,
    sp.erfc: normal.erfc,
    sp.erfcx: normal.erfcx,
    sp.erfinv: normal.erfinv,
    sp.erfcinv: normal.erfcinv,
    sp.ndtr: normal.ndtr,
    sp.log_ndtr: normal.log_ndtr,
    sp.ndtri: normal.ndtri,
    sp.digamma: digamma,
    sp.gammaln: gammaln,
    sp.loggamma: loggamma,
    sp.gamma: gamma,
    sp.rgamma: rgamma,
    sp.beta: beta,
    sp.betaln: betaln,
    _ZETA: zeta,
    sp.gammainc: gammainc,
    sp.gammaincc: gammaincc,
    sp.betainc: betainc,
    sp.betaincc: betaincc,
    sp.xlogy: xlogy,
    sp.xlog1py: xlog1py,
    sp.entr: entr,
    sp.rel_entr: rel_entr,
    sp.kl_div: kl_div,
    sp.huber: huber,
    sp.pseudo_huber: pseudo_huber,
    sp.expm1: _expm1,
    sp.log1p: _log1p,
    sp.cosm1: cosm1,
    sp.cbrt: _cbrt,
    sp.exp2: _exp2,
    sp.exp10: exp10,
    sp.exprel: exprel,
    sp.boxcox: boxcox,
    sp.boxcox1p: boxcox1p,
    sp.inv_boxcox: inv_boxcox,
    sp.inv_boxcox1p: inv_boxcox1p,
    sp.jv: bessel.jv,
    sp.yv: bessel.yv,
    sp.iv: bessel.iv,
    sp.kv: bessel.kv,
    sp.yn: bessel.yn,
    sp.kn: bessel.kn,
    sp.ive: bessel.ive,
    sp.j0: bessel.j0,
    sp.j1: bessel.j1,
    sp.y0: bessel.y0,
    sp.y1: bessel.y1,
    sp.i0: bessel.i0,
    sp.i1: bessel.i1,
    sp.i0e: bessel.i0e,
    sp.i1e: bessel.i1e,
    sp.k0: bessel.k0,
    sp.k1: bessel.k1,
    np.i0: bessel.i0_of_numpy,
    sp.polygamma: polygamma,
    sp.multigammaln: multigammaln,
    sp.logsumexp: logsumexp_,
    sp.softmax: softmax,
    sp.log_softmax: log_softmax,
}
CONSTANT = frozenset({sp.gammasgn, sp.round})
_SOLVE = (
    "It has complex values. For the real w with w * exp(w) = x write a few steps of Newton's method, "
    "w = w - (w * np.exp(w) - x) / ((w + 1) * np.exp(w))."
)
REFUSED: dict[Any, str] = {
    sp.lambertw: _SOLVE,
    sp.lambertw(_Ask()): _SOLVE,
    sp.zeta(_Ask()): "There is no derivative in the order; write the sum, np.sum(n**-s), for n up to some thousands.",
    sp.betaincinv: "Only betainc is differentiated, in x.",
    sp.gammaincinv: "Only gammainc is differentiated, in x.",
    sp.stdtr: "Only densities have a derivative in closed form; the log density of t is made of gammaln and np.log1p.",
}
