"""The LSTM's windows by hand against the tape: values, gradients, ends, and what happens beyond the range of floats."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metagrad as mg
from metagrad import ad
from metagrad.kernels import _arena, _lstm_cell, lstm_window
from metagrad.system import begin
from metagrad.unroll import backward, window_powers
from metagrad.xp import rng
from tests.estimators.test_agreement import worst_difference
from tests.optimizers.test_trees import TwoLayers, WithGradient
from tests.strategies import random_quadratic

RULES = {
    "paper": mg.CoordinatewiseLSTM.paper((3, 5)),
    "dm": mg.CoordinatewiseLSTM.dm((4,)),
    "quadratic": mg.CoordinatewiseLSTM.quadratic((5, 2, 3)),
}
SAMPLES = mg.random_least_squares(2, 12, 5, sigma=0.5, seed=3)
TASKS = {
    "quadratics": random_quadratic(3, 5, seed=1),
    "diagonal": random_quadratic(2, 3, seed=1, diagonal=True),
    "minibatches from zero": mg.LeastSquares(SAMPLES.X, SAMPLES.y, batch_size=3),
    "a tree": TwoLayers(),
    "a tree with its gradient": WithGradient(),
    "function": mg.FunctionTask(lambda w: np.sum(np.cosh(w), axis=-1), w0=np.ones((2, 3))),
}
KINDS = pytest.mark.parametrize("gradient", ["full", "stop_gradient"])


def weights(rule, dtype=np.float64, seed=1):
    return rule.init_meta(rng(seed, "weights"), dtype)


def both(task, rule, phi, objective=None, *, steps=6, at=None, seed=0, **options):
    """Return the estimates by windows and by the tape."""
    return [
        mg.Reverse(fused=fused, **options)(
            task, rule, objective or mg.WeightedSum(), phi, steps=steps, at=at, seed=seed
        )
        for fused in (True, False)
    ]


def assert_equal(a, b, tolerance=1e-12):
    """Assert that two estimates have the same value, gradient, status and end."""
    np.testing.assert_array_equal(a.status, b.status)
    np.testing.assert_array_equal(a.status_step, b.status_step)
    for x, y in zip([a.value, *ad.leaves(a.grad)], [b.value, *ad.leaves(b.grad)], strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        finite = np.isfinite(y.mantissa)
        np.testing.assert_array_equal(x.mantissa[~finite], y.mantissa[~finite])
        if finite.any():
            assert worst_difference(x[finite], y[finite]) <= tolerance
    assert (a.end is None) == (b.end is None)
    for x, y in zip(*(ad.leaves(tuple(found.end or ())) for found in (a, b)), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.fixture
def no_tape(monkeypatch):
    """Let the way by the tape fail where windows are asked for."""

    def sweep(unroll, memory, *, fused):
        assert not fused, "the kernel was not used"
        return unfused(unroll, memory, fused=fused)

    unfused = backward._by_steps
    monkeypatch.setattr(backward, "_by_steps", sweep)


@KINDS
@pytest.mark.parametrize("objective", [mg.WeightedSum(), mg.WeightedSum(0.9), mg.LogFinal(), mg.MeanLog()], ids=repr)
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("task", TASKS)
def test_windows_are_like_the_tape(task, name, objective, gradient, no_tape):
    found = both(TASKS[task], RULES[name], weights(RULES[name]), objective, gradient=gradient, seed=4)
    assert found[0].ok
    assert_equal(*found)


@KINDS
@pytest.mark.parametrize("scaling", ["auto", "adjoint", "none"])
@pytest.mark.parametrize("name", RULES)
def test_in_single_precision(name, scaling, gradient, no_tape):
    task, phi = random_quadratic(4, 3, 2, np.float32), weights(RULES[name], np.float32)
    found = both(task, RULES[name], phi, gradient=gradient, scaling=scaling)
    assert found[0].grad.output.bias.dtype == np.float32
    assert_equal(*found, tolerance=3e-5)


@settings(max_examples=15)
@given(
    hidden=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    p=st.sampled_from([None, 2.0, 10.0]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    steps=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_any_size(hidden, p, shape, steps, seed):
    rule = mg.CoordinatewiseLSTM(tuple(hidden), p, 0.3)
    assert_equal(*both(random_quadratic(*shape, seed), rule, weights(rule, seed=seed), steps=steps), tolerance=1e-11)


@KINDS
@pytest.mark.parametrize("task", ["quadratics", "minibatches from zero", "a tree"])
def test_windows_that_go_on_where_the_last_one_ended(task, gradient, no_tape):
    rule = RULES["paper"]
    phi, start = weights(rule), begin(TASKS[task], rule, weights(rule), 4)
    for steps in (3, 1, 4):
        found = both(TASKS[task], rule, phi, steps=steps, at=start, seed=4, gradient=gradient)
        assert_equal(*found)
        start = found[0].end
    assert start.t == 8


@KINDS
def test_less_memory_is_the_same_bits(gradient, no_tape):
    task, rule = TASKS["minibatches from zero"], RULES["paper"]
    step = lstm_window(rule, weights(rule), task.w0)[1]
    plenty, tight, tightest = (
        mg.Reverse(gradient, memory=memory)(task, rule, mg.MeanLog(), weights(rule), steps=23, seed=4)
        for memory in (1 << 30, 7 * step, 3 * step)
    )
    assert plenty.ok
    for found in (tight, tightest):
        np.testing.assert_array_equal(found.value.mantissa, plenty.value.mantissa)
        for a, b in zip(ad.leaves(found.grad), ad.leaves(plenty.grad), strict=True):
            np.testing.assert_array_equal(a.mantissa, b.mantissa)
            np.testing.assert_array_equal(a.exponent, b.exponent)


@pytest.mark.parametrize("p", [None, 5.0])
def test_second_derivatives_are_those_of_the_tape(p):
    """Differences of the meta-gradient by hand are the Hessian that the tape has of its own steps."""
    task, rule, steps = random_quadratic(2, 3, seed=1), mg.CoordinatewiseLSTM((3, 2), p, 0.2), 4
    phi = weights(rule)
    direction = ad.tree_map(lambda leaf: rng(5, "direction", leaf.size).standard_normal(leaf.shape), phi)

    def value(phi):
        w, state, total = task.w0, rule.init(phi, task.w0), 0.0
        for _ in range(steps):
            w, state = rule.step(phi, state, w, mg.FixedGradient(task.gradient(w, None)))
            total = total + np.mean(task.loss(w, None))
        return total

    ahead, behind = (
        mg.Reverse()(
            task, rule, mg.WeightedSum(), ad.tree_map(lambda a, b, h=h: a + h * b, phi, direction), steps=steps
        ).grad
        for h in (1e-5, -1e-5)
    )
    for a, b, exact in zip(*map(ad.leaves, (ahead, behind, ad.hvp(value, phi, direction))), strict=True):
        quotient = (a.to_float() - b.to_float()) / 2e-5
        np.testing.assert_allclose(quotient, exact, rtol=1e-6, atol=1e-7 * np.abs(exact).max())


def spoilt(task, **arrays):
    return mg.Quadratic(**({"H": task.H, "w0": task.w0} | arrays))


@KINDS
@pytest.mark.parametrize("objective", [mg.WeightedSum(), mg.LogFinal()], ids=repr)
@pytest.mark.parametrize("size", [1e-42, 1e-25, 1e-12, 1e12, 1e19, 1e30])
def test_tasks_of_any_size_side_by_side(size, objective, gradient):
    """One task is far smaller or larger than the other: beyond the range of plain floats the tape takes over."""
    rule = mg.CoordinatewiseLSTM.quadratic((3, 2))
    one = random_quadratic(2, 3, 1, np.float32)
    task = spoilt(one, w0=one.w0 * np.array([[1.0], [size]], np.float32))
    assert_equal(*both(task, rule, weights(rule, np.float32), objective, gradient=gradient), tolerance=1e-4)


@KINDS
def test_adjoints_that_leave_the_range(gradient):
    """Cotangents of 1e-30 a step: floats would be zero after two of them, and the gradient with them."""
    one = random_quadratic(2, 3, 1, np.float32)
    rule = mg.CoordinatewiseLSTM((2,), None, 1e-20)
    found = both(one, rule, weights(rule, np.float32), mg.WeightedSum(1e-12), gradient=gradient, scaling="auto")
    assert_equal(*found, tolerance=1e-4)


def test_steps_that_overflow_have_the_status_of_the_tape():
    rule = mg.CoordinatewiseLSTM((2,), None, 1e20)
    task = random_quadratic(3, 3, 1, np.float32)
    phi = weights(rule, np.float32)
    found = both(task, rule, phi, steps=9)
    assert not found[0].ok
    assert_equal(*found)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_gradient_that_is_no_number_is_said(bad):
    task = mg.FunctionTask(lambda w: np.sum(np.where(w > 0.5, bad, w * w), axis=-1), w0=np.array([[0.1], [1.0]]))
    rule = RULES["paper"]
    found = both(task, rule, weights(rule))
    assert_equal(*found)
    assert not found[0].ok


def test_where_the_tape_must_do():
    rule = RULES["paper"]
    w, phi = np.ones((2, 3)), weights(rule)
    assert lstm_window(rule, phi, w) is not None

    class Changed(mg.CoordinatewiseLSTM):
        pass

    linear = mg.CoordinatewiseLSTM((), None, 1.0)
    assert lstm_window(Changed((3, 5)), phi, w) is None
    assert lstm_window(linear, weights(linear), w) is None
    assert lstm_window(rule, weights(rule, np.float16), w.astype(np.float16)) is None
    assert lstm_window(rule, ad.tree_map(lambda leaf: np.stack([leaf, leaf]), phi), w) is None


@KINDS
@pytest.mark.parametrize("numba", [False, True])
def test_the_size_that_is_compiled(numba, gradient, no_tape, monkeypatch):
    if numba:
        pytest.importorskip("numba")
    monkeypatch.setattr(_lstm_cell, "has_numba", lambda: numba)
    rule, task = mg.CoordinatewiseLSTM.paper(), random_quadratic(30, 10, 3)
    assert_equal(*both(task, rule, weights(rule), steps=3, gradient=gradient))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_gates_are_those_of_numpy(dtype):
    """Also where gates are closed, open, or no numbers."""
    pytest.importorskip("numba")
    draw = rng(1, "gates")
    z = draw.standard_normal((12, 40)) * 10.0 ** draw.uniform(-3, 3, (12, 40))
    z[3, :3] = np.inf, -np.inf, np.nan
    c, dh, sent, dc = draw.standard_normal((4, 3, 40))
    results = []
    for kind in (_lstm_cell.Gates, _lstm_cell.CompiledGates):
        arrays = [np.array(x, dtype) for x in (z, c, c, c, dh, sent, dc)]
        gates, (z_, c_, c_next, h, dh_, sent_, dc_) = kind(np.empty_like(arrays[0])), arrays
        with np.errstate(all="ignore"):
            gates.forward(z_, c_, c_next, h)
            ahead = [x.copy() for x in (z_, c_next, h)]
            gates.backward(z_, c_, c_next, dh_, sent_, dc_)
        results.append([*ahead, z_, dc_])
    eps = np.finfo(dtype).eps
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=32 * eps, atol=32 * eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("others", [1, 2, 3, 22, 41])
@pytest.mark.parametrize("count", [1, 40, 511, 1300])
def test_the_compiled_product_is_that_of_blas(count, others, dtype):
    pytest.importorskip("numba")
    for seed in (1, 2):
        draw = rng(seed, "product", count, others)
        z, read, total = (draw.standard_normal(s).astype(dtype) for s in ((12, count), (others, count), (12, others)))
        expected = total + z.astype(np.float64) @ read.T.astype(np.float64)
        found = total.copy()
        _lstm_cell.CompiledGates(np.empty_like(z)).add_products(z, read, found)
        size = np.abs(total) + np.abs(z) @ np.abs(read).T
        assert (np.abs(found - expected) <= 4 * np.sqrt(count + 16) * np.finfo(dtype).eps * size).all()


@KINDS
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("size", [1e-10, 1e-30])
def test_far_apart_every_task_has_an_exponent_of_its_own(size, seed, gradient, no_tape):
    """The adjoint of the sum is of the size of w: one exponent for both would leave nothing of the smaller one."""
    rule, one = mg.CoordinatewiseLSTM((2,), None, 1e-5), random_quadratic(2, 3, seed, np.float32)
    task = spoilt(one, w0=one.w0 * np.array([[1.0], [size]], np.float32))
    phi = weights(rule, np.float32, seed)
    assert_equal(*both(task, rule, phi, steps=3, gradient=gradient, rescue="never"), tolerance=3e-5)


@KINDS
@pytest.mark.parametrize("task", ["quadratics", "a tree"])
def test_the_memory_of_a_window_is_free_at_once(task, gradient, no_tape, monkeypatch):
    """Not only when the collector of cycles comes by: windows may be large."""
    made = []
    arena = _arena.Arena.__init__
    monkeypatch.setattr(
        _arena.Arena, "__init__", lambda self, owner, size: made.append(weakref.ref(owner)) or arena(self, owner, size)
    )
    gc.disable()
    try:
        mg.Reverse(gradient)(TASKS[task], RULES["dm"], mg.WeightedSum(), weights(RULES["dm"]), steps=2)
        assert [owner() for owner in made] == [None]
    finally:
        gc.enable()


def test_memory_that_was_used_before_is_not_seen():
    """NaN left in the memory that is kept would show in the next window; arrays handed out stay as they are."""
    rule, task = RULES["paper"], TASKS["quadratics"]
    first = mg.Reverse()(task, rule, mg.WeightedSum(), weights(rule), steps=5, at=begin(task, rule, weights(rule)))
    kept = [leaf.copy() for leaf in ad.leaves(first.end.state)]
    _arena._kept[0].view(np.uint8)[...] = 255
    second = mg.Reverse()(task, rule, mg.WeightedSum(), weights(rule), steps=5, at=begin(task, rule, weights(rule)))
    assert_equal(first, second, tolerance=0)
    for a, b in zip(kept, ad.leaves(first.end.state), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("objective", [mg.WeightedSum(), mg.LogFinal()], ids=repr)
def test_adjoints_that_grow_by_any_power_stay_in_the_window(objective, seed, no_tape, monkeypatch):
    """Two runs that grow from 1e-17 and from 1e-10 on: exponents of adjoints are moved, without any chaos."""
    moved, take = [], window_powers.WindowPowers._take
    monkeypatch.setattr(
        window_powers.WindowPowers, "_take", lambda self, exponents: moved.append(exponents) or take(self, exponents)
    )
    rule, draw = mg.CoordinatewiseLSTM((3,), None, 30.0), rng(seed, "start")
    w0 = (draw.uniform(0.5, 1, (2, 3)) * np.array([[1e-17], [1e-10]])).astype(np.float32)
    task = mg.Quadratic(np.stack([np.eye(3, dtype=np.float32)] * 2), w0)
    phi = ad.tree_map(lambda leaf: np.abs(leaf) if leaf.ndim == 2 else 0 * leaf, weights(rule, np.float32, seed))
    found = both(task, rule, phi, objective, steps=18, rescue="never")
    assert len(moved) > 1
    assert_equal(*found, tolerance=1e-3)
