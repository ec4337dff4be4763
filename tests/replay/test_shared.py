"""Tasks of one code share their programs: every call has the bits of the tape, whatever differs between them."""

import gc
import weakref
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial, wraps
from threading import Thread
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import Apart, replayed, shared
from metagrad.xp import rng
from tests.replay.runs import bits

GD, ADAM = mg.GradientDescent(), mg.Adam()
RULES = {"GD": (GD, GD.Phi(0.05)), "Adam": (ADAM, ADAM.Phi(0.05))}
EVERYONES = np.array([0.5, -0.25, 1.0])


def numbers(seed, *shape):
    return rng(seed, "numbers", *shape).standard_normal(shape)


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


def alike(task, rule=GD, phi=None, objective=None, steps=12, **options):
    """Return the estimate, which has all bits of that of the tape alone."""
    ask = task, rule, objective or mg.WeightedSum(), RULES["GD"][1] if phi is None else phi
    found = mg.Reverse()(*ask, steps=steps, **options)
    with replayed(False):
        expected = mg.Reverse()(*ask, steps=steps, **options)
    assert bits(found) == bits(expected)
    assert (found.notes, found.carrier) == (expected.notes, expected.carrier)
    for x, y in zip(*(mg.ad.leaves(one.end[:3]) for one in (found, expected)), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    return found


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
    for _ in range(8):
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
    wrong = []

    def runs(first):
        for seed in range(first, first + 10):
            found = mg.meta_gradient(logistic(seed), GD, mg.WeightedSum(), 0.05, steps=12)
            expected = mg.Reverse(fused=False)(logistic(seed), GD, mg.WeightedSum(), GD.Phi(0.05), steps=12)
            if bits(found) != bits(expected):
                wrong.append(seed)

    threads = [Thread(target=runs, args=(20 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_kinds_that_come_and_go_wait_longer(monkeypatch):
    monkeypatch.setattr(shared, "_MOST_KINDS", 2)
    for _ in range(3):
        for power in (2, 4, 6):
            for seed in range(4):
                alike(scaled(seed, 0.5, power))
    assert len(shared._KINDS) == 2
    assert shared._GONE[0] > 0
    assert not any(kind.is_to_share for kind in shared._KINDS)


def test_programs_that_differ_from_the_tape_end_the_sharing(monkeypatch):
    """A copy of a task that is not that task is found out when it is recorded."""
    put = Apart.with_data
    monkeypatch.setattr(Apart, "with_data", lambda self, data: put(self, tuple([0.5 * x for x in data])))
    for seed in range(4):
        found = alike(logistic(seed))
    assert all(kind.is_refused for kind in shared._KINDS)
    assert found.replay is None or "tape" in found.replay


# -- tasks apart


class Color(Enum):
    """Members that code tells by what they are."""

    RED = 1


class Point(NamedTuple):
    """A tuple with names."""

    x: object
    y: object


@dataclass(frozen=True)
class Holder:
    """Many kinds of things."""

    point: Point
    items: list = field(default_factory=list)
    of: object = None

    def init(self, rng):
        return np.zeros((2, 3))

    def loss(self, w, sample):
        return np.sum(w * self.point.x, axis=-1)


def test_a_copy_with_other_data_is_the_task_in_all_else():
    x, y = numbers(0, 2, 3), numbers(1, 2, 3)

    def even(n):
        return x if n == 0 else odd(n - 1)

    def odd(n):
        return y if n == 0 else even(n - 1)

    task = Holder(Point(x, 2.0), [y, {"x": x, "n": 3}], of=partial(even, 1))
    apart = Apart(task)
    assert sorted(map(id, apart.data)) == sorted(map(id, (x, y)))
    new = apart.with_data(tuple([one + 1.0 for one in apart.data]))
    np.testing.assert_array_equal(new.point.x, x + 1)
    np.testing.assert_array_equal(new.items[0], y + 1)
    assert new.items[1]["x"] is new.point.x  # one array is one array
    assert new.of() is new.items[0]  # through two functions that know of each other
    assert (type(new.point), new.point.y, new.items[1]["n"]) == (Point, 2.0, 3)
    assert task.point.x is x  # nothing was written into
    assert task.items[1]["x"] is x
    assert task.of() is y


class Slotted:
    """Attributes that a copy would lose."""

    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


def test_slots_are_told_by_what_is_in_them():
    some, others = (Apart(Holder(Point(numbers(0, 2), 0), [Slotted(numbers(seed, 2))])) for seed in (0, 1))
    assert len(some.data) == len(others.data) == 1
    assert some.signature != others.signature


@pytest.mark.parametrize(
    "task",
    [
        Holder(Point(np.zeros(3), 0), [np.random.default_rng(0)]),  # a stream
        Holder(Point(1.0, 0)),  # no data
        Holder(Point(np.zeros((4, 3))[::2], 0)),  # gaps
        Holder(Point(np.array(["a"], dtype=object), 0)),
        Holder(Point(np.zeros(3).view(np.recarray), 0)),
        Holder(Point(np.zeros(3), 0), of=open),
        Holder(Point(np.zeros(3), 0), of=Color.RED),  # a member is that member, and no copy
    ],
    ids=["a stream", "no data", "gaps", "objects", "records", "a file", "a member"],
)
def test_what_is_not_taken_apart(task):
    assert Apart(task).signature is None


# -- what hostile code does


class Lazy:
    """A part of the loss that is computed once, and kept by the object."""

    def __init__(self, seed):
        self.x = numbers(seed, 2, 6, 3)

    def init(self, rng):
        return np.ones((2, 3))

    @cached_property
    def gram(self):
        return np.einsum("bni,bnj->bij", self.x, self.x) / 6

    @cached_property
    def scale(self):
        return float(self.x.std())

    def loss(self, w, sample):
        return np.einsum("bi,bij,bj->b", w, self.gram, w) * self.scale - np.sum(w, axis=-1)


class LazyInOne(Lazy):
    """Of one property alone, an array."""

    scale = 1.0


class Buffered(Lazy):
    """A sampler that writes into what the loss reads."""

    def __init__(self, seed):
        self.x, self.buffer = numbers(seed, 40, 2, 3), np.zeros((2, 3))

    def sample(self, rng, t):
        np.multiply(self.x[t % 40 if t > 7 else 0], 1.0, self.buffer)

    def loss(self, w, sample):
        return np.sum((w - self.buffer) ** 2, axis=-1)


class Definite(Lazy):
    """Data beside which there are none."""

    def __init__(self, seed):
        x = np.sort(numbers(seed, 2, 8), axis=1)
        self.k = np.exp(-((x[:, :, None] - x[:, None]) ** 2) / 0.2) + 1e-6 * np.eye(8)

    def loss(self, w, sample):
        root = np.linalg.cholesky(self.k)
        logs = np.sum(np.log(np.diagonal(root, axis1=1, axis2=2)), axis=-1)
        return np.sum((w - 1) ** 2, axis=-1) + logs * np.sum(w * w, axis=-1)


class Repeated(Lazy):
    """Counts, on which a shape depends."""

    def __init__(self, seed):
        self.x, self.counts = numbers(seed, 2, 4), np.array([1, 2, 1, 1 + seed % 3])

    def loss(self, w, sample):
        rows = np.repeat(self.x, self.counts, axis=1)
        return np.mean(rows**2, axis=-1) * np.sum(w * w, axis=-1)


class Kinds(Lazy):
    """Code that tells arrays by their type."""

    def loss(self, w, sample):
        x = np.clip(self.x, -1, 1) if type(self.x) is np.ndarray else self.x
        return np.sum((w[:, None] - x) ** 2, axis=(-1, -2))


class Filled(Lazy):
    """One of two slots."""

    class Both:
        """Slots."""

        __slots__ = ("a", "b")

    def __init__(self, seed):
        self.x, self.both = numbers(seed, 2, 3), Filled.Both()
        setattr(self.both, "a" if seed % 4 else "b", 0.5)

    def loss(self, w, sample):
        return np.sum((w - self.x) ** (2 if hasattr(self.both, "a") else 4), axis=-1)


class Aliased(Lazy):
    """An array with two names, that is written to by one."""

    def __init__(self, seed):
        self.x, self.m = numbers(seed, 2, 3), np.full((2, 3), 0.0 if seed < 4 else 0.3)

    def loss(self, w, sample):
        z = self.x.copy()
        v = z[:, 1:]
        v -= self.m[:, 1:]
        return np.sum((w - z) ** 2, axis=-1)


class Tried(Aliased):
    """A call whose result is not used, but for its error."""

    def loss(self, w, sample):
        scale = 1.0
        try:
            np.linalg.cholesky(np.eye(3) * (0.2 - self.m[0, 0]))
        except np.linalg.LinAlgError:
            scale = 0.5
        return scale * np.sum((w - self.x) ** 2, axis=-1)


GAIN = [1.0]


class Shown(Aliased):
    """Numbers that are read from how an object is shown."""

    def __repr__(self):
        return repr(GAIN[0])

    def loss(self, w, sample):
        return float(repr(self)) * np.sum((w - self.x) ** 2, axis=-1)


def test_how_objects_are_shown_is_read():
    for seed in range(8):
        GAIN[0] = 1.0 if seed < 5 else 1.5
        alike(Shown(seed))


@pytest.mark.parametrize(
    "family", [Lazy, LazyInOne, Buffered, Definite, Repeated, Kinds, Filled, Aliased, Tried], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("steps", [5, 12, 45])
def test_what_code_keeps_writes_and_asks(family, steps):
    for seed in range(9):
        ask = GD, mg.WeightedSum(), RULES["GD"][1]
        found = mg.Reverse()(family(seed), *ask, steps=steps)
        with replayed(False):
            expected = mg.Reverse()(family(seed), *ask, steps=steps)
        assert bits(found) == bits(expected)


def test_properties_of_a_class_of_their_own_are_not_read():
    class Own(property):
        """A property that does as it likes."""

    class Task(Lazy):
        """One with such a property."""

        gain = Own(lambda self: 1.0)

    assert Apart(Task(0)).signature is None


def test_a_changed_class_is_another_kind():
    first = Apart(Kept(0)).signature
    Kept.__gain__ = 2.0
    assert Apart(Kept(0)).signature != first


class Kept(Lazy):
    """A class with settings."""

    __gain__ = 1.0
