"""SciPy's special functions: derivatives against mpmath over the whole range, edges, and what is refused."""

import mpmath as mp
import numpy as np
import pytest
import scipy.special as sp

from metagrad import ad
from metagrad.xp import rng
from tests.ad.exact import assert_derivatives_are_exact, spread


def normal(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def wide(low, high):
    return lambda s: s.uniform(low, high, 8)


def sizes(low, high, sign=False):
    return lambda s: spread(s, low, high) * (s.choice([-1.0, 1.0], 8) if sign else 1.0)


def far(low, high):
    return lambda s: np.concatenate([s.uniform(low, high, 4), s.uniform(-3, 3, 4), spread(s, 1e-8, 1.0, 4)])


_03 = mp.mpf(0.3)
CASES = {
    "expit": (sp.expit, lambda x: 1 / (1 + mp.exp(-x)), far(-660, 660)),
    "log_expit": (sp.log_expit, lambda x: -mp.log1p(mp.exp(-x)), far(-660, 660)),
    "logit": (sp.logit, lambda x: mp.log(x / (1 - x)), sizes(1e-100, 0.9)),
    "erf": (sp.erf, mp.erf, far(-25, 25)),
    "erfc": (sp.erfc, mp.erfc, far(-25, 25)),
    "erfcx": (sp.erfcx, lambda x: mp.exp(x * x) * mp.erfc(x), far(-18, 30)),
    "erfinv": (sp.erfinv, mp.erfinv, wide(-1, 1)),
    "erfcinv": (sp.erfcinv, lambda x: mp.erfinv(1 - x), sizes(1e-30, 1.0)),
    "ndtr": (sp.ndtr, normal, far(-35, 35)),
    "log_ndtr": (sp.log_ndtr, lambda x: mp.log(normal(x)), far(-35, 35)),
    "log_ndtr far left": (sp.log_ndtr, lambda x: mp.log(normal(x)), lambda s: -spread(s, 1e-5, 1e3)),
    "ndtri": (sp.ndtri, lambda x: -mp.sqrt(2) * mp.erfinv(1 - 2 * x), sizes(1e-30, 0.9)),
    "entr": (sp.entr, lambda x: -x * mp.log(x), sizes(1e-100, 1e100)),
    "exprel": (sp.exprel, lambda x: mp.expm1(x) / x, far(-300, 300)),
    "cosm1": (sp.cosm1, lambda x: mp.cos(x) - 1, wide(-3, 3)),
    "log1p": (sp.log1p, mp.log1p, wide(-1, 3)),
    "cbrt": (sp.cbrt, lambda x: mp.sign(x) * mp.cbrt(abs(x)), sizes(1e-50, 1e50, True)),
    "exp10": (sp.exp10, lambda x: mp.mpf(10) ** x, wide(-100, 100)),
    "boxcox of x": (lambda x: sp.boxcox(x, 0.3), lambda x: (x**_03 - 1) / _03, sizes(1e-10, 1e10)),
    "boxcox of lambda": (lambda y: sp.boxcox(3.0, y), lambda y: (mp.mpf(3) ** y - 1) / y, far(-5, 5)),
    "boxcox1p of lambda": (lambda y: sp.boxcox1p(3.0, y), lambda y: (mp.mpf(4) ** y - 1) / y, far(-5, 5)),
    "inv_boxcox": (lambda x: sp.inv_boxcox(x, 0.3), lambda x: (1 + _03 * x) ** (1 / _03), sizes(1e-9, 1e9)),
    "xlogy": (lambda x: sp.xlogy(0.3, x), lambda x: _03 * mp.log(x), sizes(1e-100, 1e100)),
    "xlog1py": (lambda x: sp.xlog1py(0.3, x), lambda x: _03 * mp.log1p(x), sizes(1e-100, 1e100)),
    "rel_entr of x": (lambda x: sp.rel_entr(x, 0.3), lambda x: x * mp.log(x / _03), sizes(1e-100, 1e100)),
    "rel_entr of y": (lambda y: sp.rel_entr(0.3, y), lambda y: _03 * mp.log(_03 / y), sizes(1e-100, 1e100)),
    "kl_div of x": (lambda x: sp.kl_div(x, 0.3), lambda x: x * mp.log(x / _03) - x + _03, sizes(1e-100, 1e100)),
    "kl_div of y": (lambda y: sp.kl_div(0.3, y), lambda y: _03 * mp.log(_03 / y) - _03 + y, sizes(1e-100, 1e100)),
    "pseudo_huber": (
        lambda r: sp.pseudo_huber(0.3, r),
        lambda r: _03**2 * (mp.sqrt(1 + (r / _03) ** 2) - 1),
        sizes(1e-5, 1e5, True),
    ),
    "pseudo_huber of delta": (
        lambda d: sp.pseudo_huber(d, 0.3),
        lambda d: d**2 * (mp.sqrt(1 + (_03 / d) ** 2) - 1),
        sizes(1e-5, 1e5),
    ),
}
# These are expensive to hundreds of digits, and need no more than eighty.
GAMMA = {
    "digamma": (sp.digamma, mp.digamma, sizes(1e-3, 1e4)),
    "digamma below 0": (sp.digamma, mp.digamma, lambda s: s.uniform(-0.9, -0.1, 8) - s.integers(0, 5, 8)),
    "gammaln": (sp.gammaln, mp.loggamma, sizes(1e-3, 1e4)),
    "loggamma": (sp.loggamma, mp.loggamma, sizes(1e-3, 1e4)),
    "gamma": (sp.gamma, mp.gamma, wide(0.1, 160)),
    "rgamma": (sp.rgamma, mp.rgamma, wide(-5, 100)),
    "polygamma": (lambda x: sp.polygamma(2, x), lambda x: mp.psi(2, x), sizes(1e-3, 1e3)),
    "zeta": (lambda x: sp.zeta(2.5, x), lambda x: mp.zeta(2.5, x), sizes(1e-2, 1e2)),
    "beta": (lambda x: sp.beta(x, 0.3), lambda x: mp.beta(x, _03), sizes(1e-2, 10.0)),
    "betaln": (lambda x: sp.betaln(x, 0.3), lambda x: mp.log(mp.beta(x, _03)), sizes(1e-2, 10.0)),
    "gammainc": (lambda x: sp.gammainc(3.5, x), lambda x: mp.gammainc(3.5, 0, x, regularized=True), wide(0.1, 50)),
    "gammaincc": (lambda x: sp.gammaincc(3.5, x), lambda x: mp.gammainc(3.5, x, regularized=True), wide(0.1, 50)),
    "betainc": (
        lambda x: sp.betainc(2.5, 3.0, x),
        lambda x: mp.betainc(2.5, 3, 0, x, regularized=True),
        wide(0.01, 0.99),
    ),
    "betaincc": (
        lambda x: sp.betaincc(2.5, 3.0, x),
        lambda x: mp.betainc(2.5, 3, x, 1, regularized=True),
        wide(0.01, 0.99),
    ),
    "multigammaln": (
        lambda x: sp.multigammaln(x, 3),
        lambda x: mp.loggamma(x) + mp.loggamma(x - 0.5) + mp.loggamma(x - 1),
        lambda s: 1 + spread(s, 1e-2, 1e3),
    ),
    **{
        f"{kind}{n}": (getattr(sp, f"{kind}{n}"), lambda x, f=f, n=n: f(n, x), points)
        for kind, f, points in (
            ("j", mp.besselj, wide(-20, 20)),
            ("y", mp.bessely, wide(0, 20)),
            ("i", mp.besseli, wide(-200, 200)),
            ("k", mp.besselk, sizes(1e-5, 200)),
        )
        for n in (0, 1)
    },
    "i0 of NumPy": (np.i0, lambda x: mp.besseli(0, x), wide(-200, 200)),
    "jv": (lambda x: sp.jv(2.5, x), lambda x: mp.besselj(2.5, x), wide(0.1, 10)),
    "yv": (lambda x: sp.yv(2.5, x), lambda x: mp.bessely(2.5, x), wide(0.1, 10)),
    "iv": (lambda x: sp.iv(2.5, x), lambda x: mp.besseli(2.5, x), wide(0.1, 100)),
    "kv": (lambda x: sp.kv(2.5, x), lambda x: mp.besselk(2.5, x), wide(0.1, 100)),
    "yn": (lambda x: sp.yn(3, x), lambda x: mp.bessely(3, x), wide(0.1, 10)),
    "i0e": (sp.i0e, lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), wide(-9, 9)),
    "i1e": (sp.i1e, lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), wide(-9, 9)),
    "ive": (lambda x: sp.ive(2.5, x), lambda x: mp.besseli(2.5, x) * mp.exp(-x), wide(0.1, 9)),
}
# Bessel functions oscillate, and digamma has a root: beside one the error is that of what was subtracted.
ROOTS = {"j0", "j1", "y0", "y1", "jv", "yv", "yn", "i0e", "i1e", "ive", "betaln", "digamma below 0", "rgamma"}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_mpmath_far_out_too(name, seed):
    function, exact, points = CASES[name]
    assert_derivatives_are_exact(function, exact, points(rng(seed, name)))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", GAMMA)
