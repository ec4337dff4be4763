"""Signs and logarithms: exact where floats end."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad.theory.numbers.signed_log import SignedLog, signed_sum

finite = st.floats(-1e100, 1e100).filter(lambda x: x == 0 or abs(x) > 1e-100)


@given(finite, finite)
def test_products_and_quotients_are_those_of_floats(x, y):
    product = SignedLog.from_float(x) * SignedLog.from_float(y)
    assert np.isclose(product.to_float(), x * y, rtol=1e-12, atol=0)
    if y != 0:
        assert np.isclose((SignedLog.from_float(x) / y).to_float(), x / y, rtol=1e-12, atol=0)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), st.floats(-1e7, 1e7))
def test_a_sum_is_that_of_floats_at_any_magnitude(values, shift):
    x = SignedLog.from_float(values)
    total = SignedLog(x.sign, x.log + shift).sum(axis=-1)
    exact = float(mp.fsum(mp.mpf(v) for v in values))
    size = np.sum(np.abs(values))
    if abs(exact) > 1e-6 * size:
        assert total.sign == np.sign(exact)
        # every logarithm is rounded at the size of the shift, and cancellation enlarges that
        bound = 4 * np.finfo(np.float64).eps * (abs(shift) + 1e3) * (size / abs(exact))
        assert abs(total.log - shift - np.log(abs(exact))) <= bound


def test_logarithms_far_outside_the_float_range():
    x = SignedLog([1.0, -1.0], [1e7, 1e7 - 1])
    assert np.isclose(x.sum().log, 1e7 + np.log1p(-np.exp(-1.0)), rtol=1e-15)
    assert (x * x).log.tolist() == [2e7, 2e7 - 2]
    assert ((x / x).sign.tolist(), (x / x).log.tolist()) == ([1.0, 1.0], [0.0, 0.0])
    assert np.isclose(x.log10[0], 1e7 / np.log(10))


def test_exact_cancellation_is_zero():
    total = SignedLog([1.0, -1.0], [1e7, 1e7]).sum()
    assert (float(total.sign), float(total.log)) == (0.0, -np.inf)


def test_an_empty_magnitude_is_zero_and_stays_zero():
    zero = SignedLog.from_float(0.0)
    product = zero * SignedLog(1.0, 1e9)
    assert (float(product.sign), float(product.log), float(product.to_float())) == (0.0, -np.inf, 0.0)
    assert float(signed_sum(1.0, np.array([-np.inf, -np.inf]), 5.0).sign) == 0.0


def test_division_by_zero_and_nan_are_undefined():
    assert np.isnan((SignedLog.from_float(1.0) / 0.0).sign)
    assert np.isnan(SignedLog.from_float(np.nan).to_float())


@pytest.mark.parametrize(("log", "named"), [(1e4, "10^4342.94"), (-1e4, "10^-4342.94"), (709.79, "10^308.25")])
def test_to_float_refuses_what_it_cannot_hold_and_names_it(log, named):
    with pytest.raises(OverflowError) as caught:
        SignedLog([1.0, 1.0], [0.0, log]).to_float()
    assert named in str(caught.value)


def test_to_float_gives_ieee_values_on_request():
    x = SignedLog([1.0, -1.0, 1.0, 1.0], [1e4, 1e4, -1e4, -730.0]).to_float(ieee=True)
    assert x[:3].tolist() == [np.inf, -np.inf, 0.0]
    assert np.isclose(x[3], np.exp(-730.0), rtol=1e-6, atol=0)
    assert 0 < x[3] < np.finfo(float).tiny


def test_shapes_signs_and_indexing():
    x = SignedLog(1.0, np.zeros((2, 3)))
    assert x.shape == (2, 3)
    assert x.sum(axis=0).shape == (3,)
    assert (-x)[0].sign.tolist() == [-1.0] * 3
    assert abs(-x).sign.min() == 1.0
    assert (2.0 * x).to_float()[0, 0] == 2.0
