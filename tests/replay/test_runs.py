"""Whole runs, replayed: the bits of the tape."""

import enum
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.replay.kept_steps import KeptSteps
from metagrad.xp import rng
from tests.replay.runs import Phi, bits, both, data, logistic

RULES = [
    (mg.GradientDescent(), 0.5),
    (mg.Momentum(), 0.2),
    (mg.Nesterov(), 0.2),
    (mg.RMSprop(), 0.05),
    (mg.Adagrad(), 0.2),
    (mg.Adam(), 0.1),
    (mg.AdamW(), 0.1),
    (mg.SGDW(), 0.1),
    (mg.NAdam(), 0.1),
    (mg.Adan(), 0.1),
    (mg.Lion(), 0.05),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("rule", "eta"), RULES, ids=[type(rule).__name__ for rule, _ in RULES])
def test_shipped_rules(rule, eta, dtype):
    both(logistic(dtype=dtype), rule, rule.Phi(eta))


@pytest.mark.parametrize(
    "options",
    [
        {"memory": 4096},
        {"gradient": "stop_gradient"},
        {"scaling": "none"},
        {"scaling": "adjoint"},
        {"record": True},
        {"per_task": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("rule", [mg.GradientDescent(), mg.Adam()], ids=["GD", "Adam"])
def test_options(options, rule):
    phi = rule.Phi(0.1)
    if options.get("per_task"):
        phi = ad.tree_map(lambda x: np.full(4, x), phi)
    both(logistic(), rule, phi, calls=2, **options)


@pytest.mark.parametrize(
    "objective", [mg.Final(), mg.LogFinal(), mg.Mean(), mg.MeanLog(), mg.WeightedSum(0.9), mg.WeightedSum(2.0)], ids=str
)
def test_objectives(objective):
    both(logistic(), mg.Momentum(), mg.Momentum.Phi(0.2), objective=objective)


@pytest.mark.parametrize("objective", [mg.WeightedSum(measure="squared_norm"), mg.WeightedSum(measure="validation")])
def test_measures(objective):
    x, y = data(n=5)
    task = logistic(validation=lambda w: np.mean((np.einsum("bnd,bd->bn", x, w) - y) ** 2, axis=-1))
    both(task, mg.Momentum(), mg.Momentum.Phi(0.2), objective=objective)


@pytest.mark.parametrize("seed", range(6))
def test_random_losses(seed):
    draw = rng(seed, "losses")
    x, y = draw.standard_normal((3, 8, 4)), draw.standard_normal((3, 8))
    pieces = [
        lambda w: np.sum(np.tanh(np.einsum("bnd,bd->bn", x, w) - y) ** 2, axis=-1),
        lambda w: np.sum(np.where(np.abs(w) < 0.3, 0.5 * w * w, np.abs(w) - 0.2), axis=-1),
        lambda w: np.max(np.abs(w), axis=-1),
        lambda w: np.log(np.sum(np.exp(w), axis=-1)),
        lambda w: np.linalg.norm(w + 2.0, axis=-1) + np.std(w, axis=-1),
        lambda w: np.sum(np.concatenate([w[:, :2], w[:, 1:] ** 2], axis=-1), axis=-1),
        lambda w: np.sum(np.clip(w, -0.4, 0.4) ** 3, axis=-1) + np.prod(w[:, :2] + 2, axis=-1),
        lambda w: (x @ w[..., None])[..., 0].mean(axis=-1) ** 2,
        lambda w: np.sum(np.cumsum(np.sort(w, axis=-1), axis=-1) ** 2, axis=-1),
        lambda w: np.sum(np.stack([w, np.roll(w, 1, axis=-1)], axis=1).transpose(0, 2, 1).reshape(3, -1) ** 2, axis=-1),
    ]
    chosen = [pieces[i] for i in draw.choice(len(pieces), 4, replace=False)]

    def loss(w):
        return sum(f(w) for f in chosen) / 4.0

    task = mg.FunctionTask(loss, w0=draw.standard_normal((3, 4)))
    rule, eta = RULES[seed]
    both(task, rule, rule.Phi(0.3 * eta), steps=12)


def test_ties_and_kinks():
    """At w0 all entries are equal, and hinges are at their kinks."""

    def loss(w):
        return np.max(w, axis=-1) + np.sum(np.maximum(w, 1.0) + np.abs(w - 1.0), axis=-1) + np.min(w * w, axis=-1)

    both(mg.FunctionTask(loss, w0=np.ones((2, 3))), mg.GradientDescent(), mg.GradientDescent.Phi(0.125), steps=10)


def test_trees_and_networks():
    x, y = data(2, 16, 3)

    def loss(w):
        hidden = np.tanh(np.einsum("bnd,bdh->bnh", x, w["first"][0]) + w["first"][1][:, None])
        out = np.einsum("bnh,bh->bn", hidden, w["last"])
        return np.mean((out - y) ** 2, axis=-1)

    draw = rng(1, "net")
    w0 = {
        "last": draw.standard_normal((2, 5)),
        "first": (draw.standard_normal((2, 3, 5)), np.zeros((2, 5))),
    }
    for rule in (mg.GradientDescent(), mg.Adam()):
        both(mg.FunctionTask(loss, w0=w0), rule, rule.Phi(0.05))


class TwoSpeeds:
    """A rule of one's own: a tuple of states, and a step that falls with the time."""

    class Phi(NamedTuple):
        """Two speeds, and the fall."""

        fast: object
        slow: object
        fall: object

    def init(self, phi, w):
        return np.zeros_like(w), (w, 0)

    def step(self, phi, state, w, f):
        m, (old, count) = state
        g = f.gradient(w)
        m = 0.5 * m + g
        rate = 1.0 / (1.0 + phi.fall * f.t)
        new = w - rate * (phi.fast * g + phi.slow * m) + 0.01 * (w - old)
        return new, (m, (w, count + 1))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_rule_of_ones_own(dtype):
    found = both(logistic(dtype=dtype), TwoSpeeds(), TwoSpeeds.Phi(0.3, 0.1, 0.02))
    assert found.replay == "43 of 48 steps, forwards and backwards, were replayed."


def test_a_branch_on_the_time_is_taken_by_the_tape():
    class WarmUp:
        def init(self, phi, w):
            return ()

        def step(self, phi, state, w, f):
            scale = 0.1 if f.t < 5 else 1.0
            return w - phi.eta * scale * f.gradient(w), ()

    found = both(logistic(), WarmUp(), Phi(0.5))
    assert "of 48 steps" in found.replay


def test_schedules():
    rule = mg.Scheduled(mg.GradientDescent())
    both(logistic(), rule, mg.GradientDescent.Phi(np.linspace(0.5, 0.1, 24)))
    rule = mg.Scheduled(mg.Momentum(), ("eta",))
    both(logistic(), rule, mg.Momentum.Phi(np.linspace(0.5, 0.1, 24), np.asarray(0.9)))


def test_meta_parameters_of_the_task():
    x, y = data()

    def loss(w, theta):
        z = np.einsum("bnd,bd->bn", x, w)
        return np.mean((z - y) ** 2, axis=-1) + np.exp(theta) * np.sum(w * w, axis=-1)

    task = mg.FunctionTask(loss, w0=np.zeros((4, 3)), theta=np.array(-2.0))
    phi = mg.Joint(rule=mg.Momentum.Phi(0.1), task=np.array(-1.0))
    both(task, mg.Momentum(), phi)


def test_samples_are_inputs():
    x, y = data(2, 64, 3)

    def draw(stream, t):
        rows = stream.choice(64, 8, replace=False)
        return x[:, rows], y[:, rows]

    def loss(w, sample):
        inputs, labels = sample
        return np.mean((np.einsum("bnd,bd->bn", inputs, w) - labels) ** 2, axis=-1)

    both(mg.FunctionTask(loss, w0=np.zeros((2, 3)), sampler=draw), mg.Adam(), mg.Adam.Phi(0.05))


def test_shipped_tasks_without_a_kernel():
    phi = mg.Adam.Phi(0.05)
    both(mg.random_regressions(4, 5, family="gaussian", seed=0), mg.Adam(), phi)
    both(mg.random_quadratics(count=3, d=4, seed=0), mg.Adam(), phi)


@pytest.mark.parametrize("steps", [40, 300])
@pytest.mark.parametrize("eta", [1e-3, 30.0, 1e4])
def test_explosion_and_vanishing(eta, steps):
    """Adjoints and states of any size: exponents are moved beside the digits, outside of the programs."""
    task = mg.FunctionTask(
        lambda w: np.sum(np.array([1.0, 0.3]) * w * w, axis=-1), w0=np.ones((3, 2)) * [[1.0], [2.0], [1e-3]], degree=2
    )
    for rule in (mg.GradientDescent(), mg.Momentum()):
        for objective in (mg.LogFinal(), mg.WeightedSum()):
            both(task, rule, rule.Phi(eta), steps=steps, objective=objective)


def test_going_on_from_a_position():
    task, rule = logistic(), mg.Adam()
    first = mg.Reverse()(task, rule, mg.WeightedSum(), rule.Phi(0.1), steps=12)
    both(task, rule, rule.Phi(0.1), steps=12, start=first.end)


def test_neighbours():
    task, rule = logistic(), mg.Adam()
    ask = (task, rule, mg.WeightedSum(), rule.Phi(0.1))
    a, b = (mg.Reverse(trust=True, fused=fused)(*ask, steps=16) for fused in (True, False))
    assert bits(a) == bits(b)
    assert (a.digits.gradient == b.digits.gradient).all()


def test_few_steps_and_half_precision_are_not_tried():
    task, phi = logistic(), mg.GradientDescent.Phi(0.1)
    assert mg.Reverse()(task, mg.GradientDescent(), mg.Final(), phi, steps=4).replay is None
    small = logistic(dtype="float16")
    assert mg.Reverse()(small, mg.GradientDescent(), mg.Final(), phi, steps=20).replay is None


def test_a_power_of_a_negative_number():
    """(-1) ** n is not -1 ** n."""

    class Turns:
        def init(self, phi, w):
            return 0

        def step(self, phi, count, w, f):
            sign = (-1) ** (1 + f.t // 10) + (-2) ** (count % 3)
            return w - (1 + 0.1 * sign) * phi.eta * f.gradient(w), count + 1

    both(logistic(), Turns(), Phi(0.05), steps=60)


@pytest.mark.parametrize("beta", [0.9, 0.35])
def test_a_power_of_a_count_in_float32(beta):
    """Numbers of Python's do not promote: neither in the power, nor in its derivative in the base."""

    class Corrected:
        def init(self, phi, w):
            return w * 0, 0

        def step(self, phi, state, w, f):
            m, k = state
            m = phi["b"] * m + (1 - phi["b"]) * f.gradient(w)
            return w - phi["a"] / (1 - phi["b"] ** (k + 1)) * m, (m, k + 1)

    phi = {"a": np.array(0.1, "float32"), "b": np.array(beta, "float32")}
    for steps in (42, 60):
        both(logistic(dtype="float32"), Corrected(), phi, steps=steps)


class _Key(enum.StrEnum):
    M = "m"


@pytest.mark.parametrize("kind", [_Key.M, np.str_("m")], ids=["StrEnum", "np.str_"])
def test_keys_of_a_state(kind):
    class Keeps:
        def init(self, phi, w):
            return {kind: w * 0}

        def step(self, phi, state, w, f):
            m = 0.9 * state[kind] + f.gradient(w)
            return w - phi.eta * m, {kind: m}

    both(logistic(), Keeps(), Phi(0.05))


def test_other_dictionaries_are_the_tapes():
    class Keeps:
        def init(self, phi, w):
            return OrderedDict(m=w * 0, k=w * 0)

        def step(self, phi, state, w, f):
            state = OrderedDict(m=0.9 * state["m"] + f.gradient(w), k=state["k"] + 1)
            state.move_to_end("m" if f.t > 5 else "k")
            return w - phi.eta * state["m"], OrderedDict(m=state["m"], k=state["k"])

    both(logistic(), Keeps(), Phi(0.05), replayed=False)


def test_shapes_may_be_asked_for():
    def loss(w):
        return np.sum(w * w, axis=tuple(range(1, np.ndim(w)))) / np.size(w, 1) + 0.0 * np.shape(w)[0]

    both(mg.FunctionTask(loss, w0=np.ones((2, 3))), mg.GradientDescent(), 0.1)


@pytest.mark.parametrize("memory", [1 << 30, 1 << 18, 1 << 16, 1 << 13])
@pytest.mark.parametrize("rule", [mg.GradientDescent(), mg.Adam()], ids=["GD", "Adam"])
def test_what_is_kept_of_steps_changes_no_bit(rule, memory, monkeypatch):
    """There is room for all steps, for some, or for none; with few places for states they are taken several times."""
    task = logistic(8, 40, 10)
    both(task, rule, rule.Phi(0.1), steps=60, memory=memory)
    kept, enter = [], KeptSteps._enter

    def noted(self, *args):
        enter(self, *args)
        kept.append(len(self._steps))

    monkeypatch.setattr(KeptSteps, "_enter", noted)
    mg.Reverse(memory=memory)(task, rule, mg.WeightedSum(), rule.Phi(0.1), steps=60)
    assert (max(kept, default=0) > 50) == (memory == 1 << 30)
    assert (max(kept, default=0) > 0) == (memory > 1 << 13)


def test_windows_are_replayed_too():
    task, rule = logistic(), mg.Momentum()
    ask = (task, rule, mg.WeightedSum(), rule.Phi(0.1))
    runs = [mg.meta_gradient(*ask, steps=40, method="windows", window=10, fused=fused) for fused in (True, False)]
    assert bits(runs[0]) == bits(runs[1])


def test_a_learned_rule():
    rule = mg.CoordinatewiseLSTM((4,), 10.0, 0.1)
    phi = rule.init_meta(np.random.default_rng(0))
    x, y = data()
    task = mg.FunctionTask(lambda w: np.mean((np.einsum("bnd,bd->bn", x, w) - y) ** 2, axis=-1), np.zeros((4, 3)))
    joint = mg.Reverse(fused=False)(task, rule, mg.WeightedSum(), phi, steps=12)
    routine = mg.Reverse(record=True)  # step by step, where there is no window
    for _ in range(2):
        found = routine(task, rule, mg.WeightedSum(), phi, steps=12)
    assert bits(found) == bits(joint)
    assert "were replayed" in found.replay


def test_a_program_that_is_too_large_is_the_tapes(monkeypatch):
    monkeypatch.setattr("metagrad.replay.program.MOST_BYTES", 1000)
    found = both(logistic(), mg.Adam(), mg.Adam.Phi(0.1), replayed=False)
    assert "MiB" in found.replay


def test_indices_from_the_sample():
    """An index of a plain array takes the numbers out; np.take_along_axis passes the call on."""
    x, y = data(2, 64, 3)

    def along(w, sample):
        rows = np.take_along_axis(x, sample[..., None], axis=1)
        return np.mean((np.einsum("bnd,bd->bn", rows, w) - np.take_along_axis(y, sample, axis=1)) ** 2, axis=-1)

    def by_index(w, sample):
        rows = x[np.arange(2)[:, None], sample]
        return np.mean((np.einsum("bnd,bd->bn", rows, w) - y[np.arange(2)[:, None], sample]) ** 2, axis=-1)

    def draw(stream, t):
        return stream.choice(64, (2, 8), replace=False)

    phi = mg.Momentum.Phi(0.05)
    both(mg.FunctionTask(along, w0=np.zeros((2, 3)), sampler=draw), mg.Momentum(), phi)
    found = both(mg.FunctionTask(by_index, w0=np.zeros((2, 3)), sampler=draw), mg.Momentum(), phi, replayed=False)
    assert "let the sampler return X[i]" in found.replay
