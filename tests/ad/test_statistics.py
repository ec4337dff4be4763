"""Averages, counts, and what leaves NaN out: options as NumPy has them, NaN that takes nothing back."""

import itertools

import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import rng
from tests.ad.alike import AXES, assert_alike, inputs, traced
from tests.cupy_double import double
from tests.cupy_double.double import SYNCS, DoubleArray

INPUTS = inputs()
SUMS, MEANS, EXTREMES = ("nansum", "nanprod"), ("nanmean", "nanvar", "nanstd"), ("nanmax", "nanmin")


def masks(x):
    stream, shape = rng(2, "masks"), np.shape(x)
    return [True, stream.random(shape) < 0.6, np.zeros(shape, bool)]


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", SUMS + MEANS + EXTREMES)
def test_every_option_is_numpys(name, kind):
    function, x = getattr(np, name), INPUTS[kind]
    starts = [{}] if name in MEANS else [{}, {"initial": 0.5}]
    freedom = [{}, {"ddof": 1}, {"correction": 0.5}] if name in MEANS[1:] else [{}]
    for axis, keep, mask, start, off in itertools.product(
        AXES, ({}, {"keepdims": True}), [None, *masks(x)], starts, freedom
    ):
        options = {"axis": axis, **keep, **start, **off} | ({} if mask is None else {"where": mask})
        assert_alike(lambda v, options=options: function(v, **options), x, 64, warned=name not in MEANS[1:])


@pytest.mark.parametrize("kind", INPUTS)
def test_the_median_is_numpys(kind):
    for axis, keep in itertools.product(AXES, ({}, {"keepdims": True}, {"keepdims": False})):
        assert_alike(lambda v, a=axis, k=keep: np.nanmedian(v, axis=a, **k), INPUTS[kind], 0)


@pytest.mark.parametrize("kind", [k for k in INPUTS if k != "infinite"])
@pytest.mark.parametrize("method", ["linear", "lower", "midpoint", "hazen", "closest_observation", "inverted_cdf"])
def test_quantiles_are_numpys(method, kind):
    for axis, q, keep in itertools.product(AXES, (0.3, 1, [0.1, 0.5, 1.0], np.array(0.7)), (False, True)):
        f = lambda v, a=axis, q=q, k=keep: np.nanquantile(v, q, axis=a, method=method, keepdims=k)  # noqa: E731
        assert_alike(f, INPUTS[kind], 0)
    assert_alike(lambda v: np.nanpercentile(v, [10, 55.5], method=method), INPUTS[kind], 0)


@pytest.mark.parametrize("kind", [k for k in INPUTS if k != "empty"])
def test_average_is_numpys(kind):
    x, stream = INPUTS[kind], rng(3, "weights")
    weights = [None, stream.random(np.shape(x)), stream.random(np.shape(x)).astype("float32")]
    if np.ndim(x) == 3:
        weights += [stream.random(3), stream.random((3, 4)), stream.random((5, 3)), [1, 2, 3], np.zeros(3)]
    for axis, w, keep, both in itertools.product(AXES, weights, ({}, {"keepdims": True}), (False, True)):
        f = lambda v, a=axis, w=w, k=keep, r=both: np.average(v, a, w, returned=r, **k)  # noqa: E731
        assert_alike(f, x, 16, warned=False)


def gaps():
    """Return an array with NaN, one line of nothing else, and one of one number."""
    x = rng(0, "gaps").permutation(np.linspace(-1.1, 1.2, 20)).reshape(4, 5)
    x[0, 1] = x[1] = x[2, 1:] = x[3, 4] = np.nan
    return x


