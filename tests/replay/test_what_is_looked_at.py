"""What closed code reads is looked at before every run: a number that changes is seen, wherever it lies."""

import functools
import time
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed
from metagrad.replay.closed import read_through
from metagrad.replay.kept import Kept
from tests.replay.runs import bits


def holding(x):
    return lambda w: w * x


def of_first(x):
    return lambda w: w * x[0]


# Where a number may lie: functions that return code and what changes that number.
NUMBER = [1.0]
LATER = functools.partial(lambda data, w: w * data[0], NUMBER)
NUMBERS = np.ones(3)
POLYNOMIAL = np.poly1d([1.0, 2.0])
TEACHER = mg.FunctionTask(lambda w: np.sum(w, axis=-1) * NUMBER[0], w0=np.ones((2, 3)))
TAUGHT = TEACHER.loss
MADE = np.vectorize(lambda x: x * NUMBER[0])


class Reads:
    factor = [1.0]  # noqa: RUF012

    def __init__(self):
        self.own = NUMBER[0]

    @property
    def scale(self):
        return NUMBER[0]

    @staticmethod
    def fixed(w):
        return w * NUMBER[0]

    @classmethod
    def of(cls, w):
        return w * NUMBER[0]

    @functools.cached_property
    def lasting(self):
        return NUMBER[0]

    def through(self, w):
        return self.helper(w)

    def helper(self, w):
        return w * self.factor[0]


class Inherits(Reads):
    pass


class Method(NamedTuple):
    a: float = 1.0

    def at(self, w):
        return w * NUMBER[0]


def of_attribute():
    f = holding(2.0)
    f.x = NUMBER
    return f


def set_number(x):
    NUMBER[0] = x


def set_factor(x):
    Reads.factor[0] = x


PLACES = {
    "a global": (lambda w: w * NUMBER[0], set_number),
    "a closure": (of_first(NUMBER), set_number),
    "a default": (lambda w, x=NUMBER: w * x[0], set_number),
    "a keyword": (lambda w, *, x=NUMBER: w * x[0], set_number),
    "an attribute of a function": (of_attribute(), set_number),
    "a function that is named": (lambda w: TAUGHT(w) * 2.0, set_number),
    "a partial that is named": (lambda w: LATER(w) * 2.0, set_number),
    "an array": (lambda w: w * NUMBERS, lambda x: NUMBERS.__setitem__(1, x)),
    "a polynomial": (lambda w: POLYNOMIAL(w) * 2.0, lambda x: POLYNOMIAL.coeffs.__setitem__(0, x)),
    "a task that is named": (lambda w: TEACHER.loss(w) * 2.0, set_number),
    "np.vectorize": (lambda w: MADE(w) * 2.0, set_number),
    "a property": (holding(Reads()), set_number),
    "a property of its class": (lambda w: Reads().scale * w, set_number),
    "a static method": (lambda w: Reads.fixed(w) * 2.0, set_number),
    "a class method": (lambda w: Reads.of(w) * 2.0, set_number),
    "a class that is made": (lambda w: Reads().own * w, set_number),
    "what a class inherits": (lambda w: w * Inherits.factor[0], set_factor),
    "what a method calls": (lambda w: Inherits().through(w), set_factor),
    "a NamedTuple's method": (holding(Method()), set_number),
    "in the middle of a list": (holding([np.zeros(1)] * 70 + [NUMBER] + [1.0]), set_number),
    "a list of numbers": (holding(MANY := [0.0] * 100), lambda x: MANY.__setitem__(80, x)),
    "keys of one text": (holding(TEXTS := {1: [1.0], "1": [1.0]}), lambda x: TEXTS[1].__setitem__(0, x)),
    "an attribute of one name": (of_attribute(), set_number),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_closed_code_reads_is_looked_at(name):
    """A number that changes is seen, or the code is not closed, or not looked at to its end: then runs are compared."""
    code, change = PLACES[name]
    try:
        change(1.0)
        kept = Kept(code, whole=True)
        change(2.0)
        is_seen = Kept(code, whole=True).seen != kept.seen
        assert is_seen or kept.is_cut or not kept.is_closed()
        if name not in ("in the middle of a list", "np.vectorize", "a task that is named", "a function that is named"):
            assert is_seen
    finally:
        change(1.0)


LOSSES = {
    "a global": lambda w: np.sum(np.cosh(w), axis=-1) * NUMBER[0],
    "a partial that is named": lambda w: np.sum(LATER(np.cosh(w)), axis=-1),
    "a property": lambda w, x=Reads(): np.sum(np.cosh(w), axis=-1) * x.scale,  # noqa: B008
    "a static method": lambda w: np.sum(Reads.fixed(np.cosh(w)), axis=-1),
    "what a class inherits": lambda w: np.sum(np.cosh(w), axis=-1) * Inherits.factor[0],
    "what a method calls": lambda w: np.sum(Inherits().through(np.cosh(w)), axis=-1),
    "a task that is named": lambda w: TEACHER.loss(np.cosh(w), None) * 2.0,
}


@pytest.mark.parametrize("name", LOSSES)
def test_runs_that_are_not_compared_see_it(name):
    """The sixth run of closed code is not compared with the tape: what changes before them is found by itself."""
    change = PLACES[name][1]
    task = mg.FunctionTask(LOSSES[name], w0=np.full((2, 3), 0.3))
    ask = (task, mg.GradientDescent(), mg.WeightedSum(), 0.05)
    try:
        change(1.0)
        for _ in range(5):
            before = mg.meta_gradient(*ask, steps=40)
        assert "were replayed" in before.replay
        change(1.25)
        found = mg.meta_gradient(*ask, steps=40)
        with replayed(False):
            expected = mg.meta_gradient(*ask, steps=40)
        assert bits(found) == bits(expected)
        assert bits(found) != bits(before)
    finally:
        change(1.0)


@pytest.mark.parametrize("compiled", ["never", "at once"])
def test_how_often_runs_are_compared(compiled):
    """Of code that can be read through: at 1, 2, 4, 8, ... and every 64th; of other code in each."""
    losses = {
        "read": lambda w: np.sum(np.cosh(w), axis=-1),
        "other": lambda w: np.sum(np.cosh(w), axis=-1) + 0.0 * time.monotonic(),
    }
    ask = mg.Momentum(), mg.Final(), mg.Momentum.Phi(0.01)
    compared = {}
    for name, loss in losses.items():
        task = mg.FunctionTask(loss, w0=np.ones((2, 3)))
        with replayed(compiled=compiled):
            found = [mg.meta_gradient(task, *ask, steps=40).replay for _ in range(200)]
        compared[name] = [k for k, told in enumerate(found, 1) if not told.startswith("80 of 80")]
    assert compared["read"] == [1, 2, 4, 8, 16, 32, 64, 128, 192]
    assert compared["other"] == list(range(1, 201))


SHOWN = 1.0


class Shown:
    """An object that is shown by what a global is."""

    def __repr__(self):
        return f"Shown({SHOWN})"


def test_how_an_object_is_shown_is_read(monkeypatch):
    it = Shown()
    function = lambda w: len(f"{it}") * w  # noqa: E731
    before = read_through(function)
    monkeypatch.setitem(globals(), "SHOWN", 10.0)
    assert before is not None
    assert read_through(function) != before
