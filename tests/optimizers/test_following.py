"""Schedules of few parameters: what they are at each step, and the chain rule through them."""

import math
import pickle

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.xp import move
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference
from tests.strategies import random_quadratic

T = 12
SCHEDULES = {
    "exponential": (mg.Exponential(), (0.2, 0.9), lambda t, a, r: a * r**t),
    "polynomial": (mg.Polynomial(), (0.2, 0.01, 1.7), lambda t, a, b, p: b + (a - b) * (1 - t / T) ** p),
    "cosine": (mg.Cosine(), (0.2, 0.01), lambda t, a, b: b + (a - b) * (1 + math.cos(math.pi * t / T)) / 2),
    "restarts": (mg.Cosine(5), (0.2, 0.01), lambda t, a, b: b + (a - b) * (1 + math.cos(math.pi * (t % 5) / 5)) / 2),
    "warm-up": (
        mg.WarmUp(mg.Polynomial()),
        (4.5, 0.3, 0.01, 1.0),
        lambda t, n, a, b, p: min(1, (t + 1) / n) * (b + (a - b) * (1 - t / T) ** p),
    ),
}
names = pytest.mark.parametrize("name", SCHEDULES)
TASK = random_quadratic(3, 4, seed=2)


def prepared(name, rule=None, field="eta"):
    schedule, numbers, formula = SCHEDULES[name]
    return mg.Following(mg.GradientDescent() if rule is None else rule, **{field: schedule}), numbers, formula


@names
def test_every_step_against_the_formula(name):
    schedule, numbers, formula = SCHEDULES[name]
    for t in range(T):
        assert schedule(schedule.Phi(*numbers), t, T) == pytest.approx(formula(t, *numbers), rel=1e-13)
    assert schedule(schedule.Phi(*numbers), 0, None) == schedule(schedule.Phi(*numbers), 0, T)


def test_beyond_the_horizon():
    for t in (T, T + 1, 10 * T):
        assert mg.Cosine()(mg.Cosine.Phi(0.2, 0.01), t, T) == 0.01
        assert mg.Polynomial()(mg.Polynomial.Phi(0.2, 0.01, 2.0), t, T) == 0.01
        assert mg.WarmUp(mg.Cosine())(mg.WarmUp(mg.Cosine()).Phi(3.0, 0.2, 0.01), t, T) == 0.01
    assert mg.Exponential()(mg.Exponential.Phi(1.0, 0.5), 20, T) == 0.5**20


@names
@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
def test_the_chain_rule_through_a_schedule_of_free_entries(name, gradient):
    """Values and derivatives are those of `Scheduled` with the entries of the formula."""
    rule, numbers, formula = prepared(name)
    phi, h = rule.Phi(*numbers), 1e-6
    etas = np.array([formula(t, *numbers) for t in range(T)])
    free = mg.meta_gradient(TASK, mg.Scheduled(mg.GradientDescent()), mg.LogFinal(), etas, steps=T, gradient=gradient)
    slopes = free.grad.eta.to_float()
    for method in ("reverse", "forward"):
        found = mg.meta_gradient(TASK, rule, mg.LogFinal(), phi, steps=T, gradient=gradient, method=method)
        np.testing.assert_allclose(found.value.to_float(), free.value.to_float(), rtol=1e-12)
        for k, a in enumerate(found.grad):
            ahead, behind = (
                np.array([formula(t, *[x + s * h * (i == k) for i, x in enumerate(numbers)]) for t in range(T)])
                for s in (1, -1)
            )
            assert float(a.to_float()) == pytest.approx(slopes @ (ahead - behind) / (2 * h), rel=1e-7), phi._fields[k]


@names
def test_the_time_is_that_of_the_run(name):
    """In windows the value is that of the whole run, and one window is the whole gradient, bit for bit."""
    rule, numbers, _ = prepared(name, mg.Momentum())
    phi = rule.Phi(*numbers, 0.5)
    whole = mg.meta_gradient(TASK, rule, mg.MeanLog(), phi, steps=T)
    cut = mg.meta_gradient(TASK, rule, mg.MeanLog(), phi, steps=T, method="windows", window=5)
    assert np.array_equal(cut.value.mantissa, whole.value.mantissa)
    one = mg.meta_gradient(TASK, rule, mg.MeanLog(), phi, steps=T, method="windows", window=T)
    for a, b in zip(whole.grad, one.grad, strict=True):
        assert np.array_equal(a.mantissa, b.mantissa)
    # The last window alone, by hand: a run from its start, with the time and the horizon of the whole
    _, end = mg.rollout(TASK, mg.Scheduled(mg.Momentum(), ("eta",)), entries_of(name, 0.5), steps=T, with_end=True)
    _, ours = mg.rollout(TASK, rule, phi, steps=T, with_end=True)
    np.testing.assert_allclose(ours.w, end.w, rtol=1e-12)