LINES = {
    "nansum": lambda v: np.nansum(v**3, axis=1),
    "nanprod": lambda v: np.nanprod(v**2, axis=1),
    "nanmean": lambda v: np.nanmean(v**3, axis=1),
    "nanvar": lambda v: np.nanvar(v**2, axis=1),
    "nanstd": lambda v: np.nanstd(v**2, axis=1),
    "nanmax": lambda v: np.nanmax(v**3, axis=1),
    "nanmin": lambda v: np.nanmin(v**3, axis=1),
    "nanmedian": lambda v: np.nanmedian(v**3, axis=1),
    "nanquantile": lambda v: np.nanquantile(v**3, 0.3, axis=1),
    "nanpercentile": lambda v: np.sum(np.nanpercentile(v**3, [20, 75], axis=1), axis=0),
    "nancumsum": lambda v: np.nancumsum(v**3, axis=1)[:, -1],
    "nancumprod": lambda v: np.nancumprod(v**2, axis=1)[:, -1],
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", LINES)
def test_nan_takes_nothing_back(name):
    x, f = gaps(), LINES[name]
    loss = lambda v: np.nansum(f(v))  # noqa: E731
    slope, curve = ad.grad(loss)(x), ad.jvp(ad.grad(loss), (x,), (np.ones_like(x),))[1]
    for found in (slope, curve):
        assert found[np.isnan(x)].tolist() == [0.0] * np.isnan(x).sum()
    for i in (0, 2, 3):
        known = ~np.isnan(x[i])
        alone = lambda v: f(v.reshape(1, -1))[0]  # noqa: E731
        assert slope[i, known] == pytest.approx(ad.grad(alone)(x[i, known]), rel=1e-13)
        expected = ad.jvp(ad.grad(alone), (x[i, known],), (np.ones(known.sum()),))[1]
        assert curve[i, known] == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("seed", [0, 1])
def test_three_orders_without_nan(name, seed):
    x = rng(seed, "three orders").permutation(np.linspace(-1.1, 1.2, 8)).reshape(2, 4)
    ad.check_gradients(LINES[name], (x,), name=name)
    ad.check_gradients(ad.grad(lambda v: np.sum(LINES[name](v))), (x,), name=f"gradient of {name}")


def test_lines_of_nothing_are_nan_with_a_warning():
    x = gaps()
    for name in ("nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian"):
        function = getattr(np, name)
        with pytest.warns(RuntimeWarning):
            assert np.isnan(traced(lambda v, f=function: f(v, axis=1), x)[1])
    with pytest.raises(ValueError, match="zero-size"):
        traced(np.nanmax, np.zeros(0))


def test_an_infinite_entry_beside_nan_takes_all():
    assert ad.grad(np.nanmax)(np.array([-np.inf, np.nan])).tolist() == [1.0, 0.0]
    assert ad.grad(np.nanmax)(np.array([2.0, np.nan, 2.0])).tolist() == [0.5, 0.0, 0.5]


def test_weights_may_be_traced_too():
    x, w = np.array([[1.0, 2.0, 4.0], [3.0, -1.0, 2.0]]), np.array([0.5, 1.0, 2.0])
    ad.check_gradients(lambda v, u: np.average(v**2, axis=1, weights=np.exp(u)), (x, w))
    ad.check_gradients(lambda u: np.average([1.0, 2.0, 4.0], weights=u**2), (w,))
    ad.check_gradients(lambda v, u: sum(np.average(v, 1, u**2, returned=True)), (x, w))
    ad.check_gradients(lambda u: np.average(np.arange(3), weights=u**2), (w,))


def test_sums_by_label():
    labels, w = np.array([0, 2, 2, 1, 5]), np.array([0.5, 1.0, 2.0, -1.0, 3.0])
    f = lambda u: np.bincount(labels, u**3, 7)  # noqa: E731
    assert np.array_equal(traced(f, w), f(w))
    ad.check_gradients(f, (w,))
    ad.check_gradients(ad.grad(lambda u: np.sum(f(u) ** 2)), (w,))
    assert_alike(lambda u: np.bincount([0, 1, 1, 0, 4], weights=u), w.astype("float32"), 0)
    assert_alike(lambda u: np.bincount(labels, weights=u)[:0], w, 0)
    for bad in ([0, 1], [-1, 0, 0, 0, 0], [0.5] * 5):
        with pytest.raises((ValueError, TypeError)):
            traced(lambda u, bad=bad: np.bincount(np.array(bad), u), w)
    with pytest.raises(TypeError, match="Cannot cast"):
        traced(np.bincount, w)


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda v: np.average(v, weights=v[0]), TypeError, r"weights is of shape \(2,\); expected \(2, 2\)"),
        (lambda v: np.average(v, 0, v[0, :1]), ValueError, r"weights is of shape \(1,\); expected \(2,\)"),
        (lambda v: np.average(v, weights=0.0 * v), ZeroDivisionError, "the weights sum to zero"),
        (lambda v: np.nanquantile(v, v[0, 0]), TypeError, r"numpy\.nanquantile: q is a traced value"),
        (lambda v: np.nanquantile(v, 0.5, weights=v), TypeError, r"numpy\.nanquantile with weights="),
        (lambda v: np.nanpercentile(v, 101), ValueError, r"numpy\.nanpercentile: q is 101; expected numbers between 0"),
        (lambda v: np.nanmedian(v, overwrite_input=True), TypeError, r"numpy\.nanmedian with overwrite_input="),
        (lambda v: np.nanmax(v, where=v > 0), ValueError, "initial is None; expected a number beside where="),
        (lambda v: np.nanmean(v, dtype=int), TypeError, r"numpy\.nanmean: dtype is int64; expected a float type"),
    ],
)
def test_what_is_refused_is_told(f, error, message):
    with pytest.raises(error, match=message):
        traced(f, np.array([[0.5, 0.25], [1.0, 2.0]]))


