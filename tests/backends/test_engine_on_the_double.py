"""The whole engine on the double: the same numbers as on NumPy, and no wait for the device inside of an unroll."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.errors import RangeError
from metagrad.estimators import Forward, Reverse
from metagrad.unroll.rollout import rollout
from metagrad.unroll.unroll import Unroll
from metagrad.xp import GpuState, gpu_state, move, namespace_for
from tests.cupy_double import double
from tests.cupy_double.double import SYNCS, DoubleArray
from tests.strategies import OBJECTIVES, phi_of, random_quadratic

cp = double.NAMESPACE

KINDS = ["shared", "coordinate", "task", "schedule", "schedule_task"]


def both(task, optimizer, objective, phi, steps, estimator):
    here = estimator(task, optimizer, objective, phi, steps=steps)
    there = estimator(move(task, cp), optimizer, objective, move(phi, cp), steps=steps)
    return here, there


def assert_same(here, there):
    pairs = [(here.value, there.value), (here.grad[0], there.grad[0])]
    for a, b in pairs:
        assert isinstance(b.mantissa, DoubleArray)
        x, y = a.to_float(out_of_range="ieee"), b.to_float(out_of_range="ieee").get()
        np.testing.assert_allclose(y, x, rtol=1e-11, atol=1e-12 * np.abs(x).max())
    assert np.array_equal(here.status, there.status.get())
    assert np.array_equal(here.status_step, there.status_step.get())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("diagonal", [False, True])
def test_reverse_and_forward(objective, kind, diagonal):
    task = random_quadratic(2, 3, seed=1, diagonal=diagonal)
    optimizer, phi, per_task = phi_of(kind, task, 5, 0.7)
    for method in (Reverse, Forward):
        for scaling in ("auto", "none"):
            assert_same(*both(task, optimizer, objective, phi, 5, method(scaling=scaling, per_task=per_task)))


@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
def test_on_the_tape(gradient):
    task = random_quadratic(2, 3, seed=2)
    optimizer, phi, _ = phi_of("shared", task, 5, 0.7)
    for method in (Reverse, Forward):
        assert_same(*both(task, optimizer, mg.LogFinal(), phi, 5, method(gradient=gradient, fused=False)))


def test_a_numpy_number_is_on_no_device():
    task, rule = mg.Quadratic(np.eye(2, dtype=np.float32), np.ones((3, 2), dtype=np.float32)), mg.GradientDescent()
    phi = mg.GradientDescent.Phi(np.float32(0.3))
    here, there = both(task, rule, mg.Final(), phi, 5, Reverse(fused=False))
    np.testing.assert_allclose(there.grad[0].to_float().get(), here.grad[0].to_float(), rtol=1e-6)
    here, there = (rollout(on, rule, phi, steps=5) for on in (task, move(task, cp)))
    np.testing.assert_allclose(there, here, rtol=1e-6)


@pytest.mark.parametrize("eta", [0.5, 2.9])
def test_far_out_of_range(eta):
    task = mg.DiagonalQuadratic(np.array([0.3, 1.0]), np.array([1.0, -0.5]))
    phi = mg.GradientDescent.Phi(np.asarray(eta))
    for scaling in ("auto", "none"):
        estimator = Reverse(scaling=scaling, fused=True)
        there = estimator(move(task, cp), mg.GradientDescent(), mg.LogFinal(), move(phi, cp), steps=3000)
        here = Reverse(scaling=scaling, fused=False)(task, mg.GradientDescent(), mg.LogFinal(), phi, steps=3000)
        assert there.status.get().tolist() == here.status.tolist()
        if scaling == "auto":
            assert float(there.grad.eta.to_float()) == pytest.approx(float(here.grad.eta.to_float()), rel=1e-10)


def test_a_users_loss():
    w0 = np.random.default_rng(3).standard_normal((2, 3))
    task = mg.FunctionTask(lambda w: np.sum(np.log(np.cosh(w)), axis=-1), w0)
    phi = mg.GradientDescent.Phi(np.asarray(0.4))
    assert_same(*both(task, mg.GradientDescent(), mg.LogFinal(), phi, 6, Reverse()))


@pytest.mark.parametrize("scaling", ["auto", "none"])
def test_no_wait_for_the_device_inside_an_unroll(monkeypatch, scaling):
    """Between the start and the estimate of an unroll nothing asks for a number, but for how long it is."""
    counts = []
    original = Unroll.start

    def start(self):
        counts.append(SYNCS.count)
        return original(self)

    monkeypatch.setattr(Unroll, "start", start)
    task = move(random_quadratic(2, 3, seed=4), cp)
    phi = move(mg.GradientDescent.Phi(np.asarray(0.7)), cp)
    Reverse(scaling=scaling)(task, mg.GradientDescent(), mg.LogFinal(), phi, steps=300)
    assert SYNCS.count == counts[0]


def test_mixing_backends_names_both():
    task = random_quadratic(2, 3, seed=5)
    phi = move(mg.GradientDescent.Phi(np.full((3,), 0.7)), cp)
    with pytest.raises(TypeError, match=r"Unsupported type|arrays on one device"):
        Reverse(fused=False)(task, mg.GradientDescent(), mg.Final(), phi, steps=3)


def test_to_float_raises_from_the_device_as_well():
    task = move(mg.DiagonalQuadratic(np.array([1.0]), np.array([1.0])), cp)
    found = Reverse()(
        task, mg.GradientDescent(), mg.Final(), move(mg.GradientDescent.Phi(np.asarray(3.0)), cp), steps=2000
    )
    with pytest.raises(RangeError):
        found.value.to_float()


def test_the_three_states_of_the_gpu():
    state, why = gpu_state()
    assert state.value[:20] in why
    if state is not GpuState.USABLE:
        with pytest.raises(ValueError, match=r"device is 'gpu', but CuPy.*Use device='auto' or device='cpu'"):
            namespace_for("gpu")
        assert namespace_for("auto") is np


def with_theta(dtype=np.float64):
    """A learned start of a task whose loss has meta-parameters, and no data of its own that a device would lack."""
    inner = mg.FunctionTask(
        lambda w, theta: np.sum(w["a"] ** 4, axis=-1) + np.exp(theta["log"]) * np.sum(w["b"] ** 2, axis=-1),
        {"a": np.ones((3, 2), dtype), "b": np.full((3, 1), 0.5, dtype)},
        validation=lambda w: np.sum(np.cosh(w["a"]), axis=-1) + np.sum(w["b"] ** 2, axis=-1),
        theta={"log": np.asarray(0.1, dtype)},
    )
    start = {"a": np.array([0.3, -0.6], dtype), "b": np.array([0.4], dtype)}
    return mg.LearnedStart(inner), mg.Joint(mg.Momentum.Phi(0.05, 0.5), (start, {"log": np.asarray(-0.2, dtype)}))


@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
@pytest.mark.parametrize("method", ["reverse", "forward", "windows"])
@pytest.mark.parametrize("objective", [mg.Final("validation"), mg.MeanLog()], ids=repr)
def test_meta_parameters_of_the_task(objective, method, gradient):
    task, phi = with_theta()
    options = {"steps": 6, "method": method, "gradient": gradient} | ({"window": 4} if method == "windows" else {})
    here = mg.meta_gradient(task, mg.Momentum(), objective, phi, **options)
    there = mg.meta_gradient(move(task, cp), mg.Momentum(), objective, move(phi, cp), **options)
    for a, b in zip(mg.ad.leaves((here.value, here.grad)), mg.ad.leaves((there.value, there.grad)), strict=True):
        assert isinstance(b.mantissa, DoubleArray)
        np.testing.assert_allclose(b.to_float().get(), a.to_float(), rtol=1e-11, atol=1e-14)
    assert np.array_equal(here.status, there.status.get())
    alone = mg.value(move(task, cp), mg.Momentum(), objective, move(phi, cp), steps=6)
    np.testing.assert_allclose(alone.value.to_float().get(), here.value.to_float(), rtol=1e-12)


def test_a_diverging_task_is_left_out_and_sizes_are_recorded():
    task = mg.FunctionTask(lambda w: np.sum(w**4, axis=-1), np.array([[1.0], [0.5], [30.0]]))
    options = {"steps": 8, "diverged": "skip", "record": True}
    here = mg.meta_gradient(task, mg.GradientDescent(), mg.Mean(), 0.1, **options)
    there = mg.meta_gradient(move(task, cp), mg.GradientDescent(), mg.Mean(), 0.1, **options)
    np.testing.assert_allclose(there.grad.eta.to_float().get(), here.grad.eta.to_float(), rtol=1e-12)
    assert there.notes == here.notes != ()
    good = [0, 1]
    sizes = [
        x.log2abs() if isinstance(x.mantissa, np.ndarray) else x.log2abs().get()
        for x in (here.record.state, there.record.state)
    ]
    np.testing.assert_allclose(sizes[1][:, good], sizes[0][:, good], rtol=1e-12)


@pytest.mark.parametrize("method", [Reverse, Forward, mg.Value])
def test_zeros_are_strong_there_too(method):
    """A branch that is not chosen adds nothing, where it is asked for: to look for a NaN is to wait for the device."""

    def loss(w):
        x = w**2
        with np.errstate(divide="ignore"):
            guarded = np.where(x < 1.0, x, np.sqrt(x)) + np.where(w > 0, w - np.log(w), w**2)
        return np.sum(guarded + (w - 0.5) ** 2, axis=-1) + np.linalg.norm(w, axis=-1) ** 2

    w0 = np.array([[0.0, 2.0], [0.0, 0.0]])
    rule, phi = mg.GradientDescent(), mg.GradientDescent.Phi(np.asarray(0.05))
    here = method()(mg.FunctionTask(loss, w0), rule, mg.Final(), phi, steps=4)
    task = mg.FunctionTask(loss, cp.asarray(w0))
    plain = method()(task, rule, mg.Final(), move(phi, cp), steps=4)
    assert plain.status.get().tolist() == [mg.Status.STATE_NAN.code] * 2
    assert plain.notes == ()
    with mg.ad.strong_zeros():
        there = method()(task, rule, mg.Final(), move(phi, cp), steps=4)
    assert here.ok
    assert there.status.get().tolist() == [0, 0]
    np.testing.assert_allclose(there.value.to_float().get(), here.value.to_float(), rtol=1e-12)
    if method is not mg.Value:
        np.testing.assert_allclose(there.grad.eta.to_float().get(), here.grad.eta.to_float(), rtol=1e-11)
