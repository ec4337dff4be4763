"""Tasks that keep, write, ask and change: every call has the bits of the tape, or they are not taken apart."""

from functools import cached_property

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import Apart, replayed
from tests.replay.new_tasks import GD, RULES, alike, numbers
from tests.replay.runs import bits


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
