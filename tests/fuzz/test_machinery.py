"""The fuzz itself: the reference against powers, the judge against numbers that were moved, and the shrinker."""

from dataclasses import replace

import numpy as np
import pytest

from metagrad.scaled import Scaled
from tests.fuzz.cases import Case, run, snippet
from tests.fuzz.digits import number
from tests.fuzz.draw import case_of
from tests.fuzz.judge import COARSE, FAINT, RIGHT, UNSAID, WRONG, compare
from tests.fuzz.reference import answer
from tests.fuzz.shrink import shrunk

ONE = Case("square", "float64", {"w0": np.ones((1, 1))}, "GradientDescent", {"eta": 0.5}, "Final", 30)
WIDE = Case(
    "diagonal",
    "float32",
    {"eigenvalues": np.full((3, 8), 0.5, "float32"), "w0": np.ones((3, 8), "float32")},
    "Momentum",
    {"eta": np.full((64, 8), 0.1, "float32"), "mu": 0.5},
    "Mean",
    64,
    scheduled=("eta",),
)


def test_the_reference_on_powers():
    found = answer(replace(ONE, steps=2000))
    assert found.value[0] == number(0.5, -4000)
    assert found.grad[0][0] == number(-2000.0, -3999)


def outcomes(found):
    return [one.outcome for one in compare(ONE, found, answer(ONE))]


def test_numbers_that_are_right_or_moved():
    found = run(ONE)
    assert outcomes(found) == [RIGHT, RIGHT]
    for factor, outcome in ((1 + 1e-9, COARSE), (2.0, WRONG), (np.nan, WRONG), (0.0, WRONG)):
        moved = Scaled.of(found.value.mantissa * factor, found.value.exponent)
        assert outcomes(replace(found, value=moved)) == [outcome, RIGHT]


def test_what_conditioning_has_left_without_digits_is_unsaid():
    at_balance = replace(ONE, task="diagonal", data={"eigenvalues": np.array([[0.3]]), "w0": np.ones((1, 1))})
    at_balance = replace(at_balance, phi={"eta": 1 / 0.3})
    found = answer(at_balance)
    assert found.grad_spread[0][0] > abs(found.grad[0][0])
    numbers = compare(at_balance, run(at_balance), found)
    assert {one.outcome for one in numbers} <= {RIGHT, FAINT, UNSAID}


@pytest.mark.parametrize("index", [0, 17])
def test_a_case_is_a_function_of_seed_and_index(index):
    assert snippet(case_of(3, index)) == snippet(case_of(3, index)) != snippet(case_of(4, index))


def test_the_shrinker_keeps_what_fails():
    small = shrunk(WIDE, lambda case: case.steps >= 3 and case.batch >= 2)
    assert (small.steps, small.batch, small.d) == (3, 2, 1)
    assert small.phi["eta"].shape == (3, 1)
    assert run(small).ok
