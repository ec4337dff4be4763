"""The worst case by an adversary: its functions, its slopes at kinks, its search, and the certificate by PEPit."""

import sys
from pathlib import Path

import numpy as np
import pytest

from analysis import _convex_functions as convex
from analysis import _pepit, worst_case
from analysis import _worst_case_search as search
from metagrad.theory.schedules import certificate, minimax
from metagrad.xp import rng

SMALL = search.Search(tried=4800, rounds=25)


def lengths(near, far):
    return np.log(np.array([[near, far]], dtype=float))


def huber(width):
    return lengths(((width, 10.0), (1.0, 1.0)), ((width, 10.0), (1.0, 1.0)))


@pytest.mark.parametrize("width", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("x", [-1.0, -0.3, 0.0, 0.2, 1.0])
def test_one_interval_is_hubers_function(width, x):
    expected = x * x / 2 if abs(x) <= width else width * abs(x) - width**2 / 2
    np.testing.assert_allclose(convex.value(np.array([x]), huber(width)), expected, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("seed", range(3))
def test_the_functions_are_convex_and_smooth_with_their_minimum_at_zero(seed):
    thetas = search.tried(50, rng(seed, "test"))
    x = np.linspace(-2, 2, 2001)
    f = np.stack([convex.value(np.full(50, at), thetas) for at in x])
    second = np.diff(f, 2, axis=0) / (x[1] - x[0]) ** 2
    assert second.min() > -1e-6
    assert second.max() < 1 + 1e-6
    np.testing.assert_array_equal(f[1000], 0.0)
    assert f.min() == 0.0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_adversary_finds_the_worst_case_of_a_constant_step(steps):
    schedule = np.full(steps, minimax.best_constant(steps))
    _, worst = search.adversary(schedule, np.zeros((0, 2, 2, 2)), rng(0, "test"), SMALL)
    np.testing.assert_allclose(worst[0], certificate.worst_case(schedule).upper, rtol=1e-4)
    assert np.all(np.diff(worst) <= 0)


@pytest.mark.parametrize("schedule", [(1.3, 1.7), (1.25, 2.1), (1.2, 2.0, 1.6)])
def test_the_slopes_of_the_worst_value_are_those_of_the_certificate_also_at_a_kink(schedule):
    stream, etas = rng(1, "test"), np.array(schedule)
    proved = certificate.worst_case(etas, tolerance=1e-10)
    thetas, worst = search.adversary(etas, np.zeros((0, 2, 2, 2)), stream, search.Search())
    np.testing.assert_allclose(worst[0], proved.upper, rtol=1e-3)
    found = search.slopes(etas, thetas[:1], stream)[0]
    np.testing.assert_allclose(found, proved.slope * etas, atol=0.02 * np.abs(proved.slope * etas).max())


def test_a_linear_program_levels_two_lines():
    values, slopes = np.array([1.0, 0.9]), np.array([[-1.0], [1.0]])
    moved, gain = search.descended(np.array([2.0]), values, slopes, 0.2)
    np.testing.assert_allclose([moved[0], gain], [2 * np.exp(0.05), 0.05], rtol=1e-9)
    moved, gain = search.descended(np.array([2.0]), values, slopes, 0.01)
    np.testing.assert_allclose([moved[0], gain], [2 * np.exp(0.01), 0.01], rtol=1e-9)


def test_functions_of_one_value_and_other_slopes_are_both_kept():
    etas = np.array([minimax.best_constant(2)] * 2)  # Huber's of one width, and a quadratic: one value
    thetas = np.concatenate([huber(1 / (2 * etas.sum() + 1)), huber(10.0), huber(10.0)])
    kept, values = search._unlike(etas, thetas, 3)
    assert len(kept) == 2
    np.testing.assert_allclose(values, minimax.lower_bound(etas), rtol=1e-12)


def test_one_step_is_found():
    found = search.minimax(np.array([1.2]), rng(0, "test"), SMALL)
    assert found.ended
    np.testing.assert_allclose(found.schedule, 1.5, rtol=1e-3)
    np.testing.assert_allclose(found.value, 0.125, rtol=1e-3)


def test_the_search_asks_no_theory():
    for module in (search, convex):
        source = Path(module.__file__).read_text(encoding="utf-8")
        imported = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
        assert imported
        assert not [line for line in imported if "theory" in line]


def test_functions_of_one_variable_are_too_few_for_some_schedules():
    """The Gram matrix of the certificate's worst function has rank two there, and the adversary sees less."""
    etas = np.array([1.8354, 2.5119, 1.2272])
    proved, dual = certificate.worst_case(etas, tolerance=1e-9), certificate._Dual(etas)
    multipliers = np.array([proved.multipliers[i, j] for i, j in dual.pairs])
    sizes = np.linalg.eigvalsh(np.linalg.inv(dual.barrier.matrix(np.append(multipliers, proved.upper))))[::-1]
    assert sizes[1] > 0.05 * sizes[0]
    assert sizes[2] < 1e-4 * sizes[0]
    _, worst = search.adversary(etas, np.zeros((0, 2, 2, 2)), rng(0, "test"), search.Search())
    assert worst[0] < minimax.minimax_value(3) < proved.upper / 3


@pytest.mark.parametrize(
    "schedule", [(1.5,), (1.4142, 1.8768), (1.2, 2.0, 1.6), (1.4142, 2.4142, 1.5), (1.9, 0.3, 3.0)]
)
def test_the_certificate_is_that_of_pepit(schedule):
    pytest.importorskip("PEPit", reason="PEPit is not installed: pip install -e '.[certify]' compares with it")
    found = _pepit.worst_case(schedule)
    np.testing.assert_allclose(certificate.worst_case(schedule).upper, found, rtol=1e-4)


def test_the_absence_of_pepit_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "PEPit", None)
    with pytest.raises(ImportError, match=r"PEPit is not installed.*\.\[certify\]"):
        _pepit.worst_case([1.5])


def test_the_first_start_of_each_length_is_the_plain_one():
    config = worst_case.presets["quick"]
    plain = [shard for shard in worst_case.shards(config) if shard["start"] == 0]
    assert [shard["steps"] for shard in plain] == [2, 3]
