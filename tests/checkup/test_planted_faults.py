"""Each of these parts has one fault; `mg.check` finds it, and says by name what it is."""

import re
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad

DRAW = np.random.default_rng(0)
X, Y = DRAW.standard_normal((2, 6, 3)), DRAW.standard_normal((2, 6))
W0 = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


class Phi(NamedTuple):
    eta: np.ndarray
    beta: np.ndarray = np.asarray(0.6)


PHI = Phi(np.asarray(0.05))


def cosh(w):
    return np.sum(np.cosh(w - 0.3), axis=-1)


class Task:
    """A right one; each fault replaces a member."""

    def init(self, rng):
        return W0.copy()

    def loss(self, w, sample):
        return cosh(w)


class Rule:
    """A right one; each fault replaces a member."""

    def init(self, phi, w):
        return np.zeros_like(w)

    def step(self, phi, v, w, f):
        v = phi.beta * v - phi.eta * f.gradient(w)
        return w + v, v


def task(**members):
    return type("Faulty", (Task,), members)()


def rule(step=None, **members):
    return type("Faulty", (Rule,), members | ({} if step is None else {"step": step}))()


# -- faults of a task: name of the check that fails, what it says, the task


def impure():
    draw = np.random.default_rng(1)
    return task(loss=lambda self, w, s: cosh(w) + draw.standard_normal(len(w)))


def counting():
    class Counting(Task):
        calls = 0

        def loss(self, w, sample):
            self.calls += 1
            return cosh(w) * (1 + self.calls)

    return Counting()


def cached():
    class Cached(Task):
        kept = None

        def gradient(self, w, sample):
            if self.kept is None:
                self.kept = np.sinh(w - 0.3)
            return self.kept

    return Cached()


def cached_loss():
    kept = []

    def loss(self, w, sample):
        if not kept:
            kept.append(cosh(w))
        return kept[0]

    return task(loss=loss)


def of_data(changes):
    data = X.copy()

    def loss(self, w, sample):
        changes(data)
        return np.mean((np.einsum("bni,bi->bn", data, w) - Y) ** 2, axis=-1)

    return task(loss=loss)


def seeing():
    seen = np.zeros(2)

    def loss(self, w, sample):
        seen[0] += 1
        return cosh(w)

    return task(loss=loss)


def centred(data):
    data -= 0.0 * data.mean() + 1e-3


def with_nan():
    y = Y.copy()
    y[1, 3] = np.nan
    return task(loss=lambda self, w, s: np.mean((np.einsum("bni,bi->bn", X, w) - y) ** 2, axis=-1))


def wide_data():
    x = X.astype("float64")
    return task(
        init=lambda self, rng: W0.astype("float32"),
        loss=lambda self, w, s: np.mean(np.einsum("bni,bi->bn", x, w) ** 2, axis=-1),
    )


def own_stream():
    draw = np.random.default_rng(2)
    return task(sample=lambda self, rng, t: draw.standard_normal(3), loss=lambda self, w, s: cosh(w - s))


def written(self, w, sample):
    w -= 0.3
    return np.sum(np.cosh(w), axis=-1)


def cancels(self, w, sample):
    w = w / 1000
    return np.sum((1 + w) ** 4 - 1 - 4 * w, axis=-1)


