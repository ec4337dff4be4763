"""Scaled numbers as arrays: every function of the tape's table on them, and functions at numbers of any size."""

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import scipy.special

from metagrad import ad
from metagrad.ad.domains import DOMAINS, Draw, as_reals, draw
from metagrad.ad.functions import special
from metagrad.scaled import Scaled, narrow
from metagrad.xp import rng
from tests.ad.examples import every_case

# Functions whose values come from code that knows floats alone: refused by name.
NOT_CARRIED = {
    np.arctan2,
    np.convolve,
    np.copysign,
    np.correlate,
    np.divmod,
    np.fft.fft,
    np.fft.fft2,
    np.fft.fftn,
    np.fft.hfft,
    np.fft.ifft,
    np.fft.ifft2,
    np.fft.ifftn,
    np.fft.ihfft,
    np.fft.irfft,
    np.fft.irfft2,
    np.fft.irfftn,
    np.fft.rfft,
    np.fft.rfft2,
    np.fft.rfftn,
    np.fmax,
    np.fmin,
    np.fmod,
    np.heaviside,
    np.interp,
    np.logaddexp2,
    np.modf,
    np.nextafter,
    np.remainder,
    np.sinc,
    np.unwrap,
    scipy.signal.convolve,
    scipy.signal.convolve2d,
    scipy.signal.correlate,
    scipy.signal.fftconvolve,
} | set(special.TABLE)
NOT_CARRIED -= {
    scipy.special.cbrt,
    scipy.special.entr,
    scipy.special.exp2,
    scipy.special.expit,
    scipy.special.expm1,
    scipy.special.log1p,
    scipy.special.log_expit,
    scipy.special.log_softmax,
    scipy.special.logsumexp,
    scipy.special.softmax,
    scipy.special.xlogy,
}
mpmath.mp.dps = 40
# LAPACK works in floats. Each of these is right on scaled numbers, or refused by its name (norm knows some orders).
PARTLY_CARRIED = {
    np.linalg.cholesky,
    np.linalg.cond,
    np.linalg.det,
    np.linalg.eigh,
    np.linalg.eigvalsh,
    np.linalg.inv,
    np.linalg.lstsq,
    np.linalg.matrix_power,
    np.linalg.norm,
    np.linalg.pinv,
    np.linalg.qr,
    np.linalg.slogdet,
    np.linalg.solve,
    np.linalg.svd,
    np.linalg.svdvals,
    np.linalg.tensorinv,
    np.linalg.tensorsolve,
    scipy.linalg.cho_factor,
    scipy.linalg.cho_solve,
    scipy.linalg.cholesky,
    scipy.linalg.det,
    scipy.linalg.eigh,
    scipy.linalg.eigvalsh,
    scipy.linalg.expm,
    scipy.linalg.inv,
    scipy.linalg.lstsq,
    scipy.linalg.norm,
    scipy.linalg.pinv,
    scipy.linalg.qr,
    scipy.linalg.solve,
    scipy.linalg.solve_triangular,
    scipy.linalg.svd,
    scipy.linalg.svdvals,
}


def is_drawn(item):
    return isinstance(item, Draw) or (isinstance(item, tuple) and any(isinstance(x, Draw) for x in item))


def with_scaled(function, index):
    """Return the function of one example's arrays, and those arrays, as floats and as scaled numbers."""
    example = DOMAINS[function][index]
    full = draw(example, rng(1, function.__name__, index))
    where = [i for i, item in enumerate(example) if is_drawn(item)]
    arrays = tuple(full[i] for i in where)

    def of_arrays(*values):
        args = list(full)
        for i, value in zip(where, values, strict=True):
            args[i] = value
        return as_reals(function(*args))

    return of_arrays, arrays, ad.tree_map(Scaled.of, arrays)


def refusal(f, scaled):
    """Return why a function is refused on scaled numbers; nothing where it is not."""
    try:
        ad.vjp(f, *scaled)
    except TypeError as error:
        return str(error)
    return ""


def agree(found, expected):
    for x, y in zip(ad.leaves(found), ad.leaves(expected), strict=True):
        assert np.shape(x) == np.shape(y)
        assert np.abs(narrow(x) - y).max(initial=0.0) <= 1e-12 * np.abs(y).max(initial=1.0)


@every_case
def test_values_and_gradients_of_the_tapes_functions_are_those_of_floats(function, index):
    f, plain, scaled = with_scaled(function, index)
    if function in NOT_CARRIED:
        with pytest.raises((TypeError, ValueError), match=function.__name__):
            ad.vjp(f, *scaled)
        return
    expected, pull = ad.vjp(f, *plain)
    told = refusal(f, scaled)
    if told:
        assert function in PARTLY_CARRIED
        assert f"{function.__name__}: an operand is an array of scaled numbers" in told
        return
    found, pull_scaled = ad.vjp(f, *scaled)
    agree(found, expected)
    seed = ad.tree_map(lambda x: rng(2, function.__name__, index).standard_normal(np.shape(x)), expected)
    agree(pull_scaled(seed), pull(seed))


