"""Checks that can fail: NaN and empty sets fail every kind, and intervals decide by their ends."""

import numpy as np
import pytest

from analysis.framework import checks
from analysis.framework.contract import Check, Verdict

KINDS = {
    "at_most": lambda x, interval: checks.at_most("k", "w", x, 1.0, interval),
    "at_least": lambda x, interval: checks.at_least("k", "w", x, -1.0, interval),
    "between": lambda x, interval: checks.between("k", "w", x, -1.0, 1.0, interval),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_is_none_fails_and_so_does_an_empty_set(kind):
    decide = KINDS[kind]
    assert decide([0.0, 0.5], None).holds is True
    for values in ([0.0, np.nan], [np.nan], []):
        found = decide(values, None)
        assert found.holds is False
        assert np.isnan(found.measured)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", [0, 1])
def test_an_end_of_an_interval_that_is_no_number_fails(kind, broken):
    ends = [np.array([-0.5, -0.5]), np.array([0.5, 0.5])]
    assert KINDS[kind]([0.0, 0.1], tuple(ends)).holds is True
    ends[broken] = np.array([0.0, np.nan])
    assert KINDS[kind]([0.0, 0.1], tuple(ends)).holds is False


@pytest.mark.parametrize(("kind", "sign"), [("at_most", 1), ("at_least", -1), ("between", 1), ("between", -1)])
def test_the_end_of_the_interval_decides_not_the_estimate(kind, sign):
    values, ends = np.array([0.9, 0.2]) * sign, np.sort([[0.8 * sign, 0.95 * sign], [-0.2 * sign, 1.4 * sign]], axis=1)
    found = KINDS[kind](values, tuple(ends.T))
    assert found.holds is False
    assert found.measured == 0.2 * sign
    assert found.interval == pytest.approx(tuple(sorted((-0.2 * sign, 1.4 * sign))))
    assert "with its interval" in found.expected
    assert KINDS[kind](values, None).measured == 0.9 * sign


@pytest.mark.parametrize(("interval", "slack", "holds"), [((0.5, 1.5), 0, True), ((1.1, 1.5), 0, False)])
def test_what_is_expected_lies_in_the_interval(interval, slack, holds):
    assert checks.agrees("k", "w", 1.2, 1.0, interval, slack).holds is holds
    assert checks.agrees("k", "w", 1.2, 1.0, (1.1, 1.5), 0.2).holds is True
    for value, expected, ends in ((np.nan, 1.0, interval), (1.2, np.nan, interval), (1.2, 1.0, (np.nan, 2.0))):
        assert checks.agrees("k", "w", value, expected, ends).holds is False


def test_cases_are_counted_that_are_not_right():
    x = np.array([0.1, np.nan, 3.0])
    found = checks.none_of("k", "above", x <= 1)
    assert (found.measured, found.holds, found.what) == (2.0, False, "above, of 3 cases")
    assert checks.none_of("k", "above", x[:1] <= 1).holds is True
    assert checks.none_of("k", "above", x[:0] <= 1).holds is False
    with pytest.raises(TypeError, match="expected bools"):
        checks.none_of("k", "above", x)


@pytest.mark.parametrize("seed", range(3))
def test_intervals_cover_what_they_should(seed):
    stream = np.random.default_rng(seed)
    low, high = checks.mean_interval(stream.normal(2.0, 1.0, (4000, 6)))
    assert np.mean((low <= 2) & (high >= 2)) == pytest.approx(0.95, abs=0.015)
    covered = [low <= 0.3 <= high for low, high in map(checks.share_interval, stream.random((400, 12)) < 0.3)]
    assert np.mean(covered) >= 0.93
    assert np.isnan(checks.mean_interval([1.0])).all()
    assert np.isnan(checks.share_interval([])).all()


def test_a_number_that_is_reported_decides_nothing():
    one, other = checks.reported("a", "w", 3), checks.at_most("b", "w", 1.0, 2.0)
    assert Verdict("claim", [one, other]).holds
    with pytest.raises(ValueError, match="no claim holds unmeasured"):
        Verdict("claim", [one])
    for expected, holds in (("<= 1", None), ("reported", True)):
        with pytest.raises(ValueError, match="Check: expected is"):
            Check("a", "w", 1.0, expected, holds)