def test_derivatives_of_gamma_and_bessel_functions_are_those_of_mpmath(name, seed):
    function, exact, points = GAMMA[name]
    tolerance = (2e-11, 2e-11) if name in ROOTS else (1e-12, 1e-12)
    assert_derivatives_are_exact(function, exact, points(rng(seed, name)), tolerance, digits=80)


def slope(f, x):
    with np.errstate(all="ignore"):
        return float(ad.grad(lambda v: np.sum(f(v)))(float(x)))


@pytest.mark.parametrize(
    ("function", "args", "wrt", "expected"),
    [
        (sp.xlogy, (0, 0), 1, 0.0),
        (sp.xlogy, (0, 0), 0, -np.inf),
        (sp.xlogy, (2, 0), 1, np.inf),
        (sp.xlog1py, (0, -1), 1, 0.0),
        (sp.entr, (0,), 0, np.inf),
        (sp.rel_entr, (0, 0), 1, 0.0),
        (sp.rel_entr, (0, 2), 0, -np.inf),
        (sp.kl_div, (0, 0), 1, 1.0),
        (sp.kl_div, (2, 2), 0, 0.0),
        (sp.huber, (1, 0), 1, 0.0),
        (sp.huber, (1, 5), 1, 1.0),
        (sp.huber, (1, -5), 0, 4.0),
        (sp.pseudo_huber, (0, -2), 0, 2.0),
        (sp.pseudo_huber, (0, 2), 1, 0.0),
        (sp.expit, (1e3,), 0, 0.0),
        (sp.log_expit, (-1e3,), 0, 1.0),
        (sp.log_ndtr, (1e3,), 0, 0.0),
        (sp.ndtri, (0,), 0, np.inf),
        (sp.erfinv, (1,), 0, np.inf),
        (sp.logit, (0,), 0, np.inf),
        (sp.cbrt, (0,), 0, np.inf),
        (sp.exprel, (0,), 0, 0.5),
        (sp.i1, (0,), 0, 0.5),
        (sp.j1, (0,), 0, 0.5),
        (sp.gammainc, (1, 0), 1, 1.0),
        (sp.betainc, (1, 2, 0), 2, 2.0),
    ],
)
def test_at_the_edge_of_a_domain_the_derivative_is_its_limit(function, args, wrt, expected):
    assert slope(lambda x: function(*args[:wrt], x, *args[wrt + 1 :]), args[wrt]) == expected


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (sp.logit, (2,)),
        (sp.log1p, (-2,)),
        (sp.ndtri, (1.5,)),
        (sp.erfinv, (-2,)),
        (sp.erfcinv, (3,)),
        (sp.entr, (-1,)),
        (sp.rel_entr, (-1, -1)),
        (sp.rel_entr, (1, -1)),
        (sp.kl_div, (-2, -1)),
        (sp.huber, (-1, 0.5)),
        (sp.pseudo_huber, (-1, 0.5)),
        (sp.gammainc, (1, -1)),
        (sp.betainc, (1, 2, 1.5)),
        (sp.loggamma, (-0.5,)),
        (sp.digamma, (-1,)),
        (sp.y0, (-1,)),
        (sp.k0, (-1,)),
        (sp.boxcox, (-1, 0.5)),
        (sp.xlogy, (1, -1)),
    ],
)
def test_outside_of_a_domain_the_derivative_is_nan(function, args):
    *constants, x = args
    assert np.isnan(slope(lambda v: function(*constants, v), x))


