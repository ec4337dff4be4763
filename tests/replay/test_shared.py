"""Tasks of one code share their programs: every call has the bits of the tape, whatever differs between them."""

import gc
import weakref
from dataclasses import dataclass
from functools import partial, wraps

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import Apart, replayed, shared
from metagrad.xp import rng
from tests.replay.new_tasks import GD, RULES, alike, numbers
from tests.replay.runs import bits
from tests.threads import wrong_in_threads

EVERYONES = np.array([0.5, -0.25, 1.0])


def logistic(seed):
    X = numbers(seed, 4, 12, 3)
    y = (X[..., 0] > 0.3).astype(float)

    def loss(w):
        z = np.einsum("bnd,bd->bn", X, w)
        return np.mean(np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z))), axis=-1)

    return mg.FunctionTask(loss, w0=np.zeros((4, 3)))


def nested(seed):
    """Functions within functions, over arrays in dictionaries, lists and tuples; parameters in a dictionary."""
    data = {"x": numbers(seed, 3, 6, 2), "more": [numbers(seed, 3, 6), (numbers(seed, 3),)]}

    def head(h, b):
        return np.tanh(h) * data["more"][1][0][:, None] + b[:, None]

    def loss(w):
        h = head(np.einsum("bnd,bd->bn", data["x"], w["a"]), w["b"])
        return np.mean((h - data["more"][0]) ** 2, axis=-1)

    return mg.FunctionTask(loss, w0={"a": np.ones((3, 2)), "b": np.zeros(3)})


def residual(w, x, y):
    return np.einsum("bnd,bd->bn", x, w) - y


def partial_one(seed):
    of = partial(residual, x=numbers(seed, 2, 5, 3), y=numbers(seed, 2, 5))
    return mg.FunctionTask(lambda w: np.mean(np.log(np.cosh(of(w))), axis=-1), w0=np.ones((2, 3)))


def defaults(seed):
    def loss(w, x=numbers(seed, 2, 5, 3), *, y=numbers(seed, 2, 5)):  # noqa: B008  # what is looked at here
        return np.mean(residual(w, x, y) ** 2, axis=-1)

    return mg.FunctionTask(loss, w0=np.ones((2, 3)))


def validated(seed):
    x, v = numbers(seed, 2, 3, 5, 3)
    y, u = numbers(seed, 2, 3, 5)

    def loss(w):
        return np.mean(residual(w, x, y) ** 2, axis=-1)

    def validation(w):
        return np.mean(np.abs(residual(w, v, u)), axis=-1) + 1.0

    return mg.FunctionTask(loss, w0=np.zeros((3, 3)), validation=validation)


@dataclass
class Own:
    """A user's class, with a scale that all have, and an array that is everyone's."""

    A: np.ndarray
    b: np.ndarray
    scale: float = 0.5

    def init(self, rng):
        return np.zeros(self.b.shape)

    def loss(self, w, sample):
        r = np.einsum("bij,bj->bi", self.A, w) - self.b
        return self.scale * np.sum(r * r * EVERYONES, axis=-1)


def own(seed):
    return Own(numbers(seed, 3, 3, 3) / 2, numbers(seed, 3, 3))


class Batches:
    """A task that draws from its data."""

    def __init__(self, seed):
        self.x, self.y = numbers(seed, 50, 3), numbers(seed, 50)

    def init(self, rng):
        return rng.standard_normal((2, 3))

    def sample(self, rng, t):
        i = rng.integers(50, size=8)
        return self.x[i], self.y[i]

    def loss(self, w, sample):
        x, y = sample
        return np.mean((w @ x.T - y) ** 2, axis=-1) + 0.01 * np.sum(w * w, axis=-1) * np.mean(self.y**2)


def counted(function):
    """A decorator of a user's, which says which function it is around."""

    @wraps(function)
    def around(w):
        return 1.0 * function(w)

    return around


