"""Along an axis: every option as NumPy has it, zeros, ties of running extremes, three orders, long arrays."""

import itertools
import time

import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import rng
from tests.ad.alike import assert_alike, inputs, traced

INPUTS = inputs()
AXES = (0, -1, 1, np.int64(-2), 5)
POINTS = np.array([0.0, 0.4, 1.1, 1.5, 3.0])


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cumulative_sum", "cumulative_prod", "nancumsum", "nancumprod"])
def test_running_sums_and_products_are_numpys(name, kind):
    function, x = getattr(np, name), INPUTS[kind]
    more = ({}, {"include_initial": True}) if name.startswith("cumul") else ({},)
    for axis, dtype, rest in itertools.product((None, *AXES), ({}, {"dtype": "float32"}), more):
        options = {"axis": axis, **dtype, **rest}
        assert_alike(lambda v, options=options: function(v, **options), x, 4096 if dtype else 0)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum])
def test_accumulate_is_numpys(ufunc, kind):
    if np.ndim(INPUTS[kind]):
        for axis in AXES:
            assert_alike(lambda v, axis=axis: ufunc.accumulate(v, axis), INPUTS[kind], 0)
    assert_alike(ufunc.accumulate, INPUTS["ties"], 0)


@pytest.mark.parametrize("kind", INPUTS)
def test_differences_are_numpys(kind):
    x = INPUTS[kind]
    ends = ({}, {"prepend": 1}, {"append": 0.5}, {"prepend": np.float32(2), "append": 3}, {"prepend": np.ones_like(x)})
    for n, axis, end in itertools.product((0, 1, 2, 3, 9, -1), AXES, ends):
        assert_alike(lambda v, n=n, axis=axis, end=end: np.diff(v, n, axis, **end), x, 0)
    for end in ({}, {"to_end": 3}, {"to_begin": [1.0, 2.0]}, {"to_end": np.ones((1, 2)), "to_begin": 0.5}):
        assert_alike(lambda v, end=end: np.ediff1d(v, **end), x, 0)


@pytest.mark.parametrize("kind", INPUTS)
def test_gradient_is_numpys(kind):
    spacings = [(), (0.3,), (np.float32(2),), (0.3, 2), (POINTS[:3],), (POINTS,), (range(4),), ([0, 1, 2],)]
    spacings += [(POINTS[:3], 0.5, POINTS), (np.arange(3), POINTS[:4], 2)]
    for given, axis, edge in itertools.product(spacings, (None, 0, -1, (0, 1), (2, 0), 5), (1, 2, 3)):
        spacing = tuple(list(h) if isinstance(h, range) else h for h in given)
        f = lambda v, h=spacing, a=axis, e=edge: np.gradient(v, *h, axis=a, edge_order=e)  # noqa: E731
        assert_alike(f, INPUTS[kind], 16, warned=False)


@pytest.mark.parametrize("kind", INPUTS)
def test_trapezoid_is_numpys(kind):
    x = INPUTS[kind]
    points = (None, np.arange(3) ** 2, [0, 1, 3, 4], POINTS, np.cumsum(np.ones_like(x), axis=-1))
    for along, dx, axis in itertools.product(points, (1.0, 0.3, 2), AXES):
        assert_alike(lambda v, p=along, dx=dx, axis=axis: np.trapezoid(v, p, dx, axis), x, 0, warned=False)


