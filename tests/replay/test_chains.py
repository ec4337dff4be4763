"""Chains of cheap calls, compiled: the bits of NumPy's program, whatever the shapes, dtypes and numbers."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.replay import agree, compiled, machine, replayed
from metagrad.replay.bits import same_bits
from metagrad.replay.buffers import placed
from metagrad.replay.chains import grouped
from metagrad.replay.cheap import cheap
from metagrad.replay.compiled import Plan
from metagrad.replay.functions import spread
from metagrad.replay.program import Graph
from metagrad.replay.record import Program, Recording, recorded
from metagrad.xp import rng
from tests.replay.runs import both, logistic
from tests.replay.test_runs import RULES

pytest.importorskip("numba")
DTYPES = ["float64", "float32"]


def compiled_alike(f, *points, is_compiled=True):
    """Assert that the compiled program of a function gives NumPy's bits, at the first point and at others."""
    with np.errstate(all="ignore"):
        program = recorded(f, points[0])
        with replayed(compiled="at once"):
            program(ad.leaves(points[0]))
        assert program.is_compiled == is_compiled, program.why_not_compiled
        for point in points:
            flat = ad.leaves(point)
            with replayed(compiled="never"):
                expected = program(flat)
            with replayed(compiled="at once"):
                assert same_bits(program(flat), expected, any_nan=True)
            assert same_bits(expected, f(*point), any_nan=True)
    return program


BINARY = [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum]
BINARY += [np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal]
UNARY = [np.negative, np.absolute, np.fabs, np.sign, np.square, np.sqrt, np.reciprocal, np.positive]
UNARY += [np.floor, np.ceil, np.rint, np.trunc, np.isnan, np.isinf, np.isfinite, np.logical_not]
TRUTH = [np.logical_and, np.logical_or, np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor]


def pairs(dtype):
    x = agree.special(np.dtype(dtype).str[1:])
    first, second = (a.ravel() for a in np.meshgrid(x, x, indexing="ij"))
    return np.ascontiguousarray(first), np.ascontiguousarray(second)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", BINARY, ids=lambda f: f.__name__)
def test_operations_of_two(op, dtype):
    """Arrays, an operand that is spread, numbers of Python's and NumPy's, and two numbers."""
    x, y = pairs(dtype)

    def f(x, y, a):
        wide, column = x.reshape(-1, 35), y[:34].reshape(-1, 1)
        parts = [op(x, y), op(y, x), op(x, 0.0), op(-0.0, x), op(x, 1.5), op(wide, column), op(column, wide)]
        return (*parts, op(x, a), op(a, x), op(a, a), op(x[3:20], y[3:20]), op(x[::2], y[1::2]), op(wide.T, wide.T))

    x, y = x[: 35 * 34], y[: 35 * 34]
    a, zero = np.array(0.1, dtype)[()], np.array(-0.0, dtype)[()]
    compiled_alike(f, (x, y, a), (y, x, zero))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", UNARY, ids=lambda f: f.__name__)
def test_operations_of_one(op, dtype):
    x, y = pairs(dtype)

    def f(x, y):
        return op(x), op(x[3:20]), op(x[1::3]), op(y * 2.0), np.where(x < y, op(x), op(y)), op(x[:1]), op(x[0] + y[0])

    compiled_alike(f, (x, y), (y, x))


@pytest.mark.parametrize("op", TRUTH, ids=lambda f: f.__name__)
def test_truth(op):
    x, y = pairs("float64")

    def f(x, y):
        return op(x < y, x == 0.0), ~(x < y), op(np.isnan(x), y > x), np.logical_and(x, y), (x < y) == (x > 0.0)

    compiled_alike(f, (x, y), (y, x))


def test_nothing_is_contracted():
    """a b - fl(a b) is 0, and not what a fused multiply-add would leave."""
    for dtype in DTYPES:
        a, b = rng(0, "fma").standard_normal((2, 1000)).astype(dtype)
        program = compiled_alike(lambda a, b, c: (a * b - c, a * b + c, c - b * a), (a, b, a * b))
        assert not program([a, b, a * b])[0].any()
        assert program.calls == 4


