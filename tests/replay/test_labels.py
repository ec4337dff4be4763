"""Labels and masks that differ between tasks of one code are data of its programs, with the bits of the tape."""

from dataclasses import dataclass

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed, shared
from metagrad.xp import rng
from tests.replay.new_tasks import GD, RULES, alike, numbers

B, N, D, K = 2, 6, 3, 4
ROWS, COLUMNS = np.arange(B)[:, None], np.arange(N)


def drawn(seed, *shape, high=K, dtype=np.int64):
    return rng(seed, "labels").integers(high, size=shape).astype(dtype)


def cross_entropy(z, picked):
    top = np.max(z, axis=-1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z - top), axis=-1)) + top[..., 0] - picked, axis=-1)


def classes(seed, pick, labels=None, dtype=np.float64):
    x, y = numbers(seed, B, N, D).astype(dtype), drawn(seed, B, N) if labels is None else labels

    def loss(w):
        z = x @ w
        return cross_entropy(z, pick(z, y))

    return mg.FunctionTask(loss, w0=np.zeros((B, D, K), dtype))


def along(z, y):
    return np.take_along_axis(z, y[..., None], axis=-1)[..., 0]


def indexed(z, y):
    return z[ROWS, COLUMNS, y]


def hot(z, y):
    return np.sum(z * (y[..., None] == np.arange(K)), axis=-1)


def by_eye(z, y):
    return np.sum(z * np.eye(K)[y], axis=-1)


