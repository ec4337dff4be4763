"""Data that the tape does not understand is refused or right; what it keeps stays, and what it returns is yours."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.ad.domains import DOMAINS, as_reals, draw
from metagrad.xp import rng
from tests.ad.examples import every_case

X = np.array([1.0, -2.0, 0.5])
MASKED = np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])
COMPLEX = np.fft.fft(np.eye(3))


def slopes(f, x, seed=0):
    """Return the gradient of f's sum, once more from tangents, and from differences."""
    reverse = ad.grad(f)(x)
    forward = np.array([np.sum(ad.jvp(f, (x,), (e,))[1]) for e in np.eye(x.size)])
    h = 1e-6
    differences = np.array([np.sum(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(x.size)])
    return reverse, forward, differences


def check(f, x=X):
    reverse, forward, differences = slopes(f, x)
    np.testing.assert_allclose(forward, reverse, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(reverse, differences, rtol=1e-7, atol=1e-8)
    ad.check_gradients(f, (x,))


REFUSED = {
    "masked second": (lambda x: x * MASKED, r"multiply: an operand is a masked array.*filled\(0.0\).*weight"),
    "masked first": (lambda x: MASKED * x, r"numpy.ma makes of x.*filled\(0.0\).*weight"),
    "masked in a ufunc": (lambda x: np.subtract(MASKED, x), "masked array"),
    "masked in a product": (lambda x: MASKED @ x, "matmul: an operand is a masked array"),
    "masked in where": (lambda x: np.where(MASKED > 1, x, 0.0), "where: an operand is a masked array"),
    "masked in a list": (lambda x: np.stack([x, MASKED]), "stack: an operand is a masked array"),
    "complex result": (lambda x: x + np.complex64(1j), r"returns is complex \(complex128\); expected real.*np.abs"),
    "complex entries in order": (lambda x: np.maximum(x, 1j), r"numpy.maximum: an operand is complex.*z\.real"),
    "complex in sort": (lambda x: np.sort(COMPLEX @ x), r"numpy.sort of complex values cannot.*z\.imag"),
    "astype complex": (lambda x: np.abs(x.astype(complex)), "astype: dtype is complex128.*real and imaginary part"),
    "astype object": (lambda x: np.sum(x.astype(object)), "astype: dtype is object"),
    "np.astype": (lambda x: np.abs(np.astype(x, np.complex64)), "astype: dtype is complex64"),
    "matrix": (lambda x: x * X[None].view(np.matrix), r"a matrix; expected a plain array. Take np.asarray\(x\)"),
    "strings": (lambda x: x * np.array(["a", "b", "c"]), "an array of <U1; expected real numbers"),
    "objects": (lambda x: x * np.array([1.0, None, "a"], dtype=object), "an array of object"),
    "times": (lambda x: x * np.array([1, 2, 3], "m8[s]"), "an array of timedelta64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_the_remedy_named(name):
    f, match = REFUSED[name]
    with pytest.raises(TypeError, match=match):
        ad.grad(lambda x: np.sum(f(x)))(X)
    with pytest.raises(TypeError, match=match):
        ad.jvp(f, (X,), (X,))


def test_what_the_remedies_say_is_right():
    weight = (~np.ma.getmaskarray(MASKED)).astype(X.dtype)
    check(lambda w: np.sum(weight * (w - MASKED.filled(0.0)) ** 2))
    check(lambda w: np.sqrt((COMPLEX.real @ w) ** 2 + (COMPLEX.imag @ w) ** 2), X + 0.3)
    check(lambda w: np.sqrt(1.0 + w**2))


def test_pandas():
    pd = pytest.importorskip("pandas")
    s, frame = pd.Series([1.0, 2.0, 3.0], index=[2, 1, 0]), pd.DataFrame(np.arange(9.0).reshape(3, 3))
    mixed = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 2, 3]}).astype(object)
    for f in (
        lambda x: x - s,
        lambda x: x * s,
        lambda x: x / s,
        lambda x: x @ frame,
        lambda x: x * frame,
        lambda x: np.dot(frame, x),
        lambda x: x @ mixed,
        lambda x: (x - s) ** 2 * s.values,
        lambda x: np.where(s > 1, x, x**2),
        lambda x: x[s > 1],
        lambda x: np.stack([x * x, s]),
    ):
        check(f)
    for f in (lambda x: s * x, lambda x: frame @ x, lambda x: s - x):
        with pytest.raises(TypeError, match=r"pandas.*np.asarray\(s\)"):
            ad.grad(lambda x, f=f: np.sum(f(x)))(X)


def test_a_table_of_objects_that_are_numbers_is_one_of_numbers():
    check(lambda x: x * np.array([1.0, 2, 3], dtype=object))


def test_full_like_passes_the_derivative_of_its_value():
    assert ad.grad(lambda x: np.sum(np.full_like(x, x[0])))(X).tolist() == [3.0, 0.0, 0.0]
    check(lambda x: np.full_like(x, x[0] ** 2) * x)
    check(lambda x: np.full_like(x, fill_value=x[1]) * np.full_like(x, 2.0))
    assert ad.jvp(lambda x: np.full_like(x, x[0]), (X,), (X,))[1].tolist() == [1.0] * 3
    out, _ = ad.vjp(lambda x: np.full_like(x, x[0], dtype="float32"), X)
    assert out.dtype == "float32"


POSITIONS = [
    (lambda x: np.sort(x, -1, None, "f"), "numpy.sort with order="),
    (lambda x: np.cumsum(x, 0, None, np.empty(3)), "numpy.cumsum: a traced value cannot be written in place"),
    (lambda x: np.max(x, 0, np.empty(())), "numpy.max: a traced value cannot be written in place"),
    (lambda x: np.median(x, 0, np.empty(())), "numpy.median: a traced value cannot be written in place"),
]


@pytest.mark.parametrize(("f", "match"), POSITIONS)
def test_an_argument_by_position_is_taken_for_what_it_is(f, match):
    with pytest.raises(TypeError, match=match):
        ad.grad(lambda x: np.sum(f(x)))(X)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.var(x, 0, None, None, 1),
        lambda x: np.std(x, None, None, None, 1, True),
        lambda x: np.mean(x[:, None], 1, None, None, True) * x,
        lambda x: np.sum(x * x[:, None], 1, None, None, True),
        lambda x: np.sum(x * x, axis=0, dtype=None, out=None),
        lambda x: np.max(x, 0, None, True),
        lambda x: np.prod(x, 0, None, None, True),
        lambda x: np.prod(x, 0, np.float64),
        lambda x: x.prod(0, np.float64),
        lambda x: np.sum(x, 0, np.float64) * x,
        lambda x: np.cumsum(x, 0, np.float64) * x,
        lambda x: np.sort(x, -1, "stable") ** 2,
        lambda x: np.median(x, 0, None, False, True),
        lambda x: np.cumsum(x * x, 0, None),
        lambda x: np.reshape(x * x, (3, 1), "C"),
    ],
)
def test_defaults_by_position_change_nothing(f):
    out, _ = ad.vjp(f, X)
    assert np.array_equal(out, f(X))
    assert np.shape(out) == np.shape(f(X))
    check(f)


