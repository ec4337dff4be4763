"""Code that would see that it is recorded, or whose way depends on what is not compared: the tape's numbers, always."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad, xp
from metagrad.replay import is_asked, replayed
from tests.replay.new_tasks import alike

X, Y = np.random.default_rng(0).standard_normal((2, 2, 8, 3))
STEPS = 24


class Phi(NamedTuple):
    """The step size."""

    eta: object


class Own:
    """Gradient descent whose step size is scaled by what `scale` makes of the task's view."""

    def __init__(self, scale):
        self.scale = scale

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return w - phi.eta * self.scale(f) * f.gradient(w), state


def loss(w):
    return np.mean((np.einsum("bnd,bd->bn", X, w) - Y[..., 0]) ** 2, axis=-1)


def bits(found):
    return [x.mantissa.tobytes() + x.exponent.tobytes() for x in (found.value, *ad.leaves(found.grad))]


def agree(task, rule, calls=2, phi=Phi(0.1)):  # noqa: B008
    ask = (task, rule, mg.WeightedSum(), phi)
    plain = mg.Reverse(fused=False)(*ask, steps=STEPS)
    for _ in range(calls):
        assert bits(mg.Reverse()(*ask, steps=STEPS)) == bits(plain)


def caught(f):
    try:
        return {10: 3.0}[f.t]
    except (KeyError, TypeError):
        return 0.1


def matched(f):
    match f.t:
        case int() as t if t == 10:
            return 3.0
    return 0.1


SCALES = {
    "a stream by the time": lambda f: 3.0 if xp.rng(0, "n", f.t).random() > 0.9 else 0.1,
    "a text of the time": lambda f: {"10": 3.0}.get(str(f.t), 0.1),
    "a formatted time": lambda f: {"10": 3.0}.get(f"{f.t}", 0.1),
    "a dictionary that is caught": caught,
    "isinstance": lambda f: 3.0 if isinstance(f.t, int) and f.t == 10 else 0.1,
    "isscalar": lambda f: 3.0 if np.isscalar(f.t) and f.t == 10 else 0.1,
    "match": matched,
    "hasattr": lambda f: 3.0 if hasattr(f.t, "bit_length") and f.t == 10 else 0.1,
    "a shift": lambda f: 3.0 if f.t >> 3 == 1 else 0.1,
}


@pytest.mark.parametrize("name", SCALES)
def test_the_time_is_what_it_was(name):
    agree(mg.FunctionTask(loss, w0=np.ones((2, 3))), Own(SCALES[name]))


def by_tuple(w, sample):
    a, b = sample
    return np.sum((w - a) ** 2, axis=-1) if b is None else np.sum(np.abs(w - b) ** 3, axis=-1)


def by_key(w, sample):
    return np.sum((w - sample["a"]) ** 2, axis=-1) if "a" in sample else np.sum(np.abs(w - sample["b"]) ** 3, axis=-1)


def factored(w, sample):
    H = np.eye(3) * sample[0, 0]
    try:
        L = np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        L = np.linalg.cholesky(H + 3.0 * np.eye(3))
    return np.sum((w @ L) ** 2, axis=-1)


def raising(w, sample):
    with np.errstate(all="raise"):
        try:
            e = np.exp(sample)
        except FloatingPointError:
            e = 1.0
    return np.sum((w - e) ** 2, axis=-1)


