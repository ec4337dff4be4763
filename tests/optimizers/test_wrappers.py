"""Every wrapper passes on what the rule inside has, or refuses the rule: nothing is lost in silence."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import parts
from metagrad.optimizers._safe import Decay
from tests.strategies import random_quadratic

TASK = random_quadratic(2, 3, seed=1)
UNIT = np.array([1.0, 0.0, 0.0])
WRAPPERS = {
    "chain": lambda rule: mg.Chain(mg.WeightDecay(), rule=rule),
    "following": lambda rule: mg.Following(rule, eta=mg.Exponential()),
    "masked": lambda rule: mg.Masked(rule, True),
    "until": lambda rule: mg.Until(rule, 1e-9),
    "scheduled": lambda rule: mg.Scheduled(rule, ("eta",)),
    "stopped": lambda rule: mg.Stopped(rule, 1e3, UNIT),
    "unconstrained": mg.Unconstrained,
}
PHI = {
    "chain": lambda rule: rule.Phi(0.0, 0.1, 0.5),
    "following": lambda rule: rule.Phi(0.1, 1.0, 0.5),
    "scheduled": lambda rule: Full.Phi(np.full(4, 0.1), 0.5),
    "unconstrained": lambda rule: rule.free(Full.Phi(0.1, 0.5)),
}
wrappers = pytest.mark.parametrize("name", WRAPPERS)


class Full:
    """Gradient descent with all optional members but those of time; it notes what it is asked for."""

    homogeneous = True
    decays = ("mu",)

    class Phi(NamedTuple):
        eta: np.ndarray
        mu: np.ndarray = 0.5

    def __init__(self):
        self.asked = []

    def init(self, phi, w):
        return w

    def step(self, phi, state, w, f):
        mu, rest = phi.mu if isinstance(phi.mu, Decay) else (phi.mu, 1 - phi.mu)
        return w - phi.eta * f.gradient(w), mu * state + rest * w

    def answer(self, phi, state, w):
        mu = phi.mu.beta if isinstance(phi.mu, Decay) else phi.mu
        return mu * state + (1 - mu) * w

    def check_phi(self, phi, where):
        self.asked.append("phi")
        if not isinstance(phi, Full.Phi) or np.min(phi.eta) <= 0 or not 0 < np.min(phi.mu) <= np.max(phi.mu) < 1:
            raise ValueError(f"{where}: Full refuses {phi}")
        return phi

    def check_horizon(self, phi, steps, where):
        self.asked.append("horizon")
        if steps > 5:
            raise ValueError(f"{where}: Full takes no {steps} steps")


def phi_of(name, rule):
    return PHI.get(name, lambda rule: Full.Phi(0.1, 0.5))(rule)


@wrappers
def test_the_answer_is_that_of_the_rule(name):
    """Each wrapper is set so that it changes nothing: what is measured is what the bare rule answers."""
    rule = WRAPPERS[name](Full())
    bare = mg.meta_gradient(TASK, Full(), mg.LogFinal(), Full.Phi(0.1, 0.5), steps=4)
    found = mg.meta_gradient(TASK, rule, mg.LogFinal(), phi_of(name, rule), steps=4)
    np.testing.assert_allclose(found.value.to_float(), bare.value.to_float(), rtol=1e-12)


@wrappers
def test_the_checks_are_those_of_the_rule(name):
    inner = Full()
    rule = WRAPPERS[name](inner)
    phi = phi_of(name, rule)
    inner.asked.clear()
    mg.meta_gradient(TASK, rule, mg.LogFinal(), phi, steps=4)
    assert "horizon" in inner.asked
    assert "phi" in inner.asked or name == "unconstrained", "which knows where its coordinates lead"
    longer = phi._replace(eta=np.full(6, 0.1)) if name == "scheduled" else phi
    with pytest.raises(ValueError, match="Full takes no 6 steps"):
        mg.meta_gradient(TASK, rule, mg.LogFinal(), longer, steps=6)
    if name == "unconstrained":
        return  # its coordinates cannot leave the range
    bad = phi._replace(mu=np.full(4, -0.5) if name == "scheduled" else -0.5)
    with pytest.raises(ValueError, match="Full refuses"):
        mg.meta_gradient(TASK, rule, mg.LogFinal(), bad, steps=4)


@wrappers
def test_it_is_homogeneous_only_where_the_rule_is(name):
    class Not(Full):
        homogeneous = False

    assert not parts.is_homogeneous(WRAPPERS[name](Not()))
    changes = {"until", "stopped"}  # a tolerance and a radius stay where w is scaled
    assert parts.is_homogeneous(WRAPPERS[name](Full())) == (name not in changes)


@pytest.mark.parametrize("name", ["chain", "following", "masked", "until", "stopped"])
def test_decays_keep_their_rest(name):
    """1 - mu has all its digits where mu itself is 1 in float64."""
    free = mg.Unconstrained(WRAPPERS[name](Full()))
    assert parts.decays(free.rule) == ("mu",)
    fields = free.Phi._fields
    assert "logit_mu" in fields

    class Telling(Full):
        def step(self, phi, state, w, f):
            assert isinstance(phi.mu, Decay)
            return super().step(phi, state, w, f)

    telling = mg.Unconstrained(WRAPPERS[name](Telling()))
    start = telling.Phi(*[0.0 if x == "logit_mu" else -2.0 for x in fields])
    assert mg.meta_gradient(TASK, telling, mg.LogFinal(), start, steps=2).ok


class ByTime(Full):
    """A rule with a function of time: eta_t = eta (1 + t)."""

    def at(self, phi, t):
        return phi._replace(eta=phi.eta * (1 + t))


class ByEntry(Full):
    """A rule whose eta has an entry a step."""

    entries = ("eta",)

    def at(self, phi, t):
        return phi._replace(eta=phi.eta[t])

    def check_phi(self, phi, where):
        return phi


@pytest.mark.parametrize("name", ["chain", "following", "masked", "until", "unconstrained", "scheduled", "stopped"])
def test_what_depends_on_time_goes_through_or_is_refused(name):
    expected = mg.meta_gradient(TASK, ByTime(), mg.LogFinal(), Full.Phi(0.05, 0.5), steps=4)
    if name in ("scheduled", "stopped"):
        with pytest.raises(TypeError, match="expected a rule without"):
            WRAPPERS[name](ByTime())
        return
    rule = WRAPPERS[name](ByTime())
    phi = phi_of(name, rule)
    phi = phi._replace(**{{"following": "eta_start"}.get(name, "eta"): 0.05}) if name != "unconstrained" else phi
    if name == "unconstrained":
        with pytest.raises(TypeError, match="holds a ByTime in `rule` and has not its `at`"):
            mg.meta_gradient(TASK, rule, mg.LogFinal(), phi, steps=4)
        return
    found = mg.meta_gradient(TASK, rule, mg.LogFinal(), phi, steps=4)
    np.testing.assert_allclose(found.value.to_float(), expected.value.to_float(), rtol=1e-12)
    mine = found.grad.eta_start if name == "following" else found.grad.eta
    assert float(mine.to_float()) == pytest.approx(float(expected.grad.eta.to_float()), rel=1e-11)


@wrappers
def test_entries_go_through_or_are_refused(name):
    if name in ("masked", "until"):
        rule = WRAPPERS[name](ByEntry())
        phi = Full.Phi(np.linspace(0.1, 0.2, 4), 0.5)
        a, b = (mg.meta_gradient(TASK, r, mg.LogFinal(), phi, steps=4) for r in (ByEntry(), rule))
        np.testing.assert_allclose(b.grad.eta.to_float(), a.grad.eta.to_float(), rtol=1e-12)
        return

    def build():
        rule = WRAPPERS[name](ByEntry())
        mg.meta_gradient(TASK, rule, mg.LogFinal(), phi_of(name, rule), steps=4)

    with pytest.raises(TypeError, match=r"Write Scheduled|without a schedule|has not its `at`"):
        build()


@pytest.mark.parametrize("name", ["masked", "until"])
def test_a_whole_schedule_inside(name):
    phi = mg.GradientDescent.Phi(np.linspace(0.1, 0.3, 6))
    a = mg.meta_gradient(TASK, mg.Scheduled(mg.GradientDescent()), mg.LogFinal(), phi, steps=6)
    b = mg.meta_gradient(TASK, WRAPPERS[name](mg.Scheduled(mg.GradientDescent())), mg.LogFinal(), phi, steps=6)
    np.testing.assert_allclose(b.grad.eta.to_float(), a.grad.eta.to_float(), rtol=1e-12)
    with pytest.raises(ValueError, match="5 entries"):
        mg.meta_gradient(TASK, WRAPPERS[name](mg.Scheduled(mg.GradientDescent())), mg.LogFinal(), phi, steps=5)


def test_wrappers_in_each_other():
    inner = mg.Chain(mg.ClipByNorm(), mg.WeightDecay(), rule=mg.AdamW())
    rule = mg.Until(mg.Masked(mg.Following(inner, eta=mg.WarmUp(mg.Cosine())), np.array([True, True, False])), 0.05)
    phi = rule.Phi(0.5, 0.01, 2.5, 0.2, 0.02, 0.8, 0.9, 0.01, 0.1)
    reverse, forward = (
        mg.meta_gradient(TASK, rule, mg.MeanLog(), phi, steps=9, method=m) for m in ("reverse", "forward")
    )
    h = 1e-6
    for name, a, b in zip(phi._fields, reverse.grad, forward.grad, strict=True):
        assert float(a.to_float()) == pytest.approx(float(b.to_float()), rel=1e-10)
        ahead, behind = (
            mg.value(TASK, rule, mg.MeanLog(), phi._replace(**{name: getattr(phi, name) + s * h}), steps=9)
            for s in (1, -1)
        )
        slope = (ahead.value.to_float().mean() - behind.value.to_float().mean()) / (2 * h)
        assert float(a.to_float()) == pytest.approx(slope, rel=1e-5, abs=1e-8), name


@pytest.mark.parametrize(
    ("around", "message"),
    [
        (lambda rule: mg.Masked(rule, True), "rule is a Masked around a ByTime, which has an `at`"),
        (lambda rule: mg.Until(rule, 0.1), "rule is a Until around a ByTime, which has an `at`"),
        (lambda rule: mg.Until(mg.Masked(rule, True), 0.1), "rule is a Until around a ByTime, which"),
        (lambda rule: rule, "rule is a ByTime, which has an `at`"),
    ],
)
def test_the_rule_with_a_time_of_its_own_is_named(around, message):
    with pytest.raises(TypeError, match=message):
        mg.Scheduled(around(ByTime()), ("eta",))


def test_a_wrapper_that_does_not_complete_phi():
    class Own:
        def __init__(self, rule):
            self.rule = rule

        def init(self, phi, w):
            return self.rule.init(phi, w)

        def step(self, phi, state, w, f):
            return self.rule.step(phi, state, w, f)

    with pytest.raises(TypeError, match="step: phi is a float; expected the `Phi` of the rule"):
        mg.rollout(TASK, Own(mg.GradientDescent()), 0.02, steps=2)


def test_a_schedule_completes_a_bare_array():
    scheduled = mg.Scheduled(mg.GradientDescent())
    bare, full = (
        mg.Reverse()(TASK, scheduled, mg.Final(), phi, steps=2)
        for phi in (np.full(2, 0.1), mg.GradientDescent.Phi(np.full(2, 0.1)))
    )
    assert np.array_equal(bare.grad.eta.mantissa, full.grad.eta.mantissa)
