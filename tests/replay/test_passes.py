"""Each pass of the compiler by itself, and what may go wrong with memory that is shared."""

import operator

import numpy as np
import pytest

from metagrad.replay.bits import same_bits
from metagrad.replay.buffers import allocated, last_uses, roots_of
from metagrad.replay.dead import needed
from metagrad.replay.functions import spread
from metagrad.replay.program import Graph, NotReplayable
from metagrad.replay.record import recorded
from metagrad.replay.schedule import scheduled
from metagrad.replay.simplify import simplified

LARGE = np.linspace(-1.0, 1.0, 64 * 32).reshape(64, 32)  # more than what NumPy keeps at hand


def chain(graph, value, *functions):
    for function in functions:
        value = graph.call(function, (value,), {})
    return value


def test_common_subexpressions_are_one_value():
    graph = Graph()
    x, y = graph.input(LARGE), graph.input(LARGE + 1)
    assert graph.call(np.add, (x, y), {}) is graph.call(operator.add, (y, x), {})
    assert graph.call(np.subtract, (x, y), {}) is not graph.call(np.subtract, (y, x), {})
    assert graph.call(np.multiply, (x, 2.0), {}) is not graph.call(np.multiply, (x, 2), {})
    assert graph.call(np.multiply, (x, 0.0), {}) is not graph.call(np.multiply, (x, -0.0), {})
    assert graph.call(np.add.reduce, (x, 0), {}) is not graph.call(np.add.reduce, (x, 1), {})
    assert graph.call(operator.pow, (x, 2), {}) is graph.call(np.square, (x,), {})


def test_constants_are_told_by_their_content_and_layout():
    graph = Graph()
    a, same, turned = LARGE[:2, :2].copy(), LARGE[:2, :2].copy(), np.asfortranarray(LARGE[:2, :2])
    assert graph.constant(a) is graph.constant(same)
    assert graph.constant(a) is graph.constant(a)
    assert graph.constant(a) is not graph.constant(turned)  # sums are in another order
    assert graph.constant(a) is not graph.constant(a.astype(np.float32))
    assert graph.call(np.add, (graph.constant(a), 1.0), {}).is_constant


def test_dead_code():
    graph = Graph()
    x = graph.input(LARGE)
    used = chain(graph, x, np.exp, np.negative)
    chain(graph, x, np.sin, np.cos)
    assert [v.function for v in needed(graph.values, [used])] == [None, np.exp, np.negative]


def test_copies_and_spread_operands_are_left_out():
    graph = Graph()
    x, g = graph.input(LARGE), graph.input(LARGE[:, :1].copy())
    wide = graph.call(spread, (g, LARGE.shape), {})
    product = graph.call(np.multiply, (graph.call(np.copy, (x,), {}), wide), {})
    alone = graph.call(np.exp, (wide,), {})  # its shape is that of the spread operand
    simplified(graph.values)
    assert product.args == (x, g)
    assert alone.args == (wide,)
    turned = Graph()
    x, g = turned.input(np.asfortranarray(LARGE)), turned.input(LARGE[:, :1].copy())
    wide = turned.call(spread, (g, LARGE.shape), {})
    product = turned.call(np.multiply, (x, wide), {})
    simplified(turned.values)
    assert product.args == (x, wide)  # the result would lie in memory in another way


def test_views_that_leave_the_entries_in_their_order_are_one():
    graph = Graph()
    x = graph.input(LARGE)
    made = chain(graph, x, np.exp)
    first = graph.call(np.reshape, (made, (64, 4, 8)), {})
    same = graph.call(np.transpose, (first, (0, 1, 2)), {})
    last = graph.call(np.expand_dims, (graph.call(np.reshape, (same, (-1,)), {}), 0), {})
    turned = graph.call(np.reshape, (graph.call(np.transpose, (made,), {}), (64, 32)), {})  # another order: a copy
    back = graph.call(np.reshape, (last, LARGE.shape), {})
    instead = simplified(graph.values)
    assert instead[same.number] is first
    assert last.args == (made, (1, LARGE.size))
    assert turned.args[0].function is np.transpose
    assert instead[back.number] is made

    def f(x):
        y = np.exp(x).reshape(64, 4, 8)
        parts = y.transpose(0, 1, 2).reshape(-1)[None], y.transpose(2, 0, 1).reshape(32, 64), y.reshape(64, 32).T
        return [part * 2.0 for part in parts]

    program = recorded(f, (LARGE,))
    assert same_bits(program([LARGE]), f(LARGE))


def test_guards_come_first():
    graph = Graph()
    t, x = graph.input(3), graph.input(LARGE)
    heavy = chain(graph, x, np.exp)
    guard = graph.call(operator.eq, (graph.call(operator.add, (t, 1), {}), 1), {})
    order = scheduled(needed(graph.values, [heavy, guard]), [guard])
    assert order.index(guard) < order.index(heavy)
    assert {v.number for v in order} == {0, 1, 2, 3, 4}


