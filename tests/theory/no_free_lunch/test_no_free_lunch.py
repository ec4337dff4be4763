"""All algorithms on all functions, against a search that is written out, and the theorem itself."""

import itertools

import numpy as np
import pytest

from metagrad.theory import no_free_lunch as nfl

SIZES = [(1, 3), (2, 2), (3, 2), (3, 3), (4, 2)]


def written_out(n, m):
    """Return what every algorithm sees of every function: trees as dictionaries, followed step by step."""
    histories = [h for k in range(n) for h in itertools.product(range(m), repeat=k)]

    def followed(tree, f):
        seen, visited = [], []
        for _ in range(n):
            visited.append(tree[tuple(seen)])
            seen.append(f[visited[-1]])
        return tuple(seen) if len(set(visited)) == n else None

    table = set()
    for choice in itertools.product(range(n), repeat=len(histories)):
        tree = dict(zip(histories, choice, strict=True))
        rows = [followed(tree, f) for f in itertools.product(range(m), repeat=n)]
        if None not in rows:
            table.add(tuple(int("".join(map(str, row)), m) if m > 1 else 0 for row in rows))
    return table


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (2, 3)])
def test_the_algorithms_are_all_trees(size):
    found = nfl.value_sequences(*size)
    assert len(found) == nfl.algorithm_count(*size)
    assert {tuple(row) for row in found.tolist()} == written_out(*size)


@pytest.mark.parametrize("size", SIZES)
def test_all_algorithms_have_one_histogram(size):
    n, m = size
    found = nfl.value_sequences(n, m)
    assert found.shape == (nfl.algorithm_count(n, m), m**n)
    for seen in range(1, n + 1):
        assert (nfl.histograms(found, n, m, seen=seen) == m ** (n - seen)).all()


def test_all_55296_algorithms_of_four_points_and_three_values():
    found = nfl.value_sequences(4, 3)
    assert found.shape == (55_296, 81)
    assert (np.sort(found, axis=1) == np.arange(81)).all()  # one to one
    assert (nfl.histograms(found, 4, 3, seen=2) == 9).all()


def test_a_set_is_without_lunch_exactly_if_it_is_closed():
    found, closed = nfl.value_sequences(3, 2), 0
    for bits in itertools.product([False, True], repeat=8):
        if not any(bits):
            continue
        alike = all((h == h[0]).all() for h in (nfl.histograms(found, 3, 2, seen=k, among=bits) for k in (1, 2, 3)))
        assert alike == nfl.is_closed(bits, 3, 2)
        closed += alike
    assert closed == nfl.closed_set_count(3, 2) == 15
    assert nfl.subset_count(3, 2) == 255


def test_closed_sets_of_four_points():
    labels = nfl.orbits(4, 2)
    sets = ((np.arange(65_536)[:, None] >> np.arange(16)) & 1).astype(bool)
    whole = np.bincount(labels)
    inside = np.stack([sets[:, labels == k].sum(axis=1) for k in range(len(whole))], axis=1)
    closed = ((inside == 0) | (inside == whole)).all(axis=1).sum() - 1  # without the empty one
    assert closed == nfl.closed_set_count(4, 2) == 31


@pytest.mark.parametrize("seed", range(4))
def test_gains_and_losses_cancel(seed):
    found = nfl.value_sequences(4, 2)
    loss = nfl.losses(found, 4, 2, seen=2)
    draw = np.random.default_rng(seed)
    inside, outside = nfl.gains(loss, draw.random(16) < 0.5)
    np.testing.assert_allclose(inside, -outside, atol=1e-12)
    closed = draw.random(5)[nfl.orbits(4, 2)] < 0.5
    for gained in nfl.gains(loss, closed):
        np.testing.assert_allclose(gained, 0, atol=1e-12)


def test_revisiting_breaks_it():
    """One that looks at the point 0 twice sees its value twice: sequences 01 and 10 never come."""
    f = nfl.functions(2, 2)
    twice = (3 * f[:, 0])[None]
    assert nfl.histograms(twice, 2, 2, seen=2).tolist() == [[2, 0, 0, 2]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nfl.value_sequences(5, 3), "points is 5 with 3 values"),
        (
            lambda: nfl.functions(26, 2),
            r"points is 26 with 2 values, 2\^26 functions; expected .* at most 2\^28 entries",
        ),
        (lambda: nfl.functions(0, 2), "points is 0; expected an integer of at least 1"),
        (lambda: nfl.histograms([[0, 1]], 1, 2, seen=2), "seen is 2; expected at most the 1 points"),
        (lambda: nfl.histograms([[0, 9]], 1, 2, seen=1), "numbers from 0 to 1"),
        (lambda: nfl.histograms([[0.0, 1.0]], 1, 2, seen=1), "expected integers"),
        (lambda: nfl.is_closed([1, 0], 1, 2), "2 bools"),
        (lambda: nfl.is_closed([True], 1, 2), r"shape \(2,\)"),
        (lambda: nfl.gains([1.0, 2.0], [True, False]), r"shape \(algorithms, functions\)"),
        (lambda: nfl.losses([[7]], 1, 2, seen=1), "numbers from 0 to 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


HUGE = [(13, 2), (40, 3), (70, 2), (10**9, 7), (5, 10**30), (10**4000, 10**5000)]


@pytest.mark.parametrize("size", HUGE)
def test_too_many_algorithms_are_refused_before_they_are_counted(size):
    with pytest.raises(ValueError, match=r"points is .* values.*; expected a table of at most 2\^28 entries"):
        nfl.value_sequences(*size)


@pytest.mark.parametrize("size", HUGE[1:])
@pytest.mark.parametrize(
    "call",
    [
        nfl.functions,
        nfl.orbits,
        lambda n, m: nfl.is_closed([True], n, m),
        lambda n, m: nfl.histograms([[0]], n, m, seen=1),
        lambda n, m: nfl.losses([0], n, m, seen=1),
    ],
)
def test_large_tables_are_refused(call, size):
    with pytest.raises(ValueError, match="at most 2"):
        call(*size)


@pytest.mark.parametrize(
    ("call", "size"),
    [
        (nfl.algorithm_count, (40, 3)),
        (nfl.algorithm_count, (10**9, 7)),
        (nfl.closed_set_count, (100, 100)),
        (nfl.closed_set_count, (10**5000, 10**5000)),
        (nfl.subset_count, (40, 3)),
        (nfl.subset_count, (10**5000, 10**5000)),
    ],
)
def test_counts_of_millions_of_digits_are_refused(call, size):
    with pytest.raises(ValueError, match=r"number of more than 2\^20 bits"):
        call(*size)


def test_functions_are_digits_in_their_order():
    assert nfl.functions(3, 3).tolist() == [list(f) for f in itertools.product(range(3), repeat=3)]
    assert nfl.functions(70, 1).tolist() == [[0] * 70]
    assert nfl.algorithm_count(70, 1) == np.prod(np.arange(1, 71, dtype=object))
    assert nfl.closed_set_count(10**6, 1) == 1
