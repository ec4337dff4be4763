"""Trees, tangents, sums of products and Scaled on the double: the same as on NumPy, and no wait for the device."""

import operator

import numpy as np
import pytest

from metagrad import Scaled, ad
from metagrad.xp import move, rng
from tests.cupy_double import double
from tests.cupy_double.double import SYNCS, DoubleArray

cp = double.NAMESPACE


def weights(seed):
    stream = rng(seed, "weights")
    return {
        "layers": [{"W": stream.standard_normal((5, 4)), "b": stream.standard_normal(4)}],
        "out": (np.ones(4), None),
    }


def test_a_tree_moves_and_its_tangents_are_the_same_there():
    X = rng(0, "X").standard_normal((6, 5))

    def loss(w, X):
        layer = w["layers"][0]
        return np.mean(np.tanh(X @ layer["W"] + layer["b"]) @ w["out"][0])

    def slope(w, X):
        return ad.grad(loss)(w, X)

    here = ad.jvp(lambda w: slope(w, X), (weights(1),), (weights(2),))[1]
    w, v, X_there = (move(x, cp) for x in (weights(1), weights(2), X))
    before = SYNCS.count
    there = ad.jvp(lambda w: slope(w, X_there), (w,), (v,))[1]
    assert SYNCS.count == before
    assert ad.paths(there) == ad.paths(here)
    for a, b in zip(ad.leaves(here), ad.leaves(there), strict=True):
        assert isinstance(b, DoubleArray)
        np.testing.assert_allclose(b.get(), a, rtol=1e-12, atol=1e-14)


def test_a_large_sum_of_products_is_the_same_there():
    x, y = (rng(3, name).standard_normal((40, 40)) for name in "xy")
    f = lambda x, y: np.sum(np.tensordot(x, y, 1) ** 2)  # noqa: E731
    here = ad.grad(f, argnums=(0, 1))(x, y)
    there = ad.grad(f, argnums=(0, 1))(move(x, cp), move(y, cp))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b.get(), a, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("holds", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
def test_scaled_numbers_compare_and_add_up_there(holds):
    s = Scaled.of(np.array([1.0, -2.0, 0.0, np.nan]), np.array([9000, -9000, 0, 0]))
    there = move(s, cp)
    for other in (1, 2.0, np.float64(0.0)):
        assert np.array_equal(holds(there, other).get(), holds(s, other))
        assert np.array_equal(holds(other, there).get(), holds(other, s))
    for f in (lambda z: 2.0 * z + 1, lambda z: (1 - z) ** 3, lambda z: np.float64(3.0) / (z + 2), lambda z: abs(z)[:2]):
        found, expected = f(there), f(s)
        assert isinstance(found.mantissa, DoubleArray)
        assert np.array_equal(found.mantissa.get(), expected.mantissa, equal_nan=True)
        assert np.array_equal(found.exponent.get(), expected.exponent)
    array = move(np.full(4, 2.0), cp)
    assert np.array_equal((array * there).exponent.get(), (2.0 * s).exponent)
    with pytest.raises(
        TypeError, match=r"Scaled: argument 1 is a numpy array while argument 0 is a cupy(_double)? array"
    ):
        there * np.ones(4)