SMOOTH = {
    "cumprod": lambda v: np.cumprod(v, axis=0) * np.cumprod(v),
    "cumulative_prod": lambda v: np.cumulative_prod(v, include_initial=True) ** 2,
    "maximum": lambda v: np.maximum.accumulate(v**3),
    "minimum": lambda v: np.minimum.accumulate(v**3) * v,
    "add": lambda v: np.add.accumulate(v**3),
    "diff": lambda v: np.diff(v**3, 2, prepend=v[:1] ** 2, append=v[0] ** 2),
    "gradient": lambda v: np.gradient(v**3, np.exp(v[0]), edge_order=2),
    "coordinates": lambda v: np.gradient(v**3, np.cumsum(np.exp(v)), edge_order=2),
    "even coordinates": lambda v: np.gradient(POINTS, np.arange(5.0) + 0.0 * v),
    "even coordinates, edge": lambda v: np.gradient(POINTS**2, 3.0 * np.arange(5.0) + v * v, edge_order=1),
    "trapezoid": lambda v: np.trapezoid(v**3, np.exp(v)) * np.trapezoid([1.0, 2.0, 0.0, 1.0, 3.0], v**2),
    "trapezoid dx": lambda v: np.trapezoid(v**3, dx=v[1]),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("seed", [0, 1])
def test_three_orders(name, seed):
    x = rng(seed, "cumulative").permutation(np.array([-0.9, -0.3, 0.4, 0.8, 1.3]))
    ad.check_gradients(SMOOTH[name], (x,), name=name)
    ad.check_gradients(ad.grad(lambda v: np.sum(SMOOTH[name](v))), (x,), name=f"gradient of {name}")


def test_the_derivative_by_even_coordinates_is_that_of_each():
    """NumPy takes one distance for all where they are equal; the derivative is that of the general formula."""
    f = lambda v: np.sum(np.gradient(POINTS**2, v) ** 2)  # noqa: E731
    found = ad.grad(f)(np.arange(5.0))
    for i in range(5):
        step = 1e-6 * (np.arange(5) == i)
        assert found[i] == pytest.approx((f(np.arange(5.0) + step) - f(np.arange(5.0) - step)) / 2e-6, abs=1e-7)


@pytest.mark.parametrize("zeros", [(), (2,), (0,), (1, 4), (0, 1, 2), (0, 1, 2, 3, 4)])
def test_running_products_at_zeros_to_the_third_order(zeros):
    x = np.array([1.5, -0.5, 2.0, 0.7, -1.2])
    x[list(zeros)] = 0.0
    f = lambda v: np.sum(np.cumprod(v) * np.arange(1.0, 6.0))  # noqa: E731
    ad.check_gradients(f, (x,))
    ad.check_gradients(ad.grad(f), (x,))


def test_the_first_of_equal_extremes_keeps_the_derivative():
    g = np.array([1.0, 10.0, 100.0, 1000.0])
    pulled = lambda ufunc, *x: ad.vjp(ufunc.accumulate, np.array(x))[1](g)[0].tolist()  # noqa: E731
    assert pulled(np.maximum, 2.0, 2.0, 1.0, 2.0) == [1111.0, 0.0, 0.0, 0.0]
    assert pulled(np.maximum, 1.0, 3.0, 2.0, 4.0) == [1.0, 110.0, 0.0, 1000.0]
    assert pulled(np.minimum, 1.0, 1.0, 0.0, 0.0) == [11.0, 0.0, 1100.0, 0.0]
    assert pulled(np.maximum, 1.0, np.nan, 2.0, np.nan) == [1.0, 1110.0, 0.0, 0.0]
    assert pulled(np.minimum, np.nan, 1.0, np.nan, 0.0) == [1111.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("f", [np.cumprod, np.maximum.accumulate, np.minimum.accumulate, np.cumsum])
def test_ten_thousand_entries_take_no_loop(f):
    x = rng(0, "long").uniform(0.99, 1.01, 10_000)
    start = time.perf_counter()
    found = ad.grad(lambda v: np.sum(f(v)))(x)
    assert time.perf_counter() - start < 1.0
    assert found.shape == x.shape
    h = 1e-6 * (np.arange(10_000) == 17)
    assert np.dot(found, h) == pytest.approx((np.sum(f(x + h)) - np.sum(f(x - h))) / 2, rel=1e-4, abs=1e-9)


def test_what_is_beyond_does_not_reach_what_is_asked_for():
    """The running product overflows; its sixth entry does not."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = ad.grad(lambda v: np.cumprod(v)[5])(np.full(1500, 3.0))
    assert found[:6].tolist() == [243.0] * 6
    assert not found[6:].any()


def test_methods():
    x = INPUTS["float64"]
    for f, same in (
        (lambda v: v.cumprod(1), lambda v: np.cumprod(v, axis=1)),
        (lambda v: v.cumsum(axis=0, dtype=float), lambda v: np.cumsum(v, 0)),
    ):
        (a, pull), (b, expected) = ad.vjp(f, x), ad.vjp(same, x)
        assert np.array_equal(a, b)
        assert np.array_equal(pull(x)[0], expected(x)[0])


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda v: np.diff(v, -1), ValueError, r"numpy\.diff: n is -1"),
        (lambda v: np.diff(v[0]), ValueError, r"numpy\.diff: a is an array without axes"),
        (lambda v: np.gradient(v, 1.0, 2.0), TypeError, "2 spacings came for 1 axes"),
        (lambda v: np.gradient(v, np.ones(3)), ValueError, r"the coordinates is of shape \(3,\); expected \(5,\)"),
        (lambda v: np.gradient(v[:2], edge_order=2), ValueError, "of length 2 along axis 0; expected at least 3"),
        (lambda v: np.gradient(v, edge_order=3), ValueError, "edge_order is 3; expected 1 or 2"),
        (lambda v: np.cumsum(v, axis=1), ValueError, "axis 1 is out of bounds"),
        (lambda v: np.cumsum(v, axis=(0,)), TypeError, "'tuple' object cannot be interpreted as an integer"),
        (lambda v: np.cumulative_sum(v.reshape(1, 5)), ValueError, r"numpy\.cumulative_sum: axis is None"),
        (lambda v: np.trapezoid(v, np.ones(3)), ValueError, "broadcast"),
        (lambda v: np.cumprod(v, out=np.zeros(5)), TypeError, "cannot be written in place"),
    ],
)
def test_what_is_refused_is_told(f, error, message):
    with pytest.raises(error, match=message):
        traced(f, POINTS)
