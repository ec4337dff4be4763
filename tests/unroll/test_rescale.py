"""Moving powers of two: what drifts stays so near 1 that a product of eight is a number, and digits keep their bits."""

import numpy as np
import pytest

from metagrad.scaled import Scaled
from metagrad.unroll.rescale import add_aligned, beside, exponent_limit, normalise, within

DTYPES = (np.float16, np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_of_eight_stays_in_the_range(dtype):
    limit = exponent_limit(dtype)
    assert limit >= 1
    with np.errstate(all="raise"):
        for size in (2.0**limit, 2.0**-limit):
            factors = np.full(8, size, dtype)
            product = dtype(1)
            for factor in factors[:-1]:
                product = dtype(product * factor)
            assert np.isfinite(product)
            assert abs(product) >= np.finfo(dtype).tiny
            if size < 1:  # a product of eight of the smallest is a normal number too
                assert product * factors[-1] >= np.finfo(dtype).smallest_subnormal


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_range_is_used(dtype):
    """Nor is it so narrow that ordinary runs would be rescaled at every step."""
    assert exponent_limit(dtype) >= np.finfo(dtype).maxexp // 8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(3))
def test_what_left_the_range_comes_back_with_its_bits(dtype, seed):
    draw, limit = np.random.default_rng(seed), exponent_limit(dtype)
    powers = np.array([-3 * limit, -limit - 2, 0, limit + 2, 3 * limit])
    powers = np.clip(powers, np.finfo(dtype).minexp + 2, np.finfo(dtype).maxexp - 2)
    digits = draw.uniform(0.5, 1.0, (5, 3)).astype(dtype)
    digits[:, 0] = 0.75
    x = np.ldexp(digits, powers[:, None])
    (moved,), exponent = normalise((x,), np.zeros(5, np.int64), abs(x).max(axis=1), limit)
    assert moved.dtype == dtype
    np.testing.assert_array_equal(np.ldexp(moved.astype(np.float64), exponent[:, None]), x.astype(np.float64))
    assert (np.abs(np.frexp(abs(moved).max(axis=1))[1]) <= limit).all()
    assert exponent[2] == 0
    assert exponent[[0, 4]].all()


@pytest.mark.parametrize("size", [0.0, np.inf, np.nan])
def test_what_has_no_exponent_is_left(size):
    x = np.array([[size], [2.0**900]])
    (moved,), exponent = normalise((x,), np.zeros(2, np.int64), abs(x).max(axis=1), exponent_limit(np.float64))
    np.testing.assert_array_equal(moved[0], x[0])
    assert exponent.tolist() == [0, 901]


@pytest.mark.parametrize("apart", [0, 3, -40, 5000])
def test_sums_of_other_exponents(apart):
    a, b = np.array([[3.0], [0.0]]), np.array([[5.0], [7.0]])
    (total,), exponent = add_aligned((a,), np.array([10, 10]), (b,), np.array([10 + apart, 10 + apart]))
    expected = [3 * 2.0 ** (10 - exponent[0]) + 5 * 2.0 ** (10 + apart - exponent[0])]
    assert total[0, 0] == expected[0]
    assert exponent[0] == 10 + max(apart, 0)
    assert (total[1, 0], exponent[1]) == (7.0, 10 + apart)  # zeros set no exponent


def test_factors_beside_the_exponent_of_an_adjoint():
    limit = exponent_limit(np.float64)
    factors = Scaled(np.array([[0.5, 0.75], [0.5, 0.0], [0.5, 0.75]]), np.array([[0, 7], [3, 0], [-9000, 4 * limit]]))
    for at, expected in (
        ([0, 7], [True, True, True]),
        ([0, -1], [True, True, False]),
        ([-4 * limit - 1, 0], [False] * 2),
    ):
        exponent = np.array(at)
        digits, may = beside(factors, exponent, limit)
        assert may[: len(expected)].tolist() == expected
        for row in np.flatnonzero(may):
            numbers = Scaled(digits[row], exponent)
            same = numbers == Scaled(factors.mantissa[row], factors.exponent[row])
            assert (same | (digits[row] == 0)).all()  # what is far below is nothing
    for far, expected in ((-1021, True), (-1022, False), (-4092, False), (-4093, True)):  # subnormal, or nothing at all
        assert beside(Scaled(np.array([[0.5, 0.5]]), np.array([[far, 0]])), np.array([0, 0]), limit)[1].tolist() == [
            expected
        ]
    digits, may = beside(factors, np.array([1, -1]), limit)
    assert may.tolist() == [True, True, False]
    assert digits[0].tolist() == [0.25, 0.75 * 2.0**8]


def test_sizes_within_the_band():
    assert within(np.array([1.0, 2.0**9]), 10)
    assert not within(np.array([1.0, 2.0**10]), 10)
    assert not within(np.array([2.0**-10, 1.0]), 10)
    assert not within(np.array([1.0, np.nan]), 10)
