"""The same code on arrays that are not NumPy's: the same bits, no mixture, and nothing brought to the host."""

import numpy as np
import pytest
import scipy.special

from metagrad import ad, xp
from metagrad.ad.domains import DOMAINS, as_reals, draw
from metagrad.xp import rng
from tests.ad.device_array import DEVICE, DeviceArray, Scipy
from tests.ad.examples import every_case

# CuPy lacks these, or what their derivatives are made of: refused by name.
NOT_ON_DEVICE = {
    np.i0,
    np.nanpercentile,
    np.nanquantile,
    scipy.special.betaincc,
    scipy.special.i0,
    scipy.special.i0e,
    scipy.special.i1,
    scipy.special.i1e,
    scipy.special.iv,
    scipy.special.ive,
    scipy.special.j0,
    scipy.special.j1,
    scipy.special.jv,
    scipy.special.k0,
    scipy.special.k1,
    scipy.special.kn,
    scipy.special.kv,
    scipy.special.yv,
}


@pytest.fixture(autouse=True)
def _known_namespace(monkeypatch):
    monkeypatch.setitem(xp._NAMESPACES, DeviceArray, DEVICE)
    monkeypatch.setitem(xp._SCIPY, id(DEVICE), Scipy)


def moved(tree):
    if isinstance(tree, tuple):
        return tuple(moved(item) for item in tree)
    return DeviceArray(tree) if isinstance(tree, np.ndarray) else tree


# Functions that CuPy lacks, and that no composition replaces there: refused by name.
def is_float_array(x):
    return isinstance(x, np.ndarray | DeviceArray) and x.dtype.kind == "f"


def outcome(function, args):
    """Return value, gradient, and Hessian product of the sum of squares of a function."""
    where = [i for i, x in enumerate(args) if any(is_float_array(leaf) for leaf in ad.leaves(x))]

    def loss(*values):
        full = list(args)
        for i, value in zip(where, values, strict=True):
            full[i] = value
        out = as_reals(function(*full))
        parts = out if isinstance(out, list | tuple) else [out]
        return sum(np.sum(part * part) for part in parts if getattr(part, "dtype", np.dtype(int)).kind == "f")

    values = tuple(args[i] for i in where)
    gradient = lambda *v: ad.grad(loss, argnums=tuple(range(len(v))))(*v)  # noqa: E731
    tangent = ad.tree_map(lambda x: x * 0.5, values)
    # The value of the traced function: that of the untraced needs a name that CuPy may lack.
    return ad.vjp(loss, *values)[0], gradient(*values), ad.jvp(gradient, values, tangent)[1]


@every_case
def test_every_function_is_the_same_there(function, index):
    args = draw(DOMAINS[function][index], rng(0, function.__name__, index))
    if function in NOT_ON_DEVICE:
        with pytest.raises(TypeError, match="CuPy has no such function"):
            outcome(function, moved(args))
        return
    expected, found = outcome(function, args), outcome(function, moved(args))
    for x, y in zip(ad.leaves(found), ad.leaves(expected), strict=True):
        assert type(x) is DeviceArray
        # CuPy has few of these; there cupy.linalg computes what SciPy's drivers compute here.
        rounding = 1e-11 * np.max(np.abs(y)) if getattr(function, "__module__", "").startswith("scipy.linalg") else 0.0
        assert np.all(np.abs(x.host - y) <= rounding)


def test_indexing_is_the_same_there():
    x, index = rng(0).standard_normal((3, 4)), np.array([0, 2, 2])
    expected = ad.grad(lambda v: np.sum(v[index] ** 2) + np.sum(v[:, None, 1]))(x)
    there = DeviceArray(index)
    found = ad.grad(lambda v: np.sum(v[there] ** 2) + np.sum(v[:, None, 1]))(DeviceArray(x))
    assert np.array_equal(found.host, expected)


def test_either_order_of_operands_works():
    x, y = DeviceArray(np.array([1.0, 2.0])), DeviceArray(np.array([3.0, 4.0]))
    for f in (lambda v: y * v + y / v - (y - v) + y**v, lambda v: v * y + y / v - y + v + y**v):
        f_host = lambda v, f=f: f(v)  # noqa: E731
        assert type(ad.grad(f_host)(x)) is DeviceArray


@pytest.mark.parametrize(
    "f", [lambda v, c: v * c, lambda v, c: c * v, np.maximum, np.matmul, lambda v, c: np.where(c > 1, v, c)]
)
def test_a_mixture_is_refused_and_named(f):
    x, constant = DeviceArray(np.ones(2)), np.ones(2)
    with pytest.raises(TypeError, match=r"argument \d is a (numpy|device) array while argument \d is a"):
        ad.grad(lambda v: f(v, constant))(x)
    with pytest.raises(TypeError, match=r"argument \d is a (numpy|device) array while argument \d is a"):
        ad.grad(lambda v: f(v, x))(constant)
