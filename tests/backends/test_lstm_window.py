"""Windows of the LSTM on the double of CuPy, with the host build of the CUDA gates: NumPy's numbers."""

import dataclasses

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.kernels import lstm_window
from metagrad.system import begin
from metagrad.unroll import backward, range_watch
from metagrad.unroll.unroll import Unroll
from metagrad.xp import move, rng
from tests.cupy_double import double
from tests.cupy_double.double import SYNCS, DoubleArray
from tests.strategies import random_quadratic
from tests.tasks.test_mlp_classifier import task_of

cp = double.NAMESPACE
RULES = {
    "paper": mg.CoordinatewiseLSTM.paper((3, 5)),
    "dm": mg.CoordinatewiseLSTM.dm((4,)),
    "quadratic": mg.CoordinatewiseLSTM.quadratic((5, 2, 3)),
}
SAMPLES = mg.random_least_squares(2, 12, 5, sigma=0.5, seed=3)
TASKS = {
    "quadratics": random_quadratic(3, 5, seed=1),
    "minibatches": mg.LeastSquares(SAMPLES.X, SAMPLES.y, batch_size=3),
    "a network": task_of(),
    "function": mg.FunctionTask(lambda w: np.sum(np.log(np.cosh(w)), axis=-1), w0=np.ones((2, 3))),
}
KINDS = pytest.mark.parametrize("gradient", ["full", "stop_gradient"])


def weights(rule, dtype=np.float64):
    return rule.init_meta(rng(1, "weights"), dtype)


def there(task, rule, phi, objective=None, *, steps=6, fused=True, **options):
    """Return the estimate on the double."""
    return mg.Reverse(fused=fused, **options)(
        move(task, cp), rule, objective or mg.WeightedSum(), move(phi, cp), steps=steps
    )


def assert_same(found, expected, tolerance):
    assert np.array_equal(found.status.get(), expected.status)
    for a, b in zip([found.value, *ad.leaves(found.grad)], [expected.value, *ad.leaves(expected.grad)], strict=True):
        assert isinstance(a.mantissa, DoubleArray)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        top = b.exponent.max()  # the numbers themselves may be too large for floats
        x, y = (np.ldexp(c.mantissa.astype(np.float64), c.exponent - top) for c in (move(a, np), b))
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * np.abs(y).max())


@pytest.fixture
def tape_calls(monkeypatch):
    """Count the ways by the tape."""
    calls, sweep = [], backward._by_steps
    monkeypatch.setattr(backward, "_by_steps", lambda *given, **more: calls.append(1) or sweep(*given, **more))
    return calls


@KINDS
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("task", TASKS)
def test_windows_are_numpys_and_the_tapes(task, name, gradient, tape_calls):
    task, rule, objective = TASKS[task], RULES[name], mg.MeanLog()
    phi = weights(rule)
    found = there(task, rule, phi, objective, gradient=gradient)
    assert not tape_calls
    assert found.status.get().max() == 0
    for fused in (True, False):
        expected = mg.Reverse(gradient, fused=fused)(task, rule, objective, phi, steps=6)
        assert_same(found, expected, 1e-11)


@pytest.mark.parametrize("scaling", ["auto", "none"])
@pytest.mark.parametrize("name", RULES)
def test_in_single_precision(name, scaling, tape_calls):
    task, phi = random_quadratic(4, 3, 2, np.float32), weights(RULES[name], np.float32)
    found = there(task, RULES[name], phi, scaling=scaling)
    assert not tape_calls
    assert_same(found, mg.Reverse(scaling=scaling)(task, RULES[name], mg.WeightedSum(), phi, steps=6), 3e-5)


def test_less_memory_and_a_long_window_are_the_same_bits(monkeypatch, tape_calls):
    task, rule = TASKS["quadratics"], RULES["quadratic"]
    step = lstm_window(rule, weights(rule), task.w0)[1]
    plenty = there(task, rule, weights(rule), steps=23)
    monkeypatch.setattr(range_watch, "_MOST_SIZES", 5)
    tight = there(task, rule, weights(rule), steps=23, memory=3 * step)
    assert not tape_calls
    for a, b in zip(ad.leaves(plenty.grad), ad.leaves(tight.grad), strict=True):
        assert np.array_equal(a.mantissa.get(), b.mantissa.get())


