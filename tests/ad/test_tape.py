"""What the tape costs and keeps: nodes visited, depth, memory, and what it does not do."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

from metagrad import ad


def visited_by_an_inner_gradient(history):
    seen = []

    def outer(x):
        for _ in range(history):
            x = x * 1.0001
        _, pullback = ad.vjp(lambda y: np.sum(np.sin(y) * x), x)
        seen.append(pullback.visited)
        return np.sum(pullback(1.0)[0])

    assert np.all(np.isfinite(ad.grad(outer)(np.ones(3))))
    return seen[0]


def test_an_inner_gradient_does_not_walk_the_history():
    assert visited_by_an_inner_gradient(1) == visited_by_an_inner_gradient(1000) == 4  # sum, product, sine, leaf


def test_what_does_not_depend_on_the_arguments_is_not_propagated_to():
    calls = []

    def rule(g, out, x):
        calls.append(1)
        return g

    same = ad.primitive("same", lambda x: x, (rule,))
    ad.grad(lambda x: ad.grad(lambda y: y * same(x) * same(x))(2.0))
    assert ad.grad(lambda y: y * same(ad.stop_gradient(y)))(2.0) == 2.0
    _, pullback = ad.vjp(lambda x, y: same(x) * y, 2.0, 3.0)
    pullback(1.0, wrt=(1,))
    assert calls == []
    assert pullback(1.0, wrt=(0,)) == (3.0, None)
    assert calls == [1]


@pytest.mark.parametrize("length", [100_000])
def test_long_chains_need_no_recursion(length):
    def chain(x):
        for _ in range(length):
            x = x + 1.0
        return x

    value, slope = ad.value_and_grad(chain)(0.5)
    assert (value, slope) == (length + 0.5, 1.0)


def test_nothing_is_kept_when_a_pullback_is_dropped():
    gc.disable()  # no cycles: reference counts alone must free everything
    try:
        inside = []

        def f(x):
            y = np.tanh(x) * x
            inside.append(weakref.ref(y))
            return np.sum(ad.grad(lambda z: np.sum(np.exp(z) * y))(x))

        out, pullback = ad.vjp(f, np.ones(3))
        assert inside[0]() is not None
        pullback(1.0)
        del out, pullback
        assert inside[0]() is None
        before = len(gc.get_objects())
        for _ in range(50):
            ad.hvp(f, np.ones(3), np.ones(3))
        assert len(gc.get_objects()) - before < 200  # the weak references in `inside`
    finally:
        gc.enable()


def test_a_pullback_gives_the_same_whenever_it_is_called():
    _, pullback = ad.vjp(lambda x, y: (x * y, np.sin(x)), np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    u, v = np.array([1.0, -1.0]), np.array([0.5, 0.25])
    first = pullback((u, v))
    pullback((v, u))
    pullback((u, None), wrt=(0,))
    again = pullback((u, v))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(u, [1.0, -1.0])
    assert np.array_equal(v, [0.5, 0.25])


def test_part_of_a_cotangent_may_be_none():
    _, pullback = ad.vjp(lambda x, y: ((x * y, 2.0 * y), y), 3.0, 5.0)
    assert pullback(((1.0, None), None)) == (5.0, 3.0)
    assert pullback((None, 1.0)) == (0.0, 1.0)
    assert pullback(None) == (0.0, 0.0)


def test_constants_have_no_cotangent():
    w, n, mask = np.ones(2), np.array([1, 2]), np.array([True, False])
    (tree,) = ad.vjp(lambda t: np.sum(np.where(t[2], t[0] * t[1], 0.0)), (w, n, mask, None, 3))[1](1.0)
    assert tree[0].tolist() == [1.0, 0.0]
    assert tree[1:] == (None, None, None, None)


def test_what_is_not_reached_has_cotangent_zero():
    x_bar, y_bar = ad.vjp(lambda x, y: x, np.ones(2, "float32"), np.ones(3, "float16"))[1](np.ones(2, "float32"))
    assert x_bar.tolist() == [1.0, 1.0]
    assert y_bar.tolist() == [0.0] * 3
    assert y_bar.dtype == "float16"


def test_outputs_are_plain_arrays():
    out, _ = ad.vjp(lambda x: (x, x * 2, (np.ones(1), None)), np.ones(1))
    assert [type(x) for x in ad.leaves(out)] == [np.ndarray] * 3


def test_an_operand_picked_twice_gets_both_cotangents():
    x = np.array([1.0, 2.0, 3.0])
    assert ad.grad(lambda v: v[np.array([0, 2, 2, 2])])(x).tolist() == [1.0, 0.0, 3.0]
    assert ad.grad(lambda v: v[[0, 0]])(x).tolist() == [2.0, 0.0, 0.0]
    assert ad.grad(lambda v: v[x > 1.5])(x).tolist() == [0.0, 1.0, 1.0]
    assert ad.grad(lambda v: v[::-2])(x).tolist() == [1.0, 0.0, 1.0]
    assert ad.grad(lambda v: v[None, ..., 1])(x).tolist() == [0.0, 1.0, 0.0]
    grid = np.arange(6.0).reshape(2, 3)
    index = (np.array([0, 0, 1]), np.array([1, 1, 2]))
    assert ad.grad(lambda v: v[index])(grid).tolist() == [[0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]
    assert ad.check_gradients(lambda v: np.sin(v[index]), (grid,)).hessian < 1e-11


def test_a_primitive_of_ones_own():
    cube = ad.primitive("cube", lambda x, scale: scale * x**3, (lambda g, out, x, scale: g * (3 * scale * x**2),))
    ad.check_gradients(lambda x: cube(x, 2.0), (np.array([1.0, -2.0]),))
    assert cube(2.0, 1.0) == 8.0
    with pytest.raises(TypeError, match="cube: argument 1 has no VJP rule"):
        ad.grad(lambda scale: cube(2.0, scale))(1.0)


def test_importing_it_is_light():
    code = "import sys, metagrad.ad; print([m for m in ('cupy', 'scipy', 'sympy') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
