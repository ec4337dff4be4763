"""Programs as one function of machine code: the bits of NumPy's calls, kind by kind; and what cannot be one."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.replay import machine
from metagrad.replay.program import NotReplayable
from metagrad.replay.record import recorded
from metagrad.replay.traced import Traced
from metagrad.replay.whole_table import NotWhole
from metagrad.xp import rng
from tests.replay.wholes import whole_alike, whole_of, whole_steps

pytest.importorskip("numba")
DTYPES = ["float64", "float32"]


def drawn(seed, *shapes, dtype="float64"):
    draw = rng(seed, "whole")
    return tuple(draw.standard_normal(shape).astype(dtype) for shape in shapes)


def wild(seed, *shapes, dtype="float64"):
    """Return arrays with zeros of both signs, infinities and NaN among their entries."""
    draw = rng(seed, "wild")
    found = drawn(seed, *shapes, dtype=dtype)
    for x in found:
        flat = x.reshape(-1)
        at = draw.random(flat.shape) < 0.3
        flat[at] = draw.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, 1e30], at.sum()).astype(dtype)
    return found


def grad(f):
    return lambda x, *more: ad.grad(lambda u: np.sum(f(u, *more)))(x)


# Functions of x (3, 4, 5), y (3, 4, 5), a square stack z (3, 5, 5) and v (3, 4).
MADE = {
    "chain": lambda x, y, z, v: np.maximum(x * 0.3 - y, 0.0) / (1.0 + np.square(y)),
    "exp, log1p, tanh": lambda x, y, z, v: np.log1p(np.exp(-np.abs(x))) + np.tanh(y * 2.0),
    "exp of rows apart": lambda x, y, z, v: np.exp(x[:, 1:3, ::2]) + np.sin(y[:, :2, 2:]),
    "matmul": lambda x, y, z, v: x @ z + y,
    "matmul, turned": lambda x, y, z, v: np.swapaxes(x, 1, 2) @ y,
    "matmul, both turned": lambda x, y, z, v: np.swapaxes(x @ z, 1, 2) @ np.swapaxes(np.swapaxes(y, 1, 2), 2, 1),
    "matmul, spread": lambda x, y, z, v: (x[0] @ z) + (x @ z[1]),
    "matmul of parts": lambda x, y, z, v: x[:, 1:] @ z[:, :, ::2],
    "matmul with a column": lambda x, y, z, v: x @ z[..., :1],
    "matmul with a row": lambda x, y, z, v: x[:, :1] @ z,
    "einsum of the tape": lambda x, y, z, v: ad.jvp(lambda u: np.einsum("bnd,bd->bn", u, y[:, 0]), (x,), (y,)),
    "pullback of einsum": lambda x, y, z, v: grad(lambda u: np.tanh(np.einsum("bnd,bd->bn", x, u)))(y[:, 0]),
    "pullback of a stacked einsum": lambda x, y, z, v: grad(lambda u: np.square(np.einsum("bij,bjk->bik", u, z)))(x),
    "transpose": lambda x, y, z, v: np.transpose(x, (2, 0, 1)) * 2.0,
    "reshape": lambda x, y, z, v: np.reshape(x * y, (3, 20)) + 1.0,
    "new axes": lambda x, y, z, v: x * v[..., None] + np.expand_dims(v, -1),
    "split": lambda x, y, z, v: [part * 2.0 for part in np.split(x, 2, axis=1)],
    "split at places": lambda x, y, z, v: [np.tanh(part) for part in np.split(x, [1, 3], axis=2)],
    "concatenate": lambda x, y, z, v: np.concatenate([x, y * 2.0], axis=1) - 1.0,
    "concatenate turned": lambda x, y, z, v: np.concatenate([x[:, :, :3], np.swapaxes(z, 1, 2)[:, 1:, 1:]], axis=2),
    "stack": lambda x, y, z, v: np.stack([x, y * 2.0], axis=-1) - 1.0,
    "stack in front": lambda x, y, z, v: np.stack([v, v * 2.0, v - 1.0]),
    "pullback of stack": lambda x, y, z, v: grad(lambda u: np.sin(np.stack([u, u * y], axis=1)) * 2.0)(x),
    "roll": lambda x, y, z, v: np.roll(x, 2, axis=1) + np.roll(y, -1, axis=2) + np.roll(x, 9, axis=0),
    "pullback of roll": lambda x, y, z, v: grad(lambda u: np.tanh(np.roll(u, 1, axis=-1)) * y)(x),
    "counts that are constant": lambda x, y, z, v: x * np.arange(5) - np.arange(4)[:, None] / (y + np.arange(1, 6)),
    "sums": lambda x, y, z, v: (np.sum(x), np.sum(x, axis=-1), np.sum(x, axis=(1, 2)), np.sum(x, axis=(0, 1))),
    "sum of rows": lambda x, y, z, v: np.sum(x * y, axis=0) - np.sum(v, axis=0)[:, None],
    "extremes": lambda x, y, z, v: (np.max(x, axis=-1), np.min(x * y, axis=(1, 2)), np.max(y[0]) * 1.0),
    "softmax": lambda x, y, z, v: np.exp(x - np.max(x, axis=-1, keepdims=True)) / np.sum(np.exp(x), axis=-1)[..., None],
    "how many are true": lambda x, y, z, v: np.sum(x > y, axis=-1).astype(x.dtype) * v,
    "truth": lambda x, y, z, v: np.where((x > 0) & ~(y < 0.5), x, y * 2.0),
    "powers": lambda x, y, z, v: x**2 + np.power(np.abs(y), 1.7),
    "powers by Python": lambda x, y, z, v: [x**n for n in (0, 1, 3, 4, -1, -2, 2.0, 1.0)] + [x[:, ::2] ** 3],
    "roots by Python": lambda x, y, z, v: [abs(x) ** n for n in (0.5, 1.5, -0.5, 1.7)] + [abs(y[..., 1:]) ** 0.5],
    "pullback of powers": lambda x, y, z, v: grad(lambda u: (u - y) ** 2 + u**3 + abs(u) ** 1.5)(x),
    "the same twice": lambda x, y, z, v: [x * y, x * y, (y * x) + 0.0],
    "inputs and constants": lambda x, y, z, v: (x, v, np.arange(3.0).astype(x.dtype), x * y, x),
    "views of what is made": lambda x, y, z, v: (made := x * y, made[1], made.T, np.reshape(made, (12, 5))[2:]),
    "views of inputs": lambda x, y, z, v: (x[1:], v.T, x.reshape((12, 5))),
    "flipped": lambda x, y, z, v: x[:, ::-1] * y + np.flip(x, axis=2),
    "numbers without axes": lambda x, y, z, v: (np.sum(x) * 2.0 + 1.0) * v - np.exp(np.sum(v)) * x[:, :, 0],
    "a norm": lambda x, y, z, v: x / np.sqrt(np.sum(np.square(x), axis=(1, 2), keepdims=True) + 1e-8),
    "pullback of a slice": lambda x, y, z, v: grad(lambda u: np.tanh(u[:, 1:3]) * y[:, 1:3])(x),
    "pullback of a row": lambda x, y, z, v: grad(lambda u: np.exp(u[:, 1]))(x),
    "pullback of steps": lambda x, y, z, v: grad(lambda u: np.sin(u[:, ::2, 1::2]) * u[:, 1::2, ::-3])(x),
    "pullback of an axis": lambda x, y, z, v: grad(lambda u: np.exp(u[:, None, 1]) * v[:, :, None])(x),
    "pullback of a split": lambda x, y, z, v: grad(lambda u: np.multiply(*np.split(np.tanh(u), 2, axis=1)))(x),
    "pullback of concatenate": lambda x, y, z, v: grad(lambda u: np.concatenate([u, u * y], axis=2) @ np.ones(10))(x),
    "pullback of matmul": lambda x, y, z, v: grad(lambda u: np.tanh(y @ u))(z),
    "pullback of an extreme": lambda x, y, z, v: grad(lambda u: np.square(np.max(u, axis=-1)))(x),
    "pullback of a network": lambda x, y, z, v: grad(lambda u: np.log1p(np.exp(np.tanh(x @ u) @ u)))(z),
}
# What has no place in one function of machine code, with the name that is given.
NOT_WHOLE = {
    "einsum": lambda x, y, z, v: np.einsum("bnd,bd->bn", x, y[:, 0]),
    "mean": lambda x, y, z, v: np.mean(x > y, axis=-1),
    "reduce": lambda x, y, z, v: np.max(x, axis=1),
    "multiply": lambda x, y, z, v: np.sum(x > y, axis=-1) * 0.5,
    "cumsum": lambda x, y, z, v: np.cumsum(x, axis=1),
    "inv": lambda x, y, z, v: np.linalg.inv(z),
    "getitem": lambda x, y, z, v: v[0, 0] * x,
    "reshape, which copies": lambda x, y, z, v: np.reshape(np.swapaxes(x, 1, 2), (3, 20)),
    "a product with a vector": lambda x, y, z, v: x @ z[0, 0],
    "getitem, which copies": lambda x, y, z, v: grad(lambda u: np.exp(u[:, [0, 2]]))(x),
    "concatenate": lambda x, y, z, v: np.concatenate([x, y], axis=None),
    "an array of float64": lambda x, y, z, v: (x[:0] * 2.0, y * 2.0),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MADE)
def test_the_bits_of_numpy(name, dtype):
    shapes = (3, 4, 5), (3, 4, 5), (3, 5, 5), (3, 4)
    whole_alike(MADE[name], *[make(seed, *shapes, dtype=dtype) for make in (drawn, wild) for seed in range(2)])


@pytest.mark.parametrize("name", NOT_WHOLE)
def test_what_is_not_whole_is_named(name):
    with pytest.raises(NotWhole, match=name):
        whole_of(NOT_WHOLE[name], drawn(0, (3, 4, 5), (3, 4, 5), (3, 5, 5), (3, 4)))


LAID_OUT = {
    "F-ordered": np.asfortranarray,
    "turned": lambda x: np.ascontiguousarray(np.swapaxes(x, 0, 1)).swapaxes(0, 1),
    "with gaps": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "a part": lambda x: np.concatenate([x, x], axis=1)[:, : x.shape[1]],
    "spread": lambda x: np.broadcast_to(x[:1], x.shape),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("laid_out", LAID_OUT.values(), ids=LAID_OUT)
@pytest.mark.parametrize("name", ["chain", "exp, log1p, tanh", "matmul", "transpose", "pullback of steps"])
def test_layouts_of_inputs(name, laid_out, dtype):
    shapes = (3, 4, 5), (3, 4, 5), (3, 5, 5), (3, 4)
    points = [drawn(seed, *shapes, dtype=dtype) for seed in range(2)]
    whole_alike(MADE[name], *[(laid_out(x), y, laid_out(z), v) for x, y, z, v in points])


@pytest.mark.parametrize(
    "shapes", [((1, 1), (1, 1)), ((1, 6), (6, 1)), ((6, 1), (1, 6)), ((5, 33), (33, 17)), ((3, 0), (0, 2))]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_and_odd_products(shapes, dtype):
    """One row, one column, one number; of nothing it is no whole."""

    def f(x, y):
        return np.tanh(x @ y) * 0.5, np.exp(x) + 1.0

    points = [drawn(seed, *shapes, dtype=dtype) for seed in range(2)]
    if 0 in shapes[0]:
        with pytest.raises((NotWhole, NotReplayable)):
            whole_of(f, points[0])
        return
    whole_alike(f, *points)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(3))
def test_numbers_without_axes(seed, dtype):
    """Numbers of NumPy's and arrays of no axes, as inputs and as results."""

    def f(a, b, x):
        rate = np.exp(a) / (1.0 + np.square(b))
        total = np.sum(np.square(x))
        return x * rate - b, rate, np.sqrt(total), np.maximum(a, b), np.tanh(b * a), total**1.5, a**3, b**2, a, -b

    kind = np.dtype(dtype).type
    draw = rng(seed, "numbers")
    points = [
        (kind(draw.standard_normal()), np.array(draw.standard_normal(), dtype), *drawn(seed, (3, 4), dtype=dtype))
    ]
    points += [(kind(n), np.array(m, dtype), points[0][2]) for n, m in ((0.0, -0.0), (-3.0, np.inf), (np.nan, 1.0))]
    whole_alike(f, *points)


