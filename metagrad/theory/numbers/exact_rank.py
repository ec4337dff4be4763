"""The rank of a matrix of floats as it stands, without rounding: a float is an integer times a power of two.

The rank over the integers modulo a prime p is at most the rank over the rationals, and smaller only where p divides a
minor that is not zero: once in about p matrices. The larger one of two primes' is taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metagrad.theory.numbers.checks import Floats

_PRIMES = (2**31 - 1, 2**31 - 19)
_DIGITS = 53


def exact_rank(matrix: Floats) -> int:
    """Return the rank of a matrix (n, d) of finite floats, counted as exact numbers; O(n d min(n, d)) in integers.

    >>> exact_rank(np.outer([1.0, 2.0, 3.0], [0.1, 0.2, 0.4])), exact_rank(np.diag([1.0, 1e-300]))
    (1, 2)
    """
    return max(_rank(_residues(matrix, prime), prime) for prime in _PRIMES)


def _residues(matrix: Floats, prime: int) -> NDArray[np.int64]:
    """Return the entries modulo the prime, m 2^e as (m mod p) (2^e mod p)."""
    mantissas, exponents = np.frexp(matrix)
    digits = np.ldexp(mantissas, _DIGITS).astype(np.int64) % prime
    values, places = np.unique(exponents, return_inverse=True)
    powers = np.array([pow(2, int(e) - _DIGITS, prime) for e in values], np.int64)
    return np.asarray(digits * powers[places].reshape(matrix.shape) % prime, np.int64)


def _rank(rows: NDArray[np.int64], prime: int) -> int:
    """Return the rank by elimination; products of two residues stay below 2^62."""
    rank = 0
    for column in range(rows.shape[1]):
        pivots = np.flatnonzero(rows[rank:, column])
        if len(pivots) == 0:
            continue
        rows[[rank, rank + pivots[0]]] = rows[[rank + pivots[0], rank]]
        row = rows[rank] * pow(int(rows[rank, column]), -1, prime) % prime
        below = rows[rank + 1 :]
        rows[rank + 1 :] = (below - below[:, column, None] * row % prime) % prime
        rank += 1
        if rank == len(rows):
            break
    return rank
