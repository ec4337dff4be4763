"""A step that is no function of its arguments has no right meta-gradient: it is named; pure code is never blamed."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.xp import rng


class Distance(mg.Final):
    """What is measured is not the loss."""

    def __init__(self):
        super().__init__("squared_norm")


class Phi(NamedTuple):
    eta: np.ndarray


class Counting:
    """A warm-up by a counter on the object, or, where it is pure, by the time."""

    def __init__(self, pure=False):
        self.t, self.pure = 0, pure

    def init(self, phi, w):
        self.t = 0
        return ()

    def step(self, phi, state, w, f):
        self.t += 1
        t = f.t + 1 if self.pure else self.t
        return w - phi.eta * min(1.0, t / 10) * f.gradient(w), ()


PHI = Phi(np.asarray(0.02))
QUADRATICS = mg.random_quadratics(count=3, d=4, seed=0)


@pytest.mark.parametrize("options", [{}, {"memory": 512}, {"method": "forward"}, {"method": "windows", "window": 15}])
def test_a_counter_on_the_object(options):
    with pytest.raises(ValueError, match=r"^Counting\.step: .* another result for step \d+ .* f\.t, and draw from"):
        mg.meta_gradient(QUADRATICS, Counting(), mg.MeanLog(), PHI, steps=30, **options)
    mg.meta_gradient(QUADRATICS, Counting(pure=True), mg.MeanLog(), PHI, steps=30, **options)


def test_a_counter_that_only_the_windows_see():
    """Nothing is measured in the first window, which is taken once: the two passes end at different places."""

    class Late(Counting):
        def step(self, phi, state, w, f):
            self.t += 1
            t = f.t if self.pure else self.t
            return w - phi.eta * (2.0 if t > 40 else 1.0) * f.gradient(w), ()

    options = {"steps": 30, "method": "windows", "window": 15}
    with pytest.raises(ValueError, match=r"^Late\.step: .* another (end of the run|result for step)"):
        mg.meta_gradient(QUADRATICS, Late(), mg.LogFinal(), PHI, **options)
    mg.meta_gradient(QUADRATICS, Late(pure=True), mg.LogFinal(), PHI, **options)


def test_the_counter_that_is_rescaled_beside_its_state():
    """Above the stability threshold the state is rescaled by powers of two all the time, which is exact."""

    class Growing(Counting):
        homogeneous = True

    phi = Phi(np.asarray(2.5 / 0.3))
    for pure in (True, False):
        task = mg.Quadratic(np.diag([0.3, 1.0]), np.array([1.0, -0.6]))
        ask = (task, Growing(pure), mg.LogFinal(), phi)
        if pure:
            assert mg.meta_gradient(*ask, steps=1200).value.to_float()[0] > 3.9  # that of 7.3**2400, by step
            assert mg.meta_gradient(*ask, steps=1200, memory=4096).ok
        else:
            with pytest.raises(ValueError, match=r"^Growing\.step"):
                mg.meta_gradient(*ask, steps=1200)


@pytest.mark.parametrize("options", [{}, {"gradient": "stop_gradient"}, {"method": "forward"}])
def test_a_velocity_on_the_object(options):
    """What is kept while the step is differentiated is a traced value."""

    class Kept:
        def __init__(self):
            self.v = np.zeros((3, 4))

        def init(self, phi, w):
            return ()

        def step(self, phi, state, w, f):
            self.v = 0.9 * self.v + f.gradient(w)
            return w - phi.eta * self.v, ()

    with pytest.raises(ValueError, match=r"^Kept\.step: .* (another result for step|a traced value)"):
        mg.meta_gradient(QUADRATICS, Kept(), mg.Final(), PHI, steps=20, **options)


@pytest.mark.parametrize("options", [{}, {"gradient": "stop_gradient"}, {"method": "forward"}])
def test_a_loss_with_a_stream_of_its_own(options):
    draw = np.random.default_rng(0)

    def loss(w):
        return np.sum((w - draw.standard_normal(w.shape)) ** 2, axis=-1)

    task = mg.FunctionTask(loss, np.ones((2, 3)))
    with pytest.raises(
        ValueError, match=r"^(FunctionTask\.loss|the measure 'loss' of FunctionTask): .* another result"
    ):
        mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.1, steps=20, **options)


def test_a_sampler_with_a_stream_of_its_own():
    draw = np.random.default_rng(0)

    def loss(w, sample):
        return np.sum((w - sample) ** 2, axis=-1)

    task = mg.FunctionTask(loss, np.ones((2, 3)), sampler=lambda _, t: draw.standard_normal((2, 3)))
    with pytest.raises(ValueError, match=r"^FunctionTask\.sample: .* another sample for step"):
        mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.1, steps=20)
    task = mg.FunctionTask(loss, np.ones((2, 3)), sampler=lambda own, t: own.standard_normal((2, 3)))
    mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.1, steps=20)


def test_a_measure_with_a_stream_of_its_own():
    draw = np.random.default_rng(0)

    def held_out(w):
        return np.sum((w - draw.standard_normal(w.shape)) ** 2, axis=-1)

    task = mg.FunctionTask(lambda w: np.sum(w * w, axis=-1), np.ones((2, 3)), validation=held_out)
    with pytest.raises(ValueError, match=r"^the measure 'validation' of FunctionTask: .* another result at time"):
        mg.meta_gradient(task, mg.GradientDescent(), mg.Final("validation"), 0.1, steps=20)


def test_a_loss_with_a_stream_of_its_own_under_a_learned_optimizer():
    trained = mg.load_trained("lstm_quadratics")
    draw = np.random.default_rng(0)

    def loss(w):
        return np.sum((w - draw.standard_normal(w.shape).astype(w.dtype)) ** 2, axis=-1)

    task = mg.FunctionTask(loss, np.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match=r"^FunctionTask\.loss: .* another gradient for step"):
        mg.meta_gradient(task, trained.optimizer, Distance(), trained.phi, steps=5)


def test_a_result_that_two_names_share_is_another_one_when_traced():
    class Shared:
        """v and m are one array: plain code normalises both, traced code only v."""

        def init(self, phi, w):
            return np.zeros_like(w)

        def step(self, phi, m, w, f):
            v = m = 0.9 * m + f.gradient(w)
            v /= 2.0
            return w - phi.eta * v, m

    with pytest.raises(ValueError, match=r"^Shared\.step: .* differentiated than in plain arrays.*x = x \* y"):
        mg.meta_gradient(QUADRATICS, Shared(), mg.LogFinal(), PHI, steps=10)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("memory", [1 << 20, 2048])
def test_rounding_in_another_order_is_no_fault(dtype, memory):
    """The tape takes a mean, a variance, a norm in its own way: other last digits, and the same function."""

    class Normalised:
        def init(self, phi, w):
            return np.zeros_like(w)

        def step(self, phi, m, w, f):
            g = f.gradient(w)
            g = g / (np.std(g, axis=-1, keepdims=True) + np.linalg.norm(g, axis=-1, keepdims=True) + 0.1)
            m = m / 2 + g - np.mean(g, axis=-1, keepdims=True)
            return w - phi.eta * m - phi.eta * np.sign(g) * np.var(w, axis=-1, keepdims=True), m

    w0 = rng(0, "normalised").standard_normal((3, 7)).astype(dtype)
    task = mg.FunctionTask(lambda w: np.mean((w - w.dtype.type(0.5)) ** 2, axis=-1), w0)
    for steps in (3, 200):
        mg.meta_gradient(task, Normalised(), mg.Final(), Phi(np.asarray(0.1, dtype)), steps=steps, memory=memory)


def test_nan_is_nan():
    """A run that ends in NaN is reported by Status, and its steps are what they were."""
    task = mg.FunctionTask(lambda w: np.sum(w**4, axis=-1), np.full((2, 2), 3.0))
    found = mg.meta_gradient(task, Counting(pure=True), mg.Final(), Phi(np.asarray(5.0)), steps=40)
    assert not found.ok
    assert not np.isfinite(found.grad.eta.to_float(out_of_range="ieee"))


def test_an_estimator_that_counts_is_refused_beside_a_checkpoint(tmp_path):
    class Annealed:
        def __init__(self):
            self.calls = 0

        def __call__(self, *args, **options):
            self.calls += 1
            return mg.Reverse(gradient="stop_gradient" if self.calls < 3 else "full")(*args, **options)

    def run(**options):
        ask = (QUADRATICS, mg.GradientDescent(), mg.LogFinal())
        return mg.MetaTrainer(*ask, steps=5, scale=1e-3, estimator=Annealed()).run(0.02, 4, **options)

    assert run().phi.shape == (5, 1)
    with pytest.raises(TypeError, match=r"estimator is a Annealed whose `calls` changed in a call.*Estimate\.end"):
        run(checkpoint=tmp_path / "run.npz")
