"""np.vectorize on traced values: NumPy's values over its options, derivatives, and what is refused."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.ad.functions.vectorize import OBJECTS, of_objects, vectorized
from metagrad.xp import rng

A, B = rng(0).standard_normal((3, 1)), rng(1).standard_normal(4)


def branch(x, y):
    return x * x * y if x > 0 else np.sin(x) - y


def same(f, *args, **kwargs):
    """Assert that the traced value and the plain one are equal, and check the derivatives."""
    expected = f(*args, **kwargs)
    traced = lambda *xs: vectorized(f, *xs, **kwargs)  # noqa: E731
    out, _ = ad.vjp(traced, *args)
    for x, y in zip(ad.leaves(out), ad.leaves(expected), strict=True):
        assert np.array_equal(x, y)
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
    ad.check_gradients(traced, args)


def test_entries_are_looped_over_and_broadcast():
    f = np.vectorize(branch)
    same(f, A, B)
    same(f, A[0], B)
    same(f, A, np.array(0.5))
    same(np.vectorize(lambda x: 3.0 * x), np.array(2.0))
    constant = rng(2).standard_normal(4)
    found = ad.grad(lambda x: np.sum(vectorized(f, x, constant)))(A)
    expected = [[np.sum(2 * a * constant if a > 0 else np.cos(a) + 0 * constant)] for (a,) in A]
    assert np.allclose(found, expected)


def test_several_outputs():
    same(np.vectorize(lambda x, y: (x * y, x - y, np.exp(x))), A, B)
    same(
        np.vectorize(lambda x, y: (np.sum(x) * y, x[0]), signature="(n),()->(),()"),
        rng(3).standard_normal((2, 3)),
        B[:2],
    )


@pytest.mark.parametrize(
    ("signature", "f", "shapes"),
    [
        ("(n),(n)->()", lambda x, y: np.sum(x * y), ((2, 3), (3,))),
        ("(n)->(n)", lambda x: x - np.mean(x), ((4, 3),)),
        ("(n)->(n,n)", lambda x: x[:, None] * x, ((2, 3),)),
        ("(m,n),(n)->(m)", lambda A, x: A @ x, ((2, 3), (4, 3))),
        ("(m,n),(n,k)->(m,k)", lambda A, B: A @ B, ((5, 2, 3), (1, 3, 2))),
        (" (n) , () -> ( k ) ", lambda x, a: a * x[:2], ((2, 3), ())),
        ("(),()->()", lambda x, y: x * y, ((2,), (2,))),
        ("(n)->(n),()", lambda x: (x * x, np.max(x)), ((2, 3),)),
    ],
)
def test_signatures(signature, f, shapes):
    same(np.vectorize(f, signature=signature), *[rng(4, i).standard_normal(s) for i, s in enumerate(shapes)])


def test_excluded_arguments_and_keywords():
    poly = lambda p, x: sum(c * x**i for i, c in enumerate(p))  # noqa: E731
    same(np.vectorize(poly, excluded=[0]), rng(5).standard_normal(3), B)
    f = np.vectorize(lambda x, weights=None, scale=1.0: x * scale * weights[0], excluded={"weights"})
    same(f, B, weights=np.array([3.0]), scale=np.array([2.0, 1.0, 0.5, 4.0]))
    found = ad.grad(lambda s: np.sum(vectorized(f, B, scale=s, weights=np.array([3.0]))))(np.ones(4))
    assert np.allclose(found, 3 * B)


def test_otypes_and_dtypes():
    same(np.vectorize(lambda x: 0 if x > 0 else x * x, otypes=[float]), B)
    out, pullback = ad.vjp(lambda x: vectorized(np.vectorize(np.square, otypes="f"), x), B)
    assert (out.dtype, pullback(out)[0].dtype) == (np.dtype("float32"), np.dtype("float64"))
    out, pullback = ad.vjp(lambda x: vectorized(np.vectorize(np.square), x), B.astype("float32"))
    assert (out.dtype, pullback(out)[0].dtype) == (np.dtype("float32"), np.dtype("float32"))
    assert vectorized(np.vectorize(lambda x: x > 0), ad.Var(B)).dtype == bool
    with pytest.raises(TypeError, match=r"the first result is of int64.*otypes=\[float\]"):
        ad.grad(lambda x: np.sum(vectorized(np.vectorize(lambda v: 0 if v < 2 else v * v), x)))(np.array([1.0, 3.0]))


def test_lists_and_a_list_of_traced_values():
    f = np.vectorize(lambda x, y: x * y)
    assert ad.grad(lambda x: np.sum(vectorized(f, [x, 2 * x], [3.0, 4.0])))(1.0) == 11.0


def test_size_0_and_no_arguments():
    with pytest.raises(ValueError, match="cannot call `vectorize` on size 0 inputs unless `otypes` is set"):
        ad.vjp(lambda x: vectorized(np.vectorize(np.exp), x), np.zeros(0))
    assert vectorized(np.vectorize(np.exp, otypes=[float]), ad.Var(np.zeros((2, 0)))).shape == (2, 0)
    assert vectorized(np.vectorize(np.sum, otypes=[float], signature="(n)->()"), ad.Var(np.zeros((0, 3)))).shape == (0,)
    with pytest.raises(ValueError, match="new core dimension"):
        vectorized(np.vectorize(np.sum, otypes=[float], signature="(n)->(k)"), ad.Var(np.zeros((0, 3))))


@pytest.mark.parametrize(
    ("signature", "f", "args", "error", "match"),
    [
        ("(n),(n)->()", np.dot, (A,), TypeError, "1 arguments came"),
        ("(n),(n)->()", np.dot, (A[0], B), ValueError, "'n' has two sizes, 1 and 4"),
        ("(n,m)->()", np.sum, (B,), ValueError, "does not have all core dimensions"),
        ("(n)->(),()", np.sum, (B,), ValueError, "returned 1 results; the signature has 2"),
        ("(n)->(n)", lambda x: x[:2], (B,), ValueError, "'n' has two sizes, 4 and 2"),
        ("()->()", lambda x: __import__("math").exp(x), (B,), TypeError, r"np.exp\(x\) for math.exp\(x\)"),
    ],
)
def test_bad_calls_are_named(signature, f, args, error, match):
    with pytest.raises(error, match=match):
        ad.vjp(lambda *xs: vectorized(np.vectorize(f, signature=signature), *xs), *args)


def test_a_ufunc_of_objects_says_what_to_write():
    f = np.frompyfunc(lambda x: x * x, 1, 1)
    assert of_objects(f)
    assert not of_objects(np.exp)
    assert "np.vectorize" in OBJECTS
    with pytest.raises(
        TypeError, match=r"numpy\.<lambda> .*np\.frompyfunc, which works on objects\. Write np\.vectorize"
    ):
        ad.grad(lambda x: np.sum(f(x)))(B)


def test_calls_reach_it():
    assert np.allclose(ad.grad(lambda x: np.sum(np.vectorize(branch)(x, 2.0)))(np.array([3.0])), 12.0)