TASKS = {
    "in place": ("task: loss", r"Faulty\.loss: .* written into", lambda: task(loss=written)),
    "a stream of its own": ("task: pure", "another loss", impure),
    "a counter": ("task: pure", "another loss", counting),
    "a cache": ("task: own gradient", "gradient is", cached),
    "a loss that is kept": ("task: pure", "the same loss at another w", cached_loss),
    "a gradient of a factor": (
        "task: own gradient",
        "gradient is .* at w",
        lambda: task(gradient=lambda self, w, s: np.sinh(w - 0.3) / 2),
    ),
    "a gradient without its sign": (
        "task: own gradient",
        "gradient is .* at w",
        lambda: task(gradient=lambda self, w, s: np.absolute(np.sinh(w - 0.3))),
    ),
    "a gradient of a shape": (
        "task: own gradient",
        "of shapes",
        lambda: task(gradient=lambda self, w, s: np.sum(np.sinh(w - 0.3), axis=0, keepdims=True)),
    ),
    "a gradient held constant": (
        "task: second order",
        "a Hessian-vector product",
        lambda: task(gradient=lambda self, w, s: ad.stop_gradient(np.sinh(w - 0.3))),
    ),
    "a degree": ("task: degree", "degree is 2", lambda: task(degree=2)),
    "a degree near zero": (
        "task: degree",
        "degree is 2",
        lambda: task(degree=2, loss=lambda self, w, s: np.sum(np.sqrt(1 + (w / 1e6) ** 2) - 1, axis=-1)),
    ),
    "a sum over tasks": ("task: loss", r"of shape \(\)", lambda: task(loss=lambda self, w, s: np.sum(w**2))),
    "a number": ("task: loss", "the loss is a float", lambda: task(loss=lambda self, w, s: 1.0)),
    "an axis that is kept": (
        "task: loss",
        r"of shape \(2, 1\)",
        lambda: task(loss=lambda self, w, s: np.sum(w**2, axis=-1, keepdims=True)),
    ),
    "a mean over tasks": (
        "task: tasks apart",
        "changes with w of task",
        lambda: task(loss=lambda self, w, s: cosh(w - np.mean(w, axis=0))),
    ),
    "a count of tasks": (
        "task: tasks apart",
        "in a batch of 2",
        lambda: task(loss=lambda self, w, s: cosh(w) / len(w)),
    ),
    "float64 data": ("task: loss", "of float64 for w of float32, where .*x is float64", wide_data),
    "a NaN in the data": ("task: finite", r"1 of 2 tasks, first 1; y has 1 .* NaN, first at \(1, 3\)", with_nan),
    "a logarithm of zero": (
        "task: finite",
        "the loss is no finite number",
        lambda: task(loss=lambda self, w, s: np.sum(np.log((w - 2.0) ** 2), axis=-1)),
    ),
    "a start with NaN": ("task: start", "w_0 has 2 .* NaN", lambda: task(init=lambda self, rng: W0 * [1, np.nan, 1])),
    "a start of integers": ("task: start", "int64", lambda: task(init=lambda self, rng: np.ones((2, 3), dtype=int))),
    "a start of lists": ("task: start", "is a float", lambda: task(init=lambda self, rng: [[1.0, 2.0], [3.0, 4.0]])),
    "a sample of its own": ("task: sample", "another sample", own_stream),
    "data that change": ("task: data", "seen changed", seeing),
    "data that drift": ("task: pure", "another loss", lambda: of_data(centred)),
    "digits lost inside": (
        "task: digits",
        "the loss loses 6 of 7 digits",
        lambda: task(loss=cancels, init=lambda self, rng: W0.astype("float32")),
    ),
    "rounding held for a gradient": (
        "task: gradient",
        "the gradient along a line",
        lambda: task(loss=lambda self, w, s: cosh(ad.stop_gradient(w)) + np.sum(w * 0.1, axis=-1)),
    ),
    "an array of two names": (
        "task: traced",
        "when it is differentiated",
        lambda: task(loss=two_names),
    ),
}


def two_names(self, w, sample):
    u = v = w + 1.0
    u *= 2.0
    return np.sum(u + v, axis=-1)


@pytest.mark.parametrize("name", TASKS)
def test_a_fault_of_a_task(name):
    check, said, make = TASKS[name]
    report = mg.check(make())
    found = {one.name: one for one in report.failures}
    assert check in found, str(report)
    assert not report.ok
    assert re.search(said, found[check].came), found[check]
    assert found[check].remedy
    with pytest.raises(ValueError, match=r"^check: the task or the rule is "):
        report.raise_if_failed()


# -- faults of a rule


class CountingRule(Rule):
    t = 0

    def init(self, phi, w):
        self.t = 0
        return super().init(phi, w)

    def step(self, phi, v, w, f):
        self.t += 1
        v = phi.beta * v - phi.eta * min(1.0, self.t / 10) * f.gradient(w)
        return w + v, v


class Buffered(Rule):
    """Keeps its velocity in a buffer of its own."""

    def __init__(self):
        self.buffer = np.zeros((2, 3))

    def step(self, phi, v, w, f):
        g = f.gradient(w)
        self.buffer[...] = self.buffer + ad.stop_gradient(g)
        return w - phi.eta * (g + 1e-9 * self.buffer), v


def in_place(self, phi, v, w, f):
    v *= phi.beta
    v -= phi.eta * f.gradient(w)
    return w + v, v


def clipped(self, phi, v, w, f):
    return w - phi.eta * np.clip(f.gradient(w), -50.0, 50.0), v


