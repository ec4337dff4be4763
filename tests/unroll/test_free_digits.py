"""The free digits of trust, number by number: each bound as its formula says, and the Status where none is left."""

import numpy as np
import pytest

from metagrad.errors import Status
from metagrad.scaled import Scaled
from metagrad.unroll.digits import Known, free_digits, most_digits
from metagrad.unroll.growth import Grown

BIT = np.log10(2.0)
ZERO = np.zeros(2)


def grown(chaos=0.0, rounding=0.0, value=None):
    return Grown(ZERO + chaos, ZERO + rounding, None if value is None else ZERO + value, ZERO)


def said(known, dtype=np.float64, **options):
    options = {"shared": False, "has_gradient": True} | options
    digits, code = free_digits(Scaled.of(np.ones(2, dtype)), known, **options)
    return digits, np.zeros(2, int) if code is None else np.asarray(code)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_lost_is_all_digits(dtype):
    digits, code = said(Known(None, None, None, None), dtype)
    assert digits.value.tolist() == digits.gradient.tolist() == [most_digits(dtype)] * 2
    assert not code.any()


@pytest.mark.parametrize("bits", [3.0, 10.0, 20.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_bound_is_its_formula(bits, dtype):
    most = most_digits(dtype)
    of = {
        "growth": (grown(rounding=bits), None, None, None),
        "cancelled": (None, None, None, ZERO + bits),
        "floor": (None, None, ZERO - (most / BIT - bits), None),
    }
    for known in of.values():
        digits, code = said(Known(*known), dtype)
        np.testing.assert_allclose(digits.gradient, most - BIT * bits, rtol=1e-12)
        assert digits.value.tolist() == [most] * 2
        assert not code.any()
    for known in ((grown(value=bits), None, None, None), (None, ZERO + bits - most / BIT, None, None)):
        digits, code = said(Known(*known), dtype)
        np.testing.assert_allclose(digits.value, most - BIT * bits, rtol=1e-12)
    digits, _ = said(Known(grown(rounding=bits / 2), None, None, ZERO + bits / 2), dtype)
    np.testing.assert_allclose(digits.gradient, most - BIT * bits, rtol=1e-12)


@pytest.mark.parametrize(("digits", "lost"), [(-0.9, False), (-1.1, True), (-3.0, True), (0.5, False)])
def test_a_free_bound_alarms_ten_times_below_none(digits, lost):
    """Ten times, and not forty: the bounds are of first order."""
    bits = (most_digits(np.float64) - digits) / BIT
    _, code = said(Known(grown(chaos=0.0, rounding=bits), None, None, None))
    assert code.tolist() == [Status.GRADIENT_ROUNDING.code * lost] * 2
    _, code = said(Known(grown(chaos=bits, rounding=bits), None, None, None))
    assert code.tolist() == [Status.CHAOTIC.code * lost] * 2
    _, code = said(Known(grown(value=bits), None, None, None))
    assert code.tolist() == [Status.VALUE_ROUNDING.code * lost] * 2


@pytest.mark.parametrize(("digits", "lost"), [(1.1, False), (0.9, True), (0.3, True)])
def test_what_one_rounding_of_the_last_state_changes_is_lost_below_one_digit(digits, lost):
    found, code = said(Known(None, ZERO - digits / BIT, None, None))
    np.testing.assert_allclose(found.value, digits, rtol=1e-12)
    assert code.tolist() == [Status.VALUE_ROUNDING.code * lost] * 2


@pytest.mark.parametrize(("least", "kind"), [(-0.9, Status.CHAOTIC), (-1.1, Status.GRADIENT_ROUNDING)])
def test_what_has_grown_to_a_tenth_of_all_is_chaos(least, kind):
    most = most_digits(np.float64)
    known = Known(grown(chaos=(most + least) / BIT, rounding=(most + 2) / BIT), None, None, None)
    assert said(known)[1].tolist() == [kind.code] * 2


@pytest.mark.parametrize("weights", [(0.0, 0.0), (10.0, 0.0), (0.0, -2000.0)])
def test_the_gradient_of_a_mean_has_the_digits_of_its_largest_tasks(weights):
    bits = np.array([4.0, 30.0])
    known = Known(Grown(ZERO, bits, None, np.array(weights)), None, None, None)
    digits, _ = said(known, shared=True)
    w = 2.0 ** (2 * (np.array(weights) - max(weights)))
    expected = 0.5 * np.log2((w * 4.0**bits).sum() / w.sum())
    np.testing.assert_allclose(digits.gradient, most_digits(np.float64) - BIT * expected, rtol=1e-12)