def entries_of(name, mu):
    _, numbers, formula = SCHEDULES[name]
    return mg.Momentum.Phi(np.array([formula(t, *numbers) for t in range(T)]), mu)


def test_within_a_joint_and_beside_a_learned_start():
    rule, numbers, _ = prepared("warm-up")
    task = TASK

    class Scaled:
        """The task with a factor in its loss."""

        def __init__(self, factor=1.0):
            self.factor = factor

        def given(self, phi):
            return Scaled(phi)

        def init(self, stream):
            return task.w0

        def loss(self, w, sample):
            return self.factor * task.loss(w, sample)

    phi = mg.Joint(rule.Phi(*numbers), np.asarray(1.0))
    joint = mg.meta_gradient(Scaled(), rule, mg.Final(), phi, steps=T)
    alone = mg.meta_gradient(task, rule, mg.Final(), phi.rule, steps=T)
    for a, b in zip(joint.grad.rule, alone.grad, strict=True):
        assert worst_difference(a, b) <= 1e-12


def test_several_fields_and_what_stays():
    rule = mg.Following(mg.Momentum(), eta=mg.Exponential(), mu=mg.Polynomial())
    assert rule.Phi._fields == ("eta_start", "eta_factor", "mu_start", "mu_end", "mu_power")
    only = mg.Following(mg.Adam(), eta=mg.Cosine())
    assert only.Phi(0.1, 0.01) == (0.1, 0.01, 0.9, 0.999, 1e-8)
    assert only.decays == ("beta1", "beta2")
    assert mg.Following(mg.Adam(), beta1=mg.Exponential()).decays == ("beta2",)
    phi = rule.Phi(0.2, 0.95, 0.3, 0.8, 1.5)
    reverse, forward = (
        mg.meta_gradient(TASK, rule, mg.LogFinal(), phi, steps=T, method=m) for m in ("reverse", "forward")
    )
    for a, b in zip(reverse.grad, forward.grad, strict=True):
        assert worst_difference(a, b) <= 1e-11
    again = pickle.loads(pickle.dumps(phi))
    assert again == phi
    assert type(again) is type(phi)


@pytest.mark.parametrize("kind", ["coordinate", "task"])
def test_parameters_of_every_shape(kind):
    rule, numbers, _ = prepared("warm-up")
    shape = {"coordinate": (4,), "task": (3,)}[kind]
    phi = rule.Phi(*[x * np.linspace(0.9, 1.0, *shape) for x in numbers])
    reverse, forward = (
        mg.meta_gradient(TASK, rule, mg.Final(), phi, steps=T, per_task=kind == "task", method=m)
        for m in ("reverse", "forward")
    )
    for a, b, given in zip(reverse.grad, forward.grad, phi, strict=True):
        assert a.shape == given.shape
        assert worst_difference(a, b) <= 1e-11


def test_one_schedule_a_layer():
    class Two:
        def init(self, stream):
            return {"a": np.ones((1, 2)), "b": np.ones((1, 3))}

        def loss(self, w, sample):
            return np.sum(w["a"] ** 2, axis=-1) + 0.5 * np.sum(w["b"] ** 2, axis=-1)

    rule = mg.Following(mg.GradientDescent(), eta=mg.WarmUp(mg.Cosine()))
    phi = rule.Phi({"a": 2.0, "b": 3.5}, {"a": 0.1, "b": 0.2}, 0.01)
    found = mg.meta_gradient(Two(), rule, mg.Final(), phi, steps=4)
    h = 1e-6
    ahead, behind = (
        mg.value(Two(), rule, mg.Final(), phi._replace(eta_warm={"a": 2.0, "b": 3.5 + s * h}), steps=4).value.to_float()
        for s in (1, -1)
    )
    assert float(found.grad.eta_warm["b"].to_float()) == pytest.approx(((ahead - behind) / (2 * h)).item(), rel=1e-7)