def refilled(make, size):
    """Return a loss that refills one array in a loop, and one that makes a new array each time."""

    def loss(w, is_fresh):
        buffer, total = make(0, size), 0.0
        for t in range(3):
            if is_fresh:
                buffer = make(t, size)
            else:
                buffer[...] = make(t, size)
            total = total + use(w, buffer) ** 2
        return total

    def use(w, buffer):
        if buffer.dtype == bool:
            return np.sum(np.where(buffer, w, w * w)) + np.sum(w[buffer])
        if buffer.dtype.kind == "i":
            return np.sum(w[buffer] * w[buffer]) + np.sum(w[buffer, None] ** 3)
        return np.sum(buffer * w) + np.sum(w @ buffer) + np.sum(w / (1.0 + buffer))

    return loss


KINDS = {
    "numbers": lambda t, n: rng(t, "buffer").uniform(0.0, 1.0, n),
    "mask": lambda t, n: rng(t, "mask").random(n) > 0.5,
    "index": lambda t, n: rng(t, "index").integers(0, n, n),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_buffer_that_the_loss_refills(kind, seed):
    loss = refilled(KINDS[kind], 5)
    w, v = rng(seed).standard_normal((2, 5))
    once, again = (lambda x: loss(x, False)), (lambda x: loss(x, True))
    assert once(w) == again(w)
    assert np.array_equal(ad.grad(once)(w), ad.grad(again)(w))
    assert ad.jvp(once, (w,), (v,))[1] == ad.jvp(again, (w,), (v,))[1]
    assert np.array_equal(ad.hvp(once, w, v), ad.hvp(again, w, v))


def test_a_view_of_a_buffer_and_a_list_that_is_refilled():
    def loss(w):
        buffer, index, total = np.zeros((2, 3)), [0, 0], 0.0
        row, seen = buffer[0], np.broadcast_to(buffer[0], (3,))
        for t in range(3):
            buffer[...], index[0] = t + 1.0, t
            total = total + np.sum(row * w) ** 2 + np.sum(seen * w) + np.sum(w[index] ** 2)
        return total

    x = np.array([1.0, -2.0, 0.5])
    expected = 2 * 14 * np.sum(x) + 6 + 2 * x + 6 * np.array([x[0], 0, 0])
    np.testing.assert_allclose(ad.grad(loss)(x), expected, rtol=1e-14)


def test_a_large_buffer_cannot_be_refilled_while_it_is_kept():
    n = 10_000
    loss, buffer = refilled(KINDS["numbers"], n), np.ones(n)
    w = np.ones(n)
    with pytest.raises(ValueError, match="read-only") as caught:
        ad.grad(lambda x: loss(x, False))(w)
    assert "Build a new array instead of refilling one" in caught.value.__notes__[0]
    assert ad.grad(lambda x: np.sum(x * buffer[1:-1]))(w[1:-1]).shape == (n - 2,)
    buffer[0] = 2.0  # free again
    assert buffer.flags.writeable

    def twice(x):
        first = ad.grad(lambda y: np.sum(buffer * y * y))(x)
        with pytest.raises(ValueError, match="read-only"):
            buffer[0] = 3.0  # an outer differentiation goes on
        return first

    ad.grad(lambda x: np.sum(twice(x)))(w)
    buffer[0] = 3.0


@pytest.mark.parametrize("f", [np.max, np.min, lambda x: np.maximum(x, 0.3), lambda x: np.minimum(0.3, x), ad.relu])
def test_a_nan_among_the_entries_has_no_derivative_zero(f):
    x = np.array([1.0, np.nan, -2.0])
    for slope in (ad.grad(lambda v: np.sum(f(v)))(x), ad.jvp(f, (x,), (np.ones(3),))[1]):
        assert np.isnan(slope).any()
    assert np.isnan(ad.grad(lambda v: np.sum(f(v)))(x)[1])
    beside = ad.grad(lambda v: np.max(v, axis=1))(np.array([[1.0, np.nan], [3.0, 1.0]]))
    assert np.isnan(beside[0]).all()
    assert beside[1].tolist() == [1.0, 0.0]


def test_both_arguments_of_an_extreme_with_a_nan():
    x, y = np.array([1.0, np.nan, np.inf]), np.array([np.nan, 1.0, np.inf])
    of_x, of_y = ad.vjp(np.maximum, x, y)[1](np.ones(3))
    assert np.isnan(of_x[:2]).all()
    assert np.isnan(of_y[:2]).all()
    assert (of_x[2], of_y[2]) == (0.5, 0.5)


def test_the_deviation_of_one_entry_is_flat():
    for x, axis in ((np.array([2.0]), None), (np.array([[2.0], [3.0]]), 1), (np.array(2.0), None)):
        f = lambda v, axis=axis: np.sum(np.std(v, axis))  # noqa: E731
        assert np.array_equal(ad.grad(f)(x), 0 * x)
        assert ad.jvp(f, (x,), (x,))[1] == 0
        assert np.array_equal(ad.hvp(f, x, x), 0 * x)
    with np.errstate(invalid="ignore"):
        assert np.isnan(ad.vjp(np.std, np.array([np.inf]))[0])
        with pytest.warns(RuntimeWarning, match="Degrees of freedom"):  # NumPy's
            out, pullback = ad.vjp(lambda v: np.std(v, ddof=1), np.array([2.0]))
        assert np.isnan(out)
        assert np.isnan(pullback(np.float64(1.0))[0]).all()


@every_case
def test_what_is_returned_is_yours(function, index):
    example = draw(DOMAINS[function][index], rng(0, function.__name__, index))
    is_float = lambda x: any(getattr(v, "dtype", None) is X.dtype for v in ad.leaves(x))  # noqa: E731
    where = [k for k, x in enumerate(example) if is_float(x)]

    def f(*values):
        full = list(example)
        for k, value in zip(where, values, strict=True):
            full[k] = value
        return as_reals(function(*full))

    args = tuple(example[k] for k in where)
    out, pullback = ad.vjp(f, *args)
    u, v = ad.tree_map(np.ones_like, out), ad.tree_map(np.ones_like, args)
    results = (
        out,
        pullback(u),
        pullback(u),
        ad.jvp(f, args, v),
        None if ad.is_branch(out) else ad.value_and_grad(f)(*args),
    )
    found = [x for x in ad.leaves(results) if isinstance(x, np.ndarray)]
    others = [x for x in ad.leaves((u, v, args)) if isinstance(x, np.ndarray)]
    for k, x in enumerate(found):
        assert x.flags.writeable
        assert not any(np.shares_memory(x, y) for y in found[:k] + others)


@pytest.mark.parametrize("n", [3, 20_000])
def test_gradients_of_sums_share_nothing(n):
    x, y = np.ones(n), np.ones(n)
    a, b = ad.grad(lambda p, q: p + q, argnums=(0, 1))(x, y)
    a *= 2.0
    assert b[0] == x[0] == y[0] == 1.0
    flat = ad.grad(np.sum)(x)
    flat[0] = 5.0
    assert flat.tolist()[:2] == [5.0, 1.0]
    kept = np.ones(n)
    out, pullback = ad.vjp(lambda p: p, x)
    (g,) = pullback(kept)
    g += 1.0
    out += 1.0
    assert x[0] == kept[0] == 1.0


def test_a_constant_copy_may_be_written_into():
    x = np.array([1.0, 2.0])
    y = ad.stop_gradient(x)
    y[0] = 5.0
    assert x[0] == 1.0

    def f(w):
        held = ad.stop_gradient(w)
        held[...] = 7.0
        return np.sum(w * w * held)

    assert ad.grad(f)(x).tolist() == [14.0, 28.0]


class Pair(NamedTuple):
    a: object
    b: object


@pytest.mark.parametrize(
    ("make", "first"),
    [
        (lambda x, y: (x, y), lambda held: held[0]),
        (lambda x, y: [x, (y,)], lambda held: held[0]),
        (lambda x, y: {"a": x, "b": y}, lambda held: held["a"]),
        (Pair, lambda held: held.a),
        (lambda x, y: ((None, [x]), y), lambda held: held[0][1][0]),
    ],
    ids=["tuple", "list", "dict", "NamedTuple", "nested"],
)
def test_every_leaf_of_a_tree_is_held(make, first):
    def f(x, y):
        held = ad.stop_gradient(make(x, y))
        return np.sum(x * first(held)) + np.sum(y**2)

    x, y = np.array([1.0, -3.0]), np.array([2.0])
    gx, gy = ad.grad(f, argnums=(0, 1))(x, y)
    assert gx.tolist() == x.tolist()
    assert gy.tolist() == [4.0]
    held = ad.grad(lambda t: np.sum(t[0] * ad.stop_gradient(t)[1]))((x, 2 * x))
    assert held[0].tolist() == (2 * x).tolist()
    assert not held[1].any()
    assert ad.hvp(lambda w: np.sum(w * ad.stop_gradient((w,))[0]), x, x).tolist() == [0.0, 0.0]


def test_an_output_that_is_written_into_leaves_the_pullback():
    out, pullback = ad.vjp(np.exp, np.array([0.0, 1.0]))
    expected = out.copy()
    out[...] = 0.0
    assert np.array_equal(pullback(np.ones(2))[0], expected)


@pytest.mark.parametrize("f", [np.linalg.norm, lambda x: np.sqrt(np.sum(x**2)), mg.safe_norm, lambda x: np.sqrt(x * x)])
def test_norms_of_one_entry_raise_no_false_alarm(f):
    for seed in range(60):
        x = rng(seed, "one").standard_normal(1)
        ad.check_gradients(f, (x + np.sign(x) * 0.01,))


def test_an_array_of_another_library_is_copied():
    memory = bytearray(8 * 1000)
    data = np.frombuffer(memory)
    assert ad.grad(lambda w: np.sum(w * data))(np.ones(1000)).tolist() == [0.0] * 1000
    assert data.flags.writeable

    def loss(w):
        total = 0.0
        for t in range(3):
            data[...] = t
            total = total + np.sum(w * data) ** 2
        return total

    assert ad.grad(loss)(np.ones(1000))[0] == 2 * 1000 * (1 + 4)
