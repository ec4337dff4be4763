"""A task taken apart: what its data are, what tells its kind, and its copy with other data."""

from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from metagrad.replay import Apart
from tests.replay.new_tasks import numbers


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