@pytest.mark.parametrize("exponent", [2, 3])
def test_powers_of_numbers_are_the_librarys(exponent):
    """A square by the C library is not always the nearest number: a whole has its bits, or there is none."""
    x = 10.0 ** rng(0, "squares").uniform(-6, 6, 3000)
    try:
        whole, _ = whole_of(lambda a: (a**exponent) * 1.0, (x[0],))
    except NotWhole:
        return
    assert [whole(a) for a in x] == [a**exponent for a in x]


def test_counts_and_branches_on_the_time():
    """Each step reads what the parts before it have found: nothing is read too early."""
    (x,) = drawn(0, (3, 4))

    def f(t, count, x):
        more = count + 2 * t - 1
        return x * (0.5 if t == 40 else 1.0), more, x / more, t >= 3

    assert whole_steps(f, *[(t, 3 * t, x + t) for t in range(3, 60)]) == 37
    assert whole_steps(f, *[(t, 2, x - t) for t in range(41, 100)]) == 59


@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_numbers_of_the_time(kind):
    """Python's floats of a count, beside arrays that they do not promote."""
    x = drawn(0, (3, 4))[0].astype(kind)

    def f(t, count, x):
        over = min(1.0, t / 40)
        left, part = 1.0 - over, (t % 7) / 7
        late = 0.25 if over >= 0.5 else 2.0 * left
        wave = np.cos(3.0 * part / 2) ** 2
        return x * left + part, x * late - over, x * wave.astype(x.dtype), t - 0.5 * count, 3

    points = [(t, 2 * t, x + np.asarray(t, kind)) for t in range(1, 20)]
    whole_alike(f, *points)
    assert whole_steps(f, *points) == 19
    assert whole_steps(f, *[(t, 3, x) for t in range(21, 90)]) == 19  # the lesser of two is another one from 40 on


