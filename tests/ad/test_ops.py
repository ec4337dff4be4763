"""Every operation of the table: values, derivatives of orders one and two, dtypes, linearity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad import ad
from metagrad.ad.ops import TABLE
from metagrad.ad.tree import leaves


def split(entry, seed=0):
    """Return f of the float arrays of an entry's domain, and those arrays as a tuple."""
    operands = entry.domain(np.random.default_rng(seed))
    floats = [x for x in leaves(tuple(tuple(o) if isinstance(o, list) else o for o in operands)) if is_float(x)]

    def f(*arrays):
        given = iter(arrays)

        def fill(x):
            return next(given) if is_float(x) else x

        return entry.call(*[[fill(y) for y in x] if isinstance(x, list) else fill(x) for x in operands])

    return f, tuple(floats)


def is_float(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_derivatives_of_both_orders(name):
    f, args = split(TABLE[name])
    report = ad.check_gradients(f, args, order=2, tolerance=2e-6)
    assert report.adjoint <= 1e-9


@pytest.mark.parametrize("name", sorted(TABLE))
def test_values_do_not_depend_on_the_tape(name):
    f, args = split(TABLE[name])
    assert np.array_equal(ad.vjp(f, *args)[0], f(*args))


@pytest.mark.parametrize("name", sorted(set(TABLE) - {"astype"}))
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_dtype_stays(name, dtype):
    f, args = split(TABLE[name])
    args = tuple(x.astype(dtype) for x in args)
    out, pullback = ad.vjp(f, *args)
    assert out.dtype == dtype
    assert {g.dtype for g in pullback(np.ones_like(out))} == {np.dtype(dtype)}


@given(st.sampled_from(sorted(TABLE)), st.integers(0, 1000), st.floats(-8, 8))
def test_the_pullback_is_linear(name, seed, scale):
    f, args = split(TABLE[name], seed)
    out, pullback = ad.vjp(f, *args)
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal(np.shape(out)), rng.standard_normal(np.shape(out))
    for left, a, b in zip(pullback(u + scale * v), pullback(u), pullback(v), strict=True):
        size = np.abs(a).max() + abs(scale) * np.abs(b).max()
        np.testing.assert_allclose(left, a + scale * b, rtol=0, atol=1e-13 * size)


@pytest.mark.parametrize("shapes", [((3,), (3, 4)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)), ((4,), (4,))])
def test_matmul_in_every_shape(shapes):
    rng = np.random.default_rng(0)
    args = tuple(rng.standard_normal(shape) for shape in shapes)
    ad.check_gradients(np.matmul, args, order=2)


@pytest.mark.parametrize("index", [0, -1, slice(1, None), (..., None), (0, [1, 1, 2]), np.array([0, 0, 2]), None])
def test_getitem_with_every_index(index):
    x = np.random.default_rng(1).standard_normal((3, 4))
    ad.check_gradients(lambda a: a[index], (x,), order=2)


def test_a_mask_as_index():
    x = np.random.default_rng(2).standard_normal((3, 4))
    ad.check_gradients(lambda a: a[x > 0], (x,), order=1)


@pytest.mark.parametrize("subscripts", ["ij,jk->ik", "bij,bj->bi", "ij->i", "i,j->ij", "ij,ij->", "bi,bij,bj->b"])
def test_einsum(subscripts):
    rng = np.random.default_rng(3)
    lengths = {"b": 2, "i": 3, "j": 4, "k": 5}
    args = tuple(rng.standard_normal([lengths[c] for c in s]) for s in subscripts.split("->")[0].split(","))
    ad.check_gradients(lambda *xs: np.einsum(subscripts, *xs), args, order=2)


def test_ties_share():
    g = ad.grad(np.max)(np.array([1.0, 3.0, 3.0]))
    assert g.tolist() == [0.0, 0.5, 0.5]
    assert ad.grad(lambda x: np.maximum(x, 3.0))(np.array([1.0, 3.0, 4.0])).tolist() == [0.0, 0.5, 1.0]
    assert ad.grad(ad.relu)(np.array([-1.0, 0.0, 2.0])).tolist() == [0.0, 0.0, 1.0]


def test_powers_at_zero():
    zero = np.array([0.0])
    assert ad.grad(lambda x: x**2)(zero).tolist() == [0.0]
    assert ad.grad(lambda x: x**1)(zero).tolist() == [1.0]
    assert ad.grad(lambda x: x**0)(zero).tolist() == [0.0]
    assert ad.grad(lambda p: np.power(zero, p))(np.array([2.0])).tolist() == [0.0]


def test_the_double_where_keeps_the_square_root_finite():
    def safe(x):
        positive = x > 0
        return np.where(positive, np.sqrt(np.where(positive, x, 1.0)), 0.0)

    assert ad.grad(safe)(np.array([0.0, 4.0])).tolist() == [0.0, 0.25]


def test_sigmoid_and_logsumexp_do_not_overflow():
    x = np.array([-1000.0, 0.0, 1000.0])
    assert ad.sigmoid(x).tolist() == [0.0, 0.5, 1.0]
    assert ad.logsumexp(x) == 1000.0
    assert np.isfinite(ad.grad(ad.logsumexp)(x)).all()