Z = np.full((2, 3), 0.5)
SAMPLED = {
    "places": (by_tuple, lambda s, t: (Z, None) if t != 10 else (None, Z)),
    "keys": (by_key, lambda s, t: {"a": Z} if t != 10 else {"b": Z}),
    "a matrix that is definite once": (factored, lambda s, t: Z if t == 10 else -Z),
    "a matrix that is not definite once": (factored, lambda s, t: -Z if t == 10 else Z),
    "an overflow that is caught once": (raising, lambda s, t: 2000.0 * Z if t == 10 else Z),
    "an overflow that is caught but once": (raising, lambda s, t: Z if t == 10 else 2000.0 * Z),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sample_of_another_kind_is_another_program(name):
    f, of_step = SAMPLED[name]

    task = mg.FunctionTask(f, w0=np.ones((2, 3)), sampler=of_step)
    agree(task, mg.GradientDescent(), phi=mg.GradientDescent.Phi(0.1))


class Warm(Own):
    """A rule that looks at a number of its own."""

    def __init__(self, warm):
        self.warm = warm
        super().__init__(lambda f: 3.0 if f.t < self.warm else 0.1)


def test_what_a_rule_or_a_loss_holds_may_change_between_calls():
    rule, lam, a, b = Warm(15), [0.1], np.zeros((2, 3)), np.zeros((2, 3))

    def held(w):
        return loss(w) + lam[0] * np.sum(np.maximum(w - 0.9, 0.0), axis=-1) + np.sum((w - a) * (w - b), axis=-1)

    task = mg.FunctionTask(held, w0=np.ones((2, 3)))
    agree(task, rule)
    rule.warm = 10
    agree(task, rule, calls=1)
    lam[0] = 9.0
    agree(task, rule, calls=1)
    b[...] = 5.0
    agree(task, rule, calls=1)


def test_it_is_for_those_who_ask():
    task = mg.FunctionTask(loss, w0=np.ones((2, 3)))
    with replayed(False):
        assert not is_asked()
        assert mg.Reverse()(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, steps=50).replay is None
    assert "were replayed" in mg.Reverse()(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, steps=50).replay


def with_two_names(sample, w):
    y = 2.0 * sample
    z = y
    y += 1.0
    return np.sum(z * w + y, axis=-1)


def with_a_view(sample, w):
    y = 2.0 * sample
    z = y[:, 1:]
    y *= 3.0
    return np.sum(z * w[:, 1:], axis=-1)


def with_a_view_of_it(sample, w):
    y = 2.0 * sample
    z = y[:, 1:]
    z -= 3.0
    return np.sum(y * w, axis=-1)


def with_a_copy(sample, w):
    y = (2.0 * sample).copy()
    z = y.copy()
    z -= 3.0
    y /= 2.0
    return np.sum((y + z) * w, axis=-1)


def in_a_loop(sample, w):
    total = np.zeros_like(sample) * sample
    for k in range(3):
        total += sample**k
    return np.sum(total * w, axis=-1)


def by_a_function(sample, w):
    def add(into):
        into += 1.0

    y = sample * 2.0
    add(y)
    return np.sum(y * w, axis=-1)


def of_the_gradient_path(sample, w):
    z = w * sample
    total = z
    total += 1.0
    return np.sum(z * z, axis=-1)


def of_numbers(sample, w):
    y = np.sum(sample)
    z = y
    y += 1.0
    return np.sum(z * w, axis=-1) * y


def seldom(sample, w):
    """What is written is zero at most times."""
    y = 2.0 * np.minimum(sample, 3.0)
    z = y
    y += np.maximum(sample - 5.0, 0.0)
    return np.sum(z * w, axis=-1)


VIEWS = [with_a_view, with_a_view_of_it]
NAMES = [with_two_names, with_a_copy, in_a_loop, by_a_function, of_the_gradient_path, of_numbers, seldom]


@pytest.mark.parametrize("loss", [*NAMES, *VIEWS], ids=lambda f: f.__name__)
def test_what_is_written_in_place_is_written_for_every_name(loss):
    task = mg.FunctionTask(
        lambda w, sample: loss(sample, w) + np.sum(w * w, axis=-1),
        w0=np.ones((2, 3)),
        sampler=lambda draw, t: draw.standard_normal((2, 3)) + 9.0 * (t == 7),
    )
    for _ in range(6):
        found = alike(task)
    assert ("were replayed" in found.replay) is (loss not in VIEWS), found.replay
