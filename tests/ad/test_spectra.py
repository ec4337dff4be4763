"""Fourier transforms and complex values in between: NumPy's values over all options, derivatives, and refusals."""

import numpy as np
import pytest

from metagrad import ad, xp
from metagrad.ad.complex_pair import Complex
from metagrad.xp import VALUE_TOLERANCE, rng
from tests.ad.device_array import DEVICE, DeviceArray, Scipy

SIGNAL = rng(0, "signal").standard_normal(8)
IMAGE = rng(0, "image").standard_normal((3, 4))
FILTER = rng(1, "filter").standard_normal(5) + 1j * rng(2, "filter").standard_normal(5)
MATRIX = rng(3, "matrix").standard_normal((4, 8)) + 1j * rng(4, "matrix").standard_normal((4, 8))
TIMES = np.arange(8.0)
fft = np.fft
ONE = [fft.fft, fft.ifft, fft.rfft, fft.irfft, fft.hfft, fft.ihfft]
MANY = [fft.fftn, fft.ifftn, fft.rfftn, fft.irfftn]
NORMS = [None, "backward", "ortho", "forward"]


def parts(z):
    return (z.real, z.imag) if z.dtype.kind == "c" else z


def bits(f, x):
    """Assert that the traced value has the bits and the dtype of the plain one."""
    found, expected = ad.vjp(lambda v: parts(f(v)), x)[0], parts(f(x))
    for a, b in zip(ad.leaves(found), ad.leaves(expected), strict=True):
        assert np.array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.mark.parametrize("function", ONE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_along_an_axis_are_numpys_to_the_bit(function, norm, dtype):
    x = rng(0, function.__name__).standard_normal((5, 6)).astype(dtype)
    for n, axis in [(None, -1), (None, 0), (3, 0), (8, 1), (1, 1), (9, -2)]:
        bits(lambda v: function(v, n=n, axis=axis, norm=norm), x)  # noqa: B023


@pytest.mark.parametrize("function", MANY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_along_axes_are_numpys_to_the_bit(function, norm, dtype):
    x = rng(0, function.__name__).standard_normal((3, 4, 5)).astype(dtype)
    for s, axes in [(None, None), (None, (0, 1)), ((2, 7), (2, 0)), ((4, -1), (-1, 1)), (None, (1,)), ((5,), (0,))]:
        bits(lambda v: function(v, s=s, axes=axes, norm=norm), x)  # noqa: B023


@pytest.mark.parametrize("function", [fft.fft2, fft.ifft2, fft.rfft2, fft.irfft2], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_along_two_axes_are_numpys_to_the_bit(function, dtype):
    x = rng(0, function.__name__).standard_normal((3, 4, 5)).astype(dtype).transpose(2, 0, 1)
    for options in ({}, {"s": (2, 6)}, {"axes": (2, 0), "norm": "ortho"}, {"s": [4, np.int64(3)], "axes": [0, 1]}):
        bits(lambda v: function(v, **options), x)  # noqa: B023


@pytest.mark.parametrize("function", [*ONE, *MANY], ids=lambda f: f.__name__)
@pytest.mark.parametrize("norm", NORMS)
def test_transforms_of_complex_values(function, norm):
    if function in (fft.rfft, fft.rfftn, fft.ihfft):
        with pytest.raises(TypeError, match=rf"numpy\.fft\.{function.__name__}: a is complex.*np\.fft\.fft\(a\)"):
            ad.vjp(lambda x: np.abs(function(x * 1j)), SIGNAL)
        return
    name = "s" if function in MANY else "n"
    for size in (None, 5, 4, 12):
        options = {"norm": norm}
        if size is not None:
            options |= {"s": (size,), "axes": (-1,)} if name == "s" else {"n": size}
        f = lambda x, y: parts(function(x + 1j * y, **options))  # noqa: E731, B023
        out = ad.vjp(f, SIGNAL, TIMES)[0]
        for a, b in zip(ad.leaves(out), ad.leaves(f(SIGNAL, TIMES)), strict=True):
            assert np.allclose(a, b, rtol=0, atol=1e-13 * np.abs(b).max())
        ad.check_gradients(f, (SIGNAL, TIMES), name=function.__name__)


LOSSES = {
    "log spectrum": lambda x: np.sum(np.log(np.abs(fft.rfft(x)) ** 2 + 0.1)),
    "power by parts": lambda x: np.sum((fft.fft(x).real ** 2 + fft.fft(x).imag ** 2) ** 2),
    "power by the conjugate": lambda x: np.sum((fft.rfft(x) * np.conj(fft.rfft(x))).real ** 2),
    "filtered": lambda x: np.sum(fft.irfft(fft.rfft(x) * FILTER, 8) ** 3),
    "filtered without a length": lambda x: np.sum(fft.irfft(FILTER * fft.rfft(x)) ** 3),
    "to and fro": lambda x: np.sum(fft.ifft(fft.fft(x, 6, norm="ortho") ** 2).real ** 3),
    "autocorrelation": lambda x: np.sum(fft.irfft(np.abs(fft.rfft(x, 15)) ** 2, 15)[:8] ** 2 * TIMES),
    "convolution": lambda x: np.sum(fft.irfft(fft.rfft(x, 10) * fft.rfft(np.sin(x), 10), 10) ** 2),
    "deconvolution": lambda x: np.sum(fft.irfft(fft.rfft(np.sin(x)) / (fft.rfft(x) + 0.3), 8) ** 2),
    "spectral distance": lambda x: np.linalg.norm(fft.rfft(x) - FILTER),
    "angles": lambda x: np.sum(np.cos(np.angle(fft.rfft(x)[1:4]))) + np.sum(np.angle(fft.rfft(x)[1:4], deg=True)),
    "phase": lambda x: np.sum(np.abs(np.exp(1j * x) @ MATRIX.T) ** 2),
    "delay": lambda x: np.abs(np.sum(np.exp(-0.2j * np.pi * x * TIMES) * FILTER[0])) ** 2,
    "matrix": lambda x: np.sum(np.abs(MATRIX @ x)) + np.sum(np.abs(x @ MATRIX.T) ** 3),
    "einsum": lambda x: np.sum(np.abs(np.einsum("ij,j->i", MATRIX, x))) + np.vdot(MATRIX @ x, MATRIX @ np.sin(x)).imag,
    "numbers": lambda x: np.abs(np.sum((1 + 2j) * x + x / (3 - 1j) - 1j + (2 - x) / 1j - np.complex64(1j))),
    "arrays of one": lambda x: np.sum(np.abs(x * np.array(1j) + np.array([2.0 - 1j]))),
    "a complex denominator": lambda x: np.sum(np.abs(1.0 / (1 + 1j * x * TIMES)) ** 2),
    "powers": lambda x: np.sum(
        (fft.rfft(x) ** 3 + fft.rfft(x) ** -2 + fft.rfft(x) ** 0 + np.square(fft.rfft(x))).imag ** 2
    ),
    "logarithm": lambda x: np.sum((np.log(2.0 + x * 1j) * np.exp(x * 1j)).real),
    "means": lambda x: np.abs(fft.rfft(x).mean() - np.sum(fft.fft(x).reshape(2, 4), axis=0)[1]) + np.var(fft.fft(x)),
    "shifted": lambda x: np.sum(fft.fftshift(np.abs(fft.fft(x)) ** 2) * TIMES) + fft.fftshift(fft.fft(x))[2].real ** 2,
    "joined": lambda x: np.sum(np.abs(np.concatenate([fft.rfft(x), FILTER, x])) ** 3),
    "stacked": lambda x: np.sum(np.abs(np.stack([fft.rfft(x), FILTER]).T) ** 3) + np.abs(np.stack([x[0], 1j])[0]),
    "masked": lambda x: np.sum(np.abs(np.where(TIMES[:5] > 1, fft.rfft(x), 0.0)) ** 2 * FILTER.real),
    "parts taken": lambda x: sum(np.real(z) * np.imag(z) for z in fft.fft(x)[2:4]) + fft.fft(x)[3:][0].real,
    "moved": lambda x: np.sum(np.roll(fft.rfft(x), 1).conj()[::-1].imag * TIMES[:5]),
    "negative": lambda x: np.sum(np.abs(-fft.rfft(x) - +fft.fft(x)[:5] * 0.5)),
    "frequencies": lambda x: (
        np.sum(np.abs(fft.rfft(x)) ** 2 * fft.rfftfreq(8)) + np.sum(fft.fft(x).imag * fft.fftfreq(8))
    ),
    "derivative": lambda x: np.sum(fft.irfft(2j * np.pi * fft.rfftfreq(8) * fft.rfft(x), 8) ** 2),
    "outer": lambda x: np.sum(np.abs(np.outer(fft.rfft(x)[:2], fft.fft(x).conj())) ** 2),
    "coherence": lambda x: np.sum(np.abs(fft.rfft(x) * fft.rfft(np.cos(x)).conj()) / (np.abs(fft.rfft(x)) ** 2 + 1.0)),
    "correlated": lambda x: np.sum(np.abs(np.correlate(1j * x, fft.rfft(x), "full")) ** 2),
    "astype": lambda x: np.sum(np.abs(fft.rfft(x).astype(np.complex128).transpose().ravel()) ** 2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_real_losses_with_complex_values_inside(name):
    f = LOSSES[name]
    out, expected = ad.vjp(f, SIGNAL)[0], f(SIGNAL)
    assert abs(out - expected) <= 100 * VALUE_TOLERANCE["float64"] * max(1.0, abs(expected))
    assert out.dtype == expected.dtype
    ad.check_gradients(f, (SIGNAL,), name=name)


@pytest.mark.parametrize("name", LOSSES)
def test_they_stay_narrow(name):
    f = LOSSES[name]
    narrow = SIGNAL.astype("float32")
    out, pullback = ad.vjp(f, narrow)
    wide = ad.grad(f)(narrow.astype("float64"))
    assert out.dtype == f(narrow).dtype
    found = pullback(np.ones((), out.dtype))[0]
    assert found.dtype == np.float32
    assert np.allclose(found, wide, rtol=0, atol=1e-4 * np.abs(wide).max())


def test_images():
    H = rng(5).standard_normal((3, 3)) + 1j * rng(6).standard_normal((3, 3))

    def loss(x):
        return np.sum(fft.irfft2(fft.rfft2(x) * H, x.shape) ** 2 * IMAGE) + np.sum(np.abs(fft.fft2(x)) ** 2 * IMAGE)

    assert np.isclose(ad.vjp(loss, IMAGE)[0], loss(IMAGE), rtol=1e-13)
    ad.check_gradients(loss, (IMAGE,))


def test_spectra_of_windows():
    window = np.hanning(4)

    def loss(x):
        frames = np.lib.stride_tricks.sliding_window_view(x, 4)[::2] * window
        return np.sum(np.log10(1.0 + np.mean(np.abs(fft.rfft(frames, axis=-1)) ** 2, axis=0)))

    assert ad.vjp(loss, SIGNAL)[0] == loss(SIGNAL)
    ad.check_gradients(loss, (SIGNAL,))


def test_third_order():
    f = lambda x: np.sum(np.abs(fft.rfft(x)) ** 4)  # noqa: E731
    v = rng(7).standard_normal(8)
    third = ad.jvp(lambda x: ad.hvp(f, x, v), (SIGNAL,), (v,))[1]
    h = 1e-4
    differences = (ad.hvp(f, SIGNAL + h * v, v) - ad.hvp(f, SIGNAL - h * v, v)) / (2 * h)
    assert np.allclose(third, differences, rtol=1e-6, atol=1e-6 * np.abs(third).max())


def test_lengths_at_zero_and_their_squares():
    x = np.ones(6)  # all frequencies but 0 are empty
    assert np.allclose(ad.grad(lambda v: np.sum(np.abs(fft.rfft(v))))(x), 1.0)
    assert np.array_equal(ad.hvp(lambda v: np.abs(v * 1j)[0], np.zeros(2), np.ones(2)), np.zeros(2))
    weight = np.array([0.0, 1.0, 2.0, 3.0])
    power = lambda v: np.sum(weight * np.abs(fft.rfft(v)) ** 2)  # noqa: E731
    by_parts = lambda v: np.sum(weight * (fft.rfft(v).real ** 2 + fft.rfft(v).imag ** 2))  # noqa: E731
    for u in np.eye(6):
        assert np.allclose(ad.hvp(power, x, u), ad.hvp(by_parts, x, u), rtol=0, atol=1e-12)
        assert np.allclose(ad.hvp(lambda v: np.sum(np.square(np.abs(fft.fft(v)))), 0 * x, u), 12.0 * u, atol=1e-12)


def test_lengths_and_quotients_of_numbers_whose_squares_leave_the_range():
    big = np.array([3e200, 4e200])
    f = lambda x: np.abs(x[0] + 1j * x[1])  # noqa: E731
    assert np.isclose(ad.vjp(f, big)[0], 5e200)
    assert np.allclose(ad.grad(f)(big), [0.6, 0.8])
    assert np.allclose(ad.grad(f)(big * 1e-200 * 1e-220), [0.6, 0.8], rtol=1e-12)
    g = lambda x: np.real(1.0 / (x[0] + 1j * x[1])) * 1e200  # noqa: E731
    assert np.isclose(ad.vjp(g, big)[0], g(big), rtol=1e-12)


def test_what_a_spectrum_says_of_itself():
    seen = []

    def f(x):
        z = fft.rfft(x.reshape(2, 4))
        seen.append((z.shape, z.ndim, z.size, z.dtype, len(z), np.shape(z), np.iscomplexobj(z), z.T.shape, z.mT.shape))
        assert (z == 1 * z).all()
        assert not (z != 1 * z).any()
        assert np.isfinite(z).all()
        assert repr(z).startswith("Complex(array(")
        assert np.zeros_like(z).dtype == complex
        assert len(np.split(z, 2)) == 2
        return np.sum(np.abs(z))

    ad.grad(f)(SIGNAL)
    assert seen == [((2, 3), 2, 6, np.dtype(complex), 2, (2, 3), True, (3, 2), (3, 2))]


REFUSED = {
    "returned": (fft.rfft, r"what the function returns is complex \(complex128\).*np\.abs\(z\)\*\*2"),
    "bool": (lambda x: np.abs(fft.rfft(x)) if fft.rfft(x)[0] else x, r"bool\(z\).*np\.abs\(z\)"),
    "float": (lambda x: float(fft.rfft(x)[0]), r"float\(z\).*z\.real"),
    "complex": (lambda x: complex(fft.rfft(x)[0]), r"complex\(z\).*z\.real"),
    "array": (lambda x: np.asarray(fft.rfft(x)), r"np\.asarray\(z\).*stop_gradient"),
    "written": (lambda x: fft.rfft(x).__setitem__(0, 1.0), r"z\[index\] = value.*np\.where"),
    "largest": (lambda x: np.max(fft.rfft(x)), r"numpy\.max of complex values.*np\.abs\(z\)\*\*2"),
    "order": (lambda x: np.maximum(fft.rfft(x), 0.0), r"numpy\.maximum of complex values"),
    "sine": (lambda x: np.sin(fft.rfft(x)), r"numpy\.sin of complex values.*z\.real"),
    "power": (lambda x: fft.rfft(x) ** 0.5, r"numpy\.power: a complex power.*np\.exp\(p \* np\.log\(z\)\)"),
    "option": (lambda x: np.add(fft.rfft(x), 1.0, dtype=complex), r"numpy\.add with dtype= of complex values"),
    "by name": (lambda x: np.dot(fft.rfft(x), b=FILTER), r"dot: a complex operand came by name"),
    "spectral norm": (lambda x: np.linalg.norm(fft.fft(x).reshape(2, 4), 2), r"numpy\.linalg\.norm: ord is 2"),
    "astype": (lambda x: fft.rfft(x).astype(float), r"astype: dtype is float64 for complex values"),
    "masked": (lambda x: np.abs(fft.fft(x) * np.ma.masked_array([1j] * 8)), "masked"),
    "interpolated": (lambda x: np.interp(x, [0.0, 1.0], [1j, 2j]), r"numpy\.interp of complex values"),
    "axes twice": (lambda x: np.abs(fft.fftn(x, axes=(0, 0))), r"numpy\.fft\.fftn: axes is \(0, 0\)"),
    "sizes": (lambda x: np.abs(fft.fftn(x, s=(2, 2), axes=(0,))), r"numpy\.fft\.fftn: s is \(2, 2\)"),
    "no points": (lambda x: np.abs(fft.rfft(x, 0)), r"numpy\.fft\.rfft: the number of points is 0"),
    "norm": (lambda x: np.abs(fft.rfft(x, norm="own")), "Invalid norm value"),
    "norm of hfft": (lambda x: fft.hfft(x, norm="own"), r"numpy\.fft\.hfft: norm is 'own'"),
    "axis": (lambda x: np.abs(fft.rfft(x, axis=1)), "axis 1 is out of bounds"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_the_remedy_named(name):
    f, match = REFUSED[name]
    with pytest.raises((TypeError, ValueError), match=match):
        ad.grad(lambda x: np.sum(f(x)) if name != "returned" else f(x))(SIGNAL)


@pytest.mark.parametrize(
    "name", ["log spectrum", "filtered", "to and fro", "angles", "deconvolution", "shifted", "powers"]
)
def test_the_same_on_a_device(name, monkeypatch):
    monkeypatch.setitem(xp._NAMESPACES, DeviceArray, DEVICE)
    monkeypatch.setitem(xp._SCIPY, id(DEVICE), Scipy)
    for constant in ("FILTER", "TIMES"):
        monkeypatch.setitem(globals(), constant, DeviceArray(globals()[constant]))
    f = LOSSES[name]
    out, pullback = ad.vjp(f, DeviceArray(SIGNAL))
    found = (pullback(DeviceArray(np.ones(())))[0], ad.hvp(f, DeviceArray(SIGNAL), DeviceArray(SIGNAL)))
    monkeypatch.undo()
    assert np.allclose(out.host, f(SIGNAL), rtol=1e-13)
    assert all(type(x) is DeviceArray for x in found)
    assert np.allclose(found[0].host, ad.grad(f)(SIGNAL), rtol=1e-12)
    assert np.allclose(found[1].host, ad.hvp(f, SIGNAL, SIGNAL), rtol=1e-11)


def test_a_pair_is_made_of_parts_of_one_shape():
    z = Complex(ad.Var(np.ones((2, 1))), np.zeros(3))
    assert z.real.shape == z.imag.shape == (2, 3)
