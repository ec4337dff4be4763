"""Entries at integers, picked and put back, as machine code: the bits of NumPy's calls, layout by layout."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.replay.whole_table import NotWhole
from metagrad.xp import rng
from tests.replay.wholes import whole_alike, whole_of

pytest.importorskip("numba")
X = (3, 4, 5)


def integers(seed, n, *shape):
    return rng(seed, "integers").integers(-n, n, size=shape)


def drawn(seed, *shape, dtype="float64"):
    return rng(seed, "floats").standard_normal(shape).astype(dtype)


def grad(f):
    """The pullback of what a function picks, of the same weights in every run."""
    return lambda x, *more: ad.grad(lambda u: np.sum(np.sin(f(u, *more)) * f(u, *more)))(x)


# What is picked of x (3, 4, 5), and the integers that it takes.
PICKED = {
    "the first axis": (lambda x, i: x[i], [(3, (6,))]),
    "the first axis, twice spread": (lambda x, i: x[i], [(3, (2, 6))]),
    "the last axis": (lambda x, i: x[..., i], [(5, (4,))]),
    "the middle axis": (lambda x, i: x[:, i], [(4, (2, 3))]),
    "the middle axis, of an array turned": (lambda x, i: np.swapaxes(x, 0, 2)[:, i], [(4, (3,))]),
    "two axes": (lambda x, i, j: x[i, j], [(3, (6,)), (4, (6,))]),
    "two axes, spread": (lambda x, i, j: x[:, i, j], [(4, (3, 1)), (5, (4,))]),
    "all axes": (lambda x, i, j, k: x[i, j, k], [(3, (7, 1)), (4, (2,)), (5, (7, 2))]),
    "rows and labels": (lambda x, i: x[np.arange(3)[:, None], np.arange(4), i], [(5, (3, 4))]),
    "a number and labels": (lambda x, i: x[1, i], [(4, (6,))]),
    "an axis that is turned": (lambda x, i: x[i.T], [(3, (2, 4))]),
    "along the last axis": (lambda x, i: np.take_along_axis(x, i, axis=-1), [(5, (3, 4, 2))]),
    "along the first axis": (lambda x, i: np.take_along_axis(x, i, axis=0), [(3, (2, 4, 5))]),
    "along an axis, spread": (lambda x, i: np.take_along_axis(x, i[..., None], axis=-1)[..., 0], [(5, (3, 4))]),
    "along an axis, spread over others": (lambda x, i: np.take_along_axis(x, i, axis=1), [(4, (3, 6, 1))]),
    "taken along an axis": (lambda x, i: np.take(x, i, axis=1), [(4, (2, 3))]),
    "taken of one axis": (lambda x, i: np.take(x[0, 0], i), [(5, (8,))]),
    "taken by a method": (lambda x, i: x.take(i, axis=2), [(5, (2,))]),
    "of truths": (lambda x, i: np.where((x > 0)[i], 1.0, 2.0) * x[i], [(3, (5,))]),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PICKED)
def test_picked_and_put_back(name, dtype):
    f, wanted = PICKED[name]
    points = [
        (drawn(seed, *X, dtype=dtype), *[integers(seed + k, n, *shape) for k, (n, shape) in enumerate(wanted)])
        for seed in range(4)
    ]
    points.append((points[0][0], *[np.zeros_like(i) for i in points[0][1:]]))  # all meet in one place
    whole_alike(f, *points)
    whole_alike(grad(f), *points)


@pytest.mark.parametrize("far", [5, -6, 2**40, -(2**62)])
def test_an_integer_that_is_out_of_range_is_seen(far):
    whole, _ = whole_of(lambda x, i: x[..., i] * 2.0, (drawn(0, *X), np.array([0, 4, -5])))
    x = drawn(1, *X)
    assert whole(x, np.array([1, 2, 3])) is not None
    assert whole(x, np.array([1, far, 3])) is None
    whole, _ = whole_of(grad(lambda x, i: x[..., i] * 2.0), (drawn(0, *X), np.array([0, 4, -5])))
    assert whole(x, np.array([1, far, 3])) is None


def test_how_integers_compare():
    def f(x, i, j):
        return x * (i[..., None] == np.arange(5)) + np.where(i < j, 1.0, 2.0)[..., None] * (j <= 3)[..., None]

    whole_alike(f, *[(drawn(seed, *X), integers(seed, 5, 3, 4), integers(seed + 9, 5, 3, 4)) for seed in range(3)])


@pytest.mark.parametrize(
    "f",
    [
        lambda x, i: x[i, :, i],  # axes that are not side by side go first
        lambda x, i: x[i[0].astype(np.int32)],
        np.take,
        lambda x, i: np.take(x, i, axis=1, mode="wrap"),
        lambda x, i: x[i, 1:],
    ],
)
def test_what_is_no_loop(f):
    with pytest.raises(NotWhole):
        whole_of(f, (drawn(0, *X), np.array([[0, 1], [2, 0]])))
