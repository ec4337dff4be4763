"""Tasks that diverge in a batch: left out where that is asked for, counted, and never in silence."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad

RATES = np.array([[1.0, 0.5], [1.0, 0.7], [400.0, 1.0], [0.9, 0.8]])  # the third diverges at eta = 1/2
GOOD = [0, 1, 3]


def quartics(which):
    rates = RATES[which]
    return mg.FunctionTask(
        lambda w: np.sum(rates * w * w / 2, axis=-1) + 0.01 * np.sum(w**4, axis=-1), np.ones((len(rates), 2))
    )


@pytest.mark.parametrize("options", [{}, {"scaling": "none"}, {"gradient": "stop_gradient"}], ids=repr)
@pytest.mark.parametrize("window", [None, 60])
@pytest.mark.parametrize("objective", [mg.Final(), mg.Mean(), mg.MeanLog()], ids=repr)
def test_a_diverging_task_is_left_out(objective, window, options):
    options = options if window is None else options | {"method": "windows", "window": window}
    rule, phi = mg.Momentum(), mg.Momentum.Phi(0.5, 0.1)
    found, alone, spoilt = (
        mg.meta_gradient(quartics(which), rule, objective, phi, steps=200, **options, **more)
        for which, more in ((range(4), {"diverged": "skip"}), (GOOD, {}), (range(4), {}))
    )
    assert not np.isfinite(spoilt.grad.eta.mantissa)
    for a, b in zip(ad.leaves(found.grad), ad.leaves(alone.grad), strict=True):
        assert a.relative_difference(b) < 1e-12
    np.testing.assert_array_equal(found.status, spoilt.status)
    np.testing.assert_array_equal(found.value.mantissa[GOOD], alone.value.mantissa)
    assert found.status[2] != 0
    assert "1 of 4 tasks diverged" in found.report()


def test_tasks_that_stay_within_the_range_are_not_touched():
    found = mg.meta_gradient(quartics(GOOD), mg.GradientDescent(), mg.Final(), 0.5, steps=50, diverged="skip")
    plain = mg.meta_gradient(quartics(GOOD), mg.GradientDescent(), mg.Final(), 0.5, steps=50)
    assert found.grad.eta.mantissa == plain.grad.eta.mantissa
    assert not found.notes


def test_where_all_diverge_nothing_is_left():
    found = mg.meta_gradient(quartics([2]), mg.GradientDescent(), mg.Final(), 0.5, steps=50, diverged="skip")
    assert np.isnan(found.grad.eta.mantissa)
    assert not found.ok


def test_a_learned_start_and_a_task_that_diverges():
    start, few = np.array([0.9, -1.1]), [mg.LearnedStart(quartics(which)) for which in (range(4), GOOD)]
    found, alone = (
        mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), mg.Joint(0.5, start), steps=40, diverged="skip")
        for task in few
    )
    np.testing.assert_allclose(found.grad.task.to_float(), alone.grad.task.to_float(), rtol=1e-12)


def test_an_unknown_choice():
    with pytest.raises(ValueError, match="diverged is 'drop'; expected a known choice"):
        mg.meta_gradient(quartics(GOOD), mg.GradientDescent(), mg.Final(), 0.5, steps=5, diverged="drop")