def test_windows_go_on_where_the_last_one_ended():
    task, rule = TASKS["quadratics"], RULES["dm"]
    phi, start, device = weights(rule), begin(task, rule, weights(rule), 4), None
    for steps in (3, 2):
        device = move(start, cp) if device is None else device
        found = mg.Reverse()(move(task, cp), rule, mg.WeightedSum(), move(phi, cp), steps=steps, at=device)
        expected = mg.Reverse()(task, rule, mg.WeightedSum(), phi, steps=steps, at=start)
        assert_same(found, expected, 1e-11)
        start, device = expected.end, found.end
        for a, b in zip(ad.leaves(device.state), ad.leaves(start.state), strict=True):
            np.testing.assert_allclose(a.get(), b, rtol=1e-12)


def test_beyond_the_range_of_floats_the_tape_takes_over(tape_calls):
    """One task is far smaller than the other: plain floats would lose it."""
    one = random_quadratic(2, 3, 1, np.float32)
    task = mg.Quadratic(one.H, one.w0 * np.array([[1.0], [1e-30]], np.float32))
    rule = mg.CoordinatewiseLSTM((2,), None, 1e-32)
    phi = weights(rule, np.float32)
    found = there(task, rule, phi, steps=3)
    assert len(tape_calls) == 1
    assert set(found.status.get()) == {mg.Status.ENTRIES_LOST.code}  # on the host it is run again, and right
    again = dataclasses.replace(found, status=found.status * 0)
    expected = mg.Reverse(fused=False, scaling="adjoint")(task, rule, mg.WeightedSum(), phi, steps=3)
    assert_same(again, dataclasses.replace(expected, status=expected.status * 0), 1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_the_host_waits_once(task, monkeypatch):
    """For the verdict whether the numbers stayed in range; that they did is a part of the estimate.

    Programs of a user's loss ask for NaN when the run is over, and so do those of the digits.
    """
    counts, original, of_programs = [], Unroll.start, 3 if task == "function" else 0
    for _ in range(5 if of_programs else 0):  # they are recorded, and compared with the tape
        there(TASKS[task], RULES["paper"], weights(RULES["paper"]), steps=9)
    monkeypatch.setattr(Unroll, "start", lambda self: counts.append(SYNCS.count) or original(self))
    there(TASKS[task], RULES["paper"], weights(RULES["paper"]), steps=9)
    assert [SYNCS.count] == [count + 1 + of_programs for count in counts]


def test_second_derivatives_are_those_of_the_tape():
    """Differences of the meta-gradient on the double are the Hessian that the tape has of its own steps."""
    task, rule, steps = random_quadratic(2, 3, seed=1), mg.CoordinatewiseLSTM((3, 2), 5.0, 0.2), 4
    phi = weights(rule)
    direction = ad.tree_map(lambda leaf: rng(5, "direction", leaf.size).standard_normal(leaf.shape), phi)

    def value(phi):
        w, state, total = task.w0, rule.init(phi, task.w0), 0.0
        for _ in range(steps):
            w, state = rule.step(phi, state, w, mg.FixedGradient(task.gradient(w, None)))
            total = total + np.mean(task.loss(w, None))
        return total

    moved = [ad.tree_map(lambda a, b, h=h: a + h * b, phi, direction) for h in (1e-5, -1e-5)]
    ahead, behind = (there(task, rule, near, steps=steps).grad for near in moved)
    for a, b, exact in zip(*map(ad.leaves, (ahead, behind, ad.hvp(value, phi, direction))), strict=True):
        quotient = (a.to_float().get() - b.to_float().get()) / 2e-5
        np.testing.assert_allclose(quotient, exact, rtol=1e-6, atol=1e-7 * np.abs(exact).max())


def test_where_the_tape_must_do():
    rule = RULES["paper"]
    for dtype, known in ((np.float16, False), (np.float32, True), (np.float64, True)):
        phi, w = move(weights(rule, dtype), cp), cp.ones((2, 3), dtype)
        assert (lstm_window(rule, phi, w) is not None) == known
    assert lstm_window(rule, weights(rule), cp.ones((2, 3))) is None, "the weights are on the host"
