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

from metagrad.theory.no_free_lunch._checks import Ints, how_many, mask, sequence_codes, sizes
from metagrad.theory.numbers.checks import bad_value, check_memory

_REMEDY = "Take fewer points or values: (4, 3) has 55 296 algorithms on 81 functions."


def algorithm_count(points: int, values: int) -> int:
    """Return how many deterministic algorithms there are that visit no point twice, at full depth; an exact integer.

    `points`: n >= 1; `values`: m >= 1. ValueError and TypeError for others.

    >>> [algorithm_count(*sizes) for sizes in ((3, 2), (3, 3), (4, 2), (4, 3))]
    [12, 24, 576, 55296]
    """
    n, m = sizes("algorithm_count", points, values)
    return prod((n - k) ** (m**k) for k in range(n))


def functions(points: int, values: int) -> Ints:
    """Return all functions as rows of their values at the points, (m^n, n), in lexicographic order.

    ValueError where they would take more than a few GiB.

    >>> functions(2, 2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    n, m = sizes("functions", points, values)
    check_memory("functions", "points", n, n * m**n, _REMEDY)
    return np.stack(np.unravel_index(np.arange(m**n), (m,) * n), axis=1).astype(np.int64)


def value_sequences(points: int, values: int) -> Ints:
    """Return the sequences of all n values that each algorithm sees of each function, (algorithms, m^n), as numbers.

    The first k values are `sequences // m**(n - k)`. ValueError where they would take more than a few GiB.

    >>> value_sequences(2, 2).tolist()  # point 0 first, then point 1 first
    [[0, 1, 2, 3], [0, 2, 1, 3]]
    """
    n, m = sizes("value_sequences", points, values)
    check_memory("value_sequences", "points", n, algorithm_count(n, m) * m**n, _REMEDY)
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
    n, m = sizes("histograms", points, values)
    seen = how_many("histograms", "seen", seen, n)
    codes = sequence_codes("histograms", "sequences", sequences, m**n)
    if codes.ndim != 2 or codes.shape[1] != m**n:
        bad_value("histograms", "sequences", f"of shape {codes.shape}", f"shape (algorithms, {m**n})")
    chosen = codes[:, mask("histograms", "among", among, m**n)] // m ** (n - seen)
    row = np.arange(len(codes), dtype=np.int64)[:, None] * m**seen
    return np.bincount((row + chosen).ravel(), minlength=len(codes) * m**seen).reshape(len(codes), m**seen)