@pytest.mark.parametrize("number", [2.0, 3, np.float32(1.1), np.float64(1.1), True, -0.0, np.inf, np.nan])
def test_numbers_and_the_dtypes_they_ask_for(number):
    """Python's numbers are weak, NumPy's are not: float32 times np.float64 is float64, as NumPy has it."""
    x, y = pairs("float32")

    def f(x, y, t):
        z = x * number + t
        return z, np.where(x > t, number, y), np.maximum(z, number), (z * t, z < number, x * 1.5 + y)

    for t in (3, 0.1, np.float64(0.1), np.float32(0.1), np.array(0.1), np.array(0.1, "float32")):
        compiled_alike(f, (x, y, t), (y, x, t))


def test_casts():
    x, y = pairs("float64")

    def f(x, y):
        low = x.astype(np.float32)
        return low, low * y, (low + low).astype(np.float64) + y, (x > y) * y, (x > y).astype(np.float32) - low

    compiled_alike(f, (x, y), (y, x))


def test_copies_and_spread_results():
    x = rng(0, "x").standard_normal((4, 5))

    def f(x, y):
        return np.copy(x) + 1.0, (x * 2.0).copy(), x.T.copy() * 2.0, np.square(x.T), spread(y * 2.0, (4, 5)), x + y * y

    compiled_alike(f, (x, x[:, :1].copy()))
    compiled_alike(f, (np.asfortranarray(x), x[:, :1].copy()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(300,), (1, 1000), (5, 1), (3, 7), (7, 200), (2, 3, 50), (4, 1, 9), (40, 6, 3)])
def test_sums_are_in_the_order_of_numpy(shape, dtype):
    """Of all, along the last axes, of rows and of blocks of rows, of what the chain makes and of what it is given."""
    draw = rng(0, "sums", *shape)

    def f(x):
        y = x * 1.5 - 0.25
        axes = [None, -1, 0, tuple(range(len(shape))), *([1, (0, 1), (1, 2)] if len(shape) > 2 else [])]
        found = [np.sum(z, axis=axis, keepdims=keep) for z in (x, y) for axis in axes for keep in (False, True)]
        return [*found, y - np.mean(y, axis=-1, keepdims=True), np.sum(y) * 2.0 + np.sum(x.T, axis=0), x.T.sum()]

    def point():
        x = draw.standard_normal(shape) * 10.0 ** draw.uniform(-3, 3, shape)
        x[draw.random(shape) < 0.1] = -0.0
        return (x.astype(dtype),)

    rows = point()
    rows[0][..., :1] = np.inf
    compiled_alike(f, point(), point(), rows, (np.full(shape, -0.0, dtype),))


@pytest.mark.parametrize("seed", range(3))
def test_looks_for_nan_in_sums(seed):
    x = rng(seed, "x").standard_normal((6, 5))

    def f(x, y):
        made = np.exp(x)
        made.watched()  # the chain sums it, and has it in no register
        parts = [np.sum(made, axis=i) for i in (0, 1, None)]
        for part in parts:
            part.watched()
        return [part * 2.0 for part in parts], np.sum(x * y, axis=0) * 2.0

    program = recorded(f, (x, x))
    with replayed(compiled="at once"), np.errstate(all="ignore"):
        assert program([x, x]) is not None
        assert program.is_compiled
        for entry in ((0, 0), (5, 4), (2, 3)):
            y = x.copy()
            y[entry] = np.nan
            assert program([y, x]) is None
            assert program([x, y]) is not None
        big = np.where(x > 0, np.inf, x)
        assert program([big, x]) is not None


SHAPES = [(), (1,), (5,), (4, 1), (1, 5), (4, 5), (3, 4, 5), (3, 1, 1), (3, 1, 5), (1, 1)]


CALLS = [
    lambda x, y, z, a: x + y,
    lambda x, y, z, a: x - y * z,
    lambda x, y, z, a: np.maximum(x, a) * y,
    lambda x, y, z, a: np.where(x > y, z, a),
    lambda x, y, z, a: np.sqrt(np.abs(x)) / (1.0 + np.square(y)),
    lambda x, y, z, a: np.sign(x) * np.minimum(y, z),
    lambda x, y, z, a: np.tanh(x) - a,
    lambda x, y, z, a: x - x.mean(axis=-1, keepdims=True) if x.ndim else x * a,
    lambda x, y, z, a: np.sum(np.square(x)) * 1e-3,
    lambda x, y, z, a: (x * a).T if x.ndim > 1 else -x,
    lambda x, y, z, a: np.where((x <= y) & ~np.isnan(z), x, y),
    lambda x, y, z, a: np.swapaxes(x, -1, -2) @ x if x.ndim == 2 and x.shape[0] > 1 else x / 3.0,
]


