"""Windows whose run forwards goes by programs: the bits of the tape, for every objective and task."""

from dataclasses import dataclass

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed
from tests.replay.new_tasks import numbers
from tests.replay.runs import bits

GD, ADAM = mg.GradientDescent(), mg.Adam()
RULES = {"GD": (GD, GD.Phi(0.05)), "Adam": (ADAM, ADAM.Phi(0.05)), "diverges": (GD, GD.Phi(1e3))}


@dataclass(frozen=True)
class Late:
    """An objective of a user's: the mean over the second half of the run, of squares."""

    measure: str = "loss"

    def weight(self, t, steps):
        return 2.0 / steps if 2 * t > steps else None

    def inner(self, term):
        return term * term, term * 2.0

    def finish(self, total, steps):
        return total, mg.Scaled.of(np.ones_like(total.mantissa))


OBJECTIVES = [mg.WeightedSum(), mg.Final(), mg.Mean(), mg.MeanLog(), mg.LogFinal(), Late()]


def logistic(seed):
    x = numbers(seed, 4, 12, 3)

    def loss(w):
        z = np.einsum("bnd,bd->bn", x, w)
        return np.mean(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))), axis=-1)

    return mg.FunctionTask(loss, w0=np.full((4, 3), 0.1))


def minibatches(seed):
    x = numbers(seed, 4, 12, 3)

    def loss(w, sample):
        return 0.1 + np.mean(np.einsum("bnd,bd->bn", x[:, sample], w) ** 2, axis=-1)

    return mg.FunctionTask(loss, w0=np.full((4, 3), 0.1), sampler=lambda draw, t: draw.integers(0, 12, 5))


def alike(task, rule, phi, objective, window, steps=23):
    """Return the estimate, which has all bits of that without programs."""
    ask = task, rule, objective, phi
    found = mg.Windows(window)(*ask, steps=steps)
    with replayed(False):
        expected = mg.Windows(window)(*ask, steps=steps)
    assert bits(found) == bits(expected)
    assert (found.notes, found.end.t) == (expected.notes, expected.end.t)
    return found


@pytest.mark.parametrize("family", [logistic, minibatches], ids=lambda x: x.__name__)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("rule", RULES)
def test_the_bits_of_the_tape(rule, objective, family):
    task = family(0)
    for window in (10, 10, 10, 3, 3, 7):
        found = alike(task, *RULES[rule], objective, window)
    assert found.replay is not None
    assert "The run:" in found.replay


def test_a_window_of_all_steps_is_reverse():
    task = logistic(0)
    for _ in range(3):
        whole = mg.meta_gradient(task, GD, mg.WeightedSum(), 0.05, steps=20)
        windows = mg.meta_gradient(task, GD, mg.WeightedSum(), 0.05, steps=20, method="windows", window=20)
        assert bits(whole) == bits(windows)


def test_the_value_is_that_of_reverse():
    """The run forwards takes what is measured where reverse does."""
    for objective in OBJECTIVES:
        whole = mg.meta_gradient(logistic(0), GD, objective, 0.05, steps=20)
        windows = mg.meta_gradient(logistic(0), GD, objective, 0.05, steps=20, method="windows", window=6)
        assert whole.value.mantissa.tobytes() == windows.value.mantissa.tobytes()


def test_tasks_that_are_new_at_every_call_share_programs():
    """The windows of one run are not runs of a task that comes again and again."""
    for seed in range(5):
        found = alike(logistic(seed), *RULES["GD"], mg.WeightedSum(), 4)
    assert "46 of 46" not in found.replay
    assert "8 of 8 steps" in found.replay


def test_a_part_is_of_ours_where_the_whole_is():
    from metagrad.estimators.windows import _Part
    from metagrad.transforms import is_of_ours, shared_weight

    assert is_of_ours(_Part(mg.Mean(), 4, 20))
    assert not is_of_ours(_Part(Late(), 4, 20))
    for objective in OBJECTIVES[:-1]:
        for lo, count in ((0, 4), (4, 4), (16, 4), (0, 20)):
            part = _Part(objective, lo, 20)
            shared = shared_weight(part, count)
            for t in range(count + 1):
                expected, found = part.weight(t, count), shared.at(t)
                assert (expected is None) is (found is None)
                if found is not None:
                    known = expected if isinstance(expected, mg.Scaled) else mg.Scaled.of(np.asarray(float(expected)))
                    assert (found.mantissa, found.exponent) == (known.mantissa, known.exponent)
