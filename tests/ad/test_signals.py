"""Convolutions, windows and interpolation: NumPy's values over all options, edges, bad input, and what it costs."""

import time

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from metagrad import ad
from metagrad.xp import GRADIENT_TOLERANCE, rng

MODES = ("full", "same", "valid")


def same(f, *args):
    """Assert that the traced value has the bits of the plain one, and return the pullback."""
    out, pullback = ad.vjp(f, *args)
    expected = f(*args)
    assert np.array_equal(out, expected, equal_nan=True)
    assert (out.dtype, np.shape(out)) == (expected.dtype, np.shape(expected))
    return pullback


@pytest.mark.parametrize("function", [np.convolve, np.correlate])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", [(1, 1), (1, 4), (4, 1), (2, 5), (5, 2), (6, 5), (5, 6), (7, 4), (4, 7), (6, 6)])
def test_every_mode_at_every_pair_of_lengths(function, mode, sizes):
    a, v = (rng(0, function.__name__, mode, n, i).standard_normal(n) for i, n in enumerate(sizes))
    f = lambda x, y: function(x, y, mode=mode)  # noqa: E731
    pullback = same(f, a, v)
    u = rng(1).standard_normal(f(a, v).shape)
    a_bar, v_bar = pullback(u)
    for found, basis, at in (
        (a_bar, np.eye(sizes[0]), lambda e: f(e, v)),
        (v_bar, np.eye(sizes[1]), lambda e: f(a, e)),
    ):
        assert np.allclose(found, [u @ at(e) for e in basis], rtol=0, atol=1e-13 * np.abs(u).sum())
    ad.check_gradients(f, (a, v), name=function.__name__)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_operands_of_two_dtypes_promote_and_come_back(dtype):
    a, v = rng(0).standard_normal(5).astype(dtype), rng(1).standard_normal(3)
    for f in (np.convolve, np.correlate):
        pullback = same(f, a, v)
        assert [g.dtype for g in pullback(f(a, v))] == [np.dtype(dtype), np.dtype("float64")]


def test_a_constant_signal_and_a_list():
    signal = rng(0).standard_normal(30)
    ad.check_gradients(lambda w: np.sum(np.convolve(signal, w, "valid") ** 2), (np.ones(4),))
    assert np.array_equal(ad.grad(lambda w: np.sum(np.convolve([1.0, 2.0], w)))(np.ones(2)), [3.0, 3.0])
    assert ad.grad(lambda w: np.sum(np.convolve(w, [1.0, 2.0])))(1.0) == 3.0


def test_a_long_signal_takes_no_loop_over_entries():
    signal, filters = rng(0).standard_normal(10_000), rng(1).standard_normal(100)
    loss = lambda w, s: np.sum(np.convolve(s, w, "same") ** 2)  # noqa: E731
    recorded = ad.vjp(loss, filters, signal)[1].visited
    assert recorded < 10
    start = time.perf_counter()
    ad.hvp(lambda w: loss(w, signal), filters, filters)
    gradient = ad.grad(lambda s: np.sum(sliding_window_view(s, 100) @ filters))(signal)
    assert time.perf_counter() - start < 5  # a loop over 10^6 products takes longer
    assert np.allclose(gradient, np.convolve(np.ones(9901), filters), rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "match"),
    [
        (lambda x: np.convolve(x, np.ones(0)), r"numpy\.convolve: v is of shape \(0,\); expected a vector"),
        (lambda x: np.convolve(x[None], np.ones(3)), r"numpy\.convolve: a is of shape \(1, 3\).*sliding_window_view"),
        (lambda x: np.correlate(x[0], np.ones(3)), r"numpy\.correlate: a is of shape \(\)"),
        (lambda x: np.convolve(x, x, "half"), r"numpy\.convolve: mode is 'half'; expected 'full', 'same' or 'valid'"),
        (lambda x: np.interp(x, [0.0, 2.0, 1.0], [1.0, 2.0, 3.0]), r"numpy\.interp: xp is not in increasing order"),
        (lambda x: np.interp(x, [0.0, 1.0], [1.0, 2.0, 3.0]), "same length"),
        (lambda x: np.interp(x, [0.0], [1.0], period=0), "period"),
        (lambda x: sliding_window_view(x, 4), "window shape cannot be larger"),
        (lambda x: sliding_window_view(x, (2, 2)), "provide window_shape for all dimensions"),
        (lambda x: sliding_window_view(x, -1), "negative"),
    ],
)
def test_bad_input_is_named(f, match):
    with pytest.raises(ValueError, match=match):
        ad.grad(f)(np.ones(3))


def test_what_cannot_be_traced_says_what_to_write():
    with pytest.raises(TypeError, match=r"numpy\.interp: period is a traced value"):
        ad.grad(lambda p: np.interp(np.stack([p, p]), [0.0, 1.0], [1.0, 2.0], period=p))(3.0)
    with pytest.raises(TypeError, match="sliding_window_view with writeable="):
        ad.grad(lambda x: sliding_window_view(x, 2, writeable=True))(np.ones(3))
    with pytest.raises(TypeError, match="is not possible while x is traced"):
        ad.grad(lambda x: as_strided(x, (2, 2)))(np.ones(3))