def random_function(draw):
    """Return a function of arrays: a random program of cheap calls, with others in between."""
    kinds = draw.integers(0, len(CALLS), 40)
    picks = draw.random((40, 3))
    numbers = draw.choice([0.0, 1.0, -2.5, 0.1, 1e-3, 3.0], 40)

    def f(*inputs):
        values = list(inputs)

        def pick(u):
            return values[int(u * len(values))]

        for kind, (u, v, w), number in zip(kinds, picks, numbers, strict=True):
            made = CALLS[kind](pick(u), pick(v), pick(w), float(number))
            if made.ndim <= 3 and made.size <= 600 and _fits(made, values):
                values.append(np.tanh(made) if kind in (0, 1) and number > 1.0 else made)
        return tuple(values[len(inputs) :][-12:])

    return f


def _fits(x, values):
    """Whether a value can be computed with all others."""
    try:
        np.broadcast_shapes(x.shape, *[v.shape for v in values])
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seed", range(24))
def test_random_programs(seed):
    draw = rng(seed, "chains")
    f = random_function(draw)
    shapes = [SHAPES[i] for i in draw.choice(len(SHAPES), 5)]
    dtypes = ["float64", "float32"] if seed % 3 == 0 else [DTYPES[seed % 2]] * 2

    def point():
        xs = [draw.standard_normal(shape) * draw.choice([1.0, 1e-3, 30.0]) for shape in shapes]
        for x in xs[1:]:
            if np.ndim(x):
                x[draw.random(x.shape) < 0.15] = draw.choice([0.0, -0.0, 1.0])
        return tuple(np.asarray(x).astype(dtypes[i % 2]) for i, x in enumerate(xs))

    wild = point()
    for x in wild:
        if x.ndim:
            x.reshape(-1)[::4] = draw.choice([np.inf, -np.inf, np.nan, 0.0, 1e-310], x.reshape(-1)[::4].shape)
    compiled_alike(f, point(), point(), wild)


@pytest.mark.parametrize("shapes", [((2, 3), (2, 1)), ((7, 40), (7, 1)), ((1, 9), (1, 1)), ((6, 1), (6, 1))])
def test_one_kernel_serves_all_shapes_of_a_pattern(shapes):
    def f(x, y):
        return np.maximum(x * 0.7 - y, 0.3) + x

    x, y = (rng(0, "x").standard_normal(shape) for shape in shapes)
    compiled_alike(f, (x, y))
    known = set(machine.FUNCTIONS)
    wide, column = rng(1, "x").standard_normal((7, 40)), rng(2, "x").standard_normal((7, 1))
    compiled_alike(f, (wide, column))
    later = set(machine.FUNCTIONS)
    compiled_alike(lambda x, y: np.maximum(x * 0.9 - y, 0.1) + x, (wide[:5, :9].copy(), column[:5].copy()))
    assert set(machine.FUNCTIONS) == later
    assert len(later - known) <= 1


def test_chains_lie_between_the_other_calls():
    """As few as follow upon one another; a cheap call belongs to the chain that reads it."""
    graph = Graph()
    x, y = (graph.input(rng(seed, "x").standard_normal((4, 5))) for seed in range(2))

    def call(function, *args):
        return graph.call(function, args, {})

    mask = call(np.greater, x, y)
    e = call(np.exp, call(np.negative, x))
    end = call(np.where, mask, call(np.multiply, e, 2.0), y)
    other = call(np.exp, call(np.multiply, y, 3.0))
    last = call(np.add, end, other)
    calls = {v.number: found for v in graph.values if (found := cheap(v)) is not None}
    units = grouped(graph.values, [last], [], calls)
    assert [unit.is_chain for unit in units] == [True, False, False, True]
    assert mask in units[-1].values
    assert units[-1].stored == (last,)
    assert len(units[0].stored) == 2
    assert len(placed(units, [last], 0).arrays) == 4


@pytest.mark.parametrize("seed", range(6))
def test_what_a_chain_writes_overlaps_nothing_that_it_reads(seed):
    draw = rng(seed, "memory")
    xs = tuple(draw.standard_normal((4, 5)) for _ in range(4))
    part = Recording(xs).of(random_function(draw), 4)
    plan = Plan(compiled.Recipe(part.inputs, part.values, part.outputs, part.tree, [], []))
    buffers = plan.buffers
    for unit in plan.units:
        own = [buffers.arrays[v.number] for v in unit.stored if v.number in buffers.arrays]
        reads = [x.number for v in unit.values for x in v.operands() if x not in unit.values]
        others = [buffers.arrays[number] for number in reads if number in buffers.arrays]
        if unit.is_chain:
            assert not any(np.shares_memory(a, b) for a in own for b in others)
        assert not any(np.shares_memory(a, b) for i, a in enumerate(own) for b in own[i + 1 :])


