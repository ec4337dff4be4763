"""All deterministic search algorithms on a finite set, and the values that each of them sees.

A function f maps n points X = {0, .., n-1} to m values Y = {0, .., m-1}; there are m^n. An algorithm looks at one
point, and chooses the next, one that it has not visited, from the values that it has seen: a tree whose node at depth k
has one child for each value. At full depth there are

    prod_{k < n} (n - k)^(m^k)        algorithms: 12, 24, 576, 55 296 at (n, m) = (3, 2), (3, 3), (4, 2), (4, 3).

The theorem (Wolpert and Macready 1997): over all functions, the sequences of the first k values are the same multiset
for every algorithm, each of the m^k sequences m^(n-k) times. The reason is seen here: for any one algorithm the map
from functions to sequences of all n values is one to one.

A sequence is told by one number, its digits in base m with the value that was seen first in front.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.no_free_lunch._checks import (
    REMEDY,
    Ints,
    check_bits,
    how_many,
    mask,
    sequence_codes,
    short,
    sizes,
    table_sizes,
)
from metagrad.theory.numbers.checks import LARGEST_ARRAY, bad_value


def algorithm_count(points: int, values: int) -> int:
    """Return how many deterministic algorithms there are that visit no point twice, at full depth; an exact integer.

    `points`: n >= 1; `values`: m >= 1. ValueError and TypeError for others, ValueError for a count of more than 2^20
    bits.

    >>> [algorithm_count(*sizes) for sizes in ((3, 2), (3, 3), (4, 2), (4, 3))]
    [12, 24, 576, 55296]
    """
    n, m = sizes("algorithm_count", points, values)
    check_bits("algorithm_count", n, m, _least_bits(n, m, 2**20), "how many algorithms there are")
    return prod((n - k) ** (m**k) for k in range(n))


def _least_bits(n: int, m: int, enough: int) -> int:
    """Return how many bits the count of algorithms has at the least; counted until there are `enough`."""
    bits = 0
    for k in range(n - 1):  # the last point is no choice
        bits += m**k * ((n - k).bit_length() - 1)
        if bits > enough:
            break
    return bits


def functions(points: int, values: int) -> Ints:
    """Return all functions as rows of their values at the points, (m^n, n), in lexicographic order.

    ValueError where they would have more than 2^28 entries, before memory is asked for.

    >>> functions(2, 2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    n, m = table_sizes("functions", points, values)
    code, table = np.arange(m**n, dtype=np.int64), np.empty((m**n, n), dtype=np.int64)
    for x in range(n):  # the digits of the function's number in base m; unravel_index knows 64 axes at the most
        table[:, x] = code // m ** (n - 1 - x) % m
    return table


def value_sequences(points: int, values: int) -> Ints:
    """Return the sequences of all n values that each algorithm sees of each function, (algorithms, m^n), as numbers.

    The first k values are `sequences // m**(n - k)`. ValueError where they would have more than 2^28 entries.

    >>> value_sequences(2, 2).tolist()  # point 0 first, then point 1 first
    [[0, 1, 2, 3], [0, 2, 1, 3]]
    """
    n, m = table_sizes("value_sequences", points, values)
    if _least_bits(n, m, 28) > 28 or algorithm_count(n, m) * m**n > LARGEST_ARRAY:  # most are not counted at all
        came = f"{short(n)} with {short(m)} values"
        bad_value("value_sequences", "points", came, "a table of at most 2^28 entries", REMEDY)
    table = functions(n, m)
    known: dict[tuple[int, ...], Ints] = {(): np.zeros((1, m**n), dtype=np.int64)}

    def of(left: tuple[int, ...]) -> Ints:
        """Return what the algorithms on the points that are left see, (algorithms, m^n)."""
        if left not in known:
            known[left] = np.concatenate([first(x, of(tuple(y for y in left if y != x)), len(left)) for x in left])
        return known[left]

    def first(x: int, later: Ints, depth: int) -> Ints:
        """Return what those see that look at x first, with any of the later algorithms for each value found there."""
        chosen = np.stack(np.unravel_index(np.arange(len(later) ** m), (len(later),) * m))
        found = np.empty((chosen.shape[1], m**n), dtype=np.int64)
        for value in range(m):
            here = table[:, x] == value
            found[:, here] = value * m ** (depth - 1) + later[chosen[value]][:, here]
        return found

    return of(tuple(range(n)))


def histograms(sequences: ArrayLike, points: int, values: int, *, seen: int, among: ArrayLike | None = None) -> Ints:
    """Return how often each sequence of the first `seen` values comes, (algorithms, m^seen).

    `sequences`: of `value_sequences`, or those of algorithms of one's own on all functions. `among`: the functions that
    count, m^n bools (default: all). ValueError for other shapes, or for numbers that are no sequences.

    >>> histograms(value_sequences(3, 2), 3, 2, seen=1).tolist()[:3]
    [[4, 4], [4, 4], [4, 4]]
    """
    n, m = table_sizes("histograms", points, values)
    seen = how_many("histograms", "seen", seen, n)
    codes = sequence_codes("histograms", "sequences", sequences, m**n)
    if codes.ndim != 2 or codes.shape[1] != m**n:
        bad_value("histograms", "sequences", f"of shape {codes.shape}", f"shape (algorithms, {m**n})")
    chosen = codes[:, mask("histograms", "among", among, m**n)] // m ** (n - seen)
    row = np.arange(len(codes), dtype=np.int64)[:, None] * m**seen
    return np.bincount((row + chosen).ravel(), minlength=len(codes) * m**seen).reshape(len(codes), m**seen)