@pytest.mark.parametrize("function", [sp.expit, sp.log_expit, sp.log_ndtr, sp.erfcx, sp.ndtr, sp.gammaln, sp.exprel])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_values_have_the_dtype_of_scipy_and_cotangents_that_of_the_argument(function, dtype):
    x = np.array([0.5, 1.5], dtype)
    out, pullback = ad.vjp(function, x)
    assert out.dtype == function(x).dtype
    assert np.array_equal(out, function(x))
    assert pullback(np.ones_like(out))[0].dtype == dtype


def test_a_branch_that_is_not_taken_adds_nothing():
    x = np.array([0.0, 0.5, 2.0])
    with np.errstate(all="ignore"):
        found = ad.grad(lambda v: np.sum(np.where(v < 1, sp.xlogy(0.0, v) + sp.logit(np.where(v < 1, v, 0.5)), v)))(x)
    assert found.tolist() == [np.inf, 4.0, 1.0]


def test_outside_of_a_domain_what_is_not_asked_for_is_0():
    x = np.array([0.5, 2.0, -3.0])
    for f in (
        sp.logit,
        sp.erfinv,
        np.arcsin,
        np.arctanh,
        lambda v: sp.rel_entr(1.5 - v, 0.3),
        lambda v: sp.huber(v, 9.0),
    ):
        with np.errstate(all="ignore"):
            _, pullback = ad.vjp(f, x)
            found = pullback(np.array([1.0, 0.0, 0.0]))[0]
        assert np.isfinite(found[0])
        assert found[1:].tolist() == [0.0, 0.0]


