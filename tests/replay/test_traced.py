"""What an array that records does, what it refuses, and that the tape goes first."""

import operator

import numpy as np
import pytest

from metagrad import ad
from metagrad.replay.bits import same_bits
from metagrad.replay.program import NotReplayable
from metagrad.replay.record import recorded
from metagrad.replay.traced import Traced
from metagrad.xp import namespace

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
ONE = {
    "float": lambda x: float(x[0, 0]) * x,
    "int": lambda x: int(x[0, 0]) * x,
    "index": lambda x: X[x.argmax(axis=1)],
    "if": lambda x: x if (x > 0).any() else -x,
    "and": lambda x: x if x.sum() > 0 and x.sum() < 9 else -x,
    "in": lambda x: x if 1.0 in x else -x,
    "asarray": lambda x: np.asarray(x) * 2,
    "array": lambda x: np.array([x[0], x[1]]),
    "item": lambda x: x[0, 0].item() * x,
    "tolist": lambda x: np.sum(x.tolist()),
    "mask": lambda x: x[x > 0],
    "setitem": lambda x: operator.setitem(x, 0, 1.0),
    "out=": lambda x: np.exp(x, out=np.empty_like(X)),
    "where=": lambda x: np.exp(x, where=X > 0),
    "sort in place": lambda x: x.sort(),
    "nonzero": lambda x: np.nonzero(x)[0] * 1.0,
    "where alone": lambda x: np.where(x)[0] * 1.0,
    "complex": lambda x: complex(x[0, 0]) * x,
    "an object": lambda x: np.where(x > 0, x, object()),
}


@pytest.mark.parametrize("f", ONE.values(), ids=ONE)
def test_what_looks_at_numbers_is_refused(f):
    with pytest.raises(NotReplayable) as why:
        recorded(f, (X,))
    assert str(why.value)
    assert "\n" not in str(why.value)


def test_a_refusal_that_is_caught_is_still_one():
    def f(x):
        try:
            return float(x.sum()) * x
        except Exception:
            return 2.0 * x

    with pytest.raises(NotReplayable, match="float"):
        recorded(f, (X,))


def test_an_error_of_the_code_is_a_reason():
    with pytest.raises(NotReplayable, match="recording it failed: KeyError"):
        recorded(lambda x: {}["a"], (X,))


@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "@", "<", "<=", ">", ">=", "==", "!="])
def test_operators_beside_arrays_numbers_and_the_tape(sign):
    functions = {"+": "add", "-": "sub", "*": "mul", "/": "truediv", "@": "matmul"} | {
        "<": "lt",
        "<=": "le",
        ">": "gt",
        ">=": "ge",
        "==": "eq",
        "!=": "ne",
    }
    f = getattr(operator, functions[sign])
    square = X @ X.T
    others = [square] if sign == "@" else [square, 2.0, np.float64(3.0), 2]
    for y in others:
        for call in (lambda x, y=y: f(x, y), lambda x, y=y: f(y, x), lambda x: f(x, x)):
            program = recorded(call, (square,))
            assert same_bits(program([square]), call(square))
            assert same_bits(program([square + 1.0]), call(square + 1.0))

    def on_the_tape(x):
        return ad.grad(lambda u: np.sum(np.where(f(u, square) if sign in "<=>=!=" else u > 0, u * u, u)))(x)

    assert same_bits(recorded(on_the_tape, (square,))([square]), on_the_tape(square))


def test_python_numbers_stay_weak():
    """A Python float does not promote float32, as an array of it would."""
    x = X.astype(np.float32)
    for f in (lambda x: x * 0.1 + 2, lambda x: np.where(x > 0, x, 0.0), lambda x: x**2, lambda x: 1.0 / x):
        found = recorded(f, (x,))([x])
        assert found.dtype == np.float32
        assert same_bits(found, f(x))


def test_the_time_is_a_number_of_pythons():
    def f(t, x):
        rate = 1.0 / (1.0 + 0.5 * t) ** 2
        return x * rate * (0.5 if t == 1 else 1.0), t + 1

    x = X.astype(np.float32)
    program = recorded(f, (3, x))
    for t in (2, 3, 50):
        assert same_bits(program([t, x]), f(t, x))
        assert type(program([t, x])[1]) is int
    assert program([1, x]) is None  # the branch goes the other way


def test_what_computes_constants_is_computed_once():
    data = np.arange(6.0).reshape(2, 3)

    def f(x):
        return x * np.linalg.norm(data) + np.matmul(data.T, data)[:2]

    program = recorded(f, (X,))
    assert program.calls == 2
    assert same_bits(program([X]), f(X))


def test_zeros_are_filled_once():
    xp = namespace

    def f(x):
        full = xp(x).zeros_like(x, shape=(2, 5))
        full[:, 1:4] = x
        return full + xp(x).zeros_like(x, shape=(2, 5))

    assert same_bits(recorded(f, (X,))([2 * X]), f(2 * X))

    def again(x):
        full = xp(x).zeros_like(x, shape=(2, 5))
        full[:, 1:4] = x
        full[:, 0] = x[:, 0]
        return full

    with pytest.raises(NotReplayable, match="in place"):
        recorded(again, (X,))


def test_several_results():
    def f(x):
        a, b = np.split(x, [1], axis=1)
        q, r = np.linalg.qr(b)
        return {"z": a + 1.0, "a": (q * 1.0, [r + 0.0], None)}

    found = recorded(f, (X,))([X + 1.0])
    assert list(found) == ["z", "a"]
    assert same_bits(found, f(X + 1.0))


def test_it_is_an_array_of_its_own_namespace():
    seen = []
    recorded(lambda x: (seen.append(x), x * 1.0)[1], (X,))
    assert type(seen[0]) is Traced
    assert namespace(X, seen[0], 2.0) is namespace(seen[0]) is not np
    assert len(seen[0]) == 2
    assert (seen[0].size, seen[0].nbytes, seen[0].ndim) == (6, 48, 2)
    assert "Traced" in repr(seen[0])
