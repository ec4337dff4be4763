"""Inputs that were once wrong with Status OK stay right, or are said."""

import numpy as np
import pytest

from tests.fuzz.cases import run
from tests.fuzz.digits import number
from tests.fuzz.judge import FAINT, RIGHT, compare
from tests.fuzz.known import KNOWN
from tests.fuzz.reference import answer

# Those that are wrong with Status OK today. A name goes from here when its numbers become right: the mark is strict.
OPEN: frozenset[str] = frozenset()


def _param(known):
    marks = [pytest.mark.xfail(strict=True, reason=known.kind)] if known.name in OPEN else []
    return pytest.param(known, id=known.name, marks=marks)


@pytest.fixture(scope="module")
def answers():
    return {}


def _answer(known, answers):
    if known.name not in answers:
        with np.errstate(all="ignore"):
            answers[known.name] = answer(known.case)
    return answers[known.name]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_the_right_values_are_those_of_the_reference(known, answers):
    found = _answer(known, answers)
    rows = [x[0] for x in found.grad]
    for text, exact in zip(known.right.values(), [*found.value, *rows], strict=True):
        assert abs(number(text) - exact) <= 1e-11 * abs(exact)


@pytest.mark.parametrize("known", [_param(known) for known in KNOWN])
def test_right_or_said(known, answers):
    found = run(known.case)
    said = bool(np.asarray(found.status).any())
    if known.may_be_said and said:
        return
    for one in compare(known.case, found, _answer(known, answers)):
        assert one.outcome in (RIGHT, FAINT) or one.error <= 1e-3, f"{one.name}: {one.found}, right {one.right}"
