"""Terms that depend on meta-parameters of the task, or on the state of the rule, by programs: the bits of the tape."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import ReplayJointTerms, replayed
from tests.replay.new_tasks import alike, numbers
from tests.replay.runs import bits

B, N, D = 3, 8, 4
GD, ADAM = mg.GradientDescent(), mg.Adam()


@dataclass
class Averaging:
    """Gradient descent that answers with a moving average, which is its state."""

    class Phi(NamedTuple):
        eta: object
        beta: object

    def init(self, phi, w):
        return np.zeros_like(w)

    def step(self, phi, state, w, f):
        new = w - phi.eta * f.gradient(w)
        return new, phi.beta * state + (1.0 - phi.beta) * new

    def answer(self, phi, state, w):
        return state / (1.0 + phi.eta)


@dataclass(frozen=True)
class Late:
    """The sum over two of every three times."""

    measure: object = "loss"

    def weight(self, t, steps):
        return mg.Scaled.of(np.array(1.0)) if t % 3 else None

    def inner(self, term):
        return term, mg.Scaled.of(np.ones(term.shape))

    def finish(self, total, steps):
        return total, mg.Scaled.of(np.ones(total.shape))


def logistic(w, x, y):
    z = np.einsum("bnd,bd->bn", x, w)
    return np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0.0) - y * z, axis=-1)


def points(seed):
    x = numbers(seed, 2, B, N, D)
    return x, (x[..., 0] > 0.3) * 1.0


def decayed(seed, scale=None):
    """Weight decay, one for all tasks, and weights of samples."""
    (x, v), (y, u) = points(seed)
    each = np.ones(B) if scale is None else scale

    def loss(w, theta):
        return each * logistic(w, x, y) + np.exp(theta["decay"]) * np.sum(w * w * theta["weights"], axis=-1)

    def validation(w, theta):
        return logistic(w, v, u) + 0.1 * theta["decay"] ** 2

    theta = {"decay": np.array(-2.0), "weights": np.linspace(0.5, 1.5, D)}
    return mg.FunctionTask(loss, w0=np.full((B, D), 0.1), validation=validation, theta=theta)


def logistic_alone(seed):
    (x, _), (y, _) = points(seed)
    return mg.FunctionTask(lambda w: logistic(w, x, y), w0=np.zeros((B, D)))


def drawn(seed):
    """A task that draws its samples, with a theta of each task."""
    (x, _), (y, _) = points(seed)

    def loss(w, sample, theta):
        return logistic(w, x, y) + np.sum((w - sample) ** 2 * theta, axis=-1)

    sampler = lambda draw, t: draw.standard_normal((B, D))  # noqa: E731
    return mg.FunctionTask(loss, w0=np.zeros((B, D)), sampler=sampler, theta=np.full((B, 1), 0.05))


@dataclass
class Own:
    """A user's class with meta-parameters."""

    A: np.ndarray
    shift: object = 0.5

    def init(self, rng):
        return np.ones((B, D))

    def given(self, shift):
        return Own(self.A, shift)

    def loss(self, w, sample):
        return np.sum((np.einsum("bij,bj->bi", self.A, w) - self.shift) ** 2, axis=-1)


def own(seed):
    return Own(numbers(seed, B, D, D) / 3)


def theta_of(task, seed):
    start = task.shift if type(task) is Own else task.theta
    return mg.ad.tree_map(lambda x: x * (1.0 + 0.1 * seed), start)


OBJECTIVES = [mg.WeightedSum(), mg.Mean(), mg.Final(), mg.WeightedSum(0.9, "validation"), mg.Final("validation")]