def test_buffers_are_shared_by_what_lives_at_different_times():
    graph = Graph()
    x = graph.input(LARGE)
    end = chain(graph, x, np.exp, np.negative, np.sin, np.cos, np.tanh)
    found = allocated(graph.values, [end])
    assert len(found.arrays) == 4  # what is returned has none
    assert LARGE.nbytes <= found.nbytes < LARGE.nbytes + 64
    both = graph.call(np.add, (graph.values[1], graph.values[-1]), {})
    found = allocated(graph.values, [both])
    assert 2 * LARGE.nbytes <= found.nbytes < 2 * LARGE.nbytes + 128  # the first one lives to the end


def test_a_view_keeps_what_it_looks_at_alive():
    graph = Graph()
    x = graph.input(LARGE)
    made = chain(graph, x, np.exp)
    view = graph.call(np.transpose, (made,), {})
    later = chain(graph, x, np.sin, np.cos)
    end = graph.call(np.matmul, (view, later), {})
    roots = roots_of(graph.values)
    assert made.number in roots[view.number]
    assert last_uses(graph.values, roots)[made.number] == end.number
    found = allocated(graph.values, [end])
    assert not np.shares_memory(found.arrays[made.number], found.arrays[later.number])


CASES = {
    "an input": lambda x, y: x,
    "an input twice": lambda x, y: (x, x),
    "a value twice": lambda x, y: (np.exp(x), np.exp(x)),
    "a view of an input": lambda x, y: x.T,
    "a view of a result": lambda x, y: (np.exp(x).T, np.exp(x)),
    "a row": lambda x, y: np.exp(x)[3],
    "a reshaped product": lambda x, y: np.reshape(x @ y.T, (-1,)),
    "a constant": lambda x, y: (LARGE, x + 1.0),
    "where over its operand": lambda x, y: np.where(np.exp(x) > y, np.exp(x), np.exp(x) * 2.0),
    "a product with itself turned": lambda x, y: np.exp(x @ y.T) * np.exp(x @ y.T).T,
    "a sum over what dies": lambda x, y: np.exp(x) - np.exp(x).sum(axis=0),
    "an operand that is broadcast": lambda x, y: np.exp(x[:1]) + np.exp(y),
    "a result that overwrites": lambda x, y: np.cos(np.sin(np.exp(x) * y) + np.exp(x)),
    "in column order": lambda x, y: np.add.reduce(np.exp(np.asfortranarray(LARGE) * x.T.T), axis=0),
}


@pytest.mark.parametrize("f", CASES.values(), ids=CASES)
def test_memory_that_is_shared(f):
    """What is returned is the caller's: the next run does not change it, and changing it changes nothing."""
    inputs = LARGE.copy(), LARGE[::-1] * 0.5
    inputs = tuple(np.ascontiguousarray(x) for x in inputs)
    program = recorded(f, inputs)
    first = program(inputs)
    expected = f(*(x.copy() for x in inputs))
    assert same_bits(first, expected)
    program([x + 1.0 for x in inputs])
    assert same_bits(first, expected)
    flat = [first] if isinstance(first, np.ndarray) else list(first)
    for i, x in enumerate(flat):
        for other in (*flat[i + 1 :], *inputs, LARGE):
            assert not np.shares_memory(x, other)
        x[...] = 7.0
    assert same_bits(program(inputs), expected)


def test_the_source_is_lines_of_numpy():
    program = recorded(lambda x: {"a": np.exp(x) + 1.0, "b": (x.T, None)}, (LARGE,))
    lines = program.source.splitlines()
    assert lines[0] == "def run(v0):"
    assert lines[-1] == "    return {'a': v2, 'b': (v3.copy('K'), None,)}"
    assert len(lines) == 1 + program.calls + 1


def test_powers_are_those_of_numpy():
    x = LARGE * 3.0
    for f in (lambda x: x**2, lambda x: x**2.0, lambda x: x**3, lambda x: x**0.5, lambda x: abs(x) ** 0.5):
        for dtype in ("float64", "float32"):
            given = x.astype(dtype)
            with np.errstate(invalid="ignore"):
                assert same_bits(recorded(f, (given,))([given]), f(given))
    number = np.float64(1.7)
    assert same_bits(recorded(lambda t, x: t**x, (number, number))([number, number]), number**number)


def test_a_program_that_is_too_large(monkeypatch):
    monkeypatch.setattr("metagrad.replay.record._MOST_BYTES", 1000)
    with pytest.raises(NotReplayable, match="buffers"):
        recorded(lambda x: np.sin(np.exp(x)), (LARGE,))
    monkeypatch.setattr("metagrad.replay.program.MOST_BYTES", 1000)
    with pytest.raises(NotReplayable, match="to record it would take"):
        recorded(lambda x: np.sin(np.exp(x)), (LARGE,))
