"""Scaled against exact rational arithmetic, and what it says at the edges of the float range."""

import operator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad import RangeError, Scaled, Status
from metagrad.scaled import ranges

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


COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]
plain = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)


def fraction(pair, origin=0):
    return Fraction(pair[0]) * Fraction(2) ** (pair[1] - origin)


@given(numbers, numbers | mantissas.map(lambda m: (m, 0)), st.sampled_from(COMPARISONS))
def test_comparisons_are_exact(a, b, holds):
    found = holds(scaled([a, b, a]), scaled([b, b, a]))
    x, y = fraction(a), fraction(b)
    assert found.tolist() == [holds(x, y), holds(y, y), holds(x, x)]


@given(mantissas, exponents, st.integers(-2, 2), st.sampled_from(COMPARISONS))
def test_comparisons_of_neighbours_are_exact(m, e, off, holds):
    near = np.nextafter(m, np.inf) * 2.0**off
    x, y = Fraction(m), Fraction(float(near))
    assert holds(scaled([(m, e)]), scaled([(near, e)])).tolist() == [holds(x, y)]


@given(numbers, plain, st.sampled_from(COMPARISONS))
def test_comparisons_with_numbers_on_either_side(a, c, holds):
    s, x = scaled([a]), fraction(a)
    assert holds(s, c).tolist() == holds(s, np.float64(c)).tolist() == [holds(x, Fraction(c))]
    assert holds(c, s).tolist() == holds(np.float64(c), s).tolist() == [holds(Fraction(c), x)]
    assert holds(np.array([c, c], dtype=float), s).tolist() == [holds(Fraction(c), x)] * 2


def test_nan_compares_false_and_infinities_are_the_ends():
    s = Scaled.of(np.array([np.nan, np.inf, -np.inf]))
    for holds in COMPARISONS:
        expected = [holds(x, 1.0) for x in (np.nan, np.inf, -np.inf)]
        assert holds(s, Scaled.of(np.ones(1), 10**6)).tolist() == expected
        assert holds(s, s).tolist() == [holds(x, x) for x in (np.nan, np.inf, -np.inf)]
    assert (Scaled(np.array([0.25]), np.array([3])) == 2.0).tolist() == [True]  # of digits that are not normal
    assert (s == "text") is False
    assert (s != None) is True  # noqa: E711


@given(numbers, plain.filter(lambda c: c == 0 or abs(c) > 1e-300))
def test_arithmetic_with_numbers_on_either_side(a, c):
    s, x, c_exact = scaled([a]), fraction(a), Fraction(c)
    pairs = [
        (s * c, x * c_exact),
        (c * s, x * c_exact),
        (s + c, x + c_exact),
        (c - s, c_exact - x),
        (s - c, x - c_exact),
    ]
    pairs += [(s / c, x / c_exact)] if c else []
    pairs += [(c / s, c_exact / x)] if x else []
    for found, expected in pairs:
        error = abs(fraction((float(found.mantissa[0]), int(found.exponent[0]))) - expected)
        assert error <= max(abs(expected), abs(x), abs(c_exact)) * Fraction(2) ** -51
        if found.mantissa[0] != 0 and expected and not isinstance(c, int):
            assert found.dtype == np.float64
    for one in (np.float64(c), np.array([float(c)])):
        for operation in (operator.add, operator.sub, operator.mul):
            both = operation(one, s), operation(float(c), s)
            assert (both[0] == both[1]).all()
            assert (operation(s, one) == operation(s, float(c))).all()


@given(numbers.filter(lambda pair: pair[0] != 0), st.integers(-3000, 3000))
def test_integer_powers(a, n):
    found, m = scaled([a]) ** n, Fraction(a[0])
    exact_power = m**n
    error = abs(fraction((float(found.mantissa[0]), int(found.exponent[0])), a[1] * n) - exact_power)
    assert error <= 8 * abs(exact_power) * Fraction(2) ** -52