@pytest.mark.parametrize("when", ["never", "at once"])
@pytest.mark.parametrize("name", ["GD", "Adam"])
@pytest.mark.parametrize(
    ("family", "objective", "steps"),
    [
        *[(decayed, objective, 12) for objective in OBJECTIVES],
        (decayed, Late(), 10),
        (decayed, Late(), 12),
        (decayed, mg.WeightedSum(), 70),
        (drawn, mg.WeightedSum(), 12),
        (drawn, mg.Mean(), 3),
        (own, mg.WeightedSum(), 12),
        (own, mg.MeanLog(), 9),
        (decayed, mg.MeanLog(), 24),
        (drawn, mg.MeanLog(), 24),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_the_bits_of_the_tape(family, objective, steps, name, when):
    """The same task again and again, then new ones at each call."""
    if when == "at once":
        pytest.importorskip("numba")
    rule, phi = (GD, GD.Phi(0.02)) if name == "GD" else (ADAM, ADAM.Phi(0.01))
    task = family(0)
    with replayed(compiled=when):
        for seed in range(14):
            task = task if seed < 6 else family(seed)
            given = mg.Joint(phi._replace(eta=phi.eta * (1 + 0.02 * seed)), theta_of(task, seed))
            found = alike(task, rule, given, objective, steps)
    assert "were replayed" in found.replay


@pytest.mark.parametrize("scale", [1e30, 1e-200], ids=str)
def test_tasks_of_other_sizes(scale):
    """Adjoints that are shifted, and tasks whose exponents differ."""
    for seed in range(9):
        task = decayed(seed, np.array([1.0, scale, 3.0]))
        alike(task, GD, mg.Joint(GD.Phi(0.02 / max(1.0, scale)), theta_of(task, seed)), mg.WeightedSum(), 20)


def test_a_gradient_of_each_task():
    """What a bare estimator gives for a phi that leads with B."""
    rule = mg.GradientDescent()
    for seed in range(9):
        task = drawn(seed)
        given = mg.Joint(rule.Phi(np.full((B, 1), 0.02)), theta_of(task, seed))
        alike(task, rule, given, mg.WeightedSum(), 12, seed=seed)


@pytest.mark.parametrize("family", [logistic_alone, decayed], ids=lambda x: x.__name__)
def test_what_a_rule_answers(family):
    """A moving average of w, which is the state: objectives look at that."""
    rule = Averaging()
    for seed in range(9):
        task, phi = family(seed), rule.Phi(np.array(0.1), np.array(0.9))
        given = phi if task.theta is None else mg.Joint(phi, theta_of(task, seed))
        found = alike(task, rule, given, mg.WeightedSum(), 20)
    assert "were replayed" in found.replay


def test_a_schedule_has_entries_of_its_own():
    rule = mg.Scheduled(mg.GradientDescent(), ("eta",))
    for seed in range(9):
        task = decayed(seed)
        given = mg.Joint(rule.Phi(np.linspace(0.05, 0.01, 12)), theta_of(task, seed))
        found = alike(task, rule, given, mg.WeightedSum(), 12)
    assert "were replayed" in found.replay


@pytest.mark.parametrize("options", [{"scaling": "none"}, {"memory": 1 << 12}, {"diverged": "skip"}], ids=str)
def test_options(options):
    for seed in range(9):
        task = decayed(seed)
        ask = task, GD, mg.WeightedSum(), mg.Joint(GD.Phi(0.02), theta_of(task, seed))
        found = mg.Reverse(**options)(*ask, steps=30)
        with replayed(False):
            expected = mg.Reverse(**options)(*ask, steps=30)
        assert bits(found) == bits(expected)
    assert "were replayed" in found.replay


@pytest.mark.parametrize("method", ["forward", "windows"])
def test_other_methods(method):
    for seed in range(9):
        task = decayed(seed)
        ask = task, GD, mg.WeightedSum(), mg.Joint(GD.Phi(0.02), theta_of(task, seed))
        more = {"window": 5} if method == "windows" else {}
        found = mg.meta_gradient(*ask, steps=20, method=method, **more)
        with replayed(False):
            expected = mg.meta_gradient(*ask, steps=20, method=method, **more)
        assert bits(found) == bits(expected)


@pytest.mark.parametrize("family", [decayed, drawn, own], ids=lambda x: x.__name__)
@pytest.mark.parametrize("objective", OBJECTIVES[:3], ids=lambda x: type(x).__name__)
def test_tangents_are_programs(objective, family, monkeypatch):
    """Forward mode of one task again and again: tangents of what is measured by a program, with the tape's bits."""
    found_by = []
    pushed = ReplayJointTerms.tangents

    def noted(self, *given):
        found_by.append(self.routines.push.has_programs)
        return pushed(self, *given)

    monkeypatch.setattr(ReplayJointTerms, "tangents", noted)
    task = family(0)
    ask = task, ADAM, objective, mg.Joint(ADAM.Phi(0.02), theta_of(task, 0))
    with replayed(False):
        expected = mg.meta_gradient(*ask, steps=9, method="forward")
    for _ in range(5):
        found = mg.meta_gradient(*ask, steps=9, method="forward")
        assert bits(found) == bits(expected)
    assert found_by.count(True) > 20 or objective == mg.Final()


def test_numbers_that_leave_the_range():
    for seed in range(12):
        task = decayed(seed)
        theta = theta_of(task, seed)
        if seed in (7, 10):
            theta["decay"] = np.array({7: 700.0, 10: np.nan}[seed])
        with np.errstate(all="ignore"):
            alike(task, GD, mg.Joint(GD.Phi(0.02), theta), mg.WeightedSum(), 12)


@pytest.mark.parametrize(("p", "q"), [(1e290, 1e-290), (1e-300, 1e300), (1e-160, 1e-160)], ids=str)
@pytest.mark.parametrize("objective", [mg.WeightedSum(4.0, "validation"), mg.WeightedSum(0.5, "validation")], ids=str)
def test_what_goes_to_phi_alone_stays_in_the_range(p, q, objective):
    """A branch of the measure whose inner values are near the ends of the range, and no part of the adjoint of w."""
    for seed in range(6):
        x = numbers(seed, B, D)

        def validation(w, theta, x=x):
            return np.sum((w - x) ** 2, axis=-1) + ((theta * p) * q) * np.sum(np.maximum(w - 0.5, 0.0), axis=-1)

        task = mg.FunctionTask(
            lambda w, theta: np.sum(w * w, axis=-1), w0=np.ones((B, D)), validation=validation, theta=np.array(0.5)
        )
        alike(task, GD, mg.Joint(GD.Phi(0.02), np.array(0.5)), objective, 60)


def test_a_task_of_which_nothing_counts():
    """The slope of a logarithm is 0 where a loss is infinite; what else that task has is not multiplied by it."""
    for seed in range(6):
        task = decayed(seed, np.array([1.0, 1e308, 3.0]))
        with np.errstate(all="ignore"):
            found = alike(task, GD, mg.Joint(GD.Phi(0.02), theta_of(task, seed)), mg.MeanLog(), 12)
        assert np.isfinite(found.grad.task["decay"].mantissa) or not found.ok
