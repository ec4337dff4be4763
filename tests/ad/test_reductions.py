"""Reductions: every option as NumPy has it, ties, what is masked out, zeros, and what is refused."""

import itertools

import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import rng
from tests.ad.alike import AXES, assert_alike, inputs, traced

SUMS, MEANS, EXTREMES = ("sum", "prod"), ("mean", "var", "std"), ("max", "min", "amax", "amin")
INPUTS = inputs()


def masks(x):
    stream, shape = rng(1, "masks"), np.shape(x)
    return [True, False, stream.random(shape) < 0.6, np.zeros(shape, bool), stream.random(shape[-1:]) < 0.5]


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", SUMS + MEANS + EXTREMES)
def test_every_option_is_numpys(name, kind):
    function, x = getattr(np, name), INPUTS[kind]
    starts = [{}] if name in MEANS else [{}, {"initial": 0.5}, {"initial": -np.inf}]
    for axis, keep, mask, start in itertools.product(AXES, ({}, {"keepdims": True}), [None, *masks(x)], starts):
        options = {"axis": axis, **keep, **start} | ({} if mask is None else {"where": mask})
        assert_alike(lambda v, options=options: function(v, **options), x, 64)


@pytest.mark.parametrize("kind", ["float64", "float32", "nan"])
@pytest.mark.parametrize("name", ["var", "std"])
@pytest.mark.parametrize("freedom", [{"ddof": 1}, {"correction": 1.5}, {"ddof": 5}, {"ddof": 1, "correction": 1}])
def test_degrees_of_freedom_and_a_known_mean(name, kind, freedom):
    function, x = getattr(np, name), INPUTS[kind]
    known = {"mean": np.mean(x, axis=1, keepdims=True)}
    for given, mask in itertools.product(({}, known), (None, *masks(x))):
        options = {"axis": 1, **freedom, **given} | ({} if mask is None else {"where": mask})
        assert_alike(lambda v, options=options: function(v, **options), x, 64, warned=mask is not None)


@pytest.mark.parametrize("name", SUMS + MEANS)
def test_another_dtype_is_kept_by_name_and_by_place(name):
    function = getattr(np, name)
    for x, dtype in itertools.product((INPUTS["float64"], INPUTS["float32"]), ("float32", np.float64)):
        for f in (lambda v, d=dtype: function(v, dtype=d), lambda v, d=dtype: function(v, 1, d)):
            assert_alike(f, x, 4096 if dtype == "float32" else 64)
        assert ad.grad(lambda v, d=dtype: function(v, None, d))(x).dtype == x.dtype


def test_a_sum_of_integers_is_a_constant():
    assert traced(lambda v: v * np.sum(v, dtype=int), np.array([1.5, 2.5])).tolist() == [4.5, 7.5]


X = rng(0, "reductions").standard_normal((3, 4))
MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, False]])
SMOOTH = {
    "sum": lambda v: np.sum(v**3, axis=0, where=MASK, initial=1.0),
    "mean": lambda v: np.mean(v**3, axis=1, where=MASK, keepdims=True) * v,
    "max": lambda v: np.max(v, axis=1, where=MASK, initial=-9.0) ** 3,
    "min": lambda v: v.min(axis=0, where=MASK, initial=9.0, keepdims=True) ** 3,
    "prod": lambda v: np.prod(v, axis=(0, 1), where=MASK, initial=2.0),
    "prod of axes": lambda v: np.prod(np.stack([v, v * v]), axis=(0, -1)),
    "var": lambda v: np.var(v**2, axis=1, where=MASK, ddof=0.5),
    "std": lambda v: np.std(v**2, where=MASK, correction=1),
    "var about a mean": lambda v: np.var(v**2, axis=0, mean=np.mean(v, axis=0, keepdims=True)),
    "ptp": lambda v: np.ptp(v, axis=1) ** 3,
    "initial": lambda v: np.sum(v, initial=v[0, 0] ** 3) * np.max(v[0], initial=9.0 + v[1, 1] ** 2),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("seed", [0, 1])
def test_three_orders_with_options(name, seed):
    x = rng(seed, "three orders").permutation(np.linspace(-1.1, 1.2, 12)).reshape(3, 4)
    ad.check_gradients(SMOOTH[name], (x,), name=name)
    ad.check_gradients(ad.grad(lambda v: np.sum(SMOOTH[name](v))), (x,), name=f"gradient of {name}")


def test_what_is_masked_out_counts_for_nothing_whatever_it_is():
    x = np.array([1.0, np.nan, 3.0, np.inf])
    mask = np.isfinite(x)
    for f in (np.sum, np.mean, np.var, np.std, lambda v, where: np.max(v, where=where, initial=-1.0), np.prod):
        slope = ad.grad(lambda v, f=f: f(v, where=mask))(x)
        short = ad.grad(lambda v, f=f: f(v, where=np.ones(2, bool)))(x[mask])
        assert slope[~mask].tolist() == [0.0, 0.0]
        assert slope[mask] == pytest.approx(short, rel=1e-15)


def test_ties_share():
    assert ad.grad(np.max)(np.array([2.0, 1.0, 2.0])).tolist() == [0.5, 0.0, 0.5]
    assert ad.grad(lambda v: np.max(v, initial=2.0))(np.array([2.0, 1.0, 2.0])).tolist() == [0.25, 0.0, 0.25]
    assert ad.grad(lambda v: np.max(v, initial=5.0))(np.array([2.0, 1.0])).tolist() == [0.0, 0.0]
    masked = lambda v: np.max(v, where=np.array([True, True, False]), initial=-np.inf)  # noqa: E731
    assert ad.grad(masked)(np.array([2.0, 1.0, 2.0])).tolist() == [1.0, 0.0, 0.0]
    assert ad.jvp(masked, (np.array([2.0, 2.0, 2.0]),), (np.array([1.0, 3.0, 9.0]),))[1] == 2.0


def test_a_product_at_zeros_to_the_third_order():
    for zeros in ([], [1], [0, 3], [0, 1, 2]):
        x = np.array([1.5, -0.5, 2.0, 0.7, -1.2])
        x[zeros] = 0.0
        f = lambda v: np.prod(v.reshape(1, 5), axis=(0, 1)) + np.prod(v, where=np.arange(5) != 2)  # noqa: E731
        ad.check_gradients(ad.grad(f), (x,))


def test_a_deviation_of_one_entry_is_zero_and_so_is_its_derivative():
    mask = np.array([[True, False, False], [True, True, True]])
    x = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]])
    f = lambda v: np.sum(np.std(v, axis=1, where=mask))  # noqa: E731
    assert ad.grad(f)(x)[0].tolist() == [0.0, 0.0, 0.0]
    assert np.all(np.isfinite(ad.jvp(ad.grad(f), (x,), (x,))[1]))


