"""Scaled against exact rational arithmetic, and what it says at the edges of the float range."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad import RangeError, Scaled, Status

mantissas = st.floats(min_value=-1e3, max_value=1e3, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-3)
exponents = st.integers(min_value=-(10**6), max_value=10**6)
numbers = st.tuples(mantissas, exponents)


def scaled(pairs):
    return Scaled.of(np.array([m for m, _ in pairs]), np.array([e for _, e in pairs], dtype=np.int64))


def exact(number: Scaled, at: int, origin: int) -> Fraction:
    return Fraction(float(number.mantissa[at])) * Fraction(2) ** int(number.exponent[at] - origin)


@given(numbers, numbers)
def test_product_and_quotient_are_exact_to_rounding(a, b):
    x, y = scaled([a]), scaled([b])
    product = Fraction(a[0]) * Fraction(b[0])
    assert abs(exact(x * y, 0, a[1] + b[1]) - product) <= abs(product) * Fraction(2) ** -52
    if b[0] != 0:
        quotient = Fraction(a[0]) / Fraction(b[0])
        assert abs(exact(x / y, 0, a[1] - b[1]) - quotient) <= abs(quotient) * Fraction(2) ** -52


@given(st.lists(st.tuples(mantissas, st.integers(-300, 300)), min_size=1, max_size=8), exponents)
def test_sum_is_right_to_the_size_of_its_largest_term(pairs, far):
    moved = scaled([(m, e + far) for m, e in pairs])
    total = moved.sum()
    terms = [Fraction(m) * Fraction(2) ** e for m, e in pairs]
    value = (
        Fraction(float(total.mantissa)) * Fraction(2) ** int(total.exponent - far) if total.mantissa else Fraction(0)
    )
    assert abs(value - sum(terms)) <= len(terms) * max(map(abs, terms)) * Fraction(2) ** -52


@given(numbers)
def test_normal_form(a):
    x = scaled([a])
    assert (x.mantissa[0] == 0 and x.exponent[0] == 0) or 0.5 <= abs(x.mantissa[0]) < 1


@pytest.mark.parametrize("log", [-1e7, -12345.678, -1.0, 0.0, 3.5, 1e7])
def test_from_log_keeps_the_digits_that_a_log_of_this_size_has(log):
    x = Scaled.from_log(np.array([-1.0]), np.array([log]))
    assert x.sign()[0] == -1
    assert x.log2abs()[0] * np.log(2) == pytest.approx(log, rel=1e-15, abs=4e-16)


def test_logarithms_of_zero_and_of_negative_numbers():
    x = Scaled.of(np.array([0.0, -2.0, 4.0]))
    assert x.log2abs().tolist() == [-np.inf, 1.0, 2.0]
    assert np.isneginf(x.log()[0])
    assert np.isnan(x.log()[1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_to_float_says_when_a_number_is_outside_the_range(dtype):
    info = np.finfo(dtype)
    inside = np.array([info.max, info.tiny, 0.0, -info.max], dtype=dtype)
    assert np.array_equal(Scaled.of(inside).to_float(), inside)
    for power in (np.log2(float(info.max)) + 1, np.log2(float(info.tiny)) - 1):
        outside = Scaled.of(np.array([1.0], dtype=dtype), int(np.rint(power)))
        with pytest.raises(RangeError, match=r"1 of 1 numbers outside .*Use log10abs"):
            outside.to_float()


def test_ieee_rounding_on_request():
    x = Scaled.of(np.array([1.0, 1.0, 1.0]), np.array([5000, -5000, -1070]))
    assert x.to_float(out_of_range="ieee").tolist() == [np.inf, 0.0, 2.0**-1070]


def test_range_status_names_the_side():
    x = Scaled.of(np.array([1.0, 1.0, 1.0, np.nan]), np.array([0, 5000, -5000, 0]))
    names = [Status.from_code(code).name for code in x.range_status()]
    assert names == ["OK", "GRADIENT_OVERFLOW", "GRADIENT_UNDERFLOW", "GRADIENT_NAN"]


def test_non_finite_digits_stay_what_they_are():
    x = Scaled.of(np.array([np.inf, -np.inf, np.nan]))
    assert np.array_equal(x.to_float(), np.array([np.inf, -np.inf, np.nan]), equal_nan=True)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and is to stay so
        assert np.isnan((x + Scaled.of(np.ones(3))).mantissa[2])
        assert np.isnan((x - x).mantissa[0])


def test_relative_difference():
    a, b = Scaled.of(np.array([1.0, 0.0]), 9000), Scaled.of(np.array([1.0 + 1e-9, 0.0]), 9000)
    assert a.relative_difference(b)[0] == pytest.approx(1e-9, rel=1e-6)
    assert a.relative_difference(b)[1] == 0.0


def test_integers_are_refused():
    with pytest.raises(ValueError, match="float dtype"):
        Scaled.of(np.array([1, 2]))