def test_powers_at_the_edges():
    s = Scaled.of(np.array([0.0, -2.0, np.inf, np.nan]), 0)
    assert (s**0 == 1).all()
    assert (s**3).to_float(out_of_range="ieee").tolist()[:3] == [0.0, -8.0, np.inf]
    with np.errstate(divide="ignore"):
        assert (s**-1).to_float().tolist()[:3] == [np.inf, -0.5, 0.0]
    narrow = Scaled.of(np.array([0.75], "float16")) ** 100_000
    assert narrow.dtype == np.float16
    assert narrow.log2abs()[0] == pytest.approx(100_000 * np.log2(0.75), rel=1e-3)
    root = Scaled.of(np.array([0.0, 2.0, 1e-300]), 801) ** 0.5
    assert (root * root).log2abs() == pytest.approx([-np.inf, 802.0, 801 + np.log2(1e-300)])
    with pytest.raises(TypeError, match="unsupported operand"):
        s ** "half"
    with pytest.raises(ValueError, match="Scaled: the power is 4294967296; expected an integer of size below"):
        s ** (2**32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_python_numbers_take_the_dtype_of_the_digits(dtype):
    s = Scaled.of(np.ones(2, dtype), 9000)
    for found in (2 * s, s / 3.0, 1e300 * s, s + 1, 1 - s, abs(-s), s**2, s + np.ones(2, dtype), True * s):
        assert found.dtype == dtype
    assert (np.float64(2) * s).dtype == (s * np.ones(2)).dtype == np.float64
    assert (1e300 * s).log10abs() == pytest.approx(300 + 9000 * np.log10(2), rel=1e-4)


def test_one_number_is_a_float_and_a_truth_many_are_not():
    assert float(Scaled.of(np.array([[3.0]]))) == 3.0
    assert float(Scaled.of(np.array(3.0, "float16"), 100)) == 3.0 * 2.0**100
    for far in (5000, -5000, -1070):
        with pytest.raises(RangeError, match=r"Scaled.to_float: 1 of 1 numbers outside float64"):
            float(Scaled.of(np.array(1.0), far))
    assert bool(Scaled.of(np.array([1.0]), -5000))
    assert not Scaled.of(np.array(0.0))
    for shape in ((2,), (0,)):
        with pytest.raises(TypeError, match=r"float: a Scaled is of shape \(\d,\); expected one number"):
            float(Scaled.of(np.ones(shape)))
        with pytest.raises(ValueError, match=r"bool: a Scaled is of shape \(\d,\); expected one number"):
            bool(Scaled.of(np.ones(shape)))


def test_it_is_a_sequence_of_its_first_axis():
    s = Scaled.of(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), 5000)
    assert len(s) == 3
    assert [row.shape for row in s] == [(2,)] * 3
    assert (sum(s) == Scaled.of(np.array([9.0, 12.0]), 5000)).all()
    assert (s[1:, 0] == Scaled.of(np.array([3.0, 5.0]), 5000)).all()
    for f in (len, list):
        with pytest.raises(TypeError, match="len: a Scaled is one number"):
            f(Scaled.of(np.array(1.0)))


def test_it_becomes_no_array_and_no_key_unseen():
    s = Scaled.of(np.ones(2), 5000)
    for f in (np.asarray, np.array, lambda x: np.array([x, x])):
        with pytest.raises(TypeError, match=r"np.asarray: its argument is a Scaled; .* Use to_float\(\), log10abs"):
            f(s)
    assert (np.add(np.ones(2), s) == s + 1).all()
    with pytest.raises(TypeError, match="unhashable"):
        hash(s)
    for other in ("a", None, [1.0, 2.0], 1j, np.ones(2, complex)):
        with pytest.raises(TypeError):
            s * other
    with pytest.raises(ValueError, match="the other operand is an integer beyond float64"):
        s * 10**400


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("exponent", [0, 3, np.zeros(6, np.int64), np.arange(6), np.zeros((4, 6), np.int64)], ids=str)
def test_exponents_of_numbers_without_one(exponent, dtype, monkeypatch):
    """Zero, inf and NaN have exponent 0, whatever the C library's frexp says of them."""
    x = np.array([0.0, -0.0, np.inf, np.nan, 1.5, -3.0], dtype)
    for number in (x, x[4], np.array(x[2])):
        one = exponent if np.ndim(number) else int(np.max(exponent))
        usual = Scaled.of(number, one)
        with monkeypatch.context() as patched:
            patched.setattr(ranges, "_FREXP_GIVES_0", False)
            careful = Scaled.of(number, one)
        assert usual.shape == careful.shape
        assert usual.exponent.dtype == careful.exponent.dtype == np.int64
        assert np.array_equal(usual.exponent, careful.exponent)
        assert np.array_equal(usual.mantissa, careful.mantissa, equal_nan=True)
    assert (Scaled.of(x, exponent).exponent[..., :4] == 0).all()