def test_functions_of_whole_and_of_any_order_agree():
    x = rng(0, "order").uniform(0.1, 9, 6)
    for whole, of_any in ((sp.kn, sp.kv), (sp.yn, sp.yv)):
        first, second = (ad.grad(lambda v, f=f: np.sum(f(3, v)))(x) for f in (whole, of_any))
        assert np.allclose(first, second, rtol=1e-13)


def test_third_derivatives():
    x = rng(0, "third").uniform(0.5, 2.0, 6)
    for f in (sp.gammaln, sp.log_ndtr, sp.erfcx, sp.exprel, np.sinc, sp.i0, sp.j0):
        ad.check_gradients(lambda v, f=f: ad.grad(lambda w: np.sum(f(w)))(v), (x,), name=f.__name__)


@pytest.mark.parametrize("axis", [None, 0, (0, 2), -1])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_logsumexp_takes_the_options_of_scipy(axis, keepdims, seed):
    stream = rng(seed, "logsumexp")
    a, b = stream.normal(0, 3, (2, 3, 4)), stream.uniform(0.1, 2.0, (3, 1))
    f = lambda x, w: sp.logsumexp(x, axis=axis, b=w, keepdims=keepdims)  # noqa: E731
    out, _ = ad.vjp(f, a, b)
    assert np.allclose(out, f(a, b), rtol=1e-13, atol=0)
    assert out.shape == f(a, b).shape
    ad.check_gradients(f, (a, b))