def test_a_remainder_of_what_is_below_zero_is_pythons():
    (x,) = drawn(0, (3, 4))

    def f(t, x):
        return x * 2.0, t % 5

    whole, program = whole_of(f, (7, x))
    assert whole(12, x)[1] == program._run(12, x)[1] == 2
    assert program._run(-3, x)[1] == 2
    assert whole(-3, x) is None


@pytest.mark.parametrize("f", [lambda t, x: (x * 2.0, 7 % t), lambda t, x: (x * (1.0 / t), t)], ids=["%", "/"])
def test_what_may_raise_is_pythons(f):
    (x,) = drawn(0, (3, 4))
    with pytest.raises(NotWhole):
        whole_of(f, (7, x))


def test_integers_that_are_no_floats_are_pythons():
    (x,) = drawn(0, (3, 4))

    def f(t, x):
        return x * (t / 3), t

    whole, program = whole_of(f, (7, x))
    for t in (1 << 52, -(1 << 52), (1 << 53) - 1):
        assert whole(t, x)[0].tobytes() == program._run(t, x)[0].tobytes()
    for t in ((1 << 53) + 1, -(1 << 60)):
        assert whole(t, x) is None


@pytest.mark.parametrize("op", ["+", "-", "*"])
def test_counts_that_are_too_large(op):
    """Python's integers have no largest one: where a word has, the program does not apply."""
    (x,) = drawn(0, (3, 4))
    made = {"+": lambda a, b: a + b, "-": lambda a, b: -1 * a - b, "*": lambda a, b: a * b}[op]

    def f(a, b, x):
        return x * 2.0, made(a, b)

    whole, program = whole_of(f, (2, 3, x))
    for a, b in ((5, 7), (1 << 40, 1 << 20), ((1 << 63) - 3, 2)):
        if op != "*" or a < 1 << 42:
            assert whole(a, b, x)[1] == made(a, b) == program._run(a, b, x)[1]
    assert whole((1 << 63) - 1, (1 << 62), x) is None


