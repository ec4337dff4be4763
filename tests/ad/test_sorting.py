"""Sorting, medians, picking along an axis: NumPy's values, ties, NaN, higher orders, the double, and whole unrolls."""

import itertools

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.ad.domains import DOMAINS, draw
from metagrad.estimators import Forward, Reverse
from metagrad.xp import GRADIENT_TOLERANCE, move, rng
from tests.ad.alike import AXES, assert_alike, inputs, outcome
from tests.cupy_double import double
from tests.cupy_double.double import SYNCS, DoubleArray

TIED = np.array([[2.0, 1.0, 2.0, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0, 1.0], [-1.0, 0.0, 0.5, 0.5, 0.0]])
ALONG = (np.sort, np.median, np.take_along_axis)
CASES = [(function, i) for function in ALONG for i in range(len(DOMAINS[function]))]


def traced(f, x):
    return ad.vjp(f, x)[0]


def is_same(found, expected):
    return np.array_equal(found, expected, equal_nan=True) and (found.shape, found.dtype) == (
        expected.shape,
        expected.dtype,
    )


def arrays():
    stream = rng(0, "sorting")
    with_nan = stream.standard_normal((2, 4, 3))
    with_nan[0, 1, 2] = with_nan[1, 0, 0] = np.nan
    ties = stream.integers(0, 3, (3, 2, 4)).astype("float32")
    return [stream.standard_normal((3, 4, 5)), ties, stream.standard_normal((2, 7, 2)).astype("float16"), with_nan]


@pytest.mark.parametrize("x", arrays(), ids=["float64", "ties", "float16", "nan"])
def test_values_are_those_of_numpy(x):
    for axis in (None, 0, 1, -1, np.int64(-2)):
        assert is_same(traced(lambda v, axis=axis: np.sort(v, axis=axis), x), np.sort(x, axis=axis))
    for axis in (None, 0, 1, -1, (0, 1), (-1, 0), (2,), (0, 1, 2), ()):
        for keepdims in (False, True):
            f = lambda v, axis=axis, keepdims=keepdims: np.median(v, axis=axis, keepdims=keepdims)  # noqa: E731
            assert is_same(traced(f, x), np.asarray(f(x)))


def test_equal_entries_keep_their_order():
    x, g = np.array([2.0, 1.0, 2.0, 1.0]), np.array([10.0, 20.0, 30.0, 40.0])
    assert ad.vjp(np.sort, x)[1](g)[0].tolist() == [30.0, 10.0, 40.0, 20.0]
    assert ad.jvp(np.sort, (x,), (g,))[1].tolist() == [20.0, 40.0, 10.0, 30.0]
    assert ad.grad(np.median)(np.array([3.0, 2.0, 2.0, 2.0, 1.0])).tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert ad.grad(np.median)(np.array([2.0, 2.0, 2.0, 2.0])).tolist() == [0.0, 0.5, 0.5, 0.0]
    assert ad.grad(lambda v: np.sort(v)[-1])(np.array([3.0, 1.0, 3.0])).tolist() == [0.0, 0.0, 1.0]


def test_many_equal_entries_keep_their_order():
    x = rng(0, "many").integers(0, 3, 2000).astype(float)
    g = np.arange(2000.0)
    expected = np.concatenate([g[x == level] for level in (0.0, 1.0, 2.0)])
    assert np.array_equal(ad.jvp(np.sort, (x,), (g,))[1], expected)
    assert np.array_equal(ad.vjp(np.sort, x)[1](expected)[0], g)


def test_a_tie_has_the_derivative_of_points_nearby():
    """Those at which the entry that stands first is a little smaller."""
    nearby = TIED + 1e-6 * np.arange(5)
    u = rng(0, "u").standard_normal((3, 5))
    for f in (lambda v: np.sum(u * np.sort(v)), lambda v: np.sum(u[:, 0] * np.median(v, axis=1))):
        assert np.array_equal(ad.grad(f)(TIED), ad.grad(f)(nearby))


INDEX = np.zeros((3, 1), int)
KINDS = inputs()