def test_methods_take_the_same_options():
    x, g = X, np.ones(4)
    for f, same in (
        (lambda v: v.sum(0, where=MASK), lambda v: np.sum(v, 0, where=MASK)),
        (lambda v: v.mean(axis=0, where=MASK), lambda v: np.mean(v, axis=0, where=MASK)),
        (lambda v: v.max(0, None, False, 0.3), lambda v: np.max(v, 0, initial=0.3)),
        (lambda v: v.var(0, None, None, 1), lambda v: np.var(v, 0, ddof=1)),
        (lambda v: v.prod(0, np.float64, None, True)[0], lambda v: np.prod(v, 0)),
    ):
        (a, pull), (b, expected) = ad.vjp(f, x), ad.vjp(same, x)
        assert np.array_equal(a, b)
        assert np.array_equal(pull(g)[0], expected(g)[0])


def test_all_and_any_are_constants_with_their_options():
    x = np.array([[1.0, 0.0], [2.0, 3.0]])
    for f in (
        lambda v: np.all(v, axis=0, where=[[True], [False]]),
        lambda v: np.any(v > 1, axis=1, keepdims=True),
        lambda v: v.all(axis=(0, 1)),
        lambda v: np.count_nonzero(v, axis=1, keepdims=True),
    ):
        assert np.array_equal(traced(lambda v, f=f: f(v) * 1.0, x), f(x))


def test_of_nothing():
    for f in (np.max, np.min, lambda v: np.max(v, axis=0)):
        with pytest.raises(ValueError, match="zero-size array to reduction operation"):
            traced(f, np.zeros(0))
    assert ad.grad(lambda v: np.max(v, initial=2.0))(np.zeros(0)).shape == (0,)
    assert ad.grad(lambda v: np.max(v * np.zeros((0, 2)), axis=0, initial=v).sum())(3.0) == 2.0
    assert ad.grad(np.sum)(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda v: np.sum(v, axis=[0]), TypeError, "'list' object cannot be interpreted as an integer"),
        (lambda v: np.prod(v, axis=[0]), TypeError, "'list' object cannot be interpreted as an integer"),
        (lambda v: np.prod(v, axis=2), ValueError, "axis 2 is out of bounds"),
        (lambda v: np.sum(v, where=np.ones((3, 4))), TypeError, r"where is an array of float64; expected booleans"),
        (lambda v: np.sum(v, where=np.ones(3, bool)), ValueError, "broadcast"),
        (lambda v: np.max(v, where=MASK), ValueError, r"numpy\.max: initial is None; expected a number beside where="),
        (lambda v: np.mean(v, dtype=int), TypeError, r"numpy\.mean: dtype is int64; expected a float type"),
        (lambda v: np.var(v, ddof=1, correction=1), ValueError, "correction is 1; expected not given where ddof is"),
        (lambda v: np.sum(v, out=np.zeros(())), TypeError, "cannot be written in place"),
    ],
)
def test_what_is_refused_is_told(f, error, message):
    with pytest.raises(error, match=message):
        traced(f, X)
