"""Rules and wrappers that ship, on a task of one's own, on minibatches and on a tree: the bits of the tape."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.replay import replayed
from metagrad.xp import rng
from tests.contracts.test_contracts import PAIRS, RULES, TASKS

NOT_REPLAYED = {
    "chain of noise and limits": "a text of a number",  # its stream is one of Python's, by the time
}
CHOSEN = [pair for pair in PAIRS if pair[0] in ("log cosh", "minibatches", "classifier")]


def bits(estimate):
    numbers = [estimate.value, *ad.leaves(estimate.grad)]
    return [np.asarray(part).tobytes() for x in numbers for part in (x.mantissa, x.exponent)]


@pytest.mark.parametrize(("task", "rule"), CHOSEN)
def test_the_bits_of_the_tape(task, rule):
    (method, phi), made = RULES[rule], TASKS[task]()
    steps = len(phi.eta) if rule == "scheduled" else 16
    with replayed(False):  # the LSTM has a kernel of its own, and the task alone is replayed
        by_tape = mg.Reverse(fused=rule == "lstm")(made, method, mg.WeightedSum(), phi, steps=steps)
    _, found = [mg.Reverse()(made, method, mg.WeightedSum(), phi, steps=steps) for _ in range(2)]  # then it is recorded
    if steps < 8:
        assert found.replay is None
        return
    assert bits(found) == bits(by_tape)
    assert NOT_REPLAYED.get(rule, "were replayed") in found.replay


class Phi(NamedTuple):
    """The meta-parameters of the rule below."""

    eta: object
    b1: object
    b2: object


class OwnAdam:
    """Adam as one writes it: powers of the decays by the count of steps."""

    Phi = Phi

    def init(self, phi, w):
        return np.zeros_like(w), np.zeros_like(w)

    def step(self, phi, state, w, f):
        g, t = f.gradient(w), f.t + 1
        m = phi.b1 * state[0] + (1 - phi.b1) * g
        v = phi.b2 * state[1] + (1 - phi.b2) * g * g
        return w - phi.eta * (m / (1 - phi.b1**t)) / (np.sqrt(v / (1 - phi.b2**t)) + 1e-6), (m, v)


def decaying():
    rule = mg.Following(mg.GradientDescent(), eta=mg.Exponential())
    return rule, rule.Phi(eta_start=0.05, eta_factor=0.95)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("steps", [12, 60])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", ["own", "decaying"])
def test_powers_by_the_time(rule, dtype, steps, seed):
    """The derivative of b ** t is that of a number of Python's for t, which promotes nothing."""
    at = rng(seed, "powers").standard_normal((3, 2)).astype(dtype)
    task = mg.FunctionTask(lambda w: np.sum(np.cosh(w - at), axis=-1), w0=np.zeros((3, 2), dtype))
    method, phi = decaying() if rule == "decaying" else (OwnAdam(), Phi(0.05, 0.9 - seed / 100, 0.99 - seed / 200))
    with replayed(False):
        by_tape = mg.meta_gradient(task, method, mg.WeightedSum(), phi, steps=steps)
    for _ in range(3):
        found = mg.meta_gradient(task, method, mg.WeightedSum(), phi, steps=steps)
        assert bits(found) == bits(by_tape)
    assert "were replayed" in found.replay
