"""Random programs as one function of machine code: forwards, pulled back, and many steps by one call."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import rng
from tests.replay.wholes import whole_alike, whole_steps

pytest.importorskip("numba")

# Of two arrays (B, n, m) of one shape, of a square stack (B, m, m), and of numbers a task, (B,).
CALLS = [
    lambda x, y, z, b, a: x * a + y,
    lambda x, y, z, b, a: x - y * a,
    lambda x, y, z, b, a: np.maximum(x, a) * y,
    lambda x, y, z, b, a: np.where(x > y, y, a) - x,
    lambda x, y, z, b, a: np.sqrt(np.abs(x) + 1.0) / (1.0 + np.square(y)),
    lambda x, y, z, b, a: np.tanh(x @ z),
    lambda x, y, z, b, a: np.tanh(np.swapaxes(np.swapaxes(z, 1, 2) @ np.swapaxes(x, 1, 2), 1, 2)) * y,
    lambda x, y, z, b, a: np.exp(-np.abs(x)) + np.log1p(np.square(y)),
    lambda x, y, z, b, a: np.concatenate([x[:, :1], y[:, 1:] * a], axis=1),
    lambda x, y, z, b, a: np.concatenate([y[:, :, 2:], x[:, :, :2]], axis=2),
    lambda x, y, z, b, a: x * b[:, None, None] + np.sum(y, axis=-1, keepdims=True),
    lambda x, y, z, b, a: x - np.sum(np.square(y), axis=(1, 2))[:, None, None] * 1e-2,
    lambda x, y, z, b, a: x * np.reshape(np.reshape(y, (len(y), -1))[:, ::-1], y.shape),
    lambda x, y, z, b, a: x / (1.0 + np.sum(np.abs(y))),
    lambda x, y, z, b, a: x - np.max(y, axis=-1, keepdims=True),
    lambda x, y, z, b, a: x * np.sum(y > x, axis=(1, 2)).astype(b.dtype)[:, None, None],
    lambda x, y, z, b, a: x[:, ::-1] * np.sin(y),
    lambda x, y, z, b, a: np.minimum(x, np.split(y, len(y), axis=0)[0]) * 0.5,
    lambda x, y, z, b, a: np.sign(x) * y,
    lambda x, y, z, b, a: np.broadcast_to(np.sum(x, axis=1, keepdims=True), x.shape) * a - y,
]


def random_function(draw, length=14):
    """Return a function of x, y (B, n, m), z (B, m, m) and b (B,)."""
    kinds = draw.integers(0, len(CALLS), length)
    picks, numbers = draw.random((length, 2)), draw.choice([0.5, -1.5, 0.1, 1e-3, 2.0], length)

    def f(x, y, z, b):
        values = [x, y]
        for kind, (u, v), number in zip(kinds, picks, numbers, strict=True):
            first, second = values[int(u * len(values))], values[-1 - int(v * min(3, len(values)))]
            values.append(CALLS[kind](first, second, z, b, float(number)))
        return tuple(values[-3:]), np.sum(values[-1] * values[-2], axis=(1, 2)), values[-4][1:]

    return f


def pulled(f):
    """Return what pulls numbers back through f, beside some of what f gives."""

    def g(x, y, z, b):
        found = f(x, y, z, b)
        return ad.grad(lambda u, w: np.sum(f(u, y, w, b)[1]))(x, z), found[1]

    return g


def points(draw, dtype, count=4):
    """Return places: ordinary ones, and one with zeros, infinities and NaN."""
    B, n, m = (int(k) for k in draw.integers((2, 2, 3), (4, 6, 7)))
    shapes = (B, n, m), (B, n, m), (B, m, m), (B,)
    made = [[draw.standard_normal(s) * draw.choice([1.0, 1e-2, 10.0]) for s in shapes] for _ in range(count)]
    for x in made[-1]:
        flat = x.reshape(-1)
        flat[::4] = draw.choice([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-310], flat[::4].shape)
    return [tuple(x.astype(dtype) for x in point) for point in made]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(6))
def test_random_programs(seed, dtype):
    draw = rng(seed, "random wholes")
    f = random_function(draw)
    places = points(draw, dtype)
    whole_alike(f, *places)
    with np.errstate(all="ignore"):
        assert whole_steps(f, *places) == len(places)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(6))
def test_random_pullbacks(seed, dtype):
    draw = rng(seed, "random pullbacks")
    f = pulled(random_function(draw, 8))
    places = points(draw, dtype)
    with np.errstate(all="ignore"):
        whole_alike(f, *places)
        whole_steps(f, *places)
