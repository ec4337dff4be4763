"""Tangents in one sweep forwards: the numbers of two sweeps backwards, dtypes, nesting, and what it costs."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.ad import tape
from metagrad.xp import GRADIENT_TOLERANCE, rng
from tests.ad.examples import every_case
from tests.ad.test_table import FLOATS, agree, arguments, random_like

TOLERANCE = GRADIENT_TOLERANCE["float64"]


def reverse_over_reverse(f, args, tangents):
    """Return J applied to the tangents: the VJP of v -> J'v, which is linear in v."""
    out, pullback = ad.vjp(f, *args)
    return ad.vjp(pullback, ad.tree_map(np.zeros_like, out))[1](tangents)[0]


def size(f, args, tangents):
    return max(float(np.max(np.abs(x), initial=0.0)) for x in ad.leaves(reverse_over_reverse(f, args, tangents)))


@every_case
def test_it_is_reverse_over_reverse_to_orders_one_and_two(function, index):
    f, args = arguments(function, index)
    v = random_like(args, rng(5))
    out, found = ad.jvp(f, args, v)
    assert all(map(np.array_equal, ad.leaves(out), ad.leaves(ad.vjp(f, *args)[0])))
    agree(found, reverse_over_reverse(f, args, v), 4 * TOLERANCE)
    u = random_like(out, rng(6))
    slope = lambda *xs: ad.vjp(f, *xs)[1](u)  # noqa: E731
    second = reverse_over_reverse(slope, args, v)
    scale = size(slope, args, v) or 1.0
    for x, y in zip(ad.leaves(ad.jvp(slope, args, v)[1]), ad.leaves(second), strict=True):
        assert np.all(np.abs(x - y) <= 4 * TOLERANCE * scale)


@every_case
def test_the_second_derivative_along_a_line_is_one_number_in_four_ways(function, index):
    f, args = arguments(function, index)
    v = random_like(args, rng(7))
    u = random_like(f(*args), rng(8))
    inner = lambda a, b: sum(np.sum(x * y) for x, y in zip(ad.leaves(a), ad.leaves(b), strict=True))  # noqa: E731
    along = lambda *xs: inner(u, ad.jvp(f, xs, v)[1])  # noqa: E731
    loss = lambda *xs: inner(u, f(*xs))  # noqa: E731
    every = tuple(range(len(args)))
    forward_of_forward = ad.jvp(along, args, v)[1]
    reverse_of_forward = inner(ad.grad(along, argnums=every)(*args), v)
    forward_of_reverse = inner(ad.jvp(ad.grad(loss, argnums=every), args, v)[1], v)
    reverse_of_reverse = inner(reverse_over_reverse(ad.grad(loss, argnums=every), args, v), v)
    found = np.array([forward_of_forward, reverse_of_forward, forward_of_reverse])
    H = ad.tree_map(np.abs, reverse_over_reverse(ad.grad(loss, argnums=every), args, v))
    scale = inner(H, ad.tree_map(np.abs, v)) + inner(ad.tree_map(np.abs, u), ad.tree_map(np.abs, f(*args)))
    assert np.all(np.abs(found - reverse_of_reverse) <= 10 * TOLERANCE * scale)


@every_case
@pytest.mark.parametrize("dtype", FLOATS)
def test_tangents_have_shape_and_dtype_of_the_output(function, index, dtype):
    f, args = arguments(function, index, dtype)
    try:
        f(*args)
    except (TypeError, ValueError):
        pytest.skip("NumPy or SciPy refuses the dtype, and so does the tape: see test_table")
    out, tangent = ad.jvp(f, args, random_like(args, rng(9)))
    assert [x.dtype for x in ad.leaves(tangent)] == [x.dtype for x in ad.leaves(out)]
    assert [x.shape for x in ad.leaves(tangent)] == [x.shape for x in ad.leaves(out)]