def test_a_step_reads_what_the_step_before_wrote():
    """Also where a step is a few numbers, which a compiler may take several at a time."""
    for shape in ((1,), (1, 1), (2, 1)):
        (x,) = drawn(0, shape)
        whole, _ = whole_of(lambda t, x: (x * 0.5 + 1.0, t + 1), (0, x))
        room, count = np.empty((100, *shape)), np.zeros(101, np.int64)
        at, step = room.ctypes.data, x.nbytes
        columns = (count[:-1], None), (count[1:], None)
        rows = np.empty((100, whole.width), np.int64)
        rows[:, 0] = [columns[0][0].ctypes.data + 8 * k for k in range(100)]
        rows[:, 1] = [x.ctypes.data, *[at + step * k for k in range(99)]]
        rows[:, 2] = at + step * np.arange(100)
        rows[:, 3] = [columns[1][0].ctypes.data + 8 * k for k in range(100)]
        assert whole.run(rows, len(rows)) == 100
        assert count.tolist() == list(range(101))
        for found in room:
            x = x * 0.5 + 1.0
            assert np.array_equal(found, x)


def test_looks_for_nan_end_a_stretch():
    x, y = drawn(0, (3, 4), (3, 4))

    def f(x, y):
        Traced.watched(made := np.exp(x) * y)
        Traced.watched(np.tanh(y))
        return np.sum(made, axis=-1), np.maximum(x, y)

    bad, points = x.copy(), [(x + k, y - k) for k in range(9)]
    bad[1, 2] = np.nan
    assert whole_steps(f, *points) == 9
    assert whole_steps(f, *points[:4], (bad, y), *points) == 4
    assert whole_steps(f, *points[:7], (x, bad), *points) == 7
    assert whole_steps(f, (x, bad)) == 0


def test_one_function_serves_all_shapes_of_a_pattern():
    from metagrad.replay import whole_code

    def f(x, z):
        return np.tanh(x @ z) * 0.5 + x

    whole_alike(f, drawn(0, (3, 4, 5), (3, 5, 5)))
    known = set(whole_code.FUNCTIONS)
    whole_alike(f, drawn(1, (3, 7, 6), (3, 6, 6)))
    assert set(whole_code.FUNCTIONS) == known


def test_it_is_what_a_program_becomes():
    """Where NumPy's bits are those of the whole; else it is in chains."""
    from metagrad.replay import replayed
    from metagrad.replay.whole_program import WholeProgram

    x, y, z, v = drawn(0, (3, 4, 5), (3, 4, 5), (3, 5, 5), (3, 4))
    for name, is_whole in (("softmax", True), ("numbers without axes", True), ("einsum", False)):
        program = recorded((MADE | NOT_WHOLE)[name], (x, y, z, v))
        with replayed(compiled="at once"):
            program([x, y, z, v])
        assert (type(program._compiled) is WholeProgram) is is_whole
        assert (program.whole is not None) is is_whole
        with replayed(compiled="never"):
            assert program.whole is None
    assert machine.why_not() is None