def test_coordinates_of_the_parameters_and_parameters_of_coordinates():
    rule, numbers, _ = prepared("warm-up")
    outer = mg.Unconstrained(rule)
    assert outer.Phi._fields == ("log_eta_warm", "log_eta_start", "log_eta_end", "log_eta_power")
    phi = rule.Phi(*numbers)
    plain = mg.meta_gradient(TASK, rule, mg.LogFinal(), phi, steps=T)
    found = mg.meta_gradient(TASK, outer, mg.LogFinal(), outer.free(phi), steps=T)
    for x, a, b in zip(phi, plain.grad, found.grad, strict=True):
        assert float(b.to_float()) == pytest.approx(x * float(a.to_float()), rel=1e-11)
    inner = mg.Following(mg.Unconstrained(mg.GradientDescent()), log_eta=mg.Polynomial())
    found = mg.meta_gradient(TASK, inner, mg.LogFinal(), inner.Phi(math.log(0.2), math.log(0.1), 1.0), steps=2)
    entries = np.array([0.2, 0.02**0.5])
    free = mg.meta_gradient(TASK, mg.Scheduled(mg.GradientDescent()), mg.LogFinal(), entries, steps=2).grad.eta
    slopes = free.to_float() * entries
    assert float(found.grad.log_eta_start.to_float()) == pytest.approx(slopes @ [1, 0.5], rel=1e-11)
    mu = mg.Unconstrained(mg.Following(mg.Momentum(), mu=mg.Cosine()))
    assert mu.Phi._fields == ("log_eta", "logit_mu_start", "logit_mu_end")


def test_beside_a_schedule_of_entries():
    """`Scheduled` outside: one field follows, another has an entry a step."""
    following = mg.Following(mg.Momentum(), eta=mg.Exponential())
    rule, mu = mg.Scheduled(following, ("mu",)), np.linspace(0.1, 0.6, 5)
    found = mg.meta_gradient(TASK, rule, mg.LogFinal(), following.Phi(0.2, 0.9, mu), steps=5)
    both = mg.Momentum.Phi(0.2 * 0.9 ** np.arange(5), mu)
    free = mg.meta_gradient(TASK, mg.Scheduled(mg.Momentum()), mg.LogFinal(), both, steps=5)
    np.testing.assert_allclose(found.grad.mu.to_float(), free.grad.mu.to_float(), rtol=1e-11)
    assert float(found.grad.eta_start.to_float()) == pytest.approx(
        free.grad.eta.to_float() @ 0.9 ** np.arange(5), rel=1e-11
    )


class Averaged:
    """Gradient descent whose answer moves a share eta towards the start: it needs the step size of the last step."""

    Phi = mg.GradientDescent.Phi

    def init(self, phi, w):
        return w

    def step(self, phi, state, w, f):
        return w - phi.eta * f.gradient(w), state

    def answer(self, phi, state, w):
        return w + phi.eta * (state - w)

    def check_phi(self, phi, where):
        return mg.GradientDescent().check_phi(phi, where)


def test_the_answer_has_the_step_size_of_the_last_step():
    rule, numbers, formula = prepared("cosine", Averaged())
    phi, h = rule.Phi(*numbers), 1e-6
    end = mg.rollout(TASK, mg.Scheduled(mg.GradientDescent()), entries_of("cosine", 0.5).eta, steps=T, with_end=True)[
        1
    ].w
    answer = end + formula(T - 1, *numbers) * (TASK.w0 - end)
    found = mg.meta_gradient(TASK, rule, mg.Final(), phi, steps=T)
    np.testing.assert_allclose(found.value.to_float(), TASK.loss(answer, None), rtol=1e-12)
    ahead, behind = (
        mg.value(TASK, rule, mg.Final(), phi._replace(eta_end=phi.eta_end + s * h), steps=T).value.to_float().mean()
        for s in (1, -1)
    )
    assert float(found.grad.eta_end.to_float()) == pytest.approx((ahead - behind) / (2 * h), rel=1e-7)


def test_a_rollout_of_another_horizon():
    rule, numbers, _ = prepared("cosine")
    short, long = (mg.rollout(TASK, rule, rule.Phi(*numbers), steps=n) for n in (T, 2 * T))
    assert short.shape == (T + 1, 3)
    assert np.array_equal(short[:2], long[:2]), "the first step has the same size"
    assert not np.array_equal(short[2], long[2]), "the second is that of another horizon"


def test_far_beyond_the_range_and_on_the_double():
    rule = mg.Following(mg.GradientDescent(), eta=mg.Exponential())
    assert rule.homogeneous
    task = mg.DiagonalQuadratic(np.array([1.0]), np.array([1.0]))
    found = mg.meta_gradient(task, rule, mg.LogFinal(), rule.Phi(3.0, 1.0), steps=3000)
    assert found.ok
    assert float(found.grad.eta_start.to_float()) == pytest.approx(1.0, rel=1e-12)  # 2 log|1 - eta|
    rule, numbers, _ = prepared("warm-up")
    phi = rule.Phi(*map(np.asarray, numbers))
    here = mg.Reverse()(TASK, rule, mg.LogFinal(), phi, steps=T)
    there = mg.Reverse()(
        *(move(x, double.NAMESPACE) for x in (TASK, rule)), mg.LogFinal(), move(phi, double.NAMESPACE), steps=T
    )
    for a, b in zip(here.grad, there.grad, strict=True):
        np.testing.assert_allclose(b.to_float().get(), a.to_float(), rtol=1e-12)


