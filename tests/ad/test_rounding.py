"""Remainders, limits, and the operators, options and methods of ufuncs."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import rng
from tests.ad.exact import assert_derivatives_are_exact, spread

SIGNS = [(7.3, 2.0), (-7.3, 2.0), (7.3, -2.0), (-7.3, -2.0), (0.5, 3.0), (-0.5, 3.0), (1e17, 3.3), (6.0, 0.1)]


def gradient(f, *args):
    with np.errstate(all="ignore"):
        return [float(g) for g in ad.grad(f, argnums=tuple(range(len(args))))(*args)]


@pytest.mark.parametrize(("x", "y"), SIGNS)
def test_remainders_have_the_derivative_of_x_minus_a_constant_times_y(x, y):
    assert gradient(np.remainder, x, y) == [1.0, -np.floor_divide(x, y)]
    assert gradient(lambda a, b: a % b, x, y) == [1.0, -np.floor_divide(x, y)]
    assert gradient(lambda a, b: divmod(a, b)[1], x, y) == [1.0, -np.floor_divide(x, y)]
    assert gradient(lambda a, b: np.divmod(a, b)[1], x, y) == [1.0, -np.floor_divide(x, y)]
    whole = np.rint((x - np.fmod(x, y)) / y)
    assert gradient(np.fmod, x, y) == [1.0, -whole]


def test_remainders_at_the_edges():
    assert gradient(np.remainder, -5.0, np.inf)[0] == 1.0
    assert gradient(np.fmod, -5.0, np.inf) == [1.0, 0.0]
    assert all(np.isnan(gradient(np.remainder, 5.0, 0.0)))
    assert all(np.isnan(gradient(np.fmod, np.inf, 2.0)))


OPERATORS = {
    "mod": lambda x: x % 0.7 + 5.0 % x + x % np.array([0.7, 0.3, 0.9]) + np.array([5.0, 4.0, 3.0]) % x,
    "floordiv": lambda x: x // 0.7 * x + 5.0 // x * x + np.array([5.0, 4.0, 3.0]) // x * x,
    "divmod": lambda x: divmod(x, 0.7)[1] * divmod(x, 0.7)[0] + divmod(5.0, x)[1] + np.divmod(x, 0.7)[1],
    "list": lambda x: x % [0.7, 0.3, 0.9],
    "modf": lambda x: np.modf(3 * x)[0] * np.modf(3 * x)[1],
    "ldexp": lambda x: np.ldexp(x, np.array([1, -1, 2])) * np.ldexp(x, 2),
    "real": lambda x: np.real(x) * np.conj(x) + np.imag(x) + np.real_if_close(x) * np.conjugate(x),
    "power": lambda x: np.float_power(x, 2) + np.float_power(2.0, x) + np.float_power(x, x),
    "clip": lambda x: np.clip(x, min=0.5) + np.clip(x, max=1.0) + np.clip(x, min=np.array([0.5, 0.1, 1.9]), max=1.6),
    "clip by place": lambda x: np.clip(x, 0.5, None) + np.clip(x, None, 1.0) + x.clip(0.5, 1.5) + x.clip(min=0.6),
    "sorts": lambda x: x * np.isclose(x, 1.0) + x * np.isposinf(x) + x * np.logical_xor(x > 1, x > 0) + x * np.fix(x),
    "spacing": lambda x: x * np.spacing(x) + x * np.isreal(x) + np.nextafter(x, 2.0),
    "casts": lambda x: np.add(x, 1.0, dtype=np.float64) + np.multiply(x, x, where=True, casting="same_kind"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_it_computes_what_numpy_does_and_differentiates(name):
    f, x = OPERATORS[name], np.array([0.31, 1.15, 1.73])
    assert np.array_equal(ad.vjp(f, x)[0], f(x))
    ad.check_gradients(f, (x,), name=name)


def test_a_remainder_in_place_is_another_value():
    def f(x):
        y = x * 1.0
        y %= 0.7
        return np.sum(y * y)

    x = np.array([1.0, 2.0])
    assert np.allclose(ad.grad(f)(x), 2 * (x % 0.7))


NAN = np.nan


@pytest.mark.parametrize(
    ("function", "x", "y", "expected"),
    [
        (np.fmax, 1.0, 2.0, [0.0, 1.0]),
        (np.fmax, 2.0, 2.0, [0.5, 0.5]),
        (np.fmax, NAN, 2.0, [0.0, 1.0]),
        (np.fmax, 2.0, NAN, [1.0, 0.0]),
        (np.fmax, NAN, NAN, [NAN, NAN]),
        (np.fmin, 1.0, 2.0, [1.0, 0.0]),
        (np.fmin, 2.0, 2.0, [0.5, 0.5]),
        (np.fmin, NAN, 2.0, [0.0, 1.0]),
        (np.fmin, 2.0, NAN, [1.0, 0.0]),
        (np.fmin, NAN, NAN, [NAN, NAN]),
        (np.copysign, -3.0, 2.0, [-1.0, 0.0]),
        (np.copysign, -3.0, -0.0, [1.0, 0.0]),
        (np.copysign, 0.0, 2.0, [0.0, 0.0]),
        (np.heaviside, 0.0, 0.3, [0.0, 1.0]),
        (np.heaviside, 1.0, 0.3, [0.0, 0.0]),
        (np.cbrt, -8.0, None, [1 / 12]),
        (np.cbrt, 0.0, None, [np.inf]),
        (lambda x: np.modf(x)[0], -1.25, None, [1.0]),
        (lambda x: np.clip(x, 1.0, 2.0), 1.0, None, [0.5]),
        (lambda x: np.clip(x, min=3.0, max=2.0), 1.0, None, [0.0]),
    ],
)
def test_ties_nan_and_jumps(function, x, y, expected):
    found = gradient(function, x) if y is None else gradient(function, x, y)
    assert np.allclose(found, expected, rtol=1e-15, equal_nan=True)


def test_numbers_in_the_place_of_nan_are_constant():
    x = np.array([1.0, NAN, np.inf, -np.inf])
    for options in ({}, {"nan": 2.0}, {"posinf": 3.0, "neginf": -1.0}, {"copy": False}):
        f = lambda v, options=options: np.nan_to_num(v, **options)  # noqa: E731
        assert np.array_equal(ad.vjp(f, x)[0], np.nan_to_num(x, **(options | {"copy": True})))
        assert ad.vjp(f, x)[1](np.ones(4))[0].tolist() == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", [0, 1])
def test_powers_of_two_are_exact(seed):
    import mpmath as mp

    stream, two = rng(seed, "exp2"), mp.mpf(2)
    assert_derivatives_are_exact(np.exp2, lambda x: two**x, stream.uniform(-400, 400, 8))
    far = lambda y: mp.log(two ** mp.mpf(0.3) + two**y) / mp.log(2)  # noqa: E731
    assert_derivatives_are_exact(lambda y: np.logaddexp2(0.3, y), far, stream.uniform(-300, 300, 8))
    points = spread(stream, 1e-50, 1e50)
    assert_derivatives_are_exact(np.cbrt, mp.cbrt, points)


REDUCED = [
    np.add,
    np.multiply,
    np.maximum,
    np.minimum,
    np.fmax,
    np.fmin,
    np.logaddexp,
    np.logaddexp2,
    np.hypot,
]


@pytest.mark.parametrize("ufunc", REDUCED, ids=lambda u: u.__name__)
@pytest.mark.parametrize("axis", [0, -1, (0, 2), None])
@pytest.mark.parametrize("options", [{}, {"keepdims": True}, {"initial": 0.7}, {"initial": 0.7, "where": True}])
def test_reductions_by_a_ufunc_take_its_options(ufunc, axis, options):
    x = rng(0, ufunc.__name__).uniform(0.5, 2.0, (3, 2, 3))
    f = lambda v: ufunc.reduce(v, axis=axis, **options)  # noqa: E731
    out, _ = ad.vjp(f, x)
    assert np.shape(out) == np.shape(f(x))
    assert np.allclose(out, f(x), rtol=1e-14)
    ad.check_gradients(f, (x,), name=ufunc.__name__)


@pytest.mark.parametrize("ufunc", REDUCED, ids=lambda u: u.__name__)
@pytest.mark.parametrize("axis", [0, (0, 2), None])
def test_reductions_over_some_entries(ufunc, axis):
    x = rng(1, ufunc.__name__).uniform(0.5, 2.0, (3, 2, 3))
    mask = rng(2, ufunc.__name__).uniform(size=x.shape) > 0.4
    mask[0] = True
    limits = (np.maximum, np.fmax, np.minimum, np.fmin)
    initial = {"initial": 0.9} if ufunc in limits else {}
    f = lambda v: ufunc.reduce(v, axis=axis, where=mask, **initial)  # noqa: E731
    out, _ = ad.vjp(f, x)
    assert np.allclose(out, f(x), rtol=1e-14)
    if ufunc is not np.hypot:  # which has none where all is left out
        gradient = ad.grad(lambda v: np.sum(f(v)))(x)
        assert np.all(gradient[~mask] == 0)
    if ufunc in limits:
        with pytest.raises(TypeError, match=r"reduce of a traced value with where=.*initial="):
            ad.vjp(lambda v: ufunc.reduce(v, axis=axis, where=mask), x)


@pytest.mark.parametrize("ufunc", [np.subtract, np.divide, np.power, np.arctan2, np.remainder])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_reductions_without_a_name_go_from_the_left(ufunc, axis):
    x = rng(0, ufunc.__name__).uniform(0.5, 2.0, (2, 3, 2))
    for f in (lambda v: ufunc.reduce(v, axis=axis), lambda v: ufunc.accumulate(v, axis=axis)):
        assert np.allclose(ad.vjp(f, x)[0], f(x), rtol=1e-14)
        if ufunc is not np.remainder:
            ad.check_gradients(f, (x,), name=ufunc.__name__)
    with pytest.raises(ValueError, match="expected one axis"):
        ad.vjp(lambda v: ufunc.reduce(v, axis=(0, 1)), x)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum, np.logaddexp, np.fmax])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_running_reductions(ufunc, axis):
    x = rng(0, ufunc.__name__).standard_normal((3, 4, 2))
    f = lambda v: ufunc.accumulate(v, axis=axis)  # noqa: E731
    assert np.allclose(ad.vjp(f, x)[0], f(x), rtol=1e-14)
    ad.check_gradients(f, (x,), name=ufunc.__name__)


def test_fmax_passes_over_nan():
    x = np.array([[1.0, NAN, 3.0], [NAN, NAN, NAN]])
    out, pullback = ad.vjp(lambda v: np.fmax.reduce(v, axis=1), x)
    assert np.array_equal(out, np.fmax.reduce(x, axis=1), equal_nan=True)
    assert pullback(np.array([2.0, 0.0]))[0].tolist() == [[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]


def test_empty_axes():
    x = np.zeros((0, 2))
    assert ad.grad(lambda v: np.sum(np.hypot.reduce(v, axis=0)))(x).shape == (0, 2)
    assert ad.vjp(lambda v: np.logaddexp.accumulate(v, axis=0), x)[0].shape == (0, 2)
    with pytest.raises(ValueError, match="zero-size array"):
        ad.vjp(lambda v: np.maximum.reduce(v, axis=0), x)
    with pytest.raises(ValueError, match="zero-size array"):
        ad.vjp(lambda v: np.subtract.reduce(v, axis=0), x)


def test_a_dtype_is_that_of_the_operands():
    x = np.array([0.1, 0.2], "float32")
    for f in (
        lambda v: np.add(v, 0.1, dtype=np.float64),
        lambda v: np.multiply(v, v, dtype="float64"),
        lambda v: np.exp(v, dtype=np.float64),
        lambda v: np.add.reduce(v, dtype=np.float64),
        lambda v: np.multiply.outer(v, v, dtype=np.float64),
    ):
        out, pullback = ad.vjp(f, x)
        assert out.dtype == np.float64
        assert np.allclose(out, f(x), rtol=1e-15)
        assert pullback(np.ones_like(out))[0].dtype == np.float32


MASK = np.array([True, False])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: np.divide(x, x, where=MASK),
            r"numpy\.divide with where=.*np\.where\(mask, x / np\.where\(mask, y, 1",
        ),
        (lambda x: np.divide(x, x, where=MASK, out=np.zeros(2)), r"numpy\.divide with where="),
        (
            lambda x: np.log(x, where=x > 0),
            r"numpy\.log with where=.*np\.where\(mask, np\.log\(np\.where\(mask, x, 1\)\)",
        ),
        (lambda x: np.add(x, x, where=MASK), r"numpy\.add with where=.*np\.add\(np\.where\(mask, x, 1\), y\)"),
        (lambda x: np.add.at(np.zeros(3), [0, 1], x), r"numpy\.add\.at writes in place.*@ b"),
        (lambda x: np.add.reduceat(x, [0, 1]), r"numpy\.add\.reduceat cannot be traced.*np\.add\.reduce\(x\[i:j\]\)"),
        (lambda x: np.add(x, x, out=np.zeros(2)), r"Write x = x \+ y for x \+= y"),
        (lambda x: np.ldexp(x, x), r"numpy\.ldexp: the exponent is a traced value.*np\.exp2"),
        (lambda x: np.add(x, 1, dtype=int), r"numpy\.add: dtype is int64; expected a float type"),
        (np.frexp, r"numpy\.frexp cannot be traced.*np\.ldexp"),
        (lambda x: np.bitwise_and(x, 1), r"bitwise_and cannot be traced.*integers"),
    ],
)
def test_what_cannot_be_traced_names_the_remedy(call, message):
    with pytest.raises(TypeError, match=message):
        ad.vjp(call, np.array([1.5, 2.5]))


def test_limits_that_come_twice_are_refused():
    with pytest.raises(ValueError, match="a limit came twice"):
        ad.vjp(lambda x: np.clip(x, 1.0, min=2.0), 1.5)


def test_x_written_over_by_a_remainder_is_told():
    def f(x):
        x %= 0.7
        return x

    with pytest.raises(TypeError, match=r"Write x = x % y"):
        ad.vjp(f, np.ones(2))
