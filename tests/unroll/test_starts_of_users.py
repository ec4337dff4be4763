"""Short runs from a learned start of a user's tasks, new at each call: every call has the bits of the tape."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed
from metagrad.unroll import quiet_starts
from metagrad.xp import rng
from tests.unroll.starts import alike, is_replayed, started

B, N, K, H = 3, 5, 4, 6
GD, FINAL = mg.GradientDescent(), mg.Final("validation")
RULES = {"GD": (GD, GD.Phi(0.05)), "Adam": (mg.Adam(), mg.Adam.Phi(0.01))}


@pytest.fixture(autouse=True)
def _no_kinds(monkeypatch):
    monkeypatch.setattr(quiet_starts, "_KINDS", [])


def numbers(seed, *shape, part=0):
    return rng(seed, "numbers", part).standard_normal(shape)


def network(w, x):
    h = np.tanh(np.einsum("bnd,bdh->bnh", x, w["first"]) + w["shift"][:, None])
    return np.einsum("bnh,bhk->bnk", h, w["last"])


def start(seed, out):
    return {
        "first": numbers(seed, B, 2, H, part=7),
        "shift": np.zeros((B, H)),
        "last": numbers(seed, B, H, out, part=8),
    }


def regression(seed):
    x, v = numbers(seed, 2, B, N, 2)
    y, u = numbers(seed, 2, B, N, 1, part=1)

    def loss(w):
        return np.mean((network(w, x) - y) ** 2, axis=(1, 2))

    def validation(w):
        return np.mean((network(w, v) - u) ** 2, axis=(1, 2))

    return mg.FunctionTask(loss, w0=start(0, 1), validation=validation)


def cross_entropy(z, y):
    top = np.max(z, axis=-1, keepdims=True)
    picked = np.take_along_axis(z - top, y[..., None], axis=-1)[..., 0]
    return np.mean(np.log(np.sum(np.exp(z - top), axis=-1)) - picked, axis=-1)


def classes(seed):
    x, v = numbers(seed, 2, B, N, 2)
    y, u = rng(seed, "labels").integers(K, size=(2, B, N))
    loss, validation = (lambda w, x=x, y=y: cross_entropy(network(w, x), y) for x, y in ((x, y), (v, u)))
    return mg.FunctionTask(loss, w0=start(0, K), validation=validation)


@dataclass
class Waves:
    """A user's class, with a gradient of its own and a number that differs from task to task."""

    x: np.ndarray
    y: np.ndarray
    decay: np.ndarray

    def init(self, rng):
        return np.ones((B, 2))

    def loss(self, w, sample):
        r = np.einsum("bnd,bd->bn", self.x, w) - self.y
        return np.mean(r * r, axis=-1) + self.decay * np.sum(w * w, axis=-1)

    def gradient(self, w, sample):
        r = np.einsum("bnd,bd->bn", self.x, w) - self.y
        return 2.0 / N * np.einsum("bnd,bn->bd", self.x, r) + 2.0 * self.decay * w

    def validation_loss(self, w):
        return np.mean(np.abs(np.einsum("bnd,bd->bn", self.x, w) - self.y + 0.1), axis=-1)


def waves(seed):
    return Waves(numbers(seed, B, N, 2), numbers(seed, B, N, part=1), np.array(0.01 * (1 + seed)))


