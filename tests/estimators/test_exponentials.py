"""The exp and tanh that compiled loops inline, against NumPy's in more digits."""

import numpy as np
import pytest

from metagrad.xp import rng

pytest.importorskip("numba")

from numba import njit

from metagrad.kernels._exponentials import FAST, exponentials

NAMES = ["float32", "float64"]
_compiled = {}


def along(name, which):
    """Return a compiled loop over an array."""
    if (name, which) not in _compiled:
        one = exponentials(name)[which]

        @njit(fastmath=FAST, error_model="numpy")
        def loop(x, out):
            for m in range(x.size):
                out[m] = one(x[m])

        _compiled[name, which] = loop
    return _compiled[name, which]


def found(name, which, x):
    out = np.empty_like(x)
    along(name, which)(x, out)
    return out


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e-2, 1.0, 8.0, 80.0, 600.0])
@pytest.mark.parametrize("which", [0, 1], ids=["exp", "tanh"])
@pytest.mark.parametrize("name", NAMES)
def test_all_digits(name, which, scale, seed):
    info = np.finfo(name)
    x = (rng(seed, "x").uniform(-1, 1, 4001) * scale).astype(name)
    x = x[(x > np.log(info.tiny)) & (x < np.log(info.max))] if which == 0 else x
    exact = (np.exp, np.tanh)[which](x.astype(np.longdouble))
    off = np.abs(found(name, which, x) - exact) / np.abs(exact)
    assert off.max() <= (1.0, 2.5)[which] * info.eps


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_number_or_out_of_range(name):
    info = np.finfo(name)
    x = np.array([np.inf, -np.inf, np.nan, 0.0, 1e4, -1e4, np.log(info.max) * 0.9999, np.log(info.max) * 1.0001], name)
    low = info.tiny * (1 + 1e4 * info.eps)  # the logarithm of it is rounded
    exp = found(name, 0, x)
    np.testing.assert_array_equal(exp[[0, 2, 3, 4, 7]], [np.inf, np.nan, 1, np.inf, np.inf])
    assert (exp[[1, 5]] >= 0).all()
    assert (exp[[1, 5]] <= low).all()
    assert np.isfinite(exp[6])
    np.testing.assert_array_equal(found(name, 1, x), [1, -1, np.nan, 0, 1, -1, 1, 1])
