"""Tasks, rules and objectives of a user's own: right with the required members alone, or told what is wrong."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.xp import rng
from tests.strategies import random_quadratic


class HeavyBall:
    """`init` and `step`, nothing else."""

    class Phi(NamedTuple):
        eta: np.ndarray
        beta: np.ndarray

    def init(self, phi, w):
        return np.zeros_like(w)

    def step(self, phi, velocity, w, f):
        velocity = phi.beta * velocity - phi.eta * f.gradient(w)
        return w + velocity, velocity


@pytest.mark.parametrize("batch_like", [3, 4])
@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_phi_a_task_meets_the_tasks_and_no_other_axis(batch_like, method):
    """w (3, 3, 5): one eta a task must not be one a row."""
    draw = rng(0, "own")
    w0, rates = draw.standard_normal((3, batch_like, 5)), draw.uniform(0.5, 2, (3, batch_like, 5))
    task = mg.FunctionTask(lambda w: np.sum(rates * w * w, axis=(1, 2)), w0)
    eta, beta = np.array([0.05, 0.1, 0.15]), np.array([0.5, 0.6, 0.7])
    options = {"steps": 7, "per_task": True, "method": method}
    own = mg.meta_gradient(task, HeavyBall(), mg.Final(), HeavyBall.Phi(eta, beta), **options)
    shipped = mg.meta_gradient(task, mg.Momentum(), mg.Final(), mg.Momentum.Phi(eta, beta), **options)
    np.testing.assert_allclose(own.grad.eta.to_float(), shipped.grad.eta.to_float(), rtol=1e-12)
    for b in range(3):
        one = mg.FunctionTask(lambda w, b=b: np.sum(rates[b : b + 1] * w * w, axis=(1, 2)), w0[b : b + 1])
        alone = mg.meta_gradient(one, HeavyBall(), mg.Final(), HeavyBall.Phi(eta[b], beta[b]), steps=7)
        assert own.grad.eta.to_float()[b] == pytest.approx(alone.grad.eta.to_float(), rel=1e-12)
        assert own.value.to_float()[b] == pytest.approx(alone.value.to_float()[0], rel=1e-13)


class OfTrees(HeavyBall):
    """The same for trees of arrays; `fit` brings what is given task by task beside an array."""

    def __init__(self, fit):
        self.fit = fit

    def init(self, phi, w):
        return ad.tree_map(np.zeros_like, w)

    def step(self, phi, velocity, w, f):
        def update(v, g):
            p = mg.beside(phi, g) if self.fit else phi
            return p.beta * v - p.eta * g

        velocity = ad.tree_map(update, velocity, f.gradient(w))
        return ad.tree_map(lambda a, b: a + b, w, velocity), velocity


def test_arrays_of_other_axes_need_beside_and_say_so():
    draw = rng(1, "own")
    w0 = {"W": draw.standard_normal((3, 3, 5)), "b": draw.standard_normal((3, 2))}
    task = mg.FunctionTask(lambda w: np.sum(w["W"] ** 2, axis=(1, 2)) + np.sum(w["b"] ** 2, axis=1), w0)
    phi = HeavyBall.Phi(np.array([0.05, 0.1, 0.15]), np.array([0.5, 0.6, 0.7]))
    options = {"steps": 5, "per_task": True}
    own = mg.meta_gradient(task, OfTrees(fit=True), mg.Final(), phi, **options)
    shipped = mg.meta_gradient(task, mg.Momentum(), mg.Final(), mg.Momentum.Phi(*phi), **options)
    np.testing.assert_allclose(own.grad.eta.to_float(), shipped.grad.eta.to_float(), rtol=1e-12)
    with pytest.raises(ValueError, match=r"OfTrees\.step: the next w is of shapes .*metagrad\.beside"):
        mg.meta_gradient(task, OfTrees(fit=False), mg.Final(), phi, **options)


class Polynomial:
    """A schedule of three numbers: eta_t = c0 + c1 t + c2 t^2, by the documented member `at`."""

    class Phi(NamedTuple):
        c: np.ndarray

    def init(self, phi, w):
        return ()

    def at(self, phi, t):
        return self.Phi(phi.c[0] + phi.c[1] * t + phi.c[2] * t * t)

    def step(self, phi, state, w, f):
        return w - phi.c * f.gradient(w), state


@pytest.mark.parametrize("steps", [2, 3, 6])
def test_a_schedule_of_ones_own_is_differentiated_through(steps):
    task, c = mg.random_quadratics(3, 4, seed=0), np.array([0.01, 0.001, 0.0001])

    def solve(c, **options):
        return mg.meta_gradient(task, Polynomial(), mg.LogFinal(), Polynomial.Phi(c), steps=steps, **options)

    found = solve(c).grad.c.to_float()
    np.testing.assert_allclose(solve(c, method="forward").grad.c.to_float(), found, rtol=1e-11)
    ends = [[solve(c + h * e).value.to_float().mean() for h in (1e-7, -1e-7)] for e in np.eye(3)]
    np.testing.assert_allclose(found, [(a - b) / 2e-7 for a, b in ends], rtol=1e-6)
    eta = c[0] + c[1] * np.arange(steps) + c[2] * np.arange(steps) ** 2.0
    entries = mg.meta_gradient(task, mg.Scheduled(mg.GradientDescent()), mg.LogFinal(), eta, steps=steps)
    chained = np.stack([np.arange(steps) ** k for k in (0, 1, 2)]) @ entries.grad.eta.to_float()
    np.testing.assert_allclose(found, chained, rtol=1e-11)


def test_inf_in_a_state_that_means_none_yet_is_no_overflow():
    class Best:
        class Phi(NamedTuple):
            eta: np.ndarray

        def init(self, phi, w):
            return np.full(w.shape[0], np.inf)

        def step(self, phi, best, w, f):
            return w - phi.eta * f.gradient(w), np.where(f.t < 3, best, np.minimum(best, f(w)))

    task = random_quadratic(2, 3, seed=1)
    found = mg.meta_gradient(task, Best(), mg.Final(), Best.Phi(np.asarray(0.2)), steps=6)
    assert found.ok, found.report()
    plain = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.2, steps=6)
    assert found.grad.eta.to_float() == pytest.approx(plain.grad.eta.to_float(), rel=1e-12)


@dataclass
class Bare:
    """A wrapper that forwards the required members alone."""

    inner: Any

    def init(self, *given):
        return self.inner.init(*given)

    def loss(self, w, sample):
        return self.inner.loss(w, sample)

    def step(self, phi, state, w, f):
        return self.inner.step(phi, state, w, f)


@pytest.mark.parametrize("steps", [7, 600])
def test_a_wrapper_gets_the_answers_of_what_it_holds(steps):
    """Without `gradient`, `degree`, `homogeneous`: the same numbers by the tape, or a Status where the range ends."""
    task, eta = random_quadratic(2, 3, seed=2), 0.3 if steps < 100 else 3.0
    rule = mg.GradientDescent()
    found = mg.meta_gradient(Bare(task), Bare(rule), mg.LogFinal(), rule.Phi(eta), steps=steps)
    exact = mg.meta_gradient(task, rule, mg.LogFinal(), eta, steps=steps)
    assert exact.ok
    if found.ok:
        np.testing.assert_allclose(found.grad.eta.to_float(), exact.grad.eta.to_float(), rtol=1e-11)
    else:
        assert "STATE_OVERFLOW" in found.report()
    assert found.ok == (steps < 100)


MINIBATCHES = mg.LeastSquares(np.ones((1, 4, 2)), np.ones((1, 4)), batch_size=2)
LOST = {
    "minibatches": (Bare(MINIBATCHES), mg.GradientDescent(), "sample"),
    "a schedule": (random_quadratic(2, 3, seed=3), Bare(mg.Scheduled(mg.GradientDescent())), "at"),
    "meta-parameters": (Bare(mg.LearnedStart(random_quadratic(2, 3, seed=3))), mg.GradientDescent(), "given"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_wrapper_that_has_lost_what_changes_the_answer_is_told(name):
    task, rule, member = LOST[name]
    with pytest.raises(TypeError, match=rf"a Bare that holds a \w+ in `inner` and has not its .*`{member}`"):
        mg.meta_gradient(task, rule, mg.Final(), mg.GradientDescent.Phi(np.full(3, 0.1)), steps=3)


def test_what_is_dropped_on_purpose_is_said_by_none():
    task = Bare(MINIBATCHES)
    task.sample = None
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.1, steps=3)
    whole = mg.LeastSquares(MINIBATCHES.X, MINIBATCHES.y)
    assert found.value == mg.meta_gradient(whole, mg.GradientDescent(), mg.Final(), 0.1, steps=3).value


class Lists:
    """Parameters in a list: no base class, no tuple."""

    def init(self, rng):
        return [np.ones((2, 3)), {"b": np.ones((2, 1))}]

    def loss(self, w, sample):
        return np.sum(w[0] ** 2, axis=-1) + np.sum(w[1]["b"] ** 2, axis=-1)


def test_parameters_in_lists_and_dicts():
    flat = mg.FunctionTask(lambda w: np.sum(w**2, axis=-1), np.ones((2, 4)))
    lstm = mg.CoordinatewiseLSTM.quadratic((2,))
    for rule, phi in ((mg.GradientDescent(), 0.1), (mg.Adam(), 0.1), (lstm, lstm.init_meta(rng(0)))):
        a, b = (mg.meta_gradient(task, rule, mg.Final(), phi, steps=4) for task in (Lists(), flat))
        for x, y in zip(ad.leaves(a.grad), ad.leaves(b.grad), strict=True):
            np.testing.assert_allclose(x.to_float(), y.to_float(), rtol=1e-10, atol=1e-14)


class Sum(Lists):
    def loss(self, w, sample):
        return np.sum(w[0] ** 2)


class Wide(Lists):
    def init(self, rng):
        return np.ones((2, 3), np.float32)

    def loss(self, w, sample):
        return np.sum(np.ones(3) * w**2, axis=-1)


class NoArrays(Lists):
    def init(self, rng):
        return 1.0


class Shrinks(HeavyBall):
    def step(self, phi, velocity, w, f):
        return np.sum(w, axis=0), velocity


class Alone(HeavyBall):
    def step(self, phi, velocity, w, f):
        return w


class Asks(HeavyBall):
    def step(self, phi, velocity, w, f):
        return w - phi.eta * f.ask("curvature", w), velocity


PHI = HeavyBall.Phi(0.1, 0.5)
QUADRATIC = random_quadratic(2, 3, seed=4)
BAD = {
    "a scalar loss": (Sum(), mg.GradientDescent(), 0.1, ValueError, r"Sum\.loss: the loss is of shape \(\)"),
    "data of another dtype": (
        Wide(),
        mg.GradientDescent(),
        0.1,
        TypeError,
        r"Wide\.loss: the loss is of float64",
    ),
    "no arrays": (NoArrays(), mg.GradientDescent(), 0.1, ValueError, r"`init` returns \['float'\]"),
    "a step that drops the task axis": (
        QUADRATIC,
        Shrinks(),
        PHI,
        ValueError,
        r"Shrinks\.step: the next w is",
    ),
    "a step that returns w alone": (QUADRATIC, Alone(), PHI, TypeError, r"Alone\.step: what it returns is a ndarray"),
    "a question without an answer": (QUADRATIC, Asks(), PHI, TypeError, "a Quadratic, which does not tell 'curvature'"),
    "an integer": (QUADRATIC, HeavyBall(), HeavyBall.Phi(1, 0.5), TypeError, "phi is 1, of type int,"),
    "a bare number": (QUADRATIC, HeavyBall(), 0.1, TypeError, r"phi is a float; expected HeavyBall\.Phi\(eta, beta\)"),
    "a rule of before": (QUADRATIC, HeavyBall, PHI, TypeError, r"the class HeavyBall.*Write HeavyBall\(\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parts(name):
    task, rule, phi, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        mg.meta_gradient(task, rule, mg.Final(), phi, steps=3)


def test_a_gradient_alone_tells_no_loss():
    w = np.ones((1, 2))
    with pytest.raises(TypeError, match="a gradient alone; expected a task that knows its loss"):
        mg.FixedGradient(w)(w)
    with pytest.raises(TypeError, match="a gradient alone; expected a task that can be asked"):
        mg.FixedGradient(w).ask("curvature", w)