@pytest.mark.parametrize("kind", KINDS)
def test_sorting_and_parting_are_numpys(kind):
    x = KINDS[kind]
    ways = [{"kind": k} for k in ("quicksort", "mergesort", "heapsort", "stable")] + [
        {"stable": s} for s in (True, False)
    ]
    for axis in (None, *AXES):
        for way in ({}, *ways):
            assert_alike(lambda v, axis=axis, way=way: np.sort(v, axis, **way), x, 0)
        for kth in (0, -1, 1, np.int64(2), (0, 2), [1, 3]):
            assert_alike(lambda v, axis=axis, kth=kth: np.partition(v, kth, axis), x, 0)


def test_parting_has_numpys_arrangement_and_its_permutation():
    for seed in range(5):
        x = rng(seed, "partition").integers(0, 300, 500).astype(float)
        found, pull = ad.vjp(lambda v: np.partition(v, (20, 250)), x)
        assert np.array_equal(found, np.partition(x, (20, 250)))
        assert np.array_equal(np.sort(pull(np.arange(500.0))[0]), np.arange(500.0))
        assert np.array_equal(ad.jvp(lambda v: np.partition(v, (20, 250)), (x,), (x,))[1], found)


METHODS = (
    *("linear", "lower", "higher", "midpoint", "nearest", "hazen", "weibull", "median_unbiased", "normal_unbiased"),
    *("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf"),
)
LEVELS = (0.3, 0, 1, np.float32(0.4), np.array(0.7), [0.1, 0.5, 1.0], np.array([[0.2, 0.4], [0.0, 0.9]]), (0, 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_quantiles_are_numpys_to_the_last_bit(method, kind):
    x = KINDS[kind]
    if kind == "empty":
        assert_alike(lambda v: np.quantile(v, 0.5, axis=1, method=method), x, 0)
        return
    for axis, q in itertools.product((None, 0, -1, (0, 1), (), 5), LEVELS):
        for keep in (False, True):
            f = lambda v, a=axis, q=q, k=keep: np.quantile(v, q, axis=a, method=method, keepdims=k)  # noqa: E731
            if kind != "infinite":
                assert_alike(f, x, 0)
                continue
            with np.errstate(invalid="ignore"):
                expected, found = outcome(f, x)[0], outcome(lambda v, f=f: traced(f, v), x)[0]
            if not isinstance(expected, Exception):  # NumPy makes NaN of 0 * inf, where nothing is mixed
                assert np.all((found == expected) | np.isnan(expected))
    assert_alike(lambda v: np.percentile(v, [0, 12.5, 100], method=method), x, 0, warned=False)


@pytest.mark.parametrize("method", METHODS)
def test_three_orders_of_quantiles(method):
    for seed in (0, 1):
        x = rng(seed, "quantile").permutation(np.arange(8) * 0.15).reshape(2, 4)
        f = lambda v: np.quantile(v**3, (0.05, 0.5, 0.62, 0.99), axis=1, method=method)  # noqa: E731
        ad.check_gradients(f, (x,))
        ad.check_gradients(ad.grad(lambda v, f=f: np.sum(f(v) ** 2)), (x,))


CDF = "inverted_cdf"


@pytest.mark.parametrize("kind", ["float64", "float32", "ties", "nan"])
def test_quantiles_by_weights(kind):
    x, stream = KINDS[kind], rng(0, "weights")
    whole, counts = stream.random(x.shape), stream.integers(0, 3, x.shape)
    for axis, w in (
        (None, whole),
        (1, whole),
        (0, counts + (counts.sum(0) == 0)),
        ((0, 2), whole),
        (-1, stream.random(5)),
    ):
        for q in (0.0, 0.3, [0.2, 0.9, 1.0], np.array([[0.5]])):
            f = lambda v, q=q, a=axis, w=w: np.quantile(v, q, axis=a, weights=w, method=CDF)  # noqa: E731
            assert_alike(f, x, 0)
    f = lambda v: np.percentile(v**3, [20, 70], axis=1, weights=whole[0, :, 0] + 0.0 * v[0, :, 0], method=CDF)  # noqa: E731
    if kind == "float64":
        ad.check_gradients(f, (x,))


def test_traced_levels():
    x = np.array([[0.3, 1.2, -0.5, 0.8], [1.0, 0.2, 0.5, 2.0]])
    f = lambda v, q: np.quantile(v**2, q**2, axis=1)  # noqa: E731
    for q in (np.array(0.65), np.array([0.3, 0.7, 0.99])):
        assert np.allclose(ad.vjp(f, x, q)[0], f(x, q), rtol=1e-15)
        ad.check_gradients(f, (x, q))
    slope = ad.grad(lambda q: np.percentile(np.array([0.0, 1.0, 3.0]), q))
    assert [slope(q) for q in (10.0, 60.0)] == pytest.approx([0.02, 0.04])
    assert slope(50.0) == pytest.approx(0.04)  # at an entry: the slope above
    assert slope(100.0) == pytest.approx(0.04)
    with pytest.raises(ValueError, match=r"q is 1\.2"):
        traced(lambda q: np.quantile(x, q), 1.2)


def test_functions_of_the_order_are_constants():
    x = TIED
    cases = [
        lambda v: np.argsort(a=v, axis=0, kind="stable"),
        lambda v: np.argpartition(v, kth=(1, 3), axis=-1),
        lambda v: v.argpartition(2),
        lambda v: np.searchsorted(np.array([0.0, 1.0, 2.0]), v, side="right"),
        lambda v: np.searchsorted(v[1], [0.5, 3.0]),
        lambda v: v[1].searchsorted([0.5, 3.0], side="right"),
        lambda v: np.digitize(v, bins=[0.0, 1.0, 2.0], right=True),
        lambda v: np.lexsort((v[0], v[1])),
        lambda v: np.argwhere(v > 1),
        np.argwhere,
        np.flatnonzero,
        lambda v: np.nonzero(v)[1],
        lambda v: v.nonzero()[0],
        lambda v: np.isin(v, [1.0, 2.0]),
        lambda v: np.nanargmax(v, axis=1),
        lambda v: np.nanargmin(v, keepdims=True),
    ]
    for f in cases:
        found = traced(lambda v, f=f: f(v) * np.ones(1) + 0.0 * np.sum(v), x)
        assert np.array_equal(found, f(x) * np.ones(1))


SYMMETRIC = {
    "sort": lambda v: np.sum(np.sort(v, axis=-1) ** 4, axis=-1),
    "product": lambda v: np.prod(np.sort(v, axis=1)[:, :4], axis=1) * np.prod(np.sort(v, axis=1)[:, 4:], axis=1),
    "repeats": lambda v: np.take_along_axis(v, np.array([[0, 0, 2], [1, 1, 1], [4, 0, 4]]), -1) ** 4,
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_three_orders_where_ties_do_not_matter(name):
    f = SYMMETRIC[name]
    ad.check_gradients(f, (TIED,), name=name)
    ad.check_gradients(ad.grad(f), (TIED,), name=f"gradient of {name}")


@pytest.mark.parametrize(
    "f",
    [
        lambda v: np.sort(np.sin(v), axis=0)[1:] ** 2,
        lambda v: np.median(v**3, axis=(0, 1)),
        lambda v: np.median(v**3, axis=1, keepdims=True) * v,
        lambda v: np.take_along_axis(v**3, np.argsort(v, axis=1)[:, 1:3], axis=1),
        lambda v: np.take_along_axis(v**3, np.argpartition(v, 2, axis=1)[:, :2], axis=1),
    ],
)
def test_three_orders(f):
    x = rng(0, "three orders").permutation(np.arange(12) * 0.1).reshape(3, 4)
    ad.check_gradients(f, (x,))
    ad.check_gradients(ad.grad(f), (x,))


def test_a_median_with_nan_or_of_nothing_is_nan():
    x = np.array([[1.0, np.nan, 3.0, 2.0], [4.0, 1.0, 2.0, 3.0]])
    out, pullback = ad.vjp(lambda v: np.median(v, axis=1), x)
    assert np.isnan(out[0])
    assert out[1] == 2.5
    assert pullback(np.ones(2))[0].tolist() == [[0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.5, 0.5]]
    with pytest.warns(RuntimeWarning):  # those of NumPy
        assert np.isnan(traced(np.median, np.zeros(0)))
    assert ad.grad(np.sort)(np.zeros((2, 0))).shape == (2, 0)
    assert ad.grad(np.median)(2.0) == 1.0


@pytest.mark.parametrize(("function", "i"), CASES, ids=[f"{f.__name__}-{i}" for f, i in CASES])
def test_the_double_does_the_same_without_a_wait(function, i):
    x, *rest = draw(DOMAINS[function][i], rng(0, function.__name__, i))
    there, *rest_there = [double.NAMESPACE.asarray(v) if isinstance(v, np.ndarray) else v for v in (x, *rest)]

    def outcome(v, *args):
        f = lambda y: np.sum(function(y, *args) ** 3)  # noqa: E731
        if function is np.take_along_axis:  # its transpose needs cupy.add.at, which the double lacks
            return ad.jvp(f, (v,), (v * 0.5,))
        slope = ad.grad(f)
        return f(v), slope(v), ad.jvp(slope, (v,), (v * 0.5,))[1]

    expected, before = outcome(x, *rest), SYNCS.count
    found = outcome(there, *rest_there)
    assert SYNCS.count == before
    for a, b in zip(found, expected, strict=True):
        assert isinstance(a, DoubleArray)
        assert np.array_equal(a.get(), b)


def raises(error, match, f, x=TIED):
    with pytest.raises(error, match=match):
        traced(f, x)


def test_what_is_not_supported_is_named():
    raises(
        TypeError,
        "take_along_axis: indices is a traced value; expected integers",
        lambda v: np.take_along_axis(v, v, 1),
    )
    raises(TypeError, r"numpy\.sort with order=", lambda v: np.sort(v, order="f"))
    raises(ValueError, "sort kind must be one of", lambda v: np.sort(v, kind="bogus"))
    raises(TypeError, r"numpy\.median with overwrite_input=", lambda v: np.median(v, overwrite_input=True))
    raises(ValueError, r"kth\(=5\) out of bounds", lambda v: np.partition(v, 5))
    raises(
        TypeError, r"x\.partition\(k\), which writes in place.*Write np\.partition\(x, k\)", lambda v: v.partition(1)
    )
    raises(
        TypeError, r"numpy\.put_along_axis cannot be traced.*np\.where", lambda v: np.put_along_axis(v, INDEX, 1.0, 1)
    )
    raises(TypeError, r"numpy\.unique cannot be traced.*np\.unique\(metagrad\.ad\.stop_gradient\(x\)\)", np.unique)
    raises(TypeError, r"numpy\.histogram cannot be traced.*np\.histogram\(metagrad\.ad\.stop_gr", np.histogram)
    raises(ValueError, "supports weights", lambda v: np.quantile(v, 0.5, weights=v))
    raises(TypeError, r"numpy\.quantile: weights is of shape", lambda v: np.quantile(v, 0.5, weights=v[0], method=CDF))
    raises(TypeError, r"numpy\.quantile with overwrite_input=", lambda v: np.quantile(v, 0.5, overwrite_input=True))
    raises(ValueError, r"numpy\.quantile: q is 1\.5; expected numbers between 0 and 1", lambda v: np.quantile(v, 1.5))
    raises(ValueError, r"numpy\.quantile: q is nan; expected numbers", lambda v: np.quantile(v, np.nan))
    raises(ValueError, r"'bogus' is not a valid method", lambda v: np.quantile(v, 0.5, method="bogus"))
    raises(TypeError, r"q is a traced value with method='hazen'", lambda v: np.quantile(v, v[2, 2], method="hazen"))
    raises(IndexError, "out of bounds for axis 0 with size 0", lambda v: np.quantile(v[:0], 0.5))
    raises(TypeError, r"x\.sort\(\), which writes in place.*Write np\.sort\(x\)", lambda v: v.sort())
    raises(ValueError, "axis 2 is out of bounds", lambda v: np.sort(v, axis=2))
    raises(ValueError, "axis 2 is out of bounds", lambda v: np.median(v, axis=(0, 2)))
    raises(ValueError, "repeated axis", lambda v: np.median(v, axis=(0, -2)))
    raises(IndexError, "must be an integer array", lambda v: np.take_along_axis(v, np.zeros((3, 1)), axis=1))
    with pytest.raises(TypeError, match=r"argument 1 is a cupy_double array while argument 0 is a numpy array"):
        traced(lambda v: np.take_along_axis(v, double.NAMESPACE.asarray(np.zeros((3, 1), int)), 1), TIED)


def test_writing_a_traced_value_into_an_array_names_the_remedy():
    def assigns(v):
        z = np.zeros((3, 6))
        z[:, :5] = v
        return z

    raises(TypeError, r"z\[:, :5\] = x is.*np\.stack\(\[x, y\]\) of the entries, np\.concatenate of the parts", assigns)
    raises(TypeError, r"x\[index\] = value.*np\.where, np\.concatenate or np\.stack", lambda v: v.__setitem__(0, 1.0))


X, Y = rng(0, "X").standard_normal((2, 16, 6)), rng(0, "Y").standard_normal((2, 16))
W0 = np.linspace(0.1, 0.4, 12).reshape(2, 6)


def errors(w):
    return (np.einsum("bni,bi->bn", X, w) - Y) ** 2


def trimmed(w):
    return np.mean(np.sort(errors(w), axis=-1)[:, :12], axis=-1)


def trimmed_by_picking(w):
    e = errors(w)
    return np.mean(np.take_along_axis(e, np.argsort(e, axis=-1)[:, :12], axis=-1), axis=-1)


def median_of_even(w):
    return np.median(errors(w), axis=-1)


def median_of_odd(w):
    return np.median(errors(w)[:, :15], axis=-1)


class HeavyBall:
    def init(self, phi, w):
        return 0.0 * w

    def step(self, phi, state, w, f):
        eta, mu = phi
        velocity = mu * state + f.gradient(w)
        return w - eta * velocity, velocity


@pytest.mark.parametrize("loss", [trimmed, trimmed_by_picking, median_of_even, median_of_odd])
@pytest.mark.parametrize("objective", [mg.Final(), mg.LogFinal()], ids=repr)
def test_meta_gradients_of_a_users_robust_loss(loss, objective):
    task, phi, h = mg.FunctionTask(loss, W0), (0.03, 0.6), 1e-5
    grads = []
    for estimator in (Reverse(), Reverse(memory=4096), Forward()):
        found = estimator(task, HeavyBall(), objective, phi, steps=6)
        grads.append(np.array([float(g.to_float()) for g in found.grad]))
    value = lambda *p: np.mean(Reverse()(task, HeavyBall(), objective, p, steps=6).value.to_float())  # noqa: E731
    eta, mu = phi
    expected = [value(eta + h, mu) - value(eta - h, mu), value(eta, mu + h) - value(eta, mu - h)]
    np.testing.assert_allclose(grads[0], np.array(expected) / (2 * h), rtol=1e-6)
    assert np.array_equal(grads[0], grads[1])
    np.testing.assert_allclose(grads[2], grads[0], rtol=GRADIENT_TOLERANCE["float64"])


def test_a_robust_loss_on_the_double():
    cp = double.NAMESPACE
    there_x, there_y = cp.asarray(X), cp.asarray(Y)

    def loss(w):
        x, y = (there_x, there_y) if isinstance(ad.stop_gradient(w), DoubleArray) else (X, Y)
        e = (np.einsum("bni,bi->bn", x, w) - y) ** 2
        return np.mean(np.sort(e, axis=-1)[:, :12], axis=-1) + np.median(e, axis=-1)

    task, phi = mg.FunctionTask(loss, W0), mg.GradientDescent.Phi(np.asarray(0.05))
    here = Reverse()(task, mg.GradientDescent(), mg.Final(), phi, steps=4)
    there = Reverse()(move(task, cp), mg.GradientDescent(), mg.Final(), move(phi, cp), steps=4)
    np.testing.assert_allclose(there.grad.eta.to_float().get(), here.grad.eta.to_float(), rtol=1e-11)