def decorated(seed):
    x, y = numbers(seed, 2, 5, 3), numbers(seed, 2, 5)

    @counted
    def loss(w):
        return np.mean(residual(w, x, y) ** 2, axis=-1)

    return mg.FunctionTask(loss, w0=np.ones((2, 3)))


FAMILIES = [logistic, nested, partial_one, defaults, validated, own, Batches, decorated]


def is_replayed(found, steps=12):
    return (found.replay or "").startswith(f"{2 * steps} of {2 * steps} steps")


@pytest.mark.parametrize(("name", "when"), [("GD", "never"), ("Adam", "never"), ("Adam", "at once")], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_new_tasks_have_the_bits_of_the_tape(family, name, when):
    if when == "at once":
        pytest.importorskip("numba")
    rule, phi = RULES[name]
    objective = mg.Final("validation") if family is validated else mg.WeightedSum()
    with replayed(compiled=when):
        for steps in (3, 12):
            for seed in range(6):
                found = alike(family(seed), rule, phi, objective, steps, seed=seed)
            assert is_replayed(found, steps), found.replay
    # One kind for all tasks, and for both horizons: of a function the measure is told by the task.
    assert len(shared._KINDS) == 1


@pytest.mark.parametrize("method", ["forward", "value"])
def test_forwards(method):
    for seed in range(5):
        task = logistic(seed)

        def found():
            if method == "value":
                return mg.value(task, GD, mg.WeightedSum(), 0.1, steps=12)  # noqa: B023  # called at once
            return mg.meta_gradient(task, GD, mg.WeightedSum(), 0.1, steps=12, method=method)  # noqa: B023

        mine = found()
        with replayed(False):
            theirs = found()
        assert mine.value.mantissa.tobytes() == theirs.value.mantissa.tobytes()
        if method == "forward":
            assert bits(mine) == bits(theirs)
    assert "were replayed" in mine.replay


def scaled(seed, scale, power=2, words="mean", weights=None):
    x, y = numbers(seed, 2, 5, 3), numbers(seed, 2, 5)

    def loss(w):
        r = scale * np.abs(residual(w, x, y)) ** power + 0.1
        r = r if weights is None else r * weights[0]
        return np.mean(r, axis=-1) if words == "mean" else np.sum(r, axis=-1)

    return mg.FunctionTask(loss, w0=np.ones((2, 3)))


@pytest.mark.parametrize(
    "others",
    [
        {"scale": 0.75},
        {"scale": np.float64(0.25)},
        {"scale": np.array(0.75)},
        {"power": 4},
        {"words": "sum"},
        {"weights": [0.5]},
        {"weights": (np.linspace(1.0, 2.0, 5),)},
    ],
    ids=str,
)
def test_what_differs_between_tasks_is_told(others):
    """Numbers, texts and structures that differ make another kind, or come as data: never those of another task."""
    for seed in range(4):
        alike(scaled(seed, 0.5))
    for seed in range(4, 12):
        alike(scaled(seed, **{"scale": 0.5} | (others if seed % 2 else {})))


def test_nan_and_borders_that_only_later_tasks_reach():
    def task(seed, shift):
        x = np.abs(numbers(seed, 2, 5)) + shift

        def loss(w):
            return np.mean(np.log(x + w * w) + np.maximum(x, w) / x, axis=-1)

        return mg.FunctionTask(loss, w0=np.full((2, 5), 0.5))

    for seed, shift in enumerate([1.0, 1.0, 1.0, 1.0, -1.0, np.nan, 1.0, 0.0, np.inf, 1e-300, 1.0, -0.25, 1.0]):
        with np.errstate(all="ignore"):  # the task looks at its loss
            new = task(seed, shift)
        alike(new)


def test_data_that_change_in_place():
    tasks = [own(seed) for seed in range(3)]
    for seed in range(12):
        task = tasks[seed % 3]
        task.A[...] = numbers(seed, 3, 3, 3) / 2
        task.scale = 0.5 if seed < 6 else 0.25
        alike(task)


def test_a_task_that_comes_again_and_again_has_programs_of_its_own():
    for seed in range(4):
        alike(logistic(seed))
    task = logistic(9)
    for _ in range(shared._MOST_AGAIN + 5):
        found = mg.meta_gradient(task, GD, mg.WeightedSum(), 0.05, steps=12)
    assert "were replayed" in found.replay
    assert mg.replay.has_programs(task)


def test_tasks_are_not_kept_alive():
    """But for the data of the one that was recorded, which a program may hold as examples."""
    tasks, data = [], []
    for seed in range(8):
        task = own(seed)
        tasks.append(weakref.ref(task))
        data.append(weakref.ref(task.A))
        alike(task)
    del task
    gc.collect()
    assert not any(one() is not None for one in tasks)
    assert sum(one() is not None for one in data) <= 1


def indexed(seed):
    x, i = numbers(seed, 2, 6), rng(seed, "index").integers(3, size=4)
    return mg.FunctionTask(lambda w: np.sum((x[:, i] - w[:, i]) ** 2, axis=-1), w0=np.zeros((2, 3)))


def branching(seed):
    x = numbers(seed, 2, 5)
    return mg.FunctionTask(lambda w: np.sum((w - x) ** 2 if x[0, 0] > 0 else w**4 - x, axis=-1), w0=np.ones((2, 5)))


def turned(seed):
    x = numbers(seed, 2, 7, 3)[:, ::-1]
    return mg.FunctionTask(lambda w: np.sum(residual(w, x, 1.0) ** 2, axis=-1), w0=np.ones((2, 3)))


def of_a_global(seed):
    return mg.FunctionTask(lambda w, x=EVERYONES: np.sum((w - x * EVERYONES - seed) ** 2, axis=-1), w0=np.ones((2, 3)))


@pytest.mark.parametrize("family", [indexed, branching, turned, of_a_global])
def test_what_cannot_be_shared_is_not(family):
    """Numbers that code looks at, layouts of which a copy has another, and what a global names, too."""
    for seed in range(7):
        alike(family(seed))


def test_threads():
    def is_right(seed):
        found = mg.meta_gradient(logistic(seed), GD, mg.WeightedSum(), 0.05, steps=12)
        expected = mg.Reverse(fused=False)(logistic(seed), GD, mg.WeightedSum(), GD.Phi(0.05), steps=12)
        return bits(found) == bits(expected)

    assert not wrong_in_threads(is_right, each=10)


def test_kinds_that_come_and_go_wait_longer(monkeypatch):
    monkeypatch.setattr(shared, "_MOST_KINDS", 2)
    for _ in range(3):
        for power in (2, 4, 6):
            for seed in range(4):
                alike(scaled(seed, 0.5, power))
    assert len(shared._KINDS) == 2
    assert shared._GONE[0] > 0
    assert not any(kind.is_to_share for kind in shared._KINDS)


def test_kinds_that_nobody_asks_for_any_more_make_nobody_wait(monkeypatch):
    """A loop over rules, each on new tasks, leaves one kind after the other behind."""
    monkeypatch.setattr(shared, "_MOST_KINDS", 2)
    monkeypatch.setattr(shared, "_RECENT", 4)
    for power in (2, 4, 6, 8, 10):
        for seed in range(6):
            found = alike(scaled(seed, 0.5, power))
        assert "were replayed" in found.replay
    assert shared._GONE[0] == 0
    assert all(kind.is_to_share for kind in shared._KINDS)


def test_programs_that_differ_from_the_tape_end_the_sharing(monkeypatch):
    """A copy of a task that is not that task is found out when it is recorded."""
    put = Apart.with_data
    monkeypatch.setattr(Apart, "with_data", lambda self, data: put(self, tuple([0.5 * x for x in data])))
    for seed in range(4):
        found = alike(logistic(seed))
    assert all(kind.is_refused for kind in shared._KINDS)
    assert found.replay is None or "tape" in found.replay