def test_weights_of_zero_count_for_nothing_and_far_entries_do_not_overflow():
    a, b = np.array([1e4, 3.0, -1e4]), np.array([0.0, 2.0, 1.0])
    value, slope = ad.value_and_grad(lambda x: sp.logsumexp(x, b=b))(a)
    assert (value, slope.tolist()) == (sp.logsumexp(a, b=b), [0.0, 1.0, 0.0])
    value, slope = ad.value_and_grad(sp.logsumexp)(np.array([1e4, 1e4, -np.inf]))
    assert (value, slope.tolist()) == (1e4 + np.log(2.0), [0.5, 0.5, 0.0])


@pytest.mark.parametrize("function", [sp.softmax, sp.log_softmax])
@pytest.mark.parametrize("axis", [None, 0, (0, 2), -1])
def test_softmax_takes_the_axes_of_scipy(function, axis):
    x = rng(0, "softmax").standard_normal((2, 3, 4))
    f = lambda v: function(v, axis=axis)  # noqa: E731
    assert np.allclose(ad.vjp(f, x)[0], f(x), rtol=1e-13, atol=0)
    ad.check_gradients(f, (x,))


def test_lists_of_traced_values_are_stacked():
    f = lambda x: sp.logsumexp([x[0], 2.0 * x[1], 0.5]) + np.sum(sp.softmax([x[0], x[1]]) * np.array([1.0, 2.0]))  # noqa: E731
    ad.check_gradients(f, (np.array([0.3, 0.7]),))
    for g in (
        lambda x: sp.polygamma([[0], [1]], x),
        lambda x: sp.gammainc([1.5, 2.5], x),
        lambda x: sp.boxcox(x, [0.0, 0.5]) + sp.inv_boxcox(x, [0.0, 0.5]) + np.ldexp(x, [1, 2]) + np.hypot(x, [3, 4]),
    ):
        ad.check_gradients(g, (np.array([0.3, 0.7]),))
    with pytest.raises(TypeError, match=r"gammainc: an operand is the complex number"):
        ad.vjp(lambda x: sp.gammainc(1j, x), 1.5)


def test_signs_are_constant():
    assert ad.grad(lambda x: np.sum(sp.gammasgn(x) * x))(np.array([0.5, -0.5])).tolist() == [1.0, -1.0]


def test_what_is_composed_by_scipy_of_ufuncs_works_by_itself():
    x = rng(0, "softplus").standard_normal(4)
    if hasattr(sp, "softplus"):
        ad.check_gradients(sp.softplus, (x,))
    ad.check_gradients(lambda q: sp.zeta(3.0, q), (np.abs(x) + 0.5,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sp.gammainc(x, 1.0), r"scipy\.special\.gammainc: argument 0 is a traced value"),
        (lambda x: sp.betainc(1.0, x, 0.5), r"scipy\.special\.betainc: argument 1 is a traced value"),
        (lambda x: sp.jv(x, 1.0), r"jv: the order is a traced value"),
        (lambda x: sp.zeta(x, 1.0), r"zeta: the order is a traced value"),
        (sp.zeta, r"zeta cannot be traced.*np\.sum\(n\*\*-s\)"),
        (lambda x: sp.inv_boxcox(1.0, x), r"inv_boxcox: lmbda is a traced value.*np\.log1p"),
        (sp.lambertw, r"lambertw cannot be traced.*Newton"),
        (lambda x: sp.logsumexp(x, return_sign=True), r"logsumexp with return_sign=True cannot be traced"),
        (sp.spence, r"scipy\.special\.spence cannot be traced"),
        (lambda x: sp.gammaln(x, where=x > 1), r"scipy\.special\.gammaln with where=.*np\.where\(mask, "),
    ],
)
def test_what_has_no_derivative_in_closed_form_is_refused_by_name(call, message):
    with pytest.raises(TypeError, match=message):
        ad.vjp(call, np.array([1.5, 2.5]))
