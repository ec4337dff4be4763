"""Convolutions of scipy.signal: SciPy's values over all options, and what is refused."""

import numpy as np
import pytest
import scipy.signal

from metagrad import ad
from metagrad.xp import rng

MODES = ("full", "same", "valid")
SHAPES = [((5,), (3,)), ((5,), (4,)), ((3,), (3,)), ((4, 5), (2, 3)), ((4, 5), (3, 2)), ((3, 4, 3), (2, 2, 2))]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["auto", "direct", "fft"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_every_method_and_mode(name, method, mode, shapes):
    x, y = (rng(0, name, i).standard_normal(shape) for i, shape in enumerate(shapes))
    for a, v in ((x, y), (y, x)):
        f = lambda a, v: getattr(scipy.signal, name)(a, v, mode=mode, method=method)  # noqa: E731
        assert np.array_equal(ad.vjp(f, a, v)[0], f(a, v))
        ad.check_gradients(f, (a, v), name=name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shapes", SHAPES[:5])
def test_the_others(mode, shapes):
    x, y = (rng(1, i).standard_normal(shape) for i, shape in enumerate(shapes))
    for function in (scipy.signal.fftconvolve, scipy.signal.convolve2d)[: len(shapes[0])]:
        f = lambda a, v: function(a, v, mode)  # noqa: E731, B023
        assert np.array_equal(ad.vjp(f, x, y)[0], f(x, y))
        ad.check_gradients(f, (x, y), name=function.__name__)


def test_dtypes_come_back():
    a, v = rng(2).standard_normal(5).astype("float32"), rng(3).standard_normal(3)
    out, pullback = ad.vjp(scipy.signal.convolve, a, v)
    assert [out.dtype, *[g.dtype for g in pullback(out)]] == ["float64", "float32", "float64"]


@pytest.mark.parametrize(
    ("f", "match"),
    [
        (lambda x: scipy.signal.convolve(x, np.ones(3), "half"), r"scipy\.signal\.convolve: mode is 'half'"),
        (lambda x: scipy.signal.convolve(x, np.ones((3, 3))), "same dimensionality"),
        (lambda x: scipy.signal.fftconvolve(x, np.ones(3), axes=0), r"scipy\.signal\.fftconvolve with axes="),
        (lambda x: scipy.signal.convolve2d(x[None], np.ones((1, 2)), boundary="wrap"), "convolve2d with boundary="),
    ],
)
def test_bad_calls_are_named(f, match):
    with pytest.raises((TypeError, ValueError), match=match):
        ad.grad(lambda x: np.sum(f(x)))(np.ones(4))
