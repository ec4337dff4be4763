"""Rules and wrappers that ship, on a task of one's own, on minibatches and on a tree: the bits of the tape."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.replay import replayed
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