@pytest.mark.parametrize("when", ["never", "at once"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("pick", [along, indexed, hot])
def test_labels(pick, dtype, when):
    if when == "at once":
        pytest.importorskip("numba")
    with replayed(compiled=when):
        for name, (rule, phi) in RULES.items():
            for seed in range(7):
                found = alike(classes(seed, pick, drawn(seed, B, N, dtype=dtype)), rule, phi, seed=seed)
            assert found.replay == "24 of 24 steps, forwards and backwards, were replayed.", name


@pytest.mark.parametrize("pick", [along, indexed, hot])
def test_labels_in_float32(pick):
    pytest.importorskip("numba")
    with replayed(compiled="at once"):
        for seed in range(7):
            found = alike(classes(seed, pick, dtype=np.float32))
    assert found.replay.startswith("24 of 24")


def test_labels_that_count_from_the_end():
    for seed in range(7):
        found = alike(classes(seed, indexed, drawn(seed, B, N) - K))
    assert found.replay.startswith("24 of 24")


@pytest.mark.parametrize("when", ["never", "at once"])
def test_a_label_that_is_out_of_range_raises_as_ever(when):
    if when == "at once":
        pytest.importorskip("numba")
    with replayed(compiled=when):
        for seed in range(5):
            alike(classes(seed, along))
        labels = drawn(9, B, N)
        task = classes(9, along, labels)
        labels[1, 2] = K
        with pytest.raises(Exception, match="out of bounds"):
            mg.meta_gradient(task, GD, mg.WeightedSum(), 0.1, steps=12)
        alike(classes(10, along))


def test_an_array_that_is_indexed_by_them_itself():
    """`np.eye(K)[y]` takes numbers out: such tasks are of another kind each, as they were."""
    for seed in range(5):
        alike(classes(seed, by_eye))


def masked(seed):
    x, mask = numbers(seed, B, N), rng(seed, "mask").random((B, N)) < 0.7
    return mg.FunctionTask(lambda w: np.mean(np.where(mask, (w - x) ** 2, 0.1 * w**2), axis=-1), w0=np.ones((B, N)))


def selected(seed):
    """A mask that selects: the shape of the result depends on it."""
    x, mask = numbers(seed, 1, N), rng(seed, "mask").random(N) < 0.7
    return mg.FunctionTask(lambda w: np.sum((w - x)[:, mask] ** 2, axis=-1), w0=np.ones((1, N)))


def repeated(seed):
    counts, x = 1 + drawn(seed, 3, high=2), numbers(seed, B, 3)
    return mg.FunctionTask(lambda w: np.mean(np.repeat((w - x) ** 2, counts, axis=1), axis=1), w0=np.ones((B, 3)))


def looked_up(seed):
    """Rows of w by numbers that come more than once."""
    i, x = drawn(seed, 9, high=3), numbers(seed, B, 9)
    return mg.FunctionTask(lambda w: np.sum((w[:, i] - x) ** 2, axis=-1), w0=np.ones((B, 3)))


def permuted(seed):
    order, x = rng(seed, "order").permutation(N), numbers(seed, B, N)
    return mg.FunctionTask(lambda w: np.sum((np.take(w, order, axis=1) - x) ** 2, axis=-1), w0=np.ones((B, N)))


def weighed(seed):
    x, scale = numbers(seed, B, N), float(numbers(seed)) * 2
    return mg.FunctionTask(lambda w: np.mean((w - scale * x) ** 2 * scale**2, axis=-1), w0=np.ones((B, N)))


def weighed_in_float32(seed):
    x, scale = numbers(seed, B, N).astype(np.float32), float(numbers(seed))
    w0 = np.ones((B, N), np.float32)
    return mg.FunctionTask(lambda w: np.mean((w - (scale + 0.1) * x) ** 2 * scale, axis=-1), w0=w0)


def weighed_by_numpys(seed):
    x, scale = numbers(seed, B, N), np.float64(numbers(seed))
    return mg.FunctionTask(lambda w: np.mean((w - scale * x) ** 2, axis=-1), w0=np.ones((B, N)))


LEVEL = 0.1


def of_a_global(seed):
    """A float that is, in one task, the very one that a global names; and NaN in another."""
    x, scale = numbers(seed, B, N), {5: LEVEL, 8: np.nan}.get(seed, 0.1 * seed + 0.05)

    def loss(w):
        return np.mean(np.maximum(w - x, scale) ** 2 if scale is LEVEL else np.abs(w - x) * scale, axis=-1)

    return mg.FunctionTask(loss, w0=np.ones((B, N)))


def first_label(seed):
    """One label of several, which is a number: an index by it writes, and does not add."""
    x, y, sign = numbers(seed, B), drawn(seed, 4, high=3), numbers(seed + 50, B)

    def loss(w):
        return np.maximum(w[:, y[0]] * sign - 1.0, 0.0) * x + 0.1 * np.sum((w + 1.0) ** 2, axis=-1)

    return mg.FunctionTask(loss, w0=np.ones((B, 3)))


def power_of_data(seed):
    """An exponent that is an entry of data: a number of NumPy's, which has a derivative of its own."""
    x, p = np.abs(numbers(seed, B, N)) + 0.1, np.array([2.0 + seed % 3, 2.3])
    return mg.FunctionTask(lambda w: np.mean((x + w * w) ** p[0] + (x + w * w) ** p[1], axis=-1), w0=np.ones((B, N)))


def divided(seed):
    x, scale = numbers(seed, B, N), float(seed % 4) - 1.0 + 1e-3 * (seed == 0)
    return mg.FunctionTask(lambda w: np.mean((w - x) ** 2, axis=-1) / (1.0 + 1.0 / (scale + 7.0)), w0=np.ones((B, N)))


def turned(seed):
    """A branch on a float."""
    x, scale = numbers(seed, B, N), float(numbers(seed))
    of = lambda w: np.mean((w - x) ** 2, axis=-1) if scale > 0 else np.mean(np.abs(w - x), axis=-1)  # noqa: E731
    return mg.FunctionTask(of, w0=np.ones((B, N)))


@dataclass
class Noisy:
    """A user's class with floats and labels among its attributes, and one that is not used."""

    x: np.ndarray
    labels: np.ndarray
    level: float = 0.5
    name: str = "noisy"
    unused: float = 0.0

    def init(self, rng):
        return np.zeros((B, 3))

    def sample(self, rng, t):
        return self.level * rng.standard_normal((B, 5))

    def loss(self, w, sample):
        z = w[:, self.labels] + sample
        return np.mean((z - self.x) ** 2, axis=-1)


def noisy(seed):
    return Noisy(numbers(seed, B, 5), drawn(seed, 5, high=3), level=0.1 * seed, unused=float(seed))


SHARED = [masked, looked_up, permuted, first_label]
TOLD = [
    power_of_data,
    selected,
    repeated,
    weighed,
    weighed_in_float32,
    weighed_by_numpys,
    of_a_global,
    divided,
    turned,
    noisy,
]


@pytest.mark.parametrize("when", ["never", "at once"])
@pytest.mark.parametrize("family", [*SHARED, *TOLD])
def test_every_task_has_the_bits_of_the_tape(family, when):
    if when == "at once":
        pytest.importorskip("numba")
    with replayed(compiled=when):
        for seed in range(13):
            found = alike(family(seed), seed=seed)
    if family in SHARED:
        assert found.replay.startswith("24 of 24"), found.replay


def test_what_does_not_differ_is_no_data():
    """A program does more with what is known: a class among labels that are all alike, a mask of ones."""
    for seed in range(4):
        alike(classes(seed, hot))
    (code,) = shared._CODES
    assert len(code.varies) == 1
    shared._CODES.clear()
    for seed in range(4):
        x, mask = numbers(seed, B, N), np.ones((B, N), bool)
        loss = lambda w, x=x, mask=mask: np.mean(np.where(mask, (w - x) ** 2, 0.0), axis=-1)  # noqa: E731
        alike(mg.FunctionTask(loss, w0=np.ones((B, N))))
    (code,) = shared._CODES
    assert not code.varies


def test_labels_that_change_in_place():
    labels = [drawn(seed, B, N) for seed in range(3)]
    tasks = [classes(seed, indexed, labels[seed]) for seed in range(3)]
    for seed in range(12):
        labels[seed % 3][...] = drawn(seed + 20, B, N)
        alike(tasks[seed % 3])


@pytest.mark.parametrize("when", ["never", "at once"])
@pytest.mark.parametrize("kind", [float, np.float64, np.float32], ids=lambda kind: kind.__name__)
def test_numbers_that_a_sampler_returns(kind, when):
    """A number that is NaN at some step, and one that is an exponent or an index."""
    if when == "at once":
        pytest.importorskip("numba")
    x = numbers(0, B, N)

    def sampler(draw, t):
        return kind(np.nan if t == 6 else draw.standard_normal()), kind(2.0 + t % 2), np.int64(draw.integers(N))

    def loss(w, sample):
        c, p, i = sample
        return np.mean(np.maximum(w * x, c) + np.abs(w) ** p, axis=-1) + np.maximum(w[:, i] - 3.0, 0.0) * x[:, 0]

    task = mg.FunctionTask(loss, w0=np.ones((B, N)), sampler=sampler)
    with replayed(compiled=when):
        for _ in range(7):
            alike(task)
