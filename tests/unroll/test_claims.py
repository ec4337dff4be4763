"""What a part declares is held against what it computes, when it is met first; what holds is not looked at again."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg


class Phi(NamedTuple):
    eta: np.ndarray


def clipped(homogeneous, clip):
    """Return a rule of a fresh class, met for the first time."""

    class Clipped:
        def init(self, phi, w):
            return ()

        def step(self, phi, state, w, f):
            g = f.gradient(w)
            return w - phi.eta * (np.clip(g, -clip, clip) if clip else g), ()

    Clipped.homogeneous = homogeneous
    return Clipped()


QUADRATIC = mg.Quadratic(np.diag([0.5, 2.0]), np.array([0.03, -0.02]))
PHI = Phi(np.asarray(0.3))


@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_a_rule_that_is_not_homogeneous(method):
    """The clip is far away from the start: a run far from it would meet it."""
    for _ in range(2):  # what is wrong stays so
        with pytest.raises(ValueError, match=r"^Clipped: homogeneous is True, while scaling .* by 2\*\*20 .*False"):
            mg.meta_gradient(QUADRATIC, clipped(True, 0.1), mg.Final(), PHI, steps=10, method=method)
    for homogeneous, clip in ((False, 0.1), (True, None)):
        assert mg.meta_gradient(QUADRATIC, clipped(homogeneous, clip), mg.Final(), PHI, steps=10, method=method).ok


def soft(w):
    return np.sum(np.sqrt(1.0 + w**2) - 1.0, axis=-1)


@pytest.mark.parametrize("size", [1e-3, 0.1, 3.0, 1e5])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_loss_of_no_degree(degree, size):
    """Like w'w / 2 near zero, and like |w| far away: a look near 1 finds that it is neither."""
    task = mg.FunctionTask(partial(soft), size * np.array([[3.0, -2.0], [0.1, 0.2]]), degree=degree)  # a fresh one
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"^FunctionTask: degree is {degree}, while loss\(w \* 2\*\*-?\d+\) is "):
            mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.1, steps=3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("power", [1, 2, 4])
@pytest.mark.parametrize("size", [0.0, 1e-5, 1.0, 1e2])
def test_a_loss_of_that_degree(power, dtype, size):
    size = min(size, 3.0) if dtype == "float16" else size
    w0 = (size * np.array([[3.0, -2.0], [0.1, 0.2]])).astype(dtype)
    task = mg.FunctionTask(lambda w: np.sum(np.absolute(w) ** power, axis=-1), w0, degree=power)
    mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.001, steps=3)


def own(factor, kink=False):
    class Own:
        calls = 0

        def init(self, draw):
            return np.zeros((2, 3)) if kink else np.ones((2, 3))

        def loss(self, w, sample):
            return np.sum(np.absolute(w) if kink else w**2, axis=-1)

        def gradient(self, w, sample):
            Own.calls += 1
            return (np.where(w > 0, 1.0, -1.0) if kink else 2.0 * w) * factor

    return Own()


@pytest.mark.parametrize("ask", ["meta_gradient", "value", "LearnedStart"])
def test_a_gradient_that_is_another_one(ask):
    def run(task):
        if ask == "LearnedStart":
            task = mg.LearnedStart(task)
        call = mg.value if ask == "value" else mg.meta_gradient
        return call(task, mg.GradientDescent(), mg.Final(), 0.1, steps=3)

    text = r"^(Own|LearnedStart): gradient is 1 at w\[0, 0\]; expected 2, the derivative of its loss\. Mend it"
    wrong = own(0.5)
    for _ in range(2):
        with pytest.raises(ValueError, match=text):
            run(wrong)
    run(own(1.0))
    run(own(1.0, kink=True))  # either side is right there


def test_what_holds_is_not_looked_at_again():
    task = own(1.0)
    mg.value(task, mg.GradientDescent(), mg.Final(), 0.1, steps=3)
    first = type(task).calls
    for _ in range(2):
        mg.value(task, mg.GradientDescent(), mg.Final(), 0.1, steps=3)
    assert type(task).calls == first + 2 * (first - 2)


def test_a_loss_that_the_tape_cannot_see_through_needs_its_own_gradient():
    @dataclass(frozen=True)
    class Untraceable:
        def init(self, draw):
            return np.ones((2, 3))

        def loss(self, w, sample):
            return np.array([float(x @ x) for x in np.asarray(w)])

        def gradient(self, w, sample):
            return 2.0 * w

    assert mg.value(Untraceable(), mg.GradientDescent(), mg.Final(), 0.1, steps=3).ok
