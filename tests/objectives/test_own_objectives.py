"""Objectives and measures of a user's own: numbers as weights, functions and names as measures."""

import numpy as np
import pytest

import metagrad as mg
from tests.strategies import random_quadratic

TASK, RULE = random_quadratic(2, 3, seed=5), mg.GradientDescent()


class Late:
    """The mean of a measure over the second half of the run."""

    def __init__(self, measure):
        self.measure = measure

    def weight(self, t, steps):
        return 2.0 / steps if 2 * t > steps else None

    def inner(self, term):
        return term, mg.Scaled.of(np.ones(term.shape))

    def finish(self, total, steps):
        return total, mg.Scaled.of(np.ones(total.shape))


def fourth(w):
    return np.sum(w**4, axis=-1)


@pytest.mark.parametrize("method", ["reverse", "forward"])
@pytest.mark.parametrize("measure", ["loss", "squared_norm", fourth], ids=["loss", "norm", "function"])
def test_weights_are_numbers_and_measures_names_or_functions(measure, method):
    found = mg.meta_gradient(TASK, RULE, Late(measure), 0.3, steps=6, method=method)
    curve = mg.rollout(TASK, RULE, 0.3, steps=6, measure=None if measure == "loss" else measure)
    np.testing.assert_allclose(found.value.to_float(), curve[4:].mean(axis=0), rtol=1e-13)
    ends = [mg.value(TASK, RULE, Late(measure), 0.3 + h, steps=6).value.to_float().mean() for h in (1e-6, -1e-6)]
    assert float(found.grad.eta) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-7)


def test_a_function_as_the_measure_of_a_shipped_objective():
    found = mg.meta_gradient(TASK, RULE, mg.Final(fourth), 0.3, steps=6)
    np.testing.assert_allclose(
        found.value.to_float(), mg.rollout(TASK, RULE, 0.3, steps=6, measure=fourth)[-1], rtol=1e-13
    )


class Nothing(Late):
    def weight(self, t, steps):
        return None


@pytest.mark.parametrize("options", [{}, {"method": "windows", "window": 2}], ids=repr)
def test_an_objective_without_weights_is_told(options):
    with pytest.raises(ValueError, match="Nothing: weight is one that weighs no time at all in"):
        mg.meta_gradient(TASK, RULE, Nothing("loss"), 0.3, steps=6, **options)


@pytest.mark.parametrize("measure", ["losss", 3, mg.LogFinal], ids=repr)
def test_a_measure_that_is_none(measure):
    with pytest.raises((ValueError, TypeError), match="measure is"):
        mg.meta_gradient(TASK, RULE, Late(measure), 0.3, steps=6)
