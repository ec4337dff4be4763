"""Groups of arrays with rules of their own: one group is the rule itself, several are blocks of one update."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.xp import move, rng
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference

DRAW = rng(3, "grouped")
X, Y = DRAW.standard_normal((2, 20, 3)), DRAW.standard_normal((2, 20))
W0 = {"body": {"W": 0.5 * DRAW.standard_normal((2, 3, 4)), "b": np.zeros((2, 4))}, "head": DRAW.standard_normal((2, 4))}
LABEL = {"body": {"W": "body", "b": "body"}, "head": "head"}


class Network:
    """A small network, two tasks; w is a dict in a dict."""

    def __init__(self, x=X, y=Y, w0=None):
        self.x, self.y, self.w0 = x, y, W0 if w0 is None else w0

    def init(self, stream):
        return self.w0

    def loss(self, w, sample):
        hidden = np.tanh(np.matmul(self.x, w["body"]["W"]) + w["body"]["b"][:, None])
        return np.mean((np.einsum("bnh,bh->bn", hidden, w["head"]) - self.y) ** 2, axis=-1) + 0.1


BOTH = mg.Grouped({"body": mg.GradientDescent(), "head": mg.Adam()}, LABEL)
PHI = {"body": mg.GradientDescent.Phi(0.2), "head": mg.Adam.Phi(0.05, 0.8, 0.9, 0.01)}


@pytest.mark.parametrize("per_task", [False, True])
def test_groups_of_one_rule_are_the_rule(per_task):
    one = mg.Grouped({"a": mg.Adam(), "b": mg.Adam()}, lambda path: "a" if "body" in path else "b")
    phi = PHI["head"]
    if per_task:
        phi = type(phi)(*[x * np.array([1.0, 0.9]) for x in phi])
    whole = mg.meta_gradient(Network(), mg.Adam(), mg.MeanLog(), phi, steps=5, per_task=per_task)
    found = mg.meta_gradient(Network(), one, mg.MeanLog(), {"a": phi, "b": phi}, steps=5, per_task=per_task)
    assert np.array_equal(found.value.mantissa, whole.value.mantissa)
    for total, a, b in zip(whole.grad, found.grad["a"], found.grad["b"], strict=True):
        assert worst_difference(a + b, total) <= 1e-11


def test_two_rules_against_forward_and_differences():
    reverse, forward = (
        mg.meta_gradient(Network(), BOTH, mg.LogFinal(), PHI, steps=5, method=m) for m in ("reverse", "forward")
    )
    for a, b in zip(ad.leaves(reverse.grad), ad.leaves(forward.grad), strict=True):
        assert worst_difference(a, b) <= 1e-11
    flat, h = ad.leaves(PHI), 1e-6
    for k, a in enumerate(ad.leaves(reverse.grad)):
        ahead, behind = (
            mg.value(
                Network(),
                BOTH,
                mg.LogFinal(),
                ad.unflatten(PHI, [x + s * h * (i == k) for i, x in enumerate(flat)]),
                steps=5,
            )
            for s in (1, -1)
        )
        slope = (ahead.value.to_float().mean() - behind.value.to_float().mean()) / (2 * h)
        assert float(a.to_float()) == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_step_by_step():
    w, task = W0, Network()
    g = ad.grad(lambda u: task.loss(u, None))(w)
    moved, state = BOTH.step(PHI, BOTH.init(PHI, w), w, mg.FixedGradient(g))
    np.testing.assert_allclose(moved["body"]["W"], w["body"]["W"] - 0.2 * g["body"]["W"], rtol=1e-15)
    np.testing.assert_allclose(moved["head"], w["head"] - 0.05 * g["head"] / (abs(g["head"]) + 0.01), rtol=1e-12)
    assert set(state) == {"body", "head"}
    assert BOTH.homogeneous is False
    assert mg.Grouped({"a": mg.Momentum(), "b": mg.GradientDescent()}, LABEL).homogeneous


class Ahead:
    """A rule that asks for the gradient elsewhere, for the loss, and for the gradient by name."""

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        there = ad.tree_map(lambda x, g: x - phi * g, w, f.gradient(w))
        g = f.gradient(there)
        named = f.ask(lambda task, w, sample: ad.grad(lambda u: task.loss(u, sample))(w), there)
        for a, b in zip(ad.leaves(g), ad.leaves(named), strict=True):
            np.testing.assert_allclose(ad.stop_gradient(a), ad.stop_gradient(b), rtol=1e-12)
        assert ad.stop_gradient(f(there)).shape == (2,)
        return ad.tree_map(lambda x, g: x - phi * g, w, g), state


def test_what_a_group_asks_elsewhere_leaves_the_others_where_they_are():
    rule = mg.Grouped({"body": Ahead(), "head": Ahead()}, LABEL)
    phi, task, w = {"body": np.asarray(0.1), "head": np.asarray(0.3)}, Network(), W0
    gradient = ad.grad(lambda u: task.loss(u, None))
    g = gradient(w)
    for_body = w | {"body": ad.tree_map(lambda x, g: x - 0.1 * g, w["body"], g["body"])}
    for_head = w | {"head": w["head"] - 0.3 * g["head"]}
    end = mg.rollout(task, rule, phi, steps=1, with_end=True)[1].w
    np.testing.assert_allclose(end["body"]["W"], w["body"]["W"] - 0.1 * gradient(for_body)["body"]["W"], rtol=1e-14)
    np.testing.assert_allclose(end["head"], w["head"] - 0.3 * gradient(for_head)["head"], rtol=1e-14)
    reverse, forward = (
        mg.meta_gradient(task, rule, mg.Final(), phi, steps=3, method=m) for m in ("reverse", "forward")
    )
    for a, b in zip(ad.leaves(reverse.grad), ad.leaves(forward.grad), strict=True):
        assert worst_difference(a, b) <= 1e-11


class Averaged:
    """Its answer is half-way to the start."""

    def init(self, phi, w):
        return w

    def step(self, phi, state, w, f):
        return ad.tree_map(lambda x, g: x - phi * g, w, f.gradient(w)), state

    def answer(self, phi, state, w):
        return ad.tree_map(lambda x, y: 0.5 * (x + y), w, state)


def test_the_answer_of_a_group():
    rule = mg.Grouped({"body": Averaged(), "head": mg.GradientDescent()}, LABEL)
    phi = {"body": np.asarray(0.1), "head": mg.GradientDescent.Phi(0.2)}
    found = mg.meta_gradient(Network(), rule, mg.Final(), phi, steps=3)
    end = mg.rollout(Network(), rule, phi, steps=3, with_end=True)[1].w
    answer = end | {"body": ad.tree_map(lambda x, y: 0.5 * (x + y), end["body"], W0["body"])}
    np.testing.assert_allclose(found.value.to_float(), Network().loss(answer, None), rtol=1e-13)


def test_schedules_and_coordinates_in_a_group():
    following = mg.Following(mg.Momentum(), eta=mg.Cosine())
    rule = mg.Grouped({"body": following, "head": mg.Unconstrained(mg.Adam())}, LABEL)
    phi = {"body": following.Phi(0.1, 0.0), "head": mg.Unconstrained(mg.Adam()).free(PHI["head"])}
    assert mg.meta_gradient(Network(), rule, mg.LogFinal(), phi, steps=4).ok
    with pytest.raises(ValueError, match=r"group 'body', in the course of 4 steps: eta is -0\.0.*"):
        mg.meta_gradient(Network(), rule, mg.Final(), phi | {"body": following.Phi(0.1, -0.05)}, steps=4)


def test_on_the_double():
    there = [move(x, double.NAMESPACE) for x in (X, Y, W0)]
    phi = ad.tree_map(np.asarray, PHI)
    here = mg.Reverse()(Network(), BOTH, mg.Final(), phi, steps=3)
    found = mg.Reverse()(Network(*there), BOTH, mg.Final(), move(phi, double.NAMESPACE), steps=3)
    for a, b in zip(ad.leaves(here.grad), ad.leaves(found.grad), strict=True):
        np.testing.assert_allclose(b.to_float().get(), a.to_float(), rtol=1e-11)


def one(label, **rules):
    return lambda: mg.Grouped(rules or {"a": mg.Adam()}, label).init({"a": mg.Adam.Phi(0.1)}, W0)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (
            one({"body": "a"}),
            TypeError,
            r"label is a tree with \['body'\]; expected a tree like w, with \['body'\]\['W'\]",
        ),
        (one(lambda path: "aa"), ValueError, r"label is 'aa' for w\['body'\]\['W'\]; .*Did you mean 'a'"),
        (one(lambda path: "a", a=mg.Adam(), b=mg.Adam()), ValueError, "label is one without b"),
        (one("a", a=mg.Adam), TypeError, r"rules\['a'\] is the class Adam"),
        (one("a", a=mg.Scheduled(mg.Adam())), TypeError, "Let it follow a schedule"),
        (lambda: mg.Grouped({}, "a"), TypeError, "rules is {}"),
        (
            lambda: BOTH.check_phi(0.1, "here"),
            TypeError,
            "here: phi is a float; expected a dict with the groups body, h",
        ),
        (lambda: BOTH.check_phi({"body": 0.1}, "here"), TypeError, "phi is a dict of body"),
        (lambda: BOTH.check_phi({"body": -0.1, "head": 0.1}, "here"), ValueError, r"here, group 'body': eta is -0\.1"),
    ],
)
def test_bad_groups(build, kind, message):
    with pytest.raises(kind, match=message):
        build()


def test_a_number_a_task_for_a_group_of_smaller_arrays():
    """It comes with as many axes as the largest array of all of w has."""
    clip = mg.Chain(mg.ClipByNorm(), rule=mg.GradientDescent())
    rule = mg.Grouped({"x": mg.GradientDescent(), "y": clip}, {"body": {"W": "x", "b": "y"}, "head": "y"})
    limits, rates = np.array([0.1, 0.2]), np.array([0.2, 0.3])
    phi = {"x": mg.GradientDescent.Phi(rates), "y": clip.Phi(limits, rates)}
    found = mg.meta_gradient(Network(), rule, mg.LogFinal(), phi, steps=4, per_task=True)
    for b in range(2):
        task = Network(X[b : b + 1], Y[b : b + 1], ad.tree_map(lambda x, b=b: x[b : b + 1], W0))
        own = {"x": mg.GradientDescent.Phi(float(rates[b])), "y": clip.Phi(float(limits[b]), float(rates[b]))}
        alone = mg.meta_gradient(task, rule, mg.LogFinal(), own, steps=4)
        for x, y in zip(ad.leaves(found.grad), ad.leaves(alone.grad), strict=True):
            assert float(x[b].to_float()) == pytest.approx(float(y.to_float()), rel=1e-12)


def test_a_limit_a_coordinate_is_still_refused():
    w = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"max_norm is of shape \(2, 3\)"):
        mg.ClipByNorm().gradient(mg.ClipByNorm.Phi(np.ones((2, 3))), mg.FixedGradient(w), w)