@pytest.mark.parametrize("when", ["never", "at once"])
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("family", "objective", "steps"),
    [
        (regression, FINAL, 1),
        (regression, mg.Mean("validation"), 4),
        (classes, FINAL, 5),
        (classes, mg.WeightedSum(), 3),
        (waves, FINAL, 2),
        (waves, mg.Final(), 7),
        (waves, mg.Final("squared_norm"), 1),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_the_bits_of_the_tape(family, objective, steps, name, when):
    """New tasks, starts and step sizes at each call."""
    if when == "at once":
        pytest.importorskip("numba")
    rule, phi = RULES[name]
    with replayed(compiled=when):
        for seed in range(9):
            few, w = started(family(seed), seed)
            given = mg.Joint(phi._replace(eta=phi.eta * (1 + 0.1 * seed)), mg.ad.tree_map(lambda x: x * 1.01, w))
            found = alike(few, rule, objective, given, steps)
    assert is_replayed(found)


@pytest.mark.parametrize("options", [{"gradient": "stop_gradient"}, {"diverged": "skip"}], ids=str)
def test_options(options):
    for seed in range(9):
        few, w = started(regression(seed), seed)
        found = alike(few, GD, FINAL, mg.Joint(0.03, w), 2, **options)
    assert is_replayed(found)


def test_a_longer_run_shares_its_programs():
    for seed in range(7):
        few, w = started(regression(seed), seed)
        found = alike(few, GD, FINAL, mg.Joint(0.03, w), 40)
    assert found.replay.startswith("80 of 80"), found.replay  # the start lies as later w do


def test_a_task_that_draws_is_the_sweeps():
    def task(seed):
        x = numbers(seed, B, 2)
        w0 = np.ones((B, 2))
        return mg.FunctionTask(
            lambda w, sample: np.sum((w - x - sample) ** 2, axis=-1),
            w0=w0,
            sampler=lambda draw, t: draw.standard_normal((B, 2)),
        )

    for seed in range(7):
        few, w = started(task(seed), seed)
        found = alike(few, GD, mg.Final(), mg.Joint(0.03, w), 9)
    assert is_replayed(found)


def test_what_is_measured_by_a_users_function():
    for seed in range(7):
        few, w = started(regression(seed), seed)
        alike(few, GD, mg.Final(lambda w: np.sum(w["shift"] ** 2, axis=-1)), mg.Joint(0.03, w), 3)


def test_other_numbers_of_a_function_of_math_are_other_kinds():
    def task(seed):
        x, phase = numbers(seed, B, 2), float(seed)
        return mg.FunctionTask(lambda w: np.sum((w - math.sin(phase) * x) ** 2, axis=-1), w0=np.ones((B, 2)))

    for seed in range(12):
        few, w = started(task(seed % 2), seed)
        alike(few, GD, mg.Final(), mg.Joint(0.03, w), 3)


@pytest.mark.parametrize("what", [np.nan, np.inf, 1e-320, 1e200], ids=str)
def test_what_is_to_be_said_is_said(what):
    """After usual calls comes one with numbers that leave the range, or lose their digits."""
    for seed in range(12):
        task = regression(seed)
        few, w = started(task, seed)
        if seed in (5, 9):
            w["last"] = w["last"] * what
        with np.errstate(all="ignore"):
            alike(few, GD, FINAL, mg.Joint(0.03, w), 3)


def test_data_that_change_in_place():
    task = waves(0)
    for seed in range(9):
        task.x[...], task.decay[...] = numbers(seed, B, N, 2), 0.1 * seed
        few, w = started(task, seed)
        found = alike(few, GD, FINAL, mg.Joint(0.03, w), 3)
    assert is_replayed(found)


def test_a_start_with_numbers_in_it():
    """A leaf that has no axes of its own."""

    def task(seed):
        x, y = numbers(seed, B, N), numbers(seed, B, N, part=1)

        def loss(w):
            return np.mean((w[0][:, None] * x + w[1][:, None] - y) ** 2, axis=-1)

        return mg.FunctionTask(loss, w0=(np.ones(B), np.zeros(B)))

    for seed in range(7):
        few, _ = started(task(seed), seed)
        found = alike(few, GD, mg.Final(), mg.Joint(0.03, (np.float64(0.5), 0.1 * seed)), 3)
    assert is_replayed(found)


class Descent:
    """A rule of a user's."""

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return mg.ad.tree_map(lambda x, g: x - phi * g, w, f.gradient(w)), ()


class TowardsTheStart(Descent):
    """One that asks the task for its start, and so owes it something at every step."""

    def step(self, phi, state, w, f):
        at = f.ask(lambda task, w, sample: task.init(None), w)
        return mg.ad.tree_map(lambda x, g, start: x - phi * (g + 0.1 * (x - start)), w, f.gradient(w), at), ()


@pytest.mark.parametrize("rule", [Descent, TowardsTheStart], ids=lambda x: x.__name__)
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_a_users_rule(rule, steps):
    """The start is wrapped around the task at every call, and the rule is made anew."""
    task = regression(0)
    for k in range(7):
        few, begin = started(regression(k) if k % 2 else task)
        found = alike(few, rule(), FINAL, mg.Joint(rule=np.array(0.05), task=begin), steps)
    assert is_replayed(found) or steps == 1 or rule is TowardsTheStart


def test_what_a_rule_asks_for_has_its_derivative():
    task = regression(0)
    few, begin = started(task)

    def at(h):
        moved = {**begin, "shift": begin["shift"] + h}
        return few, TowardsTheStart(), FINAL, mg.Joint(rule=np.array(0.05), task=moved)

    found = mg.meta_gradient(*at(0.0), steps=4).grad.task["shift"].to_float().sum()
    high, low = (mg.value(*at(h), steps=4).value.to_float().mean() for h in (1e-6, -1e-6))
    assert found == pytest.approx((high - low) / 2e-6, rel=1e-6)


def test_a_start_around_the_same_task_has_its_programs():
    task, other = regression(0), regression(1)
    said = []
    for k in range(12):
        few, begin = started(task if k % 3 else other)
        found = alike(few, *RULES["Adam"][:1], FINAL, mg.Joint(rule=RULES["Adam"][1], task=begin), 40)
        said.append(found.replay)
    assert "80 of 80 steps, forwards and backwards, were replayed." in said
