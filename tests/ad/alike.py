"""What a function of arrays gives on traced values and on plain ones: values, dtypes, shapes, warnings and errors."""

import warnings

import numpy as np

from metagrad import ad
from metagrad.xp import rng


def outcome(f, x):
    """Return value and kinds of warnings, or the error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return f(x), {w.category for w in caught}
        except Exception as error:  # whatever NumPy raises
            return error, set()


def traced(f, x):
    return ad.vjp(f, x)[0]


def assert_alike(f, x, ulps=8, warned=True):
    """Compare f on traced values with f on plain ones."""
    expected, expected_warnings = outcome(f, x)
    found, found_warnings = outcome(lambda v: traced(f, v), x)
    if isinstance(expected, Exception):
        assert isinstance(found, (type(expected), TypeError, ValueError)), (found, expected)
        return
    assert not isinstance(found, Exception), (found, expected)
    for x_found, x_expected in zip(ad.leaves(found), ad.leaves(expected), strict=True):
        a, b = np.asarray(x_found), np.asarray(x_expected)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=ulps * np.finfo(a.dtype).eps, atol=0)
    if warned:
        assert found_warnings == expected_warnings


def inputs():
    """Return arrays of every kind by name: dtypes, ties, NaN, infinite, empty, without axes."""
    stream = rng(0, "alike")
    nan = stream.standard_normal((3, 4, 5))
    nan[0, 1, 2] = nan[1, :, 0] = nan[2, 0] = np.nan
    return {
        "float64": stream.standard_normal((3, 4, 5)),
        "float32": stream.standard_normal((3, 4, 5)).astype("float32"),
        "float16": stream.standard_normal((3, 4, 5)).astype("float16"),
        "ties": stream.integers(0, 3, (3, 4, 5)).astype(float),
        "nan": nan,
        "infinite": np.array([[np.inf, 1.0, -np.inf], [0.0, 2.0, np.inf]]),
        "empty": np.zeros((0, 4)),
        "0-d": np.array(1.5),
        "number": 1.5,
    }


AXES = (None, 0, -1, np.int64(0), (0, 1), (-1, 0), (), [0, 1], 5)