there = double.NAMESPACE.asarray
MASK = rng(0, "mask").random((3, 4)) < 0.6
ON_A_DEVICE = {
    "sum": lambda v, m: np.sum(v**3, axis=0, where=m, initial=1.0),
    "mean": lambda v, m: np.mean(v**3, axis=(0, 1), where=m),
    "max": lambda v, m: np.max(v**3, axis=1, where=m, initial=-9.0),
    "min": lambda v, m: np.min(v**3, axis=1, where=m, initial=9.0, keepdims=True),
    "prod": lambda v, m: np.prod(v, axis=(1, 0), where=m, dtype=float),
    "prod of all": lambda v, m: np.prod(v) * np.prod(v, axis=-1),
    "var": lambda v, m: np.var(v**2, axis=1, where=m, ddof=0.5),
    "std": lambda v, m: np.std(v**2, axis=1, where=m),
    "ptp": lambda v, m: np.ptp(v**2, axis=1),
    "sort": lambda v, m: np.sort(v**3, axis=0, kind="stable"),
    "partition": lambda v, m: np.partition(v**3, 1, axis=-1),
    "median": lambda v, m: np.median(v**3, axis=(0, 1)),
    "quantile": lambda v, m: np.quantile(v**3, 0.3, axis=1),
    "quantile of all": lambda v, m: np.quantile(v**3, 0.3, method="hazen", keepdims=True),
    "percentile": lambda v, m: np.percentile(v**3, 62.5, axis=0, method="lower"),
    "average": lambda v, m: np.average(v**3, axis=1, weights=np.exp(v[0])),
    "average by numbers": lambda v, m: np.average(v**3, axis=0, weights=(1.0, 2.0, 0.5)),
    "average of all": lambda v, m: sum(np.average(v**3, returned=True)),
    "cumsum": lambda v, m: np.cumsum(v**3, axis=1, dtype=float) * np.cumsum(v)[2],
    "cumprod": lambda v, m: np.cumprod(v, axis=1) * np.cumprod(v)[2],
    "cumulative": lambda v, m: np.cumulative_sum(v**3, axis=1, include_initial=True),
    "cumulative product": lambda v, m: np.cumulative_prod(v, axis=0, include_initial=True),
    "diff": lambda v, m: np.diff(v**3, 2, prepend=1.0, append=v[:, :1]),
    "ediff1d": lambda v, m: np.ediff1d(v**3, to_end=[1.0, 2.0], to_begin=0.5),
    "gradient": lambda v, m: np.gradient(v**3, [0.0, 0.5, 2.0], 0.5, edge_order=2)[0],
    "gradient by points": lambda v, m: np.gradient(v**3, np.cumsum(np.exp(v[0])), axis=1),
    "trapezoid": lambda v, m: np.trapezoid(v**3, [0.0, 0.5, 0.7, 2.0]) * np.trapezoid(v**3, np.exp(v[:, 0]), axis=0)[0],
    "nansum": lambda v, m: np.nansum(v**3, axis=0) * np.nanprod(v),
    "nanmean": lambda v, m: np.nanmean(v**3, axis=0, where=m, keepdims=True),
    "nanvar": lambda v, m: np.nanvar(v**2, axis=1, correction=0.5) * np.nanstd(v**2, axis=(1, 0)),
    "nanmax": lambda v, m: np.nanmax(v**3, axis=1) * np.nanmin(v**3, axis=1),
    "nanmedian": lambda v, m: np.nanmedian(v**3, axis=1),
    "nancumsum": lambda v, m: np.nancumsum(v**3, axis=1) * np.nancumprod(v, axis=1),
}
PICKS_TWICE = {"accumulate": lambda v, m: np.maximum.accumulate(v**3, axis=1) * np.minimum.accumulate(v**3, axis=1)}
PICKS_TWICE["quantiles"] = lambda v, m: np.quantile(v**3, (0.3, 0.9), axis=1)
PICKS_TWICE["nanmedian"] = ON_A_DEVICE.pop("nanmedian")


