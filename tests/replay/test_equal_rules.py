"""A user's rule that is made anew at every call has the programs of those before, if what it reaches is alike."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay.cache import alike as are_alike
from tests.replay.new_tasks import alike, numbers

SCALE = np.array([1.0, 0.5, 2.0])


class Descent:
    """Gradient descent with a factor."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return w - phi * self.factor * f.gradient(w), ()


class Other(Descent):
    """The same with another sign in a method."""

    def step(self, phi, state, w, f):
        return w + phi * self.factor * f.gradient(w), ()


@dataclass(frozen=True)
class Scaled:
    """Gradient descent with an array of its own."""

    by: np.ndarray

    def init(self, phi, w):
        return np.zeros_like(w)

    def step(self, phi, state, w, f):
        state = 0.9 * state + f.gradient(w)
        return w - phi * self.by * state, state


def task():
    x = numbers(0, 4, 12, 3)

    def loss(w):
        return np.mean(np.log1p(np.exp(np.einsum("bnd,bd->bn", x, w))), axis=-1)

    return mg.FunctionTask(loss, w0=np.full((4, 3), 0.1))


@pytest.mark.parametrize("make", [Descent, partial(Scaled, SCALE)], ids=["descent", "scaled"])
def test_a_rule_made_anew_is_replayed(make):
    one = task()
    for _ in range(7):
        found = alike(one, make(), np.array(0.05), steps=14)
    assert found.replay == "28 of 28 steps, forwards and backwards, were replayed."


def test_rules_that_differ_in_turn():
    """Every one of them has its own numbers, whoever came before."""
    one = task()
    rules = [
        lambda: Descent(1.0),
        lambda: Descent(2.0),
        lambda: Other(1.0),
        lambda: Descent(np.float32(1.0)),
        lambda: Descent(True),
        lambda: Descent(1),
        lambda: Scaled(SCALE),
        lambda: Scaled(2.0 * SCALE),
        lambda: Scaled(SCALE[::-1].copy()),
    ]
    for _ in range(5):
        for make in rules:
            alike(one, make(), np.array(0.05), steps=14)


def test_a_rule_that_changes_between_calls():
    one, rule, again = task(), Descent(1.0), Descent(1.0)
    for k in range(8):
        alike(one, rule, np.array(0.05), steps=14)
        alike(one, again, np.array(0.05), steps=14)
        rule.factor = 1.0 + 0.25 * (k % 3)


def test_arrays_that_change_between_calls():
    one, by = task(), SCALE.copy()
    for k in range(8):
        alike(one, Scaled(by), np.array(0.05), steps=14)
        by *= 1.0 + 0.1 * (k % 2)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Descent(0.0), Descent(-0.0)),
        (Descent(1), Descent(1.0)),
        (Descent(1), Descent(True)),
        (Descent(1.0), Other(1.0)),
        (Descent(np.float32(1)), Descent(np.float64(1))),
        (Scaled(SCALE), Scaled(SCALE.astype(np.float32))),
        (Scaled(SCALE), Scaled(np.stack([SCALE, SCALE], axis=1)[:, 0])),
        (Descent([1.0]), Descent((1.0,))),
        (mg.Adam(), mg.AdamW()),
    ],
    ids=[str(k) for k in range(9)],
)
def test_what_is_not_equal(a, b):
    assert not are_alike((a,), (b,))


def test_what_is_equal():
    assert are_alike((Descent(1.0), "a", None), (Descent(1.0), "a", None))
    assert are_alike((Scaled(SCALE),), (Scaled(SCALE.copy()),))
    assert not are_alike((Descent(),), (Descent(), Descent()))


def test_code_that_cannot_be_read_is_told_by_its_identity():
    class Clocked(Descent):
        def step(self, phi, state, w, f):
            import time

            time.perf_counter()
            return super().step(phi, state, w, f)

    rule = Clocked()
    assert are_alike((rule,), (rule,))
    assert not are_alike((Clocked(),), (Clocked(),))


def of_a_module(name, factor):
    """A function whose globals say that they are those of a module."""
    scope = {"FACTOR": factor, "__name__": name, "__builtins__": __builtins__}
    exec("def function(w): return FACTOR", scope)
    return scope["function"]


class Asking(Descent):
    """A rule that asks a function for its factor."""

    def __init__(self, function):
        self.function = function

    def step(self, phi, state, w, f):
        return w - phi * self.function(w) * f.gradient(w), ()


@pytest.mark.parametrize("name", ["metagrad.mine", "operator", "mine"])
def test_functions_of_equal_code_and_other_globals(name):
    """A module that only calls itself one of those that are pure is read, too."""
    one = task()
    for k in range(12):
        alike(one, Asking(of_a_module(name, 1.0 + k % 5)), np.array(0.05), steps=14)
    assert not are_alike((of_a_module(name, 1.0),), (of_a_module(name, 2.0),))