def across(self, phi, v, w, f):
    g = f.gradient(w)
    return w - phi.eta * g / (1.0 + np.sqrt(np.sum(g * g))), v


def of_another_shape(self, phi, v, w, f):
    return (w - phi.eta * f.gradient(w))[:, :2], v


def dropped(self, phi, v, w, f):
    return np.mean(w - phi.eta * f.gradient(w), axis=0), v


def alone(self, phi, v, w, f):
    return w - phi.eta * f.gradient(w)


def widened(self, phi, v, w, f):
    return w - np.float64(0.05) * f.gradient(w).astype("float64"), v


def noisy(self, phi, v, w, f):
    return w - phi.eta * f.gradient(w) * DRAW.uniform(0.9, 1.1), v


def shared(self, phi, m, w, f):
    v = m = 0.9 * m + f.gradient(w)
    v /= 2.0
    return w - phi.eta * v, m


def held(self, phi, v, w, f):
    """Of eta the derivative is missing."""
    return w - ad.stop_gradient(phi.eta) * f.gradient(w) + 0.01 * phi.beta * w, v


def far(self, phi, v, w, f):
    return w - 1e200 * phi.eta * f.gradient(w) * 1e200, v


def subtracts(self, phi, v, w, f):
    return (w + 1e12) - 1e12 - phi.eta * f.gradient(w), v


QUADRATIC = mg.Quadratic(np.diag([0.5, 1.0, 2.0]), W0)
RULES = {
    "in place": ("rule: step", r"Faulty\.step: .* written into", lambda: rule(in_place), PHI),
    "a counter": ("rule: pure", r"another step .*; self\.t changed", CountingRule, PHI),
    "a stream of its own": ("rule: pure", "another step", lambda: rule(noisy), PHI),
    "a buffer": ("rule: data", r"self\.buffer changed", Buffered, PHI),
    "not homogeneous": ("rule: homogeneous", "homogeneous is True", lambda: rule(clipped, homogeneous=True), PHI),
    "a norm over all tasks": ("rule: tasks apart", "changes with w of task", lambda: rule(across), PHI),
    "another shape": ("rule: step", r"the next w is of shapes \[\(2, 2\)\]", lambda: rule(of_another_shape), PHI),
    "a dropped axis": ("rule: step", r"the next w is of shapes \[\(3,\)\]", lambda: rule(dropped), PHI),
    "w alone": ("rule: step", "what it returns is a ndarray", lambda: rule(alone), PHI),
    "a state without tasks": (
        "rule: step",
        r"the state is of shape \(\)",
        lambda: rule(init=lambda self, phi, w: np.zeros(())),
        PHI,
    ),
    "an integer": ("rule: meta-parameters", "0, of type int", rule, Phi(np.asarray(0.1), 0)),
    "NaN in phi": ("rule: meta-parameters", r"phi\.beta has NaN", rule, Phi(np.asarray(0.1), np.asarray(np.nan))),
    "an array of two names": ("rule: traced", "when it is differentiated", lambda: rule(shared), PHI),
    "a meta-parameter held": ("run: meta-gradient", "the meta-gradient along a line", lambda: rule(held), PHI),
    "too far": ("rule: finite", "no finite number after", lambda: rule(far), PHI),
    "digits lost inside": ("rule: digits", "the step loses", lambda: rule(subtracts), PHI),
    "a range": ("rule: meta-parameters", "mu is 1.5", mg.Momentum, mg.Momentum.Phi(0.1, 1.5)),
}


@pytest.mark.parametrize("name", RULES)
def test_a_fault_of_a_rule(name):
    check, said, make, phi = RULES[name]
    report = mg.check(QUADRATIC, make(), phi)
    found = {one.name: one for one in report.failures}
    assert check in found, str(report)
    assert set(found) <= {check, "rule: pure"}, str(report)
    assert re.search(said, found[check].came), found[check]
    assert found[check].remedy


def test_a_dtype_that_widens():
    report = mg.check(mg.random_quadratics(2, 3, seed=0, dtype="float32"), rule(widened), Phi(0.1, 0.5))
    assert "the next w is of float64" in report.failures[0].came


def test_nothing_is_found_where_nothing_is():
    for a_task in (task(), QUADRATIC, task(gradient=lambda self, w, s: np.sinh(w - 0.3))):
        report = mg.check(a_task, rule(), PHI)
        assert report.ok, str(report)
        assert report.failures == ()
        report.raise_if_failed()