FAR = [1e-300, -3e-250, 0.7, -1.5, 12.0, 4e200]
ONE = {
    np.sqrt: (mpmath.sqrt, "positive"),
    np.cbrt: (lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), "any"),
    np.square: (lambda x: x * x, "any"),
    np.reciprocal: (lambda x: 1 / x, "any"),
    np.log: (mpmath.log, "positive"),
    np.log2: (lambda x: mpmath.log(x, 2), "positive"),
    np.log10: (mpmath.log10, "positive"),
    np.log1p: (mpmath.log1p, "positive"),
    np.expm1: (mpmath.expm1, "small"),
    np.exp: (mpmath.exp, "small"),
    np.exp2: (lambda x: mpmath.mpf(2) ** x, "small"),
    np.sinh: (mpmath.sinh, "small"),
    np.cosh: (mpmath.cosh, "small"),
    np.tanh: (mpmath.tanh, "small"),
    np.arctan: (mpmath.atan, "any"),
    np.arcsinh: (mpmath.asinh, "any"),
    np.sin: (mpmath.sin, "small"),
}


@pytest.mark.parametrize("function", list(ONE), ids=lambda f: f.__name__)
@pytest.mark.parametrize("power", [-4000, 0, 3000])
def test_functions_at_numbers_that_no_float_holds(function, power):
    exact, domain = ONE[function]
    x = Scaled.of(np.array([-700.0, -3.0, -1e-9, 1e-300, 0.3, 5.0, 700.0]) if domain == "small" else np.array(FAR))
    x = abs(x) if domain == "positive" else x
    x = x if domain == "small" else Scaled.of(x, power)
    for i, found in enumerate(function(x)):
        of = mpmath.ldexp(mpmath.mpf(float(x[i].mantissa)), int(x[i].exponent))
        right = exact(of)
        came = mpmath.ldexp(mpmath.mpf(float(found.mantissa)), int(found.exponent))
        assert abs(came - right) <= 4e-13 * abs(right), (function, i)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_products_and_order_of_numbers_far_apart(seed, dtype):
    stream = rng(seed, "far apart")
    a, b = (Scaled.of(stream.standard_normal((3, 4)).astype(dtype), stream.integers(-5000, 5000, (3, 4))) for _ in "ab")

    def exact(x):
        return [
            [mpmath.ldexp(mpmath.mpf(float(x[i, j].mantissa)), int(x[i, j].exponent)) for j in range(x.shape[1])]
            for i in range(x.shape[0])
        ]

    A, B = exact(a), exact(b)
    tolerance = 8 * float(np.finfo(dtype).eps)
    for found in (a @ b.T, np.einsum("ik,jk->ij", a, b), np.tensordot(a, b, ((1,), (1,)))):
        for i in range(3):
            for j in range(3):
                terms = [A[i][k] * B[j][k] for k in range(4)]
                came = mpmath.ldexp(mpmath.mpf(float(found[i, j].mantissa)), int(found[i, j].exponent))
                assert abs(came - sum(terms)) <= tolerance * max(map(abs, terms))
    order = np.argsort(a, axis=1)
    for i in range(3):
        assert list(order[i]) == sorted(range(4), key=lambda k: A[i][k])
        assert (a.max(axis=1) == a[np.arange(3), order[:, -1]]).all()
        assert (a.min(axis=1) == a[np.arange(3), order[:, 0]]).all()
    assert ((a > b) == np.array([[x > y for x, y in zip(*rows, strict=True)] for rows in zip(A, B, strict=True)])).all()


def test_an_index_that_comes_twice_is_added_twice_each_entry_at_its_own_size():
    full = np.zeros_like(Scaled.of(np.zeros(3)))
    np.add.at(full, np.array([0, 0, 2]), Scaled.of(np.array([1.0, 2.0, 5.0]), np.array([-4000, -4000, 4000])))
    assert repr(full) == repr(Scaled.of(np.array([3.0, 0.0, 5.0]), np.array([-4000, 0, 4000])))


def test_what_scaled_numbers_do_not_know_is_refused_by_name():
    x = Scaled.of(np.ones(3))
    with pytest.raises(TypeError, match=r"numpy\.convolve does not know scaled numbers"):
        np.convolve(x, x)
    with pytest.raises(TypeError, match=r"numpy\.gcd does not know scaled numbers"):
        np.gcd(x, x)
    with pytest.raises(TypeError, match=r"numpy\.add with out= does not know"):
        np.add(x, x, out=np.ones(3))
    with pytest.raises(TypeError, match=r"np\.asarray: its argument is a Scaled"):
        np.asarray(x)