def watched_program(x):
    def f(x, y):
        made = x * y + 1.0
        made.watched()
        total = np.sum(made * y)
        total.watched()
        product = x @ y.T
        product.watched()
        return made * 2.0, product * 0.5 + 1.0, total - 1.0

    return recorded(f, (x, x))


def test_looks_for_nan_are_made_in_the_chains():
    x = rng(0, "x").standard_normal((5, 5))
    program = watched_program(x)
    with replayed(compiled="at once"):
        assert program([x, x]) is not None
        assert program.is_compiled
        assert "look(" not in program.source.partition("#")[0]
        for where in ((0, 0), (4, 4), (2, 3)):
            for bad in ((np.nan, 1.0), (1.0, np.nan), (np.inf, 0.0)):
                a, b = x.copy(), x.copy()
                a[where], b[where] = bad
                with np.errstate(invalid="ignore"):
                    assert program([a, b]) is None
        assert program([x, x]) is not None


def test_guards_hold_in_compiled_programs():
    def f(t, x):
        return np.abs(x * 2.0) + 1.0 if t + 1 > 3 else np.sqrt(x)

    x = rng(0, "x").standard_normal(40)
    program = compiled_alike(f, (5, x), (7, x))
    with replayed(compiled="at once"):
        assert program([1, x]) is None


def test_what_is_returned_is_the_callers():
    x = rng(0, "x").standard_normal((8, 9))
    program = compiled_alike(lambda x: (x * 2.0 + 1.0, np.exp(x * 3.0) - 1.0, (x - 1.0)[2], np.sum(x * x) * 2.0), (x,))
    with replayed(compiled="at once"):
        first = program([x])
        kept = [np.array(part) for part in first]
        program([x + 1.0])
        assert same_bits(list(map(np.asarray, first)), kept)


def watch_switches(monkeypatch):
    """Return a list that what becomes of programs is added to."""
    seen, settle = [], Program._settle

    def noted(self, switched):
        settle(self, switched)
        seen.append(self.why_not_compiled)

    monkeypatch.setattr(Program, "_settle", noted)
    return seen


SHIPPED = [(rule, eta, "float64") for rule, eta in RULES]
SHIPPED += [(rule, eta, "float32") for rule, eta in RULES if type(rule) in (mg.GradientDescent, mg.Adam, mg.Lion)]


@pytest.mark.parametrize(("rule", "eta", "dtype"), SHIPPED, ids=[f"{type(x).__name__}-{z}" for x, _, z in SHIPPED])
def test_shipped_rules(rule, eta, dtype, monkeypatch):
    seen = watch_switches(monkeypatch)
    with replayed(compiled="at once"):
        both(logistic(dtype=dtype), rule, rule.Phi(eta))
    assert len(seen) >= 4
    assert set(seen) <= {None, "it has few calls to join"}


@pytest.mark.parametrize("eta", [1e-3, 30.0, 1e4])
def test_explosion_and_vanishing(eta):
    task = mg.FunctionTask(
        lambda w: np.sum(np.array([1.0, 0.3]) * w * w, axis=-1), w0=np.ones((3, 2)) * [[1.0], [2.0], [1e-3]], degree=2
    )
    with replayed(compiled="at once"):
        both(task, mg.Momentum(), mg.Momentum.Phi(eta), steps=300, objective=mg.LogFinal())


def test_a_network_and_a_measure(monkeypatch):
    seen = watch_switches(monkeypatch)
    draw = rng(1, "net")
    x, y = draw.standard_normal((16, 3)), draw.standard_normal(16)
    w0 = {"last": draw.standard_normal((2, 5)), "first": (draw.standard_normal((2, 3, 5)), np.zeros((2, 5)))}

    def loss(w):
        hidden = np.maximum(np.matmul(x, w["first"][0]) + w["first"][1][:, None], 0.0)
        return np.mean(((hidden * w["last"][:, None]).sum(axis=-1) - y) ** 2, axis=-1)

    with replayed(compiled="at once"):
        both(mg.FunctionTask(loss, w0=w0), mg.Adam(), mg.Adam.Phi(0.05), objective=mg.MeanLog())
    assert seen.count(None) >= 4