KNOTS, HEIGHTS = np.array([0.0, 1.0, 1.0, 3.0, 4.0]), np.array([2.0, -1.0, 5.0, 0.5, 1.0])
AT = np.array([-1.0, 0.0, 0.25, 1.0, 2.0, 3.0, 3.5, 4.0, 5.0])


@pytest.mark.parametrize("options", [{}, {"left": -7.0}, {"right": 9.0}, {"left": 1.0, "right": 0.0}])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_interpolation_has_numpys_values_everywhere(options, dtype):
    f = lambda x, xp, fp: np.interp(x, xp, fp, **options)  # noqa: E731
    pullback = same(f, AT.astype(dtype), KNOTS.astype(dtype), HEIGHTS.astype(dtype))
    x_bar, xp_bar, fp_bar = pullback(np.ones(AT.shape))
    assert {g.dtype for g in (x_bar, xp_bar, fp_bar)} == {np.dtype(dtype)}
    # Of the segment that begins at a point, at the last point of the one that ends there; 0 outside.
    assert np.allclose(x_bar, [0.0, -3.0, -3.0, -2.25, -2.25, 0.5, 0.5, 0.5, 0.0])
    outside = [0.0 if "left" in options else 1.0, 0.0, 0.0, 0.0, 0.0 if "right" in options else 1.0]
    assert np.allclose(fp_bar, np.array([1.75, 0.25, 1.5, 2.0, 1.5]) + outside)


@pytest.mark.parametrize("period", [4.0, 3.0, -5.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_interpolation_around_a_period(period, seed):
    stream = rng(seed, "period")
    x, xp, fp = stream.uniform(-9, 9, (2, 3)), stream.uniform(-4, 4, 5), stream.standard_normal(5)
    f = lambda a, b, c: np.interp(a, b, c, period=period)  # noqa: E731
    same(f, x, xp, fp)
    ad.check_gradients(lambda c: f(x, xp, c), (fp,))
    u, step = stream.standard_normal(x.shape), 1e-7
    found = ad.vjp(f, x, xp, fp)[1](u)[0]
    inside = np.abs(f(x + step, xp, fp) + f(x - step, xp, fp) - 2 * f(x, xp, fp)) < 1e-9  # no point of xp between
    assert np.allclose((u * (f(x + step, xp, fp) - f(x - step, xp, fp)) / (2 * step) - found)[inside], 0, atol=1e-5)


def test_interpolation_with_traced_limits_points_and_one_point():
    loss = lambda a, b: np.sum(np.interp(np.array([-1.0, 0.5, 2.0]), [0.0, 1.0], [1.0, 3.0], left=a, right=b))  # noqa: E731
    with pytest.raises(TypeError, match="while x is traced"):  # NumPy asks x, xp and fp alone
        ad.grad(loss)(1.0, 2.0)
    both = lambda x, a: np.sum(np.interp(x, [0.0, 1.0], [1.0, 3.0], left=2 * a, right=a))  # noqa: E731
    assert ad.grad(both, argnums=(0, 1))(np.array([-1.0, 0.5, 2.0]), 1.0)[1] == 3.0
    assert ad.grad(lambda x: np.interp(x, [1.0], [2.0]))(1.0) == 0.0
    x, xp, fp = rng(0).uniform(0, 3, 6), np.array([0.0, 0.7, 1.9, 3.0]), rng(1).standard_normal(4)
    ad.check_gradients(np.interp, (x, xp, fp))
    same(np.interp, np.array([np.nan, 1.0]), xp, np.array([0.0, np.inf, 1.0, -np.inf]))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_windows_of_every_size(size, axis):
    x = rng(0, size, axis).standard_normal((6, 6, 2) if axis < 1 else (2, 6))
    if x.shape[axis] < size:
        return
    f = lambda v: sliding_window_view(v, size, axis=axis)  # noqa: E731
    u = rng(1).standard_normal(f(x).shape)
    found = same(f, x)(u)[0]
    other = rng(2).standard_normal(x.shape)
    assert np.isclose(np.sum(found * other), np.sum(u * f(other)), rtol=0, atol=1e-12 * np.abs(u).sum())
    ad.check_gradients(lambda v: np.sum(f(v) ** 3), (x,))


def test_a_convolution_of_images():
    images, filters = rng(0).standard_normal((2, 5, 6, 3)), rng(1).standard_normal((3, 2, 3, 4))

    def convolved(x, w):
        return np.einsum("nrcixy,xyio->nrco", sliding_window_view(x, w.shape[:2], axis=(1, 2)), w)

    expected = np.zeros((2, 3, 5, 4))
    for i, j in np.ndindex(3, 2):
        expected += images[:, i : i + 3, j : j + 5] @ filters[i, j]
    assert np.allclose(ad.vjp(convolved, images, filters)[0], expected, rtol=0, atol=GRADIENT_TOLERANCE["float64"])
    ad.check_gradients(convolved, (images, filters))
