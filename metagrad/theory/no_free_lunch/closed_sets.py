"""Sets of functions that are closed under permutations of the points: on these, and on no others, there is no lunch.

A permutation p of the points takes f to f o p. The orbit of f is all functions with as many points of each value as f,
so that there are C(n+m-1, n) orbits, and a closed set is a union of orbits: 2^C(n+m-1, n) - 1 of them are not empty,
of 2^(m^n) - 1 sets: 15 of 255 at (3, 2), 31 of 65 535 at (4, 2).

The sharpened theorem (Schumacher, Vose and Whitley 2001): all algorithms see the same multiset of sequences over a set
if and only if it is closed.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.no_free_lunch._checks import Ints, check_bits, mask, sizes, table_sizes
from metagrad.theory.no_free_lunch.search import functions


def orbits(points: int, values: int) -> Ints:
    """Return the orbit of each function, (m^n,), numbered 0 to C(n+m-1, n) - 1.

    >>> orbits(2, 2).tolist()  # 00, 01, 10, 11: the two in the middle are one orbit
    [0, 1, 1, 2]
    """
    n, m = table_sizes("orbits", points, values)
    alike = np.sort(functions(n, m), axis=1)
    _, labels = np.unique(alike, axis=0, return_inverse=True)
    return labels.reshape(-1).astype(np.int64)


def is_closed(among: ArrayLike, points: int, values: int) -> bool:
    """Whether a set of functions, m^n bools, is closed under permutations of the points; the empty set is.

    >>> is_closed([False, True, True, False], 2, 2), is_closed([False, True, False, False], 2, 2)
    (True, False)
    """
    n, m = table_sizes("is_closed", points, values)
    chosen = mask("is_closed", "among", among, m**n)
    labels = orbits(n, m)
    inside, whole = np.bincount(labels[chosen], minlength=labels.max() + 1), np.bincount(labels)
    return bool(((inside == 0) | (inside == whole)).all())


def closed_set_count(points: int, values: int) -> int:
    """Return how many sets of functions are closed and not empty; an exact integer.

    ValueError for one of more than 2^20 bits.

    >>> closed_set_count(3, 2), closed_set_count(4, 2)
    (15, 31)
    """
    n, m = sizes("closed_set_count", points, values)
    few, many = sorted((n, m - 1))  # the count of orbits, C(n + m - 1, n), is at least 1 + few * many
    what = "how many sets are closed"
    check_bits("closed_set_count", n, m, few * many, what)
    count = comb(few + many, few)
    check_bits("closed_set_count", n, m, count, what)
    return int(2**count - 1)


def subset_count(points: int, values: int) -> int:
    """Return how many sets of functions there are that are not empty; an exact integer.

    ValueError for one of more than 2^20 bits.

    >>> subset_count(3, 2), subset_count(4, 2)
    (255, 65535)
    """
    n, m = sizes("subset_count", points, values)
    check_bits("subset_count", n, m, 2 ** min(64, n * (m.bit_length() - 1)), "how many sets there are")
    check_bits("subset_count", n, m, m**n, "how many sets there are")
    return int(2 ** (m**n) - 1)