def test_tangents_of_some_arguments_alone():
    f = lambda x, y: (x * y, np.concatenate([x, y]), np.where(x > 0, x, y), np.stack([y, x]))  # noqa: E731
    x, y, t = np.array([1.0, -2.0]), np.array([3.0, 4.0]), np.array([10.0, 100.0])
    found = ad.jvp(f, (x, y), (None, t))[1]
    assert [part.tolist() for part in found] == [[10, -200], [0, 0, 10, 100], [0, 100], [[10, 100], [0, 0]]]
    assert [part.tolist() for part in ad.jvp(f, (x, y), (None, None))[1]] == [[0, 0], [0] * 4, [0, 0], [[0, 0]] * 2]


def test_python_floats_stay_weak():
    w = np.array([1.0, 2.0], "float32")
    out, tangent = ad.jvp(lambda eta: w - 2 * eta * w / (1 - eta), (0.5,), (1.0,))
    assert (out.dtype, tangent.dtype, tangent.tolist()) == (np.dtype("float32"), np.dtype("float32"), [-8.0, -16.0])
    out, tangent = ad.jvp(np.exp, (0.0,), (1.0,))
    assert (out.dtype, tangent.dtype, tangent) == (np.dtype("float64"), np.dtype("float64"), 1.0)


def test_a_primitive_without_a_rule_for_tangents_passes_them_by_its_vjp():
    cube = ad.primitive(
        "cube",
        lambda x, y: x**3 * y,
        (lambda g, out, x, y: g * (3 * y * x**2), lambda g, out, x, y: g * x**3),
    )
    assert ad.jvp(cube, (2.0, 5.0), (10.0, 100.0))[1] == 3 * 5 * 4 * 10.0 + 8 * 100.0
    assert ad.jvp(lambda x: cube(x, x), (2.0,), (1.0,))[1] == 4 * 8.0
    assert ad.jvp(lambda x: ad.jvp(lambda z: cube(z, 1.0), (x,), (1.0,))[1], (2.0,), (1.0,))[1] == 12.0
    assert ad.grad(lambda x: ad.jvp(lambda z: cube(z, 1.0), (x,), (1.0,))[1])(2.0) == 12.0
    same = ad.primitive("same", lambda x: x + 0.0, (lambda g, out, x: g,))
    assert ad.jvp(same, (2.0,), (3.0,))[1] == 3.0
    flat = ad.primitive("flat", np.sign, (lambda g, out, x: 0.0 * x,))
    assert ad.jvp(flat, (2.0,), (3.0,))[1] == 0.0


def applications(f):
    """Return how many applications are recorded while f runs."""
    before = next(tape._ids)
    f()
    return next(tape._ids) - before - 1


def test_tangents_record_nothing_and_do_not_walk_the_history():
    chain = lambda x, n: chain(np.sin(x) * x, n - 1) if n else x  # noqa: E731
    x = np.ones(3)
    assert applications(lambda: ad.jvp(lambda z: chain(z, 10), (x,), (x,))) == 1 + 2 * 10  # the leaf, and f's own

    def recorded_inside(history):
        seen = []

        def outer(z):
            for _ in range(history):
                z = z * 1.0001
            seen.append(applications(lambda: ad.jvp(lambda y: np.sum(np.sin(y) * 2.0), (z,), (x,))))
            return np.sum(z)

        ad.grad(outer)(x)
        return seen[0]

    # sum, product, sine, leaf; and what depends on z in the tangent: cos(z), its product with 1, times 2, sum
    assert recorded_inside(1) == recorded_inside(1000) == 4 + 4


def test_bad_tangents_are_named():
    for bad, error, match in (
        (np.ones(3), ValueError, r"jvp: tangents is of shape \(3,\); expected the shape of the argument, \(2,\)"),
        (np.ones(2, "float32"), TypeError, "jvp: tangents is of float32; expected the dtype of the argument, float64"),
        ([1.0], TypeError, r"jvp: tangents at \[0\] is a list in the place of a leaf"),
        ("a", TypeError, "jvp: tangents is a str; expected an array"),
    ):
        with pytest.raises(error, match=match):
            ad.jvp(np.sin, (np.ones(2),), (bad,))
    with pytest.raises(TypeError, match=r"jvp: tangents is a tuple of 2; expected a tuple of 1"):
        ad.jvp(np.sin, (1.0,), (1.0, 2.0))
    with pytest.raises(TypeError, match="jvp: an argument is a set"):
        ad.jvp(np.sin, ({1.0},), (1.0,))