def test_a_step_by_hand_needs_the_horizon():
    rule, numbers, _ = prepared("cosine")
    w, phi = np.ones((1, 2)), rule.Phi(*numbers)
    state = rule.init(phi, w)
    with pytest.raises(
        TypeError, match=r"Cosine: steps is None at t = 3; expected a horizon.*FixedGradient\(g, t, steps"
    ):
        rule.step(phi, state, w, mg.FixedGradient(w, 3))
    assert rule.step(phi, state, w, mg.FixedGradient(w, 3, 6))[0][0, 0] == pytest.approx(1 - 0.105)


GD = mg.GradientDescent()
COSINE = mg.Following(GD, eta=mg.Cosine())


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: mg.Following(GD, mu=mg.Cosine()), TypeError, "one for 'mu' of a GradientDescent; .* Known: 'eta'"),
        (lambda: mg.Following(GD, eta=mg.Cosine), TypeError, "eta is the class Cosine; expected a schedule"),
        (lambda: mg.Following(GD, eta=0.1), TypeError, "eta is 0.1; expected a schedule"),
        (lambda: mg.Following(GD), TypeError, "schedules is nothing"),
        (lambda: mg.Following(mg.Scheduled(GD), eta=mg.Cosine()), TypeError, r"Write Scheduled\(Following"),
        (lambda: mg.Following(mg.GradientDescent, eta=mg.Cosine()), TypeError, "rule is the class GradientDescent"),
        (lambda: COSINE.check_phi(0.1, "here"), TypeError, "here: phi is a float; .*rule.Phi.eta_start=..., eta_end"),
        (
            lambda: COSINE.check_phi(COSINE.Phi(0.1, float("nan")), "here"),
            ValueError,
            "here, the schedule of eta: end is nan; expected a finite number",
        ),
        (
            lambda: COSINE.check_phi(COSINE.Phi(-0.1, 0.3), "here"),
            ValueError,
            r"here: eta is -0\.1.*; expected a step size",
        ),
        (lambda: COSINE.check_phi(COSINE.Phi(0.1, -0.3), "here"), ValueError, "here, half-way: eta is -0.0"),
        (lambda: mg.Cosine(0), ValueError, "period is 0; expected an integer of at least 1"),
        (lambda: mg.Cosine(2.0), TypeError, "period is 2.0, a float"),
        (lambda: mg.WarmUp(mg.Cosine), TypeError, "then is the class Cosine"),
        (lambda: mg.WarmUp(mg.WarmUp(mg.Cosine())), TypeError, "one that warms up itself"),
    ],
)
def test_bad_schedules(build, kind, message):
    with pytest.raises(kind, match=message):
        build()


def test_every_step_of_the_run_is_in_range():
    growing = mg.Following(mg.Momentum(), mu=mg.Exponential())
    phi = growing.Phi(0.1, 0.5, 1.1)
    assert mg.meta_gradient(TASK, growing, mg.Final(), phi, steps=5).ok
    with pytest.raises(ValueError, match=r"meta_gradient, in the course of 20 steps: mu is 3\.05.*; expected a decay"):
        mg.meta_gradient(TASK, growing, mg.Final(), phi, steps=20)
    assert mg.meta_gradient(TASK, COSINE, mg.Final(), COSINE.Phi(0.1, 0.0), steps=20).ok, "no step has the end, 0"


def test_a_schedule_of_ones_own():
    from typing import NamedTuple

    class Linear:
        class Phi(NamedTuple):
            c: np.ndarray

        def __call__(self, phi, t, steps):
            return phi.c[0] + phi.c[1] * t + phi.c[2] * t**2

        def check_phi(self, phi, where):
            return phi

    rule = mg.Following(GD, eta=Linear())
    c, h = np.array([0.02, 0.003, -0.001]), 1e-6
    found = mg.meta_gradient(TASK, rule, mg.LogFinal(), rule.Phi(c), steps=3).grad.eta_c.to_float()
    for k, e in enumerate(h * np.eye(3)):
        ahead, behind = (
            mg.value(TASK, rule, mg.LogFinal(), rule.Phi(c + s * e), steps=3).value.to_float().mean() for s in (1, -1)
        )
        assert found[k] == pytest.approx((ahead - behind) / (2 * h), rel=1e-6)
    assert ad.leaves(rule.Phi(c))[0] is c
