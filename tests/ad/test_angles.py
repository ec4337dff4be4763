"""Angles: derivatives against mpmath over the whole range, edges, unwrapping."""

import mpmath as mp
import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import rng
from tests.ad.exact import assert_derivatives_are_exact, spread

_03 = mp.mpf(0.3)


def sizes(low, high, sign=True):
    return lambda s: spread(s, low, high) * (s.choice([-1.0, 1.0], 8) if sign else 1.0)


def near_1(s):
    return np.concatenate([s.uniform(-1, 1, 6), 1 - spread(s, 1e-9, 0.1), [-1e-9, 1e-9]])


CASES = {
    "tan": (np.tan, mp.tan, lambda s: s.uniform(-1.57, 1.57, 8)),
    "arcsin": (np.arcsin, mp.asin, near_1),
    "arccos": (np.arccos, mp.acos, near_1),
    "arctanh": (np.arctanh, mp.atanh, near_1),
    "arccosh": (np.arccosh, mp.acosh, lambda s: 1 + spread(s, 1e-9, 1e9)),
    "arctan2 of y": (lambda y: np.arctan2(y, 0.3), lambda y: mp.atan2(y, _03), sizes(1e-80, 1e80)),
    "arctan2 of x": (lambda x: np.arctan2(0.3, x), lambda x: mp.atan2(_03, x), sizes(1e-80, 1e80)),
    "arctan2 behind": (lambda y: np.arctan2(y, -0.3), lambda y: mp.atan2(y, -_03), sizes(1e-3, 1e3)),
    "hypot": (lambda x: np.hypot(x, 0.3), lambda x: mp.sqrt(x**2 + _03**2), sizes(1e-80, 1e80)),
    "hypot of the other": (lambda x: np.hypot(-0.3, x), lambda x: mp.sqrt(x**2 + _03**2), sizes(1e-80, 1e80)),
    "sinc": (np.sinc, mp.sincpi, lambda s: np.concatenate([s.uniform(-9, 9, 8), spread(s, 1e-9, 1.0)])),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_mpmath(name, seed):
    function, exact, points = CASES[name]
    assert_derivatives_are_exact(function, exact, points(rng(seed, name)))


def slope(f, x):
    with np.errstate(all="ignore"):
        return float(ad.grad(f)(x))


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (np.arcsin, 1.0, np.inf),
        (np.arccos, -1.0, -np.inf),
        (np.arccosh, 1.0, np.inf),
        (np.arctanh, 1.0, np.inf),
        (np.arcsin, 1.5, np.nan),
        (np.arccos, -1.5, np.nan),
        (np.arccosh, 0.5, np.nan),
        (np.arccosh, -2.0, np.nan),
        (np.arctanh, 2.0, np.nan),
        (np.sinc, 0.0, 0.0),
        (lambda x: np.hypot(x, 0.0), 0.0, np.nan),
        (lambda x: np.arctan2(x, 0.0), 0.0, np.nan),
        (lambda x: np.hypot(x, 1e200), 1e200, np.sqrt(0.5)),
        (lambda x: np.arctan2(x, 1e200), 0.0, 1e-200),
    ],
)
def test_edges_of_domains(f, x, expected):
    assert slope(f, x) == pytest.approx(expected, rel=1e-15, nan_ok=True)


def test_every_derivative_of_sinc_at_0():
    f, expected = np.sinc, [1.0, 0.0, -(np.pi**2) / 3, 0.0, np.pi**4 / 5, 0.0, -(np.pi**6) / 7]
    for right in expected:
        assert float(f(0.0)) == pytest.approx(right, rel=1e-14)
        f = ad.grad(f)


@pytest.mark.parametrize(
    "options", [{}, {"axis": 0}, {"period": 3.0}, {"discont": 4.0, "axis": 1}, {"axis": 0, "period": 1.5}]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_unwrap_takes_the_options_of_numpy(options, seed):
    x = np.cumsum(rng(seed, "unwrap").uniform(0, 3, (5, 6)), axis=-1) % 6.0
    f = lambda v: np.unwrap(v, **options)  # noqa: E731
    assert np.array_equal(ad.vjp(f, x)[0], f(x))
    assert np.array_equal(ad.grad(lambda v: np.sum(v * 0 + f(v) ** 2))(x), 2 * f(x))


def test_the_angle_of_real_numbers_is_constant():
    x = np.array([1.0, -2.0])
    assert ad.grad(lambda v: np.sum(np.angle(v) * v))(x).tolist() == [0.0, np.pi]