@pytest.mark.parametrize("name", [*ON_A_DEVICE, *PICKS_TWICE])
def test_the_double_does_the_same_without_a_wait(name):
    f = ON_A_DEVICE.get(name) or PICKS_TWICE[name]
    x = rng(0, "double").permutation(np.linspace(-1.1, 1.2, 12)).reshape(3, 4)

    def outcome(v, mask):
        loss = lambda u: np.sum(f(u, mask) ** 3)  # noqa: E731
        tangent = ad.jvp(loss, (v,), (v * 0.5,))[1]
        if name in PICKS_TWICE:  # whose transpose needs cupy.add.at, which the double lacks
            return (tangent,)
        slope = ad.grad(loss)
        return tangent, slope(v), ad.jvp(slope, (v,), (v * 0.5,))[1]

    expected, device, mask, before = outcome(x, MASK), there(x), there(MASK), SYNCS.count
    found = outcome(device, mask)
    assert SYNCS.count == before
    for a, b in zip(found, expected, strict=True):
        assert isinstance(a, DoubleArray)
        np.testing.assert_allclose(a.get(), b, rtol=1e-12)


def test_what_a_device_lacks_is_told():
    x = there(np.ones((2, 3)))
    with pytest.raises(TypeError, match=r"numpy\.nanquantile: a is an array on a device, where CuPy has no such"):
        traced(lambda v: np.nanquantile(v, 0.5), x)
    with pytest.raises(TypeError, match=r"numpy\.quantile: q is an array on a device; expected numbers of the host"):
        traced(lambda v: np.quantile(v, there(np.array([0.5]))), x)
    with pytest.raises(TypeError, match=r"numpy\.quantile: weights is given on a device"):
        traced(lambda v: np.quantile(v, 0.5, axis=0, weights=[1.0, 2.0], method="inverted_cdf"), x)
    with pytest.raises(TypeError, match=r"where=: argument 1 is a numpy array while argument 0 is a cupy_double array"):
        traced(lambda v: np.sum(v, where=np.ones((2, 3), bool)), x)
